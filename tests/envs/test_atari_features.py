# SPDX-License-Identifier: MIT
"""What the environments do beyond stepping: partial steps, snapshots, pictures, modes, misuse.

Oracles: ale-py's ALEInterface in lockstep, and the environments themselves in another arrangement.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium.wrappers.vector as vector_wrappers
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.vector import AutoresetMode
from tests.core.pools import SIMD_LEVELS
from tests.core.test_thread_pool import num_threads_of_process
from tests.reference.ale import make_ale, rom_file
from tests.reference.area_resize import resized

from rndfast import Console, _core
from rndfast.envs.atari import AtariEnv, AtariVectorEnv
from rndfast.envs.games import GAMES, has_rooms

Array = npt.NDArray[Any]

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode
ALL_MODES = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
TINY: dict[str, Any] = {"img_height": 21, "img_width": 16, "stack_num": 2}
PAPER: dict[str, Any] = {"noop_max": 0, "use_fire_reset": False}
FULL_SCREEN: dict[str, Any] = {"img_height": 210, "img_width": 160}  # no resize: exact screens


def arrays_of(nested: Any) -> Iterator[Array]:
    """Yield all arrays of what a call returned, in a fixed order."""
    if isinstance(nested, np.ndarray) and nested.dtype.names:  # not the bytes between its fields
        yield from (nested[name] for name in nested.dtype.names)
    elif isinstance(nested, np.ndarray) and nested.dtype != object:
        yield nested
    elif isinstance(nested, dict):
        for key in sorted(nested):
            yield from arrays_of(nested[key])
    elif isinstance(nested, (list, tuple, np.ndarray)):
        for item in nested:
            yield from arrays_of(item)


def assert_same(found: Any, expected: Any) -> None:
    """Compare two results of calls, array by array."""
    pairs = zip(arrays_of(found), arrays_of(expected), strict=True)
    for number, (one, other) in enumerate(pairs):
        np.testing.assert_array_equal(one, other, strict=True, err_msg=f"array {number}")


def rows_of(result: Any, rows: Any) -> Any:
    """Select some environments of what a call returned."""
    if isinstance(result, dict):
        return {key: rows_of(value, rows) for key, value in result.items()}
    return tuple(rows_of(v, rows) for v in result) if isinstance(result, tuple) else result[rows]


def assert_same_rows(found: Any, expected: Any, ids: Array) -> None:
    """Compare the results of some environments with their rows in those of all."""
    for one, other in zip(found[:4], expected[:4], strict=True):
        np.testing.assert_array_equal(one, other[ids], strict=True)
    assert_same_info(found[4], rows_of(expected[4], ids))


def assert_same_info(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in (found.keys() | expected.keys()) - {"env_id"}:
        if key not in found and key in ("final_obs", "final_info", "_final_obs", "_final_info"):
            assert not expected["_final_obs"].any()  # another environment's episode ended
        elif key.startswith("final"):
            assert key in expected
        else:
            np.testing.assert_array_equal(found[key], expected[key], strict=True, err_msg=key)
    if "final_obs" in found:
        for one, other in zip(found["final_obs"], expected["final_obs"], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
        assert_same_info(found["final_info"], expected["final_info"])


def play(envs: AtariVectorEnv, num_steps: int, seed: int = 0) -> list[Any]:
    """Step with seeded actions, resetting where that is up to the user; return all results."""
    rng = np.random.default_rng(seed)
    results: list[Any] = []
    for _ in range(num_steps):
        results.append(envs.step(rng.integers(0, envs.num_actions, envs.num_envs)))
        ended = results[-1][2] | results[-1][3]
        if envs.autoreset_mode is DISABLED and ended.any():
            results.append(envs.reset(options={"reset_mask": ended}))
    return results


def digest(results: Any) -> str:
    """Return the SHA-256 of all bytes."""
    sha = hashlib.sha256()
    for array in arrays_of(results):
        sha.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return sha.hexdigest()


def run_script(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, and return what it prints."""
    command = [sys.executable, "-W", "error", "-X", "faulthandler", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def envs() -> Iterator[AtariVectorEnv]:
    """Make four copies of Breakout, reset."""
    made = AtariVectorEnv("breakout", 4, num_threads=2, **TINY)
    made.reset(seed=0)
    yield made
    made.close()


# --- without autoreset ------------------------------------------------------------------------


def test_an_ended_episode_is_named_and_the_others_can_go_on() -> None:
    envs = AtariVectorEnv(
        "breakout", 3, autoreset_mode=DISABLED, max_num_frames_per_episode=16, **TINY
    )
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.zeros(3, np.int64))
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    for _ in range(2):
        _, _, _, truncations, info = envs.step(np.zeros(3, np.int64))
    assert truncations.tolist() == [True, False, True]
    before = info["frame_number"]
    message = r"the episode of env 0 has ended and autoreset is disabled: call reset\("
    with pytest.raises(RuntimeError, match=message):
        envs.step(np.zeros(3, np.int64))
    with pytest.raises(RuntimeError, match="the episode of env 2 has ended"):
        envs.send(np.zeros(2, np.int64), np.array([1, 2]))

    envs.send(np.zeros(1, np.int64), np.array([1]))
    _, _, _, _, info = envs.recv()
    assert info["frame_number"].tolist() == [before[1] + 4]
    assert info["episode_length"].tolist() == [3]

    envs.reset(options={"reset_mask": np.array([True, False, True])})
    _, _, _, truncations, info = envs.step(np.zeros(3, np.int64))
    assert info["episode_length"].tolist() == [1, 4, 1]
    assert truncations.tolist() == [False, True, False]
    envs.close()


# --- send and recv ----------------------------------------------------------------------------


class Halves:
    """Steps the halves of an environment in turn, one ahead of the other."""

    def __init__(self, envs: AtariVectorEnv, all_actions: Array) -> None:
        self.envs, self.all_actions, self.num_sent = envs, all_actions, [0, 0]
        self.ids = np.arange(envs.num_envs).reshape(2, -1)

    def send(self, half: int) -> None:
        if self.num_sent[half] < len(self.all_actions):
            actions = self.all_actions[self.num_sent[half]]
            self.envs.send(actions[self.ids[half]], self.ids[half])
            self.num_sent[half] += 1


@ALL_MODES
def test_halves_in_turn_are_two_environments_of_half_the_size(mode: AutoresetMode) -> None:
    settings: dict[str, Any] = {
        "max_num_frames_per_episode": 50,
        "episodic_life": True,
        "autoreset_mode": mode,
        "num_threads": 2,
        **TINY,
    }
    whole = AtariVectorEnv("breakout", 4, **settings)
    halves = Halves(
        AtariVectorEnv("breakout", 4, **settings), np.random.default_rng(0).integers(0, 4, (50, 4))
    )
    alone = [AtariVectorEnv("breakout", 2, **settings) for _ in range(2)]
    for envs in (whole, halves.envs):
        envs.reset(seed=5)
    for half in range(2):
        alone[half].reset(seed=5 + 2 * half)
        halves.send(half)
    num_ends = 0
    for actions in halves.all_actions:
        expected = whole.step(actions)
        ended = expected[2] | expected[3]
        num_ends += int(ended.sum())
        for half, ids in enumerate(halves.ids):
            result = halves.envs.recv()
            if mode is not DISABLED:
                halves.send(half)
            assert result[4]["env_id"].tolist() == ids.tolist()
            assert_same_rows(result, expected, ids)
            assert_same_rows(alone[half].step(actions[ids]), expected, ids)
            if mode is DISABLED and ended[ids].any():
                alone[half].reset(options={"reset_mask": ended[ids]})
        if mode is DISABLED:
            for envs in (whole, halves.envs) if ended.any() else ():
                envs.reset(options={"reset_mask": ended})
            for half in range(2):
                halves.send(half)
    assert num_ends >= 8
    for envs in (whole, halves.envs, *alone):
        envs.close()


