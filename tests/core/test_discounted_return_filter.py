"""rndfast._core.DiscountedReturnFilter: against written-out sums, over time, wrong inputs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.core.wrong_arrays import wrong_arrays
from tests.reference import rl

from rndfast._core import DiscountedReturnFilter

Array = NDArray[Any]
DIRECTIONS = ["forward", "backward"]


def make_rewards(steps: int, envs: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).exponential(size=(steps, envs)).astype(np.float32)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("steps", "envs"), [(1, 1), (1, 6), (7, 1), (5, 9), (128, 3)])
@pytest.mark.parametrize("gamma", [0.99, 0.5, 0.0, 1.0])
def test_filter_equals_the_written_out_sums(
    direction: str, steps: int, envs: int, gamma: float
) -> None:
    rewards = make_rewards(steps, envs)
    filtered = DiscountedReturnFilter(envs, gamma=gamma, direction=direction).update(rewards)
    assert filtered.dtype == np.float32
    expected = rl.discounted_sums(rewards, gamma, np.zeros(envs), direction)
    np.testing.assert_allclose(filtered, expected, rtol=1.2e-7)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_filter_runs_over_time_and_not_over_environments(direction: str) -> None:
    # a public port iterates over the wrong axis of (T, N): its sums run across environments
    steps, envs = 4, 3
    rewards = np.zeros((steps, envs), np.float32)
    rewards[1, 1] = 1
    filtered = DiscountedReturnFilter(envs, gamma=0.5, direction=direction).update(rewards)
    column = [0, 1, 0.5, 0.25] if direction == "forward" else [0.5, 1, 0, 0]
    np.testing.assert_array_equal(filtered, np.outer(column, [0, 1, 0]))


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 2**32 - 1), st.data())
@settings(deadline=None)
def test_forward_filter_is_carried_across_calls(
    steps: int, envs: int, seed: int, data: st.DataObject
) -> None:
    rewards = make_rewards(steps, envs, seed)
    cut = data.draw(st.integers(0, steps))
    whole = DiscountedReturnFilter(envs, gamma=0.9)
    parts = DiscountedReturnFilter(envs, gamma=0.9)
    expected = whole.update(rewards)
    split = np.concatenate([parts.update(rewards[:cut]), parts.update(rewards[cut:])])
    np.testing.assert_array_equal(split, expected)
    np.testing.assert_array_equal(parts.carry, whole.carry)

    # and the sum before a call enters by the powers of gamma
    carry = whole.carry
    np.testing.assert_allclose(
        whole.update(rewards), rl.discounted_sums(rewards, 0.9, carry, "forward"), rtol=1.2e-7
    )


def test_forward_filter_is_never_reset() -> None:
    # it is given no episode ends: after a reward and silence, the sum decays for ever
    env_filter = DiscountedReturnFilter(2, gamma=0.5)
    env_filter.update(np.array([[1, 0]], np.float32))
    for step in range(1, 30):
        filtered = env_filter.update(np.zeros((1, 2), np.float32))
        np.testing.assert_array_equal(filtered, [[0.5**step, 0]])


def test_backward_filter_starts_anew_with_each_call() -> None:
    rewards = make_rewards(5, 3)
    env_filter = DiscountedReturnFilter(3, gamma=0.9, direction="backward")
    first = env_filter.update(rewards)
    np.testing.assert_array_equal(env_filter.update(rewards), first)
    np.testing.assert_array_equal(env_filter.carry, 0)


def test_backward_filter_is_the_forward_filter_of_reversed_time() -> None:
    rewards = make_rewards(9, 4)
    forward = DiscountedReturnFilter(4).update(rewards[::-1].copy())
    backward = DiscountedReturnFilter(4, direction="backward").update(rewards)
    np.testing.assert_array_equal(backward, forward[::-1])


@given(
    st.integers(1, 10), st.integers(2, 40), st.integers(0, 2**32 - 1), st.sampled_from(DIRECTIONS)
)
@settings(deadline=None)
def test_filter_of_a_batch_equals_that_of_each_environment_alone(
    steps: int, envs: int, seed: int, direction: str
) -> None:
    rewards = make_rewards(steps, envs, seed)
    together = DiscountedReturnFilter(envs, direction=direction).update(rewards)
    for n in range(envs):
        alone = DiscountedReturnFilter(1, direction=direction).update(rewards[:, n : n + 1].copy())
        np.testing.assert_array_equal(together[:, n : n + 1], alone)


def test_filter_of_constant_rewards_tends_to_the_geometric_limit() -> None:
    env_filter = DiscountedReturnFilter(1, gamma=0.75)
    for _ in range(20):
        filtered = env_filter.update(np.ones((10, 1), np.float32))
    assert filtered[-1, 0] == pytest.approx(4, rel=1e-7)


def test_filter_keeps_float64_between_calls() -> None:
    env_filter = DiscountedReturnFilter(1, gamma=1.0)
    env_filter.update(np.full((1, 1), 2.0**24, np.float32))
    for _ in range(8):
        env_filter.update(np.full((1, 1), 0.25, np.float32))
    assert env_filter.carry[0] == 2.0**24 + 2


def test_filter_resumes_from_its_carry() -> None:
    rewards = make_rewards(6, 4)
    env_filter = DiscountedReturnFilter(4)
    env_filter.update(rewards)
    resumed = DiscountedReturnFilter(4)
    resumed.carry = env_filter.carry
    np.testing.assert_array_equal(resumed.update(rewards), env_filter.update(rewards))


def test_carry_is_a_copy() -> None:
    env_filter = DiscountedReturnFilter(2)
    env_filter.carry[:] = 9
    np.testing.assert_array_equal(env_filter.carry, 0)


def test_filter_tells_what_it_was_made_with() -> None:
    env_filter = DiscountedReturnFilter(5, gamma=0.25, direction="backward")
    assert (env_filter.num_envs, env_filter.gamma, env_filter.direction) == (5, 0.25, "backward")
    default = DiscountedReturnFilter(1)
    assert (default.gamma, default.direction) == (0.99, "forward")


def test_filter_accepts_no_steps_and_read_only_rewards() -> None:
    env_filter = DiscountedReturnFilter(3)
    rewards = make_rewards(2, 3)
    rewards.flags.writeable = False
    env_filter.update(rewards)
    carry = env_filter.carry
    assert env_filter.update(np.zeros((0, 3), np.float32)).shape == (0, 3)
    np.testing.assert_array_equal(env_filter.carry, carry)


REWARDS = np.ones((4, 3), np.float32)


def with_value(array: Array, value: float) -> Array:
    wrong: Array = array.copy()
    wrong.flat[-1] = value
    return wrong


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *wrong_arrays("rewards", REWARDS, "(T, N) = (any, 3)"),
        (
            "rewards",
            REWARDS.T.copy(),
            ValueError,
            r"^rewards must have .* \(any, 3\), got \(3, 4\)$",
        ),
        *(
            (
                "rewards",
                with_value(REWARDS, value),
                ValueError,
                "^rewards must be finite, got NaN or",
            )
            for value in (np.nan, np.inf, -np.inf)
        ),
        *wrong_arrays("carry", np.zeros(3), "(N,) = (3,)"),
        ("carry", np.zeros(4), ValueError, r"^carry must have shape \(N,\) = \(3,\), got \(4,\)$"),
        *(
            (
                "carry",
                with_value(np.zeros(3), value),
                ValueError,
                "^carry must be finite, got NaN or",
            )
            for value in (np.nan, np.inf, -np.inf)
        ),
    ],
)
def test_filter_refuses_wrong_arrays_and_stays_as_it_was(
    name: str, wrong: Any, error: type[Exception], message: str, direction: str
) -> None:
    env_filter = DiscountedReturnFilter(3, direction=direction)
    env_filter.carry = np.array([1.0, 2.0, 3.0])
    use = env_filter.update if name == "rewards" else partial(setattr, env_filter, "carry")
    with pytest.raises(error, match=message):
        use(wrong)
    np.testing.assert_array_equal(env_filter.carry, [1, 2, 3])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_envs": 0}, ValueError, r"^num_envs must be in \[1, 2\*\*32\], got 0$"),
        ({"num_envs": -1}, ValueError, r"^num_envs must be in \[1, 2\*\*32\], got -1$"),
        ({"num_envs": 2**62}, ValueError, r"^num_envs must be in \[1, 2\*\*32\], got 46116860184"),
        ({"num_envs": 2**70}, TypeError, r"(?s)incompatible .*num_envs: "),
        ({"num_envs": 2.5}, TypeError, r"(?s)incompatible .*num_envs: .*Invoked with.*2\.5"),
        ({"num_envs": "3"}, TypeError, r"(?s)incompatible .*num_envs: "),
        ({"num_envs": None}, TypeError, r"(?s)incompatible .*num_envs: "),
        ({}, TypeError, r"(?s)incompatible .*num_envs: "),
        ({"num_envs": 3, "gamma": -0.5}, ValueError, r"^gamma must be in \[0, 1\], got -0.5$"),
        ({"num_envs": 3, "gamma": 1.5}, ValueError, r"^gamma must be in \[0, 1\], got 1.5$"),
        ({"num_envs": 3, "gamma": np.nan}, ValueError, r"^gamma must be in \[0, 1\], got nan$"),
        ({"num_envs": 3, "gamma": "x"}, TypeError, r"(?s)incompatible .*gamma: "),
        (
            {"num_envs": 3, "direction": "up"},
            ValueError,
            "^direction must be 'forward' or .* 'up'$",
        ),
        ({"num_envs": 3, "direction": 1}, TypeError, r"(?s)incompatible .*direction: "),
    ],
)
def test_filter_refuses_wrong_constructor_arguments(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DiscountedReturnFilter(**arguments)
