"""rndfast._core.gae: against the definition, in closed form, by properties, wrong inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.core.wrong_arrays import wrong_arrays
from tests.reference import rl

from rndfast._core import gae

Array = NDArray[Any]


def make_rollout(steps: int, envs: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Random rewards (T, N), values (T, N) and next_value (N,)."""
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(steps, envs)).astype(np.float32)
    values = rng.normal(size=(steps, envs)).astype(np.float32)
    return rewards, values, rng.normal(size=envs).astype(np.float32)


def assert_close(actual: Array, expected: Array) -> None:
    """Equal within one float32 rounding of the float64 sum."""
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1.2e-7, atol=1e-12)


@pytest.mark.parametrize("end", range(9))
@pytest.mark.parametrize("envs", [1, 3, 17])
def test_gae_stops_at_an_episode_end_at_every_position(end: int, envs: int) -> None:
    rewards, values, next_value = make_rollout(9, envs)
    terminated = np.zeros((9, envs), bool)
    terminated[end, envs // 2] = True
    actual = gae(rewards, values, next_value, terminated, 0.99, 0.95)
    assert_close(
        actual, rl.gae(rewards, values, next_value, terminated, gamma=0.99, gae_lambda=0.95)
    )

    # nothing after the end of this environment's episode reaches back over it
    later_rewards, later_values = rewards.copy(), values.copy()
    later_rewards[end + 1 :] += 5
    later_values[end + 1 :] -= 7
    later = gae(later_rewards, later_values, next_value + 1, terminated, 0.99, 0.95)
    n = envs // 2
    np.testing.assert_array_equal(later[: end + 1, n], actual[: end + 1, n])
    others = np.arange(envs) != n
    assert np.all(later[: end + 1, others] != actual[: end + 1, others])


@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (1, 5), (6, 1), (128, 3), (2, 64)])
@pytest.mark.parametrize(
    ("gamma", "gae_lambda"), [(0.99, 0.95), (0.999, 0.95), (0, 0), (1, 1), (1, 0), (0, 1)]
)
@pytest.mark.parametrize("stream", ["episodic", "non-episodic"])
def test_gae_equals_the_definition(
    steps: int, envs: int, gamma: float, gae_lambda: float, stream: str
) -> None:
    rewards, values, next_value = make_rollout(steps, envs)
    is_end = np.random.default_rng(1).random((steps, envs)) < 0.2
    terminated = is_end if stream == "episodic" else None
    assert_close(
        gae(rewards, values, next_value, terminated, gamma, gae_lambda),
        rl.gae(rewards, values, next_value, terminated, gamma=gamma, gae_lambda=gae_lambda),
    )


def test_gae_without_episode_ends_equals_the_non_episodic_stream() -> None:
    rollout = make_rollout(7, 5)
    never = np.zeros((7, 5), bool)
    np.testing.assert_array_equal(gae(*rollout, never), gae(*rollout))
    np.testing.assert_array_equal(gae(*rollout, None), gae(*rollout))


@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None)
def test_gae_bootstraps_from_final_values_at_truncations(
    steps: int, envs: int, seed: int, has_terminations: bool
) -> None:
    rewards, values, next_value = make_rollout(steps, envs, seed)
    rng = np.random.default_rng(seed)
    terminated = rng.random((steps, envs)) < 0.2 if has_terminations else None
    truncated = rng.random((steps, envs)) < 0.3
    # read nowhere but at truncations
    final_values = np.where(truncated, rng.normal(size=(steps, envs)), np.nan).astype(np.float32)
    actual = gae(
        rewards,
        values,
        next_value,
        terminated,
        0.9,
        0.8,
        truncated=truncated,
        final_values=final_values,
    )
    assert_close(
        actual,
        rl.gae(
            rewards,
            values,
            next_value,
            terminated,
            gamma=0.9,
            gae_lambda=0.8,
            truncated=truncated,
            final_values=final_values,
        ),
    )


def test_gae_treats_a_step_that_both_terminated_and_truncated_as_terminated() -> None:
    rewards, values, next_value = make_rollout(3, 2)
    both = np.array([[True, False], [False, True], [True, True]])
    final_values = np.full((3, 2), 100, np.float32)
    actual = gae(rewards, values, next_value, both, truncated=both, final_values=final_values)
    np.testing.assert_array_equal(actual, gae(rewards, values, next_value, both))


def test_gae_of_constant_rewards_is_a_geometric_series() -> None:
    steps, gamma, gae_lambda = 50, 0.9, 0.7
    ones = np.ones((steps, 2), np.float32)
    actual = gae(ones, 0 * ones, np.zeros(2, np.float32), None, gamma, gae_lambda)
    remaining = steps - np.arange(steps)
    series = (1 - (gamma * gae_lambda) ** remaining) / (1 - gamma * gae_lambda)
    np.testing.assert_allclose(actual, np.stack([series, series], axis=1), rtol=1e-7)


def test_gae_with_lambda_one_and_zero_is_the_return_and_the_temporal_difference() -> None:
    rewards, values, next_value = make_rollout(6, 4)
    wide = rewards.astype(np.float64)
    returns = np.cumsum(wide[::-1], axis=0)[::-1] + next_value
    np.testing.assert_allclose(
        gae(rewards, values, next_value, None, 1.0, 1.0), returns - values, rtol=1e-6, atol=1e-6
    )
    following = np.concatenate([values[1:], next_value[None]]).astype(np.float64)
    np.testing.assert_allclose(
        gae(rewards, values, next_value, None, 0.5, 0.0), wide + 0.5 * following - values, rtol=1e-6
    )


