# SPDX-License-Identifier: MIT
"""How many environment steps per second? rndfast beside EnvPool and ale-py, in one run.

Each game is stepped by the three in turn, a few batches at a time, round after round, so that
other load on the machine and its clock touch all alike. A step is four console frames, the maximum
of the last two, grey, 84x84, a stack of four, sticky actions 0.25; actions are random. One thread
is measured in CPU time, all cores in wall time.

``--scaling`` measures instead how the batch uses many threads: steps per second over threads and
over environments beside the others, the share of linear speed-up, the serial part of a step by
regression, with resets and without, futex calls, and what a step costs the calling thread. It
takes about three minutes with sixteen threads.

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
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rndfast
from rndfast import _core
from rndfast._core import usable_cores
from rndfast.bench.bench import OURS, STEPPERS, is_installed, measure_envs, rndfast_stepper

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


# --- scaling ----------------------------------------------------------------------------------

SCALING_ENVS = (16, 64, 128, 256, 1024)
STEPS_WITHOUT_RESETS = 40  # after a reset no game of Montezuma's Revenge is over so soon
FUTEX_STEPS = 200
FUTEX_PROGRAM = """
import sys
import numpy as np
import rndfast
game, num_threads, num_steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
envs = rndfast.AtariVectorEnv(game, 128, num_threads=num_threads, copy=False)
envs.reset(seed=0)
actions = np.zeros(128, np.int64)
for _ in range(num_steps):
    envs.step(actions)
"""


def steps_per_s(step: Callable[[], object], num_envs: int, seconds: float) -> float:
    """Environment steps per second by the wall, after two batches that do not count."""
    for _ in range(2):
        step()
    num_batches, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        step()
        num_batches += 1
    return num_envs * num_batches / passed


def steps_per_s_without_resets(game: str, num_envs: int, num_threads: int, seconds: float) -> float:
    """As `steps_per_s`, of the first steps of episodes alone, again and again."""
    envs = rndfast.AtariVectorEnv(game, num_envs, num_threads=num_threads, copy=False)
    envs.reset(seed=0)
    start = envs.snapshot()
    rng = np.random.default_rng(0)
    num_batches, passed = 0, 0.0
    while passed < seconds:
        envs.restore(start)
        started = time.perf_counter()
        for _ in range(STEPS_WITHOUT_RESETS):
            envs.step(rng.integers(0, envs.num_actions, num_envs))
        passed += time.perf_counter() - started
        num_batches += STEPS_WITHOUT_RESETS
    envs.close()
    return num_envs * num_batches / passed


def calling_thread_us(game: str, num_threads: int, *, copy: bool) -> dict[str, float]:
    """CPU microseconds that `send` and `recv` cost the calling thread: medians, caches cold.

    The threads are given time to finish in between, so that the calling thread does not help them.
    """
    envs = rndfast.AtariVectorEnv(game, 128, num_threads=num_threads, copy=copy, stack_num=1)
    envs.reset(seed=0)
    actions = np.zeros(128, np.int64)
    trash = np.zeros(32 * 2**20, np.uint8)
    costs: dict[str, list[float]] = {"send": [], "recv": []}
    for _ in range(30):
        trash += 1
        started = time.thread_time()
        envs.send(actions)
        costs["send"].append(time.thread_time() - started)
        time.sleep(0.1)
        trash += 1
        started = time.thread_time()
        envs.recv()
        costs["recv"].append(time.thread_time() - started)
    envs.close()
    return {name: 1e6 * statistics.median(values) for name, values in costs.items()}


def futex_calls_per_step(game: str, num_threads: int) -> float | str:
    """Calls of the kernel to sleep and wake, by strace; a reason where it cannot count them."""
    counts = []
    for num_steps in (0, FUTEX_STEPS):
        program = [sys.executable, "-c", FUTEX_PROGRAM, game, str(num_threads), str(num_steps)]
        try:
            done = subprocess.run(
                ["strace", "-f", "-c", "-e", "trace=futex", *program],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            return f"not counted: {error}"
        lines = [line.split() for line in done.stderr.splitlines() if line.endswith(" futex")]
        counts.append(int(lines[0][3]) if lines else 0)
    return (counts[1] - counts[0]) / FUTEX_STEPS


def measure_scaling(game: str, max_threads: int, seconds: float) -> dict[str, Any]:
    """Measure and print how steps per second grow with threads and environments."""
    libraries = {
        name: make for name, make in STEPPERS.items() if name == OURS or is_installed(name)
    }
    thread_counts = [2**i for i in range(max_threads.bit_length()) if 2**i < max_threads]
    figures: dict[str, Any] = {"game": game, "max_threads": max_threads, "threads": {}, "envs": {}}

    print(f"\n{game}, 128 environments: steps per second, share of linear")
    for name, make in libraries.items():
        rates = {
            count: steps_per_s(make(game, 128, count), 128, seconds)
            for count in (*thread_counts, max_threads)
        }
        figures["threads"][name] = rates
        shares = [f"{n}: {rate:,.0f} ({rate / n / rates[1]:.2f})" for n, rate in rates.items()]
        print(f"{name:8s} " + "  ".join(shares), flush=True)

    print(f"\n{max_threads} threads: steps per second by environments")
    for name, make in libraries.items():
        rates = {
            count: steps_per_s(make(game, count, max_threads), count, seconds)
            for count in SCALING_ENVS
        }
        figures["envs"][name] = rates
        print(f"{name:8s} " + "  ".join(f"{n}: {r:,.0f}" for n, r in rates.items()), flush=True)

    counts = np.array(SCALING_ENVS[1:], float)
    batch_s = counts / np.array([figures["envs"][OURS][n] for n in SCALING_ENVS[1:]])
    per_env_s, serial_s = np.polyfit(counts, batch_s, 1, w=1 / batch_s)
    figures["serial_us"], figures["env_us"] = 1e6 * serial_s, 1e6 * per_env_s
    print(f"a step takes {1e6 * serial_s:.0f} us and {1e6 * per_env_s:.2f} us per environment")

    figures["without_resets"] = steps_per_s_without_resets(game, 128, max_threads, seconds)
    figures["with_resets"] = figures["envs"][OURS][128]
    print(f"128 environments without resets: {figures['without_resets']:,.0f} steps/s")
    figures["calling_thread_us"] = {
        f"copy={copy}": calling_thread_us(game, max_threads, copy=copy) for copy in (True, False)
    }
    print(f"CPU of the calling thread, us: {figures['calling_thread_us']}")
    figures["futex_calls_per_step"] = futex_calls_per_step(game, max_threads)
    print(f"futex calls per step of 128 environments: {figures['futex_calls_per_step']}")
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
