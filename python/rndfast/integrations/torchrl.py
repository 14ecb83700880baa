"""PPO with random network distillation and two value heads, in a training loop of torchrl.

`IntrinsicReward` pays the bonus for a batch that a collector returns, `TwoStreamGAE` computes the
advantages, `PredictorLoss` trains the predictor. All else is torchrl's own: the two value heads are
the two outputs of one critic, which `ClipPPOLoss` trains on two columns of targets; its value loss
is the mean over both heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rndfast.config import PpoConfig
from rndfast.learner.bonus import DRNDBonus, RNDBonus

try:
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModuleBase
    from torchrl.objectives import LossModule
    from torchrl.objectives.value.functional import vec_generalized_advantage_estimate
except ModuleNotFoundError as error:
    if error.name not in ("tensordict", "torchrl"):
        raise
    raise ImportError("torchrl is not installed: pip install 'rndfast[integrations]'") from error

__all__ = ["IntrinsicReward", "PredictorLoss", "TwoStreamGAE"]

Key = str | tuple[str, ...]

_NEXT_OBSERVATION = ("next", "observation")
_INT_REWARD = ("next", "intrinsic_reward")


class IntrinsicReward(TensorDictModuleBase):  # type: ignore[misc]  # torchrl has no types
    """Writes the intrinsic rewards of collected batches, as ``("next", "intrinsic_reward")``.

    They are `rndfast.RNDBonus`'s for the observation that follows each action in the batch. Where
    an episode ends that is its own last observation, as in torchrl's `RNDTransform`; elsewhere in
    rndfast, and in the paper, it is the next episode's first. Each call moves the statistics, so
    that batches must come once each and in order, as of a `Collector`.

    Args:
        bonus: The bonus. Of stacks of images, ``(..., S * C, H, W)``, it is paid for the newest, as
            many channels as its ``observation_shape`` has.
        observation_key: Of the observations that follow an action.

    Raises:
        TypeError: ``bonus`` is of another class.

    Example:
        >>> int_reward = IntrinsicReward(rndfast.RNDBonus((3,), num_envs=2))
        >>> batch = TensorDict({"next": {"observation": torch.rand(2, 5, 3)}}, [2, 5])
        >>> int_reward.initialize(batch)
        >>> int_reward(batch)["next", "intrinsic_reward"].shape
        torch.Size([2, 5, 1])
    """

    def __init__(
        self, bonus: RNDBonus | DRNDBonus, *, observation_key: Key = _NEXT_OBSERVATION
    ) -> None:
        super().__init__()
        _require_bonus(bonus)
        self.bonus = bonus
        self.in_keys = [observation_key]
        self.out_keys = [_INT_REWARD]

    def initialize(self, tensordict: Any) -> None:
        """Start the statistics of the observations; may be called again with more of them.

        Args:
            tensordict: A random agent's steps, as of ``env.rollout``, of any batch size.
        """
        self.bonus.initialize(_newest(self.bonus, tensordict[self.in_keys[0]]))

    def forward(self, tensordict: Any) -> Any:
        """Write the rewards, float32; see `rndfast.RNDBonus.update`.

        Args:
            tensordict: ``(N, T)``; of several axes before T, N is their product.

        Returns:
            The same one.

        Raises:
            TypeError: As of `rndfast.RNDBonus.update`.
            ValueError: As there, or if the batch size is another. Nothing has changed.
        """
        batch_size, num_envs = tensordict.batch_size, self.bonus.num_envs
        if not batch_size or math.prod(batch_size[:-1]) != num_envs:
            raise ValueError(
                f"tensordict must have the batch size ({num_envs}, T), got {tuple(batch_size)}"
            )
        observations = _newest(self.bonus, tensordict[self.in_keys[0]])
        shape = observations.shape[len(batch_size) :]
        rows = observations.reshape(num_envs, batch_size[-1], *shape)
        rewards = self.bonus.update(rows.transpose(0, 1))  # (T, N)
        tensordict[_INT_REWARD] = rewards.T.reshape(*batch_size, 1)
        return tensordict


class PredictorLoss(LossModule):  # type: ignore[misc]
    """The predictor's loss on minibatches, as ``"loss_predictor"``; see `rndfast.RNDBonus.loss`.

    The key of the observations, ``("next", "observation")``, is changed with
    ``set_keys(observation=...)``.

    Args:
        bonus: The one of `IntrinsicReward`.

    Raises:
        TypeError: ``bonus`` is of another class.

    Example:
        >>> loss = PredictorLoss(rndfast.RNDBonus((3,), num_envs=2))
        >>> minibatch = TensorDict({"next": {"observation": torch.rand(4, 3)}}, [4])
        >>> loss(minibatch)["loss_predictor"].backward()
    """

    @dataclass
    class _AcceptedKeys:
        observation: Key = _NEXT_OBSERVATION

    default_keys = _AcceptedKeys
    out_keys = ("loss_predictor",)

    def __init__(self, bonus: RNDBonus | DRNDBonus) -> None:
        super().__init__()
        _require_bonus(bonus)
        self.bonus = bonus

    @property
    def in_keys(self) -> list[Key]:
        """The key of the observations."""
        return [self.tensor_keys.observation]

    def forward(self, tensordict: Any) -> Any:
        """Return the loss, with gradients.

        Args:
            tensordict: Of any batch size.

        Returns:
            A tensordict of ``()`` float32.

        Raises:
            TypeError: As of `rndfast.RNDBonus.loss`.
            ValueError: Likewise.
        """
        next_obs = _newest(self.bonus, tensordict[self.tensor_keys.observation])
        return TensorDict({"loss_predictor": self.bonus.loss(next_obs)})


class TwoStreamGAE(TensorDictModuleBase):  # type: ignore[misc]
    """Writes advantages of extrinsic and intrinsic rewards together (paper, section 2.3).

    It takes the place of torchrl's `GAE`. Extrinsic returns end as there: with 0 where an episode
    terminates, with the value of its last observation where it is truncated. Intrinsic returns go
    on with those of the next episode, whose first observation follows in the batch; only after the
    batch's last step, where it is not known yet, the value of the episode's last observation stands
    for it.

    It reads ``("next", "reward")``, ``("next", "done")``, ``("next", "terminated")`` and what
    `IntrinsicReward` writes, and writes what `ClipPPOLoss` reads:

    - ``"advantage"`` ``(N, T, 1)``: both streams', weighted and added;
    - ``"state_value"``, ``"value_target"`` ``(N, T, 2)``: extrinsic and intrinsic.

    Args:
        critic: Writes ``"state_value"`` ``(..., 2)``, extrinsic and intrinsic: a `ValueOperator`
            whose network has two outputs.
        gamma: Discount of the extrinsic return, per step.
        int_gamma: Discount of the intrinsic return, the bonus's own.
        lmbda: Lambda of both.
        ext_coef: Weight of the extrinsic advantages.
        int_coef: Weight of the intrinsic advantages.

    Example:
        >>> critic = ValueOperator(torch.nn.Linear(3, 2), in_keys=["observation"])
        >>> loss = ClipPPOLoss(actor, critic, loss_critic_type="l2")
        >>> gae = TwoStreamGAE(critic)
        >>> losses = loss(gae(int_reward(batch)))
    """

    def __init__(
        self,
        critic: TensorDictModuleBase,
        *,
        gamma: float = PpoConfig.ext_gamma,
        int_gamma: float = PpoConfig.int_gamma,
        lmbda: float = PpoConfig.gae_lambda,
        ext_coef: float = PpoConfig.ext_coef,
        int_coef: float = PpoConfig.int_coef,
    ) -> None:
        super().__init__()
        self.critic = critic
        self.gamma, self.int_gamma, self.lmbda = gamma, int_gamma, lmbda
        self.ext_coef, self.int_coef = ext_coef, int_coef
        following = [("next", key) for key in (*critic.in_keys, "reward", "done", "terminated")]
        self.in_keys = [*critic.in_keys, *following, _INT_REWARD]
        self.out_keys = ["advantage", "state_value", "value_target"]

    @torch.no_grad()
    def forward(self, tensordict: Any) -> Any:
        """Write advantages, values and their targets.

        Args:
            tensordict: ``(..., T)``, steps in order.

        Returns:
            The same one.

        Raises:
            KeyError: An entry is missing.
            ValueError: The critic's values are of another shape.
        """
        following = tensordict["next"]
        values, next_values = self._values(tensordict), self._values(following)
        next_values[..., :-1, 1] = values[..., 1:, 1]  # also where another episode begins
        done, never = following["done"], torch.zeros_like(following["done"])
        ext, ext_targets = vec_generalized_advantage_estimate(
            self.gamma,
            self.lmbda,
            values[..., :1],
            next_values[..., :1],
            following["reward"],
            done,
            following["terminated"],
        )
        int_, int_targets = vec_generalized_advantage_estimate(
            self.int_gamma,
            self.lmbda,
            values[..., 1:],
            next_values[..., 1:],
            following["intrinsic_reward"],
            never,
        )
        tensordict["advantage"] = self.ext_coef * ext + self.int_coef * int_
        tensordict["state_value"] = values
        tensordict["value_target"] = torch.cat((ext_targets, int_targets), dim=-1)
        return tensordict

    def _values(self, tensordict: Any) -> Tensor:
        """``(..., T, 2)``: what the critic says."""
        values: Tensor = self.critic(tensordict.select(*self.critic.in_keys))["state_value"]
        if values.shape != (*tensordict.batch_size, 2):
            expected = ", ".join(map(str, (*tensordict.batch_size, 2)))
            raise ValueError(
                f"the critic's state_value must have shape ({expected}), got {tuple(values.shape)}"
            )
        return values


def _require_bonus(bonus: object) -> None:
    if not isinstance(bonus, RNDBonus | DRNDBonus):
        raise TypeError(
            f"bonus must be an rndfast.RNDBonus or DRNDBonus, got {type(bonus).__name__}"
        )


def _newest(bonus: RNDBonus | DRNDBonus, observations: Tensor) -> Tensor:
    """What the bonus sees of observations: vectors, or the newest image of a stack."""
    if len(bonus.observation_shape) == 3:
        return observations[..., -bonus.observation_shape[0] :, :, :]
    return observations
