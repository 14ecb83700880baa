"""The curiosity bonus alone, as a PyTorch module for any training loop.

It holds all that belongs to random network distillation (paper, sections 2.2 to 2.4), or to DRND:
targets and predictor, the statistics of the observations, and the scale of the rewards. The loop
has one call for each rollout, `RNDBonus.update`, and one for each minibatch, `RNDBonus.loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rndfast._core import DiscountedReturnFilter, RunningMoments
from rndfast.config import PpoConfig, RndConfig
from rndfast.learner.finite import require_finite
from rndfast.learner.networks import RndNetworks
from rndfast.learner.rnd import PRIOR_COUNT, Rnd, bonus_of, scaled_rewards

__all__ = ["DRNDBonus", "RNDBonus"]

# Observations that pass through the networks at once where no gradient is asked for.
_ROWS_AT_ONCE = 1024


class _Bonus(nn.Module):
    """What the bonuses have in common; the settings say which one it is."""

    def __init__(
        self, observation_shape: Sequence[int], num_envs: int, int_gamma: float, config: RndConfig
    ) -> None:
        super().__init__()
        if type(num_envs) is not int:
            raise TypeError(f"num_envs must be an int, got {type(num_envs).__name__} {num_envs!r}")
        self.observation_shape = tuple(observation_shape)
        if len(self.observation_shape) not in (1, 3) or min(self.observation_shape) < 1:
            raise ValueError(
                "observation_shape must be (C, H, W) of images or (D,) of vectors, "
                f"got {self.observation_shape}"
            )
        self.num_envs = num_envs
        self.int_gamma = int_gamma
        self._config = config
        self.rnd = RndNetworks.of(self.observation_shape, config, torch.default_generator)
        self.obs_moments = _Moments(self.observation_shape)
        self.int_return_moments = _Moments(())
        self.int_return_carry: Tensor
        self.register_buffer("int_return_carry", torch.from_numpy(self._int_return_filter().carry))

    def initialize(self, observations: Tensor) -> None:
        """Start the statistics of the observations; may be called again with more of them.

        Args:
            observations: ``(..., *observation_shape)``: a random agent's.

        Raises:
            TypeError: As of `forward`.
            ValueError: As of `forward`, or if observations are not finite.
        """
        rows, _ = self._rows("observations", observations)
        _require_finite_rows("observations", rows)
        self.obs_moments.assign(self.obs_moments.updated(rows))

    def forward(self, next_obs: Tensor) -> Tensor:
        """Return the rewards before they are scaled, without gradients, and change nothing.

        Args:
            next_obs: ``(..., *observation_shape)`` uint8 of images, float32 of vectors, on the
                module's device.

        Returns:
            ``(...)`` float32: how wrong the predictor is, the mean over features of the squared
            error, by the statistics as they are.

        Raises:
            TypeError: ``next_obs`` is no tensor of its dtype.
            ValueError: Its shape or device is wrong.
        """
        rows, leading = self._rows("next_obs", next_obs)
        with torch.no_grad():
            rewards = [
                self._bonus.rewards(self._inputs(batch))
                for batch in torch.split(rows, _ROWS_AT_ONCE)
            ]
        return torch.cat(rewards).reshape(leading)

    def update(self, next_obs: Tensor) -> Tensor:
        """Return the intrinsic rewards of a rollout, then let it move the statistics.

        Rewards are what `forward` says, divided by the running standard deviation of the discounted
        intrinsic returns, this rollout's included. Their sums run forward in time, from one rollout
        into the next, through the ends of episodes.

        Args:
            next_obs: As of `forward`: ``(T, N, *observation_shape)``, or ``(N,
                *observation_shape)``, which is one step. Each rollout once, in order.

        Returns:
            ``(T, N)`` or ``(N,)`` float32.

        Raises:
            TypeError: As of `forward`.
            ValueError: As of `forward`, or if observations are not finite. Nothing has changed.
            FloatingPointError: The networks' outputs are not finite. Nothing has changed.
        """
        rows, leading = self._rows("next_obs", next_obs)
        if leading[-1:] != (self.num_envs,) or len(leading) > 2:
            expected = ", ".join(map(str, (self.num_envs, *self.observation_shape)))
            raise ValueError(
                f"next_obs must have shape (T, {expected}) or ({expected}), "
                f"got {tuple(next_obs.shape)}"
            )
        _require_finite_rows("next_obs", rows)
        raw_rewards = _on_host(self(next_obs))
        require_finite("prediction errors", raw_rewards)
        int_return_filter = self._int_return_filter()
        int_return_filter.carry = _on_host(self.int_return_carry)
        returns = int_return_filter.update(raw_rewards.reshape(-1, self.num_envs))
        int_return_moments = self.int_return_moments.updated(torch.from_numpy(returns))
        obs_moments = self.obs_moments.updated(rows)

        # everything that can raise an error is done: the state changes as a whole or not at all
        self.int_return_carry.copy_(torch.from_numpy(int_return_filter.carry))
        self.int_return_moments.assign(int_return_moments)
        self.obs_moments.assign(obs_moments)
        rewards = scaled_rewards(raw_rewards, int_return_moments, self._config.int_reward_clip)
        return torch.from_numpy(rewards).to(next_obs.device)

    def loss(self, next_obs: Tensor) -> Tensor:
        """Return the predictor's loss, by the statistics as they are.

        Args:
            next_obs: ``(..., *observation_shape)``, as of `forward`: a minibatch.

        Returns:
            ``()`` float32, with gradients: the mean error of some of the rows,
            ``predictor_proportion``, drawn anew each time; 0 if none was drawn.

        Raises:
            TypeError: As of `forward`.
            ValueError: As of `forward`.
        """
        rows, _ = self._rows("next_obs", next_obs)
        proportion = self._config.proportion_with(self.num_envs)
        drawn = rows[torch.rand(len(rows), device=rows.device) < proportion]
        inputs, bonus = self._inputs(drawn), self._bonus
        with torch.no_grad():
            choices = bonus.draw_choices((len(drawn),), torch.default_generator)
            targets = bonus.targets(inputs, choices.to(rows.device))
        return bonus.losses(inputs, targets).sum() / max(len(drawn), 1)

    @property
    def _bonus(self) -> Rnd:
        """The formulas, with these networks."""
        return bonus_of(self.rnd, self._config)

    def _inputs(self, rows: Tensor) -> Tensor:
        """``(B, *observation_shape)`` float32: observations as the networks read them."""
        mean, var = self.obs_moments.mean, self.obs_moments.m2 / self.obs_moments.count
        # in float64: of pixels that hardly ever change, only small differences are left
        inputs = ((rows - mean) / var.sqrt()).clamp(-self._config.obs_clip, self._config.obs_clip)
        return inputs.float()

    def _rows(self, name: str, observations: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Check observations; returns ``(B, *observation_shape)``, and the axes that B combines."""
        dtype = torch.uint8 if len(self.observation_shape) == 3 else torch.float32
        if not isinstance(observations, Tensor) or observations.dtype != dtype:
            got = getattr(observations, "dtype", type(observations).__name__)
            raise TypeError(f"{name} must be a tensor of {dtype}, got {got}")
        num_axes = len(self.observation_shape)
        if tuple(observations.shape[-num_axes:]) != self.observation_shape:
            expected = ", ".join(map(str, self.observation_shape))
            raise ValueError(
                f"{name} must have shape (..., {expected}), got {tuple(observations.shape)}"
            )
        device = self.int_return_carry.device
        if observations.device != device:
            raise ValueError(f"{name} must be on the device {device}, got {observations.device}")
        leading = tuple(observations.shape[:-num_axes])
        return observations.reshape(-1, *self.observation_shape), leading

    def _int_return_filter(self) -> DiscountedReturnFilter:
        return DiscountedReturnFilter(
            self.num_envs, gamma=self.int_gamma, direction=self._config.int_return_direction
        )


