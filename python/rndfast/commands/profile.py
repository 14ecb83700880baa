"""``rndfast profile``: one training iteration as a trace, and where its time goes."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

import rndfast
from rndfast.commands.display import number
from rndfast.config import Config, to_toml
from rndfast.runs.metrics import Metrics
from rndfast.runs.train import train
from rndfast.runtime.compute import resolve_device
from rndfast.runtime.durable_files import replace_durably
from rndfast.runtime.interruption import Interruption
from rndfast.runtime.spans import (
    DeviceUse,
    KernelTime,
    Phases,
    PhaseTime,
    device_use,
    is_of_device,
    longest_kernels,
    merged,
)
from rndfast.runtime.terminal import WholeTable, open_console
from rndfast.runtime.timeline import MAX_SPANS, PHASE_THREAD, PHASES, Span, Timeline

# Rollouts before the traced one. After one, the optimiser's memory and torch's caches are there; in
# the second, a GPU's passes are captured.
WARM_UP_ROLLOUTS = 1
WARM_UP_ROLLOUTS_ON_GPU = 2
# The summary lists this many waits, the longest ones.
LISTED_WAITS = 8
# And this many kernels of a GPU, by so much of their names, which are long.
LISTED_KERNELS = 12
KERNEL_WIDTH = 70


def profile(config: Config, output: Path) -> None:
    """Trace an iteration of training, write it to ``output`` and print a summary.

    Args:
        config: Settings. Those of where and how long the run goes, its tracker and the length of
            the random agent's play are not read.
        output: A file in Chrome's trace format; replaced if it exists.

    Raises:
        OSError: The file could not be written; known before anything is started.
        ValueError: The rollout is too large for a trace, or a setting does not fit this machine.
        Interrupted: Ctrl-C or SIGTERM. Nothing is left behind.
    """
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
    if not output.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(output.parent))
    if config.rollout_transitions > MAX_SPANS:
        raise ValueError(
            f"num_envs x rollout_steps must be at most {MAX_SPANS:,} for a trace, "
            f"got {config.rollout_transitions:,}"
        )
    console = open_console()
    console.print(
        f"{config.env.num_envs} environments x {config.ppo.rollout_steps} steps", soft_wrap=True
    )
    # the run's directory is made where the trace shall be: whether that is possible shows now
    with (
        Interruption(),
        tempfile.TemporaryDirectory(prefix=".rndfast-profile-", dir=output.parent) as directory,
    ):
        spans, device_seconds = trace_iteration(config, Path(directory) / "run", console)
        replace_durably(output, json.dumps(chrome_trace(spans, config)).encode())
    for table in summary(spans):
        console.print(table, "")
    if device_seconds:
        by_phase = ", ".join(f"{name} {s:.3f}" for name, s in device_seconds.items() if s > 0)
        console.print(f"seconds of each phase by the GPU's clock: {by_phase}", "", soft_wrap=True)
    console.print(f"open {output} at https://ui.perfetto.dev or chrome://tracing", soft_wrap=True)


def trace_iteration(
    config: Config, run_dir: Path, console: Console
) -> tuple[list[Span], dict[str, float]]:
    """Spans of one iteration of training, after others; on a GPU, seconds by its clock too.

    It lasts, as in a run's metrics, from the end of one row of metrics to that of the next.
    """
    timeline = Timeline(keeps_spans=True, times_device=True)
    transitions = config.rollout_transitions
    is_on_gpu = resolve_device(config.run) == "cuda"
    num_warm_up = WARM_UP_ROLLOUTS_ON_GPU if is_on_gpu else WARM_UP_ROLLOUTS
    config = dataclasses.replace(
        config,
        # statistics that are a little worse cost the same time
        rnd=dataclasses.replace(config.rnd, obs_norm_steps=config.ppo.rollout_steps),
        run=dataclasses.replace(
            config.run,
            run_dir=run_dir,
            total_transitions=(num_warm_up + 1) * transitions,
            tracker="none",
        ),
    )
    spans: list[Span] = []
    device_seconds: dict[str, float] = {}

    def view(update: Metrics | str) -> None:
        if isinstance(update, str):
            console.print(update, soft_wrap=True)
        elif update["transitions"] == num_warm_up * transitions:
            iteration_s = number(update["perf/iteration_s"])
            console.print(f"warmed up; the last iteration took {iteration_s} s, the next is traced")
            timeline.take_device_seconds()
            timeline.start_trace()
        elif update["transitions"] == config.run.total_transitions:
            spans.extend(timeline.take_trace())
            device_seconds.update(timeline.take_device_seconds())

    train(config, view=view, timeline=timeline)
    return spans, device_seconds


def chrome_trace(spans: list[Span], config: Config) -> dict[str, Any]:
    """Spans in Chrome's trace format; times are microseconds since the iteration began."""
    begin_ns = min(span.start_ns for span in spans)
    pid = os.getpid()
    threads = {thread: tid for tid, thread in enumerate(thread_names(spans))}
    events: list[dict[str, Any]] = [
        metadata_event("process_name", pid, 0, name=f"rndfast {rndfast.__version__}")
    ]
    for thread, tid in threads.items():
        events.append(metadata_event("thread_name", pid, tid, name=thread))
        events.append(metadata_event("thread_sort_index", pid, tid, sort_index=tid))
    for span in sorted(spans, key=lambda span: span.start_ns):
        event = {
            "ph": "X",
            "name": span.name,
            "pid": pid,
            "tid": threads[span.thread],
            "ts": (span.start_ns - begin_ns) / 1e3,
            "dur": (span.end_ns - span.start_ns) / 1e3,
        }
        events.append(event if span.item is None else event | {"args": {"item": span.item}})
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"torch": version("torch"), "settings": to_toml(config)},
    }


