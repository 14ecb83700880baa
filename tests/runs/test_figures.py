"""The warning that consoles hold back a GPU, by the seconds of a fake timeline."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.tiny import NUM_ENVS, STEPS, PeriodicEnv, tiny_config

import rndfast.runs.train
from rndfast.config import RunConfig
from rndfast.runs.figures import (
    WAITING_SHARE,
    WARM_UP_ITERATIONS,
    WATCHED_ITERATIONS,
    ConsoleWatch,
    time_metrics,
)
from rndfast.runs.metrics import Metrics
from rndfast.runs.train import train
from rndfast.runtime.compute import GpuCompute
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import PHASES, Timeline

LOOKED_AT = WARM_UP_ITERATIONS + WATCHED_ITERATIONS
HELD_BACK = {"env": 0.7, "inference": 0.1, "bonus": 0.05, "learn": 0.1, "log": 0.05}


def row(seconds: dict[str, float]) -> Metrics:
    return time_metrics(dict.fromkeys(PHASES, 0.0) | seconds, tiny_config(Path("unused")))


def test_it_is_said_once_with_the_cores_that_would_do() -> None:
    watch = ConsoleWatch(8)
    lines = [watch.note(row(HELD_BACK)) for _ in range(3 * LOOKED_AT)]
    assert [number for number, line in enumerate(lines) if line] == [LOOKED_AT - 1]
    # Consoles take 0.8 s on 8 cores. The run may wait for them 0.45 s if all else takes 0.3, so
    # that they may take 0.55: 8 * 0.8 / 0.55 = 11.6 cores.
    assert lines[LOOKED_AT - 1] == (
        "the GPU waits for the consoles 70% of the time: with 12 cores instead of 8 it would be "
        "60%, if all of them are as fast"
    )


def test_the_cores_that_are_said_do() -> None:
    """The model that the number comes from, the other way round."""
    for waiting_s in (0.5, 1.0, 5.0):
        seconds = HELD_BACK | {"env": waiting_s}
        watch = ConsoleWatch(4)
        line = [watch.note(row(seconds)) for _ in range(LOOKED_AT)][-1]
        assert line is not None
        cores = int(line.split("with ")[1].split()[0])
        for number, is_enough in ((cores, True), (cores - 1, False)):
            waits_s = (waiting_s + 0.1) * 4 / number - 0.1
            assert (waits_s / (waits_s + 0.3) <= WAITING_SHARE) == is_enough


def test_nothing_is_said_of_a_gpu_that_is_busy_or_of_the_first_iterations() -> None:
    watch = ConsoleWatch(8)
    for _ in range(WARM_UP_ITERATIONS):
        assert watch.note(row({"env": 100.0, "learn": 1.0})) is None
    for _ in range(2 * LOOKED_AT):
        assert watch.note(row({"env": 0.59, "learn": 0.41})) is None


class FakeTimeline(Timeline):
    def take_seconds(self) -> dict[str, float]:
        super().take_seconds()
        return dict.fromkeys(PHASES, 0.0) | HELD_BACK


@pytest.mark.parametrize("is_gpu", [False, True])
def test_only_a_run_on_a_gpu_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gpu: bool
) -> None:
    def open_gpu(config: RunConfig, timeline: Timeline, ranks: Ranks) -> GpuCompute:
        return GpuCompute(config, torch.device("cpu"), timeline, ranks)

    env = PeriodicEnv()
    monkeypatch.setattr(rndfast.runs.train, "make_env", lambda config, num_threads: env)
    if is_gpu:
        monkeypatch.setattr(rndfast.runs.train, "open_compute", open_gpu)
    lines: list[str] = []

    def view(update: Metrics | str) -> None:
        if isinstance(update, str):
            lines.append(update)

    config = tiny_config(tmp_path / "run", total_transitions=(LOOKED_AT + 2) * NUM_ENVS * STEPS)
    config = dataclasses.replace(config, rnd=dataclasses.replace(config.rnd, obs_norm_steps=0))
    train(config, view=view, timeline=FakeTimeline())
    assert sum("waits for the consoles" in line for line in lines) == int(is_gpu)
