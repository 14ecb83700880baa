from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.runtime.rank_programs import (
    NUM_ENVS,
    NUM_MINIBATCHES,
    PRIOR_COUNT,
    loss,
    network,
    samples,
)

from rndfast._core import RunningMoments
from rndfast.runtime.processes import Ranks


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes, started by torchrun, returned."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = ["--nproc-per-node", "2", "-m", "tests.runtime.rank_programs"]
    done = subprocess.run(
        [*torchrun, *program, "together", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


def test_statistics_are_those_of_all_samples(results: list[dict[str, Any]]) -> None:
    frames, numbers = samples()
    arrays: dict[str, NDArray[Any]] = {"frames": frames, "numbers": numbers}
    for name, array in arrays.items():
        flat = array.reshape(-1, *array.shape[2:]).astype(np.float64)
        # the prior: samples of mean 0 and variance 1 that count as seen
        total = len(flat) + PRIOR_COUNT
        mean = flat.sum(axis=0) / total
        m2 = ((flat - mean) ** 2).sum(axis=0) + PRIOR_COUNT * (1 + mean**2)
        for count, own_mean, own_m2 in (result[name] for result in results):
            assert count == pytest.approx(total, rel=1e-15)
            np.testing.assert_allclose(own_mean, mean, rtol=1e-12)
            np.testing.assert_allclose(own_m2, m2, rtol=1e-9)
        for first, second in zip(results[0][name], results[1][name], strict=True):
            np.testing.assert_array_equal(first, second)  # the same bits


def test_gradients_are_those_of_the_whole_minibatch(results: list[dict[str, Any]]) -> None:
    layers = network()
    loss(layers, np.arange(NUM_ENVS)).backward()  # type: ignore[no-untyped-call]
    for result in results:
        *gradients, only_on_last = result["gradients"]
        for weights, gradient in zip(layers.parameters(), gradients, strict=True):
            assert weights.grad is not None
            np.testing.assert_allclose(gradient, weights.grad.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(only_on_last, [5, 5, 5])
    for first, second in zip(results[0]["gradients"], results[1]["gradients"], strict=True):
        np.testing.assert_array_equal(first, second)


def test_numbers_are_added_up(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["sum"] == [3, 30]
        assert result["values"] == {"policy": 2, "entropy": 4}


def test_results_come_to_rank_0_and_its_own_go_to_all(results: list[dict[str, Any]]) -> None:
    assert [result["gathered"] for result in results] == [[["rank", 0], ["rank", 1]], None]
    np.testing.assert_array_equal(results[0]["whole"]["numbers"], samples()[1])
    np.testing.assert_array_equal(results[0]["whole"]["envs"], np.arange(NUM_ENVS))
    assert results[1]["whole"] == {}
    assert [result["broadcast"] for result in results] == [["of", 0], ["of", 0]]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_shares_of_a_minibatch_make_it_up(monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    env_ids = []
    for rank in range(world_size):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world_size))
        ranks = Ranks("cpu", num_minibatches=NUM_MINIBATCHES)
        env_ids.append(ranks.env_ids(NUM_ENVS))
        table = np.arange(2 * NUM_ENVS).reshape(2, NUM_ENVS)
        np.testing.assert_array_equal(ranks.own(table, axis=1), table[:, env_ids[-1]])
    size = NUM_ENVS // NUM_MINIBATCHES
    for k in range(NUM_MINIBATCHES):
        minibatch = [np.split(own, NUM_MINIBATCHES)[k] for own in env_ids]
        expected = np.arange(k * size, (k + 1) * size)
        np.testing.assert_array_equal(np.concatenate(minibatch), expected)


def test_shares_that_are_not_equal_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    message = r"^num_envs must be divisible by num_minibatches \* processes = 4 \* 3, got 128$"
    with pytest.raises(ValueError, match=message):
        Ranks("cpu", num_minibatches=4).env_ids(128)


def test_a_process_of_its_own_is_the_only_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "distributed", None)  # not touched
    frames, numbers = samples()
    with Ranks("cuda") as ranks:
        assert (ranks.rank, ranks.world_size, ranks.local_world_size) == (0, 1, 1)
        np.testing.assert_array_equal(ranks.env_ids(12), np.arange(12))
        weights = torch.nn.Parameter(torch.ones(2))
        weights.grad = torch.tensor([1.0, 2.0])
        ranks.sum_gradients([weights, torch.nn.Parameter(torch.ones(1))])
        assert weights.grad.tolist() == [1, 2]
        assert ranks.sum_(torch.tensor([3.0])).tolist() == [3]
        assert ranks.sum_values({"policy": 1.5}) == {"policy": 1.5}
        moments, expected = RunningMoments(frames.shape[2:]), RunningMoments(frames.shape[2:])
        ranks.update_moments(moments, frames)
        expected.update(frames)
        np.testing.assert_array_equal(moments.mean, expected.mean)
        np.testing.assert_array_equal(moments.m2, expected.m2)
        assert ranks.gather("value") == ["value"]
        assert ranks.broadcast("value") == "value"
        assert ranks.gather_envs({"numbers": numbers}, axes={})["numbers"] is numbers
        assert ranks.own(numbers) is numbers


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "^there must be a GPU for each process: torchrun started 2 .*, and torch sees 1$"
    with pytest.raises(ValueError, match=message), Ranks("cuda"):
        pass


@pytest.mark.parametrize(
    ("signum", "victim", "timeout_s", "happened"),
    [
        (signal.SIGKILL, 0, 300, "ended"),
        (signal.SIGSTOP, 1, 4, "has not answered for 4 s"),
    ],
)
def test_a_lost_rank_ends_the_others(
    signum: signal.Signals, victim: int, timeout_s: int, happened: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.runtime.rank_programs", "lost"]
    command += [str(int(signum)), str(victim), str(timeout_s)]
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        output, errors = processes[1 - victim].communicate(timeout=120)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert output == f"another process of this run {happened}: go on with --resume", errors
    assert processes[1 - victim].returncode == 3
