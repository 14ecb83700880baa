"""Oracle of ale-py's resizing: OpenCV's INTER_AREA, its float32 sums in the same order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Uint8Array = NDArray[np.uint8]
Array = NDArray[Any]
Taps = list[tuple[int, float]]  # of one pixel of the result: pixels of the source and their weights


def area_taps(index: int, source: int, destination: int) -> Taps:
    """Weights of the area that a pixel of the result covers along one axis."""
    scale = 1 / (destination / source)
    begin = index * scale
    end = begin + scale
    cell = min(scale, source - begin)
    whole_end = min(math.floor(end), source - 1)
    whole_begin = min(math.ceil(begin), whole_end)
    taps = []
    if whole_begin - begin > 1e-3:
        taps.append((whole_begin - 1, (whole_begin - begin) / cell))
    taps += [(position, 1 / cell) for position in range(whole_begin, whole_end)]
    if end - whole_end > 1e-3:
        taps.append((whole_end, min(end - whole_end, 1, cell) / cell))
    return taps


def blend_taps(index: int, source: int, destination: int) -> Taps:
    """Weights of two neighbours, in 1 / 2048, where a picture grows along either axis."""
    inverse = destination / source
    position = math.floor(index * (1 / inverse))
    share = np.float32((index + 1) - (position + 1) * inverse)
    share = max(share - np.floor(share), np.float32(0)) if share > 0 else np.float32(0)
    if position >= source - 1:
        position, share = source - 1, np.float32(0)
    neighbour = min(position + 1, source - 1)
    first, second = (np.rint(part * np.float32(2048)) for part in (np.float32(1) - share, share))
    return [(position, float(first)), (neighbour, float(second))]


def tap_arrays(
    taps_of: Callable[[int, int, int], Taps], source: int, destination: int, dtype: type
) -> list[tuple[Array, Array]]:
    """The k-th tap of every pixel of the result, as arrays; missing ones weigh nothing."""
    taps = [taps_of(index, source, destination) for index in range(destination)]
    padded = [of_pixel + [(0, 0.0)] * (max(map(len, taps)) - len(of_pixel)) for of_pixel in taps]
    return [
        (np.array([tap[0] for tap in kth]), np.array([tap[1] for tap in kth], dtype))
        for kth in zip(*padded, strict=True)
    ]


def whole_factor(source: int, destination: int) -> int | None:
    """How many pixels become one, if that is a whole number."""
    scale = 1 / (destination / source)
    return round(scale) if abs(scale - round(scale)) < np.finfo(float).eps else None


def resized(pictures: Uint8Array, height: int, width: int) -> Uint8Array:
    """Resize ``(N, H, W)`` or ``(N, H, W, 3)`` pictures."""
    _, rows, columns = pictures.shape[:3]
    if (rows, columns) == (height, width):
        return pictures
    wide = pictures.reshape(*pictures.shape[:3], -1)
    if height > rows or width > columns:
        result = blended(wide, height, width)
    else:
        factors = whole_factor(rows, height), whole_factor(columns, width)
        if factors[0] is None or factors[1] is None:
            result = summed_areas(wide, height, width)
        else:
            result = block_means(wide, factors[0], factors[1])
    shape = (len(pictures), height, width, *pictures.shape[3:])
    return result.clip(0, 255).astype(np.uint8).reshape(shape)


def block_means(pictures: Uint8Array, rows: int, columns: int) -> Array:
    """Means of blocks of ``rows`` x ``columns`` pixels; those of 2 x 2 are rounded half up."""
    num, height, width, channels = pictures.shape
    blocks = pictures.reshape(num, height // rows, rows, width // columns, columns, channels)
    sums: Array = blocks.sum(axis=(2, 4), dtype=np.int64)
    if (rows, columns) == (2, 2):
        return (sums + 2) >> 2
    means: Array = np.rint(sums.astype(np.float32) * (np.float32(1) / np.float32(rows * columns)))
    return means


def summed_areas(pictures: Uint8Array, height: int, width: int) -> Array:
    """Weighted sums over areas, rounded after every product and sum."""
    pixels = pictures.astype(np.float32)
    row_sums = np.float32(0)
    for index, weight in tap_arrays(area_taps, pictures.shape[2], width, np.float32):
        row_sums = row_sums + pixels[:, :, index] * weight[:, None]
    sums = np.float32(0)
    for index, weight in tap_arrays(area_taps, pictures.shape[1], height, np.float32):
        sums = sums + row_sums[:, index] * weight[:, None, None]
    rounded: Array = np.rint(sums)
    return rounded


def blended(pictures: Uint8Array, height: int, width: int) -> Array:
    """Blends of two columns, then of two rows, in fixed point."""
    pixels = pictures.astype(np.int64)
    row_sums = np.int64(0)
    for index, weight in tap_arrays(blend_taps, pictures.shape[2], width, np.int64):
        row_sums = row_sums + pixels[:, :, index] * weight[:, None]
    sums = np.int64(2)
    for index, weight in tap_arrays(blend_taps, pictures.shape[1], height, np.int64):
        sums = sums + ((weight[:, None, None] * (row_sums[:, index] >> 4)) >> 16)
    rounded: Array = sums >> 2
    return rounded
