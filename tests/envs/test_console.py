# SPDX-License-Identifier: MIT
"""The console in lockstep with ale-py's, in every game; snapshots against its own future.

ale-py takes 0.2 s to load a ROM and 0.1 ms for a frame. `python -m tests.exactness` plays on.
"""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.ale import (
    first_difference,
    legal_actions,
    make_ale,
    rom_file,
    state_difference,
)

from rndfast import Console, _core
from rndfast.envs.games import GAMES

FACTS: dict[str, dict[str, Any]] = {facts["name"]: facts for facts in _core.games()}
GAMES_WITH_SETTINGS = [
    game for game in GAMES if len(FACTS[game]["modes"]) + len(FACTS[game]["difficulties"]) > 2
]
ROOMS = {"montezuma_revenge": 0x83, "pitfall": 0x81}


def in_lockstep(game: str, frames: int, **settings: Any) -> tuple[int, int]:
    """Play a game in both consoles; return how many resets and game overs there were."""
    rng = random.Random(game)
    seed = rng.randrange(2**31)
    play = {name: settings.pop(name) for name in ("paddle_strengths",) if name in settings}
    ale = make_ale(rom_file(game), seed=seed, **settings)
    console = Console(
        game,
        random_seed=seed,
        repeat_action_probability=settings.get("stickiness", 0.25),
        max_num_frames_per_episode=settings.get("max_frames", 0),
        mode=settings.get("mode"),
        difficulty=settings.get("difficulty"),
    )
    match = first_difference(
        console, ale, frames=frames, rng=rng, actions=legal_actions(ale), reset_chance=0.004, **play
    )
    assert match.difference is None, f"{game}, seed {seed}, {settings}: {match.difference}"
    return match.resets, match.game_overs


# --- lockstep with ale-py ---------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
def test_every_game_is_as_in_ale(game: str) -> None:
    in_lockstep(game, 500)


@pytest.mark.parametrize("game", GAMES)
def test_modes_and_difficulties_are_those_of_ale(game: str) -> None:
    ale = make_ale(rom_file(game))
    assert list(FACTS[game]["modes"]) == ale.getAvailableModes()
    assert list(FACTS[game]["difficulties"]) == ale.getAvailableDifficulties()
    assert list(FACTS[game]["legal_actions"]) == legal_actions(ale)
    minimal = [int(action.value) for action in ale.getMinimalActionSet()]
    assert list(FACTS[game]["minimal_actions"]) == minimal
    assert game not in GAMES_WITH_SETTINGS or _plays_in_another_mode(game)


def _plays_in_another_mode(game: str) -> bool:
    rng = random.Random(game)
    facts = FACTS[game]
    mode, difficulty = rng.choice(facts["modes"]), rng.choice(facts["difficulties"])
    in_lockstep(game, 60, mode=mode, difficulty=difficulty)
    return True


@pytest.mark.parametrize("mode", [3, 5, 7])
def test_modes_of_demon_attack_that_are_over_at_once(mode: int) -> None:
    in_lockstep("demon_attack", 20, mode=mode)
    console = Console("demon_attack", mode=mode)
    assert console.game_over
    assert not console.truncated
    before = state(console)
    assert console.act(1) == 0
    assert state(console) == before


@pytest.mark.parametrize("stickiness", [0.0, 0.1, 1 / 3, 0.123456789, 1e-9, 0.9999999, 1.0])
def test_any_stickiness(stickiness: float) -> None:
    in_lockstep("space_invaders", 300, stickiness=stickiness)


def test_truncation() -> None:
    resets, game_overs = in_lockstep("breakout", 600, max_frames=40)
    assert resets > game_overs > 5
    console = Console("breakout", max_num_frames_per_episode=3)
    for frame in range(1, 6):
        console.act(1)
        assert console.truncated == console.game_over == (frame >= 3)
    assert console.episode_frame_number == 3
    console.reset()
    assert (console.truncated, console.episode_frame_number, console.frame_number) == (False, 0, 3)


def test_truncation_and_the_end_of_a_game_together() -> None:
    _, game_overs = in_lockstep("skiing", 400, max_frames=1)
    assert game_overs > 50


@pytest.mark.parametrize(
    "game", ["backgammon", "blackjack", "breakout", "casino", "kaboom", "pong"]
)
def test_paddles_turned_a_little_or_the_other_way(game: str) -> None:
    in_lockstep(game, 300, paddle_strengths=(1.0, 0.5, 0.1, 0.333333, 0.0, -0.25, -1.0))


def test_games_that_end() -> None:
    """Rewards are compared in every frame; here they sum up, and games end by themselves."""
    ale = make_ale(rom_file("pong"), seed=7)
    console = Console("pong", random_seed=7)
    ours = expected = frames_after_the_end = 0
    while frames_after_the_end < 20:
        ours += console.act(0)
        expected += ale.act(0)
        frames_after_the_end += ale.game_over()
        assert console.game_over == ale.game_over()
    assert ours == expected == -21
    assert state_difference(console, ale) is None
    console.reset()
    ale.reset_game()
    assert state_difference(console, ale) is None


