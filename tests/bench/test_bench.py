"""``rndfast bench`` at the smallest sizes: what it writes and says, never how fast anything is."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.commands.error_lines import error_of
from tests.reference.learner import ToyEnv, newest, rnd_of, small_config, small_learner
from tests.tiny import SIDE

import rndfast.runs.train
from rndfast.bench import bench
from rndfast.bench.report import write_charts
from rndfast.commands.main import main
from rndfast.config import Config, RunConfig
from rndfast.learner.backend import Advantages
from rndfast.learner.rollout import collect
from rndfast.runtime.compute import GpuCompute
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import DEVICE_THREAD, PHASES, Span, Timeline


class FakeGpu:
    """Every moment is a millisecond after the one before; a trace has one kernel of 1 us."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.traces = self.started_ns = 0

    def now(self) -> FakeMoment:
        self.seconds += 1e-3
        return FakeMoment(self.seconds)

    def start_trace(self) -> None:
        self.traces += 1
        self.started_ns = time.perf_counter_ns()

    def take_trace(self) -> list[Span]:
        start_ns = self.started_ns + 1_000_000
        return [Span("matmul", f"{DEVICE_THREAD} stream 7", start_ns, start_ns + 1000)]


class FakeMoment(NamedTuple):
    seconds: float

    def seconds_until(self, later: FakeMoment) -> float:
        return later.seconds - self.seconds


PEERS = {"environments": {"ale-py"}, "training": {"plain"}, "update": {"plain"}}
Report = dict[str, Any]


