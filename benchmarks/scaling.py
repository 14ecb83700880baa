# SPDX-License-Identifier: MIT
"""How the batch uses many threads, and what it does with too few cores: `bench_env.py --scaling`.

Steps per second over threads and over environments beside the others, the share of linear
speed-up, the serial part of a step by regression, with resets and without, futex calls, and what a
step costs the calling thread. Then what must not collapse: more threads than cores, threads that
share one core, a control group's quota, two batches in one process; and the processor time of a
batch that nobody steps.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rndfast
from rndfast._core import usable_cores
from rndfast.bench.bench import OURS, STEPPERS, is_installed, rndfast_stepper

ENV_COUNTS = (16, 64, 128, 256, 1024)
NUM_ENVS = 128
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


def library_steps_per_s(
    name: str, game: str, num_envs: int, num_threads: int, seconds: float
) -> float | str:
    """As `steps_per_s`, of a library by its name; of others, the error where they have one."""
    try:
        return steps_per_s(STEPPERS[name](game, num_envs, num_threads), num_envs, seconds)
    except Exception as error:
        if name == OURS:
            raise
        return f"{type(error).__name__}: {error}"


def steps_per_s_without_resets(game: str, num_threads: int, seconds: float) -> float:
    """As `steps_per_s`, of the first steps of episodes alone, again and again."""
    envs = rndfast.AtariVectorEnv(game, NUM_ENVS, num_threads=num_threads, copy=False)
    envs.reset(seed=0)
    start = envs.snapshot()
    rng = np.random.default_rng(0)
    num_batches, passed = 0, 0.0
    while passed < seconds:
        envs.restore(start)
        started = time.perf_counter()
        for _ in range(STEPS_WITHOUT_RESETS):
            envs.step(rng.integers(0, envs.num_actions, NUM_ENVS))
        passed += time.perf_counter() - started
        num_batches += STEPS_WITHOUT_RESETS
    envs.close()
    return NUM_ENVS * num_batches / passed


def calling_thread_us(game: str, num_threads: int, *, copy: bool) -> dict[str, float]:
    """CPU microseconds that `send` and `recv` cost the calling thread: medians, caches cold.

    The threads are given time to finish in between, so that the calling thread does not help them.
    What reading the clock costs with cold caches is measured the same way and taken off.
    """
    envs = rndfast.AtariVectorEnv(game, NUM_ENVS, num_threads=num_threads, copy=copy, stack_num=1)
    envs.reset(seed=0)
    actions = np.zeros(NUM_ENVS, np.int64)
    trash = np.zeros(32 * 2**20, np.uint8)
    calls: dict[str, Callable[[], object]] = {
        "clock": lambda: None,
        "send": lambda: envs.send(actions),
        "recv": envs.recv,
    }
    costs: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(30):
        for name, call in calls.items():
            trash += 1
            started = time.thread_time()
            call()
            costs[name].append(time.thread_time() - started)
            if name == "send":
                time.sleep(0.1)
    envs.close()
    medians = {name: 1e6 * statistics.median(values) for name, values in costs.items()}
    return {name: medians[name] - medians["clock"] for name in ("send", "recv")}


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


# --- too few cores ----------------------------------------------------------------------------


@contextlib.contextmanager
def one_core_quota() -> Iterator[None]:
    """Put this process into a control group that may use the time of one core (version 1 or 2).

    Raises:
        OSError: This user may not make control groups here.
    """
    root = Path("/sys/fs/cgroup")
    version_1 = root / "cpu"
    group = (version_1 if version_1.exists() else root) / f"rndfast-bench-{os.getpid()}"
    group.mkdir()
    try:
        if version_1.exists():
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("100000")
        else:
            (group / "cpu.max").write_text("100000 100000")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (group.parent / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def rate_on_one_core(name: str, game: str, num_threads: int, seconds: float) -> float | str:
    """Steps per second while all threads may run on one core only. Ends with its process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return library_steps_per_s(name, game, NUM_ENVS, num_threads, seconds)


def rate_with_quota(name: str, game: str, num_threads: int, seconds: float) -> float | str:
    """Steps per second within the quota of one core; a reason where none can be set."""
    try:
        with one_core_quota():
            return library_steps_per_s(name, game, NUM_ENVS, num_threads, seconds)
    except OSError as error:
        return f"not measured: {error}"


