# SPDX-License-Identifier: MIT
"""Does the GPU compute what the CPU does, does it repeat itself, and how fast is it?

Everything on Montezuma's Revenge by the ``paper`` preset, in one command of a few minutes:

- parity: the same small run on the CPU and on the GPU, both in float32;
- repeats: with ``--deterministic``, two runs are equal bit for bit, and so is one that was stopped
  and resumed; without, how far two runs are apart;
- speed: an iteration's phases for each number format, with and without graphs, for other numbers of
  environments and of threads; what the consoles make alone; what ``rndfast profile`` shows: kernels
  in an iteration and the share of it in which the GPU is busy;
- training: ``rndfast train`` for as long as ``--train-s`` says, with its curve and its memory.

Usage: ``python benchmarks/gpu_check.py --output DIR [--budget-s 350] [--train-s 120]``
Prints one table and writes ``gpu_check.json``. ``benchmarks/README.md`` says how to run it on a
machine without a network.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rndfast._core import usable_cores
from rndfast.bench.bench import versions
from rndfast.commands.profile import summary, trace_iteration
from rndfast.config import Config
from rndfast.envs.make import make_env
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.device_observations import DeviceFrames
from rndfast.learner.gpu import GpuBackend
from rndfast.learner.make import make_learner
from rndfast.learner.observations import FrameStore
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rollout import collect, start_episodes
from rndfast.presets import PRESETS
from rndfast.runs.checkpoint import load_newest_checkpoint
from rndfast.runs.metrics import Metrics, read_metrics
from rndfast.runs.train import train
from rndfast.runtime.compute import open_compute
from rndfast.runtime.hardware import hardware
from rndfast.runtime.spans import device_use, longest_kernels
from rndfast.runtime.timeline import PHASES

Report = dict[str, Any]


def settings(base: Config, **changes: dict[str, Any]) -> Config:
    """A configuration with other settings, by sections."""
    sections = {
        name: dataclasses.replace(getattr(base, name), **values) for name, values in changes.items()
    }
    return dataclasses.replace(base, **sections)


def run(config: Config, directory: Path, *, resume: bool = False) -> list[Metrics]:
    """Train; the rows of its metrics."""
    rows: list[Metrics] = []

    def keep(update: Metrics | str) -> None:
        if not isinstance(update, str):
            rows.append(update)

    train(settings(config, run={"run_dir": directory}), resume=resume, view=keep)
    return rows


def state_of(directory: Path) -> dict[str, torch.Tensor]:
    """The newest state of a run."""
    return load_newest_checkpoint(directory / "checkpoints")[0].state


# --- parity and repetition --------------------------------------------------------------------


def small(**run_settings: Any) -> Config:
    """Sixteen environments, four rollouts of 32 steps."""
    return settings(
        Config(),
        env={"num_envs": 16},
        ppo={"rollout_steps": 32},
        rnd={"obs_norm_steps": 32},
        run={"total_transitions": 4 * 512, "precision": "float32", **run_settings},
    )


def measure_parity(scratch: Path) -> Report:
    """Differences of an update of the same experience, and means of two whole runs.

    The runs draw their actions by other random numbers on CPU and GPU, so that only
    `compare_updates` compares like with like.
    """
    differences = compare_updates()
    cpu = run(small(device="cpu"), scratch / "parity-cpu")
    gpu = run(small(device="cuda"), scratch / "parity-gpu")
    means = {
        name: (
            statistics.fmean(float(row[name] or 0) for row in cpu),
            statistics.fmean(float(row[name] or 0) for row in gpu),
        )
        for name in ("losses/entropy", "losses/predictor", "rnd/intrinsic_reward")
    }
    return {"update": differences, "run_means_cpu_gpu": means}


def compare_updates() -> dict[str, float]:
    """The same rollout, weights and rows on CPU and GPU: relative differences of what comes out."""
    results: dict[str, dict[str, Any]] = {}
    config = small(device="cpu")
    with (
        open_compute(config.run) as compute,
        contextlib.closing(make_env(config, compute.num_threads)) as env,
    ):
        agent, rollout, backend = make_learner(config, env, compute)
        assert isinstance(backend, CpuBackend)
        assert isinstance(backend.observations, FrameStore)
        start_episodes(env, rollout, backend, 1, compute.ranks)
        collect(env, rollout, backend)
        backend.update_obs_moments()
        weights, generator = agent.state(), agent.generator.get_state()

        gpu_config = small(device="cuda")
        with open_compute(gpu_config.run) as gpu_compute:
            other, other_rollout, other_backend = make_learner(gpu_config, env, gpu_compute)
            assert isinstance(other_backend, GpuBackend)
            assert isinstance(other_backend.observations, DeviceFrames)
            other.load_state(weights)
            store, theirs = backend.observations, other_backend.observations
            theirs.frames.copy_(torch.from_numpy(store.frames))
            theirs.valid_frames.copy_(torch.from_numpy(store.valid_frames))
            other_backend.actions[:-1].copy_(torch.from_numpy(backend.actions))
            other_backend.log_probs[:-1].copy_(torch.from_numpy(backend.log_probs))
            other_backend.values[:-1].copy_(torch.from_numpy(rollout.values))
            for name in (
                "values",
                "next_values",
                "final_values",
                "rewards_raw",
                "terminated",
                "truncated",
            ):
                getattr(other_rollout, name)[:] = getattr(rollout, name)
            other_rollout.is_first[:] = rollout.is_first
            for device, of in (
                ("cpu", (agent, rollout, backend, config)),
                ("cuda", (other, other_rollout, other_backend, gpu_config)),
            ):
                who, what, by, how = of
                who.generator.set_state(generator)
                assert who.bonus is not None
                raw = by.intrinsic_rewards()
                int_rewards = who.bonus.scale(raw, what.int_return_filter, by.ranks)
                ext_rewards = what.clipped(what.rewards_raw)
                advantages = compute_advantages(what, ext_rewards, int_rewards, how.ppo)
                losses = update(what, by, advantages, how)
                by.update_obs_moments()
                results[device] = {
                    "intrinsic_rewards": raw,
                    "advantages": advantages.combined,
                    "losses": np.array(list(losses.values())),
                    "gradients": torch.cat(
                        [p.grad.flatten().cpu() for p in who.parameters if p.grad is not None]
                    ).numpy(),
                    "weights": torch.cat([p.detach().flatten().cpu() for p in who.parameters]),
                    "pixel_means": who.obs_moments.mean,
                    "pixel_m2": who.obs_moments.m2,
                }
    return {
        name: float(
            np.linalg.norm(np.asarray(results["cuda"][name]) - np.asarray(values))
            / np.linalg.norm(np.asarray(values))
        )
        for name, values in results["cpu"].items()
    }


def measure_repeats(scratch: Path) -> Report:
    """Differing tensors, and the largest difference of a weight, between runs that are the same."""

    def differences(first: Path, second: Path) -> Report:
        one, other = state_of(first), state_of(second)
        differing = [name for name in one if not torch.equal(one[name], other[name])]
        weights = [name for name in one if name.startswith(("policy.", "rnd.predictor."))]
        largest = max(float((one[name] - other[name]).abs().max()) for name in weights)
        return {"differing_tensors": len(differing), "largest_weight_difference": largest}

    report: Report = {}
    for name, is_deterministic in (("deterministic", True), ("fastest", False)):
        config = settings(
            small(device="cuda", deterministic=is_deterministic), run={"precision": "bfloat16"}
        )
        folders = [scratch / f"{name}-{part}" for part in ("one", "two", "resumed")]
        for folder in folders[:2]:
            run(config, folder)
        run(settings(config, run={"total_transitions": 2 * 512}), folders[2])
        run(config, folders[2], resume=True)
        report[name] = {
            "two_runs": differences(folders[0], folders[1]),
            "resumed": differences(folders[0], folders[2]),
        }
    return report


# --- speed ------------------------------------------------------------------------------------


def measure_iterations(config: Config, scratch: Path, num_iterations: int) -> Report:
    """Median seconds of each phase, after two iterations that warm up and capture."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    transitions = config.rollout_transitions * (2 + num_iterations)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        rows = run(
            settings(
                config,
                rnd={"obs_norm_steps": 16},
                run={"total_transitions": transitions, "checkpoint_interval_rollouts": 10**6},
            ),
            Path(directory) / "run",
        )[2:]
    seconds = {
        name: statistics.median(float(row[f"perf/{name}_s"] or 0) for row in rows)
        for name in (*PHASES, "iteration")
    }
    return {
        "transitions_per_s": config.rollout_transitions / seconds["iteration"],
        "seconds": seconds,
        "gpu_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
        "gpu_memory_reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
        "host_memory_mib": rows[-1]["perf/peak_memory_mib"],
    }


