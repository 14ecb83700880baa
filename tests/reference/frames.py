"""Oracles of the network inputs: stacks are built from whole episodes, not from counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Uint8Array = NDArray[np.uint8]
Float64Array = NDArray[np.float64]


class Rollout(NamedTuple):
    """What the core is given, and the stacks that it should read out of it."""

    frames: Uint8Array  # (R, N, ...)
    valid_frames: Uint8Array  # (R - S + 1, N)
    stacks: Uint8Array  # (R - S + 1, N, S, ...)


def stack_at(episode: Uint8Array, position: int, stack_size: int) -> Uint8Array:
    """Stack frame ``position`` of an episode with those before it, zeros where there are none."""
    blank = np.zeros_like(episode[0])
    positions = range(position - stack_size + 1, position + 1)
    return np.stack([episode[p] if p >= 0 else blank for p in positions])


def rollout_of(episodes: list[list[Uint8Array]], stack_size: int) -> Rollout:
    """Lay out ``episodes[n]``, the episodes of environment n one after the other, as a rollout.

    Each episode is ``(length, ...)`` uint8; every environment has R frames in all. The first
    observation is that of row S - 1: the rows before it serve as older frames of stacks alone.
    """
    frames = np.stack([np.concatenate(of_env) for of_env in episodes], axis=1)
    stacks = []
    valid_frames = []
    for of_env in episodes:
        places = [(episode, position) for episode in of_env for position in range(len(episode))]
        observed = places[stack_size - 1 :]
        stacks.append([stack_at(episode, position, stack_size) for episode, position in observed])
        valid_frames.append([min(position + 1, stack_size) for _, position in observed])
    return Rollout(
        frames,
        np.array(valid_frames, np.uint8).T.copy(),
        np.swapaxes(np.array(stacks, np.uint8), 0, 1).copy(),
    )


def normalized(values: NDArray[Any], mean: Any, var: Any, clip: float) -> Float64Array:
    """Whiten and clip ``(B, ...)`` frames or vectors by the formula of the paper, section 2.4."""
    whitened: Float64Array = (values.astype(np.float64) - mean) / np.sqrt(var)
    return whitened.clip(-clip, clip)


def images_of(blocks: NDArray[Any]) -> NDArray[Any]:
    """``(B, C, H, W)`` images of ``(B, H / 4, W / 4, C * 16)`` blocks of 4 x 4 pixels."""
    batch, rows, columns, channels = blocks.shape
    pixels = blocks.reshape(batch, rows, columns, channels // 16, 4, 4)
    return np.moveaxis(pixels, (3, 1, 4, 2, 5), (1, 2, 3, 4, 5)).reshape(
        batch, channels // 16, rows * 4, columns * 4
    )
