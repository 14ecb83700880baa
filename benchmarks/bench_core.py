"""How much faster are the compiled kernels than the NumPy and PyTorch code of RND ports?

One thread, 128 environments, 128 steps, 84 x 84 frames. Every contestant's result is compared with
the kernel's before any is timed. Repeats are interleaved, so that a slow moment of the machine hits
all contestants. Times are medians; ratios are of the process's CPU time, which other processes
disturb least. "user" leaves out the time in the kernel: the page faults of results and temporaries
that NumPy and PyTorch allocate anew each time, whose price depends on the machine.

Network inputs are compared as images: rndfast writes the blocks of 4 x 4 pixels that its networks
take, the others plain images, as ports do.

    OMP_NUM_THREADS=1 python benchmarks/bench_core.py [--json FILE] [--only gae,moments]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# before NumPy and PyTorch start their threads
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from rndfast import _core

Array = NDArray[Any]
STEPS, ENVS, STACK, SIZE = 128, 128, 4, 84
# Transitions of one of the paper's four minibatches.
MINIBATCH = STEPS * ENVS // 4
GAMMA, GAE_LAMBDA, CLIP = 0.99, 0.95, 5.0
# Numbers that are compared at once.
COMPARED_SIZE = 1 << 16


@dataclass(frozen=True)
class Contestant:
    """One way to do it. ``view(run())`` is what is compared; ``run`` alone is timed.

    ``goal`` is the least ratio of its CPU time to that of rndfast that counts as success. ``atol``
    is how far its results may be from those of rndfast, if that is more than the question allows.
    """

    name: str
    run: Callable[[], Any]
    repeats: int
    goal: float | None = None
    atol: float = 0.0
    view: Callable[[Any], Any] = lambda result: result


@dataclass(frozen=True)
class Question:
    """Contestants that do the same; the first is rndfast."""

    name: str
    contestants: list[Contestant]
    rtol: float = 0.0
    atol: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the result.

    ``user_ms`` is the mean CPU time without the operating system's, which goes into page faults of
    new memory. The ratios are of CPU and user time to those of rndfast.
    """

    question: str
    contestant: str
    repeats: int
    wall_ms: float
    wall_min_ms: float
    wall_max_ms: float
    cpu_ms: float
    user_ms: float
    ratio: float
    user_ratio: float
    goal: float | None
    largest_difference: float


def to_arrays(result: Any) -> list[Array]:
    """NumPy arrays of a result: arrays, tensors, or a tuple of them; bfloat16 as float32."""
    if isinstance(result, tuple):
        return [array for part in result for array in to_arrays(part)]
    if isinstance(result, torch.Tensor):
        return [(result.float() if result.dtype == torch.bfloat16 else result).numpy()]
    return [result]


def largest_difference(actual: Any, expected: Any, rtol: float, atol: float) -> float:
    """Check that the results are equal within the tolerance; tell by how much they differ."""
    largest = 0.0
    for left, right in zip(to_arrays(actual), to_arrays(expected), strict=True):
        if left.shape != right.shape:
            raise ValueError(f"results must have one shape, got {left.shape} and {right.shape}")
        flat_left, flat_right = left.reshape(-1), right.reshape(-1)
        # in parts that stay in the cache: float64 copies of the whole would take gigabytes
        for begin in range(0, left.size, COMPARED_SIZE):
            part = slice(begin, begin + COMPARED_SIZE)
            wide_left, wide_right = (a[part].astype(np.float64) for a in (flat_left, flat_right))
            difference = np.abs(wide_left - wide_right)
            if not (difference <= atol + rtol * np.abs(wide_right)).all():
                raise ValueError(f"results differ by up to {difference.max()}")
            largest = max(largest, float(difference.max()))
    return largest


def images_of(blocks: torch.Tensor) -> torch.Tensor:
    """``(B, planes, H, W)`` images of ``(B, H / 4, W / 4, planes * 16)`` blocks of 4 x 4 pixels."""
    batch, rows, columns, channels = blocks.shape
    pixels = blocks.view(batch, rows, columns, channels // 16, 4, 4)
    return pixels.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, rows * 4, columns * 4)


def as_numpy(out: torch.Tensor) -> Array:
    """View a tensor as the core takes it: bfloat16 as its bits, as NumPy has none."""
    array: Array = (out.view(torch.uint16) if out.dtype == torch.bfloat16 else out).numpy()
    return array


def read_clocks() -> tuple[float, float, float]:
    """Wall time, CPU time and the part of it outside the kernel, in seconds."""
    user = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    return time.perf_counter(), time.process_time(), user


