"""A run's directory: made for a new run, found for a resumed one, and written while it trains.

It holds ``config.toml``, ``metrics.jsonl``, ``alarms.jsonl`` if there are any, ``tensorboard/``,
``checkpoints/``, ``machine.json``, which says what it was last trained on, ``tracker-id`` if a
tracker was asked for, and ``lock``, which the process that trains in it holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from rndfast.config import Config, RunConfig, to_toml
from rndfast.envs.protocol import Spaces
from rndfast.runs.alarms import Alarm, AlarmLog
from rndfast.runs.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_newest_checkpoint,
    save_checkpoint,
    use_newest_checkpoint,
)
from rndfast.runs.description import require_resumable, settings_of
from rndfast.runs.metrics import TRACKER_ID, Metrics, MetricsWriter, require_tracker
from rndfast.runs.state import RunStates
from rndfast.runtime.durable_files import remove_leftovers, replace_durably
from rndfast.runtime.file_lock import hold_lock
from rndfast.runtime.hardware import hardware
from rndfast.runtime.interruption import shielded
from rndfast.runtime.terminal import typed

Result = TypeVar("Result")

LOCK = "lock"
MACHINE = "machine.json"


@contextlib.contextmanager
def own_run_dir(run: RunConfig, *, resume: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from training in the run directory; readers are not kept out.

    A new run's directory is made. If nothing has been saved in it when it is left, it is removed,
    with the directories above it that were made for it.
    Nothing is written or deleted outside it, wherever a link in it may point.

    Raises:
        FileExistsError: A new run's directory exists, and not only because a run was killed in it
            before anything was saved.
        InUse: Another process trains in it.
        CheckpointError: With ``resume``, there is no checkpoint.
        ValueError: One of the directories in it is a link.
        ImportError: The tracker is not installed.
    """
    require_tracker(run.tracker)
    run_dir = run.run_dir
    for name in ("checkpoints", "tensorboard"):
        require_no_link(run_dir / name)
    new_parents = [path for path in run_dir.parents if not path.exists()]
    if resume:
        if not list_checkpoints(run_dir / "checkpoints"):
            load_newest_checkpoint(run_dir / "checkpoints")  # says so
    else:
        make_run_dir(run_dir)
    with hold_lock(run_dir / LOCK, f"run directory {run_dir}", say) as is_sole_writer:
        for directory in (run_dir, run_dir / "checkpoints"):
            remove_leftovers(directory, is_sole_writer=is_sole_writer)
        if not resume and has_more_than_a_start(run_dir):
            raise exists_already(run_dir)
        try:
            yield
        finally:
            if not resume and [path.name for path in run_dir.glob("*")] == [LOCK]:
                (run_dir / LOCK).unlink()
                run_dir.rmdir()
                with contextlib.suppress(OSError):  # another run may have begun beside it
                    for path in new_parents:
                        path.rmdir()


def make_run_dir(run_dir: Path) -> None:
    """Make a new run's directory, before anything is started.

    Raises:
        FileExistsError: It exists already, and no run was begun in it.
    """
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    try:
        run_dir.mkdir()
    except FileExistsError:
        if not (run_dir / LOCK).is_file():
            raise exists_already(run_dir) from None