def test_gae_is_zero_where_the_values_are_the_returns() -> None:
    # V = 1 / (1 - gamma) for a reward of 1 for ever; all numbers are exact in binary
    ones = np.ones((10, 3), np.float32)
    actual = gae(ones, 4 * ones, np.full(3, 4, np.float32), None, 0.75, 0.95)
    np.testing.assert_array_equal(actual, 0)


@given(st.integers(1, 10), st.integers(2, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_gae_of_a_batch_equals_that_of_each_environment_alone(
    steps: int, envs: int, seed: int
) -> None:
    rewards, values, next_value = make_rollout(steps, envs, seed)
    terminated = np.random.default_rng(seed).random((steps, envs)) < 0.3
    together = gae(rewards, values, next_value, terminated)
    for n in range(envs):
        column = [array[:, n : n + 1].copy() for array in (rewards, values, terminated)]
        alone = gae(column[0], column[1], next_value[n : n + 1].copy(), column[2])
        np.testing.assert_array_equal(together[:, n : n + 1], alone)


def test_gae_keeps_unused_nan_out_and_lets_used_nan_through() -> None:
    rewards, values, next_value = make_rollout(4, 3)
    terminated = np.zeros((4, 3), bool)
    terminated[1] = True
    values[2, 0] = np.nan  # follows a termination
    actual = gae(rewards, values, next_value, terminated)
    assert np.isfinite(actual[:2]).all()
    assert np.isnan(actual[2, 0])


def test_gae_reads_any_nonzero_byte_as_true() -> None:
    rollout = make_rollout(5, 9)
    flags = np.random.default_rng(0).integers(0, 4, (5, 9)).astype(np.uint8)
    np.testing.assert_array_equal(gae(*rollout, flags.view(bool)), gae(*rollout, flags != 0))


def test_gae_accepts_empty_and_read_only_rollouts() -> None:
    for steps, envs in [(0, 3), (3, 0), (0, 0)]:
        assert gae(*make_rollout(steps, envs)).shape == (steps, envs)
    rollout = make_rollout(4, 2)
    expected = gae(*rollout)
    for array in rollout:
        array.flags.writeable = False
    np.testing.assert_array_equal(gae(*rollout), expected)


FLOATS, FLAGS = np.zeros((4, 3), np.float32), np.zeros((4, 3), bool)


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *wrong_arrays("rewards", FLOATS, "(T, N) = (any, any)"),
        *wrong_arrays("values", FLOATS, "(T, N) = (4, 3)"),
        *wrong_arrays("next_value", FLOATS[0], "(N,) = (3,)"),
        *wrong_arrays("terminated", FLAGS, "(T, N) = (4, 3)", is_optional=True),
        *wrong_arrays("truncated", FLAGS, "(T, N) = (4, 3)", is_optional=True),
        *wrong_arrays("final_values", FLOATS, "(T, N) = (4, 3)", is_optional=True),
        (
            "values",
            FLOATS.reshape(3, 4),
            ValueError,
            r"^values must have .* \(4, 3\), got \(3, 4\)$",
        ),
        ("truncated", None, ValueError, "must be given together, got only final_values$"),
        ("final_values", None, ValueError, "must be given together, got only truncated$"),
        ("gamma", -0.1, ValueError, r"^gamma must be in \[0, 1\], got -0.1$"),
        ("gamma", 1.0000001, ValueError, r"^gamma must be in \[0, 1\], got 1.0000001$"),
        ("gamma", np.nan, ValueError, r"^gamma must be in \[0, 1\], got nan$"),
        ("gamma", np.inf, ValueError, r"^gamma must be in \[0, 1\], got inf$"),
        ("gamma", "0.9", TypeError, r"(?s)incompatible function arguments.*gamma: "),
        ("gamma", None, TypeError, r"(?s)incompatible function arguments.*gamma: "),
        ("gae_lambda", -0.1, ValueError, r"^gae_lambda must be in \[0, 1\], got -0.1$"),
        ("gae_lambda", 2, ValueError, r"^gae_lambda must be in \[0, 1\], got 2$"),
        ("gae_lambda", np.nan, ValueError, r"^gae_lambda must be in \[0, 1\], got nan$"),
        ("gae_lambda", [], TypeError, r"(?s)incompatible function arguments.*gae_lambda: "),
        ("unknown", 1, TypeError, r"(?s)incompatible function arguments.*rewards: "),
    ],
)
def test_gae_refuses_wrong_arguments(
    name: str, wrong: Any, error: type[Exception], message: str
) -> None:
    rewards, values, next_value = make_rollout(4, 3)
    arguments: dict[str, Any] = {
        "rewards": rewards,
        "values": values,
        "next_value": next_value,
        "terminated": FLAGS,
        "gamma": 0.9,
        "gae_lambda": 0.9,
        "truncated": FLAGS,
        "final_values": FLOATS,
    }
    gae(**arguments)
    arguments[name] = wrong
    with pytest.raises(error, match=message):
        gae(**arguments)
    for array, original in zip((rewards, values, next_value), make_rollout(4, 3), strict=True):
        np.testing.assert_array_equal(array, original)
