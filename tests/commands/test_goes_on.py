"""What must not end a run, and what a user then reads."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rndfast.commands.main import main
from rndfast.envs.games import GAMES, env_id, parse_game
from rndfast.runs import metrics
from rndfast.runs.checkpoint import list_checkpoints
from rndfast.runs.metrics import MetricsWriter, read_metrics

TINY = [
    "--preset=classic", "--num-envs=4", "--rollout-steps=4", "--obs-norm-steps=2",
    "--num-threads=1",
]  # fmt: skip


def start(run_dir: Path, total_transitions: int) -> subprocess.Popen[str]:
    arguments = [*TINY, f"--total-transitions={total_transitions}", f"--run-dir={run_dir}"]
    return subprocess.Popen(
        [sys.executable, "-m", "rndfast", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_reader_that_goes_away_does_not_end_a_run(tmp_path: Path) -> None:
    process = start(tmp_path / "run", 400)
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    with process.stderr as errors:
        assert errors.read().count("standard output fails") == 1
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["transitions"] for row in rows] == list(range(16, 401, 16))
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[0].name == "step-000000000400"


def test_a_closed_terminal_saves_and_leaves(tmp_path: Path) -> None:
    process = start(tmp_path / "run", 10**9)
    assert process.stdout is not None
    for line in process.stdout:
        if " transitions/s" in line:
            break
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (129, "rndfast: stopped by SIGHUP")
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["transitions"]
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[0].name == f"step-{last:012d}"


def test_a_tracker_that_fails_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    writer = MetricsWriter.__new__(MetricsWriter)
    writer._tracker = SimpleNamespace(log=fails, finish=fails)
    for method in ("log", "log", "finish"):
        writer._call_tracker(method)
    assert capsys.readouterr().err.count("no route to host") == 1


@pytest.mark.parametrize("damage", [b"", b'{"transitions": 3', b"\xcc\xff", b"[1]", b"null"])
def test_a_damaged_line_of_metrics_costs_no_other(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"transitions": 1}\n' + damage + b'\n{"transitions": 2}\n')
    assert [row["transitions"] for row in read_metrics(path)] == [1, 2]
    metrics.keep_rows_until(path, 1)
    assert path.read_bytes() == b'{"transitions": 1}\n'


def test_copies_under_other_names_are_no_checkpoints(tmp_path: Path) -> None:
    for name in ("step-000000000080", "step-best", "step-000000000240", "step-000000000240 copy"):
        (tmp_path / name).mkdir()
    found = [path.name for path in list_checkpoints(tmp_path)]
    assert found == ["step-000000000240", "step-000000000080"]


def test_advice_can_be_pasted_and_other_paths_keep_no_run_from_being_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "it's [a] run"
    assert main(["train", *TINY, "--total-transitions=32", f"--run-dir={run_dir}"]) == 0
    advised = [line for line in capsys.readouterr().out.splitlines() if " eval " in line]
    assert shlex.split(advised[0])[-1] == str(run_dir)
    (tmp_path / "notes.txt").touch()
    paths = [str(tmp_path / "notes.txt"), str(run_dir)]
    assert main(["plot", *paths, "--output", str(tmp_path / "plot.png")]) == 0
    assert "notes.txt is no run directory" in capsys.readouterr().err
    assert (tmp_path / "plot.png").exists()


def test_ids_that_are_suggested_have_the_form_that_was_given() -> None:
    for game in GAMES:
        for name in (f"{game}x", env_id(game).replace("-v5", "x-v5")):
            with pytest.raises(ValueError, match="did you mean") as caught:
                parse_game(name)
            suggested = str(caught.value).split("did you mean ")[1].rstrip("?").split(" or ")
            assert all(("/" in each) == ("/" in name) for each in suggested)
            assert all(parse_game(each.strip("'")) in GAMES for each in suggested)
