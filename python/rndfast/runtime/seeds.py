"""Seeds: every integer that is not negative is one, however few bits a generator takes."""

from __future__ import annotations

import numpy as np

__all__ = ["reduced_seed"]


def reduced_seed(seed: int, bits: int) -> int:
    """A seed for a generator that takes this many bits.

    Smaller seeds stay as they are. A larger one is hashed by `numpy.random.SeedSequence`, which
    makes of all its bits as many as are wanted; it is not cut off, so that seeds which differ in
    their upper bits alone do not lead to the same random numbers.

    Args:
        seed: At least 0.
        bits: 32 or 64.
    """
    if seed < 1 << bits:
        return seed
    dtype = np.uint32 if bits == 32 else np.uint64
    return int(np.random.SeedSequence(seed).generate_state(1, dtype)[0])
