"""The examples do what they show, with budgets of seconds."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from examples import (
    cleanrl_ppo_rnd,
    go_explore,
    play_agent,
    sb3_ppo,
    torchrl_collect,
    torchrl_ppo_rnd,
)
from examples.cleanrl_ppo_rnd import Batch
from tests.reference import rl
from tests.tiny import tiny_config
from torch import nn

from rndfast import AtariVectorEnv
from rndfast.runs.evaluate import evaluate
from rndfast.runs.train import train

pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = Path(cleanrl_ppo_rnd.__file__).parent
ATARI, CART_POLE = "rndfast/MontezumaRevenge-v5", "CartPole-v1"

# small enough for seconds
SMALL: dict[str, Any] = {"num_envs": 2, "rollout_steps": 16}


def parameters(module: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in module.parameters() if parameter.requires_grad]


def assert_learned(trained: nn.Module, untrained: nn.Module) -> None:
    for now, before in zip(parameters(trained), parameters(untrained), strict=True):
        assert torch.isfinite(now).all()
        assert not torch.equal(now, before)


def assert_three_rollouts_learn(
    main: Callable[..., Any], total_steps: int, env_id: str, *, above_0: tuple[str, str]
) -> None:
    """Of an example that trains an agent with the bonus."""
    settings: dict[str, Any] = SMALL | {"env_id": env_id, "obs_norm_steps": 4}
    untrained, new_bonus, no_log = main(0, **settings)
    assert no_log == []
    assert new_bonus.obs_moments.count.item() == pytest.approx(4 * 2 + 1e-4)
    agent, bonus, log = main(total_steps, **settings)
    assert_learned(agent, untrained)
    assert_learned(bonus, new_bonus)
    assert bonus.obs_moments.count.item() == pytest.approx((4 + 3 * 16) * 2 + 1e-4)
    assert [metrics["steps"] for metrics in log] == [32, 64, 96]
    for metrics in log:
        assert all(math.isfinite(value) for value in metrics.values())
        for name in above_0:
            assert metrics[name] > 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_scripts(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, path, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--total-steps INT" in done.stdout


def test_a_game_whose_rooms_have_no_numbers_is_explored_too(empty_dir: Path) -> None:
    best = go_explore.main("breakout", 4_000, num_envs=16)
    assert (empty_dir / "breakout.mp4").exists()
    assert best.score > 0


# --- Stable-Baselines3 ------------------------------------------------------------------------


def test_sb3_learns(capsys: pytest.CaptureFixture[str]) -> None:
    untrained = sb3_ppo.main(0, **SMALL)
    model = sb3_ppo.main(64, **SMALL)
    assert model.num_timesteps == 64
    assert_learned(model.policy, untrained.policy)
    assert math.isfinite(model.logger.name_to_value["train/loss"])
    assert re.search(r"total_timesteps +\| 64 ", capsys.readouterr().out)


# --- torchrl ----------------------------------------------------------------------------------


def test_torchrl_collects_whole_episodes() -> None:
    batches = torchrl_collect.main(2 * 2 * 200, num_envs=2, rollout_steps=200)
    assert [batch.batch_size for batch in batches] == [torch.Size([2, 200])] * 2
    steps: Any = torch.cat(batches, dim=1)
    ended = steps["next", "done"][..., 0]
    assert ended.any()
    observations, following = steps["observation"], steps["next", "observation"]
    # also where an episode ends, what follows an action is of the same episode ...
    assert torch.equal(following[:, :, :-1], observations[:, :, 1:])
    assert torch.equal(following[:, :-1][~ended[:, :-1]], observations[:, 1:][~ended[:, :-1]])
    # ... and the next one begins afterwards
    first = observations[:, 1:][ended[:, :-1]]
    assert not first[:, :-1].any()
    assert first[:, -1].any()

    rewards, returns = steps["next", "reward_raw"], steps["next", "episode_return"]
    assert returns.any()
    returns_before = torch.where(ended, 0.0, returns)[:, :-1]
    assert torch.equal(returns[:, 1:], returns_before + rewards[:, 1:])


@pytest.mark.parametrize("env_id", ["rndfast/Breakout-v5", "MountainCar-v0"])
def test_torchrl_learns_with_the_bonus(env_id: str) -> None:
    assert_three_rollouts_learn(
        torchrl_ppo_rnd.main, 3 * 2 * 16, env_id, above_0=("loss_predictor", "int_reward")
    )


# --- a trained agent --------------------------------------------------------------------------


def test_an_agent_plays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `rndfast eval` does, whose episode of the same seed has the same rewards."""
    config = tiny_config(tmp_path / "run")
    config = dataclasses.replace(
        config, atari=dataclasses.replace(config.atari, max_num_frames_per_episode=120)
    )
    train(config, view=lambda update: None)
    (episode,) = evaluate(tmp_path / "run", episodes=1, seed=3, record=False)
    capsys.readouterr()
    tyro.cli(play_agent.main, args=[str(tmp_path / "run"), "--seed", "3"])  # as it says itself
    assert capsys.readouterr().out == (
        f"return {episode.ext_return:g} in 30 steps; "
        f"most surprising: step {np.argmax(episode.int_rewards)}\n"
    )


