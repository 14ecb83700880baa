"""The arguments of commands: dataclasses that tyro turns into flags and help."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import tyro

from rndfast.config import Config, load_run_config, read_toml, require_import_allowed
from rndfast.presets import PRESETS, Preset
from rndfast.runtime.terminal import print_error

Arguments = TypeVar("Arguments")


@dataclass(frozen=True)
class TrainArguments:
    """Train PPO with RND.

    Settings: those of the preset, then those of the file, then the flags below.
    """

    preset: Preset = "paper"
    """Settings to start from; `rndfast presets` shows them side by side."""
    config: Path | None = None
    """TOML file with settings, as a run's config.toml; those that it lacks come from the preset."""
    resume: Path | None = None
    """Run directory to go on with, with its own settings; only those of [run] may be changed."""
    allow_import: str | None = None
    """Module that may be imported where the resumed run's env_id is module:Name."""
    settings: Config = dataclasses.field(default_factory=Config)


@dataclass(frozen=True)
class EvalArguments:
    """Play episodes with a trained agent, print their statistics and record the first one."""

    source: tyro.conf.Positional[Path]
    """Run directory, or a file of `rndfast export`."""
    checkpoint: str | None = None
    """Checkpoint to load, for example step-000001000000; the newest that verifies if left out."""
    episodes: int = 8
    """Episodes to play, in parallel."""
    seed: int = 0
    """Seed of the consoles and of the actions."""
    num_threads: int = 0
    """Threads; 0: one per core."""
    video: Path | None = None
    """Where the video of the first episode goes, a file that ends in .mp4, .webp or .gif; eval/ in
    the run directory, or beside the agent's file, if left out."""
    format: Literal["mp4", "webp", "gif"] | None = None
    """Format of the video; what --video ends in, or mp4, if left out. webp and gif, for a README,
    are smaller and have at most 15 pictures a second."""
    speed: float = 1.0
    """Seconds of the game in a second of the video."""
    record: bool = True
    """Record a video (pip install 'rndfast[video]')."""
    allow_import: str | None = None
    """Module that may be imported where the run's env_id is module:Name."""


@dataclass(frozen=True)
class ExportArguments:
    """Write a run's agent into one file, to keep or to share: networks, statistics and settings.

    `rndfast eval`, `rndfast info`, `rndfast train --init-from` and `rndfast.load_agent` read it.
    """

    run_dir: tyro.conf.Positional[Path]
    """Run directory."""
    output: Path = Path("agent.safetensors")
    """The file; an older one is replaced."""
    checkpoint: str | None = None
    """Checkpoint to take, for example step-000001000000; the newest that verifies if left out."""
    half: bool = False
    """Weights in float16: half the size."""


@dataclass(frozen=True)
class InfoArguments:
    """Describe a run and verify its checkpoints; describe an exported agent, or this installation.

    Without a run or a file it is the installation.
    """

    source: tyro.conf.Positional[Path | None] = None
    """Run directory, or a file."""


