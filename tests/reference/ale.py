"""The oracle of the console: ale-py's own, played in lockstep with ours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ale_py
import ale_py.roms
import ale_py.vector_env
import numpy as np
from ale_py import ALEInterface

from rndfast import _core

RAM_START = 0x80  # where programs see the RAM


class AleVectorEnv(ale_py.vector_env.AtariVectorEnv):
    """ale-py's vector environment, kept from writing to Gymnasium's class-level metadata."""

    metadata: dict[str, Any] = {}  # noqa: RUF012 (Gymnasium's declaration)


class Match(NamedTuple):
    """How far two consoles were played, and the first difference between them, as text."""

    frames: int
    resets: int
    game_overs: int
    difference: str | None


def rom_file(game: str) -> Path:
    """Return ale-py's ROM of a game."""
    path = ale_py.roms.get_rom_path(game)
    assert path is not None
    return Path(path)


def make_ale(
    rom: Path,
    *,
    seed: int = 0,
    stickiness: float = 0.25,
    max_frames: int = 0,
    mode: int | None = None,
    difficulty: int | None = None,
) -> ALEInterface:
    """Load a ROM as Gymnasium does: the mode and difficulty are set after loading, then a reset."""
    ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", stickiness)
    ale.setInt("max_num_frames_per_episode", max_frames)
    ale.loadROM(rom)
    if mode is not None:
        ale.setMode(mode)
    if difficulty is not None:
        ale.setDifficulty(difficulty)
    if mode is not None or difficulty is not None:
        ale.reset_game()
    return ale


def legal_actions(ale: ALEInterface) -> list[int]:
    """Return the numbers of all actions that the loaded game reacts to."""
    return [int(action.value) for action in ale.getLegalActionSet()]


def state_difference(console: _core.Console, ale: ALEInterface, *, look: bool = True) -> str | None:
    """Describe what differs in all that can be seen of two consoles, None if nothing does.

    Args:
        console: Ours.
        ale: The oracle.
        look: Whether to compare the pictures, which makes our console draw.
    """
    facts = {
        "lives": (console.lives, ale.lives()),
        "game over": (console.game_over, ale.game_over()),
        "truncated": (console.truncated, ale.game_truncated()),
        "frame number": (console.frame_number, ale.getFrameNumber()),
        "episode frame number": (console.episode_frame_number, ale.getEpisodeFrameNumber()),
    }
    expected_ram = ale.getRAM()
    for i in np.flatnonzero(console.ram != expected_ram)[:1]:
        return f"RAM ${RAM_START + i:02X}: ours ${console.ram[i]:02X}, ale's ${expected_ram[i]:02X}"
    if look:
        screen, expected_screen = console.screen, ale.getScreen()
        if screen.shape != expected_screen.shape:
            return f"screen: ours {screen.shape}, ale's {expected_screen.shape}"
        differing = np.argwhere(screen != expected_screen)
        for row, column in differing[:1]:
            return (
                f"row {row}, column {column}: ours ${screen[row, column]:02X}, "
                f"ale's ${expected_screen[row, column]:02X}, {len(differing)} pixels in all"
            )
    for name, (ours, expected) in facts.items():
        if ours != expected:
            return f"{name}: ours {ours}, ale's {expected}"
    return None


def first_difference(
    console: _core.Console,
    ale: ALEInterface,
    *,
    frames: int,
    rng: random.Random,
    actions: Sequence[int],
    reset_chance: float = 0.002,
    paddle_strengths: Sequence[float] = (1.0,),
) -> Match:
    """Play two consoles that have just been loaded, and compare them after every frame.

    Random actions are held for random times. Resets come at random moments, and a few frames after
    the end of a game. In one stretch of frames out of two, only every eighth picture is looked at.

    Returns:
        What was played. The difference tells the frame, its values and our processor's state.
    """
    action, strength, resets, game_overs = 0, 1.0, 0, 0
    where, difference = "after loading", state_difference(console, ale)
    frame = 0
    while difference is None and frame < frames:
        frame += 1
        if rng.random() < 0.2:
            action, strength = rng.choice(actions), rng.choice(paddle_strengths)
        where = f"frame {frame}, action {action}"
        reward, expected_reward = console.act(action, strength), ale.act(action, strength)
        look = frame % 128 < 64 or rng.random() < 1 / 8
        difference = state_difference(console, ale, look=look)
        if reward != expected_reward:
            difference = f"reward: ours {reward}, ale's {expected_reward}"
        is_over = ale.game_over()
        if difference is None and rng.random() < (0.2 if is_over else reset_chance):
            resets, game_overs = resets + 1, game_overs + is_over
            where = f"reset {resets} after frame {frame}"
            console.reset()
            ale.reset_game()
            difference = state_difference(console, ale, look=rng.random() < 0.5)
    if difference is not None:
        difference = f"{where}: {difference}; {console.processor}"
    return Match(frame, resets, game_overs, difference)
