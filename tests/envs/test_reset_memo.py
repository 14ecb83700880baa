# SPDX-License-Identifier: MIT
"""Resets that are remembered against resets that are played out, byte for byte.

``python -m tests.envs.test_reset_memo --times N`` compares games, seeds, modes, difficulties and
settings that chance chooses.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from tests import trials
from tests.reference.ale import rom_file

from rndfast import _core
from rndfast.envs.games import GAMES

FACTS: dict[str, dict[str, Any]] = {facts["name"]: facts for facts in _core.games()}


def play(game: str, *, remembers_resets: bool, seed: int, **settings: Any) -> list[bytes]:
    """Pictures, RAM and counters of short episodes and at last the whole state."""
    batch = _core.AtariBatch(
        game,
        rom_file(game).read_bytes(),
        num_envs=2,
        num_threads=1,
        remembers_resets=remembers_resets,
        max_num_frames_per_episode=12,
        img_height=8,
        img_width=8,
        stack_num=1,
        **settings,
    )
    batch.reset(np.arange(2), np.arange(2) + seed)
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(24):  # three steps and a reset, six times
        batch.send(rng.integers(0, len(batch.action_set), 2))
        *arrays, results = batch.recv()
        arrays += [results.column(name) for name in ("ram", "lives", "frame_number")]
        seen += [array.tobytes() for array in arrays]
    return [*seen, batch.snapshot()]


def require_equal(game: str, seed: int, **settings: Any) -> None:
    remembered = play(game, remembers_resets=True, seed=seed, **settings)
    played_out = play(game, remembers_resets=False, seed=seed, **settings)
    assert remembered == played_out, f"{game}, seed {seed}, {settings}"


def draw_mode(game: str, chance: random.Random) -> dict[str, Any]:
    return {
        "mode": chance.choice(FACTS[game]["modes"]),
        "difficulty": chance.choice(FACTS[game]["difficulties"]),
    }


@pytest.mark.parametrize("game", GAMES)
def test_remembered_resets_are_those_that_are_played_out(game: str) -> None:
    chance = random.Random(game)  # of each game other seeds, modes and difficulties
    require_equal(game, 3)
    for noop_max in (0, 30):
        require_equal(game, chance.randrange(2**31), noop_max=noop_max, **draw_mode(game, chance))


def trial(chance: random.Random) -> str:
    game = chance.choice(GAMES)
    settings = draw_mode(game, chance) | {
        "noop_max": chance.choice((0, 1, 30)),
        "frameskip": chance.choice((1, 4, 7)),
        "use_fire_reset": chance.random() < 0.5,
        "repeat_action_probability": chance.choice((0.0, 0.25)),
        "autoreset_mode": chance.choice(("NextStep", "SameStep")),
        "keeps_colors": chance.random() < 0.5,
    }
    require_equal(game, chance.randrange(2**31), **settings)
    return "equal"


if __name__ == "__main__":
    parsed = trials.arguments(__doc__)
    trials.repeat(trial, parsed.times, parsed.seed)
