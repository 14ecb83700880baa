"""Intrinsic rewards, their scale and the pixel statistics, against NumPy, alone and in training."""

from __future__ import annotations

import dataclasses
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference import learner, rl
from tests.reference.frames import normalized
from tests.reference.learner import (
    Learner,
    ToyEnv,
    images,
    layers_of,
    newest,
    record_inputs,
    rnd_of,
    small_config,
    small_learner,
)
from torch import nn

from rndfast.config import Config
from rndfast.learner.backend import Backend
from rndfast.learner.make import make_learner
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rnd import Rnd
from rndfast.learner.rollout import Rollout, collect, initialize_obs_moments

Array = NDArray[Any]
STEPS = 6
TERMINATED = ((0, 0), (2, 1), (5, 3), (7, 2))
TRUNCATED = ((3, 2), (8, 0))
PRIOR_COUNT = 1e-4


def ending_env(**settings: Any) -> ToyEnv:
    return ToyEnv(4, TERMINATED, TRUNCATED, **settings)


class Zeros(nn.Module):
    """A target whose features are all 0: the error is then the predictor's output itself."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(frames.flatten(1))


class Recorder:
    """Running moments that keep every batch they are given."""

    def __init__(self, moments: Any, batches: list[Array]) -> None:
        self._moments = moments
        self._batches = batches

    def update(self, batch: Array) -> None:
        self._batches.append(batch.copy())
        self._moments.update(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._moments, name)


def statistics_of(frames: list[Array]) -> tuple[Array, Array]:
    """Mean and variance of ``(..., C, H, W)`` frames, with the authors' prior."""
    samples = np.concatenate([batch.reshape(-1, *batch.shape[-3:]) for batch in frames])
    num_samples, mean, m2 = rl.moments(samples, PRIOR_COUNT)
    return mean, m2 / num_samples


def seen_frames(seed: int = 1) -> Array:
    """Frames for the statistics; half of the pixels hardly change, so that clipping is needed."""
    frames = np.random.default_rng(seed).integers(0, 256, (5, 4, 1, 44, 52), np.uint8)
    frames[..., ::2, :] = 100 + frames[..., ::2, :] // 86  # 100, 101 or 102
    return frames


def prepare(parts: Learner) -> tuple[Array, Array]:
    """Start the statistics, collect a rollout; returns the statistics."""
    frames = seen_frames()
    parts.agent.obs_moments.update(frames)
    collect(parts.env, parts.rollout, parts.backend)
    return statistics_of([frames])


# --- intrinsic reward -------------------------------------------------------------------------


def test_reward_is_the_mean_squared_error_on_the_whitened_clipped_next_frame() -> None:
    with small_learner(ending_env()) as parts:
        mean, var = prepare(parts)
        rnd_of(parts.agent).register_module("target", Zeros())
        rnd_of(parts.agent).register_module("predictor", nn.Flatten())
        rewards = parts.backend.intrinsic_rewards()
        inputs = normalized(newest(parts.env.observations[1:]), mean, var, 5.0)
        assert (np.abs(inputs) == 5).any()
        assert rewards.dtype == np.float32
        np.testing.assert_allclose(rewards, (inputs**2).mean(axis=(2, 3, 4)), rtol=1e-5)


@pytest.mark.parametrize("micro_batch_size", [1, 7, 128])
def test_reward_is_the_error_between_predictor_and_target(micro_batch_size: int) -> None:
    with small_learner(ending_env(), micro_batch_size=micro_batch_size) as parts:
        mean, var = prepare(parts)
        rewards = parts.backend.intrinsic_rewards()
        inputs = normalized(newest(parts.env.observations[1:]), mean, var, 5.0)
        frames = inputs.reshape(-1, 1, 44, 52)
        errors = learner.feature_outputs(
            layers_of(rnd_of(parts.agent).predictor), frames
        ) - learner.feature_outputs(layers_of(rnd_of(parts.agent).target), frames)
        expected = (errors**2).mean(axis=1).reshape(STEPS, 4)
        np.testing.assert_allclose(rewards, expected, rtol=1e-4)


