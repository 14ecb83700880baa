"""The intrinsic reward and the distillation loss (paper, sections 2.2 and 2.4).

Both read the newest frame of the *next* observation. Per rollout: rewards with the statistics so
far, then the update of the statistics, then training with the new ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from rndfast._core import normalize_frames
from rndfast.agent import Agent, require_finite
from rndfast.config import RndConfig
from rndfast.rollout import Rollout, SameStepEnv, empty_blocks, newest_frames
from rndfast.workers import Workers, as_numpy


class ObservationNormalizer:
    """``clip((frame - mean) / std)`` with the pixel statistics of one moment."""

    def __init__(self, agent: Agent, obs_clip: float, workers: Workers) -> None:
        self._mean = agent.obs_moments.mean  # (C, H, W)
        self._var = agent.obs_moments.var
        self._clip = obs_clip
        self._workers = workers
        mean_high = self._mean.astype(np.float32)
        mean_low = (self._mean - mean_high).astype(np.float32)
        inverse_std = (1 / np.sqrt(self._var)).astype(np.float32)
        self._on_device = [workers.to_device(a) for a in (mean_high, mean_low, inverse_std)]

    def next_frames(self, rollout: Rollout, indices: NDArray[np.int64]) -> torch.Tensor:
        """``(B, 16 * C, H // 4, W // 4)``: RND's inputs of transitions on the device, as blocks."""
        workers, positions = self._workers, rollout.next_frame_indices(indices)
        if rollout.on_device is not None:
            return rollout.on_device.normalized(
                workers.to_device(positions), self._on_device, self._clip, workers.dtype
            )
        blocks = empty_blocks(rollout, len(indices), 1, workers)
        normalize_frames(
            rollout.frames, positions, self._mean, self._var, out=as_numpy(blocks), clip=self._clip
        )
        return blocks.permute(0, 3, 1, 2)


def initialize_obs_moments(
    agent: Agent, env: SameStepEnv, num_steps: int, rollout_steps: int, seed: int
) -> None:
    """Start the pixel statistics with a random agent's frames.

    They are merged once per ``rollout_steps`` steps. The caller resets the environments afterwards:
    nothing of these episodes enters training.
    """
    rng = np.random.default_rng(seed)
    observations, _ = env.reset(seed=seed)
    num_envs = len(observations)
    frames: list[NDArray[np.uint8]] = []
    for step in range(1, num_steps + 1):
        actions = rng.integers(agent.num_actions, size=num_envs)
        observations = env.step(actions)[0]
        frames.append(newest_frames(observations))
        if step % rollout_steps == 0 or step == num_steps:
            agent.obs_moments.update(np.stack(frames))
            frames.clear()


def feature_errors(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``(B,)``: mean over features of the squared prediction error."""
    return (predicted - target).square().mean(dim=1)


def map_transitions(
    function: Callable[[torch.Tensor], torch.Tensor],
    rollout: Rollout,
    normalizer: ObservationNormalizer,
    workers: Workers,
) -> torch.Tensor:
    """``(T * N, ...)`` on the device: a function of every RND input, without gradients."""

    def evaluate(indices: NDArray[np.int64]) -> torch.Tensor:
        with torch.no_grad(), workers.autocast():
            return function(normalizer.next_frames(rollout, indices))

    pieces = workers.pieces(rollout.indices().ravel())
    return torch.cat(list(workers.map(evaluate, pieces)))


def intrinsic_rewards(
    agent: Agent, rollout: Rollout, config: RndConfig, workers: Workers
) -> NDArray[np.float32]:
    """``(T, N)`` float32: the predictor's error on each next frame, not yet scaled."""
    errors = map_transitions(
        lambda frames: feature_errors(agent.rnd.predictor(frames), agent.rnd.target(frames)),
        rollout,
        ObservationNormalizer(agent, config.obs_clip, workers),
        workers,
    )
    rewards: NDArray[np.float32] = errors.cpu().numpy()  # waits for a GPU: the host sums returns
    require_finite("intrinsic rewards", rewards)
    return rewards.reshape(rollout.num_steps, rollout.num_envs)


def scale_intrinsic_rewards(
    agent: Agent, rewards: NDArray[np.float32], config: RndConfig
) -> NDArray[np.float32]:
    """Divide by the running standard deviation of the discounted intrinsic returns.

    The rollout enters the statistics first; the mean is not subtracted (paper, section 2.4).
    """
    returns = agent.int_return_filter.update(rewards)
    agent.int_return_moments.update(returns)
    scaled = (rewards / np.sqrt(agent.int_return_moments.var)).astype(np.float32)
    if config.int_reward_clip is not None:
        np.clip(scaled, -config.int_reward_clip, config.int_reward_clip, out=scaled)
    require_finite("scaled intrinsic rewards", scaled)
    return scaled
