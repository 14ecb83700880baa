"""Pictures that are recorded: they come back as they were, and memory does not grow with them."""

from __future__ import annotations

import errno
import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rndfast.runs.recording import Recording


def picture(step: int) -> NDArray[np.uint8]:
    """As a console draws it: large areas of one colour, a few of which move."""
    pixels = np.full((210, 160, 3), (0, 40, 120), np.uint8)
    pixels[step % 200 : step % 200 + 8, 10 * (step % 15) : 10 * (step % 15) + 6] = step % 251
    return pixels


def test_pictures_come_back_as_they_were_in_any_order() -> None:
    recording = Recording()
    assert list(recording) == []
    noise = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), np.uint8)
    for step in range(4):
        recording.append(noise[step])
    np.testing.assert_array_equal(recording[2], noise[2])  # looking does not disturb what follows
    for step in range(4, 7):
        recording.append(noise[step])
    assert len(recording) == 7
    for shown, pixels in zip(recording, noise, strict=True):
        np.testing.assert_array_equal(shown, pixels)
        assert np.asarray(shown).dtype == np.uint8
    np.testing.assert_array_equal(recording[0], noise[0])
    for index in (-1, 7):
        with pytest.raises(IndexError, match=r"index must be in \[0, 6\], got"):
            recording[index]


def test_memory_does_not_grow_with_the_number_of_pictures() -> None:
    def kept_after(num_pictures: int) -> tuple[int, int]:
        gc.collect()
        tracemalloc.start()
        recording = Recording()
        for step in range(num_pictures):
            recording.append(picture(step))
        for shown in recording:
            np.asarray(shown)
        sizes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return sizes

    kept_after(2)
    (few, few_peak), (many, many_peak) = kept_after(20), kept_after(800)
    assert many_peak < 10 * picture(0).nbytes  # a few are in work
    for growth in (many - few, many_peak - few_peak):
        assert growth < 780 * 64  # a place in the file each, and no pixels: 100,800 bytes


def test_the_file_is_gone_with_the_recording() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    recording = Recording()
    recording.append(picture(0))
    assert open_files() == before + 1
    del recording
    gc.collect()
    assert open_files() == before


def test_an_error_names_the_folder_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="No space left") as caught:
        Recording()
    assert caught.value.filename == str(tmp_path)
