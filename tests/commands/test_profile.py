from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.commands.error_lines import error_of
from tests.tiny import NUM_ENVS, SIDE, STEPS, tiny_config

from rndfast.commands.main import main
from rndfast.commands.profile import find_waits, summary, thread_names
from rndfast.config import to_toml
from rndfast.envs.atari import AtariVectorEnv
from rndfast.presets import PRESETS
from rndfast.runtime.spans import Phases, merged
from rndfast.runtime.timeline import DEVICE_THREAD, PHASE_THREAD, PHASES, Span, Timeline

THREADS = 2
Event = dict[str, Any]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with settings of a tiny run."""
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(to_toml(tiny_config(Path("unused"), num_threads=THREADS)))
    return path


@pytest.fixture(scope="module")
def trace(settings: Path) -> dict[str, Any]:
    """The trace of a tiny run, written over an older one."""
    output = settings.with_name("trace.json")
    output.write_text("old")
    assert main(["profile", "--config", str(settings), "--output", str(output)]) == 0
    assert sorted(path.name for path in settings.parent.iterdir()) == ["tiny.toml", "trace.json"]
    loaded: dict[str, Any] = json.loads(output.read_text())
    return loaded


def spans_by_thread(trace: dict[str, Any]) -> dict[str, list[Event]]:
    """Spans under the names of their threads, in order of their starts."""
    names = {
        event["tid"]: event["args"]["name"]
        for event in trace["traceEvents"]
        if event["name"] == "thread_name"
    }
    threads = defaultdict(list)
    for event in sorted(
        (event for event in trace["traceEvents"] if event["ph"] == "X"),
        key=lambda event: event["ts"],
    ):
        threads[names[event["tid"]]].append(event)
    return threads


def test_every_event_is_one_that_chrome_reads(trace: dict[str, Any]) -> None:
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X"}
    for event in trace["traceEvents"]:
        assert {"name", "pid", "tid"} <= event.keys()
        assert isinstance(event["name"], str)
        assert isinstance(event["tid"], int)
        assert event["pid"] == os.getpid()
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] >= 0
    assert "num_envs = 4" in trace["otherData"]["settings"]


def test_every_thread_is_there_and_does_one_thing_at_a_time(trace: dict[str, Any]) -> None:
    threads = spans_by_thread(trace)
    assert threads.keys() <= {
        PHASE_THREAD,
        *(f"kernel worker {number}" for number in range(THREADS)),
        *(f"env worker {number}" for number in range(THREADS + 1)),  # the last is who waits
        *(f"rndfast_{number}" for number in range(THREADS)),
        threading.main_thread().name,  # which computes a piece that is alone
    }
    for kind in ("env worker", "kernel worker 0", "rndfast_", PHASE_THREAD):
        assert any(name.startswith(kind) for name in threads)
    for spans in threads.values():
        for span, after in itertools.pairwise(spans):
            assert span["ts"] + span["dur"] <= after["ts"] + 0.001  # rounded


def test_the_phases_are_an_iteration_without_gaps(trace: dict[str, Any]) -> None:
    phases = spans_by_thread(trace)[PHASE_THREAD]
    assert {phase["name"] for phase in phases} == set(PHASES)
    assert [phase["name"] for phase in phases[:1] + phases[-1:]] == ["log", "log"]
    assert phases[0]["ts"] == 0
    for phase, after in itertools.pairwise(phases):
        assert phase["ts"] + phase["dur"] == pytest.approx(after["ts"], abs=0.001)


def test_work_lies_in_the_phases_that_it_belongs_to(trace: dict[str, Any]) -> None:
    threads = spans_by_thread(trace)
    phases = threads.pop(PHASE_THREAD)
    allowed = {name: {name} for name in PHASES}
    allowed["kernel"] = {"bonus"}  # the pixel statistics
    allowed["env"] = {"env", "inference"}  # of the other half
    iteration_us = phases[-1]["ts"] + phases[-1]["dur"]
    for span in (span for spans in threads.values() for span in spans):
        start, end = span["ts"], span["ts"] + span["dur"]
        assert start >= 0
        assert end <= iteration_us
        met = {
            phase["name"]
            for phase in phases
            if phase["ts"] < end - 0.001 and phase["ts"] + phase["dur"] > start + 0.001
        }
        assert met <= allowed[span["name"]], span


def test_every_step_of_every_environment_is_there_once(trace: dict[str, Any]) -> None:
    threads = spans_by_thread(trace)
    items = [
        span["args"]["item"]
        for name, spans in threads.items()
        if name.startswith("env")
        for span in spans
    ]
    assert sorted(items) == sorted(list(range(NUM_ENVS)) * STEPS)


def test_an_environment_traces_only_what_was_asked_for() -> None:
    envs = AtariVectorEnv("pong", num_envs=3, num_threads=2, img_height=SIDE, img_width=SIDE)
    envs.reset(seed=0)
    assert len(envs.take_trace()) == 0
    envs.start_trace(7)
    begin_ns = time.perf_counter_ns()
    for _ in range(2):
        envs.step(np.zeros(3, np.int64))
    end_ns = time.perf_counter_ns()
    envs.send(np.zeros(1, np.int64), np.array([2]))
    envs.recv()
    spans = envs.take_trace()
    assert spans.shape == (7,)
    assert sorted(spans["item"][:6].tolist()) == [0, 0, 1, 1, 2, 2]
    assert spans["item"][6] == 2
    assert set(spans["thread"].tolist()) <= {0, 1, 2}  # 2 is who waits
    # one clock on both sides
    assert (spans["start_ns"][:6] > begin_ns).all()
    assert (spans["end_ns"] > spans["start_ns"]).all()
    assert (spans["end_ns"][:6] < end_ns).all()
    with pytest.raises(TypeError, match=r"max_spans must be an int, got float 2\.0"):
        envs.start_trace(2.0)  # type: ignore[arg-type]
    for wrong in (0, 2**24 + 1):
        with pytest.raises(ValueError, match=rf"max_spans must be in \[1, 16777216\], got {wrong}"):
            envs.start_trace(wrong)
    envs.close()
    with pytest.raises(RuntimeError, match="the environment is closed"):
        envs.take_trace()


def test_a_timeline_that_keeps_no_spans_leaves_work_as_it_is() -> None:
    timeline = Timeline()
    assert timeline.noting(abs) is abs
    with timeline.span("work"):
        timeline.enter("env")
    assert timeline.spans == []


def test_work_is_noted_on_the_thread_that_did_it_after_the_phase_that_asked_for_it() -> None:
    timeline = Timeline(keeps_spans=True)
    timeline.enter("learn")
    results: list[int] = []
    noted = timeline.noting(results.append)
    timeline.enter("log")
    thread = threading.Thread(target=noted, args=(3,), name="helper")
    thread.start()
    thread.join()
    assert results == [3]
    spans = [span for span in timeline.spans if span.thread != PHASE_THREAD]
    assert [(span.name, span.thread) for span in spans] == [("learn", "helper")]
    assert spans[0].start_ns <= spans[0].end_ns


# phases: env 0-100, learn 100-300, log 300-400 (ms)
SPANS = [
    Span(name, thread, start * 10**6, end * 10**6)
    for name, thread, start, end in (
        ("env", PHASE_THREAD, 0, 100),
        ("learn", PHASE_THREAD, 100, 300),
        ("log", PHASE_THREAD, 300, 400),
        ("env", "env worker 0", 10, 60),
        ("env", "env worker 1", 20, 30),
        ("env", "env worker 1", 30, 90),
        ("learn", "rndfast_0", 100, 150),
        ("learn", "rndfast_0", 170, 290),
        ("env", "env worker 10", 80, 120),  # into the next phase
    )
]


def test_waits_end_with_the_next_work_or_the_phase() -> None:
    phases = Phases(SPANS)
    work = {
        thread: [span for span in SPANS if span.thread == thread]
        for thread in thread_names(SPANS)[1:]
    }
    found = [
        (wait.thread, wait.time.phase, wait.time.start_ns // 10**6, wait.ns // 10**6)
        for wait in find_waits(work, phases)
    ]
    assert found == [
        ("env worker 0", "env", 60, 40),
        ("env worker 1", "env", 90, 10),
        ("env worker 10", "learn", 120, 180),
        ("rndfast_0", "learn", 150, 20),
        ("rndfast_0", "learn", 290, 10),
    ]
    assert list(merged([])) == []


def test_the_summary_adds_up() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(*summary(SPANS))
    rows = [line.split() for line in capture.get().splitlines()]
    assert ["env", "0.100", "25.0%", "1.40", "0.010"] in rows  # 50 + 70 + 20 ms of work
    assert ["learn", "0.200", "50.0%", "0.95", "0.030"] in rows
    assert ["log", "0.100", "25.0%", "0.00", "0.100"] in rows
    assert ["iteration", "0.400", "100.0%", "0.82", "0.140"] in rows
    assert ["env", "worker", "1", "0.070", "17.5%", "0.010", "2", "60.00"] in rows
    assert ["rndfast_0", "0.170", "42.5%", "0.030", "2", "120.00"] in rows
    waits = rows[rows.index(["longest", "waits", "phase", "ms", "at", "s"]) + 1 :]
    assert waits[:2] == [
        ["env", "worker", "10", "learn", "180.00", "0.1200"],
        ["env", "worker", "0", "env", "40.00", "0.0600"],
    ]


def test_a_gpu_has_tables_of_its_own_and_is_no_thread() -> None:
    stream = f"{DEVICE_THREAD} stream 7"
    kernels = [
        Span(name, stream, start * 10**6, end * 10**6)
        for name, start, end in (("matmul", 90, 140), ("copy", 130, 150), ("matmul", 200, 260))
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(*summary(SPANS + kernels))
    rows = [line.split() for line in capture.get().splitlines()]
    assert ["env", "1", "0.010", "10.0%"] in rows
    assert ["learn", "2", "0.110", "55.0%"] in rows  # 50 of the first two, 60 of the third
    assert ["iteration", "3", "0.120", "30.0%"] in rows
    assert ["matmul", "2", "110.00"] in rows
    assert ["copy", "1", "20.00"] in rows
    with console.capture() as capture:
        console.print(*summary(SPANS))
    without = [line.split() for line in capture.get().splitlines()]
    assert rows[: len(without)] == without


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output=nowhere/trace.json"], "No such file or directory: nowhere"),
        (["--output=."], "Is a directory: ."),
        (["--num-envs=1"], "num_envs must be a multiple of num_minibatches (4), got 1"),
        (["--rollout-steps=1000000"], "must be at most 1,048,576 for a trace, got 128,000,000"),
        (["--config=nowhere.toml"], "No such file or directory: nowhere.toml"),
    ],
)
def test_what_cannot_work_is_known_before_training(
    empty_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rndfast.commands.profile.train", lambda *_, **__: pytest.fail("it trains"))
        assert message in error_of(capsys, "profile", *arguments)
    assert list(empty_dir.iterdir()) == []


def test_flags_go_before_the_file_and_the_file_before_the_preset(settings: Path) -> None:
    from rndfast.commands.arguments import ProfileArguments

    assert ProfileArguments().settings() == PRESETS["paper"]
    laptop = ProfileArguments(preset="laptop", num_envs=8, precision="bfloat16").settings()
    assert (laptop.env.num_envs, laptop.ppo.rollout_steps) == (8, 64)
    assert laptop.run.precision == "bfloat16"
    tiny = ProfileArguments(config=settings, rollout_steps=7, num_threads=1).settings()
    assert (tiny.env.num_envs, tiny.ppo.rollout_steps, tiny.run.num_threads) == (NUM_ENVS, 7, 1)
    assert tiny.ppo.num_minibatches == 2


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, settings: Path) -> None:
    endless = settings.read_text().replace("update_epochs = 1", "update_epochs = 1000000")
    settings.with_name("endless.toml").write_text(endless)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rndfast",
            "profile",
            "--config",
            settings.with_name("endless.toml"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(
        tmp_path.glob(".rndfast-profile-*/run/checkpoints/*/manifest.json")
    ):  # it trains
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines() == ["rndfast: stopped by SIGINT"]
    assert list(tmp_path.iterdir()) == []
