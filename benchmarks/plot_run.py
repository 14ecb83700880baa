"""Plot a run's curves: return, intrinsic reward, losses and the split of the time, by transitions.

python benchmarks/plot_run.py RUN_DIR OUTPUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rndfast.config import load_run_config
from rndfast.runs.metrics import Metrics, read_metrics
from rndfast.runtime.timeline import PHASES

WINDOW_ROLLOUTS = 20  # of the moving average


def column(rows: list[Metrics], key: str) -> NDArray[np.float64]:
    """Values of a metric; NaN where a rollout has none."""
    return np.array([np.nan if row[key] is None else row[key] for row in rows], np.float64)


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moving average over the rollouts that have a value."""
    kernel = np.ones(min(WINDOW_ROLLOUTS, len(values)))
    present = np.isfinite(values)
    sums = np.convolve(np.where(present, values, 0.0), kernel)[: len(values)]
    counts = np.convolve(present, kernel)[: len(values)]
    averages = np.full(len(values), np.nan)
    np.divide(sums, counts, out=averages, where=counts > 0)
    return averages


def plot_run(run_dir: Path, output: Path) -> None:
    """Write the figure."""
    rows = read_metrics(run_dir / "metrics.jsonl")
    config = load_run_config(run_dir)
    millions = column(rows, "transitions") / 1e6
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).ravel()
    curves = {
        "episodic return (unclipped)": {
            "mean": "charts/episodic_return",
            "best": "charts/episodic_return_max",
        },
        "intrinsic reward (scaled)": {
            "mean": "rnd/intrinsic_reward",
            "largest": "rnd/intrinsic_reward_max",
        },
        "prediction error": {
            "on new frames": "rnd/prediction_error",
            "in training": "losses/predictor",
        },
        "policy": {"entropy (nats)": "losses/entropy"},
        "value losses": {"extrinsic": "losses/ext_value", "intrinsic": "losses/int_value"},
    }
    for axis, (title, keys) in zip(axes, curves.items(), strict=False):
        for label, key in keys.items():
            axis.plot(millions, smooth(column(rows, key)), label=label, linewidth=1)
        axis.set(title=title, xlabel="million transitions")
        axis.legend(fontsize="small")
    for axis in (axes[2], axes[4]):
        axis.set_yscale("log")

    total_s = column(rows, "perf/iteration_s")
    shares = [smooth(column(rows, f"perf/{phase}_s") / total_s) for phase in PHASES]
    axes[5].stackplot(millions, shares, labels=PHASES)
    axes[5].set(title="share of the wall time", xlabel="million transitions", ylim=(0, 1))
    axes[5].legend(fontsize="small", loc="center right")
    figure.suptitle(
        f"{config.env.env_id}, {config.env.num_envs} environments x "
        f"{config.ppo.rollout_steps} steps, seed {config.run.seed}; averages over "
        f"{WINDOW_ROLLOUTS} rollouts"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    plot_run(Path(sys.argv[1]), Path(sys.argv[2]))
