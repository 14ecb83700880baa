# SPDX-License-Identifier: MIT
"""Resets that are remembered against resets that are played out, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.reference.ale import rom_file

from rndfast import _core
from rndfast.envs.games import GAMES


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


@pytest.mark.parametrize("game", GAMES)
def test_remembered_resets_are_those_that_are_played_out(game: str) -> None:
    facts = next(facts for facts in _core.games() if facts["name"] == game)
    rng = np.random.default_rng(sum(game.encode()))  # of each game another mode
    mode, difficulty = (int(rng.choice(facts[key])) for key in ("modes", "difficulties"))
    for settings in ({}, {"mode": mode, "difficulty": difficulty, "noop_max": 0}):
        remembered = play(game, remembers_resets=True, seed=3, **settings)
        assert remembered == play(game, remembers_resets=False, seed=3, **settings)
