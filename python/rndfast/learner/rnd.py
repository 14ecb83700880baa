"""The bonuses: random network distillation (paper, 2.2 to 2.4), and its sibling DRND.

A bonus is the intrinsic reward and the loss behind it. It reads the newest frame, or the vector, of
the *next* observation. In each rollout its rewards come first, by the statistics so far; then the
statistics take the rollout in; then the predictor learns by the new ones.
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
        config: ``int_reward_clip`` is read, and for DRND ``drnd_alpha``.
    """

    rewards_are_errors = True  # before they are scaled: those of the predictor

    def __init__(self, networks: RndNetworks, config: RndConfig) -> None:
        self.networks = networks
        self.return_moments = RunningMoments((), prior_count=PRIOR_COUNT)
        self._config = config

    def draw_choices(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """``shape`` int64: which target each transition of a rollout trains the predictor on.

        There is one target: nothing is drawn.
        """
        del generator
        return torch.zeros(shape, dtype=torch.int64)

    @property
    def learning(self) -> nn.Module:
        """The network whose parameters the loss trains."""
        return self.networks.predictor

    def targets(self, inputs: Tensor, choices: Tensor) -> Tensor:
        """``(B, F)``: features of normalised observations, that the predictor learns to predict.

        ``choices`` are ``(B,)``, of `draw_choices`.
        """
        del choices
        features: Tensor = self.networks.target(inputs)
        return features

    def rewards(self, inputs: Tensor) -> Tensor:
        """``(B,)``: intrinsic rewards of normalised observations before they are scaled."""
        return self.losses(inputs, self.networks.target(inputs))

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


class Drnd(Rnd):
    """Distributional RND: several targets, of which the predictor learns the mean.

    Each transition of a rollout trains the predictor on one target, drawn anew for each rollout.
    What it predicts of an observation then approaches the mean of the draws, whose spread says how
    often the observation was seen (Yang, Tao, Lyu and Li, ICML 2024).
    """

    rewards_are_errors = False

    def draw_choices(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """``shape`` int64: a target for each transition of a rollout, all equally likely."""
        return torch.randint(len(self.networks.targets), shape, generator=generator)

    def targets(self, inputs: Tensor, choices: Tensor) -> Tensor:
        """``(B, F)``: features of normalised observations by the target chosen for each."""
        choices = choices[None, :, None].expand(1, -1, self._config.num_features)
        return self._all_targets(inputs).gather(0, choices)[0]

    def rewards(self, inputs: Tensor) -> Tensor:
        """``(B,)``: intrinsic rewards of normalised observations before they are scaled."""
        predicted: Tensor = self.networks.predictor(inputs)
        return drnd_bonus(predicted, self._all_targets(inputs), self._config.drnd_alpha)

    def _all_targets(self, inputs: Tensor) -> Tensor:
        """``(K, B, F)``: features of normalised observations by each of the K targets."""
        return torch.stack([target(inputs) for target in self.networks.targets])


def bonus_of(networks: RndNetworks, config: RndConfig) -> Rnd:
    """The bonus that the settings name, with networks that were made by them."""
    return (Drnd if config.bonus == "drnd" else Rnd)(networks, config)


def drnd_bonus(predicted: Tensor, targets: Tensor, alpha: float) -> Tensor:
    """``(B,)``: DRND's bonus, before it is scaled.

    With f the prediction, mu and B2 the mean and the mean square of the targets, it is ``alpha *
    sum((f - mu)^2) + (1 - alpha) * mean(sqrt(clip(|f^2 - mu^2| / (B2 - mu^2), 1e-3, 1)))`` over
    features. The square under the second mean is an unbiased estimate of 1 / n for an observation
    that was seen n times, if f is the mean of n targets drawn for it.

    Args:
        predicted: ``(B, F)``.
        targets: ``(K, B, F)``, K at least 2.
        alpha: Weight of the first term.
    """
    mean = targets.mean(dim=0)
    # as differences: those of squares would lose digits
    variance = (targets - mean).square().mean(dim=0).clamp(min=torch.finfo(torch.float32).tiny)
    difference = predicted - mean
    ratio = (difference * (predicted + mean)).abs() / variance
    novelty = ratio.clamp(1e-3, 1).sqrt().mean(dim=1)
    return alpha * difference.square().sum(dim=1) + (1 - alpha) * novelty


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
