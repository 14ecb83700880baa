"""The kernels behind `rndfast.learner.gather_kernels`, which documents them.

``TRITON_INTERPRET=1`` runs them on a CPU, as the tests do.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from rndfast.learner.normalizer import Normalizer


@triton.jit  # type: ignore[untyped-decorator]
def _stack_kernel(  # type: ignore[no-untyped-def]
    frames,
    valid_frames,
    t,
    n,
    blocks,
    num_envs,
    height: tl.constexpr,
    width: tl.constexpr,
    channels: tl.constexpr,
    stack_num: tl.constexpr,
    padded: tl.constexpr,
):
    item, block_row = tl.program_id(0), tl.program_id(1)
    first_row, env = tl.load(t + item), tl.load(n + item)
    valid = tl.load(valid_frames + first_row * num_envs + env).to(tl.int32)
    planes: tl.constexpr = channels * stack_num
    row_size: tl.constexpr = (width // 4) * planes * 16
    offset = tl.arange(0, padded)
    is_inside = offset < row_size
    # the order in memory: block, plane (frame and channel), row in the block, column in the block
    block_column = offset // (planes * 16)
    plane = offset // 16 % planes
    frame, channel = plane // channels, plane % channels
    y, x = 4 * block_row + offset // 4 % 4, 4 * block_column + offset % 4
    place = ((first_row + frame) * num_envs + env) * channels + channel
    pixels = tl.load(
        frames + (place * height + y) * width + x,
        mask=is_inside & (frame >= stack_num - valid),
        other=0,
    )
    values = pixels.to(tl.float32) / 255.0
    target = blocks + (item * (height // 4) + block_row).to(tl.int64) * row_size + offset
    tl.store(target, values.to(blocks.dtype.element_ty), mask=is_inside)


@triton.jit  # type: ignore[untyped-decorator]
def _normalize_kernel(  # type: ignore[no-untyped-def]
    frames,
    row,
    n,
    mean_high,
    mean_low,
    inverse_std,
    blocks,
    num_envs,
    clip,
    height: tl.constexpr,
    width: tl.constexpr,
    channels: tl.constexpr,
    padded: tl.constexpr,
):
    item, block_row = tl.program_id(0), tl.program_id(1)
    place = tl.load(row + item) * num_envs + tl.load(n + item)
    row_size: tl.constexpr = (width // 4) * channels * 16
    offset = tl.arange(0, padded)
    is_inside = offset < row_size
    block_column = offset // (channels * 16)
    channel = offset // 16 % channels
    y, x = 4 * block_row + offset // 4 % 4, 4 * block_column + offset % 4
    pixel = (channel * height + y) * width + x
    frame_size: tl.constexpr = channels * height * width
    values = tl.load(frames + place * frame_size + pixel, mask=is_inside, other=0).to(tl.float32)
    values -= tl.load(mean_high + pixel, mask=is_inside, other=0)
    values -= tl.load(mean_low + pixel, mask=is_inside, other=0)
    values *= tl.load(inverse_std + pixel, mask=is_inside, other=0)
    values = tl.minimum(tl.maximum(values, -clip), clip)
    target = blocks + (item * (height // 4) + block_row).to(tl.int64) * row_size + offset
    tl.store(target, values.to(blocks.dtype.element_ty), mask=is_inside)


def gather_stacks(
    frames: Tensor, valid_frames: Tensor, t: Tensor, n: Tensor, dtype: torch.dtype
) -> Tensor:
    """See `rndfast.learner.gather_kernels.gather_stacks`."""
    _, num_envs, channels, height, width = frames.shape
    stack_num = len(frames) - len(valid_frames) + 1
    shape = (len(t), height // 4, width // 4, stack_num * channels * 16)
    blocks = torch.empty(shape, dtype=dtype, device=frames.device)
    _stack_kernel[(len(t), height // 4)](
        frames.contiguous(),
        valid_frames.contiguous(),
        t.contiguous(),
        n.contiguous(),
        blocks,
        num_envs,
        height,
        width,
        channels,
        stack_num,
        triton.next_power_of_2(width // 4 * stack_num * channels * 16),
    )
    return blocks.permute(0, 3, 1, 2)


def gather_normalized(
    frames: Tensor, row: Tensor, n: Tensor, normalizer: Normalizer, dtype: torch.dtype
) -> Tensor:
    """See `rndfast.learner.gather_kernels.gather_normalized`."""
    _, num_envs, channels, height, width = frames.shape
    shape = (len(row), height // 4, width // 4, channels * 16)
    blocks = torch.empty(shape, dtype=dtype, device=frames.device)
    _normalize_kernel[(len(row), height // 4)](
        frames.contiguous(),
        row.contiguous(),
        n.contiguous(),
        normalizer.mean_high,
        normalizer.mean_low,
        normalizer.inverse_std,
        blocks,
        num_envs,
        normalizer.clip,
        height,
        width,
        channels,
        triton.next_power_of_2(width // 4 * channels * 16),
    )
    return blocks.permute(0, 3, 1, 2)
