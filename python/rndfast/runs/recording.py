"""Pictures of an episode, packed in a temporary file: memory does not grow with the episode."""

from __future__ import annotations

import array
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rndfast.runtime.durable_files import named_in_errors


@dataclass(frozen=True)
class Picture:
    """A packed picture; ``np.asarray(picture)`` are its pixels, ``(H, W, 3)`` uint8."""

    packed: bytes
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes while it is packed."""
        return len(self.packed)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The pixels, unpacked anew at each call."""
        if copy is False:
            raise ValueError("copy must not be False: a picture is unpacked into a new array")
        pixels = np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)
        return pixels.astype(dtype or np.uint8)


class Recording:
    """A sequence of pictures to which more can be added; `Picture` says what one of them is.

    A long game has 27,000 of them, 2.7 GB of pixels. Packed, they take a small part of that, in a
    file that has no name and is gone with the recording.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir())
        with named_in_errors(self._folder):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the recording
        weakref.finalize(self, self._file.close)
        self._ends = array.array("q", [0])  # of each picture in the file, after the start of all
        self._shape: tuple[int, ...] = ()

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """Add a picture, ``(H, W, 3)``, as large as the others.

        Raises:
            OSError: The folder of temporary files is full.
        """
        self._shape = pixels.shape
        packed = zlib.compress(pixels.tobytes(), level=1)
        with named_in_errors(self._folder):
            self._file.seek(self._ends[-1])
            self._file.write(packed)
            self._file.flush()
        self._ends.append(self._ends[-1] + len(packed))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Picture:
        """The picture at ``index``, at least 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self) - 1}], got {index}")
        start, end = self._ends[index], self._ends[index + 1]
        self._file.seek(start)
        return Picture(self._file.read(end - start), self._shape)

    def __iter__(self) -> Iterator[Picture]:
        return (self[index] for index in range(len(self)))
