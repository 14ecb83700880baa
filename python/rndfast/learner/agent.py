"""Everything that learns: networks, optimiser, running statistics and the random stream.

With the environments' state (see runs/state.py) it is all that training needs to go on from a
rollout's end.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from rndfast._core import RunningMoments, ThreadPool
from rndfast.config import Config
from rndfast.envs.protocol import Spaces
from rndfast.learner.distributions import distribution_over
from rndfast.learner.networks import PolicyNetwork, RndNetworks
from rndfast.learner.observations import single_shape
from rndfast.learner.rnd import PRIOR_COUNT, Rnd, bonus_of
from rndfast.runtime.seeds import reduced_seed

Network = TypeVar("Network", bound=nn.Module)

# Names in a checkpoint begin with this where they belong to the environments, not to the agent.
EXPERIENCE = "experience."


class Agent:
    """Policy, bonus, their optimiser, the statistics of observations and the random stream.

    ``observation_shape`` is that of what the bonus reads: one frame ``(C, H, W)``, or a vector
    ``(D,)``. ``bonus`` is None in plain PPO.

    Args:
        config: All settings.
        env: The environment, or another with its spaces.
        device: Where the networks live.
        pool: Threads for the statistics; None: the calling one.

    Raises:
        ValueError: Actions are neither Discrete nor a Box of one axis.
    """

    def __init__(
        self,
        config: Config,
        env: Spaces,
        device: torch.device,
        pool: ThreadPool | None = None,
    ) -> None:
        ppo = config.ppo
        self.device = device
        self.distribution = distribution_over(env.single_action_space)
        self.observation_shape = single_shape(env.single_observation_space)
        self.generator = torch.Generator().manual_seed(reduced_seed(config.run.seed, bits=64))
        self.sees_images = len(self.observation_shape) > 1
        stack_num = config.atari.stack_num if self.sees_images else 1
        policy = PolicyNetwork(
            (self.observation_shape[0] * stack_num, *self.observation_shape[1:]),
            self.distribution,
            len(ppo.streams),
            self.generator,
            is_recurrent=ppo.policy == "recurrent",
        )
        self.policy = _on_device(policy, device)
        learning: list[nn.Module] = [self.policy]
        self.bonus: Rnd | None = None
        if ppo.has_bonus:
            networks = RndNetworks.of(self.observation_shape, config.rnd, self.generator)
            self.bonus = bonus_of(_on_device(networks, device), config.rnd)
            learning.append(self.bonus.learning)
        self.parameters = [
            parameter
            for module in learning
            for parameter in module.parameters()
            if parameter.requires_grad
        ]
        is_cuda = device.type == "cuda"  # where the optimiser's step is part of a captured graph
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=torch.tensor(ppo.learning_rate, device=device) if is_cuda else ppo.learning_rate,
            eps=ppo.adam_eps,
            fused=is_cuda or None,
            capturable=is_cuda,
        )
        self.obs_moments = RunningMoments(
            self.observation_shape, prior_count=PRIOR_COUNT, pool=pool
        )
        self.transitions = 0  # trained on so far, over all environments

    @property
    def uses_obs_moments(self) -> bool:
        """Whether anything is normalised: what the bonus reads, and vectors for the policy."""
        return self.bonus is not None or not self.sees_images

    def set_learning_rate(self, learning_rate: float) -> None:
        """Let the next optimiser steps be of this size."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # which a captured graph reads
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def tensors(self) -> dict[str, Tensor]:
        """The whole state by name, where it is: later steps change what is not copied."""
        state: dict[str, Tensor] = {
            "transitions": torch.tensor(self.transitions),
            "generator": self.generator.get_state(),
        }
        for name, module in self._networks().items():
            state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
        for name, moments in self._moments().items():
            state[f"{name}.count"] = torch.tensor(moments.count, dtype=torch.float64)
            state[f"{name}.mean"] = torch.from_numpy(moments.mean)
            state[f"{name}.m2"] = torch.from_numpy(moments.m2)
        return {key: value.detach() for key, value in state.items()}

    def state(self) -> dict[str, Tensor]:
        """A copy of `tensors`, on the device."""
        return {
            key: value.clone(memory_format=torch.contiguous_format)
            for key, value in self.tensors().items()
        }

    def load_state(self, state: dict[str, Tensor], *, only_to_play: bool = False) -> None:
        """Take over a state of :meth:`state`; names that begin with `EXPERIENCE` are not its own.

        Args:
            state: Tensors on the host.
            only_to_play: Leave the optimiser alone, whose state may be another version's.

        Raises:
            ValueError: A tensor is missing, unknown or of another shape: the state belongs to other
            settings.
        """
        state_of_adam = {key: value for key, value in state.items() if key.startswith("optimizer.")}
        state = {key: value for key, value in state.items() if not key.startswith(EXPERIENCE)}
        expected = self.tensors()
        if only_to_play:
            state = {key: value for key, value in state.items() if key not in state_of_adam}
        elif not self.optimizer.state_dict()["state"]:  # empty until the first step
            after = self.state_of_adam()
            expected |= {key: after[key] for key in state_of_adam.keys() & after.keys()}
        for key in sorted(expected.keys() | state.keys()):
            want = tuple(expected[key].shape) if key in expected else "nothing of this name"
            got = tuple(state[key].shape) if key in state else "nothing of this name"
            if want != got:
                raise ValueError(f"state {key!r} must have shape {want}, got {got}")

        self.transitions = int(state["transitions"])
        self.generator.set_state(state["generator"])
        for name, module in self._networks().items():
            module.load_state_dict(_with_prefix(state, name))
        adam = self.optimizer.state_dict()
        adam["state"] = {
            index: values
            for index in range(len(self.parameters))
            if (values := _with_prefix(state, f"optimizer.{index}"))
        }
        self.optimizer.load_state_dict(adam)
        for parameter, values in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # in memory as the parameter: fused steps ask it
                values[name] = torch.empty_like(parameter).copy_(values[name])
        for name, moments in self._moments().items():
            values = _with_prefix(state, name)
            moments.set_state(
                count=float(values["count"]), mean=values["mean"].numpy(), m2=values["m2"].numpy()
            )

    def state_of_adam(self) -> dict[str, Tensor]:
        """Tensors as of :meth:`state`, after a first step."""
        return {
            f"optimizer.{index}.{key}": tensor
            for index, parameter in enumerate(self.parameters)
            for key, tensor in (
                ("step", torch.zeros(())),
                ("exp_avg", parameter),
                ("exp_avg_sq", parameter),
            )
        }

    def _networks(self) -> dict[str, nn.Module]:
        networks: dict[str, nn.Module] = {"policy": self.policy}
        if self.bonus is not None:
            networks["rnd"] = self.bonus.networks
        return networks

    def _moments(self) -> dict[str, RunningMoments]:
        moments = {"obs_moments": self.obs_moments}
        if self.bonus is not None:
            moments["int_return_moments"] = self.bonus.return_moments
        return moments


def _on_device(network: Network, device: torch.device) -> Network:
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _with_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}
