"""Random network distillation: the intrinsic reward and the loss behind it (paper, 2.2 to 2.4).

The bonus reads the newest frame, or the vector, of the *next* observation. In each rollout its
rewards come first, by the statistics so far; then the statistics take the rollout in; then the
predictor learns by the new ones.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rndfast._core import DiscountedReturnFilter, RunningMoments
from rndfast.config import RndConfig
from rndfast.learner.finite import require_finite
from rndfast.learner.networks import RndNetworks
from rndfast.runtime.processes import Ranks

# The authors' statistics start from this many samples of mean 0 and variance 1, so that no variance
# is ever zero.
PRIOR_COUNT = 1e-4


class Rnd:
    """Target and predictor, and the scale of the rewards.

    The statistics of the observations belong to the agent, whose policy reads vectors by them too;
    the sums of rewards that have been discounted so far belong to the environments.

    Args:
        networks: Target and predictor.
        config: ``int_reward_clip`` is read.
    """

    def __init__(self, networks: RndNetworks, config: RndConfig) -> None:
        self.networks = networks
        self.return_moments = RunningMoments((), prior_count=PRIOR_COUNT)
        self._config = config

    @property
    def learning(self) -> nn.Module:
        """The network whose parameters the loss trains."""
        return self.networks.predictor

    def targets(self, inputs: Tensor) -> Tensor:
        """``(B, F)``: features of normalised observations, that the predictor learns to predict."""
        features: Tensor = self.networks.target(inputs)
        return features

    def rewards(self, inputs: Tensor) -> Tensor:
        """``(B,)``: intrinsic rewards of normalised observations before they are scaled."""
        return self.losses(inputs, self.targets(inputs))

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """``(B,)``: the predictor's loss on each observation, with gradients."""
        return feature_errors(self.networks.predictor(inputs), targets)

    def scale(
        self, rewards: NDArray[np.float32], return_filter: DiscountedReturnFilter, ranks: Ranks
    ) -> NDArray[np.float32]:
        """``(T, N)``: divide by the running deviation of the discounted sums of rewards.

        The rollout enters the statistics first; the mean is not subtracted (paper, section 2.4).

        Raises:
            FloatingPointError: A reward is NaN or infinite, before or after.
        """
        require_finite("intrinsic rewards", rewards)
        ranks.update_moments(self.return_moments, return_filter.update(rewards))
        scaled = scaled_rewards(rewards, self.return_moments, self._config.int_reward_clip)
        require_finite("scaled intrinsic rewards", scaled)
        return scaled


def feature_errors(predicted: Tensor, target: Tensor) -> Tensor:
    """``(B,)``: mean over features of the squared prediction error."""
    return (predicted - target).square().mean(dim=1)


def scaled_rewards(
    rewards: NDArray[np.float32], return_moments: RunningMoments, clip: float | None
) -> NDArray[np.float32]:
    """Rewards over the deviation of their discounted sums; ``clip`` bounds them, None does not."""
    scaled: NDArray[np.float32] = (rewards / np.sqrt(return_moments.var)).astype(np.float32)
    if clip is not None:
        np.clip(scaled, -clip, clip, out=scaled)
    return scaled


def draw_predictor_mask(
    size: int, proportion: float, generator: torch.Generator
) -> NDArray[np.bool_]:
    """``(size,)`` bool: the rows that train the predictor, each drawn on its own."""
    mask: NDArray[np.bool_] = (torch.rand(size, generator=generator) < proportion).numpy()
    return mask
