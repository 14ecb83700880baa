"""Where the time goes: phases of an iteration without gaps, and what every thread does in them."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from numpy.typing import NDArray

PHASES = ("env", "inference", "bonus", "advantages", "learn", "log")
# Spans of phases name this as their thread. They are the training thread's, which is in some phase
# at any time.
PHASE_THREAD = "phases"
# Spans on a GPU name a thread that begins with this.
DEVICE_THREAD = "GPU"
# So many spans are kept at most of each kind of the core's threads, of consoles and of kernels.
MAX_SPANS = 2**20

Result = TypeVar("Result")
Argument = TypeVar("Argument")


class Span(NamedTuple):
    """Work on one thread, by the clock of `time.perf_counter_ns`.

    ``item`` tells equal work apart: for the consoles it is the number of the environment.
    """

    name: str
    thread: str
    start_ns: int
    end_ns: int
    item: int | None = None


class TracedThreads(Protocol):
    """Threads of the compiled core, which note what they work on while a trace is taken."""

    def start_trace(self, max_spans: int) -> None:
        """Begin to note it, at most so many spans."""

    def take_trace(self) -> NDArray[Any]:
        """Stop; returns records of ``start_ns``, ``end_ns``, ``thread`` and ``item``."""


class Moment(Protocol):
    """When a device came to some point of its work."""

    def seconds_until(self, later: Any) -> float:
        """Wait for a later moment; the time in between, by the device's clock."""


class TracedDevice(Protocol):
    """A device with a clock of its own, which works behind the host."""

    def now(self) -> Moment:
        """Note when it will have done all that it has been given."""

    def start_trace(self) -> None:
        """Begin to note what it does."""

    def take_trace(self) -> list[Span]:
        """Stop; what it did."""


class Timeline:
    """The phases of the training thread, which add up to its wall time, and spans of any thread.

    Args:
        keeps_spans: Keep a span of every phase and of all work done in `span`, for a trace.
        times_device: Also time the phases by the clock of the device that does the work, if it has
            one.
    """

    def __init__(self, *, keeps_spans: bool = False, times_device: bool = False) -> None:
        self.keeps_spans, self.times_device = keeps_spans, times_device
        self._device: TracedDevice | None = None
        self._moments: list[tuple[str, Moment]] = []  # when the device came to a phase
        self.spans: list[Span] = []
        self._watched: dict[str, TracedThreads] = {}
        self._phase = PHASES[-1]
        self._phase_start_ns = time.perf_counter_ns()
        self._phase_ns = dict.fromkeys(PHASES, 0)

    def enter(self, phase: str) -> None:
        """End the present phase and begin another."""
        now_ns = time.perf_counter_ns()
        self._phase_ns[self._phase] += now_ns - self._phase_start_ns
        if self.keeps_spans:
            self.spans.append(Span(self._phase, PHASE_THREAD, self._phase_start_ns, now_ns))
        self._phase, self._phase_start_ns = phase, now_ns
        if self._device is not None and self.times_device:
            self._moments.append((phase, self._device.now()))

    def take_seconds(self) -> dict[str, float]:
        """Wall seconds of each phase since the last call; together, the time between the calls."""
        self.enter(self._phase)
        seconds = {phase: ns / 1e9 for phase, ns in self._phase_ns.items()}
        self._phase_ns = dict.fromkeys(PHASES, 0)
        return seconds

    def take_device_seconds(self) -> dict[str, float]:
        """The same by the device's clock: from when it came to a phase until it came to the next.

        Waits for the device. Empty if it is not timed.
        """
        if self._device is None or not self.times_device:
            return {}
        self._moments.append((self._phase, self._device.now()))
        seconds = dict.fromkeys(PHASES, 0.0)
        for (phase, moment), (_, later) in itertools.pairwise(self._moments):
            seconds[phase] += moment.seconds_until(later)
        del self._moments[:-1]
        return seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Count the time of what is done inside to no phase, on the host."""
        self.enter(self._phase)
        yield
        self._phase_start_ns = time.perf_counter_ns()

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Note work of the calling thread, if spans are kept."""
        if not self.keeps_spans:
            yield
            return
        start_ns = time.perf_counter_ns()
        yield
        thread = threading.current_thread().name
        self.spans.append(Span(name, thread, start_ns, time.perf_counter_ns()))

    def noting(self, work: Callable[[Argument], Result]) -> Callable[[Argument], Result]:
        """``work`` with a `span` around each call, named after the present phase."""
        if not self.keeps_spans:
            return work
        phase = self._phase

        def noted(argument: Argument) -> Result:
            with self.span(phase):
                return work(argument)

        return noted

    def watch(self, name: str, threads: TracedThreads) -> None:
        """Include these threads in traces; their spans are called ``name``."""
        self._watched[name] = threads

    def watch_device(self, device: TracedDevice) -> None:
        """Include this device in traces, and time phases by it."""
        self._device = device

    def start_trace(self) -> None:
        """Forget the spans so far, and ask the watched threads and the device for theirs."""
        if self._device is not None:
            begin_ns = time.perf_counter_ns()
            self._device.start_trace()  # which takes its time, and that belongs to no phase
            self._phase_start_ns += time.perf_counter_ns() - begin_ns
        self.spans.clear()
        for threads in self._watched.values():
            threads.start_trace(MAX_SPANS)

    def take_trace(self) -> list[Span]:
        """End the trace; the spans since `start_trace`, of watched threads and the device too."""
        spans = self.spans.copy()
        if self._device is not None:
            spans += self._device.take_trace()
        for name, threads in self._watched.items():
            # steady_clock, by which the core's threads note, is the clock of perf_counter_ns
            spans += [
                Span(name, f"{name} worker {thread}", start_ns, end_ns, item)
                for start_ns, end_ns, thread, item in threads.take_trace().tolist()
            ]
        return spans
