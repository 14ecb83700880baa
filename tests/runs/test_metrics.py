from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from rndfast.config import RunConfig
from rndfast.runs.metrics import MetricsWriter, keep_rows_until, read_metrics

ROW = {"transitions": 64, "losses/policy": 0.25, "charts/episodic_return": None}


def test_a_row_goes_to_the_file_and_to_tensorboard(tmp_path: Path) -> None:
    writer = MetricsWriter(RunConfig(run_dir=tmp_path), {}, transitions=0)
    writer.write(ROW)
    writer.write({**ROW, "transitions": 128, "losses/policy": 0.5})
    writer.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["transitions"] for line in lines] == [64, 128]
    assert json.loads(lines[0]) == ROW
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = [(event.step, event.value) for event in events.Scalars("losses/policy")]
    assert scalars == [(64, 0.25), (128, 0.5)]
    assert events.Tags()["scalars"] == ["losses/policy"]  # what has no value is not drawn


def test_tensorboard_says_what_a_metric_is(tmp_path: Path) -> None:
    """Read as TensorBoard itself does, from the first value of each."""
    writer = MetricsWriter(RunConfig(run_dir=tmp_path), {}, transitions=0)
    row = {"transitions": 64, "losses/policy": 0.25, "rooms/7/steps": 3, "of/others": 1.0}
    writer.write({**row, "rooms/7/steps": None})
    writer.write({**row, "transitions": 128})
    writer.close()
    descriptions: dict[str, str] = {}
    (path,) = (tmp_path / "tensorboard").iterdir()
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            descriptions.setdefault(value.tag, value.metadata.summary_description)
    assert descriptions["losses/policy"].startswith("PPO's loss: ")
    assert descriptions["rooms/7/steps"].startswith("Steps of this rollout that ended in room n;")
    assert descriptions["of/others"] == ""
    page = "docs/metrics.md"
    assert all(f"`{page}`" in descriptions[name] for name in ("losses/policy", "rooms/7/steps"))
    assert (Path(__file__).resolve().parents[2] / page).exists()


def test_an_image_is_shown_in_tensorboard(tmp_path: Path) -> None:
    pixels = torch.arange(6, dtype=torch.float64).reshape(1, 2, 3) * 50
    writer = MetricsWriter(RunConfig(run_dir=tmp_path), {}, transitions=0)
    writer.write_image("rnd/observation_mean", pixels, 64)
    writer.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (image,) = events.Images("rnd/observation_mean")
    assert (image.step, image.height, image.width) == (64, 2, 3)
    shown = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("L"))
    np.testing.assert_array_equal(shown, pixels[0].numpy())


def test_rows_after_the_checkpoint_are_dropped_on_resuming(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [{**ROW, "transitions": transitions} for transitions in (64, 128, 192)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"transitions": 2')
    assert read_metrics(path) == rows  # the torn last line is left out
    keep_rows_until(path, 128)
    assert read_metrics(path) == rows[:2]
    assert path.read_text().endswith("}\n")
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_nan_is_refused(tmp_path: Path) -> None:
    writer = MetricsWriter(RunConfig(run_dir=tmp_path), {}, transitions=0)
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.write({**ROW, "losses/policy": float("nan")})
    writer.close()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_settings_rows_and_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Both libraries have the same three functions; a stand-in records the calls."""
    calls: list[tuple[str, Any, Any]] = []
    tracker = types.ModuleType(name)
    for function in ("init", "log", "finish"):
        record = lambda *args, function=function, **kwargs: calls.append((function, args, kwargs))  # noqa: E731
        setattr(tracker, function, record)
    monkeypatch.setitem(sys.modules, name, tracker)
    config = RunConfig(run_dir=tmp_path / "my-run", tracker=name)  # type: ignore[arg-type]
    config.run_dir.mkdir()
    settings = dataclasses.asdict(config)
    writer = MetricsWriter(config, settings, transitions=0)
    writer.write(ROW)
    writer.close()
    goes_on = {"resume": "never"}
    if name == "wandb":
        goes_on = {"id": (config.run_dir / "tracker-id").read_text(), "resume": "allow"}
    assert calls == [
        ("init", (), {"project": "rndfast", "name": "my-run", "config": settings, **goes_on}),
        ("log", ({"losses/policy": 0.25},), {"step": 64}),
        ("finish", (), {}),
    ]


# --- files of strangers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        '"text"',
        "true",
        "[1, [2]]",
        '{"a": 1}',
        "NaN",
        "Infinity",
        "1e999",
        "9" * 400,
        "-" + "9" * 19,
    ],
)
def test_what_is_no_figure_is_left_out_of_a_row(tmp_path: Path, value: str) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = (
        '{"transitions": VALUE, "a": 2}',
        '{"transitions": 7, "a": VALUE, "b": null, "c": -0.5}',
    )
    path.write_text("".join(row.replace("VALUE", value) + "\n" for row in rows))
    assert read_metrics(path) == [{"transitions": 7, "b": None, "c": -0.5}]


def test_too_large_files_of_metrics_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.touch()
    os.truncate(path, 40 << 30)  # sparse: it takes no room
    with pytest.raises(
        ValueError, match=r"metrics.jsonl must have at most 1,073,741,824 bytes, got"
    ):
        read_metrics(path)
    os.truncate(path, 200 << 20)  # zeros, in one line
    assert read_metrics(path) == []


def test_a_line_without_an_end_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"transitions": 1}\n[' + "0," * (4 << 20) + '0]\n{"transitions": 2}\n')
    tracemalloc.start()
    rows = read_metrics(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [{"transitions": 1}, {"transitions": 2}]
    assert peak < 8 << 20
