"""What a trace's spans add up to: in which phase work was done, and what a GPU did."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rndfast.runtime.timeline import DEVICE_THREAD, PHASE_THREAD, PHASES, Span


class PhaseTime(NamedTuple):
    """Some time within one phase."""

    phase: str
    start_ns: int
    end_ns: int


class Phases:
    """The phases of an iteration in turn, without gaps between them."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = [span for span in spans if span.thread == PHASE_THREAD]
        self._starts = [span.start_ns for span in self.spans]
        self.begin_ns = self._starts[0]
        self.wall_ns = self.spans[-1].end_ns - self.begin_ns

    def split(self, start_ns: int, end_ns: int) -> Iterator[PhaseTime]:
        """Cut some time where phases meet."""
        index = max(bisect.bisect_right(self._starts, start_ns) - 1, 0)
        for phase in itertools.islice(self.spans, index, None):
            if phase.start_ns >= end_ns:
                break
            start, end = max(start_ns, phase.start_ns), min(end_ns, phase.end_ns)
            if end > start:
                yield PhaseTime(phase.name, start, end)

    def at(self, moment_ns: int) -> str:
        """The phase at some moment; the first before all, the last after all."""
        return self.spans[max(bisect.bisect_right(self._starts, moment_ns) - 1, 0)].name

    def add_up(self, times: Iterable[tuple[int, int]]) -> dict[str, int]:
        """Nanoseconds of some times in each phase."""
        total_ns = dict.fromkeys(PHASES, 0)
        for start_ns, end_ns in times:
            for part in self.split(start_ns, end_ns):
                total_ns[part.phase] += part.end_ns - part.start_ns
        return total_ns


def merged(spans: list[Span]) -> Iterator[tuple[int, int]]:
    """Times at which at least one of the spans lasts."""
    ordered = sorted((span.start_ns, span.end_ns) for span in spans)
    start_ns, end_ns = ordered[0] if ordered else (0, 0)
    for next_start_ns, next_end_ns in ordered[1:]:
        if next_start_ns > end_ns:
            yield start_ns, end_ns
            start_ns = next_start_ns
        end_ns = max(end_ns, next_end_ns)
    if ordered:
        yield start_ns, end_ns


class DeviceUse(NamedTuple):
    """What a GPU did during one phase, or during all: kernels and copies, by when they began."""

    kernels: int
    busy_ns: int
    wall_ns: int

    @property
    def busy_share(self) -> float:
        """Share of the time in which at least one was at work; 0 where there was no time."""
        return self.busy_ns / self.wall_ns if self.wall_ns else 0.0


def is_of_device(span: Span) -> bool:
    """Whether it is a kernel, or a copy, on a GPU."""
    return span.thread.startswith(DEVICE_THREAD)


def device_use(spans: list[Span]) -> dict[str, DeviceUse]:
    """By phase, and in the whole ``"iteration"``; empty if no GPU was at work."""
    on_device = [span for span in spans if is_of_device(span)]
    if not on_device:
        return {}
    phases = Phases(spans)
    wall_ns = phases.add_up((span.start_ns, span.end_ns) for span in phases.spans)
    busy_ns = phases.add_up(merged(on_device))
    kernels = dict.fromkeys(PHASES, 0)
    for span in on_device:
        kernels[phases.at(span.start_ns)] += 1
    use = {name: DeviceUse(kernels[name], busy_ns[name], wall_ns[name]) for name in PHASES}
    total = DeviceUse(*(sum(column) for column in zip(*use.values(), strict=True)))
    return {**use, "iteration": total}


class KernelTime(NamedTuple):
    """All runs of one kernel, or of one kind of copy."""

    name: str
    num_runs: int
    total_ns: int


def longest_kernels(spans: list[Span], number: int) -> list[KernelTime]:
    """What took a GPU the most time, the longest first."""
    times: dict[str, KernelTime] = {}
    for span in filter(is_of_device, spans):
        _, num_runs, total_ns = times.get(span.name, KernelTime(span.name, 0, 0))
        duration_ns = span.end_ns - span.start_ns
        times[span.name] = KernelTime(span.name, num_runs + 1, total_ns + duration_ns)
    return sorted(times.values(), key=lambda time: time.total_ns, reverse=True)[:number]
