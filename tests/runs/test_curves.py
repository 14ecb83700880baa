"""What several runs say together, and how a curve is smoothed."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest

from rndfast.runs.curves import bootstrap_interval, iqm, summary, trailing_average


@pytest.mark.parametrize("num_runs", range(1, 14))
def test_iqm_is_the_mean_without_a_quarter_off_each_end(num_runs: int) -> None:
    values = np.random.default_rng(num_runs).normal(size=(num_runs, 3))
    for column, found in zip(values.T, iqm(values), strict=True):
        kept = sorted(column.tolist())
        for _ in range(num_runs // 4):
            kept.remove(min(kept))
            kept.remove(max(kept))
        assert found == pytest.approx(statistics.fmean(kept), rel=1e-12)


def test_one_run_in_four_however_good_does_not_move_the_iqm() -> None:
    assert iqm(np.array([1.0, 2.0, 4.0, 1e9])) == 3.0


@pytest.mark.parametrize("num_runs", [1, 2, 3, 4])
def test_the_interval_of_up_to_four_runs_is_their_range(num_runs: int) -> None:
    """The chance that a resample's mean is the smallest value: more than 2.5 % in all of them."""
    values = np.random.default_rng(num_runs).normal(size=(num_runs, 2))
    low, high = bootstrap_interval(values)
    np.testing.assert_allclose(low, values.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(high, values.max(axis=0), rtol=1e-12)


@pytest.mark.parametrize("num_runs", [5, 6])
def test_the_interval_holds_95_percent_of_all_resamples(num_runs: int) -> None:
    """Beside every one of the n ** n resamples that can be drawn."""
    values = np.random.default_rng(0).exponential(size=num_runs)
    cut = num_runs // 4
    means = [
        statistics.fmean(sorted(drawn)[cut : num_runs - cut])
        for drawn in itertools.product(values.tolist(), repeat=num_runs)
    ]
    low, high = bootstrap_interval(values)
    noise = 4 * math.sqrt(0.025 * 0.975 / 2000)  # of a share of 2,000 draws
    for end, share in ((low, 0.025), (high, 0.975)):
        below = sum(mean < end - 1e-12 for mean in means) / len(means)
        up_to = sum(mean <= end + 1e-12 for mean in means) / len(means)
        assert below <= share + noise
        assert up_to >= share - noise


def test_whole_runs_are_drawn_and_the_same_ones_each_time() -> None:
    first = np.random.default_rng(0).normal(size=7)
    low, high = bootstrap_interval(np.stack((first, 2 * first, first), axis=1))
    np.testing.assert_array_equal(low[1:], (2 * low[0], low[0]))
    np.testing.assert_array_equal(high[1:], (2 * high[0], high[0]))
    np.testing.assert_array_equal(bootstrap_interval(first), (low[0], high[0]))


def test_a_summary_needs_a_value_of_each_run() -> None:
    assert summary([1.0, math.nan]) is None
    # of two runs the interval is their range
    assert summary([4.0, -8.0]) == {"iqm": -2, "low": -8, "high": 4, "of_each_seed": [4, -8]}


@pytest.mark.parametrize("window", [1, 3, 50])
def test_a_trailing_average_weighs_what_is_there(window: int) -> None:
    rng = np.random.default_rng(window)
    values = rng.normal(size=40)
    weights = rng.integers(0, 3, size=40).astype(np.float64)
    values[rng.random(40) < 0.4] = np.nan
    averages = trailing_average(values, weights, window)
    for k, average in enumerate(averages):
        present = [
            (values[j], weights[j])
            for j in range(max(0, k - window + 1), k + 1)
            if weights[j] > 0 and not math.isnan(values[j])
        ]
        if present:
            expected = sum(v * w for v, w in present) / sum(w for _, w in present)
            assert average == pytest.approx(expected, rel=1e-9)
        else:
            assert math.isnan(average)