def test_any_subset_in_any_order_gives_the_rows_of_a_step(envs: AtariVectorEnv) -> None:
    twin = AtariVectorEnv("breakout", 4, **TINY)
    twin.reset(seed=0)
    rng = np.random.default_rng(0)
    for dtype in (np.int64, np.uint8, np.int16):
        actions = rng.integers(0, 4, 4)
        order = rng.permutation(4)
        cut = int(rng.integers(0, 5))  # also none, and all
        subsets = [order[:cut].astype(dtype), order[cut:].astype(dtype)]
        expected = twin.step(actions)
        for subset in subsets:
            envs.send(actions[subset], subset)
        for subset in subsets:
            result = envs.recv()
            assert result[0].shape == (len(subset), 2, 21, 16)
            assert result[4]["env_id"].tolist() == subset.tolist()
            assert_same(result, rows_of(expected, subset))
    twin.close()


def test_a_wrong_order_of_calls_is_refused_and_loses_nothing(envs: AtariVectorEnv) -> None:
    zeros = np.zeros(2, np.int64)
    with pytest.raises(RuntimeError, match=r"nothing is under way: call send\(\) before recv\(\)"):
        envs.recv()
    envs.send(zeros, np.array([2, 1]))
    with pytest.raises(RuntimeError, match=r"env 1 is still under way: call recv\(\) before"):
        envs.send(zeros, np.array([0, 1]))
    with pytest.raises(
        RuntimeError, match=r"a step is under way: call recv\(\) or reset\(\) first"
    ):
        envs.step(np.zeros(4, np.int64))
    envs.send(zeros, np.array([0, 3]))
    first, second = envs.recv(), envs.recv()
    with pytest.raises(RuntimeError, match="nothing is under way"):
        envs.recv()
    assert [info["env_id"].tolist() for *_, info in (first, second)] == [[2, 1], [0, 3]]
    for *_, info in (first, second):
        assert info["episode_length"].tolist() == [1, 1]
    assert envs.step(np.zeros(4, np.int64))[4]["episode_length"].tolist() == [2] * 4


@pytest.mark.parametrize(
    ("env_ids", "error", "message"),
    [
        (np.array([1, 1]), ValueError, "env_ids must name each environment once, got 1 twice"),
        (np.array([0, 4]), ValueError, r"env_ids must be in \[0, 3\], got 4"),
        (np.array([0, -1]), ValueError, r"env_ids must be in \[0, 3\], got -1"),
        (np.array([0, 2**63], np.uint64), ValueError, r"env_ids must be in \[0, 3\], got -"),
        (np.array([0]), ValueError, r"actions must have shape \(1,\), got \(2,\)"),
        (np.array([[0, 1]]), ValueError, r"env_ids must have shape \(n,\), got \(1, 2\)"),
        (np.array(0), ValueError, r"env_ids must have shape \(n,\), got \(\)"),
        (np.array([0.0, 1.0]), TypeError, "env_ids must have an integer dtype, got float64"),
        (np.array([True, False]), TypeError, "env_ids must have an integer dtype, got bool"),
        ([0, 1], TypeError, "env_ids must be a NumPy array, got list"),
    ],
)
@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED], ids=lambda mode: mode.name)
def test_bad_env_ids_are_named_and_change_nothing(
    mode: AutoresetMode, env_ids: Any, error: type[Exception], message: str
) -> None:
    envs = AtariVectorEnv("pong", 4, autoreset_mode=mode, num_threads=1, **TINY)
    envs.reset(seed=0)
    with pytest.raises(error, match=message):
        envs.send(np.zeros(2, np.int64), env_ids)
    assert envs.step(np.zeros(4, np.int64))[4]["episode_length"].tolist() == [1] * 4
    envs.close()


def test_what_needs_all_environments_waits_for_recv() -> None:
    envs = AtariVectorEnv("breakout", 4, render_mode="rgb_array", **TINY)
    envs.reset(seed=0)
    snapshot = envs.snapshot()
    envs.send(np.zeros(1, np.int64), np.array([2]))
    uses: list[Callable[[], object]] = [
        envs.render,
        envs.snapshot,
        envs.copy_state,
        lambda: envs.restore(snapshot),
        lambda: envs.restore(b""),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="a step is under way: call recv"):
            use()
    assert envs.recv()[4]["episode_length"].tolist() == [1]
    for use in uses[:4]:
        use()
    envs.close()


THREADS_SCRIPT = """
import threading
import numpy as np
from rndfast.envs.atari import AtariVectorEnv

envs = AtariVectorEnv("pong", 64, num_threads=2, frameskip=40, img_height=8, img_width=8)
envs.reset(seed=0)
messages = set()

def use(call):
    for _ in range(15):
        try:
            call()
        except RuntimeError as error:
            messages.add(str(error))

def send_and_receive():
    try:
        envs.send(np.zeros(64, np.int64))
    finally:
        envs.recv()

calls = [send_and_receive, envs.recv, envs.reset, lambda: envs.step(np.zeros(64, np.int64))]
threads = [threading.Thread(target=use, args=(call,)) for call in calls]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
envs.reset(seed=0)
envs.step(np.zeros(64, np.int64))
envs.close()
print(any("in use by another thread" in message for message in messages))
"""


def test_another_thread_is_refused_while_one_waits() -> None:
    assert run_script(THREADS_SCRIPT) == "True"


def test_bad_actions_of_a_subset_name_the_environment(envs: AtariVectorEnv) -> None:
    with pytest.raises(ValueError, match=r"action of env 3 must be in \[0, 4\), got 4"):
        envs.send(np.array([0, 4]), np.array([0, 3]))
    with pytest.raises(ValueError, match=r"actions must have shape \(4,\), got \(3,\)"):
        envs.send(np.zeros(3, np.int64))
    assert envs.step(np.zeros(4, np.int64))[4]["episode_length"].tolist() == [1] * 4


def test_a_reset_drops_what_was_under_way(envs: AtariVectorEnv) -> None:
    expected = envs.reset(seed=3)
    envs.send(np.ones(4, np.int64))
    assert_same(envs.reset(seed=3), expected)
    with pytest.raises(RuntimeError, match="nothing is under way"):
        envs.recv()
    assert envs.step(np.zeros(4, np.int64))[4]["episode_length"].tolist() == [1] * 4
    # those that are not reset have taken the step
    envs.send(np.zeros(4, np.int64))
    envs.reset(options={"reset_mask": np.array([True, False, False, True])})
    assert envs.step(np.zeros(4, np.int64))[4]["episode_length"].tolist() == [1, 3, 3, 1]


# --- out --------------------------------------------------------------------------------------


def test_out_is_filled_and_returned(envs: AtariVectorEnv) -> None:
    twin = AtariVectorEnv("breakout", 4, **TINY)
    twin.reset(seed=0)
    ring = np.full((6, 4, 2, 21, 16), 7, np.uint8)
    rng = np.random.default_rng(0)
    for row in range(5):
        actions = rng.integers(0, 4, 4)
        observations, *_ = envs.step(actions, out=ring[row])
        assert np.shares_memory(observations, ring[row])
        assert_same(ring[row], twin.step(actions)[0])
    assert (ring[5] == 7).all()
    out = np.empty((4, 2, 21, 16), np.uint8)
    assert envs.step(np.zeros(4, np.int64), out=out)[0] is out
    assert_same(out, twin.step(np.zeros(4, np.int64))[0])

    part = np.empty((1, 2, 21, 16), np.uint8)
    envs.send(np.array([1]), np.array([2]), out=part)
    assert envs.recv()[0] is part
    assert_same(part, twin.step(np.ones(4, np.int64))[0][2:3])
    twin.close()


