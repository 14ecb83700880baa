"""The command line: ``rndfast train | eval | bench | info | plot | presets | profile``.

Everything heavy is imported by the command that needs it: ``rndfast --help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

SUMMARY = {
    "train": "train PPO with RND, or resume a run",
    "eval": "play episodes with a trained agent and record a video",
    "bench": "measure training and environments beside their peers",
    "info": "describe a run and verify its checkpoints; without a run, this installation",
    "plot": "draw learning curves of runs, seeds together",
    "presets": "show the settings of every preset side by side",
    "profile": "trace one training iteration and say where its time goes",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="rndfast",
        description="Random Network Distillation on Atari.",
        epilog="'rndfast COMMAND --help' lists a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in SUMMARY.items():
        commands.add_parser(name, help=summary, add_help=False)
    arguments, rest = parser.parse_known_args(argv[:1])
    rest += argv[1:]
    if arguments.version:
        import rndfast

        print(f"rndfast {rndfast.__version__}")  # noqa: T201
        return 0
    if arguments.command is None:
        parser.print_help()
        return 2

    from rndfast.runs.checkpoint import CheckpointError
    from rndfast.runtime.interruption import Interrupted
    from rndfast.runtime.processes import RankLost

    try:
        run_command(arguments.command, rest)
    except Interrupted as interrupted:
        reason = ""
        if os.environ.get("WORLD_SIZE", "1") != "1" and str(interrupted) == "SIGTERM":
            reason = " (torchrun stops every process when one ends: go on with --resume)"
        print(f"rndfast: stopped by {interrupted}{reason}", file=sys.stderr)  # noqa: T201
        return interrupted.exit_code
    except KeyboardInterrupt:
        print("rndfast: stopped", file=sys.stderr)  # noqa: T201
        return 130
    except (
        CheckpointError,
        FloatingPointError,
        ImportError,
        MemoryError,
        OSError,
        RankLost,
        ValueError,
    ) as error:
        print(f"rndfast: error: {error_text(error)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def run_command(command: str, argv: list[str]) -> None:
    """Parse the arguments of a command and run it."""
    from rndfast.commands.arguments import (
        BenchArguments,
        EvalArguments,
        InfoArguments,
        PlotArguments,
        PresetsArguments,
        ProfileArguments,
        parse,
        parse_train,
    )

    if command == "train":
        arguments = parse_train(argv)
        from rndfast.commands.display import open_view
        from rndfast.runs.train import train

        settings = arguments.settings
        resume = arguments.resume is not None
        if os.environ.get("RANK", "0") != "0":  # torchrun's: rank 0 shows the run
            train(settings, resume=resume)
            return
        with open_view(settings) as view:
            train(settings, resume=resume, view=view)
        run_dir = settings.run.run_dir
        print(f"the run is in {run_dir}; next:")  # noqa: T201
        print(f"  {program()} eval {run_dir}")  # noqa: T201
        print(f"  {Path(sys.executable).parent / 'tensorboard'} --logdir {run_dir}")  # noqa: T201
    elif command == "eval":
        from rndfast.runs.evaluate import evaluate

        play = parse(EvalArguments, argv, "eval")
        evaluate(
            play.run_dir,
            checkpoint_name=play.checkpoint,
            episodes=play.episodes,
            seed=play.seed,
            num_threads=play.num_threads,
            video=play.video,
            record=play.record,
        )
    elif command == "bench":
        measured = parse(BenchArguments, argv, "bench")
        from rndfast.bench.bench import bench

        bench(measured)
    elif command == "plot":
        from rndfast.commands.plot import plot

        drawn = parse(PlotArguments, argv, "plot")
        plot(drawn.run_dirs, drawn.output)
    elif command == "profile":
        from rndfast.commands.profile import profile

        traced = parse(ProfileArguments, argv, "profile")
        profile(traced.settings(), traced.output)
    elif command == "presets":
        from rndfast.commands.presets_table import describe_presets

        parse(PresetsArguments, argv, "presets")
        describe_presets()
    else:
        from rndfast.commands.info import describe_installation, describe_run

        described = parse(InfoArguments, argv, "info").run_dir
        describe_installation() if described is None else describe_run(described)


def program() -> str:
    """What to type to run this program again."""
    typed = sys.argv[0]
    return typed if Path(typed).name == "rndfast" else f"{sys.executable} -m rndfast"


def error_text(error: BaseException) -> str:
    """One line that says what went wrong, and on which file if the system complained."""
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
