"""``rndfast plot``: learning curves of any runs, over transitions and over hours.

Runs that differ in nothing but their seed are one curve: the interquartile mean of the runs, with
its 95 % bootstrap interval as a band.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rndfast.config import Config, RunConfig
from rndfast.runs.curves import (
    CONFIDENCE,
    EPISODES,
    Array,
    Run,
    bootstrap_interval,
    iqm,
    load_runs,
    trailing_average,
)
from rndfast.runtime.terminal import print_error, print_line, printable

SUFFIXES = (".png", ".svg", ".pdf")
RETURN, ROOMS, BONUS = "charts/episodic_return", "rnd/rooms", "rnd/intrinsic_reward"
PANELS = {RETURN: "episodic return", ROOMS: "rooms found", BONUS: "intrinsic reward"}
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Line styles: the first for as many curves as there are colours, then the next one.
LINE_STYLES = ("-", "--", ":")
# A point of a curve is an average over this fraction of the run's rollouts.
SMOOTHED_FRACTION = 0.02
# Where the runs of a curve are compared: at this many places, equally far apart.
CURVE_POINTS = 200


@dataclass(frozen=True)
class Group:
    """Runs of the same settings, each with a seed of its own."""

    label: str
    runs: list[Run]

    @property
    def env_id(self) -> str:
        """The environment of all of them."""
        return self.runs[0].config.env.env_id


@dataclass(frozen=True)
class Curve:
    """A metric of a group: all arrays are ``(P,)`` float64."""

    positions: Array
    centre: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Drawing:
    """How a group is drawn: its name, colour and line, and its curves by metric and clock."""

    label: str
    style: dict[str, Any]
    curves: dict[tuple[str, str], Curve]


Clock = Callable[[Run], Array]
CLOCKS: dict[str, Clock] = {"transitions": Run.transitions, "hours": Run.hours}


def plot(run_dirs: Sequence[Path], output: Path) -> None:
    """Draw the learning curves of runs, and say what was drawn.

    Args:
        run_dirs: Directories of the runs, in any order.
        output: The figure; its suffix, .png, .svg or .pdf, chooses the format.

    Raises:
        ImportError: The ``plots`` extra is not installed.
        ValueError: The suffix is another; no path is a run with metrics (those that are none are
            left out, which is said); a run is there twice; or there is nothing to draw.
    """
    require_figure(output)
    if not run_dirs:
        raise ValueError("name at least one run directory, for example: rndfast plot runs/*")
    groups = group_runs(load_runs(run_dirs, print_error))
    write_figure(groups, output)
    for group in groups:
        ends = [run.transitions()[-1] for run in group.runs]
        print_line(
            f"{group.env_id}, {group.label}, {seeds(group)}: {min(ends):,.0f} transitions"
            + (f" ({max(ends):,.0f} in the longest run)" if max(ends) > min(ends) else "")
        )
    print_line(f"the figure is {output}")


def require_figure(output: Path) -> None:
    """Check that a figure can be written before anything is read.

    Raises:
        ImportError: The ``plots`` extra is not installed.
        ValueError: The suffix names no format.
    """
    if output.suffix not in SUFFIXES:
        raise ValueError(f"output must end in one of {', '.join(SUFFIXES)}, got {str(output)!r}")
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("plotting needs matplotlib: pip install 'rndfast[plots]'")


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs of equal settings together, in the order in which their settings first appear.

    The settings of [run] (seed, directory, length, machine) tell no groups apart. A group's label
    is what tells it from the others of its environment.

    Raises:
        ValueError: Two runs have the same settings and the same seed: they are not independent.
    """
    found: dict[Config, list[Run]] = {}
    for run in runs:
        settings = dataclasses.replace(run.config, run=RunConfig())
        of_settings = found.setdefault(settings, [])
        for other in of_settings:
            if other.config.run.seed == run.config.run.seed:
                raise ValueError(
                    f"runs must differ in a setting or in the seed, but {other.run_dir} and "
                    f"{run.run_dir} have the same settings and seed {run.config.run.seed}"
                )
        of_settings.append(run)

    labels: dict[Config, str] = {}
    for env_id in {settings.env.env_id for settings in found}:
        peers = [settings for settings in found if settings.env.env_id == env_id]
        labels |= dict(zip(peers, group_labels(peers), strict=True))
    return [Group(labels[settings], of_settings) for settings, of_settings in found.items()]


