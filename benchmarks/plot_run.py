"""Plot a run's curves: return, intrinsic reward, losses and the split of the time, by transitions.

python benchmarks/plot_run.py RUN_DIR OUTPUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rndfast.runs.curves import Array, load_run, trailing_average
from rndfast.runtime.timeline import PHASES

# Curves are averages over the last rollouts, at most this many.
WINDOW_ROLLOUTS = 20


def plot_run(run_dir: Path, output: Path) -> None:
    """Write the figure."""
    run = load_run(run_dir)
    config = run.config
    millions = run.transitions() / 1e6

    def smooth(values: Array) -> Array:
        return trailing_average(values, np.ones(len(values)), WINDOW_ROLLOUTS)

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
            axis.plot(millions, smooth(run.column(key)), label=label, linewidth=1)
        axis.set(title=title, xlabel="million transitions")
        axis.legend(fontsize="small")
    for axis in (axes[2], axes[4]):
        axis.set_yscale("log")

    total_s = run.column("perf/iteration_s")
    shares = [smooth(run.column(f"perf/{phase}_s") / total_s) for phase in PHASES]
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
