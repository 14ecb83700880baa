"""One episode of a trained agent: what was new to it, and how that looked (paper, figure 1)."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rndfast.runs.recording import Recording
from rndfast.runs.trained_agent import TrainedAgent
from rndfast.runtime.compute import torch_threads

# Pictures at the highest peaks of the bonus, at least this part of the episode apart.
NUM_PEAKS = 8
PEAK_DISTANCE = 1 / 40

# Steps after which a room's picture is taken, if the first stay in it is so long.
STEPS_TO_SHOW = 8


@dataclass(frozen=True)
class Moment:
    """A step of the episode, with what there was to see."""

    step: int
    room: int | None
    picture: bytes  # a PNG file


@dataclass(frozen=True)
class PlayedEpisode:
    """An episode: arrays have an entry for each step."""

    rewards: NDArray[np.float32]  # (L,), unclipped
    bonuses: NDArray[np.float32] | None  # (L,), scaled; None without a bonus
    rooms: NDArray[np.int64] | None  # (L,); None in games without rooms
    peaks: list[Moment]  # where the bonus was highest, in the order of time
    first_visits: dict[int, Moment]  # to each room


def play_episode(agent: TrainedAgent, seed: int) -> PlayedEpisode:
    """Play one game of Atari, and keep the pictures that the page shows."""
    rewards, bonuses, rooms = [], [], []
    pictures = Recording()
    with (
        torch_threads(1),  # more would wait for each other: a pass is of one observation
        contextlib.closing(agent.make_env(render_mode="rgb_array")) as env,
    ):
        observations, _ = env.reset(seed=seed)
        state, is_over = agent.initial_state(1), False
        picture = env.render()[0]
        while not is_over:
            actions, _, state = agent.act(observations, state)
            observations, _, terminated, truncated, info = env.step(actions)
            rewards.append(info["reward_raw"][0])
            if agent.rnd is not None:
                bonuses.append(agent.bonus(observations)[0])
            if "room" in info:
                last = info["final_info"] if terminated[0] or truncated[0] else info
                rooms.append(int(last["room"][0]))
            is_over = bool(info["game_over"][0])
            if not is_over:  # otherwise the next game is on the screen already
                picture = env.render()[0]
            pictures.append(picture)

    def moment(step: int) -> Moment:
        return Moment(step, rooms[step] if rooms else None, png(np.asarray(pictures[step])))

    curve = np.array(bonuses, np.float32) if bonuses else None
    steps = sorted(peaks(curve)) if curve is not None else []
    first_steps = {room: rooms.index(room) for room in dict.fromkeys(rooms)}
    for room, step in first_steps.items():  # the game needs some frames to show another room
        stay = next((i for i, other in enumerate(rooms[step:]) if other != room), len(rooms) - step)
        first_steps[room] = step + min(STEPS_TO_SHOW, stay - 1)
    return PlayedEpisode(
        np.array(rewards, np.float32),
        curve,
        np.array(rooms) if rooms else None,
        [moment(step) for step in steps],
        {room: moment(step) for room, step in first_steps.items()},
    )


def peaks(values: NDArray[np.float32]) -> list[int]:
    """Steps of the highest values, none near a higher one."""
    distance = max(1, round(len(values) * PEAK_DISTANCE))
    found: list[int] = []
    for step in np.argsort(-values, kind="stable").tolist():
        if all(abs(step - other) >= distance for other in found):
            found.append(step)
        if len(found) == NUM_PEAKS:
            break
    return found


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of ``(H, W, 3)`` pixels."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, pixels, format="png")
    return file.getvalue()
