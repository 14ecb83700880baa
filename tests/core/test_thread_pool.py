"""rndfast._core.ThreadPool: Ctrl-C, fork, the GIL, and threads that go away."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.pools import ALL_SIMD_LEVELS, SIMD_LEVELS

from rndfast._core import RunningMoments, ThreadPool, gather_stacks, normalize_frames


def num_threads_of_process() -> int:
    """Threads that the system lists, once steady: a joined one is listed a moment longer."""
    counts: list[int] = []
    while len(counts) < 10 or len(set(counts[-10:])) > 1:
        counts.append(len(list(Path("/proc/self/task").iterdir())))
        time.sleep(0.01)
    return counts[-1]


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own; a crash leaves a traceback, a hang an exception."""
    command = [sys.executable, "-W", "error", "-X", "faulthandler", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8])
def test_pool_has_as_many_threads_as_asked_for_with_the_calling_one(num_threads: int) -> None:
    before = num_threads_of_process()
    pool = ThreadPool(num_threads)
    assert pool.num_threads == num_threads
    assert num_threads_of_process() == before + num_threads - 1


def test_zero_threads_means_one_per_core() -> None:
    assert 1 <= ThreadPool(0).num_threads <= 1024
    assert ThreadPool().num_threads == ThreadPool(0).num_threads


def test_pools_can_be_created_and_dropped() -> None:
    gc.collect()
    before = num_threads_of_process()
    batch = np.ones((3, 4000), np.uint8)
    for index in range(200):
        pool = ThreadPool(1 + index % 8)
        if index % 2:
            RunningMoments((4000,), pool=pool).update(batch)
    del pool
    assert num_threads_of_process() == before


def test_moments_keep_their_pool_alive() -> None:
    before = num_threads_of_process()
    moments = RunningMoments((4000,), pool=ThreadPool(3))
    gc.collect()
    moments.update(np.ones((3, 4000), np.uint8))
    assert num_threads_of_process() == before + 2
    assert moments.count == 3
    del moments
    assert num_threads_of_process() == before


def test_simd_levels() -> None:
    assert ThreadPool(1, simd="auto").simd_level == SIMD_LEVELS[-1]
    for level in SIMD_LEVELS:
        assert ThreadPool(1, simd=level).simd_level == level
    for level in ALL_SIMD_LEVELS[len(SIMD_LEVELS) :]:
        with pytest.raises(ValueError, match=f"^simd level '{level}' is not supported by this"):
            ThreadPool(1, simd=level)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_threads": -1}, ValueError, r"^num_threads must be in \[0, 1024\], got -1$"),
        ({"num_threads": 1025}, ValueError, r"^num_threads must be in \[0, 1024\], got 1025$"),
        ({"num_threads": 2**70}, TypeError, "(?s)incompatible .*num_threads: .*got|Invoked with"),
        ({"num_threads": 2.0}, TypeError, "(?s)incompatible .*num_threads: .*Invoked with.*2.0"),
        ({"num_threads": "2"}, TypeError, "(?s)incompatible .*num_threads: "),
        ({"num_threads": None}, TypeError, "(?s)incompatible .*num_threads: "),
        ({"num_threads": np.zeros(2)}, TypeError, "(?s)incompatible .*num_threads: "),
        ({"simd": "neon"}, ValueError, "^simd level must be 'auto', .* or 'avx512', got 'neon'$"),
        ({"simd": ""}, ValueError, "^simd level must be 'auto', .* or 'avx512', got ''$"),
        ({"simd": 2}, TypeError, "(?s)incompatible .*simd: "),
        ({"simd": None}, TypeError, "(?s)incompatible .*simd: "),
    ],
)
def test_pool_refuses_wrong_arguments(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = num_threads_of_process()
    with pytest.raises(error, match=message):
        ThreadPool(**arguments)
    assert num_threads_of_process() == before


SIGINT_SCRIPT = """
import os, signal, threading, time
import numpy as np
from rndfast._core import RunningMoments, ThreadPool

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
shape = (84, 84)
moments = RunningMoments(shape, prior_count=1e-4, pool=ThreadPool({num_threads}))
moments.update(np.arange(84 * 84, dtype={dtype}).reshape(shape))
batch = np.broadcast_to(np.ones(shape, {dtype}), ({frames}, *shape)).copy()
state = lambda: (moments.count, moments.mean.tobytes(), moments.m2.tobytes())
sent = 0.0

def interrupt():
    global sent
    time.sleep({delay})
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    while True:
        before = state()
        moments.update(batch)
except KeyboardInterrupt:
    late_s = time.monotonic() - sent
# raised inside an update: nothing of it is merged; after one: all of it
if state() != before:
    whole = RunningMoments(shape)
    whole.set_state(count=before[0], mean=np.frombuffer(before[1]).reshape(shape),
                    m2=np.frombuffer(before[2]).reshape(shape))
    whole.update(batch)
    assert state() == (whole.count, whole.mean.tobytes(), whole.m2.tobytes()), "merged in part"
count = moments.count
moments.update(batch)
assert moments.count == count + len(batch), "the pool is not usable afterwards"
print(late_s)
"""


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["np.uint8", "np.float32"])
@pytest.mark.parametrize("delay", [0.05, 0.33])
def test_ctrl_c_ends_a_loop_of_updates_within_a_second(
    num_threads: int, dtype: str, delay: float
) -> None:
    script = SIGINT_SCRIPT.format(num_threads=num_threads, dtype=dtype, delay=delay, frames=2000)
    result = run_script(script)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1


