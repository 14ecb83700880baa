"""Phases by the clock of a device, and its work in traces; the device is a fake one."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import torch

from rndfast.runtime.cuda_device import spans_of, wall_clock_offset_ns
from rndfast.runtime.spans import DeviceUse, device_use, longest_kernels
from rndfast.runtime.timeline import DEVICE_THREAD, PHASE_THREAD, PHASES, Span, Timeline


@dataclass
class FakeMoment:
    seconds: float

    def seconds_until(self, later: FakeMoment) -> float:
        return later.seconds - self.seconds


class FakeDevice:
    """Every moment is one second after the one before."""

    def __init__(self, seconds_to_start: float = 0.0) -> None:
        self.seconds = 0.0
        self.seconds_to_start = seconds_to_start

    def now(self) -> FakeMoment:
        self.seconds += 1
        return FakeMoment(self.seconds)

    def start_trace(self) -> None:
        time.sleep(self.seconds_to_start)

    def take_trace(self) -> list[Span]:
        return [Span("kernel", f"{DEVICE_THREAD} stream 7", 1, 2)]


def test_phases_last_on_a_device_until_it_comes_to_the_next() -> None:
    timeline = Timeline(times_device=True)
    timeline.watch_device(FakeDevice())
    timeline.enter("env")
    for phase in ("inference", "env", "learn"):
        timeline.enter(phase)
    expected = dict.fromkeys(PHASES, 0.0) | {"env": 2.0, "inference": 1.0, "learn": 1.0}
    assert timeline.take_device_seconds() == expected
    timeline.enter("log")
    expected = dict.fromkeys(PHASES, 0.0) | {"learn": 1.0, "log": 1.0}
    assert timeline.take_device_seconds() == expected


@pytest.mark.parametrize("times_device", [False, True])
def test_without_a_device_or_the_wish_nothing_is_timed(times_device: bool) -> None:
    timeline = Timeline(times_device=times_device)
    device = FakeDevice()
    if not times_device:
        timeline.watch_device(device)
    timeline.enter("env")
    assert timeline.take_device_seconds() == {}
    assert device.seconds == 0


def test_what_starting_the_trace_of_a_device_takes_belongs_to_no_phase() -> None:
    timeline = Timeline(keeps_spans=True)
    timeline.watch_device(FakeDevice(0.05))
    timeline.enter("log")
    timeline.start_trace()
    started_ns = time.perf_counter_ns()
    timeline.enter("env")
    timeline.enter("log")
    spans = timeline.take_trace()
    assert [span.name for span in spans] == ["log", "env", "kernel"]
    # what came before the device's start is still in the phase, but nothing of these 50 ms
    assert started_ns - 50e6 < spans[0].start_ns <= started_ns


@dataclass
class FakeEvent:
    """As of torch's profiler."""

    what: str
    begin: int
    length: int
    where: object
    stream: int = 0

    def name(self) -> str:
        return self.what

    def start_ns(self) -> int:
        return self.begin

    def duration_ns(self) -> int:
        return self.length

    def device_type(self) -> object:
        return self.where

    def device_resource_id(self) -> int:
        return self.stream


def test_events_on_a_gpu_become_spans_of_its_streams() -> None:
    device_type = torch._C._autograd.DeviceType
    events = [
        FakeEvent("matmul", 1_000_000, 300, device_type.CUDA, 7),
        FakeEvent("aten::mm", 1_000_000, 900, device_type.CPU),
        FakeEvent("Memcpy HtoD", 1_000_500, 200, device_type.CUDA, 13),
    ]
    assert spans_of(events, 999_000) == [
        Span("matmul", f"{DEVICE_THREAD} stream 7", 1_000, 1_300),
        Span("Memcpy HtoD", f"{DEVICE_THREAD} stream 13", 1_500, 1_700),
    ]


def test_what_torch_notes_lies_where_it_happened() -> None:
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    profiler.start()
    matrix = torch.rand(200, 200)
    before_ns = time.perf_counter_ns()
    for _ in range(100):
        _ = matrix @ matrix
    after_ns = time.perf_counter_ns()
    offset_ns = wall_clock_offset_ns()
    profiler.stop()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "aten::mm"]  # type: ignore[union-attr]
    assert len(events) == 100
    tolerance_ns = 1_000_000  # of the profiler's own conversion
    for event in events:
        start_ns = event.start_ns() - offset_ns
        assert start_ns > before_ns - tolerance_ns
        assert start_ns + event.duration_ns() < after_ns + tolerance_ns


def test_the_use_of_a_device_adds_up() -> None:
    spans = [
        Span("env", PHASE_THREAD, 0, 100),
        Span("learn", PHASE_THREAD, 100, 300),
        Span("env", "env worker 0", 0, 100),
        Span("copy", f"{DEVICE_THREAD} stream 7", 90, 120),  # begins in env, goes on in learn
        Span("matmul", f"{DEVICE_THREAD} stream 7", 120, 200),
        Span("matmul", f"{DEVICE_THREAD} stream 8", 190, 210),  # at the same time
    ]
    use = device_use(spans)
    assert use["env"] == DeviceUse(kernels=1, busy_ns=10, wall_ns=100)
    assert use["learn"] == DeviceUse(kernels=2, busy_ns=110, wall_ns=200)
    assert use["iteration"] == DeviceUse(kernels=3, busy_ns=120, wall_ns=300)
    assert use["iteration"].busy_share == 0.4
    assert use["log"].busy_share == 0.0
    assert longest_kernels(spans, 1) == [("matmul", 2, 100)]
    assert device_use(spans[:3]) == {}
