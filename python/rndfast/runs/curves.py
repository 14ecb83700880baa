"""Curves of a run's metrics, and what several runs say together.

One place says how a curve is smoothed and how runs that differ in their seed are put together: the
interquartile mean with its bootstrap interval, as Agarwal et al. (2021) advise where runs are few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rndfast.config import Config, load_run_config
from rndfast.runs.metrics import Metrics, read_metrics

Array = NDArray[np.float64]

EPISODES = "charts/episodes"
BOOTSTRAP_RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Run:
    """What a run directory says: its settings, and a row of metrics for each rollout."""

    run_dir: Path
    config: Config
    rows: list[Metrics]

    def column(self, key: str) -> Array:
        """Values of a metric, ``(K,)`` for K rollouts; NaN where it has none."""
        values = [row.get(key) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    def transitions(self) -> Array:
        """Transitions up to the end of each rollout, ``(K,)``."""
        return self.column("transitions")

    def hours(self) -> Array:
        """Hours of training up to the end of each rollout, ``(K,)``; pauses do not count."""
        return np.cumsum(self.column("perf/iteration_s")) / 3600


def load_run(run_dir: Path) -> Run:
    """Read a run's settings and metrics.

    Raises:
        FileNotFoundError: It is no run directory.
        ValueError: Its settings are wrong, or it has no metrics yet.
    """
    config = load_run_config(run_dir)
    path = run_dir / "metrics.jsonl"
    rows = read_metrics(path)
    if not rows and path.exists() and path.stat().st_size > 0:
        raise ValueError(f"{run_dir} has no metrics: no row of its metrics.jsonl is whole")
    if not rows:
        raise ValueError(f"{run_dir} has no metrics yet: no rollout has ended")
    return Run(run_dir, config, rows)


def load_runs(run_dirs: Sequence[Path], say: Callable[[str], None]) -> list[Run]:
    """Read those of some runs that can be read; says which are left out, and why.

    Raises:
        ValueError: None can be read.
    """
    runs, left_out = [], []
    for run_dir in run_dirs:
        try:
            runs.append(load_run(run_dir))
        except (OSError, ValueError) as error:
            left_out.append(str(error))
    if not runs:
        raise ValueError("; ".join(left_out))
    for reason in left_out:
        say(f"left out: {reason}")
    return runs


def iqm(values: Array) -> Array:
    """Interquartile mean over the first axis: a quarter of the values off each end, then the mean.

    A quarter is rounded down, as SciPy's ``trim_mean`` does: of fewer than four values, all count.

    Args:
        values: ``(R, ...)`` float64.

    Returns:
        ``(...)`` float64.
    """
    cut = len(values) // 4
    middle: Array = np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)
    return middle


def bootstrap_interval(
    values: Array, statistic: Callable[[Array], Array] = iqm
) -> tuple[Array, Array]:
    """95 % interval of a statistic over the first axis: the percentile bootstrap.

    Whole runs are drawn with replacement, by a generator with a fixed seed: the same values give
    the same interval. Of one run it is that run; of two to four, their range.

    Args:
        values: ``(R, ...)`` float64, one row for each run, or episode.
        statistic: Of ``(R, ...)``, over the first axis.

    Returns:
        Lower and upper end, each ``(...)`` float64.
    """
    rng = np.random.default_rng(0)
    draws = rng.integers(len(values), size=(BOOTSTRAP_RESAMPLES, len(values)))
    means = np.array([statistic(values[draw]) for draw in draws])
    tail = (1 - CONFIDENCE) / 2
    # an end is one of the resampled means; nothing lies outside the values
    low, high = np.quantile(means, (tail, 1 - tail), axis=0, method="inverted_cdf")
    return low, high


def summary(values: Sequence[float]) -> dict[str, Any] | None:
    """Interquartile mean and interval of one figure of several runs; None if a run has none.

    Args:
        values: One of each run; NaN counts as missing.
    """
    figures = np.array(values)
    if np.isnan(figures).any():
        return None
    low, high = bootstrap_interval(figures)
    mean = float(iqm(figures))
    return {"iqm": mean, "low": float(low), "high": float(high), "of_each_seed": list(values)}


def trailing_average(values: Array, weights: Array, window: int) -> Array:
    """Weighted average of the last ``window`` values; NaN where none of them has a weight.

    Args:
        values: ``(K,)`` float64; NaN counts as missing.
        weights: ``(K,)`` float64, at least 0.
        window: Values to average, itself among them.
    """
    weights = np.where(np.isnan(values), 0.0, weights)
    kernel = np.ones(min(window, len(values)))
    sums = np.convolve(np.where(weights > 0, values, 0.0) * weights, kernel)[: len(values)]
    totals = np.convolve(weights, kernel)[: len(values)]
    averages = np.full(len(values), np.nan)
    np.divide(sums, totals, out=averages, where=totals > 0)
    return averages