def measure_consoles(config: Config, num_threads: int, num_steps: int) -> float:
    """Steps per second of the consoles alone: random actions, two halves that take turns."""
    num_envs = config.env.num_envs
    halves = np.split(np.arange(num_envs), 2)
    rng = np.random.default_rng(0)
    with contextlib.closing(make_env(config, num_threads)) as env:
        env.reset(seed=0)
        out = [np.zeros((len(half), 1, 84, 84), np.uint8) for half in halves]
        for half, frames in zip(halves, out, strict=True):
            env.send(rng.integers(0, 18, len(half)), half, out=frames)
        started = time.perf_counter()
        for _ in range(num_steps):
            for half, frames in zip(halves, out, strict=True):
                env.recv()
                env.send(rng.integers(0, 18, len(half)), half, out=frames)
        seconds = time.perf_counter() - started
        for _ in halves:
            env.recv()
    return num_steps * num_envs / seconds


def profile_iteration(config: Config, scratch: Path) -> Report:
    """What ``rndfast profile`` shows of an iteration."""
    console = Console(width=150, highlight=False)
    spans, device_seconds = trace_iteration(config, scratch / "profiled", console)
    for table in summary(spans):
        console.print(table, "")
    use = device_use(spans)
    return {
        "by_phase": {
            name: {"kernels": of.kernels, "busy_s": of.busy_ns / 1e9, "wall_s": of.wall_ns / 1e9}
            for name, of in use.items()
        },
        "gpu_busy_share": use["iteration"].busy_share,
        "seconds_by_the_gpus_clock": device_seconds,
        "longest_ms": {
            kernel.name[:80]: round(kernel.total_ns / 1e6, 2)
            for kernel in longest_kernels(spans, 20)
        },
    }


