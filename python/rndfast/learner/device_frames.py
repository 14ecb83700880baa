"""A GPU's copy of a rollout's frames, to which only new frames cross.

Untested on a GPU: it has been run on the CPU, where it must agree with the compiled kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rndfast.learner.networks import to_blocks
from rndfast.learner.normalizer import Normalizer


class DeviceFrames:
    """The frames of a rollout on a device, and the networks' inputs out of them.

    Inputs are those of the kernels ``gather_stacks`` and ``normalize_frames``; so are the indices,
    but on the device.

    Args:
        frames: ``(R, N, C, H, W)`` uint8 on the host, pinned: every frame once.
        valid_frames: ``(R - S + 1, N)`` uint8 on the host, pinned: frames of the episode in each
            observation.
        device: Where the copy is.
    """

    def __init__(self, frames: Tensor, valid_frames: Tensor, device: torch.device) -> None:
        self._host_frames, self._host_valid_frames = frames, valid_frames
        self._frames = torch.zeros_like(frames, device=device)
        self._valid_frames = torch.ones_like(valid_frames, device=device)
        self._stack_num = len(frames) - len(valid_frames) + 1

    def upload(self, rows: range, envs: slice) -> None:
        """Copy rows of frames that the host has written, and the counts of the last one's.

        The copies are made in the device's own time: the host writes to a row again a rollout
        later, long after.
        """
        for row in rows:
            self._frames[row, envs].copy_(self._host_frames[row, envs], non_blocking=True)
        t = rows[-1] + 1 - self._stack_num
        self._valid_frames[t, envs].copy_(self._host_valid_frames[t, envs], non_blocking=True)

    def stacks(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, 16 * S * C, H // 4, W // 4)``: observations in [0, 1], zeros before an episode."""
        num_envs = self._frames.shape[1]
        steps, envs = indices // num_envs, indices % num_envs  # (B,)
        ages = torch.arange(self._stack_num, device=indices.device)  # (S,), oldest frame first
        stacks = self._frames[steps[:, None] + ages, envs[:, None]]  # (B, S, C, H, W)
        num_blank = self._stack_num - self._valid_frames[steps, envs].long()  # (B,)
        is_blank = ages < num_blank[:, None]  # (B, S)
        stacks = stacks.masked_fill(is_blank[:, :, None, None, None], 0)
        return _channels_last(to_blocks(stacks.flatten(1, 2)), dtype).div_(255)

    def normalized(self, indices: Tensor, normalizer: Normalizer, dtype: torch.dtype) -> Tensor:
        """``(B, 16 * C, H // 4, W // 4)``: normalised frames; indices are ``row * N + n``."""
        frames = self._frames.flatten(0, 1)[indices]  # (B, C, H, W)
        return _channels_last(to_blocks(normalizer(frames)), dtype)


def _channels_last(blocks: Tensor, dtype: torch.dtype) -> Tensor:
    return blocks.to(dtype, memory_format=torch.channels_last)
