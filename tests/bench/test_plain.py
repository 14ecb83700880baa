"""The plain learner, piece by piece, against NumPy: it is the oracle of the fast one elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference import learner, rl
from tests.reference.frames import normalized
from tests.reference.learner import (
    ToyEnv,
    layers_of,
    newest,
    record_inputs,
    scaled,
    shake,
    small_config,
    small_learner,
    unchanged,
)

from rndfast.bench.plain import (
    PlainBatch,
    PlainFeatures,
    PlainLearner,
    PlainPolicy,
    RunningStatistics,
    gae,
    make_plain_env,
)
from rndfast.config import AtariConfig, Config, EnvConfig
from rndfast.runs.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[Any]
SIZE = (ToyEnv.height, ToyEnv.width)
STEPS, ENVS = 6, 4
TERMINATED = ((0, 0), (2, 1), (4, 1))
TRUNCATED = ((1, 2), (3, 0), (5, 3))


def make_plain(**settings: Any) -> PlainLearner:
    """A plain learner whose weights are shaken, so that all outputs differ."""
    plain = PlainLearner(small_config(**settings), ToyEnv.num_actions)
    for module in (plain.policy, plain.target, plain.predictor):
        shake(module)
    return plain


def make_batch(steps: int = STEPS, envs: int = ENVS) -> PlainBatch:
    """Random experience."""
    rng = np.random.default_rng(0)
    shape = (steps, envs)
    return PlainBatch(
        torch.from_numpy(rng.integers(0, 256, (*shape, 4, *SIZE))).float(),
        torch.from_numpy(rng.integers(0, 256, (*shape, 1, *SIZE))).float(),
        torch.from_numpy(rng.integers(0, ToyEnv.num_actions, shape)),
        torch.from_numpy(rng.normal(-1.6, 0.3, shape)).float(),
        *(torch.from_numpy(rng.normal(size=shape)).float() for _ in range(3)),
    )


def outputs(plain: PlainLearner, batch: PlainBatch) -> dict[str, Array]:
    """What the networks say about flat experience, by NumPy."""
    logits, values = learner.policy_outputs(
        layers_of(plain.policy), batch.observations.double().numpy() / 255
    )
    statistics = plain.obs_statistics
    frames = normalized(batch.next_frames.numpy(), statistics.mean, statistics.var, 5.0)
    return {
        "actor": logits,
        "critic": values,
        "predictor": learner.feature_outputs(layers_of(plain.predictor), frames),
        "target": learner.feature_outputs(layers_of(plain.target), frames),
    }


def expected_losses(said: dict[str, Array], batch: PlainBatch, mask: Array) -> dict[str, float]:
    """Losses of flat experience, by NumPy."""
    arrays = [rows.numpy() for rows in batch[2:]]
    actions, log_probs, advantages, ext_returns, int_returns = arrays
    return {
        "policy": learner.policy_loss(said["actor"], actions, log_probs, advantages, 0.1),
        "ext_value": learner.value_loss(said["critic"][:, 0], ext_returns),
        "int_value": learner.value_loss(said["critic"][:, 1], int_returns),
        "entropy": learner.entropy(said["actor"]),
        "predictor": learner.predictor_loss(said["predictor"], said["target"], mask),
    }


# --- networks ---------------------------------------------------------------------------------


def test_a_checkpoint_of_the_fast_path_loads_and_the_networks_equal_numpy(tmp_path: Path) -> None:
    with small_learner() as parts:
        save_checkpoint(tmp_path, 0, parts.agent.state(), "", 1)
    state = load_checkpoint(next(tmp_path.glob("step-*"))).state
    policy = PlainPolicy(ToyEnv.num_actions, *SIZE)
    target, predictor = PlainFeatures(0, 16, *SIZE), PlainFeatures(2, 16, *SIZE)
    for prefix, module in (
        ("policy.", policy),
        ("rnd.target.", target),
        ("rnd.predictor.", predictor),
    ):
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )

    rng = np.random.default_rng(1)
    stacks = rng.integers(0, 256, (3, 4, *SIZE)).astype(np.float32)
    logits, values = learner.policy_outputs(layers_of(policy), stacks / 255)
    expected = [logits, *values.T]
    with torch.no_grad():
        for got, want in zip(policy(torch.from_numpy(stacks)), expected, strict=True):
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)
        for got, want in zip(
            policy.get_values(torch.from_numpy(stacks)), expected[1:], strict=True
        ):
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)
        frames = rng.normal(size=(3, 1, *SIZE)).astype(np.float32)
        for module in (target, predictor):
            want = learner.feature_outputs(layers_of(module), frames)
            got = module(torch.from_numpy(frames)).numpy()
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_papers_sizes_are_the_defaults() -> None:
    with torch.no_grad():
        assert PlainPolicy(18)(torch.zeros(2, 4, 84, 84))[0].shape == (2, 18)
        for num_hidden_layers in (0, 2):
            features = PlainFeatures(num_hidden_layers)
            assert features(torch.zeros(2, 1, 84, 84)).shape == (2, 512)


# --- arithmetic -------------------------------------------------------------------------------


def test_running_statistics_are_those_of_all_samples() -> None:
    samples = np.random.default_rng(0).normal(3, 2, (50, 2, 3))
    statistics = RunningStatistics((2, 3))
    for part in np.split(samples, [7, 8, 30]):
        statistics.update(part)
    expected = rl.moments(samples, prior_count=1e-4)
    np.testing.assert_allclose(statistics.mean, expected.mean)
    np.testing.assert_allclose(statistics.var, expected.m2 / expected.num_samples)


def test_gae_sums_to_the_end_of_each_episode() -> None:
    rng = np.random.default_rng(0)
    rewards, ended = rng.normal(size=(9, 3)), rng.random((9, 3)) < 0.3
    values = rng.normal(size=(10, 3))
    got = gae(
        torch.from_numpy(rewards), torch.from_numpy(values), torch.from_numpy(1.0 - ended), 0.9, 0.8
    )
    expected = rl.gae(rewards, values[:-1], values[-1], ended, gamma=0.9, gae_lambda=0.8)
    np.testing.assert_allclose(got.numpy(), expected)


# --- collecting -------------------------------------------------------------------------------


def test_a_rollout_holds_what_was_seen_and_done() -> None:
    env = ToyEnv(ENVS, TERMINATED, TRUNCATED)
    plain = make_plain()
    plain.start(env)
    rollout = plain.collect(env)
    np.testing.assert_array_equal(rollout.observations.numpy(), env.observations)
    np.testing.assert_array_equal(rollout.actions.numpy(), np.stack(env.actions_of[-1]))
    np.testing.assert_array_equal(rollout.rewards.numpy(), env.rewards)
    ended = {tuple(place) for place in np.argwhere(rollout.ended.numpy()).tolist()}
    assert ended == {*TERMINATED, *TRUNCATED}

    flat = scaled(env.observations).reshape(-1, 4, *SIZE)
    logits, values = learner.policy_outputs(layers_of(plain.policy), flat)
    for got, want in zip((rollout.ext_values, rollout.int_values), values.T, strict=True):
        np.testing.assert_allclose(got.numpy().ravel(), want, rtol=1e-4, atol=1e-5)
    actions = rollout.actions.numpy().ravel()
    log_probs = learner.log_softmax(logits)[np.arange(len(actions)), actions]
    np.testing.assert_allclose(rollout.log_probs.numpy().ravel(), log_probs, rtol=1e-4)

    second = plain.collect(env)  # goes on where the first ended
    np.testing.assert_array_equal(second.observations.numpy(), env.observations[STEPS:])


def test_pixel_statistics_begin_with_a_random_agents_frames() -> None:
    env = ToyEnv()
    plain = make_plain(obs_norm_steps=12)
    plain.start(env)
    assert len(env.actions_of[0]) == 12
    seen = newest(np.stack(env.observations_of[0][:-1])).reshape(-1, 1, *SIZE)
    np.testing.assert_allclose(plain.obs_statistics.mean, rl.moments(seen, 1e-4).mean)
    assert env.actions_of[1] == []  # new episodes


# --- rewards and advantages -------------------------------------------------------------------


def test_intrinsic_rewards_are_scaled_errors_on_next_frames() -> None:
    env = ToyEnv(ENVS, TERMINATED, TRUNCATED)
    plain = make_plain()
    plain.start(env)
    rollouts = [plain.collect(env), plain.collect(env)]
    got = [plain.intrinsic_rewards(rollout).numpy() for rollout in rollouts]
    statistics = plain.obs_statistics
    frames = newest(env.observations[1:]).reshape(-1, 1, *SIZE)
    inputs = normalized(frames, statistics.mean, statistics.var, 5.0)
    target, predictor = (
        learner.feature_outputs(layers_of(module), inputs)
        for module in (plain.target, plain.predictor)
    )
    errors = ((predictor - target) ** 2).mean(axis=1).reshape(2, STEPS, ENVS)
    expected = learner.scaled_intrinsic_rewards(list(errors), 0.99, "forward")
    np.testing.assert_allclose(np.stack(got), np.stack(expected), rtol=1e-4)


def test_advantages_are_two_gaes_and_only_the_extrinsic_one_ends() -> None:
    env = ToyEnv(ENVS, TERMINATED, TRUNCATED)
    plain = make_plain()
    plain.start(env)
    rollout = plain.collect(env)
    int_rewards = np.random.default_rng(0).random((STEPS, ENVS)).astype(np.float32)
    batch = plain.advantages(rollout, torch.from_numpy(int_rewards))
    ext_values, int_values = rollout.ext_values.numpy(), rollout.int_values.numpy()
    ext = rl.gae(
        np.sign(env.rewards),
        ext_values[:-1],
        ext_values[-1],
        rollout.ended.numpy() == 1,
        gamma=0.999,
        gae_lambda=0.95,
    )
    int_ = rl.gae(int_rewards, int_values[:-1], int_values[-1], None, gamma=0.99, gae_lambda=0.95)
    for got, want in (
        (batch.advantages, learner.combined_advantages(ext, int_, 2.0, 1.0)),
        (batch.ext_returns, ext + ext_values[:-1]),
        (batch.int_returns, int_ + int_values[:-1]),
    ):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch.observations.numpy(), env.observations[:-1])
    np.testing.assert_array_equal(batch.next_frames.numpy(), newest(env.observations[1:]))


# --- the update -------------------------------------------------------------------------------


def test_losses_and_their_gradients_equal_numpy() -> None:
    plain = make_plain(num_minibatches=1, update_epochs=1)
    batch = make_batch()
    plain.obs_statistics.update(np.random.default_rng(1).integers(0, 256, (9, 1, *SIZE)))
    flat = PlainBatch(*(rows.flatten(0, 1) for rows in batch))
    said = outputs(plain, flat)
    mask = np.random.default_rng(2).random(STEPS * ENVS) < 0.4
    got = plain.update(batch, torch.from_numpy(mask)[None])
    for name, want in expected_losses(said, flat, mask).items():
        assert got[name] == pytest.approx(want, rel=1e-4), name

    def total(shifted: dict[str, Array]) -> float:
        losses = expected_losses(shifted, flat, mask)
        return learner.total_loss(losses, ent_coef=0.001, vf_coef=1.0)

    # a head's bias moves all its outputs alike
    biases = {
        **{name: plain.policy.get_parameter(f"{name}.bias") for name in ("actor", "critic")},
        "predictor": plain.predictor.get_parameter("layers.11.bias"),
    }
    for name, bias in biases.items():
        assert bias.grad is not None
        for index, slope in enumerate(bias.grad.tolist()):
            step = np.zeros(len(bias))
            step[index] = 1e-5
            above, below = (total(said | {name: said[name] + sign * step}) for sign in (1, -1))
            assert slope == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-6), name


def test_each_step_is_one_of_adam_on_a_slice_of_environments() -> None:
    plain = make_plain(num_minibatches=2, update_epochs=2)
    batch = make_batch()
    target = [parameter.clone() for parameter in plain.target.parameters()]
    parameters = [*plain.policy.parameters(), *plain.predictor.parameters()]
    expected = [learner.Adam(p.detach().double().numpy().copy(), 1e-4, 1e-8) for p in parameters]

    def follow(*_: Any) -> None:
        for adam, parameter in zip(expected, parameters, strict=True):
            assert parameter.grad is not None
            adam.step(parameter.grad.numpy())

    plain.optimizer.register_step_pre_hook(follow)
    inputs = record_inputs(plain.policy, unchanged)
    plain.update(batch)
    slices = [batch.observations[:, envs].flatten(0, 1).numpy() for envs in ([0, 1], [2, 3])]
    assert len(inputs) == 4
    for got, want in zip(inputs, slices * 2, strict=True):
        np.testing.assert_array_equal(got, want)
    for adam, parameter in zip(expected, parameters, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), adam.parameter, rtol=1e-4, atol=1e-6)
    for before, after in zip(target, plain.target.parameters(), strict=True):
        assert torch.equal(before, after)


def test_masks_are_drawn_anew_with_the_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make_plain(num_minibatches=2, update_epochs=3, predictor_proportion=0.25)
    masks: list[Array] = []
    losses = plain.losses

    def keep(minibatch: PlainBatch, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        masks.append(mask.numpy())
        return losses(minibatch, mask)

    monkeypatch.setattr(plain, "losses", keep)
    plain.update(make_batch(steps=40))
    assert [mask.shape for mask in masks] == [(80,)] * 6
    assert 0.1 < np.mean(masks) < 0.4
    assert len({mask.tobytes() for mask in masks}) == 6


def test_an_iteration_rewards_by_the_old_pixel_statistics_and_learns_with_the_new() -> None:
    env = ToyEnv(ENVS, TERMINATED, TRUNCATED)
    plain = make_plain(num_minibatches=1, update_epochs=1)
    plain.start(env)
    old = plain.obs_statistics.mean, plain.obs_statistics.var
    inputs = record_inputs(plain.target, unchanged)
    losses = plain.iteration(env)
    assert all(np.isfinite(value) for value in losses.values())
    frames = newest(env.observations[1:])
    np.testing.assert_allclose(
        np.stack(inputs[:STEPS]), normalized(frames, *old, 5.0), rtol=1e-3, atol=1e-3
    )
    random_frames = newest(np.stack(env.observations_of[0][:-1]))
    seen = np.concatenate([random_frames, newest(env.observations[:-1])]).reshape(-1, 1, *SIZE)
    count, mean, m2 = rl.moments(seen, 1e-4)
    np.testing.assert_allclose(plain.obs_statistics.mean, mean)
    np.testing.assert_allclose(
        inputs[STEPS],
        normalized(frames, mean, m2 / count, 5.0).reshape(-1, 1, *SIZE),
        rtol=1e-3,
        atol=1e-3,
    )


# --- environment ------------------------------------------------------------------------------


# EnvPool is for Linux on x86-64 alone
PEERS = ["ale-py", *(["envpool"] if importlib.util.find_spec("envpool") is not None else [])]


@pytest.mark.parametrize("name", PEERS)
def test_the_environment_is_the_papers_game(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "ale-py":
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    config = Config(EnvConfig(num_envs=4), AtariConfig(max_num_frames_per_episode=40))
    env = make_plain_env(config, 1)
    observations = env.reset()[0]
    assert observations.shape == (4, 4, 84, 84)
    ends = []
    for _ in range(10):
        _, rewards, terminated, truncated, _ = env.step(np.zeros(4, np.int64))
        assert rewards.shape == (4,)
        ends.append((terminated | truncated).tolist())
    assert ends == [[False] * 4] * 9 + [[True] * 4]
    env.close()
