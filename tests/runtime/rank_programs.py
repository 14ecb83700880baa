"""What the processes of test_processes.py do, by the name of one of the functions."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import RunningMoments
from rndfast.runtime.processes import RankLost, Ranks

NUM_ENVS = 12
NUM_MINIBATCHES = 3
PRIOR_COUNT = 1e-4


def samples() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """``(T, N, H, W)`` frames, and ``(T, N)`` numbers whose mean is far from zero."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, NUM_ENVS, 4, 5), dtype=np.uint8)
    return frames, (1000 + rng.standard_normal((6, NUM_ENVS))).astype(np.float32)


def network() -> torch.nn.Sequential:
    """With a weight in channels-last order, as ours are."""
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.Flatten(), torch.nn.Linear(12, 1)
    )
    for weights in layers.parameters():
        with torch.no_grad():
            weights.uniform_(-1, 1, generator=generator)
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def loss(layers: torch.nn.Module, env_ids: NDArray[np.int64]) -> Tensor:
    """Sum over environments."""
    inputs = torch.randn((NUM_ENVS, 2, 3, 3), generator=torch.Generator().manual_seed(1))
    total: Tensor = layers(inputs[torch.from_numpy(env_ids)]).square().sum()
    return total


def together(folder: str) -> None:
    """Call every method and write what it returned."""
    frames, numbers = samples()
    with Ranks("cpu", num_minibatches=NUM_MINIBATCHES) as ranks:
        env_ids = ranks.env_ids(NUM_ENVS)
        results: dict[str, Any] = {"env_ids": env_ids}
        for name, array in (("frames", frames), ("numbers", numbers)):
            moments = RunningMoments(array.shape[2:], prior_count=PRIOR_COUNT)
            for part in np.split(array, 2):
                ranks.update_moments(moments, np.ascontiguousarray(part[:, env_ids]))
            results[name] = moments.count, moments.mean, moments.m2

        layers, only_on_last = network(), torch.nn.Parameter(torch.ones(3))
        loss(layers, env_ids).backward()  # type: ignore[no-untyped-call]
        if ranks.rank == ranks.world_size - 1:
            only_on_last.grad = torch.full((3,), 5.0)
        parameters = [*layers.parameters(), only_on_last]
        ranks.sum_gradients(parameters)
        results["gradients"] = [p.grad.numpy() for p in parameters if p.grad is not None]
        results["sum"] = ranks.sum_(torch.tensor([1.0, 10.0]) * (ranks.rank + 1)).tolist()
        results["values"] = ranks.sum_values({"policy": 0.5 + ranks.rank, "entropy": 2.0})
        results["gathered"] = ranks.gather(["rank", ranks.rank])
        own: dict[str, NDArray[Any]] = {"numbers": numbers[:, env_ids], "envs": env_ids}
        results["whole"] = ranks.gather_envs(own, axes={"numbers": 1})
        results["broadcast"] = ranks.broadcast(["of", ranks.rank])
    assert not torch.distributed.is_initialized()
    (Path(folder) / f"{ranks.rank}.pickle").write_bytes(pickle.dumps(results))


def lost(signum: str, victim: str, timeout_s: str) -> None:
    """One rank sends itself a signal; the other ends with 3 and says why."""
    try:
        with Ranks("cpu", timeout_s=float(timeout_s)) as ranks:
            ranks.sum_(torch.ones(1))
            if ranks.rank == int(victim):
                os.kill(os.getpid(), int(signum))
            ranks.sum_(torch.ones(1))
    except RankLost as error:
        sys.stdout.write(str(error))
        sys.exit(3)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
