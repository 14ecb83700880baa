"""What a rollout keeps of its observations, and the networks' inputs out of it.

Of images every frame is kept once, as bytes, and stacks are gathered when a network needs them;
vectors are kept as they are.
"""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import gather_stacks, normalize_frames
from rndfast.config import Config
from rndfast.learner.networks import to_blocks
from rndfast.learner.normalizer import Normalizer


class Observations(Protocol):
    """The observations of T steps of N environments, and the one after them, on the host.

    Transition ``(t, n)`` has index ``t * N + n``; its next observation is that of ``(t + 1, n)``.
    Inputs of networks are ``(B, ...)`` in the number format asked for.
    """

    def state(self) -> dict[str, NDArray[Any]]:
        """Views of what the first observation consists of."""

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset."""

    def carry_over(self) -> None:
        """Make the last observation the first one of the next rollout."""

    def next_row(self, t: int, envs: slice) -> NDArray[np.uint8] | None:
        """Where environments may write what follows step ``t``; None: nowhere."""

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], is_first: NDArray[np.bool_]
    ) -> None:
        """Store what followed step ``t``, if it is not in `next_row` already."""

    def policy_input(self, indices: NDArray[np.int64], dtype: torch.dtype) -> Tensor:
        """What the policy reads of observations."""

    def final_input(self, t: int, n: int, observation: NDArray[Any], dtype: torch.dtype) -> Tensor:
        """What the policy would read of the observation that ended an episode; B is 1."""

    def next_input(
        self, indices: NDArray[np.int64], normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        """What the bonus reads of next observations, normalised."""

    def acted_on(self) -> NDArray[Any]:
        """``(T, N, *shape)``: the newest frame, or the vector, of each observation acted on."""


def newest(observations: NDArray[Any]) -> NDArray[Any]:
    """``(N, *shape)``: what RND and its statistics take of observations.

    Of stacks ``(N, S, H, W)`` or ``(N, S, H, W, 3)`` it is the newest frame, ``(N, C, H, W)``; of
    vectors all.
    """
    if observations.ndim == 2:
        return observations
    last = observations[:, -1]
    return np.ascontiguousarray(last[:, None] if last.ndim == 3 else np.moveaxis(last, -1, 1))


def single_shape(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    """Shape of `newest` of one observation: ``(C, H, W)`` or ``(D,)``."""
    assert space.shape is not None
    return newest(np.zeros((1, *space.shape), np.uint8)).shape[1:]


class FrameStore:
    """Every frame once.

    ``frames``: ``(T + S, N, C, H, W)`` uint8; observation ``t`` is rows ``t .. t + S - 1``, its
    newest frame row ``t + S - 1``. ``valid_frames``: ``(T + 1, N)`` uint8, frames of each
    observation that belong to its episode; zeros are shown for the others.

    Args:
        config: The numbers of environments, steps and frames in a stack are read.
        frame_shape: ``(C, H, W)``.
    """

    def __init__(self, config: Config, frame_shape: tuple[int, ...]) -> None:
        self.stack_num = config.atari.stack_num
        num_steps, num_envs = config.ppo.rollout_steps, config.env.num_envs
        self.frames = np.zeros((num_steps + self.stack_num, num_envs, *frame_shape), np.uint8)
        self.valid_frames = np.ones((num_steps + 1, num_envs), np.uint8)

    def state(self) -> dict[str, NDArray[Any]]:
        """Views of what the first observation consists of."""
        return {"frames": self.frames[: self.stack_num], "valid_frames": self.valid_frames[0]}

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset."""
        self.frames[: self.stack_num - 1] = 0
        self.frames[self.stack_num - 1] = newest(observations)
        self.valid_frames[0] = 1

    def carry_over(self) -> None:
        """Make the last observation the first one of the next rollout."""
        self.frames[: self.stack_num] = self.frames[-self.stack_num :]
        self.valid_frames[0] = self.valid_frames[-1]

    def next_row(self, t: int, envs: slice) -> NDArray[np.uint8] | None:
        """Where environments may write what follows step ``t``; None: their layout differs."""
        return self.frames[t + self.stack_num, envs] if self.frames.shape[2] == 1 else None

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], is_first: NDArray[np.bool_]
    ) -> None:
        """Store what followed step ``t``, if it is not in `next_row` already."""
        if not np.may_share_memory(observations, self.frames):
            self.frames[t + self.stack_num, envs] = newest(observations)
        self.valid_frames[t + 1, envs] = count_valid_frames(
            self.valid_frames[t, envs], is_first, self.stack_num
        )

    def policy_input(self, indices: NDArray[np.int64], dtype: torch.dtype) -> Tensor:
        """``(B, 16 * S * C, H // 4, W // 4)`` stacks in [0, 1], as blocks."""
        blocks = self._empty_blocks(len(indices), self.stack_num, dtype)
        gather_stacks(self.frames, self.valid_frames, indices, out=_as_numpy(blocks))
        return blocks.permute(0, 3, 1, 2)

    def final_input(self, t: int, n: int, observation: NDArray[Any], dtype: torch.dtype) -> Tensor:
        """``(1, 16 * S * C, H // 4, W // 4)``: the stack at the end of step ``t``'s episode.

        ``observation`` is what the environment reports of it; the older frames are in the store.
        """
        stack: NDArray[np.uint8] = self.frames[t + 1 : t + 1 + self.stack_num, n].copy()
        stack[: max(0, self.stack_num - 1 - int(self.valid_frames[t, n]))] = 0
        stack[-1] = newest(observation[None])[0]
        return to_blocks(torch.from_numpy(stack).flatten(0, 1)[None] / 255).to(dtype)

    def next_input(
        self, indices: NDArray[np.int64], normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        """``(B, 16 * C, H // 4, W // 4)``: newest frames of next observations, as blocks."""
        blocks = self._empty_blocks(len(indices), 1, dtype)
        normalize_frames(
            self.frames,
            indices + self.stack_num * self.frames.shape[1],
            normalizer.mean,
            normalizer.var,
            out=_as_numpy(blocks),
            clip=normalizer.clip,
        )
        return blocks.permute(0, 3, 1, 2)

    def acted_on(self) -> NDArray[np.uint8]:
        """``(T, N, C, H, W)``: the newest frame of each observation acted on."""
        return self.frames[self.stack_num - 1 : -1]

    def _empty_blocks(self, batch_size: int, num_frames: int, dtype: torch.dtype) -> Tensor:
        """``(B, H // 4, W // 4, 16 * num_frames * C)``, for the kernels to fill."""
        channels, height, width = self.frames.shape[2:]
        return torch.empty(
            (batch_size, height // 4, width // 4, 16 * num_frames * channels), dtype=dtype
        )


def count_valid_frames(
    before: NDArray[np.uint8], is_first: NDArray[np.bool_], stack_num: int
) -> NDArray[np.uint8]:
    """Frames of a stack that belong to its episode, a step after ``before``."""
    counts: NDArray[np.uint8] = np.where(is_first, 1, np.minimum(before + 1, stack_num))
    return counts.astype(np.uint8)


class VectorStore:
    """Vectors as the environments give them: ``vectors``, ``(T + 1, N, D)`` float32.

    The policy reads them normalised too, by the statistics as they were when the rollout began
    (``policy_normalizer``), so that it learns from what it acted on.

    Args:
        config: The numbers of environments and steps are read.
        size: D.
        policy_normalizer: Of the first rollout.
    """

    def __init__(self, config: Config, size: int, policy_normalizer: Normalizer) -> None:
        shape = (config.ppo.rollout_steps + 1, config.env.num_envs, size)
        self.vectors = np.zeros(shape, np.float32)
        self.policy_normalizer = policy_normalizer

    def state(self) -> dict[str, NDArray[Any]]:
        """A view of the first observation."""
        return {"vectors": self.vectors[0]}

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset."""
        self.vectors[0] = observations

    def carry_over(self) -> None:
        """Make the last observation the first one of the next rollout."""
        self.vectors[0] = self.vectors[-1]

    def next_row(self, t: int, envs: slice) -> None:
        """Nowhere: the environments have memory of their own."""

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], is_first: NDArray[np.bool_]
    ) -> None:
        """Store what followed step ``t``."""
        del is_first  # vectors are not stacked
        self.vectors[t + 1, envs] = observations

    def policy_input(self, indices: NDArray[np.int64], dtype: torch.dtype) -> Tensor:
        """``(B, D)``, normalised."""
        return self._normalized(self._rows[indices], self.policy_normalizer, dtype)

    def final_input(self, t: int, n: int, observation: NDArray[Any], dtype: torch.dtype) -> Tensor:
        """``(1, D)``, normalised: the observation that ended an episode."""
        del t, n
        return self._normalized(observation[None], self.policy_normalizer, dtype)

    def next_input(
        self, indices: NDArray[np.int64], normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        """``(B, D)``: next observations, normalised."""
        return self._normalized(self._rows[indices + self.vectors.shape[1]], normalizer, dtype)

    def acted_on(self) -> NDArray[np.float32]:
        """``(T, N, D)``: each observation acted on."""
        return self.vectors[:-1]

    @property
    def _rows(self) -> NDArray[np.float32]:
        return self.vectors.reshape(-1, self.vectors.shape[2])

    def _normalized(
        self, rows: NDArray[np.float32], normalizer: Normalizer, dtype: torch.dtype
    ) -> Tensor:
        return normalizer(torch.from_numpy(rows)).to(dtype)


def _as_numpy(tensor: Tensor) -> NDArray[np.generic]:
    """A NumPy view of a host tensor; bfloat16 as its bits in uint16, as the kernels take it."""
    view: NDArray[np.generic] = (
        tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
    ).numpy()
    return view