def measure_speed(
    scratch: Path, report: Report, has_time: Callable[[float], bool], write: Callable[[], None]
) -> None:
    """Fill in the variants of an iteration, the most important first."""
    base = settings(Config(), run={"device": "cuda"})
    cores = usable_cores()
    variants: list[tuple[str, Config, int]] = [
        ("bfloat16", settings(base, run={"precision": "bfloat16"}), 20),
        ("bfloat16, preset wide", settings(PRESETS["wide"], run={"device": "cuda"}), 6),
        ("bfloat16, 8 threads", settings(base, run={"num_threads": 8}), 5),
        ("float32", settings(base, run={"precision": "float32"}), 6),
        ("tf32", settings(base, run={"precision": "tf32"}), 8),
        ("bfloat16, deterministic", settings(base, run={"deterministic": True}), 8),
        ("bfloat16, without graphs", settings(base, run={"graphs": False}), 4),
        ("bfloat16, recurrent", settings(base, ppo={"policy": "recurrent"}), 4),
    ]
    for num_envs in (256, 1024):
        wide = settings(base, env={"num_envs": num_envs}, rnd={"predictor_proportion": "auto"})
        variants.append((f"bfloat16, {num_envs} environments", wide, 5))
    for num_threads in (1, 4):
        if num_threads < cores:
            few = settings(base, run={"num_threads": num_threads})
            variants.append((f"bfloat16, {num_threads} threads", few, 3))
    report["consoles_steps_per_s"] = {
        threads: measure_consoles(base, threads, 150 if threads > 2 else 60)
        for threads in sorted({1, 4, 8, cores})
        if threads <= cores
    }
    with saying("profile", report):
        chosen = settings(base, run={"precision": "bfloat16"})
        report["profile"] = profile_iteration(chosen, scratch)
    write()
    for name, config, num_iterations in variants:
        if not has_time(20):
            report["left_out"] = [*report.get("left_out", []), name]
            continue
        with saying(name, report):
            report["variants"][name] = measure_iterations(config, scratch, num_iterations)
        write()


# --- training ---------------------------------------------------------------------------------