def _read_only() -> Array:
    array = np.zeros((4, 2, 21, 16), np.uint8)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            np.zeros((4, 2, 21, 15), np.uint8),
            ValueError,
            r"out must have shape .* got \(4, 2, 21, 15\)",
        ),
        (
            np.zeros((3, 2, 21, 16), np.uint8),
            ValueError,
            r"= \(4, 2, 21, 16\), got \(3, 2, 21, 16\)",
        ),
        (np.zeros(4 * 2 * 21 * 16, np.uint8), ValueError, "out must have shape"),
        (
            np.zeros((4, 2, 21, 16), np.int8),
            TypeError,
            "out must be a NumPy array of uint8, got int8",
        ),
        (np.zeros((4, 2, 21, 16)), TypeError, "array of uint8, got float64"),
        (_read_only(), ValueError, "out must be writable, got a read-only array"),
        (np.zeros((4, 2, 21, 32), np.uint8)[..., ::2], ValueError, "out must be C-contiguous"),
        (np.zeros((4, 2, 21, 16), np.uint8, order="F"), ValueError, "out must be C-contiguous"),
        ([0], TypeError, "out must be a NumPy array of uint8, got list"),
    ],
)
def test_a_bad_out_is_named_and_changes_nothing(
    envs: AtariVectorEnv, out: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        envs.step(np.zeros(4, np.int64), out=out)
    with pytest.raises(RuntimeError, match="nothing is under way"):
        envs.recv()
    assert envs.step(np.zeros(4, np.int64))[4]["episode_length"].tolist() == [1] * 4


# --- ram and room -----------------------------------------------------------------------------


@pytest.mark.parametrize(("game", "address"), [("montezuma_revenge", 3), ("pitfall", 1)])
def test_ram_is_that_of_the_console_and_holds_the_room(game: str, address: int) -> None:
    envs = AtariVectorEnv(game, 1, **PAPER, **TINY)
    console = Console(game, random_seed=9)
    oracle = make_ale(rom_file(game), seed=9)
    _, info = envs.reset(seed=9)
    for each in (console.reset, oracle.reset_game):
        each()
    legal = oracle.getMinimalActionSet()
    rng = np.random.default_rng(1)
    for _ in range(60):
        np.testing.assert_array_equal(info["ram"], console.ram[None], strict=True)
        np.testing.assert_array_equal(info["ram"][0], oracle.getRAM(), strict=True)
        assert info["room"].dtype == np.int32
        assert info["room"].tolist() == [info["ram"][0, address]]
        assert info["_ram"].tolist() == info["_room"].tolist() == [True]
        action = int(rng.integers(len(legal)))
        *_, info = envs.step(np.array([action]))
        for _ in range(4):
            console.act(legal[action].value)
            oracle.act(legal[action])
    assert len(set(info["ram"][0].tolist())) > 10
    envs.close()


def test_ram_and_room_of_final_info_are_those_of_the_episode_that_ended() -> None:
    settings = {"max_num_frames_per_episode": 42, **TINY}
    ours = AtariVectorEnv("montezuma_revenge", 2, autoreset_mode=SAME_STEP, **settings)
    other = AtariVectorEnv("montezuma_revenge", 2, autoreset_mode=NEXT_STEP, **settings)
    for envs in (ours, other):
        envs.reset(seed=0)
        for _ in range(11):
            *_, info = envs.step(np.full(2, 3))
        if envs is ours:
            final, after = info["final_info"], info
    np.testing.assert_array_equal(final["ram"], info["ram"])
    np.testing.assert_array_equal(final["room"], info["room"])
    np.testing.assert_array_equal(after["ram"], other.step(np.zeros(2, np.int64))[4]["ram"])
    assert not np.array_equal(final["ram"], after["ram"])
    ours.close()
    other.close()


def test_other_games_have_no_room(envs: AtariVectorEnv) -> None:
    *_, info = envs.step(np.zeros(4, np.int64))
    assert "ram" in info
    assert "room" not in info
    assert "_room" not in info
    single = AtariEnv("pitfall")
    _, info = single.reset(seed=0)
    assert info["room"] == info["ram"][1]
    single.close()


# --- the last frames of an episode ------------------------------------------------------------


@pytest.mark.parametrize("maxpool", [True, False])
@pytest.mark.parametrize("num_frames", [1, 37, 38, 39, 40])
def test_a_truncated_episode_shows_its_last_two_frames(num_frames: int, maxpool: bool) -> None:
    envs = AtariVectorEnv(
        "ms_pacman",
        1,
        max_num_frames_per_episode=num_frames,
        repeat_action_probability=0,
        maxpool=maxpool,
        **PAPER,
        **FULL_SCREEN,
    )
    oracle = make_ale(rom_file("ms_pacman"), stickiness=0)
    envs.reset(seed=0)
    oracle.reset_game()
    screens = [oracle.getScreenGrayscale()]
    for frame in range(1, num_frames + 1):
        oracle.act(3)
        screens.append(oracle.getScreenGrayscale())
        if frame % 4 == 0 or frame == num_frames:
            obs, _, _, truncations, info = envs.step(np.array([2]))
            assert truncations.tolist() == [frame == num_frames]
            expected = np.maximum(*screens[-2:]) if maxpool else screens[-1]
            np.testing.assert_array_equal(obs[0, -1], expected, err_msg=f"frame {frame}")
            assert info["frame_number"].tolist() == [frame]
    if num_frames > 30:
        assert any(not np.array_equal(screens[i], screens[i + 1]) for i in range(30))
    envs.close()


# --- pooling in colour ------------------------------------------------------------------------


def opencv_grey(rgb: Array) -> Array:
    """OpenCV's RGB2GRAY."""
    weighted = rgb.astype(np.int64) @ np.array([9798, 19235, 3735])
    grey: Array = ((weighted + 2**14) >> 15).astype(np.uint8)
    return grey


@pytest.mark.parametrize("game", ["private_eye", "ms_pacman", "montezuma_revenge"])
def test_frames_can_be_pooled_in_colour_before_they_are_turned_grey(game: str) -> None:
    settings = PAPER | FULL_SCREEN
    envs = AtariVectorEnv(game, 1, pool_before_grey=True, full_action_space=True, **settings)
    grey_first = AtariVectorEnv(game, 1, full_action_space=True, **settings)
    oracle = make_ale(rom_file(game), seed=2)
    oracle.reset_game()
    obs, _ = envs.reset(seed=2)
    grey_first.reset(seed=2)
    np.testing.assert_array_equal(obs[0, -1], oracle.getScreenGrayscale())  # of a single frame
    rng = np.random.default_rng(3)
    num_different = 0
    for step in range(150):
        action = int(rng.integers(18))
        screens = []
        for _ in range(4):
            oracle.act(action)
            screens.append(oracle.getScreenRGB())
        obs, *_ = envs.step(np.array([action]))
        expected = opencv_grey(np.maximum(*screens[-2:]))
        np.testing.assert_array_equal(obs[0, -1], expected, err_msg=f"step {step}")
        num_different += int((grey_first.step(np.array([action]))[0][0, -1] != expected).sum())
    assert num_different > 0  # the order matters
    envs.close()
    grey_first.close()


def test_environments_without_work_use_no_processor_time() -> None:
    several = [AtariVectorEnv("pong", 4, num_threads=4, **TINY) for _ in range(2)]
    for envs in several:
        envs.reset(seed=0)
        envs.step(np.zeros(4, np.int64))
    time.sleep(0.1)  # their threads look for work for a moment
    started_s = time.process_time()
    time.sleep(1)
    assert time.process_time() - started_s < 0.05
    for envs in several:
        envs.close()


@pytest.mark.parametrize("game", ["breakout", "venture", "solaris"])
@pytest.mark.parametrize(
    ("settings", "stack_num"),
    [({"grayscale": False}, 1), ({"pool_before_grey": True}, 1), ({"pool_before_grey": True}, 4)],
)
def test_observations_are_what_is_rendered_after_any_call(
    game: str, settings: dict[str, Any], stack_num: int
) -> None:
    rng = np.random.default_rng(0)
    envs = AtariVectorEnv(
        game,
        3,
        stack_num=stack_num,
        max_num_frames_per_episode=101,  # the last step is cut short
        render_mode="rgb_array",
        num_threads=2,
        **settings,
    )
    obs, _ = envs.reset(seed=0)
    snapshot, expected_then = envs.snapshot(), obs
    num_restored = 0
    for call in range(120):
        choice = rng.random()
        if choice < 0.05:
            mask = np.arange(3) == rng.integers(3)
            obs, _ = envs.reset(options={"reset_mask": mask})
        elif choice < 0.1:
            snapshot, expected_then = envs.snapshot(), obs
        elif choice < 0.15:
            envs.restore(snapshot)
            obs = expected_then
            num_restored += 1
        else:
            obs, *_ = envs.step(rng.integers(0, envs.num_actions, 3))
        if rng.random() < 0.5:
            continue
        shown = np.stack(envs.render())
        if "pool_before_grey" in settings:
            shown = opencv_grey(shown)[..., None]
        channels = [
            resized(np.ascontiguousarray(part), 84, 84) for part in np.moveaxis(shown, 3, 0)
        ]
        expected = np.stack(channels, -1) if "grayscale" in settings else channels[0]
        np.testing.assert_array_equal(obs[:, -1], expected, err_msg=f"call {call}")
    assert num_restored > 0
    envs.close()


def test_pooling_in_colour_changes_nothing_where_nothing_is_pooled_or_turned_grey() -> None:
    for unused in ({"maxpool": False}, {"frameskip": 1}, {"grayscale": False}):
        results = []
        for pool_before_grey in (False, True):
            envs = AtariVectorEnv(
                "ms_pacman", 2, pool_before_grey=pool_before_grey, **unused, **PAPER, **TINY
            )
            results.append(digest([envs.reset(seed=0), play(envs, 40)]))
            envs.close()
        assert results[0] == results[1], unused


@pytest.mark.parametrize("frameskip", [1, 3, 4])
def test_every_life_is_served_with_use_fire_reset(frameskip: int) -> None:
    """Where nobody presses FIRE, lives are lost only if the environment serves."""
    envs = AtariVectorEnv(
        "breakout",
        1,
        episodic_life=True,
        repeat_action_probability=0.0,
        autoreset_mode=SAME_STEP,
        frameskip=frameskip,
        **TINY,
    )
    envs.reset(seed=0)
    noop = np.zeros(1, np.int64)
    assert sum(int(envs.step(noop)[2][0]) for _ in range(1_600 // frameskip)) >= 5
    envs.close()


@pytest.mark.parametrize("fires", [False, True])
def test_after_a_lost_life_the_same_game_goes_on_with_one_step_of_noop(fires: bool) -> None:
    """Its last frame is FIRE if a game begins with FIRE too, so that the ball is served."""
    envs = AtariVectorEnv(
        "breakout", 1, episodic_life=True, noop_max=0, use_fire_reset=fires, **FULL_SCREEN
    )
    oracle = make_ale(rom_file("breakout"), seed=4)

    def start_game() -> None:
        oracle.reset_game()
        if fires:
            oracle.act(1)

    start_game()
    _, info = envs.reset(seed=4)
    rng = np.random.default_rng(0)
    ended, num_lives_lost, num_games = False, 0, 0
    screens = [oracle.getScreenGrayscale()]
    frames_before = 0
    for _ in range(700):
        is_reset, lives = ended, oracle.lives()
        action = int(rng.choice([0, 1, 1, 2, 3]))
        obs, rewards, terminations, truncations, info = envs.step(np.array([action]))
        if is_reset and oracle.game_over():
            frames_before += oracle.getEpisodeFrameNumber()
            start_game()
            screens = [oracle.getScreenGrayscale()] * 2
            ended = False
            num_games += 1
            np.testing.assert_array_equal(obs[0, -1], screens[-1])
        else:
            total = 0
            held = [0, 0, 0, int(fires)] if is_reset else [[0, 1, 3, 4][action]] * 4
            for held_action in held:
                total += oracle.act(held_action)
                screens.append(oracle.getScreenGrayscale())
                ended = oracle.game_over() or oracle.lives() < lives
                if ended:
                    break
            num_lives_lost += ended
            assert info["game_over"].tolist() == [oracle.game_over()]
            assert rewards[0] == (0 if is_reset else np.sign(total))
            np.testing.assert_array_equal(obs[0, -1], np.maximum(*screens[-2:]))
        assert (terminations[0], truncations[0]) == (ended, False)
        assert info["lives"][0] == oracle.lives()
        assert info["frame_number"][0] == oracle.getFrameNumber()
        assert info["episode_frame_number"][0] == oracle.getEpisodeFrameNumber()
        np.testing.assert_array_equal(info["ram"][0], oracle.getRAM())
        if is_reset:
            assert not obs[0, :-1].any()
            assert info["episode_length"].tolist() == [0]
        if num_games == 2 and num_lives_lost > 12:
            break
    assert num_games == 2
    assert num_lives_lost > 12
    envs.close()


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=lambda mode: mode.name)
def test_a_game_may_end_in_the_step_of_noop_after_a_lost_life(mode: AutoresetMode) -> None:
    """Q*bert, if nobody moves him, loses a life in each long step: four, two of them in resets."""
    envs = AtariVectorEnv(
        "qbert", 1, episodic_life=True, autoreset_mode=mode, frameskip=5_000, **PAPER, **TINY
    )
    _, info = envs.reset(seed=0)
    assert info["lives"].tolist() == [4]
    found = []
    for _ in range(8 if mode is NEXT_STEP else 4):
        *_, info = envs.step(np.zeros(1, np.int64))
        found.append((int(info["lives"][0]), bool(info["game_over"][0])))
        if mode is SAME_STEP:
            assert info["final_info"]["game_over"].tolist() == info["game_over"].tolist()
    if mode is SAME_STEP:
        assert found == [(2, False), (4, True)] * 2
    else:
        assert found == [(3, False), (2, False), (1, False), (4, True)] * 2
    envs.close()


@pytest.mark.parametrize(
    ("settings", "is_over"),
    [
        ({"life_loss_info": True}, False),
        ({"episodic_life": True, "ale_compatible": True}, True),  # a lost life starts a new game
    ],
)
def test_a_lost_life_says_whether_the_game_goes_on(settings: dict[str, Any], is_over: bool) -> None:
    envs = AtariVectorEnv("breakout", 1, **settings, **TINY)
    envs.reset(seed=0)
    terminated = False
    while not terminated:
        *_, info = envs.step(np.ones(1, np.int64))
        terminated = info["lives"][0] < 5
        assert info["game_over"].tolist() == [terminated and is_over]
    envs.close()


def test_the_limit_of_frames_is_the_end_of_the_game() -> None:
    envs = AtariVectorEnv(
        "breakout", 1, episodic_life=True, max_num_frames_per_episode=12, **PAPER, **TINY
    )
    envs.reset(seed=0)
    steps = [envs.step(np.zeros(1, np.int64)) for _ in range(4)]  # the last one resets
    assert [step[3][0] for step in steps] == [False, False, True, False]
    assert [step[4]["game_over"][0] for step in steps] == [False, False, True, False]
    envs.close()


def test_a_seeded_or_early_reset_starts_a_new_game_although_lives_end_episodes() -> None:
    envs = AtariVectorEnv("breakout", 1, episodic_life=True, autoreset_mode=DISABLED, **TINY)
    for seed, lives in ((None, 4), (5, 5)):
        envs.reset(seed=0)
        while not envs.step(np.ones(1, np.int64))[2].all():
            pass
        _, info = envs.reset(seed=seed)
        assert info["lives"].tolist() == [lives]
        envs.step(np.ones(1, np.int64))
        _, info = envs.reset()  # in the middle of a life
        assert info["lives"].tolist() == [5]
    envs.close()


# --- render -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"maxpool": False}, {"frameskip": 1}, {"grayscale": False}]
)
def test_pictures_are_observations_in_colour_and_full_size(settings: dict[str, Any]) -> None:
    common: dict[str, Any] = {"max_num_frames_per_episode": 60, **settings}
    shown = AtariVectorEnv("ms_pacman", 2, render_mode="rgb_array", **TINY, **common)
    plain = AtariVectorEnv("ms_pacman", 2, **TINY, **common)
    large = AtariVectorEnv("ms_pacman", 2, **FULL_SCREEN, **(common | {"grayscale": False}))
    for envs in (shown, plain, large):
        envs.reset(seed=2)
    rng = np.random.default_rng(0)
    num_ends = 0
    for _ in range(40 if settings != {"frameskip": 1} else 70):
        actions = rng.integers(0, shown.num_actions, 2)
        result = shown.step(actions)
        assert_same(result, plain.step(actions))
        expected, *_, info = large.step(actions)
        pictures = shown.render()
        assert_same(shown.render(), pictures)  # looking changes nothing
        for env in range(2):
            assert pictures[env].shape == (210, 160, 3)
            assert pictures[env].dtype == np.uint8
            if info["episode_length"][env]:  # a reset shows one frame, and has two
                np.testing.assert_array_equal(pictures[env], expected[env, -1])
        num_ends += int(result[3].sum())
    assert num_ends >= 2
    kept = copy.deepcopy(pictures)
    shown.step(np.zeros(2, np.int64))
    assert_same(pictures, kept)
    for envs in (shown, plain, large):
        envs.close()


def test_some_games_have_taller_pictures() -> None:
    for game, height in (("adventure", 250), ("carnival", 214)):
        env = AtariEnv(game, render_mode="rgb_array")
        plain = AtariEnv(game, img_height=height, img_width=160, grayscale=False)
        for each in (env, plain):
            each.reset(seed=0)
        expected = plain.step(1)[0][-1]
        env.step(1)
        assert env.render().shape == (height, 160, 3)
        np.testing.assert_array_equal(env.render(), expected)
        env.close()
        plain.close()


def test_render_needs_its_mode_and_a_reset(envs: AtariVectorEnv) -> None:
    with pytest.raises(RuntimeError, match='make the environment with render_mode="rgb_array"'):
        envs.render()
    shown = AtariVectorEnv("pong", render_mode="rgb_array", **TINY)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before render\(\)"):
        shown.render()
    shown.close()
    with pytest.raises(RuntimeError, match="closed"):
        shown.render()


# --- snapshots --------------------------------------------------------------------------------

SNAPSHOT_SCRIPT = """
import sys
import time
from pathlib import Path
from tests.envs.test_atari_features import *
envs = AtariVectorEnv("breakout", 3, **eval(sys.argv[1]))
envs.restore(Path(sys.argv[2]).read_bytes())
print(digest(play(envs, 25, seed=1)))
"""


@ALL_MODES
@pytest.mark.parametrize("is_compatible", [False, True], ids=["ours", "ale's"])
def test_a_snapshot_goes_on_exactly(
    mode: AutoresetMode, is_compatible: bool, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "max_num_frames_per_episode": 70,
        "episodic_life": True,
        "autoreset_mode": mode.value,
        "ale_compatible": is_compatible,
        "render_mode": "rgb_array",
        **TINY,
    }
    envs = AtariVectorEnv("breakout", 3, **settings)
    fresh = AtariVectorEnv("breakout", 3, **(settings | {"num_threads": 1}))
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    num_ended = 0
    for moment in range(4):
        results = play(envs, int(rng.integers(1, 20)), seed=moment)
        num_ended += int((results[-1][2] | results[-1][3]).sum()) if mode is not DISABLED else 1
        snapshot, pictures = envs.snapshot(), envs.render()
        assert envs.snapshot() == snapshot
        expected = play(envs, 25, seed=1), envs.render(), envs.reset(), play(envs, 3)
        for other in (envs, fresh):
            other.restore(snapshot)
            assert_same(other.render(), pictures)
            assert other.snapshot() == snapshot
            again = play(other, 25, seed=1), other.render(), other.reset(), play(other, 3)
            assert_same(again, expected)
    if mode is NEXT_STEP and not is_compatible:
        (tmp_path / "snapshot").write_bytes(snapshot)
        printed = run_script(SNAPSHOT_SCRIPT, repr(settings), str(tmp_path / "snapshot"))
        assert printed == digest(expected[0])
    envs.close()
    fresh.close()


def test_a_snapshot_right_after_an_end_still_resets() -> None:
    settings = {"max_num_frames_per_episode": 8, **TINY}
    envs = AtariVectorEnv("breakout", 2, **settings)
    envs.reset(seed=0)
    results = play(envs, 2)
    assert results[-1][3].all()
    snapshot = envs.snapshot()
    fresh = AtariVectorEnv("breakout", 2, **settings)
    fresh.restore(snapshot)
    result = fresh.step(np.zeros(2, np.int64))
    assert result[4]["episode_length"].tolist() == [0, 0]
    assert_same(result, envs.step(np.zeros(2, np.int64)))
    envs.close()
    fresh.close()


def test_damaged_snapshots_are_refused_and_change_nothing(envs: AtariVectorEnv) -> None:
    snapshot = envs.snapshot()
    play(envs, 3)
    present = envs.snapshot()
    header = snapshot.index(b"\n")
    rng = np.random.default_rng(0)
    bad = [
        b"",
        b"\n",
        snapshot[:10],
        snapshot[:header],
        snapshot[:-1],
        snapshot + b"\0",
        bytes(999),
    ]
    bad += [snapshot[: int(cut)] for cut in rng.integers(1, len(snapshot), 16)]
    # the number of environments made larger, so that more would be copied than there is
    bad.append(snapshot.replace(b" x 4,", b" x 9,", 1))
    places = [0, header - 1, header, header + 1, header + 9, len(snapshot) - 1]
    for place in places + rng.integers(header + 1, len(snapshot), 60).tolist():
        flipped = bytearray(snapshot)
        flipped[place] ^= 1 << int(rng.integers(8))
        bad.append(bytes(flipped))
    for bytes_ in bad:
        with pytest.raises(ValueError, match="snapshot"):
            envs.restore(bytes_)
    assert envs.snapshot() == present
    envs.restore(snapshot)
    assert envs.snapshot() == snapshot != present


@pytest.mark.parametrize(
    ("game", "num_envs", "settings"),
    [
        ("pong", 4, TINY),
        ("breakout", 3, TINY),
        ("breakout", 4, TINY | {"img_width": 21, "img_height": 16}),
        ("breakout", 4, TINY | {"img_width": 15}),
        ("breakout", 4, TINY | {"stack_num": 1}),
        ("breakout", 4, TINY | {"grayscale": False}),
        ("breakout", 4, TINY | {"render_mode": "rgb_array"}),
        ("breakout", 4, TINY | {"ale_compatible": True}),
        # as many bytes as with ale_compatible: 2 * 21 * 800 more
        ("breakout", 4, TINY | {"img_width": 16 + 800}),
    ],
)
def test_a_snapshot_of_other_environments_is_refused(
    game: str, num_envs: int, settings: dict[str, Any]
) -> None:
    own = TINY | {"ale_compatible": True} if settings["img_width"] > 800 else TINY
    envs = AtariVectorEnv("breakout", 4, **own)
    envs.reset(seed=0)
    other = AtariVectorEnv(game, num_envs, **settings)
    other.reset(seed=0)
    before = envs.snapshot()
    with pytest.raises(ValueError, match=r"the snapshot must be of 'breakout x 4, .*', got one of"):
        envs.restore(other.snapshot())
    assert envs.snapshot() == before
    envs.close()
    other.close()


def test_snapshots_are_bytes_and_come_after_a_reset(envs: AtariVectorEnv) -> None:
    snapshot = envs.snapshot()
    for wrong in (bytearray(snapshot), memoryview(snapshot), None, "", 3):
        with pytest.raises(TypeError, match="snapshot must be bytes, got"):
            envs.restore(wrong)  # type: ignore[arg-type]
    fresh = AtariVectorEnv("breakout", 4, **TINY)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before snapshot\(\)"):
        fresh.snapshot()
    fresh.restore(snapshot)
    assert fresh.snapshot() == snapshot
    fresh.close()
    for use in (fresh.snapshot, fresh.copy_state, lambda: fresh.restore(snapshot)):
        with pytest.raises(RuntimeError, match="closed"):
            use()


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"ale_compatible": True}, {"grayscale": False}])
def test_a_copied_state_becomes_the_snapshot(num_threads: int, settings: dict[str, Any]) -> None:
    envs = AtariVectorEnv("breakout", 5, num_threads=num_threads, **(TINY | settings))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before copy_state\(\)"):
        envs.copy_state()
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    memory = None
    for _ in range(3):
        envs.step(rng.integers(0, 4, 5))
        state = envs.copy_state(memory)
        assert memory is None or state is memory
        memory, before = state, state.copy()
        assert envs.snapshot_of(state) == envs.snapshot() != state.tobytes()
        np.testing.assert_array_equal(state, before)
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(state.tobytes())
    envs.close()


