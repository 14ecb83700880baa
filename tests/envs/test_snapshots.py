# SPDX-License-Identifier: MIT
"""Which snapshots are accepted: all that can occur, and no others that could do harm.

The sum of an altered snapshot is made right again, as anyone can. ``tests/fuzz/snapshot_fuzz.cpp``
alters many more of them, under sanitizers.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from tests.reference.micro_roms import KINDS, make_program

from rndfast import AtariVectorEnv, Console, _core
from rndfast.envs.games import GAMES

FACTS: dict[str, dict[str, Any]] = {facts["name"]: facts for facts in _core.games()}
PICTURE_BYTES = 2 * 250 * 160
SUM_BYTES = 8


def header_bytes(snapshot: bytes) -> int:
    """Where the state begins, behind a line of text and the sum."""
    return snapshot.index(b"\n") + 1 + SUM_BYTES


def with_sum(state: bytes | bytearray) -> bytes:
    """Make an altered snapshot one whose sum is right."""
    array = np.frombuffer(bytearray(state), np.uint8)
    _core.add_snapshot_sum(array)
    return array.tobytes()


def refusal(target: Any, snapshot: bytes) -> str | None:
    """Restore a snapshot, or return why it is refused. Nothing must change then."""
    before = target.snapshot()
    try:
        target.restore(snapshot)
    except ValueError as error:
        assert target.snapshot() == before
        return str(error)
    return None


def play(console: _core.Console, rng: random.Random, frames: int) -> None:
    for _ in range(frames):
        console.act(rng.randrange(18), rng.choice((1.0, 1.0, -0.3)))
        if rng.random() < 0.1:
            console.screen  # noqa: B018 (a picture that was looked at is another state)
        if rng.random() < 0.02:
            console.reset()


# --- what can occur is accepted ----------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES)
def test_what_occurs_in_a_game_is_accepted(game: str) -> None:
    rng = random.Random(game)
    settings = {
        "mode": rng.choice(FACTS[game]["modes"]),
        "difficulty": rng.choice(FACTS[game]["difficulties"]),
        "repeat_action_probability": rng.choice((0.0, 0.25)),
    }
    console = Console(game, random_seed=rng.randrange(2**32), **settings)
    twin = Console(game)
    for _ in range(5):
        play(console, rng, rng.randrange(50))
        snapshot = console.snapshot()
        assert refusal(twin, snapshot) is None
        assert twin.snapshot() == snapshot


@pytest.mark.parametrize("game", GAMES)
def test_what_occurs_in_environments_is_accepted(game: str) -> None:
    rng = random.Random(game)
    settings: dict[str, Any] = {
        "frameskip": rng.choice((1, 4)),
        "noop_max": rng.choice((0, 30)),
        "autoreset_mode": rng.choice(("NextStep", "SameStep")),
        "max_num_frames_per_episode": rng.choice((30, 108_000)),
    }
    switches = ("episodic_life", "life_loss_info", "maxpool", "ale_compatible", "full_action_space")
    settings |= {name: rng.random() < 0.5 for name in switches}
    settings["mode"] = rng.choice((None, *FACTS[game]["modes"]))
    envs = AtariVectorEnv(game, num_envs=2, num_threads=1, **settings)
    twin = AtariVectorEnv(game, num_envs=2, num_threads=1, **settings)
    envs.reset(seed=rng.randrange(1000))
    twin.reset(seed=0)
    for _ in range(4):
        for _ in range(rng.randrange(12)):
            envs.step(np.array([rng.randrange(envs.num_actions) for _ in range(2)]))
        snapshot = envs.snapshot()
        assert refusal(twin, snapshot) is None
        assert twin.snapshot() == snapshot


@pytest.mark.parametrize("kind", KINDS)
def test_what_occurs_in_random_programs_is_accepted(kind: str) -> None:
    for seed in range(6):
        rng = random.Random(seed)
        program = make_program(kind, seed)
        made = [
            _core.Console(
                "montezuma_revenge", program.image, random_seed=seed, scheme=program.scheme
            )
            for _ in range(2)
        ]
        for _ in range(5):
            play(made[0], rng, rng.randrange(8))
            snapshot = made[0].snapshot()
            assert refusal(made[1], snapshot) is None
            assert made[1].snapshot() == snapshot


def test_what_occurs_in_a_frame_that_never_ends_is_accepted() -> None:
    jump_to_itself = bytes((0x4C, 0x00, 0xF0))
    rom = jump_to_itself.ljust(0xFFC, b"\0") + bytes((0x00, 0xF0, 0x00, 0xF0))
    made = [_core.Console("montezuma_revenge", rom, random_seed=0, scheme="4K") for _ in range(2)]
    scanlines = []
    for _ in range(5):
        for _ in range(1000):  # of 25,000 instructions each, until clocks of 32 bits overflow
            made[0].act(0)
        snapshot = made[0].snapshot()
        assert refusal(made[1], snapshot) is None
        assert made[1].snapshot() == snapshot
        scanlines.append(int(made[0].processor.split("scanline=")[1].split()[0]))
    assert scanlines != sorted(scanlines)  # the time was counted anew


# --- what cannot is refused --------------------------------------------------------------------

NAMED = {
    *("a flag of the processor", "cpu.is_jammed", "cycle", "frame_start_cycle", "num_lines"),
    *("riot.timer", "riot.shift", "riot.is_read_after_interrupt", "inputs.charge_cycles"),
    *("tia.pf_is_reflected", "tia.first_copy_is_hidden", "tia.star_motion", "tia.is_dumping"),
    *("tia.hmove_blanks_next_pixels", "tia.frame_has_ended", "tia.color_loss_bit"),
    *("tia.was_reset_in_frame", "tia.same_as_above", "tia.changes_at_line_end"),
    *("tia.above_has_blanks", "tia.motion", "tia.position", "tia.moving", "tia.m0_variant"),
    *("tia.star_counter", "tia.no_effect", "tia.enabled", "tia.stale", "tia.cut"),
    *("tia.was_enabled", "tia.shape_from", "tia.shape", "tia.last_line_cycle"),
    *("tia.row", "tia.drawn_clock", "tia.segment_from", "tia.line_clock", "tia.line_end"),
    *("cartridge.bank_offset", "the cartridge's slice", "dpc.counter", "dpc.is_music"),
    *("dpc.music_fraction", "is_partial", "is_greyed", "has_picture", "buffer"),
    "changed_rows",
    *("the television format", "the height of pictures", "repeat_action_probability"),
    *("max_num_frames_per_episode", "the mode", "the difficulty", "the score", "terminal"),
    *("the number of lives", "the decoder's memory", "the action held", "was_literal"),
    *("the strength of the action held", "the paddle's resistance", "frame_number"),
    *("episode_frame_number", "the number of random words that are used"),
}


def test_each_member_is_checked() -> None:
    """Whatever member is damaged, a check of its own names it; no check is never reached."""
    console = Console("montezuma_revenge")
    play(console, random.Random(0), 20)
    snapshot = console.snapshot()
    begin = header_bytes(snapshot)
    found = set()
    for place in range(begin, len(snapshot) - PICTURE_BYTES):
        for value in (0x01, 0x80, 0xFF):
            altered = bytearray(snapshot)
            altered[place] ^= value
            said = refusal(console, with_sum(altered))
            if said is None:
                console.restore(snapshot)
                continue
            start = "the snapshot holds an impossible state: "
            assert said.startswith(start)
            found.add(said.removeprefix(start).split(" must ")[0])
    assert found == NAMED


def test_a_generator_that_gives_nothing_but_zero_is_refused() -> None:
    envs = AtariVectorEnv("montezuma_revenge", num_threads=1)
    envs.reset(seed=7)
    snapshot = envs.snapshot()
    expected = np.random.RandomState(7)
    expected.bytes(4)  # the first draw makes all words anew
    words = expected.get_state(legacy=False)["state"]["key"].astype("<u4").tobytes()
    assert snapshot.count(words) == 2  # of the sticky actions and of the no-ops
    for place in (snapshot.index(words), snapshot.rindex(words)):
        altered = snapshot[:place] + bytes(len(words)) + snapshot[place + len(words) :]
        said = refusal(envs, with_sum(altered))
        assert said == (
            "env 0: the snapshot holds an impossible state: a random generator must not be all zero"
        )


def test_a_snapshot_with_other_settings_inside_is_refused() -> None:
    """They are in the text, too: here the text is right, and the console is another one."""
    sticky = AtariVectorEnv("pong", num_threads=1)
    other = AtariVectorEnv("pong", num_threads=1, repeat_action_probability=0.5)
    for envs in (sticky, other):
        envs.reset(seed=0)
    line, rest = sticky.snapshot().split(b"\n", 1)
    swapped = line + b"\n" + other.snapshot().split(b"\n", 1)[1]
    assert len(rest) + len(line) + 1 == len(swapped)
    assert "settings must be those of the environment" in (refusal(sticky, with_sum(swapped)) or "")


@pytest.mark.parametrize("game", ["montezuma_revenge", "pitfall2", "elevator_action", "kaboom"])
def test_altered_snapshots_are_refused_or_run(game: str) -> None:
    rng = random.Random(game)
    console = Console(game)
    play(console, rng, 30)
    snapshot = console.snapshot()
    begin, end = header_bytes(snapshot), len(snapshot) - PICTURE_BYTES
    num_refused = 0
    for _ in range(60):
        altered = bytearray(snapshot)
        for _ in range(rng.randint(1, 16)):
            altered[rng.randrange(begin, end)] = rng.choice((0, 1, 2, 0x7F, 0xFF))
        num_refused += refusal(console, with_sum(altered)) is not None
        play(console, rng, 30)
        assert refusal(console, console.snapshot()) is None
        assert refusal(console, snapshot) is None
    assert 5 < num_refused < 60
