"""The page: what it says, its figures, and the template that they go into."""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rndfast
from rndfast.commands.plot import (
    CLOCKS,
    COLORS,
    PANELS,
    Group,
    draw_curve,
    group_curve,
    group_runs,
    seeds,
    tidy_axis,
)
from rndfast.commands.report.episode import PlayedEpisode, play_episode
from rndfast.commands.report.room_map import Room, rooms_of
from rndfast.config import Config
from rndfast.runs.alarms import find_alarms
from rndfast.runs.checkpoint import CheckpointError, list_checkpoints, load_checkpoint
from rndfast.runs.curves import Run, load_runs
from rndfast.runs.description import verdict
from rndfast.runs.directory import MACHINE
from rndfast.runs.trained_agent import load_agent
from rndfast.runtime.durable_files import read_bounded, replace_durably, require_writable
from rndfast.runtime.terminal import print_error, print_line

# Panels beside those of `rndfast plot`.
LOSSES = {
    "losses/policy": "policy loss",
    "losses/ext_value": "extrinsic value loss",
    "losses/int_value": "intrinsic value loss",
    "losses/combined_value": "value loss",
    "losses/predictor": "predictor loss",
    "losses/entropy": "entropy of the policy (nats)",
    "losses/approx_kl": "approximate KL divergence",
}

MAX_MACHINE_BYTES = 10_000

# Colours that the page replaces, so that text and grid fit its light and its dark mode.
TEXT_COLOR, GRID_COLOR = "#010203", "#040506"


@dataclass(frozen=True)
class Figure:
    """A drawing that stands in the page."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Setting:
    """A row of the table of settings."""

    name: str
    value: str
    papers: str | None  # the paper's, where it is another


def report(run_dirs: Sequence[Path], output: Path, *, seed: int = 0) -> None:
    """Write one HTML file about runs, and play an episode with the agent of the first.

    Args:
        run_dirs: Directories of the runs; of several, the curves show all, the rest is the first's.
            Those that cannot be read are left out, which is said.
        output: The file; an older one is replaced.
        seed: Of the episode.

    Raises:
        ImportError: The ``report`` extra is not installed.
        OSError: The file cannot be written; before the episode is played.
        ValueError: There are no runs, or none that has metrics.
    """
    for library in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise ImportError(f"a report needs {library}: pip install 'rndfast[report]'")
    if not run_dirs:
        raise ValueError("name at least one run directory, for example: rndfast report runs/first")
    runs = load_runs(run_dirs, print_error)
    groups = group_runs(runs)
    require_writable(output)
    first = runs[0]
    episode, reason = None, None
    if first.config.env.is_atari:
        try:
            print_line("playing an episode")
            episode = play_episode(load_agent(first.run_dir, seed=seed), seed)
        except CheckpointError as error:
            reason = str(error)
    else:
        reason = "only Atari's games are played for a report"
    html = render(first, groups, episode, reason)
    replace_durably(output, html.encode())
    print_line(f"the report is {output}")


def render(
    first: Run, groups: Sequence[Group], episode: PlayedEpisode | None, no_episode: str | None
) -> str:
    """The page as text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rndfast.commands.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rooms = rooms_of(first)
    return environment.get_template("page.html").render(
        version=rndfast.__version__,
        title=first.config.env.env_id.removeprefix("rndfast/"),
        sentence=sentence(first, groups),
        facts=facts(first),
        curves=figures(groups, PANELS),
        losses=figures(groups, LOSSES),
        legend=[(f"{group.label} ({seeds(group)})", color_of(groups, group)) for group in groups],
        rooms=rooms,
        num_columns=max((room.column for room in rooms), default=0) + 1,
        pictures=pictures_of_rooms(rooms, episode),
        episode=episode,
        no_episode=no_episode,
        episode_figure=episode_figure(episode) if episode is not None else None,
        data_url=data_url,
        machine=machine(first.run_dir),
        phases=phases(first),
        settings=settings(first.config),
        alarms=[text for group in groups for run in group.runs for text in alarms(run, groups)],
        checkpoints=checkpoints(first.run_dir),
        run_dirs=[str(run.run_dir) for group in groups for run in group.runs],
    )


BONUSES = {
    "rnd": "Random Network Distillation",
    "drnd": "Distributional Random Network Distillation",
}