@dataclass(frozen=True)
class PlotArguments:
    """Draw learning curves of runs, by transitions and by hours.

    Runs that differ in nothing but their seed are one curve: their interquartile mean, with its
    95 % bootstrap interval as a band. It ends with the shortest of them.
    """

    run_dirs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, for example runs/*."""
    output: Path = Path("plot.png")
    """The figure: .png, .svg or .pdf (pip install 'rndfast[plots]'); an older one is replaced."""


@dataclass(frozen=True)
class ReportArguments:
    """Write one page about a run, or several: curves, rooms, an episode, settings, time.

    It is one HTML file that opens without a network. The curves are of all runs; the rest is of the
    first, whose newest checkpoint plays an episode.
    """

    run_dirs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, for example runs/*."""
    output: Path = Path("report.html")
    """The page (pip install 'rndfast[report]'); an older one is replaced."""
    seed: int = 0
    """Seed of the episode."""


@dataclass(frozen=True)
class PresetsArguments:
    """Show the settings of every preset side by side, differences from the paper's marked."""


@dataclass(frozen=True)
class ProfileArguments:
    """Trace one training iteration and say where its time goes.

    It is real training in a temporary directory, after an iteration to warm up.
    """

    preset: Preset = "paper"
    """Settings to start from; `rndfast presets` shows them side by side."""
    config: Path | None = None
    """TOML file with settings, as a run's config.toml; those that it lacks come from the preset."""
    num_envs: int | None = None
    """Parallel environments."""
    rollout_steps: int | None = None
    """Steps of each environment per rollout."""
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None
    """Where the networks live."""
    precision: Literal["auto", "float32", "tf32", "bfloat16"] | None = None
    """Number format of the networks' passes."""
    num_threads: int | None = None
    """Threads for emulation, kernels and network passes; 0: one per core."""
    overlap: bool | None = None
    """Emulate one half of the environments while the other half's actions are chosen."""
    output: Path = Path("profile.json")
    """Where the trace goes; an older one is replaced."""

    def settings(self) -> Config:
        """The preset, changed by the file, changed by the flags.

        Raises:
            ValueError: A setting's value is wrong.
            OSError: The file cannot be read.
        """
        settings = from_file(self.config, PRESETS[self.preset])
        changed = {}
        for section in dataclasses.fields(settings):
            values = getattr(settings, section.name)
            flags = {
                field.name: getattr(self, field.name, None) for field in dataclasses.fields(values)
            }
            given = {name: value for name, value in flags.items() if value is not None}
            changed[section.name] = dataclasses.replace(values, **given)
        return Config(**changed)


def from_file(path: Path | None, base: Config) -> Config:
    """Settings of a TOML file; those that it lacks, or all without a file, come from ``base``.

    Raises:
        ValueError: The file is wrong.
        OSError: It cannot be read.
    """
    if path is None:
        return base
    return read_toml(path, base)


def settings_to_resume(run_dir: Path) -> Config:
    """A run's settings; those of its newest checkpoint, which is said, if its file is damaged.

    Raises:
        ValueError: The file is wrong, and there is no checkpoint.
        OSError: There is neither.
    """
    try:
        return load_run_config(run_dir)
    except (OSError, ValueError) as error:
        from rndfast.runs.checkpoint import CheckpointError, use_newest_checkpoint
        from rndfast.runs.description import settings_of

        try:
            settings, _ = use_newest_checkpoint(run_dir / "checkpoints", settings_of)
        except CheckpointError:
            raise error from None
        print_error(f"rndfast: {error}: the settings of its newest checkpoint are taken")
        return dataclasses.replace(settings, run=dataclasses.replace(settings.run, run_dir=run_dir))


def parse_train(argv: list[str], command: str = "train") -> TrainArguments:
    """Resolve preset, file, run to resume and flags into one configuration.

    Raises:
        ValueError: Options contradict each other, or a setting's value is wrong.
        OSError: The file cannot be read.
    """
    # a first pass finds where the settings come from; help and mistakes are the second one's to
    # report
    sources = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    sources.add_argument("--preset", choices=PRESETS)
    sources.add_argument("--config", type=Path)
    sources.add_argument("--resume", type=Path)
    try:
        source, _ = sources.parse_known_args(argv)
    except argparse.ArgumentError:
        source = argparse.Namespace(preset=None, config=None, resume=None)

    settings = PRESETS[source.preset or "paper"]
    if source.resume is not None:
        if source.preset or source.config:
            raise ValueError(
                "--resume goes on with the run's own settings: leave --preset and --config out"
            )
        settings = settings_to_resume(source.resume)
    else:
        settings = from_file(source.config, settings)

    arguments = tyro.cli(
        TrainArguments,
        args=argv,
        prog=f"rndfast {command}",
        default=TrainArguments(
            source.preset or "paper", source.config, source.resume, settings=settings
        ),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if arguments.resume is not None:
        require_same_algorithm(settings, arguments.settings)
        require_import_allowed(settings, arguments.allow_import, arguments.resume)
    return arguments


def require_same_algorithm(before: Config, now: Config) -> None:
    """Check that a resumed run changes nothing but where, how long and on what it runs.

    Raises:
        ValueError: A setting of the algorithm, the seed or the directory differs.
    """
    for section in dataclasses.fields(before):
        was, is_ = getattr(before, section.name), getattr(now, section.name)
        fields = [field.name for field in dataclasses.fields(was)]
        fixed = fields if section.name != "run" else ["seed", "run_dir", "init_from"]
        for name in fixed:
            if getattr(was, name) != getattr(is_, name):
                raise ValueError(
                    f"{name} of a resumed run must stay {getattr(was, name)!r}, "
                    f"got {getattr(is_, name)!r}"
                )


def parse(arguments: type[Arguments], argv: list[str], command: str) -> Arguments:
    """Parse a command's arguments; exits with code 2 and a message if they are wrong."""
    return tyro.cli(arguments, args=argv, prog=f"rndfast {command}")
