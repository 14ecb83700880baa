"""The gathers of a GPU: Triton's kernels, interpreted on the CPU, and PyTorch's, against NumPy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.reference import frames as reference

from rndfast import RunningMoments
from rndfast.learner.gather_kernels import gather_normalized, gather_stacks
from rndfast.learner.normalizer import Normalizer

SHAPES = [(1, 12, 20), (3, 13, 18)]

# Triton decides when it is imported whether kernels are compiled or interpreted.
INTERPRETED = """
import torch
from rndfast.learner import gather_kernels, triton_kernels
from tests.learner import test_gather_kernels as tests
tests.gather_stacks = triton_kernels.gather_stacks
tests.gather_normalized = triton_kernels.gather_normalized
for shape in tests.SHAPES:
    tests.check_stacks(shape, torch.float32)
    # the interpreter cuts digits off where a GPU rounds
    tests.check_stacks(shape, torch.bfloat16, rtol=2**-7)
    tests.check_normalized(shape)
print("the same")
"""


def random_episodes(shape: tuple[int, int, int]) -> reference.Rollout:
    """Three environments with ends at different places; 12 rows, stacks of 4."""
    rng = np.random.default_rng(0)
    lengths = [[12], [5, 7], [1, 2, 9]]
    return reference.rollout_of(
        [[rng.integers(0, 256, (n, *shape), np.uint8) for n in of_env] for of_env in lengths], 4
    )


def check_stacks(shape: tuple[int, int, int], dtype: torch.dtype, rtol: float = 2e-7) -> None:
    """Stacks are those of whole episodes, zeros before them."""
    rollout = random_episodes(shape)
    indices = np.random.default_rng(1).permutation(9 * 3)
    stacks = gather_stacks(
        torch.from_numpy(rollout.frames),
        torch.from_numpy(rollout.valid_frames),
        torch.from_numpy(indices // 3),
        torch.from_numpy(indices % 3),
        dtype,
    )
    assert stacks.dtype == dtype
    assert stacks.is_contiguous(memory_format=torch.channels_last)
    height, width = shape[1] // 4 * 4, shape[2] // 4 * 4
    pixels = rollout.stacks.reshape(9 * 3, -1, *shape[1:])[indices][..., :height, :width]
    expected = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).to(dtype).float()
    images = reference.images_of(stacks.float().permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(images, expected, rtol=rtol)


def check_normalized(shape: tuple[int, int, int]) -> None:
    """Frames are whitened and clipped."""
    rollout = random_episodes(shape)
    rng = np.random.default_rng(2)
    mean, var = rng.uniform(0, 255, shape), rng.uniform(0.1, 90, shape) ** 2
    moments = RunningMoments(shape)
    moments.set_state(count=8.0, mean=mean, m2=8 * var)
    indices = rng.permutation(12 * 3)
    frames = gather_normalized(
        torch.from_numpy(rollout.frames),
        torch.from_numpy(indices // 3),
        torch.from_numpy(indices % 3),
        Normalizer(moments, 2.5),
        torch.float32,
    )
    expected = reference.normalized(
        rollout.frames.reshape(12 * 3, *shape)[indices], mean, var, 2.5
    )[..., : shape[1] // 4 * 4, : shape[2] // 4 * 4]
    images = reference.images_of(frames.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(images, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stacks_are_those_of_whole_episodes(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    check_stacks(shape, dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_are_whitened_and_clipped(shape: tuple[int, int, int]) -> None:
    check_normalized(shape)


def test_the_kernels_of_triton_do_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={"TRITON_INTERPRET": "1", "PATH": "", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "the same\n", done.stderr
