"""The command line: one table of commands, each parsed and run in the same way.

What is heavy is imported by the command that needs it: ``rndfast --help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rndfast.bench.arguments import BenchArguments
from rndfast.commands.arguments import (
    EvalArguments,
    ExportArguments,
    InfoArguments,
    PlotArguments,
    PresetsArguments,
    ProfileArguments,
    ReportArguments,
    TrainArguments,
    parse,
    parse_train,
)
from rndfast.config import Config
from rndfast.runtime.durable_files import named_in_errors
from rndfast.runtime.interruption import Interrupted
from rndfast.runtime.terminal import STANDARD_OUTPUT, give_up_output, print_error, print_line, typed


def train(arguments: TrainArguments) -> None:
    """Train, show the run, and say how to go on."""
    from rndfast.commands.display import open_view
    from rndfast.runs.train import train as run_training

    settings, resume = arguments.settings, arguments.resume is not None
    if os.environ.get("RANK", "0") != "0":  # torchrun's: rank 0 shows the run
        run_training(settings, resume=resume)
        return
    with open_view(settings) as view:
        run_training(settings, resume=resume, view=view)
    run_dir = settings.run.run_dir
    print_line(f"the run is in {run_dir}; next:")
    tensorboard = shlex.quote(str(Path(sys.executable).parent / "tensorboard"))
    print_line(f"  {eval_command(run_dir, settings)}")
    print_line(f"  {tensorboard} --logdir {typed(run_dir)}")


def evaluate(arguments: EvalArguments) -> None:
    """Play episodes."""
    from rndfast.runs.evaluate import evaluate as play

    play(
        arguments.source,
        checkpoint_name=arguments.checkpoint,
        episodes=arguments.episodes,
        seed=arguments.seed,
        num_threads=arguments.num_threads,
        video=arguments.video,
        video_format=arguments.format,
        speed=arguments.speed,
        record=arguments.record,
        allow_import=arguments.allow_import,
    )


def export(arguments: ExportArguments) -> None:
    """Write an agent into one file."""
    from rndfast.runs.agent_file import export_agent, load_trained
    from rndfast.runs.description import settings_of

    checkpoint = load_trained(arguments.run_dir, lambda found: found, arguments.checkpoint)
    export_agent(checkpoint, arguments.output, half=arguments.half)
    size = arguments.output.stat().st_size / 1e6
    print_line(f"{arguments.output}: {size:.1f} MB, {checkpoint.transitions:,} transitions; next:")
    print_line(f"  {eval_command(arguments.output, settings_of(checkpoint))}")


def bench(arguments: BenchArguments) -> None:
    """Measure."""
    from rndfast.bench.bench import bench as measure

    measure(arguments)


def info(arguments: InfoArguments) -> None:
    """Describe a run, or this installation."""
    from rndfast.commands.info import describe_agent, describe_installation, describe_run

    if arguments.source is None:
        describe_installation()
    elif arguments.source.is_file():
        describe_agent(arguments.source)
    else:
        describe_run(arguments.source)


def plot(arguments: PlotArguments) -> None:
    """Draw learning curves."""
    from rndfast.commands.plot import plot as draw

    draw(arguments.run_dirs, arguments.output)


def report(arguments: ReportArguments) -> None:
    """Write a page about runs."""
    from rndfast.commands.report import report as write

    write(arguments.run_dirs, arguments.output, seed=arguments.seed)


def presets(_: PresetsArguments) -> None:
    """Show the presets."""
    from rndfast.commands.presets_table import describe_presets

    describe_presets()


def profile(arguments: ProfileArguments) -> None:
    """Trace an iteration."""
    from rndfast.commands.profile import profile as trace

    trace(arguments.settings(), arguments.output)


class Command(NamedTuple):
    """A row of the table."""

    name: str
    summary: str  # what `rndfast --help` says of it
    # (flags, name) -> arguments; exits with code 2 and a message where the flags are wrong
    parse: Callable[[list[str], str], Any]
    run: Callable[[Any], None]


COMMANDS = (
    Command("train", "train PPO with RND, or resume a run", parse_train, train),
    Command(
        "eval",
        "play episodes with a trained agent and record a video",
        partial(parse, EvalArguments),
        evaluate,
    ),
    Command(
        "export",
        "write a trained agent into one file",
        partial(parse, ExportArguments),
        export,
    ),
    Command(
        "bench",
        "measure training and environments beside their peers",
        partial(parse, BenchArguments),
        bench,
    ),
    Command(
        "info",
        "describe a run and verify its checkpoints; without a run, this installation",
        partial(parse, InfoArguments),
        info,
    ),
    Command(
        "plot", "draw learning curves of runs, seeds together", partial(parse, PlotArguments), plot
    ),
    Command(
        "report",
        "write one page about runs: curves, rooms, an episode, settings",
        partial(parse, ReportArguments),
        report,
    ),
    Command(
        "presets",
        "show the settings of every preset side by side",
        partial(parse, PresetsArguments),
        presets,
    ),
    Command(
        "profile",
        "trace one training iteration and say where its time goes",
        partial(parse, ProfileArguments),
        profile,
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    if sys.stdout is None:  # it is closed: to write to it must fail, as to any other
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    try:
        return start(sys.argv[1:] if argv is None else argv)
    finally:  # also after help, which ends the program
        try:
            sys.stdout.flush()
        except OSError as error:  # Python would say so at its end, in its own words
            give_up_output()
            print_error(f"rndfast: error: {error.strerror}: {STANDARD_OUTPUT}")
            sys.exit(1)


def start(argv: list[str]) -> int:
    """Find the command and run it; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="rndfast",
        description="Random Network Distillation on Atari.",
        epilog="'rndfast COMMAND --help' lists a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    by_name = {command.name: command for command in COMMANDS}
    for command in COMMANDS:
        subparsers.add_parser(command.name, help=command.summary, add_help=False)
    # the command alone: what follows it is for its own parser
    chosen, rest = parser.parse_known_args(argv[:1])
    rest += argv[1:]
    if chosen.version:
        import rndfast

        print_line(f"rndfast {rndfast.__version__}")
        return 0
    if chosen.command is None:
        parser.print_help()
        return 2
    return run_command(by_name[chosen.command], rest)


