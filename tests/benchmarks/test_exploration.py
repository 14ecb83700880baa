"""benchmarks/exploration.py: its figures, and that it goes on where it was stopped."""

from __future__ import annotations

import contextlib
import io
import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from benchmarks import exploration

from rndfast.commands.main import main
from rndfast.config import Config, EnvConfig
from rndfast.presets import PRESETS
from rndfast.runs.curves import Run
from rndfast.runs.metrics import read_metrics

ROLLOUT = PRESETS["classic"].rollout_transitions
ARGUMENTS = [
    *("--tasks=mountain-car", "--algorithms", "PPO", "RND", "DRND"),
    *("--seeds=1", "--jobs=2"),
]


def run_of(rows: list[tuple[float | None, int]]) -> Run:
    """Ten transitions a rollout, and (return, episodes) of each."""
    return Run(
        Path("run"),
        Config(env=EnvConfig()),
        [
            {"transitions": 10 * k, "charts/episodic_return": value, "charts/episodes": episodes}
            for k, (value, episodes) in enumerate(rows, start=1)
        ],
    )


def test_the_final_return_is_of_the_episodes_in_the_last_tenth() -> None:
    rows: list[tuple[float | None, int]] = [(100.0, 1)] * 18
    assert exploration.final_return(run_of([*rows, (1.0, 3), (5.0, 1)])) == (3 * 1 + 5) / 4
    assert exploration.final_return(run_of([*rows, (None, 0), (7.0, 2)])) == 7
    assert math.isnan(exploration.final_return(run_of([*rows, (None, 0), (None, 0)])))


def test_a_cell_has_mean_and_interval() -> None:
    assert exploration.cell({"iqm": -2, "low": -8, "high": 4}) == "-2 (-8 to 4)"
    assert exploration.cell(None) == "-"


class HereAndNow:
    """Stands for a process of `python -m rndfast`, but runs in this one, where torch is loaded."""

    def __init__(self, command: list[str], *, stdout: BinaryIO, stderr: BinaryIO) -> None:
        assert command[:3] == [sys.executable, "-m", "rndfast"]
        assert stderr is stdout
        with contextlib.redirect_stdout(io.TextIOWrapper(stdout, write_through=True)) as text:
            self.returncode = main(command[3:])
            text.detach()

    def poll(self) -> int:
        return self.returncode


def test_what_is_begun_goes_on_and_what_is_finished_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explore(total_transitions: int) -> str:
        exploration.main(
            [*ARGUMENTS, f"--total-transitions={total_transitions}", f"--output={tmp_path}"]
        )
        return capsys.readouterr().out

    monkeypatch.setattr(subprocess, "Popen", HereAndNow)
    runs = {name: tmp_path / "mountain-car" / f"{name}-11" for name in ("ppo", "rnd", "drnd")}
    runs["ppo"].mkdir(parents=True)  # stopped before its first checkpoint
    explore(2 * ROLLOUT)
    shown = explore(3 * ROLLOUT)
    assert shown.startswith("3 runs, 0 of them finished\n")
    for name, run_dir in runs.items():
        rows = read_metrics(run_dir / "metrics.jsonl")
        assert [row["transitions"] for row in rows] == [ROLLOUT, 2 * ROLLOUT, 3 * ROLLOUT]
        assert (rows[0]["rnd/intrinsic_reward"] is not None) == (name != "ppo")
        assert "resuming from" in (run_dir.parent / f"{name}-11.log").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        "mountain-car", "mountain-car.png", "exploration.json", "exploration.md",
    }  # fmt: skip

    monkeypatch.setattr(subprocess, "Popen", None)  # nothing is started any more
    shown = explore(2 * ROLLOUT)
    assert shown.startswith("3 runs, 3 of them finished\n")
    assert "| mountain-car | RND | 1 | 6,144 | " in shown
    report = json.loads((tmp_path / "exploration.json").read_text())
    assert {name: of["seeds"] for name, of in report["tasks"]["mountain-car"].items()} == {
        "PPO": 1,
        "RND": 1,
        "DRND": 1,
    }

    tasks = {"mountain-car": [*exploration.TASKS["mountain-car"], "--ent-coef=0.5"]}
    monkeypatch.setattr(exploration, "TASKS", tasks)
    with pytest.raises(ValueError, match=r"ppo-11 was trained with other settings"):
        explore(2 * ROLLOUT)


def test_a_run_that_fails_ends_the_experiment_and_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real processes: one that cannot begin, and one that would take hours."""
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    long = ["--preset=classic", "--total-transitions=1000000000"]
    monkeypatch.setattr(exploration, "TASKS", {"task": long})
    algorithms = {"good": [], "bad": ["--env-id=NoSuchEnv-v0"]}
    monkeypatch.setattr(exploration, "ALGORITHMS", algorithms)
    chosen = ["--algorithms", *algorithms]
    with pytest.raises(RuntimeError, match=r"bad-11 failed, see .*bad-11\.log"):
        exploration.main(["--seeds=1", "--jobs=2", "--tasks=task", *chosen, f"--output={tmp_path}"])
    assert "NoSuchEnv" in (tmp_path / "task" / "bad-11.log").read_text()
    good, bad = started
    assert bad.returncode == 1
    assert good.returncode in (143, -signal.SIGTERM)  # saved, or not even begun


@pytest.mark.parametrize("flag", ["--seeds=0", "--jobs=0", "--tasks=chess", "--algorithms=DQN"])
def test_bad_flags_exit_with_code_2(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        exploration.main([flag])
    assert exit_.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err
