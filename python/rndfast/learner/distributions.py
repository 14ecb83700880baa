"""How actions are drawn: one of several, or a point of a box.

The policy network gives each observation the parameters of a distribution; noise that is drawn for
all environments at once decides, so that an environment's action does not depend on what it is
evaluated beside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Categorical:
    """One of ``num_actions``, by logits ``(B, num_actions)``."""

    num_actions: int

    @property
    def num_outputs(self) -> int:
        """Outputs of the network's last layer."""
        return self.num_actions

    def empty_actions(self, *shape: int) -> NDArray[np.int64]:
        """Where actions of that many transitions are stored."""
        return np.zeros(shape, np.int64)

    def draw_noise(self, size: int, generator: torch.Generator) -> Tensor:
        """``(size, num_actions)``: random numbers that `sample` turns into actions."""
        noise = torch.empty(size, self.num_actions, device=generator.device)
        return noise.exponential_(generator=generator)

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        """Draw ``(B,)`` int64 actions.

        An exponential variable of rate p is the first among others with probability p, if these sum
        to one.
        """
        return (torch.softmax(params, dim=1) / noise).argmax(dim=1)

    def log_probs(self, params: Tensor, actions: Tensor) -> Tensor:
        """``(B,)``: log-probability of each action."""
        return torch.log_softmax(params, dim=1).gather(1, actions[:, None]).squeeze(1)

    def entropy(self, params: Tensor) -> Tensor:
        """``(B,)``: in nats."""
        log_probs = torch.log_softmax(params, dim=1)
        return -(log_probs.exp() * log_probs).sum(dim=1)


@dataclass(frozen=True)
class DiagonalGaussian:
    """A point of ``num_dims`` coordinates, each normal on its own.

    Parameters are ``(B, 2 * num_dims)``: means, then the logarithms of the standard deviations.
    """

    num_dims: int

    @property
    def num_outputs(self) -> int:
        """Outputs of the network's last layer: the means."""
        return self.num_dims

    def empty_actions(self, *shape: int) -> NDArray[np.float32]:
        """Where actions of that many transitions are stored."""
        return np.zeros((*shape, self.num_dims), np.float32)

    def draw_noise(self, size: int, generator: torch.Generator) -> Tensor:
        """``(size, num_dims)``: random numbers that `sample` turns into actions."""
        return torch.randn(size, self.num_dims, generator=generator, device=generator.device)

    def sample(self, params: Tensor, noise: Tensor) -> Tensor:
        """Draw ``(B, num_dims)`` float32 actions."""
        mean, log_std = params.chunk(2, dim=1)
        return mean + log_std.exp() * noise

    def log_probs(self, params: Tensor, actions: Tensor) -> Tensor:
        """``(B,)``: log-density of each action."""
        mean, log_std = params.chunk(2, dim=1)
        deviations = (actions - mean) * torch.exp(-log_std)
        return -(0.5 * deviations.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(dim=1)

    def entropy(self, params: Tensor) -> Tensor:
        """``(B,)``: in nats."""
        _, log_std = params.chunk(2, dim=1)
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(dim=1)


ActionDistribution = Categorical | DiagonalGaussian


def distribution_over(space: gymnasium.Space[object]) -> ActionDistribution:
    """The distribution for an environment's actions.

    Raises:
        ValueError: They are neither Discrete from 0 on nor a Box of one axis.
    """
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return Categorical(int(space.n))
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return DiagonalGaussian(space.shape[0])
    raise ValueError(f"actions must be Discrete from 0 on, or a Box of one axis, got {space}")
