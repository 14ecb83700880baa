"""Where a run's figures go: ``metrics.jsonl``, TensorBoard and, if asked, an experiment tracker."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rndfast.config import RunConfig
from rndfast.runs.meanings import description_of
from rndfast.runtime.durable_files import named_in_errors, replace_durably
from rndfast.runtime.terminal import print_line

if TYPE_CHECKING:
    from torch import Tensor

Metrics = dict[str, float | int | None]


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
            self._tracker = importlib.import_module(config.tracker)
            self._tracker.init(project="rndfast", name=config.run_dir.name, config=settings)

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
        with named_in_errors(self._path):
            self._file.close()
        with named_in_errors(self._tensorboard_dir):
            self._tensorboard.close()
        self._call_tracker("finish")

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


def require_tracker(name: str) -> None:
    """Check that an experiment tracker can be used, before anything is written.

    Raises:
        ImportError: It is not installed.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise ImportError(f"tracker {name!r} is not installed: pip install 'rndfast[trackers]'")


def read_metrics(path: Path) -> list[Metrics]:
    """Rows of a ``metrics.jsonl``; lines that are no rows, torn or damaged, are left out."""
    rows: list[Metrics] = []
    if not path.exists():
        return rows
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # also of bytes that are no UTF-8
            continue
        if isinstance(row, dict) and isinstance(row.get("transitions"), int):
            rows.append(row)
    return rows


def keep_rows_until(path: Path, transitions: int) -> None:
    """Drop the rows of a ``metrics.jsonl`` that lie after ``transitions``, atomically."""
    rows = read_metrics(path)
    kept = [row for row in rows if (row["transitions"] or 0) <= transitions]
    replace_durably(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