def sentence(first: Run, groups: Sequence[Group]) -> str:
    """What was run, in one sentence."""
    runs = [run for group in groups for run in group.runs]
    config, num_transitions = first.config, first.transitions()[-1]
    what = (
        f"PPO with {BONUSES[config.rnd.bonus]}" if config.ppo.has_bonus else "PPO without a bonus"
    )
    others = f", and {len(runs) - 1} more beside it," if len(runs) > 1 else ""
    return (
        f"A run of {what}{others} trained on {num_transitions:,.0f} transitions of "
        f"{config.env.env_id} ({num_transitions * frames_per_step(config):,.0f} frames) in "
        f"{config.env.num_envs} parallel environments, in {duration(first.hours()[-1])}."
    )


def frames_per_step(config: Config) -> int:
    """Frames of a game that pass in a step; 1 for other environments."""
    return config.atari.frameskip if config.env.is_atari else 1


def duration(hours: float) -> str:
    """Hours in words; NaN where the metrics do not say."""
    if np.isnan(hours):
        return "a time that is not known"
    if hours < 1:
        return f"{hours * 60:.1f} minutes"
    return f"{hours:.1f} hours"


def facts(run: Run) -> list[tuple[str, str]]:
    """The figures that stand at the top of the page."""

    def known(metric: str) -> NDArray[np.float64]:
        values = run.column(metric)
        return values[np.isfinite(values)]

    returns, best = known("charts/episodic_return"), known("charts/episodic_return_max")
    num_rooms = known("rnd/rooms")
    speed, memory = known("charts/SPS"), known("perf/peak_memory_mib")
    found = [
        (
            "mean return, last episodes",
            f"{returns[-10:].mean():,.4g}" if len(returns) else "no episode ended",
        ),
        ("best return", f"{best.max():,.4g}" if len(best) else "-"),
        ("speed", f"{np.median(speed):,.0f} transitions/s" if len(speed) else "-"),
        ("most memory", f"{memory.max():,.0f} MiB" if len(memory) else "-"),
    ]
    if len(num_rooms):
        found.insert(2, ("rooms found", f"{num_rooms.max():.0f}"))
    return found


