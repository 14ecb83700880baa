"""Where the time goes: phases of an iteration without gaps, and what every thread does in them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

PHASES = ("env", "inference", "bonus", "advantages", "learn", "log")


class Span(NamedTuple):
    """Work on one thread, by the clock of `time.perf_counter_ns`."""

    name: str
    thread: str
    start_ns: int
    end_ns: int


class Timeline:
    """The phases of the training thread, which add up to its wall time, and spans of any thread.

    Args:
        keeps_spans: Keep a span of every phase and of all work done in `span`, for a trace.
    """

    def __init__(self, *, keeps_spans: bool = False) -> None:
        self.keeps_spans = keeps_spans
        self.spans: list[Span] = []
        self._phase = PHASES[-1]
        self._phase_start_ns = time.perf_counter_ns()
        self._phase_ns = dict.fromkeys(PHASES, 0)

    def enter(self, phase: str) -> None:
        """End the present phase and begin another."""
        now_ns = time.perf_counter_ns()
        self._phase_ns[self._phase] += now_ns - self._phase_start_ns
        if self.keeps_spans:
            self._keep(self._phase, self._phase_start_ns, now_ns)
        self._phase, self._phase_start_ns = phase, now_ns

    def take_seconds(self) -> dict[str, float]:
        """Wall seconds of each phase since the last call; together, the time between the calls."""
        self.enter(self._phase)
        seconds = {phase: ns / 1e9 for phase, ns in self._phase_ns.items()}
        self._phase_ns = dict.fromkeys(PHASES, 0)
        return seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave a block's time out of every phase."""
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
        self._keep(name, start_ns, time.perf_counter_ns())

    def _keep(self, name: str, start_ns: int, end_ns: int) -> None:
        self.spans.append(Span(name, threading.current_thread().name, start_ns, end_ns))