@pytest.mark.parametrize(
    "game", ["montezuma_revenge", "qbert", "air_raid", "king_kong", "space_war"]
)
def test_grey_and_rgb_screens(game: str) -> None:
    ale = make_ale(rom_file(game), seed=3)
    console = Console(game, random_seed=3)
    assert console.tv_format == ("PAL" if ale.getScreen().shape[0] == 250 else "NTSC")
    rng = random.Random(3)
    for _ in range(60):
        action = rng.choice(legal_actions(ale))
        console.act(action)
        ale.act(action)
        assert np.array_equal(console.screen_grey, ale.getScreenGrayscale())
        assert np.array_equal(console.screen_rgb, ale.getScreenRGB())


@pytest.mark.parametrize("game", ["montezuma_revenge", "pitfall", "pong", "seaquest"])
def test_room(game: str) -> None:
    console = Console(game, random_seed=1)
    rooms = set()
    for _ in range(400):
        console.act(4)
        assert console.room == (console.ram[ROOMS[game] - 0x80] if game in ROOMS else None)
        rooms.add(console.room)
    assert len(rooms) == (3 if game == "pitfall" else 1)
    assert FACTS[game]["has_rooms"] == (game in ROOMS)


# --- pictures and snapshots do not change the future --------------------------------------------


def state(console: _core.Console) -> tuple[object, ...]:
    """Everything that can be seen of a console."""
    return (
        console.ram.tobytes(),
        console.screen.tobytes(),
        console.lives,
        console.game_over,
        console.frame_number,
        console.episode_frame_number,
        console.processor,
    )


def future(console: _core.Console, seed: int, frames: int = 120) -> list[object]:
    """Play random actions, with a reset in between, and return all that could be seen."""
    rng = random.Random(seed)
    seen: list[object] = []
    for frame in range(frames):
        seen.append(console.act(rng.randrange(18)))
        seen.append(state(console))
        if frame == frames // 2:
            console.reset()
    return seen


SNAPSHOT_GAMES = ["montezuma_revenge", "pitfall2", "berzerk", "pacman", "breakout", "surround"]


@pytest.mark.parametrize("game", SNAPSHOT_GAMES)
def test_whether_pictures_are_asked_for_changes_nothing(game: str) -> None:
    rng = random.Random(game)
    curious, indifferent = (Console(game, random_seed=5) for _ in range(2))
    for _ in range(300):
        action = rng.randrange(18)
        assert curious.act(action) == indifferent.act(action)
        for _ in range(rng.randrange(3)):
            assert np.array_equal(curious.screen, curious.screen)
        assert np.array_equal(curious.ram, indifferent.ram)
        if rng.random() < 0.02:
            assert state(curious) == state(indifferent)
            curious.reset()
            indifferent.reset()
    assert future(curious, 0) == future(indifferent, 0)


@pytest.mark.parametrize("game", SNAPSHOT_GAMES)
def test_a_snapshot_continues_byte_for_byte(game: str) -> None:
    rng = random.Random(game)
    console = Console(game, random_seed=9)
    for moment in range(4):
        for _ in range(rng.randrange(1, 100)):
            console.act(rng.randrange(18))
        snapshot = console.snapshot()
        before = state(console)
        expected = future(console, moment)
        other = Console(game, random_seed=1, repeat_action_probability=0.0)
        for restored in (console, other):
            restored.restore(snapshot)
            assert state(restored) == before
            assert future(restored, moment) == expected
    assert console.snapshot() == other.snapshot()


def test_a_snapshot_taken_before_the_picture_was_drawn() -> None:
    console = Console("montezuma_revenge")
    console.act(1)
    snapshot = console.snapshot()
    screen = console.screen
    for _ in range(5):
        console.act(3)
    console.restore(snapshot)
    assert np.array_equal(console.screen, screen)


def test_a_snapshot_continues_in_another_process(tmp_path: Path) -> None:
    console = Console("pacman", random_seed=11)
    future(console, 0, 50)
    (tmp_path / "snapshot").write_bytes(console.snapshot())
    program = (
        "import pickle, sys\n"
        "from rndfast import Console\n"
        "from tests.envs.test_console import future\n"
        "console = Console('pacman')\n"
        "console.restore(open(sys.argv[1], 'rb').read())\n"
        "sys.stdout.buffer.write(pickle.dumps(future(console, 1)))\n"
    )
    seen = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "snapshot")],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    assert pickle.loads(seen) == future(console, 1)