def test_states_are_copied_to_memory_of_their_size_and_kind(envs: AtariVectorEnv) -> None:
    state = envs.copy_state()
    with pytest.raises(ValueError, match=rf"out must have shape \(snapshot_bytes,\).*{len(state)}"):
        envs.copy_state(state[:-1])
    with pytest.raises(TypeError, match="out must be a NumPy array of uint8, got int8"):
        envs.copy_state(state.view(np.int8))
    for not_one in (state[:20].copy(), np.zeros(100, np.uint8), np.zeros(0, np.uint8)):
        with pytest.raises(ValueError, match="not a snapshot made by this version"):
            AtariVectorEnv.snapshot_of(not_one)


# --- the same bytes however they are computed -------------------------------------------------


def test_one_hash_for_any_number_of_threads() -> None:
    digests = set()
    for num_threads in (1, 2, 3, 8, 8):
        envs = AtariVectorEnv(
            "breakout",
            24,
            num_threads=num_threads,
            max_num_frames_per_episode=300,
            autoreset_mode=SAME_STEP,
            **TINY,
        )
        results = [envs.reset(seed=3), play(envs, 150)]
        assert sum(int(step[2].sum() + step[3].sum()) for step in results[1]) > 24
        digests.add(digest(results))
        envs.close()
    assert len(digests) == 1


