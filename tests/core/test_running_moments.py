"""rndfast._core.RunningMoments: exact over bytes, accurate over floats, the same for any pool."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.core.pools import SIMD_LEVELS, make_pools
from tests.core.wrong_arrays import Case, wrong_arrays
from tests.reference import rl

from rndfast._core import RunningMoments, ThreadPool

Array = NDArray[Any]
SHAPES = [(), (1,), (5,), (3, 2), (84, 84), (2, 3, 37), (1025,)]


def exact_moments(batch: Array) -> tuple[list[float], list[float]]:
    """Mean and m2 of (B, size) integers, each the exact fraction rounded once."""
    means, m2s = [], []
    for column in batch.T.tolist():
        total, count = sum(column), len(column)
        means.append(float(Fraction(total, count)))
        squares = sum(value * value for value in column)
        m2s.append(float(Fraction(count * squares - total * total, count)))
    return means, m2s


def state_of(moments: RunningMoments) -> tuple[float, bytes, bytes]:
    return moments.count, moments.mean.tobytes(), moments.m2.tobytes()


def assert_moments_close(moments: RunningMoments, expected: rl.Moments, rtol: float) -> None:
    assert moments.count == pytest.approx(expected.num_samples, rel=1e-15)
    np.testing.assert_allclose(moments.mean, expected.mean, rtol=rtol, atol=1e-300)
    np.testing.assert_allclose(moments.m2, expected.m2, rtol=rtol, atol=1e-300)
    np.testing.assert_allclose(
        moments.var, expected.m2 / expected.num_samples, rtol=rtol, atol=1e-300
    )


@pytest.mark.parametrize("size", [1, 2, 31, 33, 1023, 1025])
@pytest.mark.parametrize("frames", [1, 2, 255, 256, 257, 258, 600])
@pytest.mark.parametrize("content", ["random", "white", "half white"])
def test_moments_of_bytes_are_exact_fractions_rounded_once(
    size: int, frames: int, content: str
) -> None:
    # 257 frames of 255 are the most that a 16-bit sum holds
    batch = np.full((frames, size), 255, np.uint8)
    if content == "random":
        batch = np.random.default_rng(0).integers(0, 256, (frames, size), np.uint8)
    elif content == "half white":
        batch[::2] = 0
    moments = RunningMoments((size,))
    moments.update(batch)
    mean, m2 = exact_moments(batch)
    assert moments.count == frames
    assert moments.mean.tolist() == mean
    assert moments.m2.tolist() == m2


@pytest.mark.parametrize("frames", [65_535, 65_536])
def test_moments_of_as_many_white_frames_as_a_32_bit_sum_holds_are_exact(frames: int) -> None:
    batch = np.full((frames, 3), 255, np.uint8)
    batch[0] = [0, 254, 255]
    moments = RunningMoments((3,))
    moments.update(batch)
    mean, m2 = exact_moments(batch)
    assert moments.mean.tolist() == mean
    assert moments.m2.tolist() == m2


@pytest.mark.parametrize("frames", [65_537, 66_052, 140_000])
def test_moments_of_more_frames_than_a_32_bit_sum_holds(frames: int) -> None:
    batch = np.full((frames, 2), 255, np.uint8)
    batch[-1] = 0
    moments = RunningMoments((2,))
    moments.update(batch)
    mean, m2 = exact_moments(batch)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-15)
    np.testing.assert_allclose(moments.m2, m2, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("prior_count", [0.0, 1e-4, 3.0])
def test_moments_of_any_shape_equal_the_definition(
    shape: tuple[int, ...], dtype: type, prior_count: float
) -> None:
    rng = np.random.default_rng(0)
    batches: list[Array] = [
        rng.integers(0, 256, (count, *shape)).astype(dtype) for count in (1, 7, 20)
    ]
    moments = RunningMoments(shape, prior_count=prior_count)
    for batch in batches:
        moments.update(batch)
    assert moments.shape == shape
    assert moments.mean.shape == moments.var.shape == moments.m2.shape == shape
    assert moments.mean.dtype == moments.var.dtype == moments.m2.dtype == np.float64
    assert_moments_close(moments, rl.moments(np.concatenate(batches), prior_count), 1e-12)


def test_all_leading_axes_count_samples() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 5), np.uint8)
    expected = RunningMoments((2, 5))
    expected.update(batch.reshape(12, 2, 5))
    moments = RunningMoments((2, 5))
    moments.update(batch)
    assert state_of(moments) == state_of(expected)
    one = RunningMoments((2, 5))
    one.update(batch[0, 0])
    assert one.count == 1
    np.testing.assert_array_equal(one.mean, batch[0, 0])
    scalar = RunningMoments(())
    scalar.update(np.array(7, np.float32))
    assert (scalar.count, float(scalar.mean), float(scalar.var)) == (1, 7, 0)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_moments_of_floats_far_from_zero_are_accurate(offset: float) -> None:
    # E[x^2] - E[x]^2 in float32 would have no correct digit here
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(3000, 7)) + offset).astype(np.float32)
    moments = RunningMoments((7,))
    for part in np.array_split(batch, 5):
        moments.update(part)
    assert_moments_close(moments, rl.moments(batch), 1e-11)


def test_prior_is_samples_of_mean_0_and_variance_1() -> None:
    fresh = RunningMoments((2,), prior_count=1e-4)
    assert fresh.count == 1e-4
    np.testing.assert_array_equal(fresh.mean, 0)
    np.testing.assert_allclose(fresh.var, 1, rtol=1e-15)

    # a pixel that never changes: the authors' formula by hand
    value, frames, prior = 200.0, 1000, 1e-4
    fresh.update(np.full((frames, 2), value, np.uint8))
    total = frames + prior
    np.testing.assert_allclose(fresh.mean, value * frames / total, rtol=1e-15)
    m2 = prior + value**2 * prior * frames / total
    np.testing.assert_allclose(fresh.m2, m2, rtol=1e-13)
    np.testing.assert_allclose(fresh.var, m2 / total, rtol=1e-13)
    assert (fresh.var > 0).all()


def test_moments_before_the_first_sample() -> None:
    moments = RunningMoments((3,))
    assert moments.count == 0
    np.testing.assert_array_equal(moments.mean, 0)
    np.testing.assert_array_equal(moments.var, 1)
    np.testing.assert_array_equal(moments.m2, 0)


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 9))),
    st.data(),
    st.sampled_from([np.uint8, np.float32]),
)
@settings(deadline=None)
def test_merged_batches_equal_one_batch(batch: Array, data: st.DataObject, dtype: type) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(batch)), max_size=4)))
    merged = RunningMoments((batch.shape[1],))
    parts: list[Array] = np.split(batch.astype(dtype), cuts)
    for part in parts:
        merged.update(part)
    mean, m2 = exact_moments(batch)
    assert merged.count == len(batch)
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(merged.m2, m2, rtol=1e-12, atol=1e-9)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 9)),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
@settings(deadline=None)
def test_moments_of_any_floats_equal_the_definition(batch: Array) -> None:
    moments = RunningMoments((batch.shape[1],))
    moments.update(batch)
    expected = rl.moments(batch)
    scale = float(np.abs(batch).max())
    np.testing.assert_allclose(moments.mean, expected.mean, rtol=1e-12, atol=1e-15 * scale)
    np.testing.assert_allclose(moments.m2, expected.m2, rtol=1e-12, atol=1e-20 * scale**2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(), (7,), (1023,), (1025,), (84, 84)])
def test_moments_have_the_same_bits_for_any_pool(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    batches: list[Array] = [
        rng.integers(0, 256, (count, *shape)).astype(dtype) for count in (300, 1, 33)
    ]
    states = set()
    for pool in make_pools():
        moments = RunningMoments(shape, prior_count=1e-4, pool=pool)
        for batch in batches:
            moments.update(batch)
        states.add(state_of(moments))
    assert len(states) == 1


@pytest.mark.parametrize("level", SIMD_LEVELS)
def test_moments_are_exact_at_every_instruction_set(level: str) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (521, 77), np.uint8)
    moments = RunningMoments((77,), pool=ThreadPool(1, simd=level))
    moments.update(batch)
    mean, m2 = exact_moments(batch)
    assert moments.mean.tolist() == mean
    assert moments.m2.tolist() == m2


def test_state_goes_to_another_object_and_on_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 9, 4, 4), np.uint8)
    moments = RunningMoments((4, 4), prior_count=1e-4)
    moments.update(first)
    resumed = RunningMoments((4, 4))
    resumed.set_state(count=moments.count, mean=moments.mean, m2=moments.m2)
    assert state_of(resumed) == state_of(moments)
    moments.update(second)
    resumed.update(second)
    assert state_of(resumed) == state_of(moments)


def test_properties_are_copies() -> None:
    moments = RunningMoments((2,), prior_count=1.0)
    before = state_of(moments)
    moments.mean[:] = 9
    moments.m2[:] = 9
    moments.var[:] = 9
    assert state_of(moments) == before


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("prior_count", [0.0, 1e-4])
def test_an_empty_batch_changes_nothing(dtype: type, prior_count: float) -> None:
    moments = RunningMoments((3, 2), prior_count=prior_count)
    for _ in range(2):
        before = state_of(moments)
        moments.update(np.zeros((0, 3, 2), dtype))
        moments.update(np.zeros((5, 0, 3, 2), dtype))
        assert state_of(moments) == before
        moments.update(np.ones((1, 3, 2), dtype))


def test_a_read_only_batch_is_accepted() -> None:
    batch = np.arange(6, dtype=np.uint8).reshape(3, 2)
    batch.flags.writeable = False
    moments = RunningMoments((2,))
    moments.update(batch)
    assert moments.mean.tolist() == [2, 3]


BATCH_DTYPES = "uint8 or float32"
SHAPE_ERROR = r"^batch must have shape \(\.\.\., \*shape\) with shape \(3, 2\), got "


def batch_with(value: float) -> Array:
    batch = np.ones((4, 3, 2), np.float32)
    batch[2, 1, 1] = value
    return batch


WRONG_BATCHES: list[Case] = [
    *wrong_arrays("batch", np.ones((4, 3, 2), np.uint8), None, dtypes=BATCH_DTYPES),
    *wrong_arrays("batch", np.ones((4, 3, 2), np.float32), None, dtypes=BATCH_DTYPES),
    ("batch", np.ones((4, 3, 2)), TypeError, "^batch must be .* uint8 or float32, got float64$"),
    ("batch", np.ones((4, 3, 2), bool), TypeError, "uint8 or float32, got bool$"),
    ("batch", np.ones((4, 2, 3), np.uint8), ValueError, SHAPE_ERROR + r"\(4, 2, 3\)$"),
    ("batch", np.ones(2, np.uint8), ValueError, SHAPE_ERROR + r"\(2,\)$"),
    ("batch", np.ones((), np.uint8), ValueError, SHAPE_ERROR + r"\(\)$"),
    ("batch", np.ones((0,), np.uint8), ValueError, SHAPE_ERROR + r"\(0,\)$"),
    ("batch", batch_with(np.nan), ValueError, "^batch must be finite, got NaN or infinity"),
    ("batch", batch_with(np.inf), ValueError, "^batch must be finite, got NaN or infinity"),
    ("batch", batch_with(-np.inf), ValueError, "^batch must be finite, got NaN or infinity"),
]


@pytest.mark.parametrize(("name", "wrong", "error", "message"), WRONG_BATCHES)
def test_update_refuses_wrong_batches_and_stays_as_it_was(
    name: str, wrong: Any, error: type[Exception], message: str
) -> None:
    assert name == "batch"
    moments = RunningMoments((3, 2), prior_count=0.5)
    moments.update(np.arange(12, dtype=np.uint8).reshape(2, 3, 2))
    before = state_of(moments)
    with pytest.raises(error, match=message):
        moments.update(wrong)
    assert state_of(moments) == before


def state_array(value: float) -> Array:
    return np.array([[1, 1], [1, 1], [1, value]], np.float64)


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *wrong_arrays("mean", state_array(1), "shape = (3, 2)"),
        *wrong_arrays("m2", state_array(1), "shape = (3, 2)"),
        ("mean", np.ones((2, 3)), ValueError, r"^mean must have shape .*\(3, 2\), got \(2, 3\)$"),
        ("mean", np.ones((3, 2), np.float32), TypeError, "^mean must .* float64, got float32$"),
        ("mean", state_array(np.nan), ValueError, "^mean must be finite, got NaN or infinity$"),
        ("mean", state_array(-np.inf), ValueError, "^mean must be finite, got NaN or infinity$"),
        ("m2", state_array(-1e-9), ValueError, "^m2 must be finite and at least 0, got"),
        ("m2", state_array(np.nan), ValueError, "^m2 must be finite and at least 0, got"),
        ("m2", state_array(np.inf), ValueError, "^m2 must be finite and at least 0, got"),
        ("count", -1e-9, ValueError, "^count must be finite and at least 0, got -1e-09$"),
        ("count", math.nan, ValueError, "^count must be finite and at least 0, got nan$"),
        ("count", math.inf, ValueError, "^count must be finite and at least 0, got inf$"),
        ("count", "1", TypeError, "(?s)incompatible function arguments.*count: "),
        ("count", None, TypeError, "(?s)incompatible function arguments.*count: "),
    ],
)
def test_set_state_refuses_wrong_arguments_and_changes_nothing(
    name: str, wrong: Any, error: type[Exception], message: str
) -> None:
    moments = RunningMoments((3, 2), prior_count=0.5)
    before = state_of(moments)
    arguments: dict[str, Any] = {"count": 4.0, "mean": state_array(2), "m2": state_array(3)}
    arguments[name] = wrong
    with pytest.raises(error, match=message):
        moments.set_state(**arguments)
    assert state_of(moments) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "(?s)incompatible constructor arguments.*shape: "),
        ({"shape": 84}, TypeError, "^shape must be a sequence of integers, got int$"),
        ({"shape": "ab"}, TypeError, "^shape must be a sequence of integers, got str$"),
        ({"shape": None}, TypeError, "^shape must be a sequence of integers, got NoneType$"),
        ({"shape": {1, 2}}, TypeError, "^shape must be a sequence of integers, got set$"),
        ({"shape": (2, 3.0)}, TypeError, r"^shape must be .* integers, got \(2, 3\.0\)$"),
        ({"shape": (2, "3")}, TypeError, r"^shape must be .* integers, got \(2, '3'\)$"),
        ({"shape": (2, 0)}, ValueError, r"^shape must have lengths of at least 1, got \(2, 0\)$"),
        ({"shape": (-1,)}, ValueError, r"^shape must have lengths of at least 1, got \(-1,\)$"),
        ({"shape": (2**62, 4)}, ValueError, r"^shape must have at most 2\*\*40 elements, got \("),
        ({"shape": (2**70,)}, ValueError, r"^shape must have at most 2\*\*40 elements, got \("),
        ({"shape": (-(2**70),)}, ValueError, "^shape must have lengths of at least 1, got"),
        ({"shape": (2,), "prior_count": -1e-9}, ValueError, "^prior_count must .* got -1e-09$"),
        ({"shape": (2,), "prior_count": math.nan}, ValueError, "^prior_count must .* got nan$"),
        ({"shape": (2,), "prior_count": math.inf}, ValueError, "^prior_count must .* got inf$"),
        ({"shape": (2,), "prior_count": "x"}, TypeError, "(?s)incompatible .*prior_count: "),
        ({"shape": (2,), "pool": 2}, TypeError, "(?s)incompatible .*pool: "),
    ],
)
def test_moments_refuse_wrong_constructor_arguments(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RunningMoments(**arguments)


@pytest.mark.parametrize("make_shape", [tuple, list, np.array])
def test_shape_may_be_any_sequence_of_integers(make_shape: Callable[[list[int]], Any]) -> None:
    assert RunningMoments(make_shape([4, 3])).shape == (4, 3)
