"""A run stops where a number becomes NaN or infinite."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def require_finite(name: str, values: object) -> None:
    """Stop the run if a quantity has become NaN or infinite.

    Raises:
        FloatingPointError: It has; the message names it.
    """
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values
    finite = np.isfinite(np.asarray(array))
    if not finite.all():
        raise FloatingPointError(
            f"{name} must be finite, but {np.size(finite) - np.count_nonzero(finite)} of "
            f"{np.size(finite)} values are NaN or infinite"
        )