class Written:
    """What one run of the command left."""

    def __init__(self, output: Path) -> None:
        self.output = output
        shown = io.StringIO()
        arguments = ["--rounds=2", "--num-threads=1"]
        with contextlib.redirect_stdout(shown):
            self.exit_code = main(["bench", *arguments, "--output", str(output)])
        self.shown = shown.getvalue()
        self.report: Report = json.loads((output / "bench.json").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    config = small_config(
        img_height=SIDE,
        img_width=SIDE,
        rollout_steps=4,
        obs_norm_steps=4,
        update_epochs=1,
        precision="bfloat16",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "bench_config", lambda _: config)
        patch.setattr(bench, "BATCHES_PER_ROUND", {"rndfast": 2, "ale-py": 1, "envpool": 1})
        return Written(tmp_path_factory.mktemp("bench") / "made" / "here")


def contests(report: Report) -> dict[str, Report]:
    return {
        "environments": report["environments"],
        **{f"training {name}": measured for name, measured in report["training"].items()},
        **{f"update {name}": measured for name, measured in report["update"].items()},
    }


def test_the_report_says_what_was_measured_where(written: Written) -> None:
    assert written.exit_code == 0
    report = written.report
    assert report["settings"]["num_envs"] == 4
    assert report["settings"]["rounds"] == 2
    assert report["settings"]["plain_threads"] == 1
    assert report["hardware"]["cores"] >= 1
    assert report["hardware"]["memory_gib"] > 0.1
    assert report["hardware"]["cpu"]
    assert report["versions"]["torch"] == torch.__version__
    assert {"python", "rndfast", "numpy", "gymnasium", "ale-py", "envpool"} < set(
        report["versions"]
    )
    assert set(report["training"]) == set(report["update"]) == {"float32", "bfloat16"}
    assert report["peak_memory_mib"] > 100
    assert str(written.output.parent) not in json.dumps(report)


def test_figures_are_medians_and_ranges_of_rounds_and_ratios_those_of_medians(
    written: Written,
) -> None:
    for name, measured in contests(written.report).items():
        assert set(measured["times_as_fast_as"]) >= PEERS[name.split()[0]]
        for peer, ratios in measured["times_as_fast_as"].items():
            for clock in ("wall", "cpu"):
                ours, theirs = (measured[who][f"{clock}_s"] for who in ("rndfast", peer))
                for figure in (ours, theirs):
                    assert len(figure["rounds"]) == 2
                    assert figure["median"] == statistics.median(figure["rounds"])
                    assert figure["min"] == min(figure["rounds"]) > 0
                    assert figure["max"] == max(figure["rounds"])
                ratio = ratios[clock]
                assert ratio["of_medians"] == theirs["median"] / ours["median"]
                assert ratio["min"] <= ratio["max"]


def test_phases_add_up_to_the_wall_time_of_another_clock(written: Written) -> None:
    for training in written.report["training"].values():
        assert list(training["phases_s"]) == list(PHASES)
        walls = training["rndfast"]["wall_s"]["rounds"]
        for number, wall_s in enumerate(walls):
            total = sum(figure["rounds"][number] for figure in training["phases_s"].values())
            # the two clocks are read one after the other, and a busy machine may come in between
            assert total == pytest.approx(wall_s, rel=0.3, abs=0.3)
        assert walls[training["median_round"]] == min(walls)  # the lower one of two


def test_the_papers_budget_at_the_measured_speed(written: Written) -> None:
    for training in written.report["training"].values():
        seconds = training["rndfast"]["wall_s"]["median"] / (4 * 4) * 491_520_000
        assert training["hours_to_the_papers_transitions"] == pytest.approx(seconds / 3600)
        assert training["transitions_per_s"] == pytest.approx(491_520_000 / seconds)


def test_the_first_update_does_what_plain_pytorch_does(written: Written) -> None:
    for precision, rel in (("float32", 1e-4), ("bfloat16", 0.1)):
        losses = written.report["update"][precision]["losses_of_first_update"]
        for name in ("policy", "ext_value", "int_value", "entropy"):
            want = pytest.approx(losses["plain"][name], rel=rel, abs=rel / 10)
            assert losses["rndfast"][name] == want, name


def test_the_table_and_the_charts(written: Written) -> None:
    words = " ".join(written.shown.split())
    for text in (
        "iteration, float32 plain wall",
        "update, bfloat16 plain wall",
        "env step ale-py wall",
        "491.5 million take",
        "4 environments x 4 steps",
        "bench.svg",
    ):
        assert text in words
    assert (written.output / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (written.output / "bench.svg").read_text()


def test_without_matplotlib_it_says_so(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    shown = io.StringIO()
    assert write_charts(written.report, tmp_path, Console(file=shown)) == []
    assert "pip install 'rndfast[plots]'" in shown.getvalue()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds=0"], "rounds must be at least 1, got 0"),
        (["--num-threads=-1"], "num_threads must be finite and at least 0, got -1"),
        (
            ["--device=cuda"],
            "device is 'cuda', but torch sees no CUDA device here; use --device cpu",
        ),
        (["--output=file"], "output must be a directory, but file is a file"),
        (["--output=file/below"], "Not a directory: file/below"),
    ],
)
def test_a_wrong_argument_gives_one_line_and_leaves_nothing(
    empty_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (empty_dir / "file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "measure_update", None)  # nothing gets that far
        assert error_of(capsys, "bench", "--quick", *arguments) == message
    assert [path.name for path in empty_dir.iterdir()] == ["file"]


def test_bad_flags_exit_with_code_2() -> None:
    for flag in ("--precision=float64", "--speed=9", "--rounds=many"):
        with pytest.raises(SystemExit) as exit_:
            main(["bench", flag])
        assert exit_.value.code == 2


def test_losses_that_differ_are_named() -> None:
    losses = {"policy": -0.5, "ext_value": 3.0, "int_value": 0.2, "entropy": 2.0, "predictor": 1.0}
    bench.require_same_losses(losses, losses | {"predictor": 2.0, "policy": -0.51})
    with pytest.raises(ValueError, match=r"ext_value loss must be that of plain PyTorch, 3.1, got"):
        bench.require_same_losses(losses, losses | {"ext_value": 3.1})


def test_the_plain_learner_gets_the_same_experience_and_weights() -> None:
    env = ToyEnv(4, ((0, 0), (2, 1), (4, 1)), ((1, 2), (3, 0), (5, 3)))
    with small_learner(env) as parts:
        collect(parts.env, parts.rollout, parts.backend)
        ones = np.ones((6, 4), np.float32)
        advantages = Advantages(ones, np.stack([2 * ones, 3 * ones], axis=2))
        batch = bench.plain_batch(parts.rollout, parts.backend, advantages)
        plain = bench.plain_copy(parts.agent, parts.config)
        for name, value in parts.agent.policy.state_dict().items():
            assert torch.equal(value, plain.policy.state_dict()[name])
        for name, value in rnd_of(parts.agent).predictor.state_dict().items():
            assert torch.equal(value, plain.predictor.state_dict()[name])
    np.testing.assert_array_equal(batch.observations.numpy(), env.observations[:-1])
    np.testing.assert_array_equal(batch.next_frames.numpy(), newest(env.observations[1:]))
    np.testing.assert_array_equal(batch.actions.numpy(), np.stack(env.actions_of[-1]))
    assert [float(rows.mean()) for rows in batch[4:]] == [1, 2, 3]


def test_a_pause_belongs_to_no_phase() -> None:
    timeline = Timeline()
    timeline.take_seconds()
    start = time.perf_counter()
    with timeline.paused():
        time.sleep(0.2)
        paused_s = time.perf_counter() - start
    total_s = sum(timeline.take_seconds().values())
    assert total_s <= time.perf_counter() - start - paused_s + 1e-3


def test_ctrl_c_stops_it_and_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rndfast", "bench", "--quick", "--output", tmp_path / "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "a random agent plays" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"rndfast: stopped by SIGINT\n", errors)
    assert list(tmp_path.iterdir()) == []


def test_on_a_gpu_two_iterations_warm_up_and_a_last_one_is_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FakeGpu()

    def open_gpu(config: RunConfig, timeline: Timeline, ranks: Ranks) -> GpuCompute:
        timeline.watch_device(gpu)
        on_cpu = dataclasses.replace(config, device="cpu")
        return GpuCompute(on_cpu, torch.device("cpu"), timeline, ranks)

    def plain_iterations(config: Config) -> Iterator[dict[str, float]]:
        del config
        for _ in range(5):  # not in the traced iteration
            yield {}

    monkeypatch.setattr(rndfast.runs.train, "open_compute", open_gpu)
    monkeypatch.setattr(rndfast.runs.train, "resolved", lambda run: run)
    monkeypatch.setattr(bench, "plain_iterations", plain_iterations)
    config = small_config(img_height=SIDE, img_width=SIDE, rollout_steps=4, update_epochs=1)
    run = dataclasses.replace(
        config.run, device="cuda", precision="float32", num_threads=1, run_dir=tmp_path / "run"
    )
    report = bench.measure_training(dataclasses.replace(config, run=run), 3, 1, lambda line: None)
    assert gpu.traces == 1
    assert report["gpu_kernels"] == 1
    assert 0 < report["gpu_busy_share"] < 1
    assert len(report["rndfast"]["wall_s"]["rounds"]) == 3
    # moments are apart by the phases that begin: 4 steps of two halves, each env and inference
    phases = report["gpu_phases_s"]
    assert [len(of_phase["rounds"]) for of_phase in phases.values()] == [3] * len(PHASES)
    assert phases["bonus"]["median"] == phases["learn"]["median"] == pytest.approx(1e-3)
    assert phases["inference"]["median"] == pytest.approx(9e-3)
