"""The fast path against the plain implementation, over whole rollouts and optimiser steps.

Both get the same rollout, the same weights and the same rows for the predictor. The plain one's own
arithmetic is tested against NumPy in test_plain.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference.learner import ToyEnv, act, rnd_of, scaled, small_config, small_learner

from rndfast.bench.plain import PlainBatch, PlainFeatures, PlainLearner, PlainPolicy, PlainRollout
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.make import make_learner
from rndfast.learner.networks import PolicyNetwork
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rnd import draw_predictor_mask
from rndfast.learner.rollout import Rollout, collect, start_episodes
from rndfast.runtime.compute import CpuCompute, GpuCompute

Array = NDArray[Any]
CPU = torch.device("cpu")
TERMINATED, TRUNCATED = ((0, 0), (4, 1), (5, 2)), ((2, 3), (5, 1))


class Both(NamedTuple):
    """The two implementations, with equal weights, statistics and experience."""

    agent: Agent
    rollout: Rollout
    backend: CpuBackend
    plain: PlainLearner
    plain_rollout: PlainRollout


@contextmanager
def both(**settings: Any) -> Iterator[Both]:
    env = ToyEnv(4, TERMINATED, TRUNCATED)
    with small_learner(env, **settings) as (config, _, agent, rollout, backend):
        plain = PlainLearner(config, env.num_actions)
        for network, ours in (
            (plain.policy, agent.policy),
            (plain.target, rnd_of(agent).target),
            (plain.predictor, rnd_of(agent).predictor),
        ):
            network.load_state_dict(ours.state_dict())  # strict: the same names and shapes
        collect(env, rollout, backend)
        frames = backend.observations.acted_on()
        agent.obs_moments.update(frames)
        plain.obs_statistics.update(frames.reshape(-1, *frames.shape[2:]))
        yield Both(agent, rollout, backend, plain, plain_rollout_of(rollout, backend, env))


def plain_rollout_of(rollout: Rollout, backend: CpuBackend, env: ToyEnv) -> PlainRollout:
    """The same experience; observations as the environment showed them."""
    return PlainRollout(
        observations=torch.from_numpy(env.observations).float(),
        actions=torch.from_numpy(backend.actions),
        log_probs=torch.from_numpy(backend.log_probs),
        ext_values=torch.from_numpy(np.vstack([rollout.values[..., 0], rollout.next_values[:, 0]])),
        int_values=torch.from_numpy(np.vstack([rollout.values[..., 1], rollout.next_values[:, 1]])),
        rewards=torch.from_numpy(rollout.rewards_raw),
        ended=torch.from_numpy(rollout.terminated | rollout.truncated).float(),
    )


def advantages_of(parts: Both) -> tuple[Array, Advantages]:
    """Scaled intrinsic rewards and advantages of the fast path."""
    config = parts.plain.config
    raw = parts.backend.intrinsic_rewards()
    assert parts.agent.bonus is not None
    rollout = parts.rollout
    int_rewards = parts.agent.bonus.scale(raw, rollout.int_return_filter, parts.backend.ranks)
    ext_rewards = parts.rollout.clipped(parts.rollout.rewards_raw)
    return int_rewards, compute_advantages(parts.rollout, ext_rewards, int_rewards, config.ppo)


def update_both(
    parts: Both, advantages: Advantages, plain_batch: PlainBatch
) -> tuple[dict[str, float], dict[str, float]]:
    """Train both on the same rows; the losses of each."""
    ppo = parts.plain.config.ppo
    state = parts.agent.generator.get_state()
    size = parts.plain.config.rollout_transitions // ppo.num_minibatches
    masks = [
        draw_predictor_mask(size, parts.plain.config.predictor_proportion, parts.agent.generator)
        for _ in range(ppo.update_epochs * ppo.num_minibatches)
    ]
    parts.agent.generator.set_state(state)
    losses = update(parts.rollout, parts.backend, advantages, parts.plain.config)
    plain_losses = parts.plain.update(plain_batch, torch.from_numpy(np.stack(masks)))
    return losses, {f"losses/{name}": loss for name, loss in plain_losses.items()}


def weights_of(parts: Both) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    for network, ours in (
        (parts.plain.policy, parts.agent.policy),
        (parts.plain.predictor, rnd_of(parts.agent).predictor),
    ):
        for (name, expected), parameter in zip(
            network.named_parameters(), ours.parameters(), strict=True
        ):
            yield name, parameter, expected


@pytest.mark.parametrize("micro_batch_size", [5, 256])
def test_losses_gradients_and_weights_after_six_steps_are_those_of_the_plain_update(
    micro_batch_size: int,
) -> None:
    settings = {"update_epochs": 3, "predictor_proportion": 0.5}
    with both(micro_batch_size=micro_batch_size, **settings) as parts:
        before = [weights.detach().clone() for _, weights, _ in weights_of(parts)]
        plain_int_rewards = parts.plain.intrinsic_rewards(parts.plain_rollout)
        plain_batch = parts.plain.advantages(parts.plain_rollout, plain_int_rewards)
        int_rewards, advantages = advantages_of(parts)
        np.testing.assert_allclose(int_rewards, plain_int_rewards, rtol=2e-5)
        np.testing.assert_allclose(
            advantages.combined, plain_batch.advantages, rtol=1e-4, atol=1e-5
        )
        losses, plain_losses = update_both(parts, advantages, plain_batch)
        for name, plain_loss in plain_losses.items():
            assert losses[name] == pytest.approx(plain_loss, rel=1e-4, abs=1e-6), name
        for old, (name, weights, expected) in zip(before, weights_of(parts), strict=True):
            # of the last step; where a gradient is nothing but rounding, Adam makes a whole step of
            # it, hence norms
            assert distance(weights.grad, expected.grad) < 1e-5, name
            moved = weights.detach() - old
            assert distance(moved, expected.detach() - old) < 1e-3, name


def distance(actual: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    """Norm of the difference, relative to what is expected."""
    assert actual is not None
    assert expected is not None
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("num_minibatches", [1, 2])
def test_bfloat16_stays_within_its_bounds(num_minibatches: int) -> None:
    """bfloat16 keeps 8 bits: each rounding is off by 0.4 % at most, sums of many by less."""
    settings: dict[str, Any] = {"update_epochs": num_minibatches, "predictor_proportion": 0.5}
    with both(precision="bfloat16", num_minibatches=num_minibatches, **settings) as parts:
        plain_int_rewards = parts.plain.intrinsic_rewards(parts.plain_rollout)
        plain_batch = parts.plain.advantages(parts.plain_rollout, plain_int_rewards)
        int_rewards, _ = advantages_of(parts)
        np.testing.assert_allclose(int_rewards, plain_int_rewards, rtol=0.03)
        returns = torch.stack([plain_batch.ext_returns, plain_batch.int_returns], dim=2)
        advantages = Advantages(plain_batch.advantages.numpy(), returns.numpy())
        losses, plain_losses = update_both(parts, advantages, plain_batch)
        assert len(plain_losses) == 5
        for name, plain_loss in plain_losses.items():
            assert losses[name] == pytest.approx(plain_loss, rel=0.02, abs=0.005), name
        for name, weights, expected in weights_of(parts):
            assert weights.dtype == torch.float32
            if num_minibatches == 1:  # later steps start from other weights
                assert distance(weights.grad, expected.grad) < 0.15, name


RETURNS = np.array([2.7, 2.9, 3.1, 3.3])  # of each environment, with gamma 0.99


class UnlikeEnvs(ToyEnv):
    """Each environment's frames are darker than those of the one before."""

    def _new_frame(self, n: int) -> Array:
        frame: Array = super()._new_frame(n) // (n + 1)
        return frame


