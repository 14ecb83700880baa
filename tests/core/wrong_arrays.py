"""Tables of wrong array arguments, and of the error that each should raise."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Case = tuple[
    str, Any, type[Exception], str
]  # argument name, wrong value, error, pattern of its message


def misaligned(array: Array) -> Array:
    """Copy ``array`` to memory one byte off its alignment."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    copy: Array = np.ndarray(array.shape, array.dtype, memory.data, offset=1)
    copy[...] = array
    return copy


def wrong_arrays(
    name: str, good: Array, shape: str | None, *, dtypes: str = "", is_optional: bool = False
) -> list[Case]:
    """List what no array argument may be.

    Args:
        name: The argument.
        good: A right one, of at least one axis and one element.
        shape: The expected shape in messages: "(T, N) = (4, 3)". None: no wrong shapes.
        dtypes: Dtypes that messages list; that of ``good`` alone by default.
        is_optional: None is allowed.
    """
    type_error = f"^{name} must be a NumPy array of {dtypes or good.dtype.name}, got "
    layout_error = f"^{name} must be C-contiguous and aligned, got strides "
    strided = np.repeat(good, 2, axis=-1)[..., ::2]
    cases: list[Case] = [
        (name, good.tolist(), TypeError, type_error + "list$"),
        (name, 1.5, TypeError, type_error + "float$"),
        (name, "text", TypeError, type_error + "str$"),
        (name, memoryview(good.tobytes()), TypeError, type_error + "memoryview$"),
        (name, good.astype(np.complex64), TypeError, type_error + "complex64$"),
        (name, good.astype(np.int8), TypeError, type_error + "int8$"),
        (name, good.astype(object), TypeError, type_error + "object$"),
        (name, strided, ValueError, layout_error),
        (name, good[..., ::-1], ValueError, layout_error + r"\(.*-\d"),
    ]
    if good.ndim > 1:
        cases.append((name, np.asfortranarray(good), ValueError, layout_error))
    if good.itemsize > 1:
        swapped = good.astype(good.dtype.newbyteorder())
        cases.append((name, swapped, TypeError, type_error + "[<>]"))
        cases.append((name, misaligned(good), ValueError, layout_error))
    if not is_optional:
        cases.append((name, None, TypeError, type_error + "NoneType$"))
    if shape is not None:
        shape_error = f"^{name} must have shape {re.escape(shape)}, got "
        for wrong in (good[..., None], good[0], good.reshape(-1)[:0], np.array(good.flat[0])):
            got = re.escape(str(wrong.shape))
            cases.append((name, np.array(wrong, order="C"), ValueError, shape_error + got + "$"))
    return cases
