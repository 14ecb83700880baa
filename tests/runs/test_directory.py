"""Who may write in a run's directory, and who is not kept out."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest
from tests.faults.campaign import require_equal
from tests.tiny import NUM_ENVS, STEPS, PeriodicEnv, tiny_config

import rndfast.runs.train
from rndfast.commands.info import describe_run
from rndfast.config import Config
from rndfast.runs.alarms import Alarm, AlarmLog
from rndfast.runs.checkpoint import list_checkpoints
from rndfast.runs.curves import load_run
from rndfast.runs.evaluate import evaluate
from rndfast.runs.metrics import Metrics, MetricsWriter, read_metrics
from rndfast.runs.train import train
from rndfast.runtime.file_lock import InUse

ROLLOUT = NUM_ENVS * STEPS


def silent(_: Metrics | str) -> None:
    """A view that shows nothing."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(rndfast.runs.train, "make_env", lambda config, num_threads: PeriodicEnv())
    return tiny_config(tmp_path / "run", checkpoint_interval_rollouts=1)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_is_under_way_is_left_alone(config: Config, resume: bool) -> None:
    seen: list[str] = []

    def meddle(metrics: Metrics | str) -> None:
        if isinstance(metrics, str) or metrics["transitions"] != 2 * ROLLOUT:
            return
        before = sorted(config.run.run_dir.rglob("*"))
        with pytest.raises(InUse) as caught:
            train(config, resume=resume, view=silent)
        seen.append(str(caught.value))
        assert sorted(config.run.run_dir.rglob("*")) == before

    train(config, view=meddle)
    assert len(seen) == 1
    assert f"run directory {config.run.run_dir} is in use by process {os.getpid()}" in seen[0]
    rows = read_metrics(config.run.run_dir / "metrics.jsonl")
    assert [row["transitions"] for row in rows] == [ROLLOUT * k for k in (1, 2, 3, 4)]
    train(config, resume=True, view=silent)  # it was given back


def test_a_run_that_plays_its_first_steps_is_left_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []

    def meddle(*_: object) -> None:
        with pytest.raises(InUse) as caught:
            train(config, view=silent)
        messages.append(str(caught.value))
        assert [path.name for path in config.run.run_dir.iterdir()] == ["lock"]

    monkeypatch.setattr(rndfast.runs.train, "initialize_obs_moments", meddle)
    train(config, view=silent)
    assert len(messages) == 1


def test_readers_are_not_kept_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(tmp_path / "run", checkpoint_interval_rollouts=1)
    atari = dataclasses.replace(config.atari, max_num_frames_per_episode=40)
    config = dataclasses.replace(config, atari=atari)
    read: list[int] = []

    def look(metrics: Metrics | str) -> None:
        if isinstance(metrics, str) or metrics["transitions"] != 2 * ROLLOUT:
            return
        describe_run(config.run.run_dir)
        evaluate(config.run.run_dir, episodes=1, record=False)
        read.append(len(load_run(config.run.run_dir).rows))

    train(config, view=look)
    assert read == [2]
    assert "1 episodes of step-000000000048" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The directory of a run that was killed while the random agent played."""
    run_dir = tmp_path / "run"
    flags = f"--preset classic --num-envs 4 --obs-norm-steps 100000000 --run-dir {run_dir}"
    command = [sys.executable, "-m", "rndfast", "train", *flags.split()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not (run_dir / "lock").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    return run_dir


def test_a_run_that_was_killed_before_anything_was_saved_is_begun_again(
    killed: Path, config: Config
) -> None:
    assert [path.name for path in killed.iterdir()] == ["lock"]
    train(config, view=silent)
    assert list_checkpoints(killed / "checkpoints")


def test_what_a_kill_leaves_between_the_settings_and_the_first_checkpoint_is_begun_again(
    config: Config,
) -> None:
    run_dir = config.run.run_dir
    (run_dir / "checkpoints" / "tmp-other_host-12").mkdir(parents=True)
    (run_dir / "tensorboard").mkdir()
    for name in ("lock", "config.toml", "metrics.jsonl", ".config.toml.tmp-other_host-12"):
        (run_dir / name).touch()
    train(config, view=silent)
    names = {path.name for path in (*run_dir.iterdir(), *(run_dir / "checkpoints").iterdir())}
    assert not any("tmp" in name for name in names)


@pytest.mark.parametrize("name", ["notes", "checkpoints/step-000000000001/x", "metrics.jsonl"])
def test_a_directory_in_which_something_is_saved_is_never_begun_again(
    config: Config, name: str
) -> None:
    path = config.run.run_dir / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    (config.run.run_dir / "lock").touch()
    before = sorted(config.run.run_dir.rglob("*"))
    with pytest.raises(FileExistsError, match="exists already: choose another"):
        train(config, view=silent)
    assert sorted(config.run.run_dir.rglob("*")) == before
    assert path.read_text() == "mine"


# --- what cannot be written beside the state ----------------------------------------------------


@pytest.mark.parametrize("output", ["metrics.jsonl", "tensorboard", "alarms.jsonl", "picture"])
def test_an_error_beside_the_state_costs_no_more_than_its_rollout(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """The third rollout's output fails; then there is room again, and nothing has been lost."""
    whole = dataclasses.replace(config.run, run_dir=tmp_path / "whole")
    train(dataclasses.replace(config, run=whole), view=silent)
    rarely = dataclasses.replace(config.run, checkpoint_interval_rollouts=3)
    config = dataclasses.replace(config, run=rarely)
    write, add = MetricsWriter.write, AlarmLog.add

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_or_fail(writer: MetricsWriter, metrics: Metrics) -> None:
        if metrics["transitions"] == 3 * ROLLOUT:
            if output == "metrics.jsonl":  # fails again when it is closed
                writer._file.close()
                writer._file = Path("/dev/full").open("a")  # noqa: SIM115
            elif output == "tensorboard":
                monkeypatch.setattr(writer._tensorboard.file_writer, "add_summary", refuse)
            elif output == "picture":
                monkeypatch.setattr(writer._tensorboard, "add_image", refuse)
        write(writer, metrics)

    def add_or_fail(log: AlarmLog, row: Metrics) -> list[Alarm]:
        if output == "alarms.jsonl" and row["transitions"] == 3 * ROLLOUT:
            refuse()
        return add(log, row)

    with monkeypatch.context() as patched:
        patched.setattr(MetricsWriter, "write", write_or_fail)
        patched.setattr(AlarmLog, "add", add_or_fail)
        with pytest.raises(OSError, match="No space left") as caught:
            train(config, view=silent)
    if output != "alarms.jsonl":
        file = output if output == "metrics.jsonl" else "tensorboard"
        assert caught.value.filename == str(config.run.run_dir / file)
    saved = 3 if output == "picture" else 2  # which is drawn after the state is saved
    newest = list_checkpoints(config.run.run_dir / "checkpoints")[0]
    assert newest.name == f"step-{saved * ROLLOUT:012d}"
    train(config, resume=True, view=silent)
    require_equal(config.run.run_dir, whole.run_dir)


def test_where_the_state_cannot_be_saved_the_first_error_is_told(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter(("the first", "what follows"))

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, next(errors))

    def view(update: Metrics | str) -> None:
        if not isinstance(update, str):
            monkeypatch.setattr("rndfast.runs.directory.save_checkpoint", refuse)

    with pytest.raises(OSError, match="the first"):
        train(config, view=view)
    assert next(errors, None) is None  # it was tried once more
    monkeypatch.undo()
