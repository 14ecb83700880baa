"""The environments in other libraries: the same data as their own, and their algorithms learn."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

import rndfast
from rndfast.integrations.sb3 import SB3VecEnv

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[Any]
NUM_ENVS = 3

TORCHRL = """
import gymnasium, rndfast, torch
from torchrl.envs import GymWrapper
from torchrl.envs.utils import check_env_specs

env = GymWrapper(gymnasium.make_vec("rndfast/Pong-v5", num_envs=2, autoreset_mode="SameStep"))
check_env_specs(env)
steps = env.rollout(3, break_when_any_done=False)
assert steps.batch_size == torch.Size([2, 3]), steps.batch_size
assert steps["observation"].shape == (2, 3, 4, 84, 84)
assert steps["next", "reward_raw"].shape[:2] == (2, 3)
"""


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


def test_torchrl_wraps_the_vector_environment() -> None:
    # in a process of its own: torchrl warns and logs at import
    done = run_python(TORCHRL)
    assert done.returncode == 0, done.stderr


# --- Stable-Baselines3 ------------------------------------------------------------------------


HIDE = """
import sys

class Hidden:
    def find_spec(self, name, *_):
        if name == "{library}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
import rndfast
"""


def make_env(game: str = "breakout", num_envs: int = NUM_ENVS, **settings: Any) -> SB3VecEnv:
    return SB3VecEnv(rndfast.AtariVectorEnv(game, num_envs, autoreset_mode="SameStep", **settings))


def make_reference(game: str, **settings: Any) -> DummyVecEnv:
    """SB3's own vector environment, of Gymnasium's single ones in SB3's own monitor."""
    env_id = f"rndfast/{game.title()}-v5"
    return DummyVecEnv([lambda: Monitor(gymnasium.make(env_id, **settings))] * NUM_ENVS)


def channels_first(observations: Array) -> Array:
    """Stacks ``(..., S, H, W, 3)`` to ``(..., S * 3, H, W)``, frame after frame."""
    frames = [observations[..., s, :, :, :] for s in range(observations.shape[-4])]
    return np.concatenate([np.moveaxis(frame, -1, -3) for frame in frames], axis=-3)


def assert_same_info(ours: dict[str, Any], expected: dict[str, Any], *, is_rgb: bool) -> None:
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        if key == "episode":
            assert ours[key].keys() == value.keys()
            assert (ours[key]["r"], ours[key]["l"]) == (value["r"], value["l"])
            assert ours[key]["t"] > 0
        else:
            assert type(ours[key]) is type(value)
            want = channels_first(value) if is_rgb and key == "terminal_observation" else value
            np.testing.assert_array_equal(ours[key], want, err_msg=key)


@pytest.mark.parametrize(
    ("settings", "ends_by"),
    [
        ({"max_num_frames_per_episode": 700}, {"terminated", "truncated"}),
        ({"episodic_life": True, "stack_num": 2}, {"terminated"}),
        ({"max_num_frames_per_episode": 200, "grayscale": False}, {"truncated"}),
    ],
    ids=["grey", "lives", "colour"],
)
def test_sb3_gets_what_its_own_vector_environment_gives(
    settings: dict[str, Any], ends_by: set[str]
) -> None:
    settings |= {"img_height": 44, "img_width": 36, "reward_clipping": False}
    ours, reference = make_env(**settings), make_reference("breakout", **settings)
    is_rgb = not settings.get("grayscale", True)

    def as_ours(observations: Any) -> Array:
        return channels_first(observations) if is_rgb else np.asarray(observations)

    rng = np.random.default_rng(0)
    assert ours.seed(7) == reference.seed(7)
    np.testing.assert_array_equal(ours.reset(), as_ours(reference.reset()))
    assert ours.action_space == reference.action_space
    seen = set()
    for _ in range(400):
        actions = rng.integers(4, size=NUM_ENVS)
        observations, rewards, dones, infos = ours.step(actions)
        assert all(ours.observation_space.contains(row) for row in observations)
        want_observations, want_rewards, want_dones, want_infos = reference.step(actions)
        np.testing.assert_array_equal(observations, as_ours(want_observations))
        np.testing.assert_array_equal(rewards, want_rewards)
        np.testing.assert_array_equal(dones, want_dones)
        assert (rewards.dtype, dones.dtype) == (want_rewards.dtype, want_dones.dtype)
        for info, want_info in zip(infos, want_infos, strict=True):
            assert_same_info(info, want_info, is_rgb=is_rgb)
        for info, want_info in zip(ours.reset_infos, reference.reset_infos, strict=True):
            assert_same_info(info, want_info, is_rgb=is_rgb)
        for info in (infos[env] for env in np.flatnonzero(dones)):
            seen.add("truncated" if info["TimeLimit.truncated"] else "terminated")
    assert seen == ends_by
    ours.close()
    reference.close()


def test_sb3_episodes_have_the_unclipped_return() -> None:
    env = make_env("alien", max_num_frames_per_episode=400)  # a dot is worth 10 points
    env.seed(0)
    env.reset()
    clipped = np.zeros(NUM_ENVS)
    rng = np.random.default_rng(0)
    for _ in range(100):
        _, rewards, dones, infos = env.step(rng.integers(env.envs.num_actions, size=NUM_ENVS))
        clipped += rewards
    assert dones.all()
    assert clipped.all()
    assert [info["episode"]["r"] for info in infos] == (10 * clipped).tolist()


