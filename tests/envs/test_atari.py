# SPDX-License-Identifier: MIT
"""The environments in lockstep with ale-py and Gymnasium, and every misuse by its error.

Oracles: ale-py's own vector environment (observations, flags, counters), its ALEInterface
(screens, raw rewards, sticky actions), Gymnasium's SyncVectorEnv (layout of `info`).
ale-py takes 0.2 s to load a ROM, at construction and again at a seeded reset: hence few copies.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ale_py
import ale_py.roms
import gymnasium
import gymnasium.wrappers.vector as vector_wrappers
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from tests.reference.ale import AleVectorEnv

from rndfast import _core
from rndfast.envs.atari import AtariEnv, AtariVectorEnv, register_envs
from rndfast.envs.games import GAMES, env_id, rom_path
from rndfast.runtime.seeds import reduced_seed

Array = npt.NDArray[Any]
Step = tuple[Array, Array, Array, Array, dict[str, Any]]

NEXT_STEP, SAME_STEP = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP
BOTH_MODES = pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
STATE_KEYS = ("env_id", "lives", "frame_number", "episode_frame_number")
CONSOLE_KEYS = (*STATE_KEYS, "ram")  # and "room" in games that have it
# the environment of the paper's authors, as far as the emulator goes
PAPER: dict[str, Any] = {
    "noop_max": 0,
    "use_fire_reset": False,
    "max_num_frames_per_episode": 18_000,
}
FULL_SCREEN: dict[str, Any] = {"img_height": 210, "img_width": 160}  # no resize: exact screens


def raw_ale(game: str, num_envs: int, **settings: Any) -> AleVectorEnv:
    """Make the oracle with our defaults (the v5 ids') and unclipped rewards."""
    defaults = {"repeat_action_probability": 0.25, "reward_clipping": False}
    return AleVectorEnv(game, num_envs, **(defaults | settings))


def compatible(game: str, num_envs: int, **settings: Any) -> AtariVectorEnv:
    """Make ours, mistakes of ale-py's included."""
    return AtariVectorEnv(game, num_envs, ale_compatible=True, **settings)


def ale_interface(game: str, seed: int, stickiness: float) -> ale_py.ALEInterface:
    """Make one console, reset as often as a seeded vector reset resets it."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    console = ale_py.ALEInterface()
    console.setInt("random_seed", seed)
    console.setFloat("repeat_action_probability", stickiness)
    rom = ale_py.roms.get_rom_path(game)
    assert rom is not None
    console.loadROM(rom)
    console.reset_game()
    return console


def breakout_actions(rng: np.random.Generator, num_envs: int) -> Array:
    """FIRE often, so that balls are lost soon."""
    return np.where(rng.random(num_envs) < 0.3, 1, rng.integers(0, 4, num_envs))


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    register_envs()


@pytest.fixture(scope="module")
def envs() -> Iterator[AtariVectorEnv]:
    """Share three copies of Breakout among the tests that can start anywhere."""
    made = AtariVectorEnv("breakout", num_envs=3, num_threads=1)
    made.reset(seed=0)
    yield made
    made.close()


def num_actions(vector_env: Any) -> int:
    return int(vector_env.single_action_space.n)


# --- lockstep with ale-py ---------------------------------------------------------------------

LOCKSTEP = {
    "paper": ("montezuma_revenge", PAPER | {"max_num_frames_per_episode": 81}),
    "truncations": ("asterix", {"max_num_frames_per_episode": 160}),
    "lives-end-episodes": ("breakout", {"episodic_life": True}),
    "lives-are-signals": ("breakout", {"life_loss_info": True}),
    "lives-are-signals-and-truncations": (
        "breakout",
        {"life_loss_info": True, "max_num_frames_per_episode": 130},
    ),
    "both-life-settings": ("breakout", {"life_loss_info": True, "episodic_life": True}),
    "colour": (
        "seaquest",
        {"grayscale": False, "frameskip": 3, "stack_num": 2, "max_num_frames_per_episode": 60},
    ),
    "small": (
        "asterix",
        {
            "img_height": 42,
            "img_width": 36,
            "maxpool": False,
            "full_action_space": True,
            "repeat_action_probability": 0.0,
            "max_num_frames_per_episode": 90,
        },
    ),
}


def episode_start(info: dict[str, Array]) -> Array:
    """Return the frames that each console had played before its present episode."""
    start: Array = info["frame_number"] - info["episode_frame_number"]
    return start


ONE_MODE_DOES = {
    "paper": SAME_STEP,
    "both-life-settings": SAME_STEP,
    "colour": NEXT_STEP,
    "small": NEXT_STEP,
}


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        (case, mode)
        for case in LOCKSTEP
        for mode in (NEXT_STEP, SAME_STEP)
        if mode is ONE_MODE_DOES.get(case, mode)
    ],
)
def test_steps_are_those_of_ale_py(case: str, mode: AutoresetMode) -> None:
    game, settings = LOCKSTEP[case]
    num_envs = 2 if case == "truncations" else 1
    ours = compatible(game, num_envs, autoreset_mode=mode, **settings)
    oracle = raw_ale(game, num_envs, autoreset_mode=mode, **settings)
    assert ours.single_observation_space == oracle.single_observation_space
    assert ours.observation_space == oracle.observation_space
    assert ours.single_action_space == oracle.single_action_space
    assert ours.action_space == oracle.action_space

    rng = np.random.default_rng(7)
    our_obs, our_info = ours.reset(seed=11)
    obs, info = oracle.reset(seed=11)
    returns, lengths = np.zeros(num_envs), np.zeros(num_envs, int)
    has_ended = np.zeros(num_envs, np.bool_)
    num_terminations, num_truncations, num_rewards = 0, 0, 0
    # with lives as signals, some games must also come to their end
    num_steps = {"lives-are-signals": 150, "truncations": 100}.get(case, 60)
    for step in range(num_steps):
        np.testing.assert_array_equal(our_obs, obs, err_msg=f"step {step}")
        for key in STATE_KEYS:
            np.testing.assert_array_equal(our_info[key], info[key], err_msg=f"{key}, step {step}")
        if game == "breakout":
            actions = breakout_actions(rng, num_envs)
        else:
            actions = rng.integers(0, num_actions(oracle), num_envs)
        our_obs, rewards, *our_flags, our_info = ours.step(actions)
        previous_info = info
        obs, raw_rewards, *flags, info = oracle.step(actions)
        np.testing.assert_array_equal(our_info["reward_raw"], raw_rewards)
        np.testing.assert_array_equal(rewards, np.sign(raw_rewards))
        np.testing.assert_array_equal(our_flags, flags)

        # returns and lengths, counted here from the oracle's rewards
        was_reset = episode_start(info) != episode_start(previous_info)
        for env in range(num_envs):
            if has_ended[env]:
                returns[env] = lengths[env] = 0
            if not (mode is NEXT_STEP and was_reset[env]):
                returns[env] += raw_rewards[env]
                lengths[env] += 1
        np.testing.assert_array_equal(our_info["episode_return"], returns)
        np.testing.assert_array_equal(our_info["episode_length"], lengths)
        has_ended = flags[0] | flags[1]
        num_terminations += int(flags[0].sum())
        num_truncations += int(flags[1].sum())
        num_rewards += int((raw_rewards != 0).sum())

        assert ("final_obs" in our_info) == ("final_obs" in info)
        for env in np.flatnonzero(has_ended).tolist() if mode is SAME_STEP else ():
            # at a lost life without a reset, ale-py's final_obs is an old one: obs is the truth
            final_obs = info["final_obs"] if was_reset[env] else obs
            np.testing.assert_array_equal(our_info["final_obs"][env], final_obs[env])
    assert num_terminations + num_truncations > 1
    if case == "truncations":
        assert min(num_truncations, num_rewards) >= 4
    if case == "lives-are-signals-and-truncations":
        assert min(num_terminations, num_truncations) >= 1
    ours.close()


@BOTH_MODES
def test_a_life_lost_in_the_last_frame_of_an_episode_is_followed_by_a_reset(
    mode: AutoresetMode,
) -> None:
    # served at once and not returned, the first ball is lost in frame 97, so in step 25
    settings: dict[str, Any] = {
        "life_loss_info": True,
        "repeat_action_probability": 0.0,
        "noop_max": 0,
        "use_fire_reset": False,
        "max_num_frames_per_episode": 100,
        "autoreset_mode": mode,
    }
    ours = compatible("breakout", 1, **settings)
    oracle = raw_ale("breakout", 1, **settings)
    ours.reset(seed=0)
    oracle.reset(seed=0)
    for step in range(1, 30):
        actions = np.array([step % 7 == 1], np.int64)
        our_obs, _, *our_flags, our_info = ours.step(actions)
        obs, _, *flags, info = oracle.step(actions)
        np.testing.assert_array_equal(our_flags, flags)
        assert our_flags == [step == 25, False]
        np.testing.assert_array_equal(our_obs, obs)
        for key in STATE_KEYS:
            np.testing.assert_array_equal(our_info[key], info[key], err_msg=f"{key}, step {step}")
        if step == 26:
            assert our_info["episode_length"][0] == (0 if mode is NEXT_STEP else 1)
    ours.close()


@BOTH_MODES
def test_partial_resets_are_those_of_ale_py(mode: AutoresetMode) -> None:
    settings: dict[str, Any] = {"max_num_frames_per_episode": 42, "autoreset_mode": mode}
    ours = compatible("breakout", 2, **settings)
    oracle = raw_ale("breakout", 2, **settings)
    rng = np.random.default_rng(3)
    ours.reset(seed=5)
    oracle.reset(seed=5)
    for step in range(26):
        if step % 5 == 3:  # also right after truncations
            mask = rng.random(2) < 0.3
            mask[step % 2] = True
            seeds = rng.integers(0, 2**31, 2) if step == 13 else None
            our_obs, our_info = ours.reset(seed=seeds, options={"reset_mask": mask})
            # ale-py takes one seed per environment being reset
            oracle_seeds = None if seeds is None else seeds[mask]
            obs, info = oracle.reset(seed=oracle_seeds, options={"reset_mask": mask})
        else:
            actions = rng.integers(0, 4, 2)
            our_obs, _, *our_flags, our_info = ours.step(actions)
            obs, _, *flags, info = oracle.step(actions)
            np.testing.assert_array_equal(our_flags, flags)
        np.testing.assert_array_equal(our_obs, obs, err_msg=f"step {step}")
        for key in STATE_KEYS:
            np.testing.assert_array_equal(our_info[key], info[key], err_msg=f"{key}, step {step}")
    ours.close()


def test_defaults_are_those_of_ale_pys_registered_v5_id() -> None:
    gymnasium.register_envs(ale_py)
    # made through the id, ale-py writes to the class-level metadata: put it back
    before = dict(VectorEnv.metadata)
    oracle = gymnasium.make_vec("ALE/MontezumaRevenge-v5", num_envs=1)
    VectorEnv.metadata.clear()
    VectorEnv.metadata.update(before)
    ours = gymnasium.make_vec("rndfast/MontezumaRevenge-v5", num_envs=1)
    rng = np.random.default_rng(0)
    assert ours.single_action_space == oracle.single_action_space
    np.testing.assert_array_equal(ours.reset(seed=1)[0], oracle.reset(seed=1)[0])
    for _ in range(40):  # sticky actions, no-ops and FIRE all change the pictures
        actions = rng.integers(0, 18, 1)
        np.testing.assert_array_equal(ours.step(actions)[0], oracle.step(actions)[0])
    ours.close()


@pytest.mark.parametrize("game", ["ms_pacman", "skiing"])
def test_clipping_takes_the_sign_of_the_summed_reward_as_ale_py_does(game: str) -> None:
    ours = AtariVectorEnv(game, num_envs=1, frameskip=40)
    oracle = raw_ale(game, 1, frameskip=40, reward_clipping=True)
    rng = np.random.default_rng(0)
    ours.reset(seed=0)
    oracle.reset(seed=0)
    largest = 0.0
    for _ in range(20):
        actions = rng.integers(0, num_actions(ours), 1)
        _, rewards, _, _, info = ours.step(actions)
        assert rewards == oracle.step(actions)[1] == np.sign(info["reward_raw"])
        largest = max(largest, abs(float(info["reward_raw"][0])))
    assert largest > 10  # more than one pellet, or many hundredths of a second, in one step
    ours.close()


# --- against single consoles ------------------------------------------------------------------


def test_with_the_papers_settings_every_env_starts_at_the_console_reset_screen() -> None:
    for game in ("montezuma_revenge", "breakout"):  # Breakout shows the ball after FIRE
        envs = AtariVectorEnv(game, num_envs=2, **PAPER, **FULL_SCREEN)
        obs, info = envs.reset(seed=0)
        screen = ale_interface(game, 0, 0.25).getScreenGrayscale()
        for env in range(2):
            np.testing.assert_array_equal(obs[env, 3], screen)
        assert not info["frame_number"].any()
        envs.close()


def test_noops_and_fire_make_starts_differ_also_without_a_seed() -> None:
    envs = AtariVectorEnv("breakout", num_envs=4)
    starts = [envs.reset()[1]["episode_frame_number"] for _ in range(10)]
    # 40 draws of 30 numbers (1 stands for 0 and 1): equal columns would be no luck
    for env in range(4):
        assert not np.array_equal(np.stack(starts)[:, env], np.stack(starts)[:, env - 1])
    assert np.min(starts) >= 1
    assert 20 < np.max(starts) < 30
    envs.close()


@BOTH_MODES
def test_stacks_are_filled_with_zeros_before_the_reset_frame(mode: AutoresetMode) -> None:
    envs = AtariVectorEnv(
        "breakout",
        num_envs=1,
        autoreset_mode=mode,
        **(PAPER | {"max_num_frames_per_episode": 42}),
    )
    obs, _ = envs.reset()
    num_resets = 0
    steps_since_reset = 0
    for _ in range(40):
        is_filled = obs.any(axis=(2, 3))
        expected = [place >= 3 - steps_since_reset for place in range(4)]
        np.testing.assert_array_equal(is_filled, [expected])
        obs, _, _, truncations, info = envs.step(np.zeros(1, np.int64))
        steps_since_reset += 1
        is_reset = truncations if mode is SAME_STEP else info["episode_frame_number"] == 0
        if is_reset.all():
            steps_since_reset = 0
            num_resets += 1
    assert num_resets >= 3
    envs.close()


def test_sticky_actions_are_redrawn_in_every_frame() -> None:
    seed, num_steps = 3, 100
    envs = AtariVectorEnv(
        "ms_pacman", num_envs=1, reward_clipping=False, grayscale=False, **PAPER, **FULL_SCREEN
    )
    obs, _ = envs.reset(seed=seed)
    sticky, never_sticky = ale_interface("ms_pacman", seed, 0.25), ale_interface("ms_pacman", 3, 0)
    np.testing.assert_array_equal(obs[0, -1], sticky.getScreenRGB())
    minimal_actions = sticky.getMinimalActionSet()
    rng = np.random.default_rng(0)
    num_differing, total_reward = 0, 0.0
    for _ in range(num_steps):
        action = int(rng.integers(len(minimal_actions)))
        obs, rewards, *_ = envs.step(np.array([action]))
        # four calls of act: the console draws anew in each
        reward, screens = 0, []
        for _ in range(4):
            reward += sticky.act(minimal_actions[action])
            never_sticky.act(minimal_actions[action])
            screens.append(sticky.getScreenRGB())
        assert rewards[0] == reward
        np.testing.assert_array_equal(obs[0, -1], np.maximum(*screens[-2:]))
        num_differing += not np.array_equal(sticky.getRAM(), never_sticky.getRAM())
        total_reward += reward
    assert total_reward > 0
    assert num_differing > 5  # so the random draws did matter
    envs.close()


@pytest.mark.parametrize("noop_max", [0, 30])
def test_the_episode_cap_counts_frames_played_by_the_agent(noop_max: int) -> None:
    envs = AtariVectorEnv("breakout", num_envs=2, max_num_frames_per_episode=42, noop_max=noop_max)
    start = envs.reset()[1]["episode_frame_number"]
    for step in range(1, 12):
        _, _, terminations, truncations, info = envs.step(np.zeros(2, np.int64))
        assert not terminations.any()
        assert truncations.all() == truncations.any() == (step == 11)  # 10 full skips, 2 frames
    np.testing.assert_array_equal(info["episode_frame_number"], start + 42)
    np.testing.assert_array_equal(info["episode_length"], [11] * 2)
    envs.close()


# --- episode statistics and info --------------------------------------------------------------


@BOTH_MODES
def test_a_reset_starts_the_statistics_of_only_the_reset_envs_anew(mode: AutoresetMode) -> None:
    envs = AtariVectorEnv("breakout", num_envs=2, autoreset_mode=mode)
    envs.reset()
    for _ in range(7):
        envs.step(np.zeros(2, np.int64))
    envs.reset(options={"reset_mask": np.array([False, True])})
    assert envs.step(np.zeros(2, np.int64))[4]["episode_length"].tolist() == [8, 1]
    envs.reset()
    assert envs.step(np.zeros(2, np.int64))[4]["episode_length"].tolist() == [1, 1]
    envs.close()


def test_a_reset_after_a_truncation_replaces_the_reset_step() -> None:
    envs = AtariVectorEnv("breakout", num_envs=2, max_num_frames_per_episode=8)
    envs.reset()
    envs.step(np.zeros(2, np.int64))
    assert envs.step(np.zeros(2, np.int64))[3].all()
    envs.reset(options={"reset_mask": np.array([True, False])})
    info = envs.step(np.zeros(2, np.int64))[4]
    assert info["episode_length"].tolist() == [1, 0]  # env 1 takes its reset step only now
    envs.close()


@BOTH_MODES
def test_a_lost_life_can_be_a_signal_that_starts_the_statistics_anew(mode: AutoresetMode) -> None:
    envs = AtariVectorEnv("breakout", num_envs=1, life_loss_info=True, autoreset_mode=mode)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    length, num_signals = 0, 0
    while num_signals < 3:
        info = envs.step(breakout_actions(rng, 1))[4]
        length += 1
        assert info["episode_length"][0] == length
        if (4 - info["lives"][0]) == num_signals:
            num_signals += 1
            assert ("final_obs" in info) == (mode is SAME_STEP)
            length = 0
    assert info["episode_frame_number"][0] > 100  # still the same game
    envs.close()


INFO_DTYPES: dict[str, npt.DTypeLike] = {
    **dict.fromkeys(STATE_KEYS, np.int32),
    "ram": np.uint8,
    "reward_raw": np.float32,
    "episode_return": np.float32,
    "episode_length": np.int32,
    "game_over": np.bool_,
}


@BOTH_MODES
def test_info_has_every_key_with_its_mask_and_final_keys_only_at_ends(mode: AutoresetMode) -> None:
    envs = AtariVectorEnv(
        "breakout", num_envs=2, max_num_frames_per_episode=42, autoreset_mode=mode
    )
    _, info = envs.reset()
    assert set(info) == {*CONSOLE_KEYS, *(f"_{key}" for key in CONSOLE_KEYS)}
    final_keys = {"final_obs", "_final_obs", "final_info", "_final_info"}
    num_ends = 0
    for _ in range(30):
        obs, rewards, terminations, truncations, info = envs.step(np.zeros(2, np.int32))
        assert obs.shape == (2, 4, 84, 84)
        assert obs.dtype == np.uint8
        assert rewards.dtype == np.float32
        assert terminations.dtype == truncations.dtype == np.bool_
        assert rewards.shape == terminations.shape == truncations.shape == (2,)
        for key, dtype in INFO_DTYPES.items():
            shape = (2, 128) if key == "ram" else (2,)
            assert (info[key].shape, info[key].dtype) == (shape, dtype), key
            assert info[f"_{key}"].dtype == np.bool_
            assert info[f"_{key}"].tolist() == [True, True]
        has_final = bool(truncations.any()) and mode is SAME_STEP
        num_ends += has_final
        expected = {*INFO_DTYPES, *(f"_{key}" for key in INFO_DTYPES)}
        assert set(info) == expected | (final_keys if has_final else set())
    assert num_ends == (2 if mode is SAME_STEP else 0)
    envs.close()


def test_final_entries_are_laid_out_as_gymnasiums_sync_vector_env_does() -> None:
    settings: dict[str, Any] = {"max_num_frames_per_episode": 120, "episodic_life": True}
    ours = AtariVectorEnv("breakout", num_envs=2, autoreset_mode=SAME_STEP, **settings)
    oracle = SyncVectorEnv([lambda: AtariEnv("breakout", **settings)] * 2, autoreset_mode=SAME_STEP)
    ours.reset(seed=0)
    oracle.reset(seed=0)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(80):
        actions = breakout_actions(rng, 2)
        obs, *_, truncations, info = ours.step(actions)
        expected_obs, *_, expected = oracle.step(actions)
        np.testing.assert_array_equal(obs, expected_obs)
        for key in ("final_obs", "_final_obs", "final_info", "_final_info"):
            assert (key in info) == (key in expected)
        if "final_obs" not in info:
            continue
        for mask in ("_final_obs", "_final_info"):
            np.testing.assert_array_equal(info[mask], expected[mask], strict=True)
        assert info["final_obs"].dtype == expected["final_obs"].dtype == object
        for env in range(2):
            np.testing.assert_array_equal(info["final_obs"][env], expected["final_obs"][env])
            seen.add("none" if info["final_obs"][env] is None else f"truncated {truncations[env]}")
        final_info = info["final_info"]
        assert set(final_info) == set(expected["final_info"]) | {"env_id", "_env_id"}
        for key, value in expected["final_info"].items():
            np.testing.assert_array_equal(final_info[key], value, strict=True, err_msg=key)
    assert seen == {"none", "truncated False", "truncated True"}
    ours.close()
    oracle.close()


@BOTH_MODES
def test_returned_arrays_are_never_written_to_again(mode: AutoresetMode) -> None:
    envs = AtariVectorEnv(
        "breakout", num_envs=2, max_num_frames_per_episode=42, autoreset_mode=mode
    )
    obs, info = envs.reset()
    returned: list[Any] = [obs, info]
    kept = copy.deepcopy(returned)
    rng = np.random.default_rng(0)
    for _ in range(30):
        returned.append(envs.step(rng.integers(0, 4, 2)))
        kept.append(copy.deepcopy(returned[-1]))
    # every array can be written to without changing another
    envs.reset()
    arrays, kept_arrays = list(_arrays(returned)), list(_arrays(kept))
    assert len(arrays) > 30 * 15
    for array, kept_array in zip(arrays, kept_arrays, strict=True):
        np.testing.assert_array_equal(array, kept_array)
    for array in arrays:
        array[...] = 1
    assert not np.array_equal(arrays[0], kept_arrays[0])
    info = envs.step(np.zeros(2, np.int64))[4]
    assert info["episode_length"].tolist() == [1, 1]
    envs.close()


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_arrays_without_copy_stay_until_the_second_recv_after_theirs(num_threads: int) -> None:
    settings: dict[str, Any] = {"num_envs": 6, "max_num_frames_per_episode": 42}
    views = AtariVectorEnv("breakout", num_threads=num_threads, copy=False, **settings)
    copies = AtariVectorEnv("breakout", num_threads=1, **settings)
    views.reset(seed=3)
    copies.reset(seed=3)
    rng = np.random.default_rng(num_threads)
    halves = np.arange(6).reshape(2, 3)
    arrays: list[Any]
    expected: list[Any]
    held: list[tuple[list[Array], list[Array]]] = []  # of the last two recv: views and copies
    stop = threading.Event()

    def work() -> None:
        delays = np.random.default_rng(9)
        while not stop.wait(delays.uniform(0, 0.002)):
            sum(range(2_000))

    def send(half: int) -> None:
        actions = rng.integers(0, 4, 3)
        views.send(actions, halves[half])
        copies.send(actions, halves[half])

    other = threading.Thread(target=work)
    other.start()
    try:
        order = rng.permutation(2)
        for half in order:
            send(half)
        for _ in range(60):
            time.sleep(rng.uniform(0, 0.002))
            for kept_views, kept_copies in held:  # while the consoles write the next ones
                for view, kept in zip(kept_views, kept_copies, strict=True):
                    np.testing.assert_array_equal(view, kept)
            held = held[-1:]
            *arrays, info = views.recv()
            *expected, expected_info = copies.recv()
            arrays += [info[key] for key in INFO_DTYPES]
            expected += [expected_info[key] for key in INFO_DTYPES]
            held.append((arrays, [array.copy() for array in arrays]))
            for array, expected_array in zip(arrays, expected, strict=True):
                np.testing.assert_array_equal(array, expected_array, strict=True)
            time.sleep(rng.uniform(0, 0.002))
            order = order[1:]
            if not len(order):  # both halves are back: send them in a new order
                order = rng.permutation(2)
                for half in order:
                    send(half)
    finally:
        stop.set()
        other.join()
        views.close()
        copies.close()


def test_the_arrays_of_a_step_are_apart_from_each_other() -> None:
    envs = AtariVectorEnv("pong", autoreset_mode=SAME_STEP, reward_clipping=False)
    envs.reset()
    arrays = list(_arrays(envs.step(np.zeros(1, np.int64))))
    assert len(arrays) == 4 + 2 * len(INFO_DTYPES)
    for number, array in enumerate(arrays):
        for other in arrays[:number]:
            assert not np.shares_memory(array, other)
    envs.close()


def _arrays(nested: Any) -> Iterator[Array]:
    if isinstance(nested, np.ndarray) and nested.dtype != object:
        yield nested
    elif isinstance(nested, dict):
        yield from _arrays(list(nested.values()))
    elif isinstance(nested, (list, tuple, np.ndarray)):
        for item in nested:
            yield from _arrays(item)


# --- seeds ------------------------------------------------------------------------------------


def run(envs: AtariVectorEnv, seed: Any, num_steps: int = 12) -> Array:
    """Return all that a sticky game shows for a seed, with a reset without seed in the middle."""
    shown = [envs.reset(seed=seed)[0]]
    for step in range(num_steps):
        shown.append(envs.step(np.full(envs.num_envs, step % 4))[0])
        if step == num_steps // 2:
            shown.append(envs.reset()[0])
    return np.stack(shown)


def test_an_int_seed_counts_up_over_the_envs(envs: AtariVectorEnv) -> None:
    expected = run(envs, 4)
    for seed in ((4, np.int8(5), 6), np.array([4, 5, 6], np.uint64), np.int32(4)):
        np.testing.assert_array_equal(run(envs, seed), expected)


def test_the_bytes_do_not_depend_on_the_number_of_threads(envs: AtariVectorEnv) -> None:
    threaded = AtariVectorEnv("breakout", num_envs=3, num_threads=3)
    np.testing.assert_array_equal(run(threaded, 7), run(envs, 7))
    threaded.close()


@pytest.mark.parametrize(
    "seeds", [(0, 1, 2**31 - 1), (2**31, 2**32 - 1, 2**32), (2**32 + 1, 2**63 + 1, 2**200 + 1)]
)
def test_different_seeds_give_different_games(
    envs: AtariVectorEnv, seeds: tuple[int, int, int]
) -> None:
    shown = run(envs, [*seeds])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(shown[:, one], shown[:, other])


def test_seeds_of_more_than_32_bits_are_hashed_by_numpy(envs: AtariVectorEnv) -> None:
    large = [2**32 + 5, 10**30, 2**64 - 1]
    hashed = [int(np.random.SeedSequence(seed).generate_state(1)[0]) for seed in large]
    np.testing.assert_array_equal(run(envs, large), run(envs, hashed))
    # environment i has seed s + i, also across the largest that is taken as it is
    across = [2**32 - 1, 2**32, 2**32 + 1]
    np.testing.assert_array_equal(run(envs, 2**32 - 1), run(envs, across))
    assert len({reduced_seed(seed, bits=64) for seed in (2**64 - 1, 2**64, 2**65)}) == 3


def test_a_reset_without_seed_goes_on_with_the_stream(envs: AtariVectorEnv) -> None:
    def starts(seed: Any) -> list[int]:
        start: list[int] = envs.reset(seed=seed)[1]["episode_frame_number"].tolist()
        return start

    first, second, third = starts(0), starts(None), starts([None] * 3)
    assert first != second != third != first
    assert [starts(0), starts([None] * 3), starts(None)] == [first, second, third]


def test_a_partial_reset_gives_env_i_the_seed_s_plus_i_and_leaves_options_alone(
    envs: AtariVectorEnv,
) -> None:
    expected, _ = envs.reset(seed=20)
    envs.reset()
    before, *_ = envs.step(np.ones(3, np.int64))
    mask = np.array([False, True, True])
    options = {"reset_mask": mask}
    obs, _ = envs.reset(seed=20, options=options)
    np.testing.assert_array_equal(obs[1:], expected[1:])
    np.testing.assert_array_equal(obs[0], before[0])
    assert options.keys() == {"reset_mask"}
    assert options["reset_mask"] is mask
    assert mask.tolist() == [False, True, True]


# --- Gymnasium --------------------------------------------------------------------------------


def test_metadata_belongs_to_the_instance() -> None:
    before = dict(VectorEnv.metadata)
    same, following = (
        AtariVectorEnv("pong", num_envs=1, autoreset_mode=mode) for mode in (SAME_STEP, NEXT_STEP)
    )
    by_value = AtariVectorEnv("rndfast/Pong-v5", autoreset_mode="SameStep", frameskip=2)
    assert same.metadata["autoreset_mode"] is same.autoreset_mode is SAME_STEP
    assert following.metadata["autoreset_mode"] is following.autoreset_mode is NEXT_STEP
    assert by_value.metadata["autoreset_mode"] is by_value.autoreset_mode is SAME_STEP
    assert same.metadata["render_fps"] == same.render_fps == 15
    assert by_value.metadata["render_fps"] == by_value.render_fps == 30
    assert (by_value.game, by_value.num_envs) == (same.game, 1) == ("pong", 1)
    assert VectorEnv.metadata == before
    assert "autoreset_mode" not in AtariVectorEnv.metadata
    for each in (same, following, by_value):
        each.close()


def test_every_game_is_registered_and_registering_again_is_quiet() -> None:
    register_envs()  # warnings are errors here
    registered = {spec.id for spec in gymnasium.registry.values() if spec.namespace == "rndfast"}
    assert registered == {env_id(game) for game in GAMES}


def test_make_vec_sets_a_spec_that_makes_the_same_env_again() -> None:
    envs = gymnasium.make_vec("rndfast/MontezumaRevenge-v5", num_envs=2, stack_num=2)
    assert isinstance(envs, AtariVectorEnv)
    assert envs.spec is not None
    assert envs.spec.id == "rndfast/MontezumaRevenge-v5"
    spec = gymnasium.envs.registration.EnvSpec.from_json(envs.spec.to_json())
    again = gymnasium.make_vec(spec)
    assert isinstance(again, AtariVectorEnv)
    assert again.num_envs == 2
    assert again.observation_space.shape == envs.observation_space.shape == (2, 2, 84, 84)
    assert again.game == envs.game
    envs.close()
    again.close()


def test_record_episode_statistics_agrees_with_info() -> None:
    for mode in (NEXT_STEP, SAME_STEP):
        inner = AtariVectorEnv(
            "breakout",
            num_envs=2,
            reward_clipping=False,
            episodic_life=True,
            max_num_frames_per_episode=160,
            autoreset_mode=mode,
        )
        envs = vector_wrappers.RecordEpisodeStatistics(inner)
        envs.reset()
        rng = np.random.default_rng(0)
        num_ends = 0
        for _ in range(80):
            _, _, terminations, truncations, info = envs.step(breakout_actions(rng, 2))
            ended = terminations | truncations
            if ended.any():
                episode = info["episode"]
                np.testing.assert_array_equal(episode["r"][ended], info["episode_return"][ended])
                np.testing.assert_array_equal(episode["l"][ended], info["episode_length"][ended])
                num_ends += int(ended.sum())
        assert num_ends >= 2
        envs.close()


def test_gymnasiums_vector_wrappers_can_be_put_around() -> None:
    envs: Any = AtariVectorEnv("asterix", num_envs=3, max_num_frames_per_episode=150)
    envs = vector_wrappers.RecordEpisodeStatistics(envs)
    envs = vector_wrappers.NormalizeReward(envs)
    envs = vector_wrappers.ClipReward(envs, -5, 5)
    envs = vector_wrappers.FlattenObservation(envs)
    envs = vector_wrappers.NormalizeObservation(envs)
    envs = vector_wrappers.DictInfoToList(envs)
    obs, infos = envs.reset(seed=0)
    assert obs.shape == (3, 4 * 84 * 84)
    rng = np.random.default_rng(0)
    rewards_seen = set()
    for _ in range(80):
        obs, rewards, _, _, infos = envs.step(rng.integers(0, 9, 3))
        rewards_seen |= set(rewards.tolist())
    assert np.isfinite(obs).all()
    assert len(rewards_seen) > 2  # normalised, so not just 0 and 1
    assert [info["env_id"] for info in infos] == [0, 1, 2]
    envs.close()


def test_the_single_env_passes_gymnasiums_checker() -> None:
    env = gymnasium.make("rndfast/Pong-v5")
    check_env(env.unwrapped)  # its warnings are errors here
    env.close()


def test_the_single_env_shows_what_the_vector_env_does_but_waits_for_reset() -> None:
    settings: dict[str, Any] = {"max_num_frames_per_episode": 90}
    env = AtariEnv("breakout", **settings)
    envs = AtariVectorEnv("breakout", num_envs=1, **settings)
    obs, info = env.reset(seed=2)
    all_obs, _ = envs.reset(seed=2)
    rng = np.random.default_rng(0)
    num_ends = 0
    for _ in range(60):
        np.testing.assert_array_equal(obs, all_obs[0])
        action = rng.integers(0, 4)
        obs, reward, terminated, truncated, info = env.step(action)
        all_obs, rewards, terminations, truncations, all_info = envs.step(np.array([action]))
        np.testing.assert_array_equal(obs, all_obs[0])
        assert (reward, terminated, truncated) == (rewards[0], terminations[0], truncations[0])
        assert set(info) == set(INFO_DTYPES) - {"env_id"}
        for key, value in info.items():
            np.testing.assert_array_equal(value, all_info[key][0], err_msg=key)
        if truncated:
            assert info["episode_length"] == 23
            num_ends += 1
            with pytest.raises(
                RuntimeError, match=r"^the episode has ended: call reset\(\) first$"
            ):
                env.step(0)
            obs, info = env.reset()
            all_obs, *_ = envs.step(np.array([0]))
    assert num_ends == 2
    env.close()
    env.close()
    envs.close()
    for use in (env.reset, lambda: env.step(0)):
        with pytest.raises(RuntimeError, match="closed"):
            use()


def test_the_single_env_plays_on_after_the_signal_of_a_lost_life() -> None:
    env = AtariEnv("breakout", life_loss_info=True)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(int(breakout_actions(rng, 1)[0]))
    assert info["lives"] == 4
    env.step(0)
    env.close()


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (4, ValueError, r"action must be in \[0, 4\), got 4"),
        (-1, ValueError, r"action must be in \[0, 4\), got -1"),
        (np.array([1]), ValueError, r"action must be one integer, got shape \(1,\)"),
        ([0, 1], ValueError, r"action must be one integer, got shape \(2,\)"),
        (1.0, TypeError, "action must be an integer, got float 1.0"),
        (True, TypeError, "action must be an integer, got bool True"),
        (None, TypeError, "action must be an integer, got NoneType None"),
        ("1", TypeError, "action must be an integer, got str '1'"),
    ],
)
def test_errors_of_the_single_env_speak_of_one_environment(
    action: Any, error: type[Exception], message: str
) -> None:
    env = AtariEnv("breakout")
    with pytest.raises(RuntimeError, match=r"^call reset\(\) before step\(\)$"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(error, match=f"^{message}$"):
        env.step(action)
    without_axes: Any = np.array(1)
    assert env.step(without_axes)[4]["frame_number"] > 0
    with pytest.raises(ValueError, match=r"options must be None or empty, got \{'reset_mask': 1\}"):
        env.reset(options={"reset_mask": 1})
    env.close()


@pytest.mark.parametrize("is_received", [False, True])
def test_after_ctrl_c_the_single_env_goes_on(
    monkeypatch: pytest.MonkeyPatch, is_received: bool
) -> None:
    env, twin = AtariEnv("breakout"), AtariEnv("breakout")
    for each in (env, twin):
        each.reset(seed=0)
    recv = env._envs.recv

    def interrupted() -> Step:
        monkeypatch.setattr(env._envs, "recv", recv)
        if is_received:
            recv()
        raise KeyboardInterrupt

    monkeypatch.setattr(env._envs, "recv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        env.step(1)
    twin.step(1)
    np.testing.assert_array_equal(env.step(2)[0], twin.step(2)[0])
    env.close()
    twin.close()


@pytest.mark.parametrize("full_action_space", [False, True])
def test_action_meanings_are_ale_pys(full_action_space: bool) -> None:
    gymnasium.register_envs(ale_py)
    for game in ("breakout", "montezuma_revenge", "pong", "asteroids"):
        envs = AtariVectorEnv(game, full_action_space=full_action_space)
        ale_id = env_id(game).replace("rndfast", "ALE")
        ale: Any = gymnasium.make(ale_id, full_action_space=full_action_space).unwrapped
        assert envs.get_action_meanings() == ale.get_action_meanings()
        single: Any = gymnasium.make(env_id(game), full_action_space=full_action_space).unwrapped
        assert single.get_action_meanings() == ale.get_action_meanings()
        for each in (envs, ale, single):
            each.close()


# --- misuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"game": "pongg"}, ValueError, "unknown game 'pongg': did you mean 'pong'"),
        ({"game": 3}, TypeError, "game must be a str, got int 3"),
        ({"num_envs": 0}, ValueError, r"num_envs must be in \[1, 65536\], got 0"),
        ({"num_envs": -1}, ValueError, "num_envs must be in"),
        ({"num_envs": 10**9}, ValueError, "num_envs must be in"),
        ({"num_envs": 2.0}, TypeError, "num_envs must be an int, got float 2.0"),
        ({"num_envs": True}, TypeError, "num_envs must be an int, got bool"),
        ({"num_envs": "4"}, TypeError, "num_envs must be an int, got str '4'"),
        ({"num_envs": None}, TypeError, "num_envs must be an int, got NoneType"),
        ({"max_num_frames_per_episode": 0}, ValueError, "max_num_frames_per_episode must be in"),
        ({"max_num_frames_per_episode": 2**31}, ValueError, "2147483647], got 2147483648"),
        ({"max_num_frames_per_episode": 1e5}, TypeError, "max_num_frames_per_episode must be an"),
        ({"repeat_action_probability": -0.1}, ValueError, r"probability must be in \[0, 1\], got"),
        ({"repeat_action_probability": 1.1}, ValueError, "repeat_action_probability must be in"),
        ({"repeat_action_probability": np.nan}, ValueError, "repeat_action_probability must be in"),
        ({"repeat_action_probability": "0.1"}, TypeError, "probability must be a float, got str"),
        ({"repeat_action_probability": True}, TypeError, "probability must be a float, got bool"),
        ({"autoreset_mode": "Enabled"}, ValueError, "NEXT_STEP .*, DISABLED .*, got 'Enabled'"),
        ({"mode": 7}, ValueError, "mode of pong must be one of 0, 1, got 7"),
        ({"mode": "1"}, TypeError, "mode must be an int, got str"),
        ({"difficulty": 9}, ValueError, "difficulty of pong must be one of 0, 1, 2, 3, got 9"),
        ({"render_mode": "human"}, ValueError, "render_mode must be 'rgb_array' or None"),
        ({"autoreset_mode": "nextstep"}, ValueError, "autoreset_mode must be one of"),
        ({"autoreset_mode": 1}, TypeError, "autoreset_mode must be one of .* got int 1"),
        ({"img_height": 0}, ValueError, r"img_height must be in \[1, 4096\], got 0"),
        ({"img_height": 84.0}, TypeError, "img_height must be an int"),
        ({"img_width": 4097}, ValueError, "img_width must be in"),
        ({"img_width": "84"}, TypeError, "img_width must be an int"),
        ({"stack_num": 0}, ValueError, "stack_num must be in"),
        ({"stack_num": None}, TypeError, "stack_num must be an int"),
        ({"frameskip": 0}, ValueError, "frameskip must be in"),
        ({"frameskip": (2, 5)}, TypeError, "frameskip must be an int, got tuple"),
        ({"noop_max": -1}, ValueError, "noop_max must be in"),
        ({"noop_max": 0.5}, TypeError, "noop_max must be an int"),
        ({"num_threads": -1}, ValueError, "num_threads must be in"),
        ({"num_threads": 1025}, ValueError, "num_threads must be in"),
        ({"thread_affinity_offset": -2}, ValueError, "thread_affinity_offset must be in"),
        *(
            ({name: 1}, TypeError, f"{name} must be a bool, got int 1")
            for name in (
                "full_action_space",
                "ale_compatible",
                "grayscale",
                "maxpool",
                "pool_before_grey",
                "episodic_life",
                "life_loss_info",
                "reward_clipping",
                "use_fire_reset",
            )
        ),
        (
            {"pool_before_grey": True, "ale_compatible": True},
            ValueError,
            "pool_before_grey must be False with ale_compatible",
        ),
        ({"batch_size": 2}, TypeError, "unexpected keyword argument 'batch_size'"),
    ],
)
def test_a_bad_argument_is_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AtariVectorEnv(**({"game": "pong"} | arguments))


def test_the_core_has_the_same_settings_with_the_same_defaults() -> None:
    core = _core.AtariBatch("pong", rom_path("pong").read_bytes(), num_envs=1).settings
    explicit = {
        name: parameter.default
        for name, parameter in inspect.signature(AtariVectorEnv).parameters.items()
        if name not in ("game", "num_envs", "num_threads", "thread_affinity_offset", "copy")
    }
    # what differs in kind: an enum, None for both switches at B, and what the core is told instead
    explicit["autoreset_mode"] = explicit["autoreset_mode"].value
    assert (explicit.pop("difficulty"), core.pop("difficulty")) == (None, 0)
    assert (explicit.pop("render_mode"), core.pop("keeps_colors")) == (None, False)
    assert explicit == core


def test_every_setting_reaches_the_core() -> None:
    default = AtariVectorEnv("pong")
    for name, value in default._batch.settings.items():  # type: ignore[union-attr]
        changed: Any = {"mode": 1, "difficulty": 2, "autoreset_mode": "SameStep"}.get(name)
        if changed is None:
            changed = (
                not value if isinstance(value, bool) else value / 2 if value < 1 else value - 1
            )
        is_colors = name == "keeps_colors"
        argument: Any = {"render_mode": "rgb_array"} if is_colors else {name: changed}
        envs = AtariVectorEnv("pong", **argument)
        expected = default._batch.settings | {name: changed}  # type: ignore[union-attr]
        assert envs._batch.settings == expected  # type: ignore[union-attr]
        envs.close()
    default.close()


def test_the_core_refuses_a_setting_that_it_does_not_have() -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument: {'mod': 1}"):
        _core.AtariBatch("pong", rom_path("pong").read_bytes(), num_envs=1, mod=1)


def test_a_failed_construction_can_be_closed() -> None:
    broken = AtariVectorEnv.__new__(AtariVectorEnv)
    with pytest.raises(ValueError, match="num_envs"):
        broken.__init__("pong", num_envs=0)  # type: ignore[misc]
    broken.close()
    with pytest.raises(RuntimeError, match="closed"):
        broken.reset()


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        (np.array([0, -1, 0]), ValueError, r"action of env 1 must be in \[0, 4\), got -1"),
        (np.array([0, 0, 4]), ValueError, r"action of env 2 must be in \[0, 4\), got 4"),
        (np.array([2**31, 0, 0]), ValueError, "action of env 0 .* got 2147483648"),
        (np.array([2**64 - 1, 0, 0], np.uint64), ValueError, "action of env 0"),
        (np.zeros(2, np.int64), ValueError, r"actions must have shape \(3,\), got \(2,\)"),
        (np.zeros((3, 1), np.int64), ValueError, r"shape \(3,\), got \(3, 1\)"),
        (np.array(0), ValueError, r"shape \(3,\), got \(\)"),
        (np.zeros(3), TypeError, "actions must have an integer dtype, got float64"),
        (np.array([np.nan] * 3), TypeError, "integer dtype, got float64"),
        (np.zeros(3, np.bool_), TypeError, "integer dtype, got bool"),
        (np.array([None] * 3), TypeError, "integer dtype, got object"),
        ([0, 0, 0], TypeError, "actions must be a NumPy array, got list"),
        (0, TypeError, "actions must be a NumPy array, got int"),
        (None, TypeError, "actions must be a NumPy array, got NoneType"),
    ],
)
def test_bad_actions_are_named_and_change_nothing(
    envs: AtariVectorEnv, actions: Any, error: type[Exception], message: str
) -> None:
    before = envs.reset()[1]["frame_number"]
    with pytest.raises(error, match=message):
        envs.step(actions)
    info = envs.step(np.zeros(3, np.int64))[4]
    np.testing.assert_array_equal(info["frame_number"], before + 4)
    assert info["episode_length"].tolist() == [1, 1, 1]


def test_actions_of_every_integer_dtype_and_stride_are_taken(envs: AtariVectorEnv) -> None:
    dtypes = (np.uint8, np.int16, np.int32, np.uint64, np.int8)
    expected, _ = envs.reset(seed=0)
    shown = [envs.step(np.array([1, 2, 3]))[0] for _ in dtypes]
    np.testing.assert_array_equal(envs.reset(seed=0)[0], expected)
    for dtype, expected in zip(dtypes, shown, strict=True):
        actions = np.array([1, 9, 2, 9, 3, 9], dtype)[::2]
        np.testing.assert_array_equal(envs.step(actions)[0], expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": -(2**64)}, ValueError, "seed must be at least 0, got -18446744073709551616"),
        ({"seed": 1.0}, TypeError, "seed must be an int, got float 1.0"),
        ({"seed": True}, TypeError, "seed must be an int, got bool"),
        ({"seed": "123"}, TypeError, "seed must be an int, got str"),
        ({"seed": [1, 2]}, ValueError, "seed must have 3 items, got 2"),
        ({"seed": [1, 2, -3]}, ValueError, "seed of env 2 must be at least 0, got -3"),
        ({"seed": [1, "2", 3]}, TypeError, "seed of env 1 must be an int, got str"),
        ({"seed": np.zeros(3)}, TypeError, "seed must have an integer dtype, got float64"),
        ({"seed": np.zeros(2, int)}, ValueError, r"seed must have shape \(3,\), got \(2,\)"),
        ({"seed": np.full(3, -5)}, ValueError, "seed of env 0 must be at least 0, got -5"),
        ({"options": [1]}, TypeError, "options must be a dict or None, got list"),
        ({"options": {"mask": 1}}, ValueError, "only have the key 'reset_mask', got {'mask'}"),
        *(
            ({"options": {"reset_mask": mask}}, error, message)
            for mask, error, message in (
                ([True] * 3, TypeError, "reset_mask must be a NumPy array of bool, got list"),
                (np.ones(3, int), TypeError, "array of bool, got dtype int64"),
                (None, TypeError, "array of bool, got NoneType"),
                (np.ones(2, bool), ValueError, r"reset_mask must have shape \(3,\), got \(2,\)"),
                (np.zeros(3, bool), ValueError, "reset_mask must select at least one"),
            )
        ),
    ],
)
def test_a_bad_reset_is_named_and_changes_nothing(
    envs: AtariVectorEnv, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = envs.reset()[1]["frame_number"]
    with pytest.raises(error, match=message):
        envs.reset(**arguments)
    info = envs.step(np.zeros(3, np.int64))[4]
    np.testing.assert_array_equal(info["frame_number"], before + 4)


def test_a_full_reset_comes_first() -> None:
    envs = AtariVectorEnv("pong", num_envs=2)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        envs.step(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match="first reset must be of all environments"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        envs.step(np.zeros(2, np.int64))
    envs.reset(options={"reset_mask": np.ones(2, np.bool_)})
    envs.step(np.zeros(2, np.int64))
    envs.close()


def test_any_use_after_close_is_refused_and_closing_again_is_not() -> None:
    envs = AtariVectorEnv("pong", num_envs=2)
    envs.reset()
    envs.close()
    assert envs.closed
    uses: list[Callable[[], object]] = [envs.reset, lambda: envs.step(np.zeros(2, np.int64))]
    for use in uses:
        with pytest.raises(RuntimeError, match="environment is closed"):
            use()
    envs.close()


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_and_copying_are_refused_with_a_hint(
    envs: AtariVectorEnv, duplicate: Callable[[object], object]
) -> None:
    with pytest.raises(TypeError, match=r"make_vec\(\"rndfast/Breakout-v5\", num_envs=3"):
        duplicate(envs)


def test_use_in_a_forked_child_is_refused_at_once_and_the_parent_goes_on() -> None:
    # ale-py alone hangs here; in a process of its own, since pytest's has other threads
    script = """
import os, signal, sys, warnings
import numpy as np
from rndfast.envs.atari import AtariVectorEnv
warnings.simplefilter("ignore")  # Python 3.12 warns of any fork of a process with threads
envs = AtariVectorEnv("pong", num_envs=2)
envs.reset(seed=0)
child = os.fork()
if child == 0:
    signal.alarm(20)  # were it to hang
    refused = 0
    for use in (envs.reset, lambda: envs.step(np.zeros(2, np.int64))):
        try:
            use()
        except RuntimeError as error:
            refused += f"belongs to process {os.getppid()}" in str(error)
    envs.close()
    sys.exit(40 + refused)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
envs.step(np.zeros(2, np.int64))
envs.close()
print(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "42"
    assert done.stderr == ""  # nor does ale-py greet there
