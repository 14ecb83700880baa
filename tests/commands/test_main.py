from __future__ import annotations

import dataclasses
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.commands.error_lines import error_of

from rndfast.commands.arguments import parse_train
from rndfast.commands.main import main
from rndfast.commands.plot import PANELS
from rndfast.config import from_toml
from rndfast.presets import PRESETS
from rndfast.runs.checkpoint import list_checkpoints, load_checkpoint
from rndfast.runs.curves import EPISODES
from rndfast.runs.metrics import read_metrics

# the smallest run on the real game
TINY = [
    "--preset=laptop", "--num-envs=4", "--rollout-steps=8", "--obs-norm-steps=4",
    "--update-epochs=1", "--num-threads=1", "--checkpoint-interval-rollouts=1",
]  # fmt: skip


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "rndfast", *map(str, arguments)]


def start_training(run_dir: Path) -> subprocess.Popen[str]:
    """A run without end, past its first checkpoint after a rollout."""
    process = subprocess.Popen(
        command("train", *TINY, "--run-dir", run_dir, "--total-transitions=1000000000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if " transitions/s" in line:
            break
    return process


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def help_without_torch(*arguments: str) -> str:
    """What help says, after checking that it was not kept waiting by a large import."""
    script = (
        "import sys\nfrom rndfast.commands.main import main\n"
        "try:\n    main([*sys.argv[1:], '--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'ale_py' not in sys.modules"
    )
    shown = [sys.executable, "-c", script, *arguments]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout


def test_help_lists_the_commands_and_is_not_kept_waiting_by_torch() -> None:
    commands = ("train", "eval", "bench", "info", "plot", "presets", "profile")
    shown = help_without_torch()
    for command in commands:
        assert re.search(rf"^ +{command} +[a-z]", shown, re.MULTILINE)
        assert f"usage: rndfast {command} " in help_without_torch(command)


def test_every_setting_is_a_flag_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--preset", "laptop", "--help"])
    assert exit_.value.code == 0
    text = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    for section in dataclasses.asdict(PRESETS["laptop"]).values():
        for name in section:
            flag = "--" + name.replace("_", "-")
            described = re.search(rf"{flag}(, --no-\S+)? (\S+ )?[A-Z][^│]{{20,}}", text)
            assert described is not None, flag
    assert "Parallel environments. (default: 32)" in text
    assert "A game starts with a random number of no-op frames below this" in text


def test_train_resume_and_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "run"
    settings = tmp_path / "settings.toml"
    settings.write_text("[ppo]\nlearning_rate = 0.5\next_gamma = 0.9\n")
    arguments = ["--config", str(settings), "--learning-rate=0.001", "--run-dir", str(run_dir)]
    assert main(["train", *TINY, *arguments, "--total-transitions=32"]) == 0
    shown = capsys.readouterr().out
    assert f"the run is in {run_dir}; next:" in shown
    assert "32 of 32 transitions" in shown
    config = from_toml((run_dir / "config.toml").read_text())
    assert (config.env.num_envs, config.ppo.learning_rate, config.ppo.ext_gamma) == (4, 0.001, 0.9)

    assert main(["train", "--resume", str(run_dir), "--total-transitions=64"]) == 0
    assert "resuming from" in capsys.readouterr().out
    assert [row["transitions"] for row in read_metrics(run_dir / "metrics.jsonl")] == [32, 64]

    assert main(["plot", str(run_dir), "--output", str(tmp_path / "plot.png")]) == 0
    row = read_metrics(run_dir / "metrics.jsonl")[-1]
    assert {*PANELS, EPISODES, "perf/iteration_s"} <= row.keys()  # all that it reads

    assert main(["info", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert "64 of 64 transitions" in shown
    assert shown.count("verified") == 3
    assert "transitions up to the first visit: 1 at 4" in shown  # Montezuma's first room

    assert main(["train", *TINY, "--run-dir", str(run_dir)]) == 1
    assert "exists already: choose another --run-dir" in last_line(capsys)
    assert main(["train", "--resume", str(run_dir), "--num-envs=8"]) == 1
    assert last_line(capsys) == "rndfast: error: num_envs of a resumed run must stay 4, got 8"
    (list_checkpoints(run_dir / "checkpoints")[0] / "config.toml").write_text("x")
    assert main(["info", str(run_dir)]) == 1
    assert "1 checkpoints of" in last_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env-id=rndfast/Montezooma-v5"], "unknown game 'rndfast/Montezooma-v5': did you mean"),
        (["--env-id=Montezooma"], "cannot make 'Montezooma': Environment `Montezooma` doesn't"),
        (["--device=cuda"], "device is 'cuda', but torch sees no CUDA device here"),
        (["--config=nowhere.toml"], "No such file or directory: nowhere.toml"),
        (["--resume=nowhere"], "nowhere is no run directory: it has no config.toml"),
        (["--preset=laptop", "--resume=x"], "leave --preset and --config out"),
        (["--tracker=trackio"], "tracker 'trackio' is not installed"),
        (["--img-height=20", "--num-envs=4"], "frames must be large enough for the convolutions"),
        (["--noop-max=-1"], "noop_max must be in [0, 2147483647], got -1"),
        (
            ["--repeat-action-probability=1.5"],
            "repeat_action_probability must be in [0, 1]",
        ),
        (["--env-id=CartPole-v7"], "cannot make 'CartPole-v7': "),
    ],
)
def test_a_wrong_argument_gives_one_line_and_leaves_nothing(
    empty_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in error_of(capsys, "train", *arguments)
    assert list(empty_dir.iterdir()) == []


def test_a_setting_that_is_a_number_or_a_word_is_a_flag_for_both() -> None:
    flags = ["--predictor-proportion=auto", "--obs-clip=inf", "--max-grad-norm=0.5"]
    settings = parse_train(flags).settings
    assert (settings.rnd.predictor_proportion, settings.rnd.obs_clip) == ("auto", math.inf)
    assert settings.ppo.max_grad_norm == 0.5
    flags = ["--preset=cleanrl", "--predictor-proportion=0.5", "--max-grad-norm=None"]
    settings = parse_train(flags).settings
    assert (settings.rnd.predictor_proportion, settings.ppo.max_grad_norm) == (0.5, None)


def test_settings_that_do_not_go_together_are_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--preset=classic", "--frameskip=2"])
    assert exit_.value.code == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "frameskip must be 4, as only Atari games have it, with 'MountainCar-v0', got 2" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", "--nmu-envs=3"],
        ["train", "--num-envs=three"],
        ["train", "--num-envs=0"],
        ["train", "--preset=desktop"],
        ["eval"],
    ],
)
def test_bad_flags_exit_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    shown = capsys.readouterr()
    assert (shown.out + shown.err).strip()


def test_ctrl_c_and_sigterm_save_the_last_rollout_and_leave(tmp_path: Path) -> None:
    for signum, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        run_dir = tmp_path / str(code)
        process = start_training(run_dir)
        asked = time.monotonic()
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - asked < 30
        assert process.returncode == code
        assert errors.strip().splitlines() == [f"rndfast: stopped by {signum.name}"]
        checkpoint = load_checkpoint(list_checkpoints(run_dir / "checkpoints")[0])
        rows = read_metrics(run_dir / "metrics.jsonl")
        assert checkpoint.transitions == rows[-1]["transitions"]


def test_killed_at_any_moment_a_run_resumes(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = start_training(run_dir)
    time.sleep(0.7)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    reached = list_checkpoints(run_dir / "checkpoints")[0]
    done = load_checkpoint(reached).transitions
    assert main(["train", "--resume", str(run_dir), f"--total-transitions={done + 64}"]) == 0
    rows = [row["transitions"] for row in read_metrics(run_dir / "metrics.jsonl")]
    assert rows == list(range(32, done + 65, 32))


def test_a_full_disk_gives_one_line_and_keeps_the_older_checkpoints(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert main(["train", *TINY, "--run-dir", str(run_dir), "--total-transitions=32"]) == 0
    before = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    limited = subprocess.run(
        command("train", "--resume", run_dir, "--total-transitions=64"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert limited.returncode == 1
    assert limited.stderr.strip().splitlines()[-1].startswith("rndfast: error: File too large")
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == before
    for path in list_checkpoints(run_dir / "checkpoints"):
        load_checkpoint(path)
    assert from_toml((run_dir / "config.toml").read_text()).run.total_transitions in (32, 64)


def test_a_second_ctrl_c_leaves_at_once() -> None:
    script = """
import signal, os, time
from rndfast.runtime.interruption import SAME_SIGNAL_S, Interruption, shielded
with Interruption(), shielded():
    os.kill(os.getpid(), signal.SIGINT)   # held back
    os.kill(os.getpid(), signal.SIGINT)   # the same once more, as `timeout` sends it
    print("held back", flush=True)
    time.sleep(SAME_SIGNAL_S)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (process.returncode, process.stdout) == (130, b"held back\n")


def test_a_ctrl_c_that_comes_twice_saves_the_run(tmp_path: Path) -> None:
    """As from `timeout -s INT`, which sends it to the process and to its group."""
    run_dir = tmp_path / "run"
    process = start_training(run_dir)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert load_checkpoint(list_checkpoints(run_dir / "checkpoints")[0]).transitions > 0


def test_the_module_and_the_script_are_the_same_program() -> None:
    by_module = subprocess.run(command("--version"), capture_output=True, check=True).stdout
    script = Path(sys.executable).with_name("rndfast")
    by_script = subprocess.run([script, "--version"], capture_output=True, check=True).stdout
    assert by_module == by_script
    assert by_module.startswith(b"rndfast ")
    assert os.access(script, os.X_OK)
