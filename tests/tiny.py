"""A run small enough for a test, and an environment that needs no console."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from tests.reference.halves import Step, SteppedTogether

from rndfast.config import AtariConfig, Config, EnvConfig, PpoConfig, RndConfig, RunConfig

NUM_ENVS = 4
STEPS = 6
SIDE = 52  # pixels; the smallest round size that the convolutions take


def tiny_config(run_dir: Path, **run: Any) -> Config:
    """Four environments, six steps, one epoch."""
    return Config(
        env=EnvConfig(num_envs=NUM_ENVS),
        atari=AtariConfig(img_height=SIDE, img_width=SIDE),
        ppo=PpoConfig(rollout_steps=STEPS, update_epochs=1, num_minibatches=2),
        rnd=RndConfig(obs_norm_steps=8),
        run=dataclasses.replace(
            RunConfig(
                run_dir=run_dir,
                total_transitions=4 * NUM_ENVS * STEPS,
                num_threads=1,
                precision="float32",
            ),
            **run,
        ),
    )


class PeriodicEnv(SteppedTogether):
    """Episodes of exactly one rollout: a reset between rollouts changes nothing that can be seen.

    The frame at step t of environment n is random but the same in every episode; the reward depends
    on the action.
    """

    num_envs = NUM_ENVS
    single_observation_space = Box(0, 255, (1, SIDE, SIDE), np.uint8)
    single_action_space = Discrete(3)

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.pictures = rng.integers(0, 256, (STEPS, NUM_ENVS, SIDE, SIDE), dtype=np.uint8)
        self._t = 0
        self._episode_return = np.zeros(NUM_ENVS, np.float32)
        self.reset_seeds: list[list[int]] = []

    def reset(self, *, seed: int | list[int] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start every environment's episode."""
        assert isinstance(seed, list)
        self.reset_seeds.append(seed)
        self._t = 0
        self._episode_return[:] = 0
        return self._observe(), {}

    def step(self, actions: NDArray[Any]) -> Step:
        """Step; all episodes end together."""
        self._t += 1
        rewards = actions.astype(np.float32) - 1
        self._episode_return += rewards
        terminated = np.full(NUM_ENVS, self._t == STEPS)
        info = {
            "reward_raw": rewards,
            "episode_return": self._episode_return.copy(),
            "episode_length": np.full(NUM_ENVS, self._t, np.int32),
        }
        if self._t == STEPS:
            self._t = 0
            self._episode_return[:] = 0
        return self._observe(), np.sign(rewards), terminated, np.zeros(NUM_ENVS, np.bool_), info

    def copy_state(self, memory: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Only asked for between rollouts, when every episode has just begun."""
        assert self._t == 0
        return np.frombuffer(b"between", np.uint8).copy() if memory is None else memory

    def snapshot_of(self, state: NDArray[np.uint8]) -> bytes:
        """Make of it what is restored."""
        return state.tobytes() + b" episodes"

    def restore(self, snapshot: bytes) -> None:
        """Begin the episodes."""
        assert snapshot == b"between episodes"
        self._t = 0
        self._episode_return[:] = 0

    def close(self) -> None:
        """Nothing to free."""

    def _observe(self) -> NDArray[np.uint8]:
        frames: NDArray[np.uint8] = self.pictures[self._t][:, None].copy()
        return frames
