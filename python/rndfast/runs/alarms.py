"""Alarms: signs in a run's metrics that its training has gone wrong although nothing has failed.

An alarm is raised where a quantity has been on the wrong side of a threshold for a number of
rollouts in a row, once in a run. All that it needs are rows of metrics and the length of a rollout:
the rows of a finished run give the alarms that the run itself raised, and a resumed run repeats
none. ``docs/metrics.md`` explains the thresholds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from rndfast.runs.metrics import Metrics, read_metrics
from rndfast.runtime.durable_files import replace_durably


class Alarm(NamedTuple):
    """An alarm as it was raised."""

    name: str
    transitions: int  # of the row that raised it
    quantity: str  # what was on the wrong side
    value: float  # in that row
    side: Literal["above", "below"]
    threshold: float
    rollouts: int  # how many in a row were on the wrong side
    meaning: str

    def __str__(self) -> str:
        times = f" in {self.rollouts} rollouts" if self.rollouts > 1 else ""
        return (
            f"alarm {self.name} at {self.transitions:,} transitions: {self.quantity} is "
            f"{self.value:.3g}, {self.side} {self.threshold:g}{times}: {self.meaning}"
        )


@dataclass
class History:
    """What rows are compared with: those before them, in a few numbers."""

    rollout_steps: int  # of each environment
    num_rows: int = 0
    lowest_return_std: float = math.inf  # since its first rollouts, in which it has to settle
    longest_episode_steps: float | None = None  # the largest of the rollouts' means
    steps_without_end: int = 0  # of each environment, since an episode ended last
    best_return: float = -math.inf  # of rollouts in which most episodes ended by themselves

    def add(self, row: Metrics) -> None:
        """Take in the next row."""
        self.num_rows += 1
        return_std = row.get("rnd/intrinsic_return_std")
        if return_std is not None and self.num_rows > SETTLING_ROLLOUTS:
            self.lowest_return_std = min(self.lowest_return_std, return_std)
        length, mean_return = row.get("charts/episodic_length"), row.get("charts/episodic_return")
        if length is not None:
            self.longest_episode_steps = max(self.longest_episode_steps or 0, length)
        steps = 0 if row.get("charts/episodes") else self.steps_without_end + self.rollout_steps
        self.steps_without_end = steps
        truncated = row.get("charts/truncated_episodes")
        if mean_return is not None and truncated is not None and truncated < 0.5:
            self.best_return = max(self.best_return, mean_return)


SETTLING_ROLLOUTS = 20

# The value in a row; None where it has none: such a row neither begins nor ends anything.
Quantity = Callable[[Metrics, History], float | None]


def metric(key: str, row: Metrics, _: History) -> float | None:
    """A metric as it is."""
    return row.get(key)


def unlearnt_part(row: Metrics, _: History) -> float | None:
    """Part of the target's features that the predictor has not learnt."""
    error, variance = row.get("rnd/prediction_error"), row.get("rnd/feature_variance")
    return error / variance if error is not None and variance else None


def foreseen_part(stream: str, row: Metrics, _: History) -> float | None:
    """Size of the explained variance of a value head whose rewards are not all 0."""
    explained = row.get(f"rollout/{stream}_explained_variance")
    has_rewards = stream != "ext" or row.get("rollout/extrinsic_reward")
    return abs(explained) if explained is not None and has_rewards else None


def growth_of_scale(row: Metrics, history: History) -> float | None:
    """What the bonus is divided by, as a multiple of the least that it has been."""
    return_std = row.get("rnd/intrinsic_return_std")
    return return_std / history.lowest_return_std if return_std is not None else None


def waiting_time(row: Metrics, history: History) -> float | None:
    """Time since an episode ended last, as a multiple of the longest mean length so far."""
    if row.get("charts/episodes") != 0 or not history.longest_episode_steps:
        return None
    return (history.steps_without_end + history.rollout_steps) / history.longest_episode_steps


def vain_truncations(row: Metrics, history: History) -> float | None:
    """Share of episodes that the limit of steps cut off; 0 where they were the best so far."""
    mean_return = row.get("charts/episodic_return")
    if mean_return is None:
        return None
    return row.get("charts/truncated_episodes") if mean_return <= history.best_return else 0.0


class Rule(NamedTuple):
    """When an alarm is raised."""

    name: str
    quantity: str  # in words
    of: Quantity
    side: Literal["above", "below"]
    threshold: float
    rollouts: int
    meaning: str


PREDICTOR = "rnd/prediction_error / rnd/feature_variance"

