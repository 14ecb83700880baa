"""What all campaigns of faults share: a tiny run in a process of its own, and what must hold of it.

A campaign is a module with a `trial`; ``python -m tests.faults.NAME --times N`` repeats it. The run
is one on the real game that ends episodes and writes a checkpoint after each of its rollouts. What
must hold is always the same: whatever happens to it, the run is resumed and ends bit for bit as the
run to which nothing happened.

Processes are forked from one that has imported everything, which takes far longer than the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # imported here, once
from tests import trials
from tests.tiny import NUM_ENVS, STEPS, tiny_config

from rndfast.config import Config
from rndfast.runs.checkpoint import list_checkpoints, load_newest_checkpoint
from rndfast.runs.metrics import Metrics, read_metrics
from rndfast.runs.train import train
from rndfast.runtime.interruption import Interrupted

ROLLOUTS = 6

# Exit codes of a run that ended with an error; those of signals are 128 and more.
PYTHON_ERROR, SYSTEM_ERROR = 1, 2

# (chance, an empty folder, the uninterrupted run) -> outcome in words
Trial = Callable[[random.Random, Path, Path], str]


class Broken(AssertionError):
    """Something that must hold does not."""


def config_of(run_dir: Path) -> Config:
    """A run of four environments, whose games end every 16 steps."""
    config = tiny_config(
        run_dir, total_transitions=ROLLOUTS * NUM_ENVS * STEPS, checkpoint_interval_rollouts=1
    )
    return dataclasses.replace(
        config,
        atari=dataclasses.replace(config.atari, max_num_frames_per_episode=64),
        rnd=dataclasses.replace(config.rnd, num_features=16),
    )


def _run(run_dir: Path, log: Path, prepare: Callable[[], None]) -> None:
    lines: list[str] = []

    def view(update: Metrics | str) -> None:
        if isinstance(update, str):
            lines.append(update)

    code = 0
    faulthandler.register(signal.SIGUSR1)  # prints where each thread is
    prepare()
    try:
        train(config_of(run_dir), resume=bool(list_checkpoints(run_dir / "checkpoints")), view=view)
    except Interrupted as interrupted:
        code = interrupted.exit_code
    except OSError as error:
        code = SYSTEM_ERROR
        lines.append(str(error))
    except Exception:
        code = PYTHON_ERROR
        lines.append(traceback.format_exc())
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))  # for the log
    log.write_text("\n".join(lines))
    os._exit(code)


def start(
    run_dir: Path, log: Path = Path(os.devnull), prepare: Callable[[], None] = lambda: None
) -> BaseProcess:
    """Begin the run in another process, or resume it if it has a checkpoint, as its owner would.

    Args:
        run_dir: Of the run.
        log: Where the lines go that it says, and last its error.
        prepare: Called in the process before all else.
    """
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_run, args=(run_dir, log, prepare))
    process.start()
    return process


def ended(process: BaseProcess, timeout_s: float = 240) -> int:
    """The exit code of a process, which is killed if it takes too long.

    Raises:
        Broken: It took too long.
    """
    process.join(timeout_s)
    if process.exitcode is None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGUSR1)
        time.sleep(1)
        process.kill()
        process.join()
        raise Broken(f"a process still ran after {timeout_s} s")
    return process.exitcode


def finish(run_dir: Path) -> None:
    """Let the run go on to its end.

    Raises:
        Broken: It fails.
    """
    code = ended(start(run_dir))
    if code != 0:
        raise Broken(f"the run could not be finished: exit code {code}")


def finish_as(whole: Path, run_dir: Path) -> None:
    """Let the run go on to its end, which must be that of the uninterrupted one.

    Raises:
        Broken: It fails, or it ended otherwise.
    """
    finish(run_dir)
    require_equal(run_dir, whole)


def require_equal(run_dir: Path, whole: Path) -> None:
    """Check that a run ended as the uninterrupted one: state, metrics, and nothing left over.

    Raises:
        Broken: It did not.
    """
    got, problems = load_newest_checkpoint(run_dir / "checkpoints")
    expected, _ = load_newest_checkpoint(whole / "checkpoints")
    if problems:
        raise Broken(f"a checkpoint is damaged: {problems}")
    if got.state.keys() != expected.state.keys():
        raise Broken("the states have tensors of other names")
    different = [
        name for name, tensor in expected.state.items() if not torch.equal(tensor, got.state[name])
    ]
    if different:
        raise Broken(f"the states differ in {different}")
    if rows_of(run_dir) != rows_of(whole):
        raise Broken("the rows of metrics differ")
    left = [path.name for path in run_dir.rglob("*tmp-*")]
    if left:
        raise Broken(f"temporary files are left: {left}")


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    """Rows of metrics without times."""
    return [
        {name: value for name, value in row.items() if not name.startswith(("perf", "charts/SPS"))}
        for row in read_metrics(run_dir / "metrics.jsonl")
    ]


def run_seconds(whole: Path) -> float:
    """How long an uninterrupted run takes, about."""
    return float(json.loads((whole / "seconds.json").read_text()))


@contextlib.contextmanager
def uninterrupted_run() -> Iterator[Path]:
    """A run to which nothing happens, in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        begun = time.monotonic()
        finish(whole)
        (whole / "seconds.json").write_text(json.dumps(time.monotonic() - begun))
        yield whole


def main(trial: Trial, description: str | None) -> None:
    """Repeat a trial, until Ctrl-C at most; exits with 1 if anything did not hold."""
    parsed = trials.arguments(description)
    with uninterrupted_run() as whole:

        def in_empty_folder(chance: random.Random) -> str:
            with tempfile.TemporaryDirectory() as name:
                return trial(chance, Path(name), whole)

        trials.repeat(in_empty_folder, parsed.times, parsed.seed)


def signal_name(code: int) -> str:
    """Name of the signal of a negative exit code, or the code."""
    return signal.Signals(-code).name if code < 0 else str(code)
