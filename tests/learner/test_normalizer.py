"""Normalised values against the formula in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.reference.frames import normalized

from rndfast._core import RunningMoments
from rndfast.learner.normalizer import Normalizer


def make_normalizer(mean: list[float], var: list[float], clip: float) -> Normalizer:
    moments = RunningMoments((len(mean),))
    moments.set_state(count=4.0, mean=np.array(mean), m2=4 * np.array(var))
    return Normalizer(moments, clip)


@pytest.mark.parametrize("clip", [3.0, math.inf])
def test_values_are_whitened_and_clipped_in_float32(clip: float) -> None:
    mean, var = [0.0, -50.0, 1e4], [1.0, 1e-6, 1e6]
    values = np.random.default_rng(0).normal(mean, 9 * np.sqrt(var), (50, 3)).astype(np.float32)
    actual = make_normalizer(mean, var, clip)(torch.from_numpy(values))
    assert actual.dtype == torch.float32
    expected = normalized(values, mean, var, clip)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected).max() == 3 or clip == math.inf
    assert np.abs(expected).max() >= 3


def test_a_pixel_that_hardly_ever_changes_is_as_accurate_as_in_float64() -> None:
    mean, var = [100 + 1e-6], [1e-10]  # the mean lies between two float32
    pixels = torch.tensor([[100], [101]], dtype=torch.uint8)
    actual = make_normalizer(mean, var, 1e6)(pixels).numpy()
    np.testing.assert_allclose(actual[:, 0], [-0.1, (1 - 1e-6) / 1e-5], rtol=1e-5)
