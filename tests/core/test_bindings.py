# SPDX-License-Identifier: MIT
"""The boundary of the compiled module: whatever Python gives it, the process lives on."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core import odd_calls
from tests.core.odd_calls import (
    EXAMPLES,
    GAME,
    Target,
    classes,
    empty_of,
    rom,
    started_batch,
    targets,
)

from rndfast import Console, _core

PICKLED = [pickle.HIGHEST_PROTOCOL, *range(pickle.HIGHEST_PROTOCOL)]


def run(program: str, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# --- every class and every method -------------------------------------------------------------


@pytest.mark.parametrize("name", classes())
def test_pickling_is_refused_with_advice(name: str) -> None:
    made = EXAMPLES[name]()
    empty = empty_of(type(made))
    for value in (made, empty):
        for protocol in PICKLED:
            with pytest.raises(TypeError, match=f"^{name} cannot be pickled or copied: .{{15}}"):
                pickle.dumps(value, protocol)
        for copied in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=f"^{name} cannot be pickled or copied: .{{15}}"):
                copied(value)


@pytest.mark.parametrize("target", [t for t in targets() if t.owner], ids=lambda t: t.name)
def test_no_method_runs_on_an_object_that_init_has_not_made(target: Target) -> None:
    owner: Any = target.owner
    if target.name.endswith(("__init__", "__new__", "__reduce__", "__repr__", "conduit_v1_")):
        pytest.skip("takes any object")
    with pytest.raises(TypeError, match=f"{owner.__name__}.__init__\\(\\) must be called before"):
        target.function(empty_of(owner), **dict.fromkeys(target.arguments, 0))


def test_a_pool_that_init_has_not_made_is_refused() -> None:
    with pytest.raises(TypeError, match=r"ThreadPool.__init__\(\) must be called before"):
        _core.RunningMoments((2,), pool=empty_of(_core.ThreadPool))


def test_consoles_can_be_copied() -> None:
    console = Console(GAME, random_seed=3, repeat_action_probability=0.5)
    for action in (1, 3, 3, 4):
        console.act(action)
    for twin in (copy.copy(console), copy.deepcopy(console), copy.deepcopy([console])[0]):
        assert twin.snapshot() == console.snapshot()
        twin.act(2)
        assert twin.snapshot() != console.snapshot()


@pytest.mark.parametrize("seed", range(3))
def test_odd_calls_never_end_the_process(seed: int, tmp_path: Path) -> None:
    num_calls = 4000
    command = [sys.executable, "-m", "tests.core.odd_calls", str(seed), str(num_calls)]
    child = subprocess.run(
        [*command, str(tmp_path / "log")], capture_output=True, text=True, timeout=300, check=False
    )
    last = (tmp_path / "log").read_text()
    assert child.returncode == 0, f"call {last} of {command}: {child.stderr[-2000:]}"
    assert int(child.stdout) > num_calls // 20  # of which this many were right by chance


def test_odd_calls_are_made_of_everything() -> None:
    names = {target.name for target in targets()}
    assert EXAMPLES.keys() == classes().keys() < names
    assert {"gae", "Console.act", "AtariBatch.send", "DiscountedReturnFilter.carry"} < names
    assert {t.name: t.arguments for t in targets()}["AtariBatch.reset"] == ["env_ids", "seeds"]
    assert set(odd_calls.BATCH_ARGUMENTS) > {"mode", "num_threads"}


# --- environments -----------------------------------------------------------------------------


def int64(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


@pytest.mark.parametrize("seed", [-2, 2**32, 2**62, -(2**63)])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    batch = started_batch()
    before = batch.snapshot()
    with pytest.raises(
        ValueError, match=rf"seed of env 1 must be in \[-1, 4294967295\], got {seed}"
    ):
        batch.reset(int64(0, 1), int64(3, seed))
    assert batch.snapshot() == before


@pytest.mark.parametrize("env_id", [-1, 2, 2**62, -(2**63)])
def test_environments_that_are_not_there_are_refused(env_id: int) -> None:
    batch = started_batch(keeps_colors=True)
    before = batch.snapshot()
    with pytest.raises(ValueError, match=rf"env_ids must be in \[0, 1\], got {env_id}"):
        batch.reset(int64(env_id), int64(0))
    with pytest.raises(ValueError, match=rf"env_ids must be in \[0, 1\], got {env_id}"):
        batch.send(int64(0), int64(env_id))
    with pytest.raises(ValueError, match=rf"env must be in \[0, 1\], got {env_id}"):
        batch.render(env_id)
    assert batch.snapshot() == before


def test_environments_that_have_not_started_can_only_be_reset_with_a_seed() -> None:
    batch = _core.AtariBatch(GAME, rom(), num_envs=2, num_threads=1, keeps_colors=True)
    batch.reset(int64(0), int64(5))
    error = "env 1 has not started: reset it with a seed first"
    for call in (
        lambda: batch.reset(int64(1), int64(-1)),
        lambda: batch.send(int64(0, 0)),
        lambda: batch.render(1),
        batch.observe,
        batch.snapshot,
    ):
        with pytest.raises(RuntimeError, match=error):
            call()
    batch.send(int64(0), int64(0))
    batch.recv()
    batch.reset(int64(1, 0), int64(5, -1))
    batch.snapshot()


def test_grey_pictures_are_not_shown_in_colour() -> None:
    with pytest.raises(RuntimeError, match="pictures are grey"):
        started_batch().render(0)


def test_only_ended_episodes_have_a_final_observation() -> None:
    batch = started_batch(max_num_frames_per_episode=8)
    batch.reset(int64(0), int64(0))
    batch.send(int64(0, 0))
    results = batch.recv()[-1]
    assert results.final_observation(1).shape == (4, 84, 84)
    with pytest.raises(ValueError, match="no episode has ended in row 0"):
        results.final_observation(0)
    for row in (-1, 2, 2**62):
        with pytest.raises(ValueError, match=rf"row must be in \[0, 1\], got {row}"):
            results.final_observation(row)


def test_results_that_someone_holds_are_not_written_to_again() -> None:
    batch = _core.AtariBatch(GAME, rom(), num_envs=1, num_threads=1, copy=False)
    batch.reset(int64(0), int64(0))
    held = []
    for _ in range(5):
        batch.send(int64(0))
        results = batch.recv()[-1]
        held.append((results, results.column("frame_number").copy()))
    for results, frame_number in held:
        assert results.column("frame_number") == frame_number


# --- threads and the interpreter's end --------------------------------------------------------

DAEMONS = """
import threading, time
import numpy as np, rndfast
envs = [rndfast.AtariVectorEnv("pong", 4, num_threads=2) for _ in range(2)]
pool = rndfast.ThreadPool(2)
moments = rndfast._core.RunningMoments((64, 64), pool=pool)
def step(env):
    env.reset(seed=0)
    while True: env.step(np.zeros(4, np.int64))
