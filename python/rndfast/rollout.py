"""Collecting experience: frames stored once, stacks gathered when a network needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rndfast._core import gather_stacks
from rndfast.agent import Agent
from rndfast.config import Config
from rndfast.networks import PolicyOutput
from rndfast.workers import Workers, as_numpy

# Pieces that one step's inference is cut into, so that two threads share it; more made each piece
# too small to be fast.
INFERENCE_PIECES = 2


class SameStepEnv(Protocol):
    """What training asks of a vector environment: Gymnasium's, with same-step autoreset."""

    def reset(self, *, seed: int | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode in each environment."""

    def step(
        self, actions: NDArray[np.int64], *, out: NDArray[np.uint8] | None = None
    ) -> tuple[
        NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Step each environment; an observation after an episode's end is the next one's first."""

    def snapshot(self) -> bytes:
        """Return the whole state."""

    def restore(self, snapshot: bytes) -> None:
        """Return to a state."""


@dataclass
class EpisodeStatistics:
    """Episodes that ended in a rollout."""

    returns: list[float] = field(default_factory=list)  # unclipped extrinsic return
    lengths_steps: list[int] = field(default_factory=list)


class Rollout:
    """The experience of T steps of N environments, and the first observation after it.

    ``frames``: ``(T + S, N, C, H, W)`` uint8; observation ``t`` is rows ``t .. t + S - 1``, its
    newest frame row ``t + S - 1``. ``valid_frames``: ``(T + 1, N)`` uint8, frames of each
    observation that belong to its episode. The other arrays are ``(T, N)``: what was done at
    observation ``t`` and what came of it.
    """

    def __init__(self, config: Config) -> None:
        env, steps = config.env, config.ppo.rollout_steps
        self.stack_num = env.stack_num
        self.num_steps = steps
        self.num_envs = env.num_envs
        channels = 1 if env.grayscale else 3
        rows = (steps + self.stack_num, self.num_envs)
        self.frames = np.zeros((*rows, channels, env.img_height, env.img_width), np.uint8)
        self.valid_frames = np.ones((steps + 1, self.num_envs), np.uint8)
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

    def state(self) -> dict[str, NDArray[np.uint8]]:
        """What the first observation consists of; with it, another rollout goes on the same."""
        return {"frames": self.frames[: self.stack_num], "valid_frames": self.valid_frames[0]}

    def load_state(self, state: dict[str, NDArray[np.uint8]]) -> None:
        """Begin at the first observation of another rollout."""
        self.frames[: self.stack_num] = state["frames"]
        self.valid_frames[0] = state["valid_frames"]

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset."""
        self.frames[: self.stack_num - 1] = 0
        self.frames[self.stack_num - 1] = newest_frames(observations)
        self.valid_frames[0] = 1

    def carry_over(self) -> None:
        """Make the observation after this rollout the first one of the next."""
        self.frames[: self.stack_num] = self.frames[self.num_steps :]
        self.valid_frames[0] = self.valid_frames[self.num_steps]
        self.episodes = EpisodeStatistics()

    def next_row(self, t: int) -> NDArray[np.uint8] | None:
        """Where an environment may write what follows step ``t``; None: its layout differs."""
        return self.frames[t + self.stack_num] if self.frames.shape[2] == 1 else None

    def store_next(self, t: int, observations: NDArray[Any], ended: NDArray[np.bool_]) -> None:
        """Store the observation that followed step ``t``, if it is not in `next_row` already."""
        if not np.may_share_memory(observations, self.frames):
            self.frames[t + self.stack_num] = newest_frames(observations)
        self.valid_frames[t + 1] = np.where(
            ended, 1, np.minimum(self.valid_frames[t] + 1, self.stack_num)
        )

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


def policy_input(rollout: Rollout, indices: NDArray[np.int64], workers: Workers) -> torch.Tensor:
    """``(B, S * C, H, W)`` stacks in [0, 1] on the device."""
    stacks = workers.empty(len(indices), rollout.stack_num, *rollout.frames.shape[2:])
    gather_stacks(rollout.frames, rollout.valid_frames, indices, out=as_numpy(stacks))
    return workers.to_device(stacks.flatten(1, 2))


def evaluate_policy(
    agent: Agent, rollout: Rollout, indices: NDArray[np.int64], workers: Workers
) -> PolicyOutput:
    """Logits and values of stored observations, on the host, without gradients."""

    def evaluate(piece: NDArray[np.int64]) -> PolicyOutput:
        with torch.no_grad(), workers.autocast():
            output: PolicyOutput = agent.policy(policy_input(rollout, piece, workers))
        return PolicyOutput(*(values.cpu() for values in output))

    pieces = list(workers.map(evaluate, indices, min_pieces=INFERENCE_PIECES))
    return PolicyOutput(*(torch.cat(values) for values in zip(*pieces, strict=True)))


def sample_actions(
    logits: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ``(N,)`` actions from ``(N, A)`` logits, with their ``(N,)`` log-probabilities."""
    log_probs = torch.log_softmax(logits, dim=1)
    actions = torch.multinomial(log_probs.exp(), 1, generator=generator)
    return actions.squeeze(1), log_probs.gather(1, actions).squeeze(1)


def collect(agent: Agent, env: SameStepEnv, rollout: Rollout, workers: Workers) -> None:
    """Step every environment T times with the policy and fill the rollout."""
    all_indices = rollout.indices()
    for t in range(rollout.num_steps):
        workers.timeline.enter("inference")
        output = evaluate_policy(agent, rollout, all_indices[t], workers)
        actions, log_probs = sample_actions(output.logits, agent.generator)
        rollout.actions[t] = actions.numpy()
        rollout.log_probs[t] = log_probs.numpy()
        rollout.ext_values[t] = output.ext_values.numpy()
        rollout.int_values[t] = output.int_values.numpy()

        workers.timeline.enter("env")
        observations, _, terminated, truncated, info = env.step(
            rollout.actions[t], out=rollout.next_row(t)
        )
        ended = terminated | truncated
        rollout.rewards_raw[t] = info["reward_raw"]
        rollout.terminated[t] = terminated
        rollout.truncated[t] = truncated & ~terminated
        rollout.store_next(t, observations, ended)
        if ended.any():
            rollout.episodes.returns += info["episode_return"][ended].tolist()
            rollout.episodes.lengths_steps += info["episode_length"][ended].tolist()
        for n in np.flatnonzero(rollout.truncated[t]).tolist():
            final_stack = rollout.final_stack(t, n, info["final_obs"][n])
            rollout.final_ext_values[t, n] = final_ext_value(agent, final_stack, workers)

    # the observation after the last step bootstraps both returns
    workers.timeline.enter("inference")
    output = evaluate_policy(agent, rollout, all_indices[-1] + rollout.num_envs, workers)
    rollout.next_ext_value[:] = output.ext_values.numpy()
    rollout.next_int_value[:] = output.int_values.numpy()


def final_ext_value(agent: Agent, stack: NDArray[np.uint8], workers: Workers) -> float:
    """Extrinsic value of an episode's last observation, ``(S, C, H, W)``."""
    scaled = torch.from_numpy(stack).flatten(0, 1)[None] / 255
    with torch.no_grad(), workers.autocast():
        return float(agent.policy(workers.to_device(scaled)).ext_values)
