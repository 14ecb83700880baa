"""The exploration phase of Go-Explore (Ecoffet et al. 2019), on Montezuma's Revenge or another.

A cell is a picture seen from afar: 11 x 8 pixels of 8 shades. The archive keeps, for each cell, a
state of the console that shows it and the way there. Cells that were seldom chosen are returned to,
by restoring their states, and explored from at random. The best way is played again, and filmed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import imageio_ffmpeg
import numpy as np
import tyro
from rich.progress import track

from rndfast import AtariVectorEnv

STEPS = 100  # of each exploration
REPEAT = 0.95  # chance that a random action is the last one again
SETTINGS: dict[str, Any] = {
    # the same actions give the same game
    "repeat_action_probability": 0.0,
    "noop_max": 0,
    # what is observed tells cells apart
    "img_height": 8,
    "img_width": 11,
    "stack_num": 1,
    # a lost life is an end, after which nothing is kept
    "episodic_life": True,
    "autoreset_mode": "SameStep",
    "reward_clipping": False,
}


@dataclass
class Cell:
    """The best way to a cell so far: of the highest score, and the shortest of these."""

    state: bytes  # compressed
    score: float = 0.0
    length_steps: int = 0
    before: Cell | None = None  # the cell that the last exploration began in
    actions: bytes = b""  # from there
    times_chosen: int = 0

    def all_actions(self) -> bytes:
        """From the reset."""
        return self.actions if self.before is None else self.before.all_actions() + self.actions


def keys(observations: np.ndarray[Any, Any]) -> list[bytes]:
    """What tells the cells of observations apart."""
    return [picture.tobytes() for picture in observations // 32]


def explore(envs: AtariVectorEnv, total_steps: int) -> tuple[list[Cell], set[int]]:
    """Fill an archive; returns its cells, and the numbers of the rooms seen, if there are any."""
    rng, ids = np.random.default_rng(0), np.arange(envs.num_envs)
    observations, info = envs.reset(seed=0)
    start = Cell(zlib.compress(envs.get_states(ids[:1])[0], 1))
    archive, rooms = {keys(observations)[0]: start}, set[int]()
    for _ in track(range(max(1, total_steps // (STEPS * envs.num_envs))), "exploring"):
        cells = list(archive.values())
        weights = 1 / np.sqrt([1 + cell.times_chosen for cell in cells])
        chosen = [cells[i] for i in rng.choice(len(cells), len(ids), p=weights / weights.sum())]
        for cell in chosen:
            cell.times_chosen += 1
        envs.set_states(ids, [zlib.decompress(cell.state) for cell in chosen])
        scores, is_alive = np.array([cell.score for cell in chosen]), np.ones(len(ids), bool)
        actions = rng.integers(0, envs.num_actions, (STEPS, len(ids)))
        for t in range(STEPS):
            if t > 0:
                actions[t] = np.where(rng.random(len(ids)) < REPEAT, actions[t - 1], actions[t])
            observations, rewards, terminated, truncated, info = envs.step(actions[t])
            scores += rewards
            is_alive &= ~(terminated | truncated)
            rooms.update(info["room"][is_alive].tolist() if "room" in info else ())
            found = keys(observations)
            for n in np.flatnonzero(is_alive):
                old, length = archive.get(found[n]), chosen[n].length_steps + t + 1
                if old is None or (scores[n], -length) > (old.score, -old.length_steps):
                    state = zlib.compress(envs.get_states(ids[n : n + 1])[0], 1)
                    way = bytes(actions[: t + 1, n].tolist())
                    archive[found[n]] = Cell(state, float(scores[n]), length, chosen[n], way)
    return list(archive.values()), rooms


def replay(game: str, actions: bytes) -> float:
    """Play actions from a reset, and film it; returns the score."""
    envs = AtariVectorEnv(game, 1, render_mode="rgb_array", **SETTINGS)
    envs.reset(seed=0)
    size = envs.render()[0].shape[1::-1]
    writer = imageio_ffmpeg.write_frames(f"{game}.mp4", size, fps=15, macro_block_size=2)
    writer.send(None)
    score = 0.0
    for action in actions:
        score += float(envs.step(np.array([action]))[1][0])
        writer.send(envs.render()[0].tobytes())
    writer.close()
    envs.close()
    return score


def main(game: str = "montezuma_revenge", total_steps: int = 10**7, num_envs: int = 64) -> Cell:
    """Explore, about ten minutes on a laptop, then play the best way again and film it."""
    envs = AtariVectorEnv(game, num_envs, **SETTINGS)
    cells, rooms = explore(envs, total_steps)
    envs.close()
    best = max(cells, key=lambda cell: (cell.score, cell.length_steps))
    print(f"{len(cells)} cells in rooms {sorted(rooms)}; best score {best.score:g}")
    print(f"played again: {replay(game, best.all_actions()):g}, see {game}.mp4")
    return best


if __name__ == "__main__":
    tyro.cli(main)