def test_the_reward_of_a_last_step_scores_the_reset_frame() -> None:
    with small_learner(ending_env()) as parts:
        mean, var = prepare(parts)
        rnd_of(parts.agent).register_module("target", Zeros())
        rnd_of(parts.agent).register_module("predictor", nn.Flatten())
        rewards = parts.backend.intrinsic_rewards()
        for (t, n), last in parts.env.final_observations.items():
            reset_frame = normalized(newest(parts.env.observations[t + 1, n]), mean, var, 5.0)
            last_frame = normalized(newest(last), mean, var, 5.0)
            assert rewards[t, n] == pytest.approx((reset_frame**2).mean(), rel=1e-5)
            assert rewards[t, n] != pytest.approx((last_frame**2).mean(), rel=1e-5)
        assert len(parts.env.final_observations) == 4


@pytest.mark.parametrize("clip", [0.5, math.inf])
def test_the_clip_of_pixels_is_a_setting(clip: float) -> None:
    with small_learner(ending_env(), obs_clip=clip) as parts:
        mean, var = prepare(parts)
        inputs = record_inputs(rnd_of(parts.agent).target)
        parts.backend.intrinsic_rewards()
        frames = newest(parts.env.observations[1:]).reshape(-1, 1, 44, 52)
        expected = normalized(frames, mean, var, clip)
        np.testing.assert_allclose(np.concatenate(inputs), expected, rtol=1e-6, atol=1e-6)
        assert clip == 0.5 or np.abs(expected).max() > 100


def test_the_predictor_is_trained_on_the_next_frames() -> None:
    env = ending_env()
    settings: dict[str, Any] = {
        "predictor_proportion": 1.0,
        "num_minibatches": 1,
        "update_epochs": 1,
    }
    with small_learner(env, **settings) as parts:
        mean, var = prepare(parts)
        trained_on = record_inputs(rnd_of(parts.agent).predictor)
        aimed_at = record_inputs(rnd_of(parts.agent).target)
        zeros = np.zeros((STEPS, 4), np.float32)
        advantages = compute_advantages(parts.rollout, zeros, zeros, parts.config.ppo)
        update(parts.rollout, parts.backend, advantages, parts.config)
        frames = newest(env.observations[1:]).reshape(-1, 1, 44, 52)
        expected = normalized(frames, mean, var, 5.0)
        np.testing.assert_allclose(np.concatenate(trained_on), expected, rtol=1e-6)
        np.testing.assert_allclose(np.concatenate(aimed_at), expected, rtol=1e-6)


# --- pixel statistics -------------------------------------------------------------------------


