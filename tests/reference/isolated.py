"""Calls in child processes: what hangs or ends a process is named, and the rest still runs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What a call returned, or how it failed to."""

    arguments: tuple[Any, ...]
    value: Any
    failure: str | None


def _work(connection: Connection, function: Callable[..., Any]) -> None:
    while (arguments := connection.recv()) is not None:
        connection.send(function(*arguments))


class _Worker:
    """One child process, and the call that it is busy with."""

    def __init__(self, function: Callable[..., Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, end_of_child = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(end_of_child, function), daemon=True
        )
        self.process.start()
        end_of_child.close()
        self.arguments: tuple[Any, ...] | None = None

    def begin(self, arguments: tuple[Any, ...] | None) -> None:
        self.arguments = arguments
        self.connection.send(arguments)

    def outcome(self) -> Outcome:
        assert self.arguments is not None
        try:
            return Outcome(self.arguments, self.connection.recv(), None)
        except EOFError:
            self.process.join()
            failure = f"the process ended with exit code {self.process.exitcode}"
            return Outcome(self.arguments, None, failure)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def run_isolated(
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    timeout: float,
    num_workers: int = 1,
) -> Iterator[Outcome]:
    """Call a function of some module in child processes, and yield the outcomes as they come.

    Args:
        function: What to call.
        calls: The arguments of each call.
        timeout: Seconds without any outcome after which the calls in progress are given up.
        num_workers: How many processes to use. Each makes many calls, until one fails.
    """
    waiting = list(reversed(calls))
    busy: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < num_workers:
                busy.append(_Worker(function))
                busy[-1].begin(waiting.pop())
            ready = wait([worker.connection for worker in busy], timeout)
            for worker in [w for w in busy if not ready or w.connection in ready]:
                if ready:
                    outcome = worker.outcome()
                else:
                    assert worker.arguments is not None
                    outcome = Outcome(worker.arguments, None, f"no result within {timeout:g} s")
                if outcome.failure is None and waiting:
                    worker.begin(waiting.pop())
                else:
                    worker.stop()
                    busy.remove(worker)
                yield outcome
    finally:
        for worker in busy:
            worker.stop()
