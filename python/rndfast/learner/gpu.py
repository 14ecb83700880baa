"""Acting and learning on a GPU: all of a rollout in its memory, every pass a captured graph.

Launched one by one, the thousands of small kernels of an iteration take the host many times as long
as the GPU takes to run them. So each kind of pass (a step of a group of environments, the bonus of
a rollout, a minibatch) is a function without arguments that reads and writes memory which stays
where it is. It runs once as it is, is then captured as a CUDA graph, and is replayed from there on.
What changes from call to call lies in tensors that it reads: which step, which minibatch.

Only actions come down to the host and only new frames go up. On another device than CUDA's the same
functions run without graphs.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast.config import Config
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages, Minibatch
from rndfast.learner.device_observations import DeviceFrames, DeviceObservations, DeviceVectors
from rndfast.learner.networks import PolicyNetwork, PolicyOutput
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.observations import count_valid_frames, newest
from rndfast.learner.ppo import (
    PolicyRows,
    mean_losses,
    optimizer_step,
    policy_losses,
    total_loss,
)
from rndfast.learner.rollout import Rollout, require_shapes
from rndfast.runtime.compute import GpuCompute
from rndfast.runtime.processes import Moments

# Observations that pass through the networks at once where no gradient is asked for.
ROWS_AT_ONCE = 4096

# Frames whose squares are summed in float32, exactly: 128 * 255**2 is below 2**24.
FRAMES_PER_EXACT_SUM = 128


class GpuBackend:
    """A `Backend` on a GPU.

    Everything is on the device: ``actions``, ``log_probs`` and ``values``, ``(T + 1, N, ...)``, and
    ``memory``, ``(T + 2, N, M)``, what the policy remembers before each observation. The last rows
    are of the observation after the rollout, whose action is not taken.

    Args:
        config: The settings of this process's environments.
        agent: Who acts and learns.
        rollout: What its values go to, and where episodes begin.
        compute: The device.
    """

    def __init__(self, config: Config, agent: Agent, rollout: Rollout, compute: GpuCompute) -> None:
        self.agent, self.rollout, self.compute = agent, rollout, compute
        self.ranks, self.timeline, self.device = compute.ranks, compute.timeline, compute.device
        self._config = config
        self.max_grad_norm = config.ppo.max_grad_norm
        self.stack_num = config.atari.stack_num if agent.sees_images else 1
        num_envs_of_run = config.env.num_envs * self.ranks.world_size
        self.predictor_proportion = config.rnd.proportion_with(num_envs_of_run)
        self._obs_normalizer = self._new_normalizer()
        num_steps, num_envs = rollout.num_steps, rollout.num_envs
        self.observations: DeviceObservations
        self.groups = [slice(0, num_envs)]
        if agent.sees_images:
            self.observations = DeviceFrames(config, agent.observation_shape, self.device)
            if config.run.overlap and num_envs > 1:
                middle = -(-num_envs // 2)
                self.groups = [slice(0, middle), slice(middle, num_envs)]
        else:
            self._policy_normalizer = self._new_normalizer()
            self.observations = DeviceVectors(
                config, agent.observation_shape[0], self._policy_normalizer, self.device
            )

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        shape = (num_steps + 1, num_envs)
        empty = torch.from_numpy(agent.distribution.empty_actions(*shape))
        self.actions = empty.to(self.device)
        self.log_probs = zeros(*shape)
        self.values = zeros(*shape, rollout.values.shape[2])
        self.memory = zeros(num_steps + 2, num_envs, agent.policy.memory_size)
        self._noise = torch.ones((*shape, agent.distribution.num_outputs), device=self.device)
        self._noise_generator = torch.Generator(self.device)
        self._acting = agent.policy
        if compute.dtype != torch.float32:
            self._acting = acting_copy(agent.policy, compute.dtype)
        self._steps = {group.start: _Step(self, group) for group in self.groups}

        transitions = num_steps * num_envs
        self._advantages = zeros(num_steps, num_envs)
        self._returns = zeros(num_steps, num_envs, rollout.values.shape[2])
        self._is_first = zeros(num_steps + 1, num_envs, dtype=torch.bool)
        self._t = torch.arange(num_steps, device=self.device).repeat_interleave(num_envs)
        self._n = torch.arange(num_envs, device=self.device).repeat(num_steps)
        self._rewards = zeros(transitions if agent.bonus is not None else 0)
        self._choices = zeros(len(self._rewards), dtype=torch.int64)
        self._targets: Tensor | None = None
        self._reward_pass = compute.captured(self._compute_rewards)
        self._target_pass = compute.captured(self._compute_targets)
        self._pixel_sums: Tensor | None = None
        self._pixel_pass = compute.captured(self._sum_pixels)
        self._plan: _Plan | None = None

    def _new_normalizer(self) -> Normalizer:
        return Normalizer(self.agent.obs_moments, self._config.rnd.obs_clip, self.device)

    # --- the rollout's observations ---

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset; nothing is remembered."""
        for tensor in self.observations.state().values():
            tensor.zero_()
        self.memory[0] = 0
        is_first = np.ones(self.rollout.num_envs, np.bool_)
        for group in self.groups:
            step = self._steps[group.start]
            step.stage(observations[group], is_first[group])
            # at once, as `state` may be asked for before the first pass uploads them
            newest_observations, valid_frames, _ = step.upload()
            first = torch.zeros_like(step.t)
            self.observations.store(first, group, newest_observations, valid_frames)

    def next_row(self, t: int, envs: slice) -> NDArray[np.uint8] | None:
        """Pinned memory for the frames that follow a step; None: their layout differs."""
        del t
        staged = self._steps[envs.start].newest
        return staged if staged.ndim == 4 and staged.shape[1] == 1 else None

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], is_first: NDArray[np.bool_]
    ) -> None:
        """Keep what followed a step until the next pass of its environments uploads it."""
        del t
        self._steps[envs.start].stage(observations, is_first)

    def carry_over(self) -> None:
        """Make the observation after the rollout the first one of the next."""
        self.observations.carry_over()
        self.memory[0] = self.memory[self.rollout.num_steps]

    def state(self) -> dict[str, Tensor]:
        """What the first observation and the policy's memory consist of: not copied."""
        return {**self.observations.state(), "memory": self.memory[0]}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over a state of `state`."""
        require_shapes(state, {name: tuple(of.shape) for name, of in self.state().items()})
        for name, tensor in self.state().items():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(state[name])))
        for group in self.groups:
            self._steps[group.start].restage(state, self.rollout.is_first[0])

    # --- acting ---

    def begin(self) -> None:
        """Fix what the policy acts by until the next call, and draw the noise of its actions."""
        if self._acting is not self.agent.policy:
            parameters = [*self._acting.parameters()], [*self.agent.policy.parameters()]
            with torch.no_grad():
                torch._foreach_copy_(*parameters)  # type: ignore[arg-type]
        if isinstance(self.observations, DeviceVectors):
            self._policy_normalizer.assign(self.agent.obs_moments)
        self._draw_noise()
        for step in self._steps.values():
            step.t.zero_()

    def _draw_noise(self) -> None:
        """For all steps at once; from the agent's stream, so that a checkpoint holds all of it.

        A GPU's own generator is seeded from it anew in each rollout. Elsewhere the numbers are
        those of `CpuBackend`.
        """
        agent, num_steps = self.agent, self.rollout.num_steps
        num_envs = self.rollout.num_envs * self.ranks.world_size  # of the run
        if self.compute.is_cuda:
            seed = int(torch.randint(2**62, (), generator=agent.generator))
            self._noise_generator.manual_seed(seed)
            size = num_steps * num_envs
            noise = agent.distribution.draw_noise(size, self._noise_generator)
            noise = noise.view(num_steps, num_envs, -1)
        else:
            noise = torch.stack(
                [agent.distribution.draw_noise(num_envs, agent.generator) for _ in range(num_steps)]
            ).to(self.device)
        self._noise[:num_steps] = self.ranks.own(noise, axis=1)

    def start_act(self, t: int, envs: slice) -> None:
        """Begin to choose actions at observation ``t`` of a group."""
        del t  # the device counts
        self._steps[envs.start].start()

    def act(self, t: int, envs: slice) -> NDArray[Any]:
        """The actions, when they are chosen."""
        del t
        return self._steps[envs.start].actions()

    def step_group(self, group: slice) -> None:
        """One step of a group: upload, gather, policy, sampling, download."""
        step = self._steps[group.start]
        t = step.t  # (1,)
        with torch.no_grad(), self.compute.autocast():
            newest_observations, valid_frames, is_first = step.upload()
            self.observations.store(t, group, newest_observations, valid_frames)
            inputs = self.observations.policy_input(
                t.expand(len(step.n)), step.n, self.compute.dtype
            )
            memory = self.memory[:, group].index_select(0, t)[0]
            output: PolicyOutput = self._acting(inputs, memory, is_first[None])
            noise = self._noise[:, group].index_select(0, t)[0]
            distribution = self.agent.distribution
            actions = distribution.sample(output.action_params, noise)
            log_probs = distribution.log_probs(output.action_params, actions)
            self.actions[:, group].index_copy_(0, t, actions[None])
            self.log_probs[:, group].index_copy_(0, t, log_probs[None])
            self.values[:, group].index_copy_(0, t, output.values[None])
            self.memory[:, group].index_copy_(0, t + 1, output.memory[None])
            step.host_actions.copy_(actions, non_blocking=True)
            t.add_(1)

    def final_values(self, t: int, n: int, observation: NDArray[Any]) -> NDArray[np.float32]:
        """``(V,)``: values of the observation that ended an episode at step ``t``."""
        goes_on = torch.zeros((1, 1), dtype=torch.bool, device=self.device)
        last = torch.from_numpy(newest(observation[None])[0]).to(self.device)
        with torch.no_grad(), self.compute.autocast():
            inputs = self.observations.final_input(t, n, last, self.compute.dtype)
            output: PolicyOutput = self._acting(inputs, self.memory[t + 1, n][None], goes_on)
        values: NDArray[np.float32] = output.values[0].cpu().numpy()
        return values

    def value_last_observations(self) -> None:
        """Value the observations after the last step; with it all values are on the host."""
        for step in self._steps.values():
            step.start()
        values = self.values.cpu().numpy()
        self.rollout.values[:] = values[:-1]
        self.rollout.next_values[:] = values[-1]

    # --- bonus and statistics ---

    def intrinsic_rewards(self) -> NDArray[np.float32]:
        """``(T, N)``: rewards of the next observations by the statistics so far, not scaled."""
        self._obs_normalizer.assign(self.agent.obs_moments)
        self._reward_pass()
        rewards: NDArray[np.float32] = self._rewards.cpu().numpy()
        return rewards.reshape(self.rollout.num_steps, self.rollout.num_envs)

    def _compute_rewards(self) -> None:
        assert self.agent.bonus is not None
        for rows, inputs in self._next_inputs():
            self._rewards[rows] = self.agent.bonus.rewards(inputs)

    def _compute_targets(self) -> None:
        assert self.agent.bonus is not None
        for rows, inputs in self._next_inputs():
            targets = self.agent.bonus.targets(inputs, self._choices[rows])
            if self._targets is None:
                shape = (len(self._t), *targets.shape[1:])
                self._targets = torch.zeros(shape, device=self.device)
            self._targets[rows] = targets

    def _next_inputs(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows, and what the bonus reads of them, without gradients."""
        with torch.no_grad(), self.compute.autocast():
            for begin in range(0, len(self._t), ROWS_AT_ONCE):
                rows = slice(begin, begin + ROWS_AT_ONCE)
                yield (
                    rows,
                    self.observations.next_input(
                        self._t[rows], self._n[rows], self._obs_normalizer, self.compute.dtype
                    ),
                )

    def update_obs_moments(self) -> None:
        """Let the observations acted on enter the agent's statistics."""
        if self.agent.sees_images and self.device.type != "mps":  # which has no float64
            self._pixel_pass()
            assert self._pixel_sums is not None
            count = self.rollout.num_steps * self.rollout.num_envs
            moments = moments_of_sums(self._pixel_sums.cpu(), count, self.agent.observation_shape)
            self.ranks.merge_moments(self.agent.obs_moments, moments)
        else:
            acted_on = self.observations.acted_on().cpu().numpy()
            self.ranks.update_moments(self.agent.obs_moments, acted_on)

    def _sum_pixels(self) -> None:
        sums = sums_of_bytes(self.observations.acted_on().flatten(0, 1))
        if self._pixel_sums is None:
            self._pixel_sums = torch.empty_like(sums)
        self._pixel_sums.copy_(sums)

    def target_moments(self) -> Moments:
        """Moments of the features that the predictor was trained to predict."""
        assert self._targets is not None
        features = self._targets.flatten(1)
        if self.device.type == "mps":  # which has no float64
            features = features.cpu()
        features = features.double()
        mean = features.mean(dim=0)
        m2 = (features - mean).square().sum(dim=0)
        return float(len(features)), mean.cpu().numpy(), m2.cpu().numpy()

    # --- learning ---

    def learn(
        self, advantages: Advantages, minibatches: list[Minibatch], choices: Tensor
    ) -> dict[str, float]:
        """Make an optimiser step for each minibatch."""
        self._advantages.copy_(self.compute.to_device(advantages.combined))
        self._returns.copy_(self.compute.to_device(advantages.returns))
        self._is_first.copy_(self.compute.to_device(self.rollout.is_first))
        if self.agent.bonus is not None:
            self._obs_normalizer.assign(self.agent.obs_moments)
            self._choices.copy_(self.compute.to_device(choices.numpy()))
            self._target_pass()
        if self._plan is None or not self._plan.fits(minibatches):
            self._plan = _Plan(self, minibatches)
        plan = self._plan
        plan.upload(minibatches)
        for _ in minibatches:
            plan.differentiate()
            self.ranks.sum_gradients(self.agent.parameters)
            plan.step()
        return plan.means()

    def differentiate(self, plan: _Plan) -> dict[str, Tensor]:
        """Gradients of the minibatch that is next in the plan, and its part of each loss."""
        agent, ppo, num_envs = self.agent, self._config.ppo, self.rollout.num_envs
        agent.optimizer.zero_grad(set_to_none=True)
        indices, shift, scale = plan.indices(), plan.advantage_shift(), plan.advantage_scale()
        rows = PolicyRows(
            self.actions[:-1].flatten(0, 1),
            self.log_probs[:-1].flatten(),
            self._advantages.flatten(),
            self.values[:-1].flatten(0, 1),
            self._returns.flatten(0, 1),
        ).at(indices.flatten())
        rows = dataclasses.replace(rows, advantages=(rows.advantages - shift) / scale)
        t, n = indices.flatten() // num_envs, indices.flatten() % num_envs
        envs = indices[0] % num_envs
        with self.compute.autocast():
            inputs = self.observations.policy_input(t, n, self.compute.dtype)
            is_first = self._is_first[: len(indices), envs]
            output = agent.policy(inputs, self.memory[0, envs], is_first)
        losses = policy_losses(output, rows, agent.distribution, ppo)
        batch_size = indices.numel() * self.ranks.world_size
        means = mean_losses(losses, ppo.streams, batch_size)
        loss = total_loss(means, ppo)
        if agent.bonus is not None:
            assert self._targets is not None
            predictor_rows, weights = plan.predictor_rows(), plan.predictor_weights()
            with self.compute.autocast():
                inputs = self.observations.next_input(
                    predictor_rows // num_envs,
                    predictor_rows % num_envs,
                    self._obs_normalizer,
                    self.compute.dtype,
                )
                errors = agent.bonus.losses(inputs, self._targets[predictor_rows])
            means["predictor"] = (errors * weights).sum()
            loss = loss + means["predictor"]
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in means.items()}