def core_batch(game: str, simd: str, **changes: Any) -> Any:
    """Make the engine itself, which alone can be told an instruction set."""
    rom = rom_file(game).read_bytes()
    settings: dict[str, Any] = {"max_num_frames_per_episode": 200, "autoreset_mode": "SameStep"}
    return _core.AtariBatch(game, rom, num_envs=4, num_threads=1, simd=simd, **(settings | changes))


@pytest.mark.parametrize(
    "changes",
    [{}, {"grayscale": False, "img_height": 50}, {"ale_compatible": True, "keeps_colors": True}],
)
@pytest.mark.parametrize("game", ["ms_pacman", "solaris"])
def test_every_instruction_set_gives_the_same_bytes(game: str, changes: dict[str, Any]) -> None:
    ids = np.arange(4)
    digests = set()
    for level in SIMD_LEVELS:
        batch = core_batch(game, level, **changes)
        batch.reset(ids, ids)
        rng = np.random.default_rng(0)
        results = [batch.observe().observations]
        for _ in range(60):
            batch.send(rng.integers(0, len(batch.action_set), 4))
            observations, *_, all_results = batch.recv()
            results.append((observations, all_results.column("ram")))
        digests.add(digest(results))
    assert len(digests) == 1


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"simd level must be .* got 'sse9'"):
        core_batch("pong", "sse9")