def metadata_event(kind: str, pid: int, tid: int, **args: str | int) -> dict[str, Any]:
    """What a viewer calls a process or thread, or where it shows it."""
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args}


def thread_names(spans: list[Span]) -> list[str]:
    """The phases, then the threads in order of their names and numbers."""
    names = {span.thread for span in spans}

    def order(name: str) -> tuple[bool, str, int]:
        number = re.search(r"\d*$", name)
        digits = number.group() if number else ""
        return name != PHASE_THREAD, name.removesuffix(digits), int(digits or 0)

    return sorted(names, key=order)


class Wait(NamedTuple):
    """A thread has finished some work and gets none until its next, or until the phase ends."""

    thread: str
    time: PhaseTime

    @property
    def ns(self) -> int:
        """How long."""
        return self.time.end_ns - self.time.start_ns


def summary(spans: list[Span]) -> list[WholeTable]:
    """Where the time goes: by phase, by thread, and the longest waits."""
    phases, on_device = Phases(spans), device_use(spans)
    on_host = [span for span in spans if not is_of_device(span)]
    work = {
        thread: sorted((s for s in on_host if s.thread == thread), key=lambda span: span.start_ns)
        for thread in thread_names(on_host)
        if thread != PHASE_THREAD
    }
    waits = sorted(find_waits(work, phases), key=lambda wait: wait.ns, reverse=True)
    tables = [
        phase_table(work, phases),
        thread_table(work, phases, waits),
        wait_table(waits[:LISTED_WAITS], phases),
    ]
    if on_device:
        tables += [device_table(on_device), kernel_table(longest_kernels(spans, LISTED_KERNELS))]
    return tables


def phase_table(work: dict[str, list[Span]], phases: Phases) -> WholeTable:
    """One row for each phase."""
    wall_ns = phases.add_up((span.start_ns, span.end_ns) for span in phases.spans)
    all_work = [span for of_thread in work.values() for span in of_thread]
    busy_ns = phases.add_up((span.start_ns, span.end_ns) for span in all_work)
    covered_ns = phases.add_up(merged(all_work))

    table = new_table("phase", "wall s", "share", "threads at work", "none at work s")
    for name in PHASES:
        if wall_ns[name] == 0:
            continue
        table.add_row(
            name,
            f"{wall_ns[name] / 1e9:.3f}",
            f"{wall_ns[name] / phases.wall_ns:.1%}",
            f"{busy_ns[name] / wall_ns[name]:.2f}",
            f"{(wall_ns[name] - covered_ns[name]) / 1e9:.3f}",
        )
    table.add_section()
    table.add_row(
        "iteration",
        f"{phases.wall_ns / 1e9:.3f}",
        "100.0%",
        f"{sum(busy_ns.values()) / phases.wall_ns:.2f}",
        f"{(phases.wall_ns - sum(covered_ns.values())) / 1e9:.3f}",
    )
    return table


def thread_table(work: dict[str, list[Span]], phases: Phases, waits: list[Wait]) -> WholeTable:
    """One row for each thread."""
    waited_ns: dict[str, int] = defaultdict(int)
    for wait in waits:
        waited_ns[wait.thread] += wait.ns
    table = new_table("thread", "busy s", "share", "waits s", "spans", "longest ms")
    for thread, spans in work.items():
        busy_ns = sum(end - start for start, end in merged(spans))
        table.add_row(
            thread,
            f"{busy_ns / 1e9:.3f}",
            f"{busy_ns / phases.wall_ns:.1%}",
            f"{waited_ns[thread] / 1e9:.3f}",
            f"{len(spans):,}",
            f"{max(span.end_ns - span.start_ns for span in spans) / 1e6:.2f}",
        )
    return table


def wait_table(waits: list[Wait], phases: Phases) -> WholeTable:
    """One row for each of some waits."""
    table = new_table("longest waits", "phase", "ms", "at s")
    for wait in waits:
        table.add_row(
            wait.thread,
            wait.time.phase,
            f"{wait.ns / 1e6:.2f}",
            f"{(wait.time.start_ns - phases.begin_ns) / 1e9:.4f}",
        )
    return table


def device_table(on_device: dict[str, DeviceUse]) -> WholeTable:
    """One row for each phase in which a GPU was at work, and one for all."""
    table = new_table("GPU in", "kernels", "busy s", "busy share")
    for name, use in on_device.items():
        if name == "iteration":
            table.add_section()
        if use.kernels > 0:
            table.add_row(
                name, f"{use.kernels:,}", f"{use.busy_ns / 1e9:.3f}", f"{use.busy_share:.1%}"
            )
    return table


def kernel_table(kernels: list[KernelTime]) -> WholeTable:
    """One row for each of some kernels."""
    table = new_table("longest kernels", "runs", "ms")
    for kernel in kernels:
        table.add_row(
            kernel.name[:KERNEL_WIDTH], f"{kernel.num_runs:,}", f"{kernel.total_ns / 1e6:.2f}"
        )
    return table


def new_table(*columns: str) -> WholeTable:
    """An empty table whose first column is text and the others numbers."""
    table = WholeTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    return table


def find_waits(work: dict[str, list[Span]], phases: Phases) -> Iterator[Wait]:
    """What threads wait for in a phase after having worked in it."""
    for thread, spans in work.items():
        worked = list(merged(spans))
        next_starts = [start_ns for start_ns, _ in worked[1:]]
        next_starts.append(phases.begin_ns + phases.wall_ns)
        for (_, end_ns), next_start_ns in zip(worked, next_starts, strict=True):
            # of the time until its next work, what belongs to the phase in which this one ended
            wait = next(phases.split(end_ns, next_start_ns), None)
            if wait is not None:
                yield Wait(thread, wait)
