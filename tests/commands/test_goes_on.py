"""What must not end a run, and what a user then reads."""

from __future__ import annotations

import dataclasses
import importlib
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from rndfast.commands.main import main
from rndfast.config import load_run_config
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


# --- trackers -----------------------------------------------------------------------------------

FAKE_TRACKER = """
calls = []
fails = False

def init(**settings):
    calls.append(("init", settings))
    if fails:
        raise ConnectionError("no route to host")

def log(values, step):
    calls.append(("log", step))

def finish():
    calls.append(("finish", None))
"""


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A stand-in for the library, which is not installed here."""
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "wandb.py").write_text(FAKE_TRACKER)
    monkeypatch.syspath_prepend(tmp_path / "fakes")
    yield importlib.import_module("wandb")
    del sys.modules["wandb"]


def test_a_resumed_run_goes_on_as_the_same_run_of_the_tracker(
    tmp_path: Path, wandb: ModuleType
) -> None:
    run_dir = tmp_path / "run"
    new = ["train", *TINY, "--tracker=wandb", "--total-transitions=32", "--run-dir"]
    assert main([*new, str(run_dir)]) == 0
    moved = run_dir.rename(tmp_path / "moved")
    assert main(["train", "--resume", str(moved), "--total-transitions=64"]) == 0
    assert main([*new, str(tmp_path / "other")]) == 0
    steps = [step for call, step in wandb.calls if call == "log"]
    assert steps == [16, 32, 48, 64, 16, 32]
    first, resumed, other = (settings for call, settings in wandb.calls if call == "init")
    assert first["id"] == resumed["id"] != other["id"]
    assert first["resume"] == resumed["resume"] == "allow"
    assert first["project"] == "rndfast"


@pytest.mark.parametrize("found", [b"../x", b"\xff", b"", b"a" * 1000])
def test_an_id_that_is_none_is_drawn_anew(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "tracker-id").write_bytes(found)
    is_old, drawn = metrics.tracker_id_of(tmp_path)
    assert not is_old
    assert metrics.tracker_id_of(tmp_path) == (True, drawn)


def test_a_link_to_a_secret_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token123")
    (tmp_path / "tracker-id").symlink_to(tmp_path / "secret")
    is_old, drawn = metrics.tracker_id_of(tmp_path)
    assert not is_old
    assert drawn != "token123"
    assert (tmp_path / "secret").read_text() == "token123"


def test_a_tracker_that_does_not_start_ends_no_run(
    tmp_path: Path, wandb: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.fails = True  # type: ignore[attr-defined]
    run_dir = tmp_path / "run"
    arguments = [*TINY, "--tracker=wandb", "--total-transitions=32", f"--run-dir={run_dir}"]
    assert main(["train", *arguments]) == 0
    assert capsys.readouterr().err.count("the tracker fails (ConnectionError: no route") == 1
    assert [call for call, _ in wandb.calls] == ["init"]
    assert [row["transitions"] for row in read_metrics(run_dir / "metrics.jsonl")] == [16, 32]


# --- settings of a resumed run --------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "run"
    assert main(["train", *TINY, "--total-transitions=32", f"--run-dir={path}"]) == 0
    return path


@pytest.fixture
def run_dir(small_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_run, tmp_path / "copy")


def test_settings_that_were_edited_are_said(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = ["train", "--resume", str(run_dir)]
    assert main([*resume, "--total-transitions=48"]) == 0
    assert "since then: total_transitions 48 (was 32)\n" in capsys.readouterr().out
    assert main(resume) == 0
    assert "since then" not in capsys.readouterr().out
    file = run_dir / "config.toml"
    text = file.read_text()
    file.write_text(text.replace("learning_rate = 0.0005", "learning_rate = 0.125"))
    assert file.read_text() != text
    assert main(resume) == 0
    assert "since then: learning_rate 0.125 (was 0.0005)\n" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [b"[[", b"\xf2", b"[env]\nnum_envs = 0", b"#" * 2_000_000, None])
def test_damaged_settings_are_those_of_the_checkpoint(
    run_dir: Path, capsys: pytest.CaptureFixture[str], damage: bytes | None
) -> None:
    file = run_dir / "config.toml"
    before = load_run_config(run_dir)
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    assert main(["info", str(run_dir)]) == 1
    assert "config.toml" in capsys.readouterr().err
    assert main(["train", "--resume", str(run_dir), "--total-transitions=48"]) == 0
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert "config.toml" in line
    assert line.endswith(": the settings of its newest checkpoint are taken")
    now = load_run_config(run_dir)
    assert dataclasses.replace(now.run, total_transitions=32) == before.run
    assert dataclasses.replace(now, run=before.run) == before


def test_damaged_settings_without_a_checkpoint_are_named(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run_dir / "checkpoints")
    (run_dir / "config.toml").write_text("[[")
    assert main(["train", "--resume", str(run_dir)]) == 1
    assert f"{run_dir / 'config.toml'}: not a TOML file" in capsys.readouterr().err


# --- standard output ------------------------------------------------------------------------------


def commands(run_dir: Path) -> dict[str, list[str]]:
    """A call of each command that shows something."""
    return {
        "info": ["info"],
        "info RUN": ["info", str(run_dir)],
        "eval": ["eval", str(run_dir), "--no-record", "--episodes=1", "--num-threads=1"],
        "export": ["export", str(run_dir), f"--output={run_dir / 'agent'}"],
        "plot": ["plot", str(run_dir), f"--output={run_dir / 'plot.png'}"],
        "report": ["report", str(run_dir), f"--output={run_dir / 'report.html'}"],
        "presets": ["presets"],
        "--version": ["--version"],
        "train --help": ["train", "--help"],
    }


@pytest.mark.parametrize("name", commands(Path()))
def test_a_full_standard_output_is_told_in_one_line(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        try:
            code = main(commands(run_dir)[name])
        except SystemExit as left:
            code = left.code  # type: ignore[assignment]
        expected = "rndfast: error: No space left on device: standard output\n"
        assert (code, capsys.readouterr().err) == (1, expected)


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "Bad file descriptor"),
        ("| true", "Broken pipe"),  # a reader that has gone
    ],
)
def test_nothing_is_said_at_the_end_of_the_process_either(redirection: str, reason: str) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m rndfast presets {redirection}"
    done = subprocess.run(["bash", "-c", command], check=False, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, f"rndfast: error: {reason}: standard output\n")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_whose_output_is_full_goes_on_and_says_it_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,
) -> None:
    if is_terminal:  # the live table
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    run_dir = tmp_path / "run"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        code = main(["train", *TINY, "--total-transitions=32", f"--run-dir={run_dir}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 0
    assert "standard output fails (No space left on device): training goes on" in line
    assert len(read_metrics(run_dir / "metrics.jsonl")) == 2