# --- modes and difficulties -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "mode", "difficulty"),
    [
        ("pong", 1, None),
        ("pong", 0, 3),
        ("breakout", 12, 1),
        ("space_invaders", 9, 1),
        ("ms_pacman", 2, 0),
        ("freeway", 4, 1),
    ],
)
def test_modes_and_difficulties_are_those_of_ale_py(
    game: str, mode: int | None, difficulty: int | None
) -> None:
    envs = AtariVectorEnv(game, 1, mode=mode, difficulty=difficulty, **PAPER, **FULL_SCREEN)
    oracle = make_ale(rom_file(game), seed=6, mode=mode, difficulty=difficulty)
    default = AtariVectorEnv(game, 1, **PAPER, **TINY)
    default.reset(seed=6)
    obs, info = envs.reset(seed=6)
    np.testing.assert_array_equal(obs[0, -1], oracle.getScreenGrayscale())
    legal = oracle.getMinimalActionSet()
    rng = np.random.default_rng(0)
    differs = False
    for step in range(60):
        np.testing.assert_array_equal(info["ram"][0], oracle.getRAM(), err_msg=f"step {step}")
        actions = rng.integers(0, len(legal), 1)
        screens = []
        for _ in range(4):
            oracle.act(legal[actions[0]])
            screens.append(oracle.getScreenGrayscale())
        obs, *_, info = envs.step(actions)
        np.testing.assert_array_equal(obs[0, -1], np.maximum(*screens[-2:]))
        differs |= not np.array_equal(default.step(actions)[4]["ram"], info["ram"])
    assert differs  # so it is not the default mode
    _, info = envs.reset()
    oracle.reset_game()
    np.testing.assert_array_equal(info["ram"][0], oracle.getRAM())
    envs.close()
    default.close()


def test_every_game_takes_the_modes_that_ale_py_lists() -> None:
    for game in ("adventure", "tetris", "montezuma_revenge"):
        oracle = make_ale(rom_file(game))
        modes, difficulties = oracle.getAvailableModes(), oracle.getAvailableDifficulties()
        AtariVectorEnv(game, mode=modes[-1], **TINY).close()
        AtariVectorEnv(game, difficulty=difficulties[-1], **TINY).close()
        with pytest.raises(ValueError, match=f"mode of {game} must be one of .*, got"):
            AtariVectorEnv(game, mode=max(modes) + 1)
        with pytest.raises(ValueError, match=f"difficulty of {game} must be one of .*, got"):
            AtariVectorEnv(game, difficulty=max(difficulties) + 1)


# --- wrappers ---------------------------------------------------------------------------------


def wrapped(mode: AutoresetMode, wrap: Callable[[Any], Any], **settings: Any) -> Any:
    inner = AtariVectorEnv(
        "breakout",
        2,
        autoreset_mode=mode,
        reward_clipping=False,
        max_num_frames_per_episode=120,
        **(TINY | settings),
    )
    return wrap(inner)


