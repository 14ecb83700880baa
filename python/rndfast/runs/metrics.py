"""Where a run's figures go: ``metrics.jsonl``, TensorBoard and, if asked, an experiment tracker."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rndfast.config import RunConfig
from rndfast.runs.meanings import description_of
from rndfast.runtime.durable_files import (
    named_in_errors,
    read_bounded,
    replace_durably,
    require_size,
)
from rndfast.runtime.terminal import print_line

if TYPE_CHECKING:
    from torch import Tensor

Metrics = dict[str, float | int | None]

TRACKER_ID = "tracker-id"  # a file in the run directory
MAX_ID_BYTES = 64

# Larger files of metrics are not read: the paper's run has 60 MB. A row has about 2 KB.
MAX_BYTES = 1 << 30
MAX_ROW_BYTES = 1 << 20


class MetricsWriter:
    """Writes one row of metrics per rollout.

    ``metrics.jsonl`` has one JSON object per line; a metric without a value in a rollout (no
    episode ended) is null. On resuming, rows after ``transitions`` are dropped: the run goes on
    from there.
    """

    def __init__(self, config: RunConfig, settings: dict[str, Any], transitions: int) -> None:
        # imported here: TensorBoard takes a second
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from torch.utils.tensorboard import SummaryWriter

        self._path = config.run_dir / "metrics.jsonl"
        keep_rows_until(self._path, transitions)
        self._file = self._path.open("a", encoding="utf-8")
        self._tensorboard_dir = config.run_dir / "tensorboard"
        self._tensorboard: Any = SummaryWriter(self._tensorboard_dir, purge_step=transitions + 1)
        self._summary, self._scalar, self._metadata = Summary, Summary.Value, SummaryMetadata
        self._described: set[str] = set()
        self._tracker: Any = None
        if config.tracker != "none":
            self._start_tracker(config, settings)

    def write(self, metrics: Metrics) -> None:
        """Add a row."""
        with named_in_errors(self._path):
            self._file.write(json.dumps(metrics, allow_nan=False) + "\n")
            self._file.flush()
        step = metrics["transitions"]
        values = {key: value for key, value in metrics.items() if value is not None and "/" in key}
        # one event for the row: one for each value takes several times as long
        scalars = [
            self._scalar(tag=key, simple_value=value, metadata=self._describe(key))
            for key, value in values.items()
        ]
        with named_in_errors(self._tensorboard_dir):
            self._tensorboard.file_writer.add_summary(self._summary(value=scalars), step)
        self._call_tracker("log", values, step=step)

    def write_image(self, name: str, pixels: Tensor, transitions: int) -> None:
        """Show ``(C, H, W)`` pixels from 0 to 255 in TensorBoard; C is 1 or 3."""
        with named_in_errors(self._tensorboard_dir):
            self._tensorboard.add_image(name, (pixels / 255).clamp(0, 1), transitions)

    def close(self) -> None:
        """Finish every output."""
        with contextlib.ExitStack() as at_end:  # one that fails keeps none of the others open
            at_end.callback(self._call_tracker, "finish")
            at_end.enter_context(named_in_errors(self._tensorboard_dir))
            at_end.callback(self._tensorboard.close)
            at_end.enter_context(named_in_errors(self._path))
            at_end.callback(self._file.close)

    def _start_tracker(self, config: RunConfig, settings: dict[str, Any]) -> None:
        """Begin the tracker's run, or go on with that of the run directory."""
        is_old, tracker_id = tracker_id_of(config.run_dir)
        # to wandb a run is its id; to trackio its name, which another directory's run may have
        goes_on: dict[str, str] = {"resume": "allow" if is_old else "never"}
        if config.tracker == "wandb":
            goes_on = {"id": tracker_id, "resume": "allow"}
        name = config.run_dir.resolve().name
        self._tracker = importlib.import_module(config.tracker)
        self._call_tracker("init", project="rndfast", name=name, config=settings, **goes_on)

    def _describe(self, metric: str) -> Any:
        """What TensorBoard shows beside a metric's curve; it reads it from the first value."""
        if metric in self._described:
            return None
        self._described.add(metric)
        return self._metadata(summary_description=description_of(metric))

    def _call_tracker(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Use the tracker, if there is one; what fails there, as a network does, ends no run."""
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, method)(*args, **kwargs)
        except Exception as error:
            self._tracker = None
            print_line(
                f"rndfast: the tracker fails ({type(error).__name__}: {error}): training goes on "
                "without it, and metrics.jsonl has the figures",
                sys.stderr,
            )


def tracker_id_of(run_dir: Path) -> tuple[bool, str]:
    """The id of a run's run at its tracker, drawn at its start; and whether it was there before."""
    path = run_dir / TRACKER_ID
    if path.is_file() and not path.is_symlink():  # to a file of which no tracker should know
        with contextlib.suppress(ValueError):
            found = read_bounded(path, MAX_ID_BYTES).decode().strip()
            if re.fullmatch(r"[\w-]+", found, re.ASCII):
                return True, found
    drawn = secrets.token_hex(8)
    replace_durably(path, drawn.encode())
    return False, drawn


def require_tracker(name: str) -> None:
    """Check that an experiment tracker can be used, before anything is written.

    Raises:
        ImportError: It is not installed.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise ImportError(f"tracker {name!r} is not installed: pip install 'rndfast[trackers]'")


def read_metrics(path: Path) -> list[Metrics]:
    """Rows of a ``metrics.jsonl``; what is no row in it, and no figure in a row, is left out.

    Torn and damaged lines are none, nor is what is no finite number a figure, as text or a list.

    Raises:
        ValueError: It is larger than 1 GiB.
    """
    rows: list[Metrics] = []
    if not path.is_file():
        return rows
    require_size(path, MAX_BYTES)
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(MAX_ROW_BYTES), b""):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # also of bytes that are no UTF-8
                continue
            if isinstance(row, dict) and is_count(row.get("transitions")):
                rows.append({key: value for key, value in row.items() if is_figure(value)})
    return rows


def is_figure(value: object) -> bool:
    """Whether a value may stand in a row: nothing, or a number that is finite in 64 bits."""
    if type(value) is int:
        return abs(value) < 1 << 63
    return value is None or (type(value) is float and math.isfinite(value))


def is_count(value: object) -> bool:
    """Whether a value may be a number of transitions."""
    return type(value) is int and 0 <= value < 1 << 63


def keep_rows_until(path: Path, transitions: int) -> None:
    """Drop the rows of a ``metrics.jsonl`` that lie after ``transitions``, atomically."""
    rows = read_metrics(path)
    kept = [row for row in rows if (row["transitions"] or 0) <= transitions]
    replace_durably(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
