"""Why does the bonus of RND do harm in DoorKey? Other bonuses in its place, in the same loop.

All are bonuses of what is seen: of the observation that follows an action.

- ``counts``: ``1 / sqrt(n)`` of what is now seen for the n-th time: an oracle of novelty.
- ``late-counts``: the same, but visits count after their rollout, as the predictor learns then.
- ``rnd-once``: the predictor's error, but paid only for what the episode has not shown before.

Runs are those of the task ``door-key`` of `exploration.py`, one after the other on one thread; none
can be resumed. It prints, and writes to door_key.json, the return in the last tenth of the
transitions: each seed's, the interquartile mean, and its 95 % bootstrap interval.

Usage: ``python -m benchmarks.door_key [--seeds 5] [--total-transitions N]
[--output runs/door-key]``, in the root of the repository.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from benchmarks.exploration import FIRST_SEED, TASKS, cell, final_return
from numpy.typing import NDArray

from rndfast.bench.bench import versions
from rndfast.commands.arguments import parse_train
from rndfast.learner import make
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.observations import VectorStore
from rndfast.runs.curves import load_run, summary
from rndfast.runs.train import train
from rndfast.runtime.hardware import hardware

Views = list[list[bytes]]  # T rows of N: what is seen in a rollout
BONUSES = ("counts", "late-counts", "rnd-once")


def count_bonus(views: Views, visits: Counter[bytes], *, late: bool) -> NDArray[np.float32]:
    """``(T, N)``: ``1 / sqrt(n)`` of what is seen for the n-th time; enters it into ``visits``.

    ``late``: it counts only after the rollout.
    """
    bonus = np.empty((len(views), len(views[0])), np.float32)
    for t, row in enumerate(views):
        for n, view in enumerate(row):
            bonus[t, n] = (visits[view] + 1) ** -0.5
            visits[view] += not late
    if late:
        visits.update(view for row in views for view in row)
    return bonus


def is_new(
    views: Views, is_first: NDArray[np.bool_], seen: Sequence[set[bytes]]
) -> NDArray[np.bool_]:
    """``(T, N)``: whether it is the first of its kind in its episode; enters it into ``seen``.

    ``is_first``: whether its episode begins with it; ``seen``: what each episode has shown before.
    """
    new = np.empty(is_first.shape, np.bool_)
    for t, row in enumerate(views):
        for n, view in enumerate(row):
            if is_first[t, n]:
                seen[n].clear()
            new[t, n] = view not in seen[n]
            seen[n].add(view)
    return new


class OtherBonus(CpuBackend):
    """The loop's back end, with one of the bonuses in the place of the predictor's error."""

    def __init__(self, name: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._name = name
        self._visits: Counter[bytes] = Counter()
        self._seen: list[set[bytes]] = [set() for _ in range(self.rollout.num_envs)]

    def intrinsic_rewards(self) -> NDArray[np.float32]:
        """``(T, N)``: the bonus of the next observations, not scaled."""
        assert isinstance(self.observations, VectorStore)
        views = [[view.tobytes() for view in row] for row in self.observations.vectors[1:]]
        if self._name != "rnd-once":
            return count_bonus(views, self._visits, late=self._name == "late-counts")
        return super().intrinsic_rewards() * is_new(views, self.rollout.is_first[1:], self._seen)


def main(argv: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each bonus")
    parser.add_argument("--total-transitions", type=int, default=400_000)
    parser.add_argument("--output", type=Path, default=Path("runs/door-key"))
    arguments = parser.parse_args(argv)
    report: dict[str, Any] = {"hardware": hardware(), "versions": versions(), "return": {}}
    for name in BONUSES:
        returns = []
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
            flags = [f"--run-dir={arguments.output}/{name}-{seed}", f"--seed={seed}"]
            flags += [f"--total-transitions={arguments.total_transitions}", "--num-threads=1"]
            config = parse_train([*TASKS["door-key"], *flags]).settings
            with mock.patch.object(make, "CpuBackend", partial(OtherBonus, name)):
                returns.append(final_return(load_run(train(config, view=lambda _: None))))
            print(f"{name}, seed {seed}: {returns[-1]:.2f}", flush=True)
        report["return"][name] = summary(returns)
        print(f"{name}: {cell(report['return'][name])}", flush=True)
    (arguments.output / "door_key.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