def test_clones_part_ways() -> None:
    console = Console("breakout", random_seed=2, max_num_frames_per_episode=100)
    console.act(1)
    twins = [console.clone(), copy.copy(console)]
    expected = future(console, 3)
    for twin in twins:
        assert type(twin) is Console
        assert twin.game == "breakout"
        assert future(twin, 3) == expected
    with pytest.raises(TypeError, match="store what snapshot"):
        pickle.dumps(console)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda s: s[:-1], ValueError, "must have .* bytes, got"),
        (lambda s: s + b"\0", ValueError, "must have .* bytes, got"),
        (lambda s: s[:100], ValueError, "must have .* bytes, got"),
        (lambda s: s[: len(s) // 2], ValueError, "must have .* bytes, got"),
        (lambda s: s[:-3] + bytes((s[-3] ^ 4,)) + s[-2:], ValueError, "damaged"),
        (lambda s: s[:5000] + bytes((s[5000] ^ 1,)) + s[5001:], ValueError, "damaged"),
        (lambda s: s[:3] + b"\n" + s[4:], ValueError, "not a snapshot"),
        (lambda s: s.replace(b"pong", b"pung", 1), ValueError, "must be of 'console of pong"),
        (lambda s: Console("breakout").snapshot(), ValueError, "must be of 'console of pong"),
        (lambda s: b"", ValueError, "not a snapshot"),
        (lambda s: random.Random(0).randbytes(len(s)), ValueError, "not a snapshot"),
        (lambda s: None, TypeError, "incompatible"),
        (lambda s: s.decode("latin-1"), TypeError, "incompatible"),
        (bytearray, TypeError, "incompatible"),
    ],
)
def test_a_bad_snapshot_is_refused_and_changes_nothing(
    damage: Any, error: type[Exception], message: str
) -> None:
    console = Console("pong", random_seed=1)
    console.act(3)
    before = console.snapshot()
    with pytest.raises(error, match=message):
        console.restore(damage(Console("pong", random_seed=2).snapshot()))
    assert console.snapshot() == before


def test_every_flipped_bit_of_a_snapshot_is_noticed() -> None:
    console = Console("pong")
    snapshot = console.snapshot()
    rng = random.Random(0)
    for _ in range(200):
        damaged = bytearray(snapshot)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueError, match=r"snapshot"):
            console.restore(bytes(damaged))


# --- wrong arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"game": "pongg"}, ValueError, r"unknown game 'pongg': did you mean 'pong'"),
        ({"game": 3}, TypeError, "game must be a str"),
        ({"random_seed": -1}, ValueError, r"random_seed .*\[0, 4294967295\].*-1"),
        ({"random_seed": 2**32}, ValueError, r"random_seed .*4294967296"),
        ({"random_seed": 1.5}, TypeError, "incompatible"),
        ({"random_seed": "x"}, TypeError, "incompatible"),
        ({"repeat_action_probability": -0.1}, ValueError, "repeat_action_probability .*-0.1"),
        ({"repeat_action_probability": 1.1}, ValueError, "repeat_action_probability .*1.1"),
        (
            {"repeat_action_probability": float("nan")},
            ValueError,
            "repeat_action_probability .*nan",
        ),
        ({"max_num_frames_per_episode": -1}, ValueError, "max_num_frames_per_episode .*-1"),
        ({"max_num_frames_per_episode": 2**31}, ValueError, "max_num_frames_per_episode"),
        ({"mode": 2}, ValueError, "mode of pong must be one of 0, 1, got 2"),
        ({"mode": -1}, ValueError, "mode of pong must be one of 0, 1, got -1"),
        ({"mode": "a"}, TypeError, "incompatible"),
        ({"difficulty": 7}, ValueError, "difficulty of pong must be one of 0, 1, 2, 3, got 7"),
    ],
)
def test_a_wrong_setting_is_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Console(**({"game": "pong"} | settings))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, r"action must be in \[0, 17\], got -1"),
        ((18,), ValueError, r"action must be in \[0, 17\], got 18"),
        ((1.5,), TypeError, "incompatible"),
        (("x",), TypeError, "incompatible"),
        ((0, 1.01), ValueError, r"paddle_strength must be in \[-1, 1\], got 1.01"),
        ((0, float("nan")), ValueError, "paddle_strength .*nan"),
    ],
)
def test_a_wrong_action_is_named_and_changes_nothing(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    console = Console("pong")
    before = console.snapshot()
    with pytest.raises(error, match=message):
        console.act(*arguments)
    assert console.snapshot() == before


def test_a_rom_of_the_wrong_size_or_an_unknown_scheme_is_refused() -> None:
    rom = rom_file("pitfall").read_bytes()
    with pytest.raises(ValueError, match="must have 4096 bytes, got 4095"):
        _core.Console("pitfall", rom[:-1], random_seed=0)
    with pytest.raises(ValueError, match="must have 8192 bytes, got 4096"):
        _core.Console("pitfall", rom, random_seed=0, scheme="F8")
    with pytest.raises(ValueError, match="unknown cartridge scheme 'F9'"):
        _core.Console("pitfall", rom, random_seed=0, scheme="F9")
    with pytest.raises(ValueError, match="unknown game 'combat'"):
        _core.Console("combat", rom, random_seed=0)


def test_arrays_are_copies() -> None:
    console = Console("pong")
    arrays = {
        name: getattr(console, name) for name in ("ram", "screen", "screen_grey", "screen_rgb")
    }
    for name, array in arrays.items():
        assert array.dtype == np.uint8
        before = array.copy()
        array[:] = 7
        assert np.array_equal(getattr(console, name), before)
