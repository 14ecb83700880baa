"""The environments in Tianshou's collectors: the same data as from its own vector environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.integrations.test_sb3 import HIDE, run_python

import rndfast

with pytest.MonkeyPatch.context() as patch:
    patch.setenv("NUMBA_DISABLE_JIT", "1")  # to compile Tianshou's loops takes 20 seconds
    pytest.importorskip("tianshou")
    from tianshou.algorithm.algorithm_base import Policy
    from tianshou.data import Batch, Collector, CollectStats, VectorReplayBuffer
    from tianshou.env import BaseVectorEnv, DummyVectorEnv

    from rndfast.integrations.tianshou import TianshouVectorEnv

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_ENVS = 3
SETTINGS: dict[str, Any] = {"img_height": 44, "img_width": 36, "reward_clipping": False}


class BrightnessPolicy(Policy):
    """Acts by the picture alone, so that another picture would lead to another episode."""

    def forward(self, batch: Any, state: Any = None, **kwargs: Any) -> Batch:
        brightness = batch.obs.reshape(len(batch.obs), -1).sum(1, dtype=np.int64)
        assert isinstance(self.action_space, gymnasium.spaces.Discrete)
        return Batch(act=brightness % self.action_space.n)


def make_env(game: str = "breakout", **settings: Any) -> TianshouVectorEnv:
    envs = rndfast.AtariVectorEnv(game, NUM_ENVS, autoreset_mode="Disabled", **settings)
    return TianshouVectorEnv(envs)


def make_reference(**settings: Any) -> DummyVectorEnv:
    return DummyVectorEnv([lambda: gymnasium.make("rndfast/Breakout-v5", **settings)] * NUM_ENVS)


def collect(envs: BaseVectorEnv, *, random: bool) -> tuple[Any, VectorReplayBuffer]:
    policy = BrightnessPolicy(
        action_space=envs.action_space[0], observation_space=envs.observation_space[0]
    )
    buffer = VectorReplayBuffer(3_000, NUM_ENVS)
    collector: Collector[CollectStats] = Collector(policy, envs, buffer)
    assert envs.seed(7) == [[7], [8], [9]]
    collector.reset()
    collector.collect(n_step=20 * NUM_ENVS, random=random)
    stats = collector.collect(n_episode=7, random=random, reset_before_collect=True)
    collector.close()
    return stats, buffer


def arrays(batch: Any, prefix: str = "") -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for key, value in batch.items():
        nested = isinstance(value, Batch)
        found |= arrays(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


@pytest.mark.parametrize("random", [True, False], ids=["random", "policy"])
@pytest.mark.parametrize(
    "settings",
    [
        {"max_num_frames_per_episode": 300},
        {"episodic_life": True, "stack_num": 2},
        {"max_num_frames_per_episode": 100, "grayscale": False},
    ],
    ids=["grey", "lives", "colour"],
)
def test_a_collector_gets_what_tianshous_own_vector_environment_gives(
    settings: dict[str, Any], random: bool
) -> None:
    settings = SETTINGS | settings
    stats, buffer = collect(make_env(**settings), random=random)
    want_stats, want_buffer = collect(make_reference(**settings), random=random)
    assert len(stats.lens) == 7
    np.testing.assert_array_equal(stats.lens, want_stats.lens)
    np.testing.assert_array_equal(stats.returns, want_stats.returns)
    everything = buffer.sample_indices(0)
    got, want = (arrays(b[everything]) for b in (buffer, want_buffer))
    assert got.keys() == want.keys()
    assert {"obs", "obs_next", "act", "rew", "terminated", "truncated", "info.ram"} <= got.keys()
    assert got["done"].any()
    assert len({*got["act"].tolist()}) > 1
    for key, values in want.items():
        np.testing.assert_array_equal(got[key], values, err_msg=key)


def test_single_environments_are_reset_and_stepped_by_their_ids() -> None:
    ours, reference = make_env(**SETTINGS), make_reference(**SETTINGS)
    for env in (ours, reference):
        env.seed(5)
        env.reset()

    def assert_same(name: str, *arguments: Any) -> None:
        results = getattr(ours, name)(*arguments)
        for ours_now, expected in zip(results, getattr(reference, name)(*arguments), strict=True):
            if expected.dtype != object:
                assert ours_now.dtype.kind == expected.dtype.kind  # Gymnasium's reward is a float
                np.testing.assert_array_equal(ours_now, expected)
                continue
            for info, want in zip(ours_now, expected, strict=True):
                assert info.keys() == want.keys()
                for key, value in want.items():
                    np.testing.assert_array_equal(info[key], value, err_msg=key)

    assert_same("step", np.array([1, 2, 3]))
    assert_same("reset", [2, 0])
    assert_same("step", np.array([3, 1]), [2, 1])
    assert_same("step", torch.tensor([1]), 0)
    assert_same("reset", 1)
    assert_same("reset")
    ours.close()
    reference.close()


def test_a_vector_environment_has_tianshous_attributes() -> None:
    env = make_env("pong", render_mode="rgb_array")
    assert isinstance(env, BaseVectorEnv)
    assert len(env) == env.env_num == NUM_ENVS
    assert not env.is_async
    single = gymnasium.make("rndfast/Pong-v5")
    assert env.action_space == [single.action_space] * NUM_ENVS
    assert env.observation_space == [single.observation_space] * NUM_ENVS
    assert env.get_env_attr("game", [0, 2]) == ["pong"] * 2
    with pytest.raises(AttributeError, match="game is fixed"):
        env.set_env_attr("game", "breakout")
    first, _ = env.reset(seed=3)
    np.testing.assert_array_equal(env.reset(seed=3)[0], first)
    assert not np.array_equal(env.reset()[0], first)
    assert env.seed() == [[None]] * NUM_ENVS
    np.testing.assert_array_equal(env.render(), env.envs.render())
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.reset()


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="autoreset_mode='Disabled', got 'NextStep'"):
        TianshouVectorEnv(rndfast.AtariVectorEnv("pong"))
    with pytest.raises(TypeError, match="must be an AtariVectorEnv, got AtariEnv"):
        TianshouVectorEnv(gymnasium.make("rndfast/Pong-v5").unwrapped)  # type: ignore[arg-type]
    env = make_env(max_num_frames_per_episode=4)
    env.reset()
    with pytest.raises(ValueError, match="actions"):
        env.step(np.array([0, 1]))
    with pytest.raises(TypeError, match="integer"):
        env.step(np.array([0.0, 1.0, 1.0]))
    with pytest.raises(IndexError):
        env.reset([NUM_ENVS])
    env.step(np.zeros(NUM_ENVS, np.int64))
    with pytest.raises(RuntimeError, match="ended"):  # Tianshou resets, not the environments
        env.step(np.zeros(NUM_ENVS, np.int64))
    env.close()


def test_without_tianshou_the_error_says_what_to_install() -> None:
    hide = HIDE.format(library="tianshou")
    done = run_python(hide + "import rndfast.integrations.tianshou")
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line == "ImportError: tianshou is not installed: pip install tianshou"