def group_labels(groups: Sequence[Config]) -> list[str]:
    """What to call each of several different configurations.

    It begins with RND or DRND, or PPO where ``int_coef`` is 0. Then come the settings whose value
    is not that of most groups: of two, each says what it has; of a base and its variants, each
    variant says what was changed.
    """
    labels = [[config.rnd.bonus.upper() if config.ppo.has_bonus else "PPO"] for config in groups]
    flat = [flat_settings(config) for config in groups]
    for name in flat[0]:
        if name == "bonus":  # which the name says, and a coefficient of 0
            continue
        told = [n for n, settings in enumerate(flat) if name != "int_coef" or settings[name] > 0]
        counts = Counter(flat[n][name] for n in told)
        for n in told:
            value = flat[n][name]
            if 2 * counts[value] <= len(told) and has_setting(groups[n], name):
                labels[n].append(setting_text(name, value))
    return [", ".join(parts) for parts in labels]


def has_setting(config: Config, name: str) -> bool:
    """Whether a setting is one of this configuration's bonus: some are DRND's alone."""
    if name not in ("num_targets", "drnd_alpha"):
        return True
    return config.ppo.has_bonus and config.rnd.bonus == "drnd"


def flat_settings(config: Config) -> dict[str, Any]:
    """Every setting of the algorithm by its name; those of [run] are none."""
    sections = (config.env, config.atari, config.ppo, config.rnd)
    return {name: value for section in sections for name, value in vars(section).items()}


def setting_text(name: str, value: object) -> str:
    """A setting in a few letters: "ext_gamma 0.99", "norm_adv", "no int_reward_clip"."""
    if value is True:
        return name
    if value is False or value is None:
        return f"no {name}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def seeds(group: Group) -> str:
    """How many runs a curve stands for."""
    return f"{len(group.runs)} seed{'s' if len(group.runs) > 1 else ''}"


def smoothed(run: Run, metric: str, clock: Clock) -> tuple[Array, Array]:
    """Positions and averages of a metric where it has some, ``(K',)`` each.

    An average is over the last rollouts, `SMOOTHED_FRACTION` of the run's. A metric of episodes is
    averaged over episodes: a rollout in which none ended counts for nothing, and the curve goes on
    from one value to the next in a straight line.
    """
    is_of_episodes = metric.startswith("charts/")
    weights = run.column(EPISODES) if is_of_episodes else np.ones(len(run.rows))
    window = max(1, round(SMOOTHED_FRACTION * len(run.rows)))
    averages = trailing_average(run.column(metric), weights, window)
    has_value = np.isfinite(averages)
    return clock(run)[has_value], averages[has_value]


def group_curve(group: Group, metric: str, clock: Clock) -> Curve | None:
    """The curve of a group; None if the metric has no value in some run.

    A curve covers what all runs cover, and so ends with the shortest: no step in it comes from a
    run that begins or ends.
    """
    series = [smoothed(run, metric, clock) for run in group.runs]
    if any(len(positions) == 0 for positions, _ in series):
        return None
    start = max(positions[0] for positions, _ in series)
    # where a run's last rollouts have no value, the one before stays
    end = min(clock(run)[-1] for run in group.runs)
    if start > end:
        return None
    grid = np.unique(np.linspace(start, end, CURVE_POINTS))
    values = np.array([np.interp(grid, *of_run) for of_run in series])
    return Curve(grid, iqm(values), *bootstrap_interval(values))


def group_curves(group: Group) -> dict[tuple[str, str], Curve]:
    """The curves of a group by metric and clock."""
    curves = {
        (metric, name): group_curve(group, metric, clock)
        for metric in PANELS
        for name, clock in CLOCKS.items()
    }
    return {key: curve for key, curve in curves.items() if curve is not None}


