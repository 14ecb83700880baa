"""Does it explore? RND and DRND beside plain PPO, several seeds each, where reward is rare.

Every run is `rndfast train` in a process of its own; on one thread, but for the tasks of 28 million
transitions, which are for a GPU and the cores beside it (seven minutes a run on an H200). What a
stopped experiment had finished is kept, and what it had begun is resumed. At the end each task gets
a figure, and all together a table: the interquartile mean over seeds of the return in the last
tenth of the transitions, with its 95 % bootstrap interval.

Usage: ``python benchmarks/exploration.py [--tasks mountain-car ...] [--algorithms PPO RND DRND]
[--seeds 5] [--jobs 2] [--total-transitions N] [--output runs/exploration]``
The tasks that are no Atari games need ``pip install 'rndfast[gym]'``.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from rndfast.bench.bench import versions
from rndfast.commands.arguments import parse_train
from rndfast.commands.plot import RETURN, ROOMS, group_runs, require_figure, write_figure
from rndfast.config import Config, load_run_config
from rndfast.runs.curves import EPISODES, Run, load_run, summary
from rndfast.runs.metrics import read_metrics
from rndfast.runtime.hardware import hardware

# flags of `rndfast train`
TASKS = {
    "mountain-car": [
        "--preset=classic",
        "--env-id=MountainCar-v0",
        "--int-coef=3000",
        "--total-transitions=300000",
    ],
    "lunar-lander": ["--preset=classic", "--env-id=LunarLander-v3", "--total-transitions=500000"],
    "door-key": [
        "--preset=classic",
        "--env-id=minigrid:MiniGrid-DoorKey-8x8-v0",
        # advantages by the paper's rule: scaled to deviation 1, they would be the bonus alone as
        # long as no reward has been found
        *("--no-norm-adv", "--ent-coef=0.001", "--ext-coef=2", "--int-coef=0.1"),
        *("--two-value-heads", "--no-episodic-int-return", "--predictor-hidden-layers=2"),
        "--total-transitions=400000",
    ],
    "montezuma-laptop": ["--preset=laptop", "--total-transitions=1000000"],
}
ON_ONE_THREAD = list(TASKS)
TASKS |= {
    task: [f"--env-id=rndfast/{game}-v5", "--total-transitions=28000000"]
    for task, game in {
        "montezuma": "MontezumaRevenge",
        "venture": "Venture",
        "private-eye": "PrivateEye",
        "gravitar": "Gravitar",
    }.items()
}
ALGORITHMS = {"PPO": ["--int-coef=0"], "RND": [], "DRND": ["--bonus=drnd"]}
# Seeds from here on; 1 to 5 served to choose the settings of `classic`.
FIRST_SEED = 11
# The final return is of episodes that end in this last fraction of the transitions.
FINAL_FRACTION = 0.1


class Job:
    """One run of the experiment: where it is, and how to go on with it.

    Args:
        flags: Of `rndfast train`: its settings.
        run_dir: Its directory.
    """

    def __init__(self, flags: list[str], run_dir: Path) -> None:
        self.run_dir = run_dir
        self._flags = [*flags, f"--run-dir={run_dir}"]
        self._settings = parse_train(self._flags).settings

    @property
    def is_finished(self) -> bool:
        """Whether it has all its transitions."""
        rows = read_metrics(self.run_dir / "metrics.jsonl")
        return bool(rows) and (rows[-1]["transitions"] or 0) >= self._total

    @property
    def _total(self) -> int:
        return self._settings.run.total_transitions

    def require_same_settings(self) -> None:
        """Check that what is in the directory, if anything, is this run.

        Raises:
            ValueError: It was trained with other settings.
        """
        if (self.run_dir / "config.toml").exists() and algorithm(
            load_run_config(self.run_dir)
        ) != algorithm(self._settings):
            raise ValueError(
                f"{self.run_dir} was trained with other settings than this experiment's: "
                "choose another --output"
            )

    def start(self) -> subprocess.Popen[bytes]:
        """Begin it, or go on with it; what it says goes to a file beside its directory."""
        if (self.run_dir / "config.toml").exists():
            flags = [f"--resume={self.run_dir}", f"--total-transitions={self._total}"]
        else:
            if self.run_dir.exists():
                self.run_dir.rmdir()  # stopped before it had begun
            flags = self._flags
        self.run_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "rndfast", "train", *flags], stdout=log, stderr=log
            )

    @property
    def log(self) -> Path:
        """What it has said."""
        return self.run_dir.with_suffix(".log")


def algorithm(config: Config) -> tuple[Any, ...]:
    """The settings that a run may not change."""
    return config.env, config.atari, config.ppo, config.rnd, config.run.seed


def run_all(jobs: list[Job], at_a_time: int) -> None:
    """Run what is not finished.

    Raises:
        RuntimeError: A run failed; the others were told to save what they have.
    """
    for job in jobs:
        job.require_same_settings()
    waiting = deque(job for job in jobs if not job.is_finished)
    print(f"{len(jobs)} runs, {len(jobs) - len(waiting)} of them finished", flush=True)
    running: dict[Job, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                job = waiting.popleft()
                running[job] = job.start(), time.monotonic()
            time.sleep(0.2)
            for job, (process, began) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[job]
                if process.returncode != 0:
                    raise RuntimeError(f"{job.run_dir} failed, see {job.log}")
                minutes = (time.monotonic() - began) / 60
                print(f"{job.run_dir}: {minutes:.1f} minutes, {len(waiting)} wait", flush=True)
    finally:
        for process, _ in running.values():
            process.terminate()  # it saves its state
        for process, _ in running.values():
            process.wait()


def final_return(run: Run) -> float:
    """Mean return of the episodes that ended in the last tenth; NaN if none did."""
    transitions = run.transitions()
    is_last = transitions > (1 - FINAL_FRACTION) * transitions[-1]
    returns, episodes = run.column(RETURN)[is_last], run.column(EPISODES)[is_last]
    has_ended = episodes > 0
    if not has_ended.any():
        return math.nan
    return float(np.average(returns[has_ended], weights=episodes[has_ended]))


def results(runs: list[Run]) -> dict[str, Any]:
    """The figures of one task and algorithm."""
    return {
        "env_id": runs[0].config.env.env_id,
        "seeds": len(runs),
        "transitions": int(runs[0].transitions()[-1]),
        "return": summary([final_return(run) for run in runs]),
        "rooms": summary([float(run.column(ROOMS)[-1]) for run in runs]),
    }


def markdown(report: dict[str, Any]) -> str:
    """The table, one row for each task and algorithm."""
    lines = [
        "| task | algorithm | seeds | transitions | return | rooms |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for task, of_task in report["tasks"].items():
        for name, found in of_task.items():
            cells = [
                task,
                name,
                str(found["seeds"]),
                f"{found['transitions']:,}",
                *(cell(found[figure]) for figure in ("return", "rooms")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(found: dict[str, Any] | None) -> str:
    """Mean and interval in four digits, a dash where there is none."""
    if found is None:
        return "-"
    return f"{found['iqm']:.4g} ({found['low']:.4g} to {found['high']:.4g})"


def main(argv: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=ON_ONE_THREAD)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=["PPO", "RND"])
    parser.add_argument("--seeds", type=int, default=5, help="runs of each task and algorithm")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--total-transitions", type=int, help="instead of each task's own")
    parser.add_argument("--output", type=Path, default=Path("runs/exploration"))
    arguments = parser.parse_args(argv)
    for name in ("seeds", "jobs"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(arguments, name)}")

    figures = {task: arguments.output / f"{task}.png" for task in arguments.tasks}
    for figure in figures.values():
        require_figure(figure)
    budget = [f"--total-transitions={n}" for n in [arguments.total_transitions] if n is not None]
    jobs = {
        (task, name): [
            Job(
                [
                    *TASKS[task],
                    *ALGORITHMS[name],
                    *budget,
                    f"--seed={seed}",
                    f"--num-threads={int(task in ON_ONE_THREAD)}",  # 0: as many as there are
                ],
                arguments.output / task / f"{name.lower()}-{seed}",
            )
            for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds)
        ]
        for task in arguments.tasks
        for name in arguments.algorithms
    }
    report: dict[str, Any] = {"hardware": hardware(), "versions": versions(), "tasks": {}}
    # seed by seed, so that a first look at all tasks comes early
    run_all(
        [job for of_seed in zip(*jobs.values(), strict=True) for job in of_seed], arguments.jobs
    )

    for task, figure in figures.items():
        runs = {
            name: [load_run(job.run_dir) for job in jobs[task, name]]
            for name in arguments.algorithms
        }
        report["tasks"][task] = {name: results(of_name) for name, of_name in runs.items()}
        write_figure(group_runs([run for of_name in runs.values() for run in of_name]), figure)
    table = markdown(report)
    (arguments.output / "exploration.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.output / "exploration.md").write_text(table)
    print(f"\nThe last tenth of the transitions, IQM (95 % interval):\n\n{table}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `finally`
    main()
