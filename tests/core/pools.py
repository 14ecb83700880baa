"""Thread pools that results must not depend on."""

from __future__ import annotations

from rndfast._core import ThreadPool

ALL_SIMD_LEVELS = ("baseline", "avx2", "avx512")
SIMD_LEVELS = ALL_SIMD_LEVELS[: ALL_SIMD_LEVELS.index(ThreadPool(1).simd_level) + 1]


def make_pools() -> list[ThreadPool | None]:
    """Make pools of 1, 2, 3 and 8 threads at every instruction set of this processor, and none."""
    pools: list[ThreadPool | None] = [
        ThreadPool(num_threads, simd=level) for num_threads in (1, 2, 3, 8) for level in SIMD_LEVELS
    ]
    return [None, *pools]
