"""A run's directory: made for a new run, found for a resumed one, and written while it trains.

It holds ``config.toml``, ``metrics.jsonl``, ``tensorboard/`` and ``checkpoints/``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from rndfast.config import Config, to_toml
from rndfast.runs.checkpoint import Checkpoint, load_newest_checkpoint, save_checkpoint
from rndfast.runs.metrics import Metrics, MetricsWriter, require_tracker
from rndfast.runs.state import packed
from rndfast.runtime.durable_files import replace_durably
from rndfast.runtime.interruption import Interruption


def start_run_dir(config: Config, resume: bool, say: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint to go on from; None for a new run, whose directory must not exist yet.

    Raises:
        FileExistsError: A new run's directory exists.
        CheckpointError: No checkpoint verifies.
        ImportError: The tracker is not installed.
    """
    require_tracker(config.run.tracker)
    if resume:
        checkpoint = newest_checkpoint(config.run.run_dir, say)
        say(f"resuming from {checkpoint.path}")
        return checkpoint
    require_new(config.run.run_dir)
    return None


def require_new(run_dir: Path) -> None:
    """Check that a run would not touch another one's directory, before anything is started.

    Raises:
        FileExistsError: It exists already.
    """
    if run_dir.exists():
        raise FileExistsError(
            f"run directory {run_dir} exists already: choose another --run-dir, "
            f"or go on with --resume {run_dir}"
        )


def newest_checkpoint(run_dir: Path, say: Callable[[str], None]) -> Checkpoint:
    """The newest checkpoint of a run that verifies; says why newer ones do not.

    Raises:
        CheckpointError: None verifies.
    """
    checkpoint, problems = load_newest_checkpoint(run_dir / "checkpoints")
    for problem in problems:
        say(f"skipped a checkpoint: {problem}")
    return checkpoint


@contextlib.contextmanager
def new_run_dir(run_dir: Path) -> Iterator[None]:
    """Create the run directory; remove it if what is done inside, before the run begins, fails."""
    run_dir.mkdir(parents=True)
    try:
        yield
    except BaseException:
        run_dir.rmdir()
        raise


class RunRecorder:
    """Writes metrics and checkpoints, and on any failure saves the state after the last rollout.

    Use as a context manager around training.
    """

    def __init__(
        self, config: Config, state: dict[str, Tensor], interruption: Interruption
    ) -> None:
        replace_durably(config.run.run_dir / "config.toml", to_toml(config))
        self._config = config
        self._interruption = interruption
        self._last_state = state  # what a failure in the next rollout cannot touch
        self._metrics = MetricsWriter(config.run, dataclasses.asdict(config), self._transitions)
        self._save()

    @property
    def _transitions(self) -> int:
        return int(self._last_state["transitions"])

    def record(self, metrics: Metrics, state: dict[str, Tensor]) -> None:
        """End a rollout: write its metrics, and a checkpoint of the state if one is due."""
        run = self._config.run
        with self._interruption.shielded():
            self._last_state = state
            self._metrics.write(metrics)
            num_rollouts = self._transitions // self._config.rollout_transitions
            is_last = self._transitions >= run.total_transitions
            if is_last or num_rollouts % run.checkpoint_interval_rollouts == 0:
                self._save()
                mean = state["obs_moments.mean"]
                if mean.ndim == 3 and float(state["obs_moments.count"]) >= 1:  # of images
                    self._metrics.write_image("rnd/observation_mean", mean, self._transitions)

    def _save(self) -> None:
        save_checkpoint(
            self._config.run.run_dir / "checkpoints",
            self._transitions,
            packed(self._last_state),
            to_toml(self._config),
            self._config.run.keep_checkpoints,
        )

    def __enter__(self) -> RunRecorder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            # where the system refused to write (full disk), another write would hide the reason
            if error is not None and not isinstance(error, OSError):
                with self._interruption.shielded():  # torchrun stops all ranks when it loses one
                    self._save()
        finally:
            self._metrics.close()