def step_wrapped(envs: Any, num_steps: int = 60) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    mode = envs.unwrapped.autoreset_mode
    envs.reset(seed=0)
    for _ in range(num_steps):
        actions = np.where(rng.random(2) < 0.3, 1, rng.integers(0, 4, 2))
        result = envs.step(actions)
        yield result
        ended = np.asarray(result[2]) | np.asarray(result[3])
        if mode is DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended})
    envs.close()


def test_episode_statistics_are_recorded_without_autoreset_too() -> None:
    num_ends = 0
    envs = wrapped(DISABLED, vector_wrappers.RecordEpisodeStatistics)
    for _, _, terminations, truncations, info in step_wrapped(envs):
        if (ended := terminations | truncations).any():
            episode = info["episode"]
            np.testing.assert_array_equal(episode["r"][ended], info["episode_return"][ended])
            np.testing.assert_array_equal(episode["l"][ended], info["episode_length"][ended])
            num_ends += int(ended.sum())
    assert num_ends >= 2
    assert len(envs.return_queue) == num_ends


@ALL_MODES
def test_wrappers_of_rewards_and_actions_fit_every_mode(mode: AutoresetMode) -> None:
    plain = list(step_wrapped(wrapped(mode, lambda envs: envs)))
    clipped = step_wrapped(wrapped(mode, lambda envs: vector_wrappers.ClipReward(envs, 0, 0.5)))
    doubled = step_wrapped(
        wrapped(mode, lambda envs: vector_wrappers.TransformReward(envs, lambda r: 2 * r))
    )
    normal = step_wrapped(wrapped(mode, vector_wrappers.NormalizeReward))
    mirrored = step_wrapped(
        wrapped(mode, lambda envs: vector_wrappers.TransformAction(envs, lambda a: 3 - (3 - a)))
    )
    assert sum(float(rewards.sum()) for _, rewards, *_ in plain) > 0
    for step in plain:
        np.testing.assert_array_equal(next(clipped)[1], np.clip(step[1], 0, 0.5))
        np.testing.assert_array_equal(next(doubled)[1], 2 * step[1])
        assert ((next(normal)[1] > 0) == (step[1] > 0)).all()
        assert_same(next(mirrored), step)


@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED], ids=lambda mode: mode.name)
def test_wrappers_of_observations_fit_where_they_allow_the_mode(mode: AutoresetMode) -> None:
    plain = list(step_wrapped(wrapped(mode, lambda envs: envs, grayscale=False, stack_num=1)))
    floats = vector_wrappers.DtypeObservation

    def wrap(envs: Any) -> Any:
        return vector_wrappers.GrayscaleObservation(
            vector_wrappers.ReshapeObservation(envs, (21, 16, 3))
        )

    as_float = step_wrapped(
        wrapped(mode, lambda envs: floats(envs, np.float32), grayscale=False, stack_num=1)
    )
    grey = step_wrapped(wrapped(mode, wrap, grayscale=False, stack_num=1))
    for observations, *_ in plain:
        np.testing.assert_array_equal(next(as_float)[0], observations.astype(np.float32))
        weights = np.array([0.2125, 0.7154, 0.0721])
        shown = next(grey)[0]
        assert shown.shape == (2, 21, 16)
        np.testing.assert_allclose(shown, (observations[:, 0] * weights).sum(-1), atol=1.5)


@ALL_MODES
def test_info_can_be_turned_into_lists(mode: AutoresetMode) -> None:
    plain = list(step_wrapped(wrapped(mode, lambda envs: envs)))
    lists = step_wrapped(wrapped(mode, vector_wrappers.DictInfoToList))
    for observations, _, _, _, info in plain:
        shown, _, _, _, infos = next(lists)
        np.testing.assert_array_equal(shown, observations)
        assert [each["episode_length"] for each in infos] == info["episode_length"].tolist()


def test_arrays_can_be_turned_into_tensors() -> None:
    import torch

    plain = list(step_wrapped(wrapped(NEXT_STEP, lambda envs: envs)))
    envs = wrapped(NEXT_STEP, vector_wrappers.NumpyToTorch)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for observations, rewards, *_ in plain[:10]:
        actions = np.where(rng.random(2) < 0.3, 1, rng.integers(0, 4, 2))
        result = envs.step(torch.from_numpy(actions))
        np.testing.assert_array_equal(result[0].numpy(), observations)
        np.testing.assert_array_equal(result[1].numpy(), rewards)
    envs.close()


# --- sizes, interruption, forks and ends ------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 255, 256])
def test_any_number_of_environments_is_made_and_stepped(num_envs: int) -> None:
    envs = AtariVectorEnv("pong", num_envs, **PAPER, **TINY)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (num_envs, 2, 21, 16)
    *_, info = envs.step(np.zeros(num_envs, np.int64))
    assert info["env_id"].tolist() == list(range(num_envs))
    assert info["frame_number"].tolist() == [4] * num_envs
    envs.close()


MEMORY_SCRIPT = """
import os
from pathlib import Path
import numpy as np
from rndfast.envs.atari import AtariVectorEnv

def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

def play(num_envs):
    envs = AtariVectorEnv("breakout", num_envs, img_height=8, img_width=8, stack_num=1)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(np.zeros(num_envs, np.int64))
    return envs

few = play(1)
before = resident_bytes()
many = play(1024)
print((resident_bytes() - before) / 1024)
"""


def test_a_console_takes_92_kb_of_memory() -> None:
    assert 80_000 < float(run_script(MEMORY_SCRIPT)) < 94_000  # most of it two pictures


INTERRUPTION_SCRIPT = """
import os, signal, threading, time
import numpy as np
from rndfast.envs.atari import AtariVectorEnv

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
sent = 0.0

def interrupted(call, delay):
    def interrupt():
        global sent
        time.sleep(delay)
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        call()
    except KeyboardInterrupt:
        late_s = time.monotonic() - sent
        thread.join()
        return late_s
    raise SystemExit("not interrupted")

settings = dict(noop_max=0, use_fire_reset=False, img_height=8, img_width=8, stack_num=1)
envs = AtariVectorEnv("pong", 1024, frameskip=500, num_threads=2, **settings)
zeros = np.zeros(1024, np.int64)
slow = AtariVectorEnv("pong", 1024, num_threads=2, **(settings | dict(noop_max=1000)))
late = [interrupted(lambda: slow.reset(seed=0), 0.3)]
slow.close()
envs.reset(seed=0)
late.append(interrupted(lambda: envs.step(zeros), 0.3))
late.append(interrupted(envs.recv, 0.1))  # it can be interrupted as well
try:
    envs.step(zeros)
    raise SystemExit("stepped twice")
except RuntimeError as error:
    assert "a step is under way: call recv() or reset() first" in str(error), error
*_, info = envs.recv()
assert info["env_id"].tolist() == list(range(1024))
assert set(info["frame_number"].tolist()) == {500}
assert set(info["episode_length"].tolist()) == {1}
late.append(interrupted(lambda: envs.step(zeros), 0.1))
begin = time.monotonic()
envs.close()  # leaves the other steps undone
assert time.monotonic() - begin < 1
print(max(late))
"""


def test_ctrl_c_ends_a_wait_for_1024_consoles_within_a_second_and_loses_nothing() -> None:
    assert float(run_script(INTERRUPTION_SCRIPT)) < 1


