"""Everything that learns: networks, optimiser, running statistics and the random stream.

With the environments' state (see train.py) it is all that training needs to go on from a rollout's
end.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from rndfast._core import DiscountedReturnFilter, RunningMoments
from rndfast.config import Config
from rndfast.learner.distributions import distribution_over
from rndfast.learner.networks import PolicyNetwork, RndNetworks
from rndfast.learner.observations import single_shape
from rndfast.runtime.compute import Workers

Network = TypeVar("Network", bound=nn.Module)

# The authors' statistics start from this many samples of mean 0 and variance 1, so that no variance
# is ever zero.
PRIOR_COUNT = 1e-4

# What a checkpoint holds beside an agent's state has names that begin so.
EXPERIENCE = "experience."


class Spaces(Protocol):
    """What an agent must know of an environment."""

    @property
    def single_observation_space(self) -> gymnasium.Space[Any]:
        """Of one environment."""

    @property
    def single_action_space(self) -> gymnasium.Space[Any]:
        """Of one environment."""


class Agent:
    """Policy, RND networks, their optimiser, the statistics and the random stream.

    ``observation_shape`` is that of what RND reads: one frame ``(C, H, W)``, or a vector ``(D,)``.
    Without a bonus there are no RND networks.

    Args:
        config: All settings.
        env: The environment, or another with its spaces.
        workers: The device, and the threads for the statistics.

    Raises:
        ValueError: Actions are neither Discrete nor a Box of one axis.
    """

    def __init__(self, config: Config, env: Spaces, workers: Workers) -> None:
        ppo, rnd = config.ppo, config.rnd
        self.device = workers.device
        self.distribution = distribution_over(env.single_action_space)
        self.observation_shape = single_shape(env.single_observation_space)
        self.generator = torch.Generator().manual_seed(config.run.seed)
        self.sees_images = len(self.observation_shape) > 1
        stack_num = config.atari.stack_num if self.sees_images else 1
        policy = PolicyNetwork(
            (self.observation_shape[0] * stack_num, *self.observation_shape[1:]),
            self.distribution,
            len(ppo.streams),
            self.generator,
            is_recurrent=ppo.policy == "recurrent",
        )
        self.policy = _on_device(policy, self.device)
        # RND's inputs are normalised, and vectors for the policy
        self.uses_obs_moments = ppo.has_bonus or not self.sees_images
        self.has_bonus = ppo.has_bonus
        self._rnd: RndNetworks | None = None
        self.parameters = list(self.policy.parameters())  # that learn
        if ppo.has_bonus:
            rnd_networks = RndNetworks(
                self.observation_shape,
                num_features=rnd.num_features,
                leaky_relu_slope=rnd.leaky_relu_slope,
                predictor_hidden_layers=rnd.predictor_hidden_layers,
                generator=self.generator,
            )
            self._rnd = _on_device(rnd_networks, self.device)
            self.parameters += self._rnd.predictor.parameters()
        self.optimizer = torch.optim.Adam(self.parameters, lr=ppo.learning_rate, eps=ppo.adam_eps)
        self.obs_moments = RunningMoments(
            self.observation_shape, prior_count=PRIOR_COUNT, pool=workers.pool
        )
        self.int_return_filter = DiscountedReturnFilter(
            config.env.num_envs, gamma=ppo.int_gamma, direction=rnd.int_return_direction
        )
        self.int_return_moments = RunningMoments((), prior_count=PRIOR_COUNT)
        self.transitions = 0  # trained on so far, over all environments

    @property
    def rnd(self) -> RndNetworks:
        """Target and predictor; there are none without a bonus."""
        assert self._rnd is not None, "there are no RND networks: int_coef is 0"
        return self._rnd

    def state(self) -> dict[str, Tensor]:
        """A copy of the whole state on the host, as named tensors; waits for a GPU."""
        state: dict[str, Tensor] = {
            "transitions": torch.tensor(self.transitions),
            "generator": self.generator.get_state(),
            "int_return_filter.carry": torch.from_numpy(self.int_return_filter.carry),
        }
        for name, module in self._networks().items():
            state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
        for name, moments in self._moments().items():
            state[f"{name}.count"] = torch.tensor(moments.count, dtype=torch.float64)
            state[f"{name}.mean"] = torch.from_numpy(moments.mean)
            state[f"{name}.m2"] = torch.from_numpy(moments.m2)
        return {
            key: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for key, value in state.items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a state of :meth:`state`; names that begin with `EXPERIENCE` are not its own.

        Raises:
            ValueError: A tensor is missing, unknown or of another shape: the state belongs to other
            settings.
        """
        state = {key: value for key, value in state.items() if not key.startswith(EXPERIENCE)}
        expected = self.state()
        if not self.optimizer.state_dict()["state"]:  # empty until the first step
            state_of_adam = {
                key: value for key, value in state.items() if key.startswith("optimizer.")
            }
            expected |= state_of_adam
        for key in sorted(expected.keys() | state.keys()):
            want = tuple(expected[key].shape) if key in expected else "nothing of this name"
            got = tuple(state[key].shape) if key in state else "nothing of this name"
            if want != got:
                raise ValueError(f"state {key!r} must have shape {want}, got {got}")

        self.transitions = int(state["transitions"])
        self.generator.set_state(state["generator"])
        self.int_return_filter.carry = state["int_return_filter.carry"].numpy()
        for name, module in self._networks().items():
            module.load_state_dict(_with_prefix(state, name))
        adam = self.optimizer.state_dict()
        adam["state"] = {
            index: values
            for index in range(len(self.parameters))
            if (values := _with_prefix(state, f"optimizer.{index}"))
        }
        self.optimizer.load_state_dict(adam)
        for name, moments in self._moments().items():
            values = _with_prefix(state, name)
            moments.set_state(
                count=float(values["count"]), mean=values["mean"].numpy(), m2=values["m2"].numpy()
            )

    def _networks(self) -> dict[str, nn.Module]:
        return {"policy": self.policy} | ({"rnd": self.rnd} if self.has_bonus else {})

    def _moments(self) -> dict[str, RunningMoments]:
        return {"obs_moments": self.obs_moments, "int_return_moments": self.int_return_moments}


def _on_device(network: Network, device: torch.device) -> Network:
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _with_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def require_finite(name: str, values: object) -> None:
    """Stop the run if a quantity has become NaN or infinite.

    Raises:
        FloatingPointError: It has; the message names it.
    """
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values
    finite = np.isfinite(np.asarray(array))
    if not finite.all():
        raise FloatingPointError(
            f"{name} must be finite, but {np.size(finite) - np.count_nonzero(finite)} of "
            f"{np.size(finite)} values are NaN or infinite"
        )
