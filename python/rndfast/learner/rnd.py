"""The intrinsic reward and the distillation loss (paper, sections 2.2 and 2.4).

Both read the newest frame, or the vector, of the *next* observation. Per rollout: rewards with the
statistics so far, then the update of the statistics, then training with the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rndfast.config import Config, RndConfig
from rndfast.envs.gymnasium_envs import random_actions
from rndfast.envs.protocol import SameStepEnv
from rndfast.learner.agent import Agent, require_finite
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.observations import newest
from rndfast.learner.rollout import Rollout, reset_envs
from rndfast.runtime.compute import Workers


def initialize_obs_moments(
    agent: Agent, env: SameStepEnv, config: Config, workers: Workers
) -> None:
    """Start the statistics of the observations with a random agent's.

    They are merged once per ``rollout_steps`` steps, of ``obs_norm_steps`` altogether. The caller
    resets the environments afterwards: nothing of these episodes enters training.
    """
    num_steps, seed = config.rnd.obs_norm_steps, config.run.seed
    rng = np.random.default_rng(seed)
    ranks, space = workers.ranks, env.single_action_space
    reset_envs(env, seed, ranks)
    num_envs = env.num_envs * ranks.world_size  # of the run
    assert isinstance(space, Discrete | Box)
    batch: list[NDArray[Any]] = []
    for step in range(1, num_steps + 1):
        actions = ranks.own(random_actions(space, num_envs, rng))
        observations = env.step(actions)[0]
        batch.append(newest(observations))
        if step % config.ppo.rollout_steps == 0 or step == num_steps:
            ranks.update_moments(agent.obs_moments, np.stack(batch))
            batch.clear()


def feature_errors(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``(B,)``: mean over features of the squared prediction error."""
    return (predicted - target).square().mean(dim=1)


def map_transitions(
    function: Callable[[torch.Tensor], torch.Tensor],
    rollout: Rollout,
    normalizer: Normalizer,
    workers: Workers,
) -> torch.Tensor:
    """``(T * N, ...)`` on the device: a function of every RND input, without gradients."""

    def evaluate(indices: NDArray[np.int64]) -> torch.Tensor:
        with torch.no_grad(), workers.autocast():
            return function(rollout.observations.next_input(indices, normalizer, workers))

    pieces = workers.pieces(rollout.indices().ravel())
    return torch.cat(list(workers.map(evaluate, pieces)))


def intrinsic_rewards(
    agent: Agent, rollout: Rollout, config: RndConfig, workers: Workers
) -> NDArray[np.float32]:
    """``(T, N)`` float32: the predictor's error on each next observation, not yet scaled."""
    networks = agent.rnd
    errors = map_transitions(
        lambda inputs: feature_errors(networks.predictor(inputs), networks.target(inputs)),
        rollout,
        Normalizer(agent.obs_moments, config.obs_clip, workers),
        workers,
    )
    rewards: NDArray[np.float32] = errors.cpu().numpy()  # waits for a GPU: the host sums returns
    require_finite("intrinsic rewards", rewards)
    return rewards.reshape(rollout.num_steps, rollout.num_envs)


def scale_intrinsic_rewards(
    agent: Agent, rewards: NDArray[np.float32], config: RndConfig, workers: Workers
) -> NDArray[np.float32]:
    """Divide by the running standard deviation of the discounted intrinsic returns.

    The rollout enters the statistics first; the mean is not subtracted (paper, section 2.4).
    """
    returns = agent.int_return_filter.update(rewards)
    workers.ranks.update_moments(agent.int_return_moments, returns)
    scaled = (rewards / np.sqrt(agent.int_return_moments.var)).astype(np.float32)
    if config.int_reward_clip is not None:
        np.clip(scaled, -config.int_reward_clip, config.int_reward_clip, out=scaled)
    require_finite("scaled intrinsic rewards", scaled)
    return scaled
