"""Ctrl-C, SIGTERM and SIGHUP: the first asks a run to stop, a second Ctrl-C ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

# A second SIGINT that comes so soon is the first once more: `timeout -s INT` and some shells send
# it to the process and to its group.
SAME_SIGNAL_S = 1.0


class Interrupted(BaseException):
    """The run was asked to stop.

    Not an Exception, so that nothing catches it on the way by accident.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


class Interruption:
    """Turns the first SIGINT, SIGTERM or SIGHUP into :class:`Interrupted`.

    It is raised where the main thread is, but held back inside :func:`shielded`. SIGHUP is a
    terminal that was closed. Outside the main thread, where Python delivers no signals, it does
    nothing.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._received_at = 0.0  # by the monotonic clock, in s
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if _is_main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        _shield.held_back = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._received is not None:
            if signum == signal.SIGINT and time.monotonic() - self._received_at > SAME_SIGNAL_S:
                os._exit(128 + signum)
            return
        self._received, self._received_at = signum, time.monotonic()
        if _shield.depth > 0:
            _shield.held_back = Interrupted(signum)
        else:
            raise Interrupted(signum)


class _Shield:
    """Of the main thread, whoever handles its signals."""

    depth = 0
    held_back: Interrupted | None = None


_shield = _Shield()


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Let what is done inside finish before the main thread is interrupted.

    For what must be done as a whole: files that are written, and calls of Python's own queues,
    executors and threads. An exception amid one of these can leave a lock taken, so that another
    thread waits for it for ever.
    """
    if not _is_main_thread():
        yield
        return
    _shield.depth += 1
    try:
        yield
    finally:
        _shield.depth -= 1
    if _shield.depth == 0 and _shield.held_back is not None:
        held_back, _shield.held_back = _shield.held_back, None
        raise held_back


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