@pytest.mark.parametrize("is_rgb", [False, True])
def test_statistics_have_one_float64_entry_for_each_pixel(is_rgb: bool) -> None:
    shape = (3 if is_rgb else 1, 44, 52)
    env = ending_env(is_rgb=is_rgb)
    with small_learner(env, obs_norm_steps=4) as (config, _, agent, _, backend):
        initialize_obs_moments(agent, env, config, backend.ranks)
        for values in (agent.obs_moments.mean, agent.obs_moments.var):
            assert values.shape == shape
            assert values.dtype == np.float64
        frames = env.observations[:-1, :, -1]  # (T, N, H, W) or (T, N, H, W, 3)
        frames = np.moveaxis(frames, -1, 2) if is_rgb else frames[:, :, None]
        mean, var = statistics_of([frames])
        np.testing.assert_allclose(agent.obs_moments.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(agent.obs_moments.var, var, rtol=1e-12)


def test_a_random_agent_starts_them_and_merges_once_per_rollout_length() -> None:
    with small_learner(ending_env(), obs_norm_steps=14) as (config, env, agent, _, backend):
        batches: list[Array] = []
        agent.obs_moments = Recorder(agent.obs_moments, batches)  # type: ignore[assignment]
        initialize_obs_moments(agent, env, config, backend.ranks)
        assert [len(batch) for batch in batches] == [6, 6, 2]
        assert len(env.actions_of[-1]) == 14
        frames = newest(env.observations[:-1])  # from the reset's on
        np.testing.assert_array_equal(np.concatenate(batches), frames)
        mean, var = statistics_of([frames])
        np.testing.assert_allclose(agent.obs_moments.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(agent.obs_moments.var, var, rtol=1e-12)
        assert agent.obs_moments.count == pytest.approx(14 * 4 + PRIOR_COUNT)


def test_the_random_agent_plays_all_actions_equally_and_by_its_seed() -> None:
    def actions(seed: int) -> Array:
        settings = {"seed": seed, "obs_norm_steps": 15}
        with small_learner(ToyEnv(16), **settings) as (config, env, agent, _, backend):
            initialize_obs_moments(agent, env, config, backend.ranks)
            return np.stack(env.actions_of[-1])

    first = actions(1)
    counts = np.bincount(first.ravel(), minlength=5)  # of 240 draws
    assert ((counts - 48) ** 2 / 48).sum() < 23.5  # exceeded once in 10,000
    assert len(np.unique(first[0])) > 1  # each environment has its own
    np.testing.assert_array_equal(first, actions(1))
    assert not np.array_equal(first, actions(2))


# --- scale of the reward ----------------------------------------------------------------------


def scale(parts: Learner, rewards: Array) -> Array:
    bonus = parts.agent.bonus
    assert bonus is not None
    return bonus.scale(rewards, parts.rollout.int_return_filter, parts.backend.ranks)


@pytest.mark.parametrize("direction", ["forward", "backward"])
# with gamma 0, returns near 1000 that hardly differ: a float32 variance is far off
@pytest.mark.parametrize(("gamma", "offset"), [(0.99, 0.0), (0.0, 1000.0)])
def test_rewards_are_divided_by_the_running_std_of_their_discounted_returns(
    direction: str, gamma: float, offset: float
) -> None:
    rng = np.random.default_rng(2)
    rollouts = [
        (offset + size * rng.random((STEPS, 4))).astype(np.float32) for size in (1.0, 5.0, 0.2, 1.0)
    ]
    with small_learner(int_return_direction=direction, int_gamma=gamma) as parts:
        scaled = [scale(parts, rewards) for rewards in rollouts]
    expected = learner.scaled_intrinsic_rewards(rollouts, gamma, direction)
    for actual, want in zip(scaled, expected, strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, want, rtol=2e-7)


def test_the_first_rollout_counts_in_its_own_scale() -> None:
    # returns 1 and 3 over time, for both environments: variance 1, if only for the prior's share
    rewards = np.array([[1, 1], [3 - 0.99, 3 - 0.99]], np.float32)
    with small_learner(ToyEnv(2), rollout_steps=2) as parts:
        scaled = scale(parts, rewards)
    np.testing.assert_allclose(scaled, rewards, rtol=1e-4)


def test_the_scale_follows_time_and_not_the_environments() -> None:
    rewards = np.zeros((STEPS, 4), np.float32)
    rewards[:, 0] = 1  # one environment that is paid at every step
    with small_learner() as parts:
        scale(parts, rewards)
        np.testing.assert_allclose(
            parts.rollout.int_return_filter.carry, [(1 - 0.99**6) / (1 - 0.99), 0, 0, 0]
        )
        seen = np.zeros((STEPS, 4))
        seen[:, 0] = (1 - 0.99 ** np.arange(1, 7)) / (1 - 0.99)
        assert parts.agent.bonus is not None
        assert float(parts.agent.bonus.return_moments.var) == pytest.approx(seen.var(), rel=1e-4)


def test_the_scaled_reward_is_clipped_only_on_request() -> None:
    rewards = np.random.default_rng(0).random((STEPS, 4)).astype(np.float32)

    def scaled(clip: float | None) -> Array:
        with small_learner(int_reward_clip=clip) as parts:
            return scale(parts, rewards)

    free = scaled(None)
    clip = float(np.median(free))
    np.testing.assert_array_equal(scaled(clip), np.minimum(free, np.float32(clip)))


# --- a recorded training ----------------------------------------------------------------------


@dataclasses.dataclass
class Training:
    """All that happened in a training of two rollouts, in order."""

    config: Config
    env: ToyEnv
    policy_inputs: list[Array]
    # what the predictor read ("bonus" without gradients, "training" with) and "statistics" batches
    events: list[tuple[str, Array]]
    scaled_rewards: list[Array]
    advantages: list[tuple[Array, Array]]  # that the update was given, and as they should be


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Train for two rollouts, with every environment reset, batch and network input recorded."""
    module = importlib.import_module("rndfast.runs.train")
    run_dir: Path = tmp_path_factory.mktemp("runs") / "rnd"
    config = small_config(
        run_dir=run_dir,
        total_transitions=2 * STEPS * 4,
        predictor_proportion=1.0,
        num_minibatches=1,
        update_epochs=1,
    )
    record = Training(config, ending_env(), [], [], [], [])

    class StatisticsLog(list[Array]):
        def append(self, batch: Array) -> None:
            record.events.append(("statistics", batch))

    def read(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        kind = "training" if torch.is_grad_enabled() else "bonus"
        record.events.append((kind, images(arguments[0])))

    def make(*arguments: Any) -> Any:
        agent, rollout, backend = make_learner(*arguments)
        agent.obs_moments = Recorder(agent.obs_moments, StatisticsLog())  # type: ignore[assignment]
        rnd_of(agent).predictor.register_forward_pre_hook(read)
        record.policy_inputs = record_inputs(agent.policy)
        return agent, rollout, backend

    def scale(*arguments: Any) -> Array:
        scaled = original_scale(*arguments)
        record.scaled_rewards.append(scaled.copy())
        return scaled

    original_scale = Rnd.scale

    def watched_update(rollout: Rollout, backend: Backend, advantages: Any, *rest: Any) -> Any:
        ended = rollout.terminated | rollout.truncated
        ext = rl.gae(
            np.sign(rollout.rewards_raw),
            rollout.values[..., 0],
            rollout.next_values[:, 0],
            terminated=ended,
            gamma=0.999,
            gae_lambda=0.95,
        )
        bonus = record.scaled_rewards[-1]
        int_ = rl.gae(
            bonus,
            rollout.values[..., 1],
            rollout.next_values[:, 1],
            terminated=None,
            gamma=0.99,
            gae_lambda=0.95,
        )
        expected = learner.combined_advantages(ext, int_, 2.0, 1.0)
        record.advantages.append((advantages.combined.copy(), expected))
        return update(rollout, backend, advantages, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_env", lambda *_: record.env)
        patch.setattr(module, "make_learner", make)
        patch.setattr(Rnd, "scale", scale)
        patch.setattr(module, "update", watched_update)
        module.train(config, view=lambda _: None)
    return record


def test_training_starts_from_a_reset_after_the_random_agent(training: Training) -> None:
    env = training.env
    assert [len(actions) for actions in env.actions_of] == [12, 2 * STEPS]  # two resets
    first = np.concatenate(training.policy_inputs[:2])  # the first step's two pieces
    np.testing.assert_array_equal(first, learner.scaled(env.observations[0]))
    assert not first[:, :3].any()  # and nothing older is in the stack


def test_each_rollout_is_scored_before_its_frames_are_counted_and_trained_on_after(
    training: Training,
) -> None:
    kinds = [kind for kind, _ in training.events]
    assert kinds == ["statistics"] * 2 + ["bonus", "statistics", "training"] * 2


def test_statistics_take_in_the_current_observations_frames(training: Training) -> None:
    batches = [batch for kind, batch in training.events if kind == "statistics"]
    frames = newest(training.env.observations)
    np.testing.assert_array_equal(batches[2], frames[:STEPS])
    np.testing.assert_array_equal(batches[3], frames[STEPS : 2 * STEPS])


def test_the_bonus_is_of_the_old_statistics_and_training_of_the_new(training: Training) -> None:
    frames = newest(training.env.observations)
    seen: list[Array] = []
    num_rollouts = 0
    for kind, batch in training.events:
        if kind == "statistics":
            seen.append(batch)
            continue
        start = num_rollouts * STEPS
        next_frames = frames[start + 1 : start + STEPS + 1].reshape(-1, 1, 44, 52)
        expected = normalized(next_frames, *statistics_of(seen), 5.0)
        np.testing.assert_allclose(batch, expected, rtol=2e-6, atol=1e-6)
        num_rollouts += kind == "training"
    assert num_rollouts == 2


def test_the_bonus_is_in_the_advantages_that_the_update_learns_from(training: Training) -> None:
    assert len(training.advantages) == 2
    for actual, expected in training.advantages:
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert all(np.abs(bonus).max() > 0.1 for bonus in training.scaled_rewards)


def test_extrinsic_rewards_are_signs_unless_clipping_is_off() -> None:
    for clips, trained_on in ((True, np.sign), (False, np.asarray)):
        with small_learner(ending_env(), reward_clipping=clips) as (
            _,
            env,
            _,
            rollout,
            backend,
        ):
            collect(env, rollout, backend)
            actual = rollout.clipped(rollout.rewards_raw)
            np.testing.assert_array_equal(actual, trained_on(env.rewards))
            np.testing.assert_array_equal(rollout.rewards_raw, env.rewards)
