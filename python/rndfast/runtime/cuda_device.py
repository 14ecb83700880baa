"""What a CUDA GPU did and when, on the host's time line."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch._C._autograd import DeviceType

from rndfast.runtime.timeline import DEVICE_THREAD, Span


class CudaMoment:
    """An event in the GPU's queue of work."""

    def __init__(self) -> None:
        self._event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._event.record()

    def seconds_until(self, later: CudaMoment) -> float:
        """Wait for a later moment; the time in between, by the GPU's clock."""
        later._event.synchronize()
        return float(self._event.elapsed_time(later._event)) / 1e3


class CudaDevice:
    """The present CUDA GPU, as `rndfast.runtime.timeline.TracedDevice`.

    Args:
        activities: What the profiler notes; None: kernels and copies.
    """

    def __init__(self, activities: list[Any] | None = None) -> None:
        self._activities = activities or [torch.profiler.ProfilerActivity.CUDA]
        self._profiler: Any = None

    def now(self) -> CudaMoment:
        """Note when the GPU will have done all that it has been given."""
        return CudaMoment()

    def start_trace(self) -> None:
        """Begin to note what the GPU does; this takes a moment."""
        self._synchronize()
        self._profiler = torch.profiler.profile(activities=self._activities)
        self._profiler.start()

    def take_trace(self) -> list[Span]:
        """Stop; a span for each kernel and copy, on the thread of its stream."""
        self._synchronize()
        offset_ns = wall_clock_offset_ns()
        self._profiler.stop()
        events = self._profiler.profiler.kineto_results.events()
        self._profiler = None
        return spans_of(events, offset_ns)

    def _synchronize(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()


class ProfiledEvent(Protocol):
    """What torch's profiler notes; times are those of the wall clock, `time.time_ns`."""

    def name(self) -> str:
        """Of the kernel, or of the kind of copy."""

    def start_ns(self) -> int:
        """When it began."""

    def duration_ns(self) -> int:
        """How long it lasted."""

    def device_type(self) -> Any:
        """Where: ``torch.autograd.DeviceType``."""

    def device_resource_id(self) -> int:
        """The stream, on a GPU."""


def spans_of(events: Iterable[ProfiledEvent], offset_ns: int) -> list[Span]:
    """What of the events happened on a GPU, in the clock of `time.perf_counter_ns`.

    Args:
        events: Those of the profiler.
        offset_ns: What the wall clock is ahead of that clock.
    """
    spans = []
    for event in events:
        if event.device_type() != DeviceType.CPU:
            start_ns = event.start_ns() - offset_ns
            thread = f"{DEVICE_THREAD} stream {event.device_resource_id()}"
            spans.append(Span(event.name(), thread, start_ns, start_ns + event.duration_ns()))
    return spans


def wall_clock_offset_ns() -> int:
    """What `time.time_ns` is ahead of `time.perf_counter_ns`, to a few microseconds.

    Of some readings, the one that nothing came between.
    """
    readings = []
    for _ in range(16):
        before_ns = time.perf_counter_ns()
        wall_ns = time.time_ns()
        after_ns = time.perf_counter_ns()
        readings.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return min(readings)[1]
