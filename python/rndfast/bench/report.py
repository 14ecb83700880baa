"""The figures of ``rndfast bench``, as a table and as charts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console

from rndfast.runtime.terminal import WholeTable

Report = dict[str, Any]

# A load average above this means that something else was running.
BUSY_LOAD = 0.5
KINDS = {"training": "iteration", "update": "update", "environments": "env step"}


def contests(report: Report) -> list[tuple[str, Report]]:
    """What was measured with peers: a name, and the figures of each contestant."""
    found = [
        (f"{KINDS[kind]}, {precision}", of_precision)
        for kind in ("training", "update")
        for precision, of_precision in report[kind].items()
    ]
    return [*found, (KINDS["environments"], report["environments"])]


def print_report(report: Report, console: Console) -> None:
    """Print the table, the phases, the speed and what to keep in mind."""
    rounds = report["settings"]["rounds"]
    table = WholeTable(title=f"medians of {rounds} rounds in turn", box=box.SIMPLE_HEAD)
    table.add_column("time of one")
    table.add_column("peer")
    table.add_column("clock")
    for column in ("rndfast", "peer's", "times as fast"):
        table.add_column(column, justify="right")
    for name, measured in contests(report):
        for peer, ratios in measured["times_as_fast_as"].items():
            for clock, ratio in ratios.items():
                is_first = clock == "wall"
                table.add_row(
                    name if is_first else "",
                    peer if is_first else "",
                    clock,
                    *(duration(measured[who][f"{clock}_s"]["median"]) for who in ("rndfast", peer)),
                    f"{ratio['of_medians']:.1f} ({ratio['min']:.1f}-{ratio['max']:.1f})",
                )
        table.add_section()
    console.print(table)
    for precision, training in report["training"].items():
        phases = phases_of_median_round(training).items()
        console.print(
            f"training in {precision}: {training['transitions_per_s']:,.0f} transitions a second, "
            f"{training['transitions_per_cpu_s']:,.0f} a CPU second; at this speed the paper's "
            f"491.5 million take {training['hours_to_the_papers_transitions']:,.0f} hours"
        )
        console.print("  " + ", ".join(f"{phase} {duration(value)}" for phase, value in phases))
        if "gpu_kernels" in training:
            of_gpu = ", ".join(
                f"{phase} {duration(value['median'])}"
                for phase, value in training["gpu_phases_s"].items()
                if value["median"] > 0
            )
            console.print(
                f"  by the GPU's clock: {of_gpu}; {training['gpu_kernels']:,} kernels an "
                f"iteration, busy {training['gpu_busy_share']:.0%} of it"
            )
    console.print(f"most memory in training: {report['peak_memory_mib']:,.0f} MiB")
    console.print(place(report))
    load = report["hardware"]["load_average_1min"]
    if load > BUSY_LOAD and report["settings"]["plain_threads"] > 1:
        console.print(
            f"The machine was busy (load {load:.1f} at the start): the threads of plain PyTorch "
            "wait for each other at every operation, and the ratios to it are too high. Fairer are "
            "--num-threads 1 or an idle machine."
        )


def duration(seconds: float) -> str:
    """A time in three digits."""
    scale, unit = next(
        (pair for pair in ((1.0, "s"), (1e3, "ms")) if seconds * pair[0] >= 1), (1e6, "us")
    )
    return f"{seconds * scale:.3g} {unit}"


def phases_of_median_round(training: Report) -> dict[str, float]:
    """Wall seconds of the phases of one real iteration, so that they add up to its time."""
    number = training["median_round"]
    return {phase: figure["rounds"][number] for phase, figure in training["phases_s"].items()}


def place(report: Report) -> str:
    """Sizes and machine, in one line."""
    settings, hardware = report["settings"], report["hardware"]
    sizes = f"{settings['num_envs']} environments x {settings['rollout_steps']} steps"
    where = hardware["cpu"]
    if settings["device"] == "cuda":
        where = f"{hardware['gpu']} and {where}"
    return f"{sizes}, {settings['num_threads']} threads, {where}"


def write_charts(report: Report, output: Path, console: Console) -> list[Path]:
    """Draw the phases of an iteration and the ratios to the peers; returns the files."""
    if importlib.util.find_spec("matplotlib") is None:
        console.print("no charts without matplotlib: pip install 'rndfast[plots]'", markup=False)
        return []
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_phases(left, report)
    draw_ratios(right, report)
    figure.suptitle(place(report), fontsize="medium")
    paths = [output / f"bench.{suffix}" for suffix in ("svg", "png")]
    for path in paths:
        figure.savefig(path, dpi=130)
    return paths


def draw_phases(axis: Any, report: Report) -> None:
    """One stacked bar for each number format."""
    names = []
    longest = max(
        sum(phases_of_median_round(training).values()) for training in report["training"].values()
    )
    for row, (precision, training) in enumerate(report["training"].items()):
        phases = phases_of_median_round(training)
        total = sum(phases.values())
        names.append(f"{precision}\n{training['transitions_per_s']:,.0f} / s")
        left = 0.0
        for number, (phase, seconds) in enumerate(phases.items()):
            label = None if row else phase
            bar = axis.barh(row, seconds, 0.5, left, color=f"C{number}", label=label)
            if seconds > 0.07 * longest:  # else there is no room
                text = f"{seconds / total:.0%}"
                text += f"\n{duration(seconds)}" if seconds > 0.15 * longest else ""
                axis.bar_label(bar, [text], label_type="center", color="white")
            left += seconds
    axis.set_yticks(range(len(names)), names)
    axis.set(
        title="one iteration of training, by phase",
        xlabel="seconds on the wall",
        ylim=(max(len(names), 2) - 0.5, -0.5),  # downwards; a single bar is not too thick
    )
    axis.legend(loc="lower right" if len(names) == 1 else "best", ncols=3)


def draw_ratios(axis: Any, report: Report) -> None:
    """Wall and CPU ratios to every peer, with the range of the rounds."""
    ratios = [
        (f"{name}\nvs. {peer.replace('plain', 'plain PyTorch')}", of_peer)
        for name, measured in contests(report)
        for peer, of_peer in measured["times_as_fast_as"].items()
    ]
    axis.axvline(1, color="grey", linewidth=0.8, zorder=0)
    styles = (("wall", "wall time", "#6baed6"), ("cpu", "CPU time", "#c6dbef"))
    for number, (clock, label, color) in enumerate(styles):
        of_clock = [of_peer[clock] for _, of_peer in ratios]
        values = [ratio["of_medians"] for ratio in of_clock]
        # a ratio of medians may lie outside the range of the rounds' own
        spread = (
            [max(0.0, ratio["of_medians"] - ratio["min"]) for ratio in of_clock],
            [max(0.0, ratio["max"] - ratio["of_medians"]) for ratio in of_clock],
        )
        rows = [row + 0.36 * number for row in range(len(ratios))]
        axis.barh(rows, values, 0.34, xerr=spread, color=color, ecolor="grey", label=label)
        for row, value in zip(rows, values, strict=True):
            at_start = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
            axis.annotate(f"{value:.1f}", (0, row), weight="bold", **at_start)
    axis.set_yticks([row + 0.18 for row in range(len(ratios))], [name for name, _ in ratios])
    axis.set(title="times as fast as its peers", xlabel="ratio of medians, range of the rounds")
    axis.invert_yaxis()
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