RULES = (
    Rule(
        "predictor_stalled", PREDICTOR, unlearnt_part, "above", 0.9, 50,
        "the predictor does no better than a constant, so that the bonus does not fall where the "
        "agent has been",
    ),
    Rule(
        "predictor_saturated", PREDICTOR, unlearnt_part, "below", 1e-5, 20,
        "the predictor knows everything that the agent sees, so that what is left of the bonus is "
        "rounding",
    ),
    Rule(
        "predictor_exploding", PREDICTOR, unlearnt_part, "above", 10, 3,
        "the predictor does far worse than a constant: it diverges",
    ),
    Rule(
        "dead_features", "health/dead_features", partial(metric, "health/dead_features"),
        "above", 0.5, 10,
        "most of the target's features are the same for all observations, which look alike to the "
        "bonus: look at the normalisation of the observations",
    ),
    *(
        Rule(
            f"dead_{network}_units", key, partial(metric, key), "above", 0.9, 10,
            f"most units of the {network} are never active, and learn nothing any more",
        )
        for network in ("policy", "predictor")
        for key in [f"health/dead_{network}_units"]
    ),
    *(
        Rule(
            f"{stream}_value_collapse", f"|rollout/{stream}_explained_variance|",
            partial(foreseen_part, stream), "below", 0.01, 50,
            "the value head gives the same value to every observation",
        )
        for stream in ("ext", "int", "combined")
    ),
    Rule(
        "bonus_scale_drift", "rnd/intrinsic_return_std / its least so far", growth_of_scale,
        "above", 2, 1,
        "errors have jumped, so that the bonus from now on is scaled down by them for long",
    ),
    Rule(
        "episodes_stopped_ending", "steps since an episode ended / longest mean length",
        waiting_time, "above", 20, 1,
        "the agent has stopped ending episodes, by success or by death",
    ),
    Rule(
        "episodes_run_out", "charts/truncated_episodes", vain_truncations, "above", 0.99, 20,
        "the agent has stopped ending episodes: the limit of steps cuts off all of them, and their "
        "return is no better than that of episodes that ended",
    ),
)  # fmt: skip


class AlarmWatch:
    """Raises alarms, row by row; ``raised`` has those so far.

    Args:
        rollout_steps: Steps of each environment in a row's rollout.
    """

    def __init__(self, rollout_steps: int) -> None:
        self.raised: list[Alarm] = []
        self._history = History(rollout_steps)
        self._streaks = dict.fromkeys(RULES, 0)  # of the rules that have raised none

    def add(self, row: Metrics) -> list[Alarm]:
        """Take in the next row; the alarms that it raises."""
        new = []
        for rule in list(self._streaks):
            value = rule.of(row, self._history)
            if value is None:
                continue
            is_wrong = value > rule.threshold if rule.side == "above" else value < rule.threshold
            self._streaks[rule] = self._streaks[rule] + 1 if is_wrong else 0
            if self._streaks[rule] == rule.rollouts:
                del self._streaks[rule]
                new.append(
                    Alarm(
                        rule.name, int(row["transitions"] or 0), rule.quantity, value, rule.side,
                        rule.threshold, rule.rollouts, rule.meaning,
                    )
                )  # fmt: skip
        self._history.add(row)
        self.raised += new
        return new


def find_alarms(rows: Iterable[Metrics], rollout_steps: int) -> list[Alarm]:
    """The alarms that a run raised, from its rows of metrics."""
    watch = AlarmWatch(rollout_steps)
    for row in rows:
        watch.add(row)
    return watch.raised


class AlarmLog(AlarmWatch):
    """The same for a run that is trained, with a record of the alarms: ``alarms.jsonl``.

    It goes on from the rows that the run directory has. The record is always that of its rows: one
    line of JSON for each alarm.

    Args:
        run_dir: The run directory.
        rollout_steps: Steps of each environment in a row's rollout.
    """

    def __init__(self, run_dir: Path, rollout_steps: int) -> None:
        super().__init__(rollout_steps)
        self._path = run_dir / "alarms.jsonl"
        for row in read_metrics(run_dir / "metrics.jsonl"):
            super().add(row)
        if self.raised or self._path.exists():
            self._write()

    def add(self, row: Metrics) -> list[Alarm]:
        """Take in the next row; the alarms that it raises, which are written down."""
        new = super().add(row)
        if new:
            self._write()
        return new

    def _write(self) -> None:
        lines = [json.dumps(alarm._asdict()) + "\n" for alarm in self.raised]
        replace_durably(self._path, "".join(lines).encode())