class _Step:
    """A group of environments, and what crosses between host and device in each of its steps.

    Args:
        backend: Whose environments they are.
        group: Which.
    """

    def __init__(self, backend: GpuBackend, group: slice) -> None:
        compute, observations = backend.compute, backend.observations
        size = group.stop - group.start
        self._group, self._stack_num = group, backend.stack_num

        def pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, pin_memory=compute.is_cuda)

        host_newest = pinned((size, *observations.newest_shape), observations.dtype)
        host_valid_frames = pinned((size,), torch.uint8)
        host_is_first = pinned((size,), torch.bool)
        self._host = host_newest, host_valid_frames, host_is_first
        self.newest: NDArray[Any] = host_newest.numpy()
        self._valid_frames: NDArray[np.uint8] = host_valid_frames.numpy()
        self._is_first: NDArray[np.bool_] = host_is_first.numpy()
        self.host_actions = pinned(tuple(backend.actions[0, group].shape), backend.actions.dtype)
        self._device = tuple(tensor.to(compute.device, copy=True) for tensor in self._host)
        self.t = torch.zeros(1, dtype=torch.int64, device=compute.device)
        self.n = torch.arange(group.start, group.stop, device=compute.device)
        self._pass = compute.captured(functools.partial(backend.step_group, group))
        self._done = torch.cuda.Event() if compute.is_cuda else None  # type: ignore[no-untyped-call]

    def stage(self, observations: NDArray[Any], is_first: NDArray[np.bool_]) -> None:
        """Keep new observations until the next pass uploads them."""
        if not np.may_share_memory(observations, self.newest):
            self.newest[:] = newest(observations)
        self._valid_frames[:] = count_valid_frames(self._valid_frames, is_first, self._stack_num)
        self._is_first[:] = is_first

    def restage(self, state: dict[str, NDArray[Any]], is_first: NDArray[np.bool_]) -> None:
        """The same with a first observation that lies in the device's memory already."""
        if "frames" in state:
            self.newest[:] = state["frames"][-1, self._group]
            self._valid_frames[:] = state["valid_frames"][self._group]
        else:
            self.newest[:] = state["vectors"][self._group]
        self._is_first[:] = is_first[self._group]

    def upload(self) -> tuple[Tensor, ...]:
        """What was staged, on the device: newest frames or vectors, valid frames, is first."""
        for device, host in zip(self._device, self._host, strict=True):
            device.copy_(host, non_blocking=True)
        return self._device

    def start(self) -> None:
        """Begin a step with what is staged, which must not change before the actions are here."""
        self._pass()
        if self._done is not None:
            self._done.record()

    def actions(self) -> NDArray[Any]:
        """Wait for the step's end; the actions that were chosen."""
        if self._done is not None:
            self._done.synchronize()
        actions: NDArray[Any] = self.host_actions.numpy().copy()
        return actions


