"""A rollout's observations in a GPU's memory, and the networks' inputs out of them.

Only new frames, or vectors, cross from the host. Indices are tensors on the device: ``t``, the
observation, and ``n``, the environment, both ``(B,)`` int64.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from rndfast.config import Config
from rndfast.learner.gather_kernels import gather_normalized, gather_stacks
from rndfast.learner.normalizer import Normalizer


class DeviceObservations(Protocol):
    """The observations of T steps of N environments and the one after them, on a device.

    ``newest_shape`` and ``dtype`` are those of what the host sends of each new observation.
    """

    newest_shape: tuple[int, ...]
    dtype: torch.dtype

    def state(self) -> dict[str, Tensor]:
        """Views of what the first observation consists of."""

    def store(self, t: Tensor, envs: slice, newest: Tensor, valid_frames: Tensor) -> None:
        """Store observation ``t``, ``(1,)``, of some environments."""

    def carry_over(self) -> None:
        """Make the last observation the first one of the next rollout."""

    def policy_input(self, t: Tensor, n: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, ...)``: what the policy reads of observations."""

    def final_input(self, t: int, n: int, newest: Tensor, dtype: torch.dtype) -> Tensor:
        """``(1, ...)``: what it would read of the observation that ended an episode at step t."""

    def next_input(
        self, t: Tensor, n: Tensor, normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        """``(B, ...)``: what the bonus reads of the observations after ``t``."""

    def acted_on(self) -> Tensor:
        """``(T, N, *shape)``: the newest frame, or the vector, of each observation acted on."""


class DeviceFrames:
    """Every frame once.

    ``frames``: ``(T + S, N, C, H, W)`` uint8; observation ``t`` is rows ``t .. t + S - 1``.
    ``valid_frames``: ``(T + 1, N)`` uint8, frames of each observation that belong to its episode;
    zeros are shown for the others.

    Args:
        config: The numbers of environments, steps and frames in a stack are read.
        frame_shape: ``(C, H, W)``.
        device: Where they are.
    """

    dtype = torch.uint8

    def __init__(self, config: Config, frame_shape: tuple[int, ...], device: torch.device) -> None:
        self.stack_num = config.atari.stack_num
        self.newest_shape = frame_shape
        num_steps, num_envs = config.ppo.rollout_steps, config.env.num_envs
        self.frames = torch.zeros(
            (num_steps + self.stack_num, num_envs, *frame_shape), dtype=torch.uint8, device=device
        )
        self.valid_frames = torch.ones((num_steps + 1, num_envs), dtype=torch.uint8, device=device)

    def state(self) -> dict[str, Tensor]:
        """Views of what the first observation consists of."""
        return {"frames": self.frames[: self.stack_num], "valid_frames": self.valid_frames[0]}

    def store(self, t: Tensor, envs: slice, newest: Tensor, valid_frames: Tensor) -> None:
        """Store observation ``t``, ``(1,)``, of some environments."""
        self.frames[:, envs].index_copy_(0, t + (self.stack_num - 1), newest[None])
        self.valid_frames[:, envs].index_copy_(0, t, valid_frames[None])

    def carry_over(self) -> None:
        """Make the last observation the first one of the next rollout."""
        self.frames[: self.stack_num] = self.frames[-self.stack_num :].clone()
        self.valid_frames[0] = self.valid_frames[-1]

    def policy_input(self, t: Tensor, n: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, 16 * S * C, H // 4, W // 4)`` stacks in [0, 1], as blocks."""
        return gather_stacks(self.frames, self.valid_frames, t, n, dtype)

    def final_input(self, t: int, n: int, newest: Tensor, dtype: torch.dtype) -> Tensor:
        """``(1, 16 * S * C, H // 4, W // 4)``: the stack at the end of step ``t``'s episode."""
        rows = torch.cat((self.frames[t + 1 : t + self.stack_num, n], newest[None]))
        count = (self.valid_frames[t, n] + 1).clamp(max=self.stack_num)
        zero = torch.zeros(1, dtype=torch.int64, device=newest.device)
        return gather_stacks(rows[:, None], count[None, None], zero, zero, dtype)

    def next_input(
        self, t: Tensor, n: Tensor, normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        """``(B, 16 * C, H // 4, W // 4)``: newest frames of next observations, as blocks."""
        return gather_normalized(self.frames, t + self.stack_num, n, normalizer, dtype)

    def acted_on(self) -> Tensor:
        """``(T, N, C, H, W)``: the newest frame of each observation acted on."""
        return self.frames[self.stack_num - 1 : -1]


class DeviceVectors:
    """Vectors as the environments give them: ``vectors``, ``(T + 1, N, D)`` float32.

    Args:
        config: The numbers of environments and steps are read.
        size: D.
        policy_normalizer: What the policy reads is normalised by it.
        device: Where they are.
    """

    dtype = torch.float32

    def __init__(
        self, config: Config, size: int, policy_normalizer: Normalizer, device: torch.device
    ) -> None:
        self.newest_shape: tuple[int, ...] = (size,)
        shape = (config.ppo.rollout_steps + 1, config.env.num_envs, size)
        self.vectors = torch.zeros(shape, device=device)
        self.policy_normalizer = policy_normalizer

    def state(self) -> dict[str, Tensor]:
        """A view of the first observation."""
        return {"vectors": self.vectors[0]}

    def store(self, t: Tensor, envs: slice, newest: Tensor, valid_frames: Tensor) -> None:
        """Store observation ``t``, ``(1,)``, of some environments."""
        del valid_frames  # vectors are not stacked
        self.vectors[:, envs].index_copy_(0, t, newest[None])

    def carry_over(self) -> None:
        """Make the last observation the first one of the next rollout."""
        self.vectors[0] = self.vectors[-1]

    def policy_input(self, t: Tensor, n: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, D)``, normalised."""
        return self.policy_normalizer(self.vectors[t, n]).to(dtype)

    def final_input(self, t: int, n: int, newest: Tensor, dtype: torch.dtype) -> Tensor:
        """``(1, D)``, normalised: the observation that ended an episode."""
        del t, n
        return self.policy_normalizer(newest[None]).to(dtype)

    def next_input(
        self, t: Tensor, n: Tensor, normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        """``(B, D)``: next observations, normalised."""
        return normalizer(self.vectors[t + 1, n]).to(dtype)

    def acted_on(self) -> Tensor:
        """``(T, N, D)``: each observation acted on."""
        return self.vectors[:-1]
