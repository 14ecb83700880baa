"""PPORND in Stable-Baselines3's own loop: its rewards and advantages, and all that PPO can do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticPolicy
from tests.reference import rl

from rndfast import AtariVectorEnv, RNDBonus
from rndfast.integrations.sb3 import PPORND, SB3VecEnv

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[Any]
SMALL: dict[str, Any] = {
    "n_steps": 24,
    "batch_size": 24,
    "n_epochs": 2,
    "obs_norm_steps": 10,
    "gamma": 0.95,
    "int_gamma": 0.9,
    "ext_coef": 2.0,
    "int_coef": 0.5,
    "seed": 0,
    "device": "cpu",
}


def cart_poles(num_envs: int = 3) -> Any:
    """Poles that fall within a rollout, and are cut off after 15 steps."""

    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.make("CartPole-v1", max_episode_steps=15)

    return make_vec_env(make, n_envs=num_envs, seed=0)


class Watch(BaseCallback):
    """Keeps what PPO was given, and the rollout as it was when it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[Array] = []
        self.dones: list[Array] = []
        self.rollouts: list[dict[str, Array]] = []

    def _on_step(self) -> bool:
        self.observations.append(self.locals["new_obs"].copy())
        self.dones.append(self.locals["dones"].copy())
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        names = ("rewards", "values", "int_values")
        self.rollouts.append({name: getattr(buffer, name).copy() for name in names})


def test_rewards_and_advantages_are_those_of_the_bonus_and_of_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = PPORND("MlpPolicy", cart_poles(), **SMALL)
    given: list[tuple[Array, Array, dict[str, Array]]] = []
    bonuses: list[RNDBonus] = []
    buffer = model.rollout_buffer
    finish = buffer.finish

    def watched_finish(int_rewards: Array, last_values: Array) -> None:
        finish(int_rewards, last_values)
        names = ("advantages", "returns", "values", "rewards")
        arrays = {name: getattr(buffer, name).copy() for name in names}
        given.append((int_rewards, last_values, arrays))

    monkeypatch.setattr(buffer, "finish", watched_finish)
    collect = model.collect_rollouts

    def watched_collect(*arguments: Any, **settings: Any) -> bool:
        bonuses.append(copy.deepcopy(model.bonus))
        return collect(*arguments, **settings)

    monkeypatch.setattr(model, "collect_rollouts", watched_collect)
    watch = Watch()
    model.learn(3 * 24 * 3, callback=watch)
    assert len(given) == 3
    observations = np.array(watch.observations).reshape(3, 24, 3, 4)
    dones = np.array(watch.dones).reshape(3, 24, 3)
    assert dones.any()
    for rollout, (int_rewards, last_values, arrays) in enumerate(given):
        # a bonus of its own, in the state of before, pays the same for what PPO was given
        expected = bonuses[rollout].update(torch.from_numpy(observations[rollout]))
        np.testing.assert_allclose(int_rewards, expected, rtol=1e-5)
        assert (int_rewards > 0).all()
        ext, int_ = (
            rl.gae(
                rewards,
                arrays["values"][..., head],
                last_values[:, head],
                terminated=ended,
                gamma=gamma,
                gae_lambda=0.95,
            )
            for head, (rewards, ended, gamma) in enumerate(
                ((arrays["rewards"], dones[rollout], 0.95), (int_rewards, None, 0.9))
            )
        )
        np.testing.assert_allclose(arrays["advantages"], 2 * ext + 0.5 * int_, rtol=1e-4, atol=1e-5)
        returns = np.stack((ext, int_), axis=2) + arrays["values"]
        np.testing.assert_allclose(arrays["returns"], returns, rtol=1e-4, atol=1e-5)


def test_the_value_loss_is_the_mean_over_both_heads() -> None:
    model = PPORND("MlpPolicy", cart_poles(), **SMALL | {"n_epochs": 1, "batch_size": 72})
    before: list[dict[str, torch.Tensor]] = []
    train = model.train

    def watched_train() -> None:
        before.append(copy.deepcopy(model.policy.state_dict()))
        train()

    model.train = watched_train  # type: ignore[method-assign]
    model.learn(72)
    buffer = model.rollout_buffer  # flat by now, in another order of rows
    now = copy.deepcopy(model.policy.state_dict())
    model.policy.load_state_dict(before[0])
    with torch.no_grad():
        values = model.policy.predict_both_values(torch.as_tensor(buffer.observations)).numpy()
    expected = ((values - buffer.returns) ** 2).mean()
    assert model.logger.name_to_value["train/value_loss"] == pytest.approx(expected, rel=1e-4)
    weight = "value_net.weight"
    assert (now[weight] != before[0][weight]).any(dim=1).all()  # of either head


@pytest.mark.parametrize("in_colour", [False, True])
def test_it_learns_from_images_of_which_the_bonus_sees_the_newest(in_colour: bool) -> None:
    settings: dict[str, Any] = {"stack_num": 2, "grayscale": not in_colour, "num_threads": 1}
    envs = AtariVectorEnv("breakout", 2, autoreset_mode="SameStep", **settings)
    channels = 3 if in_colour else 1
    model = PPORND(
        "CnnPolicy", SB3VecEnv(envs), **SMALL | {"frame_channels": channels, "n_epochs": 1}
    )
    watch = Watch()
    model.learn(48, callback=watch)
    assert model.bonus.observation_shape == (channels, 84, 84)
    seen = model._next_obs
    assert seen.shape == (24, 2, channels, 84, 84)
    np.testing.assert_array_equal(seen, np.array(watch.observations)[:, :, -channels:])
    assert model.num_timesteps == 48
    envs.close()


def test_it_takes_boxes_of_actions() -> None:
    model = PPORND("MlpPolicy", make_vec_env("Pendulum-v1", n_envs=2), **SMALL)
    model.learn(48)
    assert np.isfinite(model.logger.name_to_value["train/loss"])


def test_saved_and_loaded_it_goes_on(tmp_path: Path) -> None:
    model = PPORND("MlpPolicy", cart_poles(), **SMALL)
    model.learn(72)
    model.save(tmp_path / "model")
    loaded = PPORND.load(tmp_path / "model", env=cart_poles())
    for name in ("policy", "bonus", "bonus_optimizer"):
        one, other = (getattr(m, name).state_dict() for m in (model, loaded))
        assert str(one) == str(other)
    assert loaded.int_gamma == 0.9
    before = copy.deepcopy(loaded.bonus.obs_moments.count)
    loaded.learn(72, reset_num_timesteps=False)
    assert loaded.num_timesteps == 144
    # the statistics went on with the rollout, and no random agent played again
    assert float(loaded.bonus.obs_moments.count - before) == 72
    mean, _ = evaluate_policy(loaded, cart_poles(1), n_eval_episodes=2)
    assert isinstance(mean, float)
    assert 1 <= mean <= 15


def test_a_callback_ends_training() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 5

    model = PPORND("MlpPolicy", cart_poles(), **SMALL)
    model.learn(1000, callback=Stop())
    assert model.num_timesteps == 5 * 3


def test_what_it_cannot_learn_from_is_refused() -> None:
    with pytest.raises(TypeError, match="policy must be a subclass of TwoValuePolicy, got Actor"):
        PPORND(ActorCriticPolicy, cart_poles(), **SMALL)
    with pytest.raises(ValueError, match="observations must be vectors or images of uint8, got Di"):
        PPORND("MlpPolicy", make_vec_env("FrozenLake-v1", n_envs=2), **SMALL)
