"""Acting and learning on the CPU: micro-batches on threads, out of frames that the host stores."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import RunningMoments
from rndfast.config import Config
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages, Minibatch
from rndfast.learner.networks import PolicyOutput
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.observations import FrameStore, Observations, VectorStore
from rndfast.learner.ppo import (
    PolicyRows,
    mean_losses,
    optimizer_step,
    policy_losses,
    total_loss,
)
from rndfast.learner.rollout import Rollout, copy_arrays
from rndfast.runtime.compute import CpuCompute
from rndfast.runtime.processes import Moments

# Images that pass through the policy at once while it acts: few enough that several threads have
# work in each step, and no fewer, as small passes are slow.
INFERENCE_BATCH_SIZE = 32

# Least number of environments of a recurrent minibatch that pass through the network together: a
# pass of one alone would read the memory's whole matrices for a single row.
MIN_RECURRENT_ENVS = 4


class CpuBackend:
    """A `Backend` on the CPU.

    Everything is ``(T, N, ...)``: ``observations``; ``actions``; ``log_probs``, of the policy that
    acted. ``first_memory`` and ``memory``, ``(N, M)``, are what the policy remembers before the
    first observation and after the newest that it acted on.

    Args:
        config: The settings of this process's environments.
        agent: Who acts and learns.
        rollout: What its values go to, and where episodes begin.
        compute: The threads.
    """

    def __init__(self, config: Config, agent: Agent, rollout: Rollout, compute: CpuCompute) -> None:
        self.agent, self.rollout, self.compute = agent, rollout, compute
        self.ranks, self.timeline = compute.ranks, compute.timeline
        self._config = config
        shape = (rollout.num_steps, rollout.num_envs)
        self.observations: Observations
        if agent.sees_images:
            middle = -(-rollout.num_envs // 2)
            halves = [slice(0, middle), slice(middle, rollout.num_envs)]
            self._batches = [half for half in halves if half.start < half.stop]
            self.observations = FrameStore(config, agent.observation_shape)
        else:
            self._batches = [slice(0, rollout.num_envs)]  # Gymnasium's are stepped all at once
            self.observations = VectorStore(
                config, agent.observation_shape[0], self._obs_normalizer()
            )
        self.groups = self._batches if config.run.overlap else [slice(0, rollout.num_envs)]
        self.actions: NDArray[Any] = agent.distribution.empty_actions(*shape)
        self.log_probs = np.zeros(shape, np.float32)
        self.first_memory = np.zeros((rollout.num_envs, agent.policy.memory_size), np.float32)
        self.memory = np.zeros_like(self.first_memory)
        self._noise: list[Tensor] = []
        self._targets: Tensor | None = None

    # --- the rollout's observations ---

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset; nothing is remembered."""
        self.observations.start(observations)
        self.first_memory[:] = 0

    def next_row(self, t: int, envs: slice) -> NDArray[np.uint8] | None:
        """Where environments may write the frames that follow step ``t``; None: nowhere."""
        return self.observations.next_row(t, envs)

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], is_first: NDArray[np.bool_]
    ) -> None:
        """Store what followed step ``t``, if it is not in `next_row` already."""
        self.observations.store_next(t, envs, observations, is_first)

    def carry_over(self) -> None:
        """Make the observation after the rollout the first one of the next."""
        self.observations.carry_over()
        self.first_memory[:] = self.memory

    def state(self) -> dict[str, Tensor]:
        """What the first observation and the policy's memory consist of: not copied."""
        return {name: torch.from_numpy(array) for name, array in self._first().items()}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over a state of `state`."""
        copy_arrays(state, self._first())

    def _first(self) -> dict[str, NDArray[Any]]:
        return {**self.observations.state(), "memory": self.first_memory}

    # --- acting ---

    def begin(self) -> None:
        """Prepare for acting, and draw the noise that decides the actions."""
        self.memory[:] = self.first_memory
        if isinstance(self.observations, VectorStore):
            self.observations.policy_normalizer = self._obs_normalizer()
        num_envs = self.rollout.num_envs * self.ranks.world_size  # of the run
        self._noise = [
            self.ranks.own(self.agent.distribution.draw_noise(num_envs, self.agent.generator))
            for _ in range(self.rollout.num_steps)
        ]

    def start_act(self, t: int, envs: slice) -> None:
        """Nothing: `act` does it all."""

    def act(self, t: int, envs: slice) -> NDArray[Any]:
        """Choose actions at observation ``t`` of a group."""
        output = self.evaluate_policy(t, envs)
        distribution = self.agent.distribution
        actions = distribution.sample(output.action_params, self._noise[t][envs])
        self.actions[t, envs] = actions.numpy()
        self.log_probs[t, envs] = distribution.log_probs(output.action_params, actions).numpy()
        self.rollout.values[t, envs] = output.values.numpy()
        self.memory[envs] = output.memory.numpy()
        return actions.numpy()

    def evaluate_policy(self, t: int, envs: slice) -> PolicyOutput:
        """What the policy says of the observations ``t`` of some environments.

        The environments of each half pass through the network on their own, whatever the group: so
        the bytes do not depend on the groups.
        """
        rollout, agent, compute = self.rollout, self.agent, self.compute

        def evaluate(indices: NDArray[np.int64]) -> Tensor:
            memory = torch.from_numpy(self.memory[indices % rollout.num_envs])
            is_first = torch.from_numpy(rollout.is_first.reshape(-1)[indices][None])
            with torch.no_grad(), compute.autocast():
                inputs = self.observations.policy_input(indices, compute.dtype)
                return torch.cat(agent.policy(inputs, memory, is_first), dim=1)

        max_size = INFERENCE_BATCH_SIZE if agent.sees_images else None
        micro_batches = [
            indices
            for batch in self._batches
            if envs.start <= batch.start and batch.stop <= envs.stop
            for indices in compute.micro_batches(
                t * rollout.num_envs + np.arange(batch.start, batch.stop), max_size
            )
        ]
        outputs = torch.cat(list(compute.map(evaluate, micro_batches)))
        num_values, num_memory = rollout.values.shape[2], self.memory.shape[1]
        num_params = outputs.shape[1] - num_values - num_memory
        return PolicyOutput(*torch.split(outputs, [num_params, num_values, num_memory], dim=1))

    def final_values(self, t: int, n: int, observation: NDArray[Any]) -> NDArray[np.float32]:
        """``(V,)``: values of the observation that ended an episode at step ``t``."""
        goes_on = torch.zeros((1, 1), dtype=torch.bool)
        memory = torch.from_numpy(self.memory[n : n + 1])
        with torch.no_grad(), self.compute.autocast():
            inputs = self.observations.final_input(t, n, observation, self.compute.dtype)
            output: PolicyOutput = self.agent.policy(inputs, memory, goes_on)
        values: NDArray[np.float32] = output.values[0].numpy()
        return values

    def value_last_observations(self) -> None:
        """Value the observations after the last step."""
        output = self.evaluate_policy(self.rollout.num_steps, slice(0, self.rollout.num_envs))
        self.rollout.next_values[:] = output.values.numpy()

    # --- bonus and statistics ---

    def intrinsic_rewards(self) -> NDArray[np.float32]:
        """``(T, N)``: rewards of the next observations by the statistics so far, not scaled."""
        bonus = self.agent.bonus
        assert bonus is not None
        rewards: NDArray[np.float32] = self._of_next_observations(
            lambda inputs, _: bonus.rewards(inputs)
        ).numpy()
        return rewards.reshape(self.rollout.num_steps, self.rollout.num_envs)

    def update_obs_moments(self) -> None:
        """Let the observations acted on enter the agent's statistics."""
        self.ranks.update_moments(self.agent.obs_moments, self.observations.acted_on())

    def _of_next_observations(
        self, function: Callable[[Tensor, NDArray[np.int64]], Tensor]
    ) -> Tensor:
        """``(T * N, ...)``: a function of all next observations and their transitions' indices.

        Without gradients.
        """
        normalizer, compute = self._obs_normalizer(), self.compute

        def evaluate(indices: NDArray[np.int64]) -> Tensor:
            with torch.no_grad(), compute.autocast():
                inputs = self.observations.next_input(indices, normalizer, compute.dtype)
                return function(inputs, indices)

        micro_batches = compute.micro_batches(self.rollout.indices().ravel())
        return torch.cat(list(compute.map(evaluate, micro_batches)))

    def _obs_normalizer(self) -> Normalizer:
        return Normalizer(self.agent.obs_moments, self._config.rnd.obs_clip)

    # --- learning ---

    def learn(
        self, advantages: Advantages, minibatches: list[Minibatch], choices: Tensor
    ) -> dict[str, float]:
        """Make an optimiser step for each minibatch, by gradients of its micro-batches."""
        agent, bonus = self.agent, self.agent.bonus
        if bonus is not None:
            self._targets = self._of_next_observations(
                lambda inputs, indices: bonus.targets(inputs, choices[torch.from_numpy(indices)])
            )
        arrays = (
            self.actions,
            self.log_probs,
            advantages.combined,
            self.rollout.values,
            advantages.returns,
        )
        rows = PolicyRows(*(torch.from_numpy(a.reshape(-1, *a.shape[2:])) for a in arrays))
        normalizer = self._obs_normalizer()
        totals: dict[str, Tensor] = {}
        for minibatch in minibatches:
            agent.optimizer.zero_grad(set_to_none=True)
            tasks = self._policy_tasks(rows, minibatch) + self._predictor_tasks(
                minibatch, normalizer
            )
            for partial in self.compute.map(lambda task: task(), tasks):
                partial.add_gradients()
                for name, mean in partial.means.items():
                    totals[name] = totals.get(name, 0.0) + mean
            self.ranks.sum_gradients(agent.parameters)
            norm = optimizer_step(agent, self._config.ppo.max_grad_norm, self.ranks)
            totals["gradient_norm"] = totals.get("gradient_norm", 0.0) + norm
        return {name: float(total) / len(minibatches) for name, total in totals.items()}

    def target_moments(self) -> Moments:
        """Moments of the features that the predictor was trained to predict."""
        assert self._targets is not None
        features = self._targets.flatten(1).numpy()
        moments = RunningMoments((features.shape[1],))
        moments.update(features)
        return moments.count, moments.mean, moments.m2

    def _policy_tasks(
        self, rows: PolicyRows, minibatch: Minibatch
    ) -> list[Callable[[], PartialGradients]]:
        """One for each micro-batch: any transitions, or, of a policy with memory, environments."""
        indices, policy = minibatch.indices, self.agent.policy
        if policy.memory is None:
            micro_batches = [some[None] for some in self.compute.micro_batches(indices.ravel())]
        else:
            num_steps, num_envs = indices.shape
            size = max(MIN_RECURRENT_ENVS, self.compute.micro_batch_size // num_steps)
            micro_batches = np.array_split(indices, -(-num_envs // size), axis=1)
        return [
            functools.partial(self._policy_gradients, rows, minibatch, micro_batch)
            for micro_batch in micro_batches
        ]

    def _policy_gradients(
        self, rows: PolicyRows, minibatch: Minibatch, indices: NDArray[np.int64]
    ) -> PartialGradients:
        rollout, ppo = self.rollout, self._config.ppo
        batch = rows.at(torch.from_numpy(indices.ravel()))
        scaled = (batch.advantages - minibatch.advantage_shift) / minibatch.advantage_scale
        batch = dataclasses.replace(batch, advantages=scaled)
        envs = indices[0] % rollout.num_envs
        memory = torch.from_numpy(self.first_memory[envs])
        is_first = torch.from_numpy(rollout.is_first[: len(indices), envs])
        with self.compute.autocast():
            inputs = self.observations.policy_input(indices.ravel(), self.compute.dtype)
            output = self.agent.policy(inputs, memory, is_first)
        losses = policy_losses(output, batch, self.agent.distribution, ppo)
        batch_size = minibatch.indices.size * self.ranks.world_size
        means = mean_losses(losses, ppo.streams, batch_size)
        return PartialGradients.of(total_loss(means, ppo), self.agent.policy, means)

    def _predictor_tasks(
        self, minibatch: Minibatch, normalizer: Normalizer
    ) -> list[Callable[[], PartialGradients]]:
        if minibatch.trains_predictor is None:
            return []
        indices = minibatch.indices[minibatch.trains_predictor]
        return [
            functools.partial(
                self._predictor_gradients, normalizer, micro_batch, minibatch.num_predictor_rows
            )
            for micro_batch in self.compute.micro_batches(indices)
        ]

    def _predictor_gradients(
        self, normalizer: Normalizer, indices: NDArray[np.int64], num_rows: int
    ) -> PartialGradients:
        bonus = self.agent.bonus
        assert bonus is not None
        assert self._targets is not None
        with self.compute.autocast():
            inputs = self.observations.next_input(indices, normalizer, self.compute.dtype)
            losses = bonus.losses(inputs, self._targets[torch.from_numpy(indices)])
        loss = losses.sum() / num_rows
        return PartialGradients.of(loss, bonus.learning, {"predictor": loss})


@dataclass(frozen=True)
class PartialGradients:
    """A micro-batch's part of a minibatch's gradients and losses."""

    gradients: list[tuple[Tensor, Tensor]]  # of each parameter
    means: dict[str, Tensor]  # the micro-batch's part of each loss

    @classmethod
    def of(
        cls, loss: Tensor, network: torch.nn.Module, means: dict[str, Tensor]
    ) -> PartialGradients:
        """Differentiate a micro-batch's part of the loss by a network's parameters."""
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, parameters)
        return cls(
            list(zip(parameters, gradients, strict=True)),
            {name: value.detach() for name, value in means.items()},
        )

    def add_gradients(self) -> None:
        """Add the gradients to those that the parameters have already."""
        for parameter, gradient in self.gradients:
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
