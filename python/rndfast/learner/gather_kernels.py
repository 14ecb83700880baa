"""Networks' inputs out of frames on a device: by Triton, or by PyTorch where there is none.

Inputs are blocks of 4 x 4 pixels, channels last in memory (`rndfast.learner.networks.to_blocks`).
One program of a kernel makes a row of blocks of one input, where PyTorch would launch a chain of
operations that each read and write whole batches.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from rndfast.learner.networks import to_blocks
from rndfast.learner.normalizer import Normalizer

HAS_TRITON = importlib.util.find_spec("triton") is not None


def gather_stacks(
    frames: Tensor, valid_frames: Tensor, t: Tensor, n: Tensor, dtype: torch.dtype
) -> Tensor:
    """Stacks scaled to [0, 1], with zeros before an episode's first frame.

    Args:
        frames: ``(R, N, C, H, W)`` uint8.
        valid_frames: ``(R - S + 1, N)`` uint8: frames of each stack that belong to its episode.
        t: ``(B,)`` int64: first row of each stack.
        n: ``(B,)`` int64: environment of each.
        dtype: Of the result.

    Returns:
        ``(B, 16 * S * C, H // 4, W // 4)``, channels last.
    """
    if frames.is_cuda and HAS_TRITON:
        from rndfast.learner import triton_kernels

        return triton_kernels.gather_stacks(frames, valid_frames, t, n, dtype)
    return gather_stacks_plainly(frames, valid_frames, t, n, dtype)


def gather_normalized(
    frames: Tensor, row: Tensor, n: Tensor, normalizer: Normalizer, dtype: torch.dtype
) -> Tensor:
    """Single frames, normalised and clipped.

    Args:
        frames: ``(R, N, C, H, W)`` uint8.
        row: ``(B,)`` int64: row of each frame.
        n: ``(B,)`` int64: environment of each.
        normalizer: Statistics of frames.
        dtype: Of the result.

    Returns:
        ``(B, 16 * C, H // 4, W // 4)``, channels last.
    """
    if frames.is_cuda and HAS_TRITON:
        from rndfast.learner import triton_kernels

        return triton_kernels.gather_normalized(frames, row, n, normalizer, dtype)
    return gather_normalized_plainly(frames, row, n, normalizer, dtype)


def gather_stacks_plainly(
    frames: Tensor, valid_frames: Tensor, t: Tensor, n: Tensor, dtype: torch.dtype
) -> Tensor:
    """`gather_stacks` by PyTorch's operations."""
    stack_num = len(frames) - len(valid_frames) + 1
    ages = torch.arange(stack_num, device=t.device)  # (S,), oldest frame first
    stacks = frames[t[:, None] + ages, n[:, None]]  # (B, S, C, H, W)
    num_blank = stack_num - valid_frames[t, n].long()  # (B,)
    is_blank = ages < num_blank[:, None]  # (B, S)
    stacks = stacks.masked_fill(is_blank[:, :, None, None, None], 0)
    scaled = to_blocks(stacks.flatten(1, 2)).float() / 255
    return scaled.to(dtype, memory_format=torch.channels_last)


def gather_normalized_plainly(
    frames: Tensor, row: Tensor, n: Tensor, normalizer: Normalizer, dtype: torch.dtype
) -> Tensor:
    """`gather_normalized` by PyTorch's operations."""
    blocks = to_blocks(normalizer(frames[row, n]))
    return blocks.to(dtype, memory_format=torch.channels_last)