def update():
    while True: moments.update(np.zeros((8, 64, 64), np.uint8))
for work in (lambda: step(envs[0]), lambda: step(envs[1]), update):
    threading.Thread(target=work, daemon=True).start()
time.sleep({seconds})
"""


@pytest.mark.parametrize("seconds", [0.0, 0.11, 0.16, 0.23])
def test_daemon_threads_may_work_while_the_interpreter_ends(seconds: float) -> None:
    child = run(DAEMONS.replace("{seconds}", str(seconds)))
    assert (child.returncode, child.stderr) == (0, "")


def test_exit_handlers_can_still_step_while_daemon_threads_do() -> None:
    at_exit = (
        "import atexit; atexit.register(lambda: (mine.step(np.zeros(1, int)), print('left')))\n"
    )
    more = "\nmine = rndfast.AtariVectorEnv('pong', num_threads=1); mine.reset(seed=0)\n"
    child = run(at_exit + DAEMONS.replace("{seconds}", "0.2") + more)
    assert (child.returncode, child.stderr, child.stdout) == (0, "", "left\n")


NO_ROOM = """
import resource
import numpy as np, rndfast
from rndfast import _core
from pathlib import Path
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (400 << 20),) * 2)
def envs(num_threads): return rndfast.AtariVectorEnv("pong", num_threads=num_threads)
for make in (rndfast.ThreadPool, envs):
    try:
        make(1024)
    except RuntimeError as error:
        print(error)
    made = make(2)
    if hasattr(made, "reset"):
        made.reset(seed=0)
        made.step(np.zeros(1, int))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to RLIMIT_AS")
def test_threads_that_the_system_refuses_are_counted_with_the_limit() -> None:
    child = run(NO_ROOM)
    assert (child.returncode, child.stderr) == (0, "")
    for line, wanted in zip(child.stdout.splitlines(), (1023, 1024), strict=True):
        words = line.split()
        assert words[0] == "only"
        assert 1 <= int(words[1]) < wanted
        assert f"of {wanted} worker threads could be started (Resource temporarily" in line
        assert "MiB of address space (ulimit -v)" in line