def rate_of_two_batches(game: str, num_threads: int, seconds: float) -> float:
    """Steps per second of two batches together, each stepped by a thread of its own."""
    steps = [rndfast_stepper(game, NUM_ENVS, num_threads) for _ in range(2)]
    rates = [0.0, 0.0]

    def run(index: int) -> None:
        rates[index] = steps_per_s(steps[index], NUM_ENVS, seconds)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def idle_cpu_share(game: str, num_threads: int, seconds: float) -> float:
    """Processor time over wall time while a batch that has been stepped waits for actions."""
    envs = rndfast.AtariVectorEnv(game, NUM_ENVS, num_threads=num_threads)
    envs.reset(seed=0)
    envs.step(np.zeros(NUM_ENVS, np.int64))
    started, started_cpu = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - started_cpu) / (time.perf_counter() - started)


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, whose limits end with it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure_too_few_cores(names: list[str], game: str, seconds: float) -> dict[str, Any]:
    """Measure and print what becomes of the speed where threads have not a core each."""
    cores = usable_cores()
    figures: dict[str, Any] = {}
    for name in names:
        rates = {
            f"{count} threads on {cores} cores": library_steps_per_s(
                name, game, NUM_ENVS, count, seconds
            )
            for count in (cores, 2 * cores, 8 * cores)
        }
        for count in (1, 8):
            rates[f"{count} threads on one core"] = in_new_process(
                rate_on_one_core, name, game, count, seconds
            )
            rates[f"{count} threads, quota of one core"] = in_new_process(
                rate_with_quota, name, game, count, seconds
            )
        figures[name] = rates
    figures[OURS][f"two batches of {NUM_ENVS}, {cores} threads each"] = rate_of_two_batches(
        game, cores, seconds
    )
    print(f"\ntoo few cores, {NUM_ENVS} environments: steps per second")
    for case in figures[OURS]:
        print(f"{case:40s} " + "  ".join(f"{n} {shown(figures[n].get(case, '-'))}" for n in names))
    figures["idle_cpu_share"] = idle_cpu_share(game, cores, seconds)
    print(f"processor time of a batch that waits: {figures['idle_cpu_share']:.4f} of one core's")
    return figures


def shown(rate: float | str) -> str:
    """A rate for the terminal, or why there is none."""
    return rate if isinstance(rate, str) else f"{rate:,.0f}"


def measure_scaling(game: str, max_threads: int, seconds: float) -> dict[str, Any]:
    """Measure and print how steps per second grow with threads and environments."""
    names = [name for name in STEPPERS if name == OURS or is_installed(name)]
    thread_counts = [2**i for i in range(max_threads.bit_length()) if 2**i < max_threads]
    figures: dict[str, Any] = {"game": game, "max_threads": max_threads, "threads": {}, "envs": {}}

    print(f"\n{game}, {NUM_ENVS} environments: steps per second, share of linear")
    for name in names:
        rates = {
            count: library_steps_per_s(name, game, NUM_ENVS, count, seconds)
            for count in (*thread_counts, max_threads)
        }
        figures["threads"][name] = rates
        shares = [
            f"{n}: {rate}"
            if isinstance(rate, str) or isinstance(rates[1], str)
            else f"{n}: {rate:,.0f} ({rate / n / rates[1]:.2f})"
            for n, rate in rates.items()
        ]
        print(f"{name:8s} " + "  ".join(shares), flush=True)

    print(f"\n{max_threads} threads: steps per second by environments")
    for name in names:
        rates = {
            count: library_steps_per_s(name, game, count, max_threads, seconds)
            for count in ENV_COUNTS
        }
        figures["envs"][name] = rates
        print(f"{name:8s} " + "  ".join(f"{n}: {shown(r)}" for n, r in rates.items()), flush=True)

    counts = np.array(ENV_COUNTS[1:], float)
    batch_s = counts / np.array([figures["envs"][OURS][n] for n in ENV_COUNTS[1:]])
    per_env_s, serial_s = np.polyfit(counts, batch_s, 1, w=1 / batch_s)
    figures["serial_us"], figures["env_us"] = 1e6 * serial_s, 1e6 * per_env_s
    print(f"a step takes {1e6 * serial_s:.0f} us and {1e6 * per_env_s:.2f} us per environment")

    figures["without_resets"] = steps_per_s_without_resets(game, max_threads, seconds)
    figures["with_resets"] = figures["envs"][OURS][NUM_ENVS]
    print(f"{NUM_ENVS} environments without resets: {figures['without_resets']:,.0f} steps/s")
    figures["calling_thread_us"] = {
        f"copy={copy}": calling_thread_us(game, max_threads, copy=copy) for copy in (True, False)
    }
    print(f"CPU of the calling thread, us: {figures['calling_thread_us']}")
    figures["futex_calls_per_step"] = futex_calls_per_step(game, max_threads)
    print(f"futex calls per step of 128 environments: {figures['futex_calls_per_step']}")
    figures["too_few_cores"] = measure_too_few_cores(names, game, seconds)
    return figures
