"""Whole runs on two processes, against the same run on one, and against what may happen to them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rndfast.runs.checkpoint import load_newest_checkpoint, save_checkpoint
from rndfast.runs.metrics import read_metrics
from rndfast.runtime.file_lock import hold_lock

SMALL = """
--env-id rndfast/MontezumaRevenge-v5 --img-height 52 --img-width 52 --num-envs 8 --rollout-steps 8
--num-minibatches 2 --update-epochs 1 --obs-norm-steps 12 --max-num-frames-per-episode 40
--num-features 32 --precision float32 --num-threads 1 --checkpoint-interval-rollouts 1
""".split()  # noqa: SIM905
ROLLOUT = 64
LEARNING_RATE = 1e-4
ONE_PROCESS = [sys.executable, "-m", "rndfast", "train"]
TWO_PROCESSES = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("-m", "rndfast", "train"),
]


def run(command: list[str], *settings: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *map(str, settings)], capture_output=True, text=True, check=False, timeout=240
    )


def succeed(command: list[str], *settings: str | Path) -> str:
    done = run(command, *settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def state_of(run_dir: Path) -> dict[str, Tensor]:
    return load_newest_checkpoint(run_dir / "checkpoints")[0].state


def assert_close(
    first: dict[str, Tensor], second: dict[str, Tensor], *, of_returns: float = 1e-9
) -> None:
    """Statistics to 1e-9, gradients and weights to float tolerance, all else exactly.

    Intrinsic returns come from weights: after training they are as close as these.
    """
    consoles = {name for name in first | second if ".consoles." in name}
    assert first.keys() - consoles == second.keys() - consoles
    for name in first.keys() - consoles:
        one, other = first[name].numpy(), second[name].numpy()
        if name.startswith("obs_moments"):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=name)
        elif name.startswith("int_return_moments"):
            np.testing.assert_allclose(one, other, rtol=of_returns, err_msg=name)
        elif name.startswith(("optimizer", "experience.int_return_filter")):
            scale = float(np.abs(one).max())
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * scale, err_msg=name)
        elif name == "experience.memory":  # of other batches: other roundings of numbers below 1
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=name)
        elif name.startswith(("policy", "rnd")):
            # Adam goes a whole step even where a gradient is nothing but rounding
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=4 * LEARNING_RATE, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_two_processes_do_what_one_does(tmp_path: Path, policy: str) -> None:
    """Two optimiser steps, whose moments are the gradients."""
    settings = [*SMALL, "--policy", policy, "--norm-adv", "--total-transitions", str(ROLLOUT)]
    succeed(ONE_PROCESS, *settings, "--run-dir", tmp_path / "one")
    output = succeed(TWO_PROCESSES, *settings, "--run-dir", tmp_path / "two")
    assert output.count("the run is in") == 1  # one view
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert_close(one, two)
    assert int(two["transitions"]) == ROLLOUT
    assert two["experience.frames"].shape[1] == 8

    (expected,), (metrics,) = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("one", "two"))
    assert expected.keys() == metrics.keys()
    for name, value in expected.items():
        if not name.startswith(("perf/", "charts/SPS")):
            assert metrics[name] == (None if value is None else pytest.approx(value, rel=1e-3)), (
                name
            )
    assert metrics["charts/episodes"] == 0


def test_two_processes_with_a_gpus_back_end_do_what_one_does(tmp_path: Path) -> None:
    """Gradients are summed by gloo between what would be two graphs, on GPUs by NCCL."""
    program = str(Path(__file__).with_name("train_on_gpu_backend.py"))
    two_processes = [*TWO_PROCESSES[: TWO_PROCESSES.index("2") + 1], program, "train"]
    settings = [*SMALL, "--norm-adv", "--total-transitions", str(ROLLOUT)]
    succeed([sys.executable, program, "train"], *settings, "--run-dir", tmp_path / "one")
    succeed(two_processes, *settings, "--run-dir", tmp_path / "two")
    succeed(ONE_PROCESS, *settings, "--run-dir", tmp_path / "cpu")
    one, two, cpu = (state_of(tmp_path / name) for name in ("one", "two", "cpu"))
    assert_close(one, two)
    assert_close(cpu, two)


def test_shuffled_minibatches_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    settings = [*SMALL, "--shuffle-minibatches", "--run-dir", str(tmp_path / "run")]
    done = run(TWO_PROCESSES, *settings)
    assert done.returncode != 0
    assert "shuffle_minibatches must be False on several processes" in done.stderr
    assert "got True on 2" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    once = ["--total-transitions", str(ROLLOUT), "--run-dir", str(tmp_path / "run")]
    succeed(ONE_PROCESS, *SMALL, *once)
    more = ["--total-transitions", str(2 * ROLLOUT)]
    output = succeed(TWO_PROCESSES, "--resume", tmp_path / "run", *more)
    assert "they are of 1 processes, and there are 2 now" in output
    more = ["--total-transitions", str(3 * ROLLOUT)]
    output = succeed(ONE_PROCESS, "--resume", tmp_path / "run", *more)
    assert "they are of 2 processes, and there are 1 now" in output
    assert int(state_of(tmp_path / "run")["transitions"]) == 3 * ROLLOUT


def test_a_resumed_run_of_two_processes_is_the_uninterrupted_one(tmp_path: Path) -> None:
    total = ["--total-transitions", str(2 * ROLLOUT)]
    succeed(TWO_PROCESSES, *SMALL, *total, "--run-dir", tmp_path / "whole")
    half = ["--total-transitions", str(ROLLOUT)]
    succeed(TWO_PROCESSES, *SMALL, *half, "--run-dir", tmp_path / "halves")
    succeed(TWO_PROCESSES, "--resume", tmp_path / "halves", *total)
    whole, halves = state_of(tmp_path / "whole"), state_of(tmp_path / "halves")
    assert whole.keys() == halves.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, halves[name]), name
    metrics = read_metrics(tmp_path / "halves" / "metrics.jsonl")
    assert [row["transitions"] for row in metrics] == [ROLLOUT, 2 * ROLLOUT]
    assert metrics[-1]["charts/episodes"] == 8  # all end in step 10, at the frame limit


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_which_goes_on_later(tmp_path: Path, victim: int) -> None:
    run_dir = tmp_path / "run"
    process = subprocess.Popen(
        [*TWO_PROCESSES, *SMALL, "--run-dir", str(run_dir)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = run_dir / "metrics.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count("\n") >= 2):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(rank_of(process.pid, victim), signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode != 0
    # from the connection that broke, or from torchrun, whichever is faster
    assert "go on with --resume" in errors
    done = int(state_of(run_dir)["transitions"])
    assert done >= ROLLOUT
    succeed(TWO_PROCESSES, "--resume", run_dir, "--total-transitions", str(done + ROLLOUT))
    assert int(state_of(run_dir)["transitions"]) == done + ROLLOUT


def rank_of(torchrun: int, rank: int) -> int:
    """The process that torchrun gave that rank."""
    for child in children_of(torchrun):
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in environment:
            return child
    raise AssertionError(f"no process of rank {rank}")


def test_a_directory_that_exists_ends_every_process_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = run(TWO_PROCESSES, *SMALL, "--run-dir", tmp_path / "there")
    assert done.returncode != 0
    assert done.stderr.count("exists already") == 1


def test_a_run_that_is_under_way_ends_every_process_with_one_message(tmp_path: Path) -> None:
    once = ["--total-transitions", str(ROLLOUT), "--run-dir", str(tmp_path / "run")]
    succeed(ONE_PROCESS, *SMALL, *once)
    with hold_lock(tmp_path / "run" / "lock", "it", print):
        done = run(TWO_PROCESSES, "--resume", tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count(f"is in use by process {os.getpid()} on") == 1
    # with it given back, the two processes do not keep each other out
    more = ["--total-transitions", str(2 * ROLLOUT)]
    succeed(TWO_PROCESSES, "--resume", tmp_path / "run", *more)


def with_consoles(run_dir: Path, copy: Path, **changed: bytes) -> Path:
    """A copy of a run whose newest checkpoint has other snapshots, and the right sums."""
    shutil.copytree(run_dir, copy)
    checkpoint = load_newest_checkpoint(copy / "checkpoints")[0]
    state = dict(checkpoint.state)
    for rank, data in changed.items():
        name = f"experience.consoles.{rank.removeprefix('rank')}"
        state[name] = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    shutil.rmtree(checkpoint.path)
    transitions, settings = checkpoint.transitions, checkpoint.config_toml
    save_checkpoint(copy / "checkpoints", transitions, state, settings, keep=3)
    return copy


def test_what_one_process_cannot_restore_is_said_and_all_do_the_same(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    total = ["--total-transitions", str(ROLLOUT)]
    succeed(TWO_PROCESSES, *SMALL, *total, "--run-dir", run_dir)
    more = ["--total-transitions", str(2 * ROLLOUT)]
    none = zlib.compress(b"no snapshot")

    one = with_consoles(run_dir, tmp_path / "one", rank1=none)
    output = succeed(TWO_PROCESSES, "--resume", one, *more)
    assert output.count("the environments begin new episodes: process 1: ") == 1
    both = with_consoles(run_dir, tmp_path / "both", rank0=none, rank1=none)
    output = succeed(TWO_PROCESSES, "--resume", both, *more)
    assert output.count("the environments begin new episodes: process 0: ") == 1
    expected, got = state_of(both), state_of(one)
    assert all(torch.equal(tensor, got[name]) for name, tensor in expected.items())

    # no zlib data: the checkpoint is damaged, and both go on from the one before
    older = with_consoles(run_dir, tmp_path / "older", rank1=b"no zlib data")
    output = succeed(TWO_PROCESSES, "--resume", older, *more)
    assert "'experience.consoles.1' must be compressed snapshots: they are no zlib data" in output
    assert f"resuming from {older / 'checkpoints' / 'step-000000000000'}" in output
    again = state_of(older)
    succeed(TWO_PROCESSES, "--resume", run_dir, *more)
    assert all(torch.equal(tensor, again[name]) for name, tensor in state_of(run_dir).items())
