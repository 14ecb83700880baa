# SPDX-License-Identifier: MIT
"""How many environment steps per second? rndfast beside EnvPool and ale-py, in one run.

Each game is stepped by the three in turn, a few batches at a time, round after round, so that
other load on the machine and its clock touch all alike. A step is four console frames, the maximum
of the last two, grey, 84x84, a stack of four, sticky actions 0.25; actions are random. One thread
is measured in CPU time, all cores in wall time.

``--scaling`` measures instead how the batch uses many threads, and too few cores: see
``scaling.py``. It takes about four minutes with sixteen threads.

Usage: ``python benchmarks/bench_env.py [--rounds 7] [--num-envs 128] [--json FILE] [game ...]``
``python benchmarks/bench_env.py --scaling [--max-threads 16] [--seconds 1] [--json FILE] [game]``
EnvPool is optional: ``pip install envpool``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import rndfast
from rndfast import _core
from rndfast._core import usable_cores
from rndfast.bench.bench import OURS, measure_envs, rndfast_stepper
from scaling import measure_scaling

GAMES = ("montezuma_revenge", "breakout", "pong", "venture", "seaquest", "private_eye")


def measure(
    game: str, num_envs: int, num_threads: int, rounds: int, clock: str
) -> dict[str, list[float]]:
    """Steps per second of each library by one of the clocks of `Cost`, a figure for each round."""
    costs = measure_envs(game, num_envs, num_threads, rounds)
    return {name: [1 / getattr(cost, clock) for cost in of_name] for name, of_name in costs.items()}


def us_per_frame(game: str, num_envs: int, rounds: int, frameskip: int) -> float:
    """CPU microseconds of a console frame; one in ``frameskip`` is drawn, resized and returned."""
    step = rndfast_stepper(game, num_envs, 1, frameskip=frameskip, maxpool=False, stack_num=1)
    batches = max(1, 32 // frameskip)
    times = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(batches):
            step()
        times.append((time.process_time() - started) / (num_envs * batches * frameskip))
    return 1e6 * min(times)


def us_per_preprocessed_step(game: str, rounds: int) -> float:
    """CPU microseconds to pool two pictures of a game and resize them to 84x84."""
    console = rndfast.Console(game)
    pictures = []
    for _ in range(129):
        console.act(0)
        pictures.append(console.screen_grey)
    first, second = np.stack(pictures[:-1]), np.stack(pictures[1:])
    times = []
    for _ in range(rounds):
        started = time.process_time()
        _core.area_resize(first, 84, 84, second=second)
        times.append((time.process_time() - started) / len(first))
    return 1e6 * min(times)


def spread(rates: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def compare(games: list[str], num_envs: int, rounds: int) -> dict[str, Any]:
    """Measure and print a line for each game; return all figures."""
    figures: dict[str, Any] = {}
    num_cores = usable_cores()
    for num_threads, clock, unit in (
        (1, "cpu_s", "CPU second, one thread"),
        (num_cores, "wall_s", f"second, {num_cores} threads"),
    ):
        print(f"\nsteps per {unit}: median (range) of {rounds} rounds of {num_envs} environments")
        ratios: dict[str, list[float]] = {}
        for game in games:
            rates = measure(game, num_envs, num_threads, rounds, clock)
            figures[f"{game}, {unit}"] = rates
            line = [f"{game:18s}"] + [f"{name} {spread(rates[name])}" for name in rates]
            for peer in rates.keys() - {OURS}:
                ratio = statistics.median(rates[OURS]) / statistics.median(rates[peer])
                ratios.setdefault(peer, []).append(ratio)
                line.append(f"{ratio:.1f}x {peer}")
            print("  ".join(line), flush=True)
        for peer, values in ratios.items():
            print(f"median {statistics.median(values):.1f}x {peer}, lowest {min(values):.1f}x")
    return figures


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("games", nargs="*", default=list(GAMES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--num-envs", type=int, default=128)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--max-threads", type=int, default=usable_cores())
    parser.add_argument("--seconds", type=float, default=1.0, help="of one figure of --scaling")
    arguments = parser.parse_args()

    versions = {
        name: importlib.metadata.version(name)
        for name in ("rndfast", "ale-py", "envpool")
        if importlib.util.find_spec(name.replace("-", "_"))
    }
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {versions}")
    if arguments.scaling:
        scaling = measure_scaling(arguments.games[0], arguments.max_threads, arguments.seconds)
        if arguments.json:
            arguments.json.write_text(json.dumps(versions | scaling, indent=1))
        return
    figures = compare(arguments.games, arguments.num_envs, arguments.rounds)

    print("\nCPU microseconds: a frame not drawn; a frame drawn, resized and returned;")
    print("of the latter, pooling two pictures and resizing")
    for game in arguments.games:
        costs = (
            us_per_frame(game, arguments.num_envs, arguments.rounds, frameskip=32),
            us_per_frame(game, arguments.num_envs, arguments.rounds, frameskip=1),
            us_per_preprocessed_step(game, arguments.rounds),
        )
        figures[f"{game}, microseconds"] = costs
        print(f"{game:18s}  {costs[0]:6.1f}  {costs[1]:6.1f}  {costs[2]:6.1f}", flush=True)

    envs = rndfast.AtariVectorEnv("pong", 8)
    envs.reset(seed=0)
    print(f"\nbytes per environment, with pictures and stack: {len(envs.snapshot()) // 8:,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(versions | figures, indent=1))


if __name__ == "__main__":
    main()