class RNDBonus(_Bonus):
    """Intrinsic rewards by random network distillation.

    Observations are single newest frames ``(C, H, W)`` uint8, not stacks, or vectors ``(D,)``
    float32; always those that *follow* an action. In the order of the paper:

    - `initialize`, once, with a random agent's observations;
    - `update`, once for each rollout: rewards by the statistics so far, then the statistics move;
    - `loss`, for each minibatch: by the new statistics. Add it to the loss of the policy, and
      `parameters` to its optimiser, as the paper does, or give it an Adam of its own.

    Intrinsic returns never end with an episode: neither here nor in the loop's advantages; the
    observation that follows an episode's last action is then the next episode's first. Weights, and
    the rows that `loss` draws, come from PyTorch's global random stream.

    ``state_dict`` holds all there is as plain tensors, so that training goes on from it bit for
    bit. The statistics are buffers in float64, updated on the host, wherever the module is: do not
    change its dtype.

    Args:
        observation_shape: ``(C, H, W)``, C the channels of one frame, or ``(D,)``.
        num_envs: N.
        int_gamma: Discount of the intrinsic return that scales the rewards, per step.
        predictor_proportion: As all below, see `rndfast.config.RndConfig`.
        predictor_hidden_layers: Linear layers that the predictor has more than the target.
        obs_clip: Largest magnitude of a normalised pixel or feature.
        int_return_direction: How rewards are summed for their scale.
        int_reward_clip: Largest scaled reward; None: any.
        leaky_relu_slope: Slope below zero in the first layers.
        num_features: Outputs of target and predictor.

    Raises:
        TypeError: ``num_envs`` is no int.
        ValueError: An argument is out of range, or images are too small for the convolutions.

    Example:
        >>> bonus = RNDBonus((3,), num_envs=2)
        >>> next_obs = torch.rand(5, 2, 3)  # (T, N, D)
        >>> bonus.initialize(next_obs)
        >>> bonus.update(next_obs).shape
        torch.Size([5, 2])
        >>> bonus.loss(next_obs.flatten(0, 1)).backward()
    """

    def __init__(
        self,
        observation_shape: Sequence[int],
        *,
        num_envs: int,
        int_gamma: float = PpoConfig.int_gamma,
        predictor_proportion: float | Literal["auto"] = "auto",
        predictor_hidden_layers: int = RndConfig.predictor_hidden_layers,
        obs_clip: float = RndConfig.obs_clip,
        int_return_direction: Literal["forward", "backward"] = RndConfig.int_return_direction,
        int_reward_clip: float | None = RndConfig.int_reward_clip,
        leaky_relu_slope: float = RndConfig.leaky_relu_slope,
        num_features: int = RndConfig.num_features,
    ) -> None:
        config = RndConfig(  # which checks them
            predictor_proportion=predictor_proportion,
            predictor_hidden_layers=predictor_hidden_layers,
            obs_clip=obs_clip,
            int_return_direction=int_return_direction,
            int_reward_clip=int_reward_clip,
            leaky_relu_slope=leaky_relu_slope,
            num_features=num_features,
        )
        super().__init__(observation_shape, num_envs, int_gamma, config)