@functools.cache
def trained_weights() -> dict[str, torch.Tensor]:
    """Of a policy whose values were fitted in float32 to `RETURNS` of `UnlikeEnvs`."""
    env = UnlikeEnvs(4)
    with small_learner(env, rollout_steps=12) as parts:
        collect(env, parts.rollout, parts.backend)
        distribution = parts.agent.distribution
    shape = (env.stack_num, env.height, env.width)
    policy = PolicyNetwork(shape, distribution, 2, torch.Generator().manual_seed(3))
    observations = torch.from_numpy(scaled(env.observations)).flatten(0, 1)
    returns = torch.from_numpy(np.tile(RETURNS, 13)[:, None]).float()
    optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=120)
    for _ in range(120):
        errors = act(policy, observations).values - returns
        optimizer.zero_grad()
        errors.square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    assert errors.square().mean() < 0.05**2
    return policy.state_dict()


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_bfloat16_moves_the_advantages_of_a_trained_policy_little(kind: str) -> None:
    """Values are about 3 and differ by 0.2, advantages differ by 0.2: errors of values are theirs.

    They are off by 3.7 % of what they differ by, and by 7.9 % where the heads too are in bfloat16.
    """
    rewards = np.random.default_rng(3).normal(RETURNS / 100, 0.03, (12, 4)).astype(np.float32)

    def advantages(precision: str) -> Array:
        env = UnlikeEnvs(4)  # whose frames do not depend on the actions
        config = small_config(rollout_steps=12, ext_gamma=0.99, precision=precision)
        run = config.run
        with CpuCompute(run) if kind == "cpu" else GpuCompute(run, device=CPU) as compute:
            agent, rollout, backend = make_learner(config, env, compute)
            agent.policy.load_state_dict(trained_weights())
            start_episodes(env, rollout, backend, 0, compute.ranks)
            collect(env, rollout, backend)
            return compute_advantages(rollout, rewards, rewards, config.ppo).combined

    exact = advantages("float32")
    error = np.sqrt(np.square(advantages("bfloat16") - exact).mean())
    assert 0 < error < 0.055 * exact.std()


def test_a_small_bonus_is_not_lost_in_bfloat16() -> None:
    """Predictor and target differ in their last bias alone: the bonus is the difference squared.

    Of features rounded to bfloat16, most would not differ at all, and the others by far more.
    """
    with small_learner(precision="bfloat16", predictor_hidden_layers=0) as parts:
        networks = rnd_of(parts.agent)
        weights = dict(networks.target.state_dict())
        *_, last_bias = weights
        weights[last_bias] = weights[last_bias] + 3e-4
        networks.predictor.load_state_dict(weights)
        collect(parts.env, parts.rollout, parts.backend)
        rewards = parts.backend.intrinsic_rewards()
        np.testing.assert_allclose(rewards, 9e-8, rtol=0.01)


def test_a_trained_agents_weights_load_into_ordinary_modules() -> None:
    with both() as parts:
        update(parts.rollout, parts.backend, advantages_of(parts)[1], parts.plain.config)
        state = parts.agent.state()
        policy = PlainPolicy(ToyEnv.num_actions, ToyEnv.height, ToyEnv.width)
        predictor = PlainFeatures(2, 16, ToyEnv.height, ToyEnv.width)
        for network, prefix in ((policy, "policy."), (predictor, "rnd.predictor.")):
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
        observations = parts.plain_rollout.observations.flatten(0, 1)
        with torch.no_grad():
            logits, *values = policy(observations)
            actual = act(parts.agent.policy, observations / 255)
        torch.testing.assert_close(actual.action_params, logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(actual.values, torch.stack(values, 1), rtol=1e-4, atol=1e-5)
