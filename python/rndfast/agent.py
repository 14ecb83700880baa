"""Everything that learns: networks, optimiser, running statistics and the random stream.

With the environments' state (see train.py) it is all that training needs to go on from a rollout's
end.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rndfast._core import DiscountedReturnFilter, RunningMoments, ThreadPool
from rndfast.config import Config
from rndfast.networks import PolicyNetwork, RndNetworks

# The authors' statistics start from this many samples of mean 0 and variance 1, so that no variance
# is ever zero.
PRIOR_COUNT = 1e-4

# What a checkpoint holds beside an agent's state has names that begin so.
EXPERIENCE = "experience."


class Agent:
    """Policy, RND networks, their optimiser, the statistics and the random stream.

    Args:
        config: All settings.
        num_actions: Actions of the game.
        device: Where the networks live.
        pool: Threads for the pixel statistics.
    """

    def __init__(
        self, config: Config, num_actions: int, device: torch.device, pool: ThreadPool
    ) -> None:
        env, rnd = config.env, config.rnd
        self.num_actions = num_actions
        self.generator = torch.Generator().manual_seed(config.run.seed)
        frame_channels = 1 if env.grayscale else 3
        policy = PolicyNetwork(
            frame_channels * env.stack_num,
            env.img_height,
            env.img_width,
            num_actions,
            self.generator,
        )
        rnd_networks = RndNetworks(
            frame_channels,
            env.img_height,
            env.img_width,
            num_features=rnd.num_features,
            leaky_relu_slope=rnd.leaky_relu_slope,
            generator=self.generator,
        )
        self.policy = policy.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.rnd = rnd_networks.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = [*self.policy.parameters(), *self.rnd.predictor.parameters()]
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=config.ppo.learning_rate, eps=config.ppo.adam_eps
        )
        self.obs_moments = RunningMoments(
            (frame_channels, env.img_height, env.img_width), prior_count=PRIOR_COUNT, pool=pool
        )
        self.int_return_filter = DiscountedReturnFilter(
            env.num_envs, gamma=config.ppo.int_gamma, direction=rnd.int_return_direction
        )
        self.int_return_moments = RunningMoments((), prior_count=PRIOR_COUNT)
        self.transitions = 0  # trained on so far, over all environments

    def state(self) -> dict[str, Tensor]:
        """A copy of the whole state on the host, as named tensors; waits for a GPU."""
        state: dict[str, Tensor] = {
            "transitions": torch.tensor(self.transitions),
            "generator": self.generator.get_state(),
            "int_return_filter.carry": torch.from_numpy(self.int_return_filter.carry),
        }
        for name, module in (("policy", self.policy), ("rnd", self.rnd)):
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
        for name, module in (("policy", self.policy), ("rnd", self.rnd)):
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

    def _moments(self) -> dict[str, RunningMoments]:
        return {"obs_moments": self.obs_moments, "int_return_moments": self.int_return_moments}


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