def require_no_link(path: Path) -> None:
    """Check that a part of a run lies in it.

    Raises:
        ValueError: It is a link.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a link, and a run writes only inside its own directory")


def exists_already(run_dir: Path) -> FileExistsError:
    """The error of a new run whose directory is there."""
    return FileExistsError(
        f"run directory {run_dir} exists already: choose another --run-dir, "
        f"or go on with --resume {typed(run_dir)}"
    )


def has_more_than_a_start(run_dir: Path) -> bool:
    """Whether there is more than what a run leaves that is killed before its first checkpoint."""
    of_a_start = {LOCK, MACHINE, TRACKER_ID}
    of_a_start |= {"config.toml", "metrics.jsonl", "tensorboard", "checkpoints"}
    names = {path.name for path in run_dir.iterdir()}
    metrics = run_dir / "metrics.jsonl"
    return bool(
        names - of_a_start
        or list_checkpoints(run_dir / "checkpoints")
        or (metrics.exists() and metrics.stat().st_size > 0)
    )


def use_newest(
    run_dir: Path, use: Callable[[Checkpoint], Result], say: Callable[[str], None]
) -> Result:
    """What ``use`` makes of a run's newest checkpoint that it can use; says why it is no newer one.

    Raises:
        CheckpointError: There is none.
    """
    result, problems = use_newest_checkpoint(run_dir / "checkpoints", use)
    for problem in problems:
        say(f"skipped a checkpoint: {problem}")
    return result


def checkpoint_to_resume(config: Config, spaces: Spaces, say: Callable[[str], None]) -> Checkpoint:
    """The checkpoint that a run goes on from, with a state of its settings; says which.

    Says as well which settings are not those that it was made with.

    Raises:
        CheckpointError: There is none.
    """

    def checked(checkpoint: Checkpoint) -> Checkpoint:
        settings_of(checkpoint)
        require_resumable(checkpoint, config, spaces)
        return checkpoint

    checkpoint = use_newest(config.run.run_dir, checked, say)
    say(f"resuming from {checkpoint.path}")
    changes = differences(settings_of(checkpoint), config)
    if changes:
        say(f"settings changed since then: {', '.join(changes)}")
    return checkpoint


def differences(before: Config, now: Config) -> list[str]:
    """What is another setting now, in words; but for the run's directory, which may be moved."""
    changes = []
    for section in dataclasses.fields(Config):
        was, is_ = (vars(getattr(config, section.name)) for config in (before, now))
        changes += [
            f"{name} {value} (was {was[name]})"
            for name, value in is_.items()
            if value != was[name] and name != "run_dir"
        ]
    return changes


class RunRecorder:
    """Writes metrics and checkpoints, and on any failure saves the state after the last rollout.

    Use as a context manager around training.

    Args:
        config: The run's settings.
        states: Who took ``state`` and those of `record`.
        state: That before the first rollout.
    """

    def __init__(self, config: Config, states: RunStates, state: dict[str, Tensor]) -> None:
        replace_durably(config.run.run_dir / "config.toml", to_toml(config).encode())
        replace_durably(config.run.run_dir / MACHINE, json.dumps(hardware(), indent=2).encode())
        self._config, self._states = config, states
        self._last_state = state  # what a failure in the next rollout cannot touch
        self._metrics = MetricsWriter(config.run, dataclasses.asdict(config), self._transitions)
        self._alarms = AlarmLog(config.run.run_dir, config.ppo.rollout_steps)
        self._save()

    @property
    def _transitions(self) -> int:
        return int(self._last_state["transitions"])

    def record(self, metrics: Metrics, state: dict[str, Tensor]) -> list[Alarm]:
        """End a rollout: write its metrics, and a checkpoint of the state if one is due.

        The metrics are given ``health/alarms``, the number of alarms so far.

        Returns:
            The alarms that this rollout raises.
        """
        run = self._config.run
        with shielded():
            new_alarms = self._alarms.add(metrics)
            metrics["health/alarms"] = len(self._alarms.raised)
            self._metrics.write(metrics)
            self._last_state = state  # a state is never saved without its row
            num_rollouts = self._transitions // self._config.rollout_transitions
            is_last = self._transitions >= run.total_transitions
            if is_last or num_rollouts % run.checkpoint_interval_rollouts == 0:
                self._save()
                mean = state["obs_moments.mean"]
                if mean.ndim == 3 and float(state["obs_moments.count"]) >= 1:  # of images
                    self._metrics.write_image("rnd/observation_mean", mean, self._transitions)
        return new_alarms

    def _save(self) -> None:
        save_checkpoint(
            self._config.run.run_dir / "checkpoints",
            self._transitions,
            self._states.packed(self._last_state),
            to_toml(self._config),
            self._config.run.keep_checkpoints,
        )

    def __enter__(self) -> RunRecorder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # where the system refused to write (full disk), that is told, and not what follows from it
        hidden = [OSError] if isinstance(error, OSError) else []
        with shielded(), contextlib.suppress(*hidden), contextlib.closing(self._metrics):
            if error is not None:
                self._save()  # shielded, as torchrun stops all ranks when it loses one