def measure(question: Question) -> Iterator[Row]:
    """Check the results, which is the warm-up, then time the contestants in turns."""
    times: dict[str, list[tuple[float, float, float]]] = {c.name: [] for c in question.contestants}

    def run_timed(contestant: Contestant) -> Any:
        before = read_clocks()
        result = contestant.run()
        wall, cpu, user = (now - then for now, then in zip(read_clocks(), before, strict=True))
        times[contestant.name].append((wall, cpu, user))
        return result

    ours = question.contestants[0]
    differences = [0.0]
    expected = ours.view(run_timed(ours))
    for contestant in question.contestants[1:]:
        result = contestant.view(run_timed(contestant))
        atol = max(question.atol, contestant.atol)
        differences.append(largest_difference(expected, result, question.rtol, atol))
        del result
    del expected

    for contestant in question.contestants:
        if contestant.repeats > 1:  # one that takes seconds is timed while it is checked
            times[contestant.name].clear()
    for turn in range(max(c.repeats for c in question.contestants)):
        for contestant in question.contestants:
            if turn < contestant.repeats > 1:
                run_timed(contestant)

    our_cpu = statistics.median(cpu for _, cpu, _ in times[ours.name])
    our_user = statistics.mean(user for _, _, user in times[ours.name])
    for contestant, difference in zip(question.contestants, differences, strict=True):
        walls = [wall for wall, _, _ in times[contestant.name]]
        median_cpu = statistics.median(cpu for _, cpu, _ in times[contestant.name])
        mean_user = statistics.mean(user for _, _, user in times[contestant.name])
        yield Row(
            question=question.name,
            contestant=contestant.name,
            repeats=contestant.repeats,
            wall_ms=1e3 * statistics.median(walls),
            wall_min_ms=1e3 * min(walls),
            wall_max_ms=1e3 * max(walls),
            cpu_ms=1e3 * median_cpu,
            user_ms=1e3 * mean_user,
            ratio=median_cpu / our_cpu,
            user_ratio=mean_user / our_user if our_user > 0 else float("nan"),
            goal=contestant.goal,
            largest_difference=difference,
        )


def gae_question(rng: np.random.Generator) -> Question:
    """Advantages of one rollout, episodic."""
    rewards, values = rng.normal(size=(2, STEPS, ENVS)).astype(np.float32)
    next_value = rng.normal(size=ENVS).astype(np.float32)
    terminated = rng.random((STEPS, ENVS)) < 0.02
    tensors = [torch.from_numpy(a) for a in (rewards, values, next_value, terminated)]

    def loop(rewards: Any, values: Any, next_value: Any, terminated: Any, out: Any) -> Any:
        """Take one step of all environments at a time, as CleanRL does."""
        last: Any = 0.0
        for t in reversed(range(STEPS)):
            following = next_value if t == STEPS - 1 else values[t + 1]
            keep = 1.0 - terminated[t]
            delta = rewards[t] + GAMMA * following * keep - values[t]
            out[t] = last = delta + GAMMA * GAE_LAMBDA * keep * last
        return out

    def torch_loop() -> Any:
        r, v, following, done = tensors
        return loop(r, v, following, done.float(), torch.zeros_like(r))

    return Question(
        "gae",
        [
            Contestant(
                "rndfast",
                lambda: _core.gae(rewards, values, next_value, terminated, GAMMA, GAE_LAMBDA),
                301,
            ),
            Contestant(
                "NumPy loop over T",
                lambda: loop(
                    rewards,
                    values,
                    next_value,
                    terminated.astype(np.float32),
                    np.zeros_like(rewards),
                ),
                101,
                goal=30,
            ),
            Contestant("PyTorch loop over T", torch_loop, 31),
        ],
        rtol=1e-5,  # the loops sum in float32
        atol=1e-5,
    )


def filter_question(rng: np.random.Generator) -> Question:
    """Discounted intrinsic returns of one rollout, forward; each run starts from zeros."""
    rewards = rng.exponential(size=(STEPS, ENVS)).astype(np.float32)

    def ours() -> Array:
        return _core.DiscountedReturnFilter(ENVS, gamma=GAMMA).update(rewards)

    def numpy_loop() -> Array:
        sums, out = np.zeros(ENVS), np.zeros((STEPS, ENVS))
        for t in range(STEPS):
            sums = sums * GAMMA + rewards[t]
            out[t] = sums
        return out

    def torch_loop() -> torch.Tensor:
        tensor = torch.from_numpy(rewards)
        sums, out = torch.zeros(ENVS), torch.zeros(STEPS, ENVS)
        for t in range(STEPS):
            sums = sums * GAMMA + tensor[t]
            out[t] = sums
        return out

    return Question(
        "return filter",
        [
            Contestant("rndfast", ours, 301),
            Contestant("NumPy loop over T", numpy_loop, 101),
            Contestant("PyTorch loop over T", torch_loop, 31),
        ],
        rtol=1e-5,
    )