class _Plan:
    """The minibatches of an update in tensors of fixed shape, and the passes over them.

    Rows that train the predictor are drawn anew for each minibatch, so that their number differs.
    They are filled up with rows of weight 0 to a number that is exceeded once in 10**18 draws.

    Args:
        backend: Who learns.
        minibatches: Of the sizes to come.
    """

    def __init__(self, backend: GpuBackend, minibatches: list[Minibatch]) -> None:
        self._backend, self._compute = backend, backend.compute
        self._max_grad_norm = backend.max_grad_norm
        self._shape = (len(minibatches), *minibatches[0].indices.shape)
        size = minibatches[0].indices.size
        expected = size * backend.predictor_proportion
        counts = [self._count(minibatch) for minibatch in minibatches]
        self._num_rows = max(min(size, math.ceil(expected + 9 * math.sqrt(expected))), *counts)

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=backend.device)

        self._number = zeros(1, dtype=torch.int64)  # of the minibatch that is next
        self._indices = zeros(*self._shape, dtype=torch.int64)
        self._predictor_rows = zeros(len(minibatches), self._num_rows, dtype=torch.int64)
        self._predictor_weights = zeros(len(minibatches), self._num_rows)
        self._shift_and_scale = zeros(len(minibatches), 2)
        self._names: list[str] = []
        self._totals: Tensor | None = None
        self.differentiate = self._compute.captured(self._differentiate)
        self.step = self._compute.captured(self._step)

    def fits(self, minibatches: list[Minibatch]) -> bool:
        """Whether these are of the sizes that the tensors have."""
        return (len(minibatches), *minibatches[0].indices.shape) == self._shape and all(
            self._count(minibatch) <= self._num_rows for minibatch in minibatches
        )

    def upload(self, minibatches: list[Minibatch]) -> None:
        """Take these minibatches, and begin with the first."""
        indices = np.stack([minibatch.indices for minibatch in minibatches])
        rows = np.zeros((len(minibatches), self._num_rows), np.int64)
        weights = np.zeros((len(minibatches), self._num_rows), np.float32)
        for number, minibatch in enumerate(minibatches):
            if minibatch.trains_predictor is not None:
                chosen = minibatch.indices[minibatch.trains_predictor]
                rows[number, : len(chosen)] = chosen
                weights[number, : len(chosen)] = 1 / minibatch.num_predictor_rows
        shift_and_scale = np.array(
            [(batch.advantage_shift, batch.advantage_scale) for batch in minibatches], np.float32
        )
        for target, array in (
            (self._indices, indices),
            (self._predictor_rows, rows),
            (self._predictor_weights, weights),
            (self._shift_and_scale, shift_and_scale),
        ):
            target.copy_(self._compute.to_device(array))
        self._number.zero_()
        if self._totals is not None:
            self._totals.zero_()

    def means(self) -> dict[str, float]:
        """Of the losses, and of the gradient's norm, over the minibatches; waits for the device."""
        assert self._totals is not None
        means = (self._totals / self._shape[0]).tolist()
        return dict(zip([*self._names, "gradient_norm"], means, strict=True))

    def indices(self) -> Tensor:
        """Of the transitions, ``(T, n)`` or ``(1, B)``."""
        return self._indices.index_select(0, self._number)[0]

    def predictor_rows(self) -> Tensor:
        """``(R,)``: transitions that train the predictor."""
        return self._predictor_rows.index_select(0, self._number)[0]

    def predictor_weights(self) -> Tensor:
        """``(R,)``: weight of each in the loss."""
        return self._predictor_weights.index_select(0, self._number)[0]

    def advantage_shift(self) -> Tensor:
        """``()``: subtracted from the advantages."""
        return self._shift_and_scale.index_select(0, self._number)[0, 0]

    def advantage_scale(self) -> Tensor:
        """``()``: what the advantages are then divided by."""
        return self._shift_and_scale.index_select(0, self._number)[0, 1]

    @staticmethod
    def _count(minibatch: Minibatch) -> int:
        mask = minibatch.trains_predictor
        return 0 if mask is None else int(np.count_nonzero(mask))

    def _differentiate(self) -> None:
        means = self._backend.differentiate(self)
        if self._totals is None:
            self._names = list(means)
            self._totals = torch.zeros(len(means) + 1, device=self._backend.device)
        self._totals[:-1].add_(torch.stack(list(means.values())))

    def _step(self) -> None:
        assert self._totals is not None
        backend = self._backend
        self._totals[-1].add_(optimizer_step(backend.agent, self._max_grad_norm, backend.ranks))
        self._number.add_(1)