INTERRUPTED_UPDATE_SCRIPT = """
import signal, time
import numpy as np
from rndfast._core import RunningMoments, ThreadPool

moments = RunningMoments((1 << 19,), pool=ThreadPool({num_threads}))
moments.update(np.full(1 << 19, 3, np.uint8))
state = (moments.count, moments.mean.tobytes(), moments.m2.tobytes())
batch = np.ones((400, 1 << 19), np.float32)  # takes many times the 50 ms between two polls
# CPU time, as other processes may keep this one waiting
begin = time.process_time()
moments.update(batch)
whole_s = time.process_time() - begin
moments.set_state(count=1.0, mean=np.frombuffer(state[1]), m2=np.frombuffer(state[2]))

signal.signal(signal.SIGPROF, signal.default_int_handler)
signal.setitimer(signal.ITIMER_PROF, whole_s / 10)
begin = time.process_time()
try:
    moments.update(batch)
    raise SystemExit("not interrupted")
except KeyboardInterrupt:
    interrupted_s = time.process_time() - begin
assert (moments.count, moments.mean.tobytes(), moments.m2.tobytes()) == state, "changed"
assert interrupted_s < 0.8 * whole_s, (interrupted_s, whole_s)
moments.update(batch)
assert moments.count == 1 + len(batch), "the pool is not usable afterwards"
"""


@pytest.mark.parametrize("num_threads", [1, 3])
def test_an_interrupted_update_leaves_the_moments_as_they_were(num_threads: int) -> None:
    result = run_script(INTERRUPTED_UPDATE_SCRIPT.format(num_threads=num_threads))
    assert result.returncode == 0, result.stdout + result.stderr


FORK_SCRIPT = """
import os, sys, time, warnings
import numpy as np
from rndfast._core import RunningMoments, ThreadPool, gather_stacks, normalize_frames

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
pool = ThreadPool(3)
moments = RunningMoments((4000,), pool=pool)
batch = np.ones((5, 4000), np.uint8)
moments.update(batch)
frames, indices = np.ones((2, 2, 1, 4, 4), np.uint8), np.zeros(1, np.int64)
plane = np.ones((1, 4, 4))
out = np.zeros((1, 1, 1, 16), np.float32)
uses = {{
    "update": lambda: moments.update(batch),
    "gather_stacks": lambda: gather_stacks(
        frames, np.ones((2, 2), np.uint8), indices, out=out, pool=pool),
    "normalize_frames": lambda: normalize_frames(
        frames, indices, plane, plane, out=out, pool=pool),
}}
child = os.fork()
if child == 0:
    begin = time.monotonic()
    try:
        uses["{use}"]()
    except RuntimeError as error:
        assert "belongs to process" in str(error) and "create it after the fork" in str(error)
        assert time.monotonic() - begin < 1
        assert moments.count == 5
        fresh = RunningMoments((4000,), pool=ThreadPool(3))  # a pool of the child's own works
        fresh.update(batch)
        assert fresh.count == 5
        sys.exit(7)  # with destructors
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
moments.update(batch)
assert moments.count == 10
"""


@pytest.mark.parametrize("use", ["update", "gather_stacks", "normalize_frames"])
def test_a_pool_refuses_to_work_in_a_forked_child_and_goes_on_in_the_parent(use: str) -> None:
    result = run_script(FORK_SCRIPT.format(use=use))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize("kernel", ["update", "gather_stacks", "normalize_frames"])
def test_other_python_threads_make_progress_during_a_kernel(kernel: str) -> None:
    # each kernel is entered once; if it held the GIL, the ticker would not run in between
    frames = np.ones((2, 300, 1, 84, 84), np.uint8)
    indices = np.random.default_rng(0).integers(0, 300, 12_000)
    plane = np.ones((1, 84, 84))
    out = np.zeros((len(indices), 21, 21, 16), np.float32)

    def work() -> None:
        if kernel == "update":
            batch = np.broadcast_to(np.ones((84, 84), np.uint8), (40_000, 84, 84))
            batch = np.ascontiguousarray(batch)
            timed(lambda: RunningMoments((84, 84)).update(batch))
        elif kernel == "gather_stacks":
            valid = np.ones((2, 300), np.uint8)
            timed(lambda: gather_stacks(frames, valid, indices, out=out))
        else:
            timed(lambda: normalize_frames(frames, indices, plane, plane, out=out))

    ticks: list[float] = []
    spans: list[tuple[float, float]] = []

    def timed(call: Any) -> None:
        begin = time.perf_counter()
        call()
        spans.append((begin, time.perf_counter()))

    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.0005)
    begin, end = spans[0]
    assert end - begin > 0.01
    # well inside the kernel: not merely before it starts or while it returns
    inside = [t for t in ticks if begin + 0.2 * (end - begin) < t < end - 0.2 * (end - begin)]
    assert len(inside) >= 3


def test_one_pool_serves_several_python_threads() -> None:
    pool = ThreadPool(3)
    batch = np.random.default_rng(0).integers(0, 256, (50, 3000), np.uint8)
    results: list[bytes] = []

    def work() -> None:
        moments = RunningMoments((3000,), pool=pool)
        for _ in range(20):
            moments.update(batch)
        results.append(moments.m2.tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1