# --- PPO in one file --------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", [ATARI, CART_POLE])
def test_cleanrl_learns(env_id: str) -> None:
    assert_three_rollouts_learn(
        cleanrl_ppo_rnd.main,
        3 * 2 * 16 + 1,  # one step more makes no rollout
        env_id,
        above_0=("losses/predictor", "charts/int_reward"),
    )


def first_batch(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Batch:
    """What the loop's first update learns from."""
    batches: list[Batch] = []

    def learn(*arguments: Any, **_: Any) -> dict[str, float]:
        batches.append(arguments[3])
        return {}

    monkeypatch.setattr(cleanrl_ppo_rnd, "learn", learn)
    cleanrl_ppo_rnd.main(32, obs_norm_steps=4, **SMALL, **settings)
    return batches[0]


@pytest.mark.parametrize("env_id", [ATARI, CART_POLE])
def test_cleanrl_bonus_is_part_of_the_advantages(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, once, twice = (
        first_batch(monkeypatch, env_id=env_id, int_coef=coef) for coef in (0.0, 1.0, 2.0)
    )
    assert torch.equal(plain.observations, twice.observations)
    assert torch.equal(plain.returns, twice.returns)
    of_bonus = once.advantages - plain.advantages
    assert of_bonus.all()
    torch.testing.assert_close(twice.advantages - plain.advantages, 2 * of_bonus)


def test_cleanrl_gae() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(9, 3)), rng.normal(size=(10, 3))
    ended = rng.random((9, 3)) < 0.3
    arrays = (torch.from_numpy(array) for array in (rewards, values, 1.0 - ended))
    got = cleanrl_ppo_rnd.gae(*arrays, gamma=0.9, gae_lambda=0.8)
    expected = rl.gae(rewards, values[:-1], values[-1], ended, gamma=0.9, gae_lambda=0.8)
    np.testing.assert_allclose(got, expected)


# --- Go-Explore -------------------------------------------------------------------------------


def test_go_explore_plays_its_best_way_again(
    empty_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = go_explore.main(total_steps=40_000, num_envs=16)
    assert (empty_dir / "montezuma_revenge.mp4").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert f"played again: {best.score:g}, see" in printed
    # the way leads to the state that the archive has, though many explorations made it
    assert best.before is not None
    actions = best.all_actions()
    assert len(actions) == best.length_steps > go_explore.STEPS
    envs = AtariVectorEnv("montezuma_revenge", 1, **go_explore.SETTINGS)
    envs.reset(seed=0)
    for action in actions:
        observation = envs.step(np.array([action]))[0]
    (state,) = envs.get_states(np.array([0]))
    assert state == zlib.decompress(best.state)
    assert observation.shape == (1, 1, 8, 11)
    envs.close()