def acting_copy(policy: PolicyNetwork, dtype: torch.dtype) -> PolicyNetwork:
    """A copy of a policy whose weights are in the number format that acting computes in.

    So they are not cast in every step. The last layers and the memory stay in float32.
    """
    acting = copy.deepcopy(policy).requires_grad_(False)
    for module in (acting.trunk, acting.actor_residual, acting.critic_residual):
        module.to(dtype)
    return acting


def sums_of_bytes(frames: Tensor) -> Tensor:
    """``(2, P)`` int64: exact sums over ``(B, C, H, W)`` uint8, and those of the squares."""
    flat = frames.flatten(1)
    sums = torch.zeros((2, flat.shape[1]), dtype=torch.int64, device=frames.device)
    for some in torch.split(flat, FRAMES_PER_EXACT_SUM):
        values = some.float()
        sums += torch.stack((values.sum(dim=0), values.square_().sum(dim=0))).long()
    return sums


def moments_of_sums(sums: Tensor, count: int, shape: tuple[int, ...]) -> Moments:
    """Count, mean and sum of squared deviations, from `sums_of_bytes` on the host.

    They are those of `rndfast.RunningMoments`, bit for bit, for up to 65,536 frames.
    """
    first, second = sums
    mean = first.double() / count
    m2 = (count * second - first * first).double() / count  # of integers below 2**49
    return float(count), mean.view(shape).numpy(), m2.view(shape).numpy()