class DRNDBonus(_Bonus):
    """Intrinsic rewards by distributional RND: several targets instead of one.

    `forward` returns the distance to the targets' mean and an estimate of how seldom an observation
    was seen (`rndfast.learner.rnd.drnd_bonus`), and `loss` trains each row on a target that is
    drawn anew. All else is as in `RNDBonus`.

    Args:
        observation_shape: As all below, see `RNDBonus`.
        num_envs: N.
        num_targets: Random targets, at least 2.
        drnd_alpha: Weight of the distance; the estimate has the rest.
        int_gamma: Discount of the intrinsic return.
        predictor_proportion: Share of the rows that train the predictor.
        predictor_hidden_layers: Linear layers that the predictor has more than a target.
        obs_clip: Largest magnitude of a normalised pixel or feature.
        int_return_direction: How rewards are summed for their scale.
        int_reward_clip: Largest scaled reward; None: any.
        leaky_relu_slope: Slope below zero in the first layers.
        num_features: Outputs of each network.

    Raises:
        TypeError: ``num_envs`` is no int.
        ValueError: An argument is out of range, or images are too small for the convolutions.
    """

    def __init__(
        self,
        observation_shape: Sequence[int],
        *,
        num_envs: int,
        num_targets: int = RndConfig.num_targets,
        drnd_alpha: float = RndConfig.drnd_alpha,
        int_gamma: float = PpoConfig.int_gamma,
        predictor_proportion: float | Literal["auto"] = "auto",
        predictor_hidden_layers: int = RndConfig.predictor_hidden_layers,
        obs_clip: float = RndConfig.obs_clip,
        int_return_direction: Literal["forward", "backward"] = RndConfig.int_return_direction,
        int_reward_clip: float | None = RndConfig.int_reward_clip,
        leaky_relu_slope: float = RndConfig.leaky_relu_slope,
        num_features: int = RndConfig.num_features,
    ) -> None:
        config = RndConfig(
            bonus="drnd",
            num_targets=num_targets,
            drnd_alpha=drnd_alpha,
            predictor_proportion=predictor_proportion,
            predictor_hidden_layers=predictor_hidden_layers,
            obs_clip=obs_clip,
            int_return_direction=int_return_direction,
            int_reward_clip=int_reward_clip,
            leaky_relu_slope=leaky_relu_slope,
            num_features=num_features,
        )
        super().__init__(observation_shape, num_envs, int_gamma, config)


class _Moments(nn.Module):
    """The state of `RunningMoments` in buffers, so that it is part of the module's."""

    count: Tensor
    mean: Tensor
    m2: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        moments = RunningMoments(shape, prior_count=PRIOR_COUNT)
        self.register_buffer("count", torch.tensor(moments.count, dtype=torch.float64))
        self.register_buffer("mean", torch.from_numpy(moments.mean))
        self.register_buffer("m2", torch.from_numpy(moments.m2))

    def updated(self, samples: Tensor) -> RunningMoments:
        """The moments with ``(..., *shape)`` samples merged; the buffers are unchanged."""
        moments = RunningMoments(tuple(self.mean.shape))
        moments.set_state(count=float(self.count), mean=_on_host(self.mean), m2=_on_host(self.m2))
        moments.update(_on_host(samples))
        return moments

    def assign(self, moments: RunningMoments) -> None:
        """Take over moments."""
        self.count.fill_(moments.count)
        self.mean.copy_(torch.from_numpy(moments.mean))
        self.m2.copy_(torch.from_numpy(moments.m2))


def _require_finite_rows(name: str, rows: Tensor) -> None:
    if rows.is_floating_point() and not bool(rows.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def _on_host(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().contiguous().numpy()
    return array
