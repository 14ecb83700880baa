"""Collecting experience: frames stored once, stacks gathered when a network needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import gather_stacks
from rndfast.agent import Agent
from rndfast.config import Config
from rndfast.device_frames import DeviceFrames
from rndfast.networks import PolicyOutput, to_blocks
from rndfast.rooms import Rooms
from rndfast.workers import Workers, as_numpy

# Observations that pass through the policy at once while it acts: few enough that several threads
# share a step, and no fewer, as small passes are slow.
INFERENCE_BATCH_SIZE = 32


class SameStepEnv(Protocol):
    """What training asks of a vector environment: Gymnasium's, with same-step autoreset."""

    def reset(self, *, seed: int | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode in each environment."""

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[
        NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Step each environment; an observation after an episode's end is the next one's first."""

    def send(
        self,
        actions: NDArray[np.int64],
        env_ids: NDArray[np.int64],
        *,
        out: NDArray[np.uint8] | None = None,
    ) -> None:
        """Begin to step some environments."""

    def recv(
        self,
    ) -> tuple[
        NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Wait for the oldest `send`; returns what `step` does of its environments."""

    def snapshot(self) -> bytes:
        """Return the whole state."""

    def restore(self, snapshot: bytes) -> None:
        """Return to a state."""


@dataclass
class EpisodeStatistics:
    """Episodes that ended in a rollout."""

    returns: list[float] = field(default_factory=list)  # unclipped extrinsic return
    lengths_steps: list[int] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)  # numbers of them; none where a game has none


class Rollout:
    """The experience of T steps of N environments, and the first observation after it.

    ``frames``: ``(T + S, N, C, H, W)`` uint8; observation ``t`` is rows ``t .. t + S - 1``, its
    newest frame row ``t + S - 1``. ``valid_frames``: ``(T + 1, N)`` uint8, frames of each
    observation that belong to its episode. The other arrays are ``(T, N)``: what was done at
    observation ``t`` and what came of it.

    Args:
        config: ``env``, ``ppo.rollout_steps`` and ``run.overlap`` are read.
        device: Where the networks live: a GPU gets a copy of the frames.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        env, steps = config.env, config.ppo.rollout_steps
        self.stack_num = env.stack_num
        self.num_steps = steps
        self.num_envs = env.num_envs
        channels = 1 if env.grayscale else 3
        middle = -(-self.num_envs // 2)
        self.halves = [slice(0, middle), slice(middle, self.num_envs)]
        self.overlap = config.run.overlap
        is_gpu = device.type != "cpu"
        frames = torch.zeros(
            (steps + self.stack_num, self.num_envs, channels, env.img_height, env.img_width),
            dtype=torch.uint8,
            pin_memory=is_gpu,
        )
        valid_frames = torch.ones((steps + 1, self.num_envs), dtype=torch.uint8, pin_memory=is_gpu)
        self.frames: NDArray[np.uint8] = frames.numpy()
        self.valid_frames: NDArray[np.uint8] = valid_frames.numpy()
        self.on_device = DeviceFrames(frames, valid_frames, device) if is_gpu else None
        shape = (steps, self.num_envs)
        self.actions = np.zeros(shape, np.int64)
        self.log_probs = np.zeros(shape, np.float32)
        self.ext_values = np.zeros(shape, np.float32)
        self.int_values = np.zeros(shape, np.float32)
        self.rewards_raw = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, np.bool_)
        self.truncated = np.zeros(shape, np.bool_)
        self.final_ext_values = np.zeros(shape, np.float32)  # read only where truncated
        self.next_ext_value = np.zeros(self.num_envs, np.float32)
        self.next_int_value = np.zeros(self.num_envs, np.float32)
        self.episodes = EpisodeStatistics()
        self.rooms = Rooms(self.num_envs)

    def state(self) -> dict[str, NDArray[Any]]:
        """What the first observation consists of; with it, another rollout goes on the same."""
        return {
            "frames": self.frames[: self.stack_num],
            "valid_frames": self.valid_frames[0],
            "rooms.visited": self.rooms.visited,
            "rooms.first_visits": self.rooms.first_visits,
        }

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Begin at the first observation of another rollout.

        Raises:
            ValueError: An array is missing or of another shape: the state belongs to other settings
            or another version.
        """
        for name, array in self.state().items():
            got = state[name].shape if name in state else "nothing of this name"
            if got != array.shape:
                raise ValueError(f"state {name!r} must have shape {array.shape}, got {got}")
            array[:] = state[name]
        self._upload_first()

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset."""
        self.frames[: self.stack_num - 1] = 0
        self.frames[self.stack_num - 1] = newest_frames(observations)
        self.valid_frames[0] = 1
        self.rooms.visited[:] = False
        self._upload_first()

    def carry_over(self) -> None:
        """Make the observation after this rollout the first one of the next."""
        self.frames[: self.stack_num] = self.frames[self.num_steps :]
        self.valid_frames[0] = self.valid_frames[self.num_steps]
        self.episodes = EpisodeStatistics()
        self._upload_first()

    def _upload_first(self) -> None:
        if self.on_device is not None:
            self.on_device.upload(range(self.stack_num), slice(None))

    def next_row(self, t: int, envs: slice) -> NDArray[np.uint8] | None:
        """Where environments may write what follows step ``t``; None: their layout differs."""
        return self.frames[t + self.stack_num, envs] if self.frames.shape[2] == 1 else None

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], ended: NDArray[np.bool_]
    ) -> None:
        """Store the observations that followed step ``t``, if not in `next_row` already."""
        if not np.may_share_memory(observations, self.frames):
            self.frames[t + self.stack_num, envs] = newest_frames(observations)
        self.valid_frames[t + 1, envs] = np.where(
            ended, 1, np.minimum(self.valid_frames[t, envs] + 1, self.stack_num)
        )
        if self.on_device is not None:
            self.on_device.upload(range(t + self.stack_num, t + self.stack_num + 1), envs)

    def final_stack(self, t: int, n: int, observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(S, C, H, W)``: the last observation of the episode that step ``t`` ended.

        ``observation`` is what the environment reports of it; the older frames are in the store.
        """
        stack: NDArray[np.uint8] = self.frames[t + 1 : t + 1 + self.stack_num, n].copy()
        stack[: max(0, self.stack_num - 1 - int(self.valid_frames[t, n]))] = 0
        stack[-1] = newest_frames(observation[None])[0]
        return stack

    def observation_frames(self) -> NDArray[np.uint8]:
        """``(T, N, C, H, W)``: the newest frame of each observation acted on."""
        return self.frames[self.stack_num - 1 : self.stack_num - 1 + self.num_steps]

    def indices(self) -> NDArray[np.int64]:
        """``(T, N)``: ``t * N + n``, the index of each transition in kernels and flat arrays."""
        return np.arange(self.num_steps * self.num_envs).reshape(self.num_steps, self.num_envs)

    def next_frame_indices(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Position in ``frames`` of what RND reads: the next observation's newest frame."""
        return indices + self.stack_num * self.num_envs


def newest_frames(observations: NDArray[Any]) -> NDArray[np.uint8]:
    """``(N, C, H, W)``: the newest frame of ``(N, S, H, W)`` or ``(N, S, H, W, 3)`` stacks."""
    newest = observations[:, -1]
    return np.ascontiguousarray(newest[:, None] if newest.ndim == 3 else np.moveaxis(newest, -1, 1))


def empty_blocks(rollout: Rollout, batch_size: int, num_frames: int, workers: Workers) -> Tensor:
    """``(B, H // 4, W // 4, 16 * num_frames * C)`` on the host, for the kernels to fill."""
    channels, height, width = rollout.frames.shape[2:]
    return torch.empty(
        (batch_size, height // 4, width // 4, 16 * num_frames * channels), dtype=workers.dtype
    )


def policy_input(rollout: Rollout, indices: NDArray[np.int64], workers: Workers) -> Tensor:
    """``(B, 16 * S * C, H // 4, W // 4)`` stacks in [0, 1] on the device, as blocks."""
    if rollout.on_device is not None:
        return rollout.on_device.stacks(workers.to_device(indices), workers.dtype)
    blocks = empty_blocks(rollout, len(indices), rollout.stack_num, workers)
    gather_stacks(rollout.frames, rollout.valid_frames, indices, out=as_numpy(blocks))
    return blocks.permute(0, 3, 1, 2)


def evaluate_policy(
    agent: Agent, rollout: Rollout, batches: list[NDArray[np.int64]], workers: Workers
) -> PolicyOutput:
    """Logits and values of stored observations, on the host, without gradients.

    Each batch passes through the network on its own: what it is evaluated beside changes nothing.
    """

    def forward(inputs: Tensor) -> Tensor:
        logits, ext_values, int_values = agent.policy(inputs)
        return torch.cat((logits, ext_values[:, None], int_values[:, None]), dim=1)

    def evaluate(piece: NDArray[np.int64]) -> Tensor:
        with torch.no_grad(), workers.autocast():
            if workers.graphs is None or rollout.on_device is None:
                outputs = forward(policy_input(rollout, piece, workers))
            else:
                on_device, dtype = rollout.on_device, workers.dtype
                outputs = workers.graphs.run(
                    "policy",
                    lambda indices: forward(on_device.stacks(indices, dtype)),
                    workers.to_device(piece),
                )
            return outputs.cpu()  # waits for a GPU: the next actions depend on it

    pieces = [piece for batch in batches for piece in workers.pieces(batch, INFERENCE_BATCH_SIZE)]
    outputs = torch.cat(list(workers.map(evaluate, pieces)))
    return PolicyOutput(outputs[:, :-2], outputs[:, -2], outputs[:, -1])


def draw_noise(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """``(N, A)``: what `sample_actions` decides by, in a step of N environments."""
    return torch.empty(shape).exponential_(generator=generator)


def sample_actions(logits: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draw ``(N,)`` actions from ``(N, A)`` logits, with their ``(N,)`` log-probabilities.

    An exponential variable of rate p is the first among others with probability p, if these sum to
    one.
    """
    log_probs = torch.log_softmax(logits, dim=1)
    actions = (log_probs.exp() / noise).argmax(dim=1)
    return actions, log_probs.gather(1, actions[:, None]).squeeze(1)


def collect(agent: Agent, env: SameStepEnv, rollout: Rollout, workers: Workers) -> None:
    """Step every environment T times with the policy and fill the rollout.

    With ``rollout.overlap`` one half of the environments is emulated while the other's actions are
    chosen. The bytes are the same either way.
    """
    indices = rollout.indices()
    halves = [half for half in rollout.halves if half.start < half.stop]  # not of one environment
    groups = [[half] for half in halves] if rollout.overlap else [halves]  # stepped together

    def act(t: int, group: list[slice], noise: Tensor) -> None:
        workers.timeline.enter("inference")
        envs = slice(group[0].start, group[-1].stop)
        output = evaluate_policy(agent, rollout, [indices[t, half] for half in group], workers)
        actions, log_probs = sample_actions(output.logits, noise[envs])
        rollout.actions[t, envs] = actions.numpy()
        rollout.log_probs[t, envs] = log_probs.numpy()
        rollout.ext_values[t, envs] = output.ext_values.numpy()
        rollout.int_values[t, envs] = output.int_values.numpy()

        workers.timeline.enter("env")
        env.send(actions.numpy(), np.arange(envs.start, envs.stop), out=rollout.next_row(t, envs))

    def receive(t: int, group: list[slice]) -> None:
        workers.timeline.enter("env")
        envs = slice(group[0].start, group[-1].stop)
        observations, _, terminated, truncated, info = env.recv()
        ended = terminated | truncated
        rollout.rewards_raw[t, envs] = info["reward_raw"]
        rollout.terminated[t, envs] = terminated
        rollout.truncated[t, envs] = truncated & ~terminated
        rollout.store_next(t, envs, observations, ended)
        if ended.any():
            rollout.episodes.returns += info["episode_return"][ended].tolist()
            rollout.episodes.lengths_steps += info["episode_length"][ended].tolist()
        if "room" in info:
            transitions = agent.transitions + (t + 1) * rollout.num_envs
            rollout.episodes.rooms += rollout.rooms.note(envs, info, ended, transitions)
        for row in np.flatnonzero(truncated & ~terminated).tolist():
            n = envs.start + row
            final_stack = rollout.final_stack(t, n, info["final_obs"][row])
            rollout.final_ext_values[t, n] = final_ext_value(agent, final_stack, workers)

    for t in range(rollout.num_steps):
        noise = draw_noise((rollout.num_envs, agent.num_actions), agent.generator)
        for group in groups:
            if t > 0:
                receive(t - 1, group)
            act(t, group, noise)
    for group in groups:
        receive(rollout.num_steps - 1, group)

    # the observation after the last step bootstraps both returns
    workers.timeline.enter("inference")
    after_last = indices[-1] + rollout.num_envs
    output = evaluate_policy(agent, rollout, [after_last[half] for half in halves], workers)
    rollout.next_ext_value[:] = output.ext_values.numpy()
    rollout.next_int_value[:] = output.int_values.numpy()


def final_ext_value(agent: Agent, stack: NDArray[np.uint8], workers: Workers) -> float:
    """Extrinsic value of an episode's last observation, ``(S, C, H, W)``."""
    scaled = torch.from_numpy(stack).flatten(0, 1)[None].to(workers.device) / 255
    with torch.no_grad(), workers.autocast():
        return float(agent.policy(to_blocks(scaled)).ext_values)  # waits for a GPU; rare