def write_figure(groups: Sequence[Group], output: Path) -> None:
    """Draw panels for each environment: metrics by transitions and by hours.

    Args:
        groups: From `group_runs`.
        output: Path of the figure; directories that it lacks are made.

    Raises:
        ValueError: No group has a curve.
    """
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(group.label for group in groups))
    drawings_of: dict[str, list[Drawing]] = {}
    for group in groups:
        number = labels.index(group.label)  # the same label looks the same everywhere
        style = {
            # thinner from curve to curve: of two that lie on each other, both can be seen
            "linewidth": 2.4 - number / max(1, len(labels) - 1),
            "color": COLORS[number % len(COLORS)],
            "linestyle": LINE_STYLES[number // len(COLORS) % len(LINE_STYLES)],
        }
        if curves := group_curves(group):
            drawing = Drawing(f"{group.label} ({seeds(group)})", style, curves)
            drawings_of.setdefault(group.env_id, []).append(drawing)
    if not drawings_of:
        raise ValueError("nothing to plot yet: no episode has ended and there is no bonus")

    heights = [
        1.0
        + 0.22 * math.ceil(len(drawings) / legend_columns(drawings))
        + 1.9 * len(panels_of(drawings))
        for drawings in drawings_of.values()
    ]
    figure = Figure(figsize=(9, sum(heights) + 0.3), layout="constrained")
    subfigures = figure.subfigures(len(drawings_of), squeeze=False, height_ratios=heights)[:, 0]
    for subfigure, (env_id, drawings) in zip(subfigures, drawings_of.items(), strict=True):
        draw_env(subfigure, env_id, drawings)
    figure.supxlabel(
        f"Lines: interquartile mean of the seeds, each averaged over the last "
        f"{SMOOTHED_FRACTION:.0%} of its rollouts. Bands: its {CONFIDENCE:.0%} bootstrap interval.",
        fontsize="small",
        color="0.35",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)


def panels_of(drawings: Sequence[Drawing]) -> list[str]:
    """The metrics that at least one group has."""
    present = {metric for drawing in drawings for metric, _ in drawing.curves}
    return [metric for metric in PANELS if metric in present]


def legend_columns(drawings: Sequence[Drawing]) -> int:
    """Labels beside each other: as many as are sure to have room."""
    return min(len(drawings), max(1, 110 // (6 + max(len(drawing.label) for drawing in drawings))))


def draw_env(figure: Any, env_id: str, drawings: Sequence[Drawing]) -> None:
    """The panels of one environment: a row for each metric, a column for each clock."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    metrics = panels_of(drawings)
    axes = figure.subplots(len(metrics), len(CLOCKS), sharex="col", sharey="row", squeeze=False)
    for row, metric in zip(axes, metrics, strict=True):
        for axis, clock in zip(row, CLOCKS, strict=True):
            for drawing in drawings:
                if (metric, clock) in drawing.curves:
                    draw_curve(axis, drawing.curves[metric, clock], drawing.style)
            tidy_axis(axis)
        row[0].set_ylabel(PANELS[metric])
        if metric != RETURN:  # the others are never negative
            row[0].set_ylim(bottom=0)
            row[0].yaxis.set_major_locator(
                MaxNLocator(5, steps=(1, 2, 5, 10), integer=metric == ROOMS)
            )
    for axis, clock in zip(axes[-1], CLOCKS, strict=True):
        axis.set_xlabel(clock)
        axis.set_xlim(left=0)
    figure.align_ylabels()
    figure.legend(
        [Line2D([], [], **drawing.style) for drawing in drawings],
        [textwrap.fill(figure_text(drawing.label), 90) for drawing in drawings],
        title=figure_text(env_id),
        title_fontproperties={"weight": "bold", "size": "large"},
        loc="outside upper center",
        ncols=legend_columns(drawings),
        frameon=False,
    )


def tidy_axis(axis: Any, grid_color: str = "0.92") -> None:
    """Lines behind the curves, no box around them, short numbers."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=grid_color)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_formatter(short_number)
    axis.yaxis.set_major_formatter(short_number)


def draw_curve(axis: Any, curve: Curve, style: dict[str, Any]) -> None:
    """A line and its band."""
    color = style["color"]
    axis.fill_between(curve.positions, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
    marker = "o" if len(curve.positions) == 1 else None
    axis.plot(curve.positions, curve.centre, marker=marker, **style)


def figure_text(text: str) -> str:
    """A name as a figure shows it: what stands between dollars would be a formula."""
    return printable(text).replace("$", r"\$")


def short_number(value: float, _position: object = None) -> str:
    """A tick: 2500000 is 2.5M, 500 is 500, -0.25 is -0.25."""
    for scale, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:g}{suffix}"
    return f"{value:g}"