def run_command(command: Command, argv: list[str]) -> int:
    """Parse the arguments of a command and run it; returns the exit code."""
    try:
        with named_in_errors(STANDARD_OUTPUT):  # help goes there
            arguments = command.parse(argv, command.name)
        command.run(arguments)
    except Interrupted as interrupted:
        reason = ""
        if os.environ.get("WORLD_SIZE", "1") != "1" and str(interrupted) == "SIGTERM":
            reason = " (torchrun stops every process when one ends: go on with --resume)"
        print_error(f"rndfast: stopped by {interrupted}{reason}")
        return interrupted.exit_code
    except KeyboardInterrupt:
        print_error("rndfast: stopped")
        return 130
    except Exception as error:
        if not isinstance(error, expected_errors()):
            raise
        print_error(f"rndfast: error: {error_text(error)}")
        if isinstance(error, OSError) and error.filename == str(STANDARD_OUTPUT):
            give_up_output()
        return 1
    return 0


def expected_errors() -> tuple[type[Exception], ...]:
    """Errors that are the user's or the machine's, and are told without a traceback."""
    from rndfast.runs.checkpoint import CheckpointError
    from rndfast.runtime.processes import RankLost

    return (
        CheckpointError,
        FloatingPointError,
        ImportError,
        MemoryError,
        OSError,
        RankLost,
        ValueError,
    )


def program() -> str:
    """What to type to run this program again."""
    typed = sys.argv[0]
    if Path(typed).name == "rndfast":
        return shlex.quote(typed)
    return f"{shlex.quote(sys.executable)} -m rndfast"


def eval_command(source: Path, settings: Config) -> str:
    """What to type to evaluate an agent, which may be of another module's environment."""
    module = settings.env.imported_module
    allowed = f" --allow-import {shlex.quote(module)}" if module else ""
    return f"{program()} eval {typed(source)}{allowed}"


def error_text(error: BaseException) -> str:
    """One line that says what went wrong, and on which file if the system complained."""
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
