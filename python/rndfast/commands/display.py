"""What a run shows while it trains: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import itertools
from collections.abc import Iterator

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from rndfast.config import Config
from rndfast.runs.metrics import Metrics
from rndfast.runs.train import View
from rndfast.runtime.terminal import (
    give_up_output,
    open_console,
    print_error,
    print_line,
    printable,
)
from rndfast.runtime.timeline import PHASES

# A live view's three columns fit from here on.
LIVE_WIDTH = 80


@contextlib.contextmanager
def open_view(config: Config) -> Iterator[View]:
    """Show a run on standard output."""
    console = open_console()
    total = config.run.total_transitions
    if not console.is_terminal or console.is_dumb_terminal:
        yield quietly(
            lambda update: print_line(
                update if isinstance(update, str) else plain_line(update, total)
            )
        )
        return
    live = Live(console=console, auto_refresh=False)

    def show(update: Metrics | str) -> None:
        if isinstance(update, str):
            console.print(update)
            return
        live.start()  # once; what fails there is told as well
        live.update(live_table(update, config, console.width), refresh=True)

    try:
        yield quietly(show)
    finally:
        with contextlib.suppress(OSError):
            live.stop()


def quietly(view: View) -> View:
    """A view that no longer shows anything once standard output fails, which it says once.

    Its reader has gone, as `head` does, or it is full or closed: no reason to end a run.
    """
    works = True

    def show(update: Metrics | str) -> None:
        nonlocal works
        if not works:
            return
        try:
            view(update)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            works = False
            give_up_output()
            reason = error.strerror if isinstance(error, OSError) else error
            print_error(
                f"rndfast: standard output fails ({reason}): training goes on, and "
                "metrics.jsonl has the figures"
            )

    return show


def plain_line(metrics: Metrics, total_transitions: int) -> str:
    """One line for one rollout."""
    shown_losses = ", ".join(f"{name} {number(value)}" for name, value in losses(metrics).items())
    shares = ", ".join(f"{name} {share:.0%}" for name, share in phase_shares(metrics).items())
    frames_per_s = metrics["perf/emulated_frames_per_s"]  # of Atari alone
    frames = "" if frames_per_s is None else f" = {number(frames_per_s)} emulated frames/s"
    num_alarms = metrics.get("health/alarms")
    alarms = f" | alarms: {num_alarms}" if num_alarms else ""
    return (
        f"{metrics['transitions']:,} of {total_transitions:,} transitions"
        f" | {number(metrics['charts/SPS'])} transitions/s{frames}"
        f" | return {number(metrics['charts/episodic_return'])}"
        f" in {metrics['charts/episodes']} episodes"
        f" | intrinsic {number(metrics.get('rnd/intrinsic_reward'))}"
        f" | losses {shown_losses}"
        f" | {shares}"
        f"{alarms}"
        f" | {time_left(metrics, total_transitions)} left"
    )


def live_table(metrics: Metrics, config: Config, width: int) -> Group:
    """The table of a live view, its figures in as many columns as there is room for."""
    total = config.run.total_transitions
    progress = Progress(
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:.1f} %"),
        TextColumn("{task.fields[left]} left"),
        expand=True,
    )
    progress.add_task(
        "",
        total=total,
        completed=int(min(metrics["transitions"] or 0, total)),
        left=time_left(metrics, total),
    )
    experience = {
        "transitions": f"{metrics['transitions']:,}",
        "transitions/s": number(metrics["charts/SPS"]),
        "emulated frames/s": number(metrics["perf/emulated_frames_per_s"]),
        "episodic return": number(metrics["charts/episodic_return"]),
        "best in rollout": number(metrics["charts/episodic_return_max"]),
        "episodic length (steps)": number(metrics["charts/episodic_length"]),
        "rooms found": number(metrics["rnd/rooms"]),
        "intrinsic reward": number(metrics.get("rnd/intrinsic_reward")),
        "prediction error": number(metrics.get("rnd/prediction_error")),
        "alarms": number(metrics.get("health/alarms")),
    }
    shown_losses = {
        name.replace("_", " "): number(value) for name, value in losses(metrics).items()
    }
    phases = {f"{name} time": f"{share:.1%}" for name, share in phase_shares(metrics).items()} | {
        "peak memory": f"{number(metrics['perf/peak_memory_mib'])} MiB"
    }
    figures = [list(group.items()) for group in (experience, shown_losses, phases)]
    rows = list(itertools.zip_longest(*figures, fillvalue=("", "")))
    if width < LIVE_WIDTH:  # one below the other
        rows = [(pair,) for group in figures for pair in group]
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in rows[0]:
        table.add_column(justify="right", style="cyan")
        table.add_column(no_wrap=True)  # labels give way, figures stay whole
    for row in rows:
        table.add_row(*itertools.chain.from_iterable(row))
    return Group(Text(printable(config.env.env_id), style="bold"), progress, table)


def losses(metrics: Metrics) -> dict[str, float | int | None]:
    """The losses of a row, by their short names."""
    return {
        key.removeprefix("losses/"): value
        for key, value in metrics.items()
        if key.startswith("losses/")
    }


def phase_shares(metrics: Metrics) -> dict[str, float]:
    """Each phase's share of an iteration's wall time."""
    total_s = metrics["perf/iteration_s"] or 1.0
    return {phase: (metrics[f"perf/{phase}_s"] or 0.0) / total_s for phase in PHASES}


def time_left(metrics: Metrics, total_transitions: int) -> str:
    """Hours, minutes and seconds to the end of the run at the present speed."""
    missing = max(0, total_transitions - (metrics["transitions"] or 0))
    return str(datetime.timedelta(seconds=round(missing / (metrics["charts/SPS"] or 1.0))))


def number(value: float | None) -> str:
    """A figure in four digits, a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