FORK_SCRIPT = """
import os, sys, time, warnings
import numpy as np
from rndfast.envs.atari import AtariVectorEnv
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
settings = dict(img_height=8, img_width=8, stack_num=1)
envs = AtariVectorEnv("pong", 8, frameskip=200, render_mode="rgb_array", **settings)
envs.reset(seed=0)
snapshot = envs.snapshot()
zeros = np.zeros(8, np.int64)
envs.send(zeros)  # under way while the process forks
child = os.fork()
if child == 0:
    begin = time.monotonic()
    for use in (envs.recv, envs.reset, lambda: envs.send(zeros), lambda: envs.step(zeros),
                envs.render, envs.snapshot, lambda: envs.restore(snapshot)):
        try:
            use()
            os._exit(1)
        except RuntimeError as error:
            assert f"belongs to process {os.getppid()}" in str(error), error
    own = AtariVectorEnv("pong", 2, **settings)  # the child's own work
    own.reset(seed=0)
    own.step(zeros[:2])
    own.close()
    assert time.monotonic() - begin < 5
    sys.exit(7)  # with the destructors of the parent's
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert envs.recv()[4]["frame_number"].min() >= 200
envs.close()
"""


def test_a_fork_during_a_step_refuses_everything_and_the_parent_goes_on() -> None:
    run_script(FORK_SCRIPT)


def test_environments_can_be_closed_or_forgotten_during_a_step() -> None:
    gc.collect()
    before = num_threads_of_process()
    for end in ("close", "forget", "exception"):
        envs: Any = AtariVectorEnv("pong", 16, frameskip=400, num_threads=3, **TINY)
        envs.reset(seed=0)
        out = np.zeros((8, 2, 21, 16), np.uint8)
        envs.send(np.zeros(8, np.int64), np.arange(8), out=out)
        envs.send(np.zeros(8, np.int64), np.arange(8, 16))
        ref = weakref.ref(envs)
        if end == "close":
            envs.close()
            with pytest.raises(RuntimeError, match="closed"):
                envs.recv()
        elif end == "exception":
            with pytest.raises(RuntimeError, match="under way"):
                envs.step(np.zeros(16, np.int64))
        del envs
        gc.collect()
        assert ref() is None
        assert num_threads_of_process() == before
        kept = out.copy()
        assert_same(out, kept)  # nobody writes to it any more


def test_environments_come_and_go_without_leaving_threads() -> None:
    before = num_threads_of_process()
    for _ in range(30):
        envs = AtariVectorEnv("pong", 2, num_threads=4, **TINY)
        envs.close()
    assert num_threads_of_process() == before


@pytest.mark.parametrize(("offset", "num_threads"), [(60_000, 1), (1024, 1), (1023, 2), (0, 1024)])
def test_threads_on_processors_that_are_not_there_are_refused(
    offset: int, num_threads: int
) -> None:
    before = num_threads_of_process()
    with pytest.raises(ValueError, match="thread_affinity_offset: this process may not run on CPU"):
        AtariVectorEnv("pong", thread_affinity_offset=offset, num_threads=num_threads)
    assert num_threads_of_process() == before


def test_threads_can_be_pinned() -> None:
    import os

    cpu = min(os.sched_getaffinity(0))
    known = {path.name for path in Path("/proc/self/task").iterdir()}
    envs = AtariVectorEnv("pong", 2, thread_affinity_offset=cpu, num_threads=1, **TINY)
    (added,) = {path.name for path in Path("/proc/self/task").iterdir()} - known
    assert os.sched_getaffinity(int(added)) == {cpu}
    envs.reset(seed=0)
    envs.step(np.zeros(2, np.int64))
    envs.close()


def test_every_game_is_played() -> None:
    # a reset and some steps of each ROM, at the least size
    for game in GAMES:
        envs = AtariVectorEnv(game, 1, num_threads=1, **PAPER, **TINY)
        envs.reset(seed=0)
        *_, info = envs.step(np.zeros(1, np.int64))
        assert info["ram"].any(), game
        assert ("room" in info) == has_rooms(game), game
        envs.close()


def test_gymnasium_makes_them_with_every_new_setting() -> None:
    envs = gymnasium.make_vec(
        "rndfast/Pong-v5", num_envs=2, render_mode="rgb_array", mode=1, difficulty=2, **TINY
    )
    assert envs.render_mode == "rgb_array"
    envs.reset(seed=0)
    pictures = envs.render()
    assert pictures is not None
    assert len(pictures) == 2
    envs.close()


# --- results that are views -------------------------------------------------------------------


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=lambda mode: mode.name)
def test_without_copies_results_are_those_with_copies_until_the_second_recv(
    mode: AutoresetMode,
) -> None:
    settings = TINY | {"autoreset_mode": mode, "max_num_frames_per_episode": 40}
    views = AtariVectorEnv("breakout", 6, copy=False, num_threads=3, **settings)
    copies = AtariVectorEnv("breakout", 6, num_threads=2, **settings)
    assert_same(views.reset(seed=1), copies.reset(seed=1))
    rng = np.random.default_rng(0)
    received: list[Any] = []
    buffers = set()
    halves = (np.arange(3), np.arange(3, 6))
    for number in range(80):
        ids = halves[number % 2]
        if number >= 2:  # the other half is under way meanwhile
            time.sleep(rng.random() * 2e-4)
            received.append((views.recv(), copies.recv()))
            buffers.add(received[-1][0][1].__array_interface__["data"][0])
            for found, expected in received[-2:]:
                assert_same(found, expected)
        actions = rng.integers(0, 4, 3)
        views.send(actions, ids)
        copies.send(actions, ids)
        time.sleep(rng.random() * 2e-4)
        for found, expected in received[-1:]:
            assert_same(found, expected)
    assert len(buffers) <= 5  # they are used again
    views.close()
    copies.close()


def test_info_makes_its_entries_when_they_are_asked_for() -> None:
    with_copies = AtariVectorEnv("breakout", 2, autoreset_mode=SAME_STEP, **TINY)
    assert type(with_copies.reset(seed=0)[1]) is dict  # as torch's pytree wants it
    assert type(with_copies.step(np.zeros(2, np.int64))[4]) is dict
    envs = AtariVectorEnv("breakout", 2, autoreset_mode=SAME_STEP, copy=False, **TINY)
    envs.reset(seed=0)
    plain = [dict(envs.step(np.zeros(2, np.int64))[4].items()) for _ in range(8)]
    assert all(type(info) is dict for info in plain)
    keys = ["env_id", "lives", "frame_number", "episode_frame_number", "ram"]
    keys += ["reward_raw", "episode_return", "episode_length", "game_over"]
    assert set(plain[0]) == {*keys, *(f"_{key}" for key in keys)}
    fresh = iter(envs.step(np.zeros(2, np.int64))[4] for _ in range(20))
    first = next(fresh)
    assert dict.__len__(first) == 0
    assert first["lives"].tolist() == [5, 5]
    assert dict.__len__(first) == 1
    assert first.get("lives") is first["lives"]
    assert "ram" in first
    assert "_ram" in first
    assert "final_obs" not in first
    assert first.get("final_obs", 3) == 3
    with pytest.raises(KeyError, match="reward_rw"):
        first["reward_rw"]
    assert len(next(fresh)) == len(next(fresh).keys()) == len(list(next(fresh))) == 2 * len(keys)
    assert {**next(fresh)}.keys() == (next(fresh) | {}).keys() == set(plain[0])
    assert ({} | next(fresh)).keys() == next(fresh).copy().keys() == set(plain[0])
    assert copy.deepcopy(next(fresh)).keys() == pickle.loads(pickle.dumps(next(fresh))).keys()
    popped = next(fresh)
    assert popped.pop("lives").tolist() == [5, 5]
    assert "lives" not in popped
    changed = next(fresh)
    changed["lives"] = 7
    del changed["ram"]
    assert changed["lives"] == 7
    assert "ram" not in changed
    cleared = next(fresh)
    cleared.clear()
    assert not cleared
    assert "ram" not in cleared
    envs.close()