def test_sb3_learns_and_logs_episodes() -> None:
    env = make_env("alien", num_envs=4, img_height=36, img_width=36, max_num_frames_per_episode=100)
    model = PPO(
        "CnnPolicy",
        env,
        n_steps=32,
        batch_size=64,
        n_epochs=2,
        policy_kwargs={"features_extractor_kwargs": {"features_dim": 16}},
        seed=1,
    )
    assert model.env is env  # no wrapper is needed, to reorder axes or to monitor
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(3 * 32 * 4)
    assert model.num_timesteps == 384
    assert model._n_updates == 3 * 2
    for parameter, old in zip(model.policy.parameters(), before, strict=True):
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, old)
    assert model.ep_info_buffer is not None
    assert [episode["l"] for episode in model.ep_info_buffer] == [25] * (4 * (96 // 25))

    # SB3 warns, and the test fails, if it finds no monitor
    evaluated = evaluate_policy(model, env, n_eval_episodes=4, return_episode_rewards=True)
    assert evaluated[1] == [25] * 4
    env.close()


def test_sb3_wrappers_wrap_it() -> None:
    env = make_env(max_num_frames_per_episode=40)
    normalized = VecNormalize(env, norm_obs=False)
    normalized.reset()
    for _ in range(10):
        _, _, dones, infos = normalized.step(np.zeros(NUM_ENVS, np.int64))
    assert dones.all()
    assert infos[0]["TimeLimit.truncated"]
    with pytest.warns(UserWarning, match="already wrapped"):
        VecMonitor(env)


def test_sb3_seeds() -> None:
    env = make_env(noop_max=30)
    assert env.seed(5) == [5, 6, 7]
    first = env.reset()
    second = env.reset()
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), first)
    assert not np.array_equal(first, second)  # seeds are used once
    np.testing.assert_array_equal(env.reset(), second)
    random_seeds = env.seed()
    assert random_seeds != env.seed()
    env.reset()
    env.seed(2**32 - 1)  # the largest that SB3 draws
    env.reset()
    env.seed(-1)
    with pytest.raises(ValueError, match="seed of env 0 must be at least 0, got -1"):
        env.reset()


def test_sb3_attributes_and_methods_of_single_environments() -> None:
    env = make_env("pong", render_mode="rgb_array")
    env.reset()
    assert env.get_attr("game") == ["pong"] * NUM_ENVS
    assert env.get_attr("action_space", [0, 1]) == [env.action_space] * 2
    assert env.has_attr("game")
    assert not env.has_attr("tag")
    env.set_attr("tag", 0)
    env.set_attr("tag", None, [2])
    assert env.get_attr("tag") == [0, 0, None]
    assert env.get_attr("tag", 2) == [None]
    with pytest.raises(AttributeError, match="num_envs is fixed"):
        env.set_attr("num_envs", 5)
    assert env.env_is_wrapped(Monitor) == [True] * NUM_ENVS
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit, 0) == [False]

    pictures = env.env_method("render", indices=[2, 0])
    shown = env.envs.render()
    np.testing.assert_array_equal(pictures, [shown[2], shown[0]])
    tiled = env.render()
    assert tiled is not None
    assert tiled.shape == (420, 320, 3)  # two by two, the last one black
    np.testing.assert_array_equal(tiled[210:, :160], shown[2])
    assert env.metadata == {"render_modes": ["human", "rgb_array"], "render_fps": 15.0}
    meanings = env.env_method("get_action_meanings", indices=1)
    assert meanings == [["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]]
    with pytest.raises(AttributeError, match="'render' and 'get_action_meanings', got 'reset'"):
        env.env_method("reset")
    env.set_options({})
    with pytest.raises(ValueError, match=r"no options of reset, got \{'x': 1\}"):
        env.set_options({"x": 1})

    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.reset()


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_sb3_takes_actions_in_every_form_that_dummy_vec_env_takes(kind: Any) -> None:
    def shown(actions: Any) -> Array:
        env = make_env("breakout")
        env.seed(0)
        env.reset()
        observations = env.step(actions)[0]
        env.close()
        return np.asarray(observations)

    np.testing.assert_array_equal(shown(kind([1, 2, 3])), shown(np.array([1, 2, 3])))
    with pytest.raises(TypeError, match="integer"):
        shown(kind([1.0, 2.0, 3.0]))


def test_sb3_learns_on_after_ctrl_c_in_a_step() -> None:
    """Between `step_async` and the end of `step_wait`, where the results of the step are lost."""
    env = make_env("breakout")
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=12, policy_kwargs={"net_arch": [4]})
    recv, num_steps = env.envs.recv, 0

    def interrupted_once() -> Any:
        nonlocal num_steps
        num_steps += 1
        if num_steps == 6:
            raise KeyboardInterrupt
        return recv()

    env.envs.recv = interrupted_once  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        model.learn(1_000)
    model.learn(36, reset_num_timesteps=False)
    assert num_steps > 6
    env.close()


def test_sb3_takes_only_atari_environments_with_same_step_autoreset() -> None:
    with pytest.raises(ValueError, match="autoreset_mode='SameStep', got 'NextStep'"):
        SB3VecEnv(rndfast.AtariVectorEnv("pong"))
    with pytest.raises(TypeError, match="must be an AtariVectorEnv, got AtariEnv"):
        SB3VecEnv(gymnasium.make("rndfast/Pong-v5").unwrapped)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "library", "package"),
    [("sb3", "stable_baselines3", "stable-baselines3"), ("torchrl", "torchrl", "torchrl")],
)
def test_without_the_library_the_error_says_what_to_install(
    module: str, library: str, package: str
) -> None:
    script = HIDE.format(library=library)
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    done = run_python(f"{script}import rndfast.integrations.{module}")
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line == (
        f"ImportError: {package} is not installed: pip install 'rndfast[integrations]'"
    )