def measure_training(scratch: Path, seconds: float) -> Report:
    """``rndfast train`` for some time, until Ctrl-C, in a process of its own, whose memory counts.

    By the paper's settings, but for a shorter start of the statistics.
    """
    directory = scratch / "training"
    command = [*(sys.executable, "-m", "rndfast", "train", "--run-dir", str(directory))]
    command += ["--device", "cuda", "--seed", "1", "--obs-norm-steps", "640"]
    started = time.perf_counter()
    with (scratch / "training.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)  # it should not end
        memory = memory_of(process.pid) if process.poll() is None else {}
        process.send_signal(signal.SIGINT)
        return_code = process.wait(30)
    rows = read_metrics(directory / "metrics.jsonl")
    names = (
        "transitions",
        "charts/episodic_return",
        "charts/episodic_return_max",
        "rnd/rooms",
        "rnd/intrinsic_reward",
        "rnd/prediction_error",
        "losses/entropy",
        "charts/SPS",
    )
    return {
        "seconds": time.perf_counter() - started,
        "return_code_after_ctrl_c": return_code,
        "said": (scratch / "training.log").read_text().splitlines()[:8],
        "transitions": rows[-1]["transitions"],
        "transitions_saved": load_newest_checkpoint(directory / "checkpoints")[0].transitions,
        "median_transitions_per_s": statistics.median(
            float(row["charts/SPS"] or 0) for row in rows
        ),
        "median_s": {
            phase: statistics.median(float(row[f"perf/{phase}_s"] or 0) for row in rows)
            for phase in (*PHASES, "iteration")
        },
        "best_return": max(float(row["charts/episodic_return_max"] or 0) for row in rows),
        "rooms": rows[-1]["rnd/rooms"],
        "peak_memory_mib": rows[-1]["perf/peak_memory_mib"],
        "memory_mib": memory,
        "curve": [{name: row[name] for name in names} for row in rows[:: max(1, len(rows) // 60)]],
    }


def memory_of(pid: int) -> Report:
    """MiB of a process that are in use: by kind, and of the files that take the most."""
    kinds: dict[str, int] = {}
    files: dict[str, int] = {}
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):  # a new range, whose file comes last
            parts = line.split(maxsplit=5)
            name = Path(parts[5]).name if len(parts) > 5 else "anonymous"
        elif first in ("Rss:", "Anonymous:", "Locked:"):
            kib = int(rest.split()[0])
            kinds[first[:-1]] = kinds.get(first[:-1], 0) + kib
            if first == "Rss:":
                files[name] = files.get(name, 0) + kib
    largest = sorted(files.items(), key=lambda item: -item[1])[:16]
    return {
        **{kind: round(kib / 1024) for kind, kib in kinds.items()},
        "of": {file: round(kib / 1024) for file, kib in largest},
    }


# --- the whole --------------------------------------------------------------------------------


@contextlib.contextmanager
def saying(name: str, report: Report) -> Iterator[None]:
    """Say that a part begins; if it fails, note why and go on with the next."""
    print(f"{name} ...", flush=True)
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        report["failed"] = {**report.get("failed", {}), name: f"{type(error).__name__}: {error}"}
    report["part_s"] = {**report.get("part_s", {}), name: time.perf_counter() - started}


def print_report(report: Report) -> None:
    """One table, and what is not in it in lines."""
    console = Console(width=150, highlight=False)
    table = Table("variant", "transitions/s", *PHASES, "iteration s", "GPU GiB")
    for name, of in report["variants"].items():
        seconds = [f"{of['seconds'][phase]:.3f}" for phase in (*PHASES, "iteration")]
        speed, memory = f"{of['transitions_per_s']:,.0f}", f"{of['gpu_memory_reserved_gib']:.2f}"
        table.add_row(name, speed, *seconds, memory)
    console.print(table)
    for name in ("parity", "repeats", "consoles_steps_per_s", "profile", "failed", "left_out"):
        if name in report:
            console.print(f"{name}: {report[name]}")
    if "training" in report:
        of = report["training"]
        console.print({key: value for key, value in of.items() if key != "curve"})


def main() -> None:
    """Measure what the time allows, and write it down after each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory for gpu_check.json")
    parser.add_argument("--budget-s", type=float, default=350, help="seconds for all of it")
    parser.add_argument("--train-s", type=float, default=120, help="seconds of them for training")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "gpu_check: torch sees no CUDA GPU here\n")
    arguments.output.mkdir(parents=True, exist_ok=True)
    ends: float = time.perf_counter() + arguments.budget_s
    train_s: float = arguments.train_s
    report: Report = {"hardware": hardware(), "versions": versions(), "variants": {}}

    def has_time(seconds: float) -> bool:
        return time.perf_counter() + seconds < ends - train_s

    def write() -> None:
        (arguments.output / "gpu_check.json").write_text(json.dumps(report, indent=1, default=str))

    with tempfile.TemporaryDirectory(prefix="rndfast-gpu-") as directory:
        scratch = Path(directory)
        with saying("parity", report):
            report["parity"] = measure_parity(scratch)
        write()
        with saying("repeats", report):
            report["repeats"] = measure_repeats(scratch)
        write()
        with saying("speed", report):
            measure_speed(scratch, report, has_time, write)
        write()
        left_s = ends - time.perf_counter()
        if left_s > 20:
            with saying("training", report):
                report["training"] = measure_training(scratch, min(left_s - 15, train_s))
    write()
    print_report(report)


if __name__ == "__main__":
    main()