def moments_question(frames: Array) -> Question:
    """Mean and variance of every pixel over all frames of one rollout, (16384, 84, 84) uint8."""
    batch = frames[STACK - 1 :].reshape(STEPS * ENVS, SIZE, SIZE)

    def ours() -> tuple[Array, Array]:
        moments = _core.RunningMoments((SIZE, SIZE))
        moments.update(batch)
        return moments.mean, moments.var

    def numpy_float64() -> tuple[Array, Array]:
        wide = batch.astype(np.float64)
        return np.mean(wide, axis=0), np.var(wide, axis=0)

    def torch_float64() -> tuple[torch.Tensor, torch.Tensor]:
        var, mean = torch.var_mean(torch.from_numpy(batch).double(), dim=0, correction=0)
        return mean, var

    return Question(
        "moments, 16384 frames",
        [
            Contestant("rndfast", ours, 9),
            Contestant("NumPy float64 mean, var", numpy_float64, 1, goal=20),
            Contestant("PyTorch float64 var_mean", torch_float64, 1),
        ],
        rtol=1e-10,
    )


def normalize_questions(frames: Array, rng: np.random.Generator) -> Iterator[Question]:
    """Gather, whiten and clip the frames of one minibatch in random order."""
    store = torch.from_numpy(frames.reshape(-1, SIZE, SIZE))
    indices = rng.permutation(STEPS * ENVS)[:MINIBATCH]
    positions = torch.from_numpy(indices)
    mean, var = rng.uniform(50, 200, (SIZE, SIZE)), rng.uniform(1, 90, (SIZE, SIZE)) ** 2
    wide_mean, wide_std = torch.from_numpy(mean), torch.from_numpy(var).sqrt()
    shape = (MINIBATCH, SIZE // 4, SIZE // 4, 16)
    outs = {dtype: torch.empty(shape, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}

    def ours(dtype: torch.dtype) -> torch.Tensor:
        out = outs[dtype]
        _core.normalize_frames(
            frames[:, :, None], indices, mean[None], var[None], out=as_numpy(out), clip=CLIP
        )
        return out

    def view(blocks: torch.Tensor) -> torch.Tensor:
        return images_of(blocks)[:, 0]

    def torch_float64(dtype: torch.dtype) -> torch.Tensor:
        return ((store[positions] - wide_mean) / wide_std).clip(-CLIP, CLIP).to(dtype)

    def torch_float32(dtype: torch.dtype) -> torch.Tensor:
        pixels = store[positions].float()
        return ((pixels - wide_mean.float()) / wide_std.float()).clip(-CLIP, CLIP).to(dtype)

    def numpy_float64() -> Array:
        pixels = frames.reshape(-1, SIZE, SIZE)[indices]
        return ((pixels - mean) / np.sqrt(var)).clip(-CLIP, CLIP).astype(np.float32)

    single, half = torch.float32, torch.bfloat16
    yield Question(
        "normalise + clip, 4096 frames, float32",
        [
            Contestant("rndfast", lambda: ours(single), 21, view=view),
            Contestant("PyTorch float64", lambda: torch_float64(single), 3, goal=40),
            # it rounds the difference of a pixel and the mean to 2^-17
            Contestant("PyTorch float32", lambda: torch_float32(single), 3, atol=2e-5),
            Contestant("NumPy float64", numpy_float64, 3),
        ],
        rtol=1e-6,
    )
    yield Question(
        "normalise + clip, 4096 frames, bfloat16",
        [
            Contestant("rndfast", lambda: ours(half), 21, view=view),
            Contestant("PyTorch float64", lambda: torch_float64(half), 3),
            Contestant("PyTorch float32", lambda: torch_float32(half), 3, atol=2e-5),
        ],
        rtol=2**-7,  # where the sides of a tie differ, one unit of bfloat16
    )


def gather_questions(frames: Array, rng: np.random.Generator) -> Iterator[Question]:
    """Gather the stacks of one minibatch in random order, zeros before episodes' first frames."""
    indices = rng.permutation(STEPS * ENVS)[:MINIBATCH]
    is_start = rng.random((STEPS + STACK - 1, ENVS)) < 0.01
    ages = [np.full(ENVS, STACK)]
    for row in is_start:
        ages.append(np.where(row, 1, np.minimum(ages[-1] + 1, STACK)))
    valid = np.array(ages[STACK:], np.uint8)

    steps, envs = np.divmod(indices, ENVS)
    rows, columns = steps[:, None] + np.arange(STACK), envs[:, None]
    is_blank = np.arange(STACK) < STACK - valid.reshape(-1)[indices][:, None]
    store = torch.from_numpy(frames)
    t_rows, t_columns, t_blank = (torch.from_numpy(a) for a in (rows, columns, is_blank))
    shape = (MINIBATCH, SIZE // 4, SIZE // 4, STACK * 16)
    outs = {dtype: torch.empty(shape, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}

    def ours(dtype: torch.dtype) -> torch.Tensor:
        out = outs[dtype]
        _core.gather_stacks(frames[:, :, None], valid, indices, out=as_numpy(out))
        return out

    def numpy_bytes() -> Array:
        stacks = frames[rows, columns]
        stacks[is_blank] = 0
        return stacks

    def torch_bytes() -> torch.Tensor:
        stacks = store[t_rows, t_columns]
        stacks[t_blank] = 0
        return stacks

    def torch_half() -> torch.Tensor:
        return (torch_bytes().float() / 255).bfloat16()

    yield Question(
        "gather stacks / 255, 4096, float32",
        [
            Contestant("rndfast", lambda: ours(torch.float32), 15, view=images_of),
            Contestant(
                "NumPy indexing, float32",
                lambda: numpy_bytes().astype(np.float32) / 255,
                3,
                goal=20,
            ),
            Contestant(
                "PyTorch indexing, float32", lambda: torch_bytes().float() / 255, 3, goal=20
            ),
        ],
        rtol=1e-7,
    )
    yield Question(
        "gather stacks / 255, 4096, bfloat16",
        [
            Contestant("rndfast", lambda: ours(torch.bfloat16), 15, view=images_of),
            Contestant("PyTorch indexing, float32, bfloat16", torch_half, 3),
        ],
    )


def make_questions(only: list[str]) -> Iterator[Question]:
    """Make each question when it is its turn: its memory goes before the next one's comes."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (STEPS + STACK - 1, ENVS, SIZE, SIZE), np.uint8)
    if "gae" in only:
        yield gae_question(rng)
    if "filter" in only:
        yield filter_question(rng)
    if "moments" in only:
        yield moments_question(frames)
    if "normalize" in only:
        yield from normalize_questions(frames, rng)
    if "gather" in only:
        yield from gather_questions(frames, rng)


def read_environment() -> dict[str, str]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "cpu": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores; 1 used",
        "simd": _core.ThreadPool(1).simd_level,
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"PyTorch {torch.__version__}",
        "commit": commit.stdout.strip() if commit.returncode == 0 else "none",
    }


def make_table(rows: list[Row]) -> Table:
    """Lay out the result."""
    table = Table()
    for heading in ("question", "contestant"):
        table.add_column(heading)
    for heading in (
        "wall ms",
        "min .. max",
        "CPU ms",
        "user ms",
        "ratio",
        "user",
        "goal",
        "largest diff",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        is_ours = row.contestant == "rndfast"
        goal = "" if row.goal is None else f">= {row.goal:g} "
        if row.goal is not None:
            goal += "met" if row.ratio >= row.goal else "MISSED"
        table.add_row(
            row.question if is_ours else "",
            row.contestant,
            f"{row.wall_ms:.3f}",
            f"{row.wall_min_ms:.3f} .. {row.wall_max_ms:.3f}",
            f"{row.cpu_ms:.3f}",
            f"{row.user_ms:.3f}",
            "" if is_ours else f"{row.ratio:.1f}",
            "" if is_ours else f"{row.user_ratio:.1f}",
            goal,
            "" if is_ours else f"{row.largest_difference:.1e}",
        )
    return table


def main() -> None:
    """Run and print."""
    names = ["gae", "filter", "moments", "normalize", "gather"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--only", default=",".join(names), help="some of: %(default)s")
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    if unknown := set(only) - set(names):
        parser.error(f"--only: unknown {sorted(unknown)}; choose from {names}")
    torch.set_num_threads(1)

    environment = read_environment()
    for key, value in environment.items():
        print(f"{key}: {value}")
    begin = time.perf_counter()
    rows = [row for question in make_questions(only) for row in measure(question)]
    # a fixed width, so that a pipe gets whole lines
    Console(width=170).print(make_table(rows))
    print(f"{time.perf_counter() - begin:.0f} s in all")
    if arguments.json:
        result = {"environment": environment, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