def machine(run_dir: Path) -> str | None:
    """What a run was last trained on, in words; None if it does not say."""
    if not (run_dir / MACHINE).is_file():
        return None
    try:
        described = json.loads(read_bounded(run_dir / MACHINE, MAX_MACHINE_BYTES))
        return (
            f"{described['gpu'] or 'no GPU'}; {described['cpu']}, {described['cores']} cores, "
            f"{described['memory_gib']:.0f} GiB"
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # an older run, or not rndfast's file
        return None


def phases(run: Run) -> list[tuple[str, float]]:
    """Share of the time of each phase of training, the largest first."""
    names = ("env", "inference", "bonus", "advantages", "learn", "log")
    seconds = {name: float(np.nansum(run.column(f"perf/{name}_s"))) for name in names}
    total = sum(seconds.values()) or 1.0
    return sorted(((name, s / total) for name, s in seconds.items()), key=lambda item: -item[1])


def settings(config: Config) -> list[Setting]:
    """Every setting, and the paper's value where it is another."""
    rows = []
    for section in dataclasses.fields(Config):
        if section.name == "atari" and not config.env.is_atari:
            continue
        own, papers = getattr(config, section.name), getattr(Config(), section.name)
        for field in dataclasses.fields(own):
            value, paper = getattr(own, field.name), getattr(papers, field.name)
            of_algorithm = section.name != "run"
            differs = of_algorithm and value != paper
            rows.append(Setting(field.name, str(value), str(paper) if differs else None))
    return rows


def alarms(run: Run, groups: Sequence[Group]) -> list[str]:
    """What a run's metrics say has gone wrong; with the run's name, if there are others."""
    num_runs = sum(len(group.runs) for group in groups)
    place = f"{run.run_dir}: " if num_runs > 1 else ""
    return [place + str(alarm) for alarm in find_alarms(run.rows, run.config.ppo.rollout_steps)]


def checkpoints(run_dir: Path) -> list[tuple[str, str]]:
    """Names of the checkpoints, and whether each verifies."""
    found = []
    for path in list_checkpoints(run_dir / "checkpoints"):
        try:
            checkpoint = load_checkpoint(path)
            said = verdict(checkpoint)
        except CheckpointError as error:
            found.append((path.name, str(error)))
        else:
            size = sum(tensor.nbytes for tensor in checkpoint.state.values())
            found.append((path.name, f"{said}, {size / 2**20:.1f} MiB"))
    return found


# --- figures ----------------------------------------------------------------------------------


def color_of(groups: Sequence[Group], group: Group) -> str:
    """A group's colour in all figures."""
    return COLORS[groups.index(group) % len(COLORS)]


def figures(groups: Sequence[Group], panels: dict[str, str]) -> list[Figure]:
    """A figure for each metric that at least one group has."""
    found = []
    for metric, caption in panels.items():
        curves = [(group, group_curve(group, metric, CLOCKS["transitions"])) for group in groups]
        drawn = [(group, curve) for group, curve in curves if curve is not None]
        if not drawn:
            continue
        figure, axis = new_figure(4.8, 2.7)
        for group, curve in drawn:
            style = {"color": color_of(groups, group), "linewidth": 1.8}
            draw_curve(axis, curve, style)
        axis.set_xlim(left=0)
        axis.set_xlabel("transitions")
        found.append(Figure(to_svg(figure, f"{caption} over transitions", metric), caption))
    return found


def episode_figure(episode: PlayedEpisode) -> Figure | None:
    """The bonus over an episode, its peaks numbered, with rewards and changes of room."""
    if episode.bonuses is None:
        return None
    figure, axis = new_figure(9.6, 3.2)
    axis.plot(episode.bonuses, color=COLORS[0], linewidth=0.9)
    top = float(episode.bonuses.max())
    for number, peak in enumerate(episode.peaks, start=1):
        height = float(episode.bonuses[peak.step])
        axis.plot(peak.step, height, "o", color=COLORS[1], markersize=4)
        axis.annotate(
            str(number), (peak.step, height), (0, 4),
            textcoords="offset points", ha="center", color=TEXT_COLOR,
        )  # fmt: skip
    for step in np.flatnonzero(episode.rewards):
        axis.plot(step, 1.12 * top, "v", color=COLORS[2], markersize=6)
    if episode.rooms is not None:
        for step in np.flatnonzero(np.diff(episode.rooms)) + 1:
            axis.axvline(step, color=COLORS[3], linewidth=0.8, linestyle=":")
    axis.set_ylim(0, 1.2 * top)
    axis.set_xlabel("step")
    axis.set_ylabel("intrinsic reward")
    label = f"intrinsic reward over an episode of {len(episode.bonuses)} steps"
    caption = (
        "Dots: the highest peaks, whose pictures stand below. Triangles: rewards of the game. "
        "Dotted lines: another room."
    )
    return Figure(to_svg(figure, label, "episode"), caption)


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure of one axis, in colours that the page replaces."""
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axis = figure.subplots()
    axis.patch.set_alpha(0.0)
    tidy_axis(axis, GRID_COLOR)
    axis.tick_params(colors=TEXT_COLOR)
    axis.spines[:].set_color(TEXT_COLOR)
    axis.xaxis.label.set_color(TEXT_COLOR)
    axis.yaxis.label.set_color(TEXT_COLOR)
    return figure, axis


def to_svg(figure: Any, label: str, name: str) -> str:
    """An ``<svg>`` element as wide as its place, that says what it is.

    ``name`` tells the figures of a page apart: what they define has names of its own.
    """
    import matplotlib as mpl
    from markupsafe import escape

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "text.color": TEXT_COLOR}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    opening, _, rest = text[text.index("<svg") :].partition(">")
    view_box = opening[opening.index('viewBox="') :].split('"')[1]
    rest = rest.replace(TEXT_COLOR, "currentColor").replace(GRID_COLOR, "var(--line)")
    return f'<svg viewBox="{view_box}" role="img" aria-label="{escape(label)}">{rest}'


def pictures_of_rooms(rooms: list[Room], episode: PlayedEpisode | None) -> dict[int, bytes]:
    """Pictures of the rooms that the episode came to."""
    seen = episode.first_visits if episode is not None else {}
    return {room.number: seen[room.number].picture for room in rooms if room.number in seen}


def data_url(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
