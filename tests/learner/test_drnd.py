"""DRND: its bonus and its training against NumPy, and its count of visits against true counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference.learner import (
    ToyEnv,
    feature_outputs,
    layers_of,
    newest,
    record_inputs,
    rnd_of,
    small_learner,
)

import rndfast
from rndfast.config import RndConfig
from rndfast.learner.bonus import DRNDBonus
from rndfast.learner.networks import RndNetworks
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rnd import Drnd, drnd_bonus
from rndfast.learner.rollout import collect

pytestmark = pytest.mark.usefixtures("one_thread")

Array = NDArray[Any]
DRND: dict[str, Any] = {"bonus": "drnd", "num_targets": 3, "drnd_alpha": 0.7}


def bonus_by_numpy(predicted: Array, targets: Array, alpha: float) -> Array:
    """The paper's formula as it stands there, in float64."""
    f, all_targets = predicted.astype(np.float64), targets.astype(np.float64)
    mu, b2 = all_targets.mean(axis=0), (all_targets**2).mean(axis=0)
    ratio = np.abs(f**2 - mu**2) / (b2 - mu**2)
    second = np.sqrt(np.clip(ratio, 1e-3, 1)).mean(axis=1)
    value: Array = alpha * ((f - mu) ** 2).sum(axis=1) + (1 - alpha) * second
    return value


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("spread", [1e-3, 0.3, 10.0])  # below, in and above the bounds of the clip
def test_the_bonus_is_the_papers_formula(alpha: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(1.0, 0.5, (5, 40, 16)).astype(np.float32)
    predicted = (targets.mean(axis=0) + rng.normal(0, spread, (40, 16))).astype(np.float32)
    got = drnd_bonus(torch.from_numpy(predicted), torch.from_numpy(targets), alpha)
    assert got.shape == (40,)
    np.testing.assert_allclose(got, bonus_by_numpy(predicted, targets, alpha), rtol=2e-4)


def test_targets_that_agree_give_no_nan() -> None:
    targets = torch.ones(4, 2, 3)
    got = drnd_bonus(torch.stack([torch.ones(3), torch.zeros(3)]), targets, 0.5)
    np.testing.assert_allclose(got, [0.5 * np.sqrt(1e-3), 0.5 * 3 + 0.5], rtol=1e-6)


# --- visits of states -------------------------------------------------------------------------


def drnd_of_states(num_states: int, num_features: int = 64, num_targets: int = 10) -> Drnd:
    config = RndConfig(bonus="drnd", num_targets=num_targets, num_features=num_features)
    generator = torch.Generator().manual_seed(0)
    return Drnd(RndNetworks.of((num_states,), config, generator), config)


def test_draws_are_uniform_and_training_is_on_what_was_drawn() -> None:
    drnd = drnd_of_states(3, num_targets=4)
    generator = torch.Generator().manual_seed(1)
    choices = drnd.draw_choices((40, 100), generator)
    counts = np.bincount(choices.flatten(), minlength=4)
    assert ((counts - 1000) ** 2 / 1000).sum() < 21.1  # chi squared: exceeded once in 10,000
    assert torch.equal(choices, drnd.draw_choices((40, 100), generator.manual_seed(1)))

    inputs = torch.randn(50, 3, generator=generator)
    some = choices[0, :50]
    expected = [
        drnd.networks.targets[int(choice)](inputs[i : i + 1])[0].numpy()
        for i, choice in enumerate(some)
    ]
    np.testing.assert_allclose(drnd.targets(inputs, some), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_visits", [1, 2, 8, 32])
def test_the_square_under_the_second_term_estimates_one_over_the_visits(num_visits: int) -> None:
    """Of a table: what it predicts of a state is the mean of the targets drawn for it."""
    num_states, num_trials = 4, 2000
    drnd = drnd_of_states(num_states)
    states = torch.eye(num_states)
    targets = np.stack([target(states) for target in drnd.networks.targets]).astype(np.float64)
    generator = torch.Generator().manual_seed(0)
    choices = drnd.draw_choices((num_trials, num_visits, num_states), generator).numpy()
    drawn = targets[choices, np.arange(num_states)]  # (trials, visits, states, features)
    table = drawn.mean(axis=1)
    mu, b2 = targets.mean(axis=0), (targets**2).mean(axis=0)
    estimates = ((table**2 - mu**2) / (b2 - mu**2)).mean(axis=2)  # (trials, states)
    error = estimates.std(axis=0) / np.sqrt(num_trials)
    assert (np.abs(estimates.mean(axis=0) - 1 / num_visits) < 5 * error).all()
    # and what is paid for it, its size between 0.001 and 1, under a root
    paid = drnd_bonus(torch.from_numpy(table[0]), torch.from_numpy(targets), alpha=0.0)
    np.testing.assert_allclose(paid, bonus_by_numpy(table[0], targets, 0.0), rtol=1e-6)


def test_states_that_were_seen_more_often_are_paid_less() -> None:
    """The predictor itself, trained on a table of states, each seen four times the one before."""
    num_states = 5
    states = torch.eye(num_states)
    visits = torch.cat([torch.full((4**i,), i) for i in range(num_states)])
    drnd = drnd_of_states(num_states, num_features=32)
    generator = torch.Generator().manual_seed(0)
    targets = drnd.targets(states[visits], drnd.draw_choices((len(visits),), generator))
    optimizer = torch.optim.Adam(drnd.learning.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        # each state weighs the same, so that all are learnt equally well
        loss = (drnd.losses(states[visits], targets) / 4.0**visits).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        all_targets = torch.stack([target(states) for target in drnd.networks.targets])
        paid = drnd_bonus(drnd.learning(states), all_targets, alpha=0.0).numpy()
    assert (np.diff(paid) < 0).all(), paid


# --- in training ------------------------------------------------------------------------------


def features_by_numpy(parts: Any, inputs: Array) -> tuple[Array, Array]:
    networks = rnd_of(parts.agent)
    predicted = feature_outputs(layers_of(networks.predictor), inputs)
    targets = np.stack([feature_outputs(layers_of(net), inputs) for net in networks.targets])
    return predicted, targets


def test_rewards_of_a_rollout_are_the_formula_on_the_next_frames() -> None:
    with small_learner(ToyEnv(4), **DRND) as parts:
        collect(parts.env, parts.rollout, parts.backend)
        read = record_inputs(rnd_of(parts.agent).predictor)
        rewards = parts.backend.intrinsic_rewards()
        inputs = np.concatenate(read)
        frames = newest(parts.env.observations[1:])
        assert inputs.shape == (24, *frames.shape[2:])
        expected = bonus_by_numpy(*features_by_numpy(parts, inputs), 0.7).reshape(rewards.shape)
        np.testing.assert_allclose(rewards, expected, rtol=1e-4)


def test_the_predictors_loss_is_its_error_on_the_drawn_targets() -> None:
    settings = {"predictor_proportion": 1.0, "num_minibatches": 1, "update_epochs": 1}
    with small_learner(ToyEnv(4), **DRND, **settings) as parts:
        collect(parts.env, parts.rollout, parts.backend)
        zeros = np.zeros((6, 4), np.float32)
        advantages = compute_advantages(parts.rollout, zeros, zeros, parts.config.ppo)
        bonus, drawn = parts.agent.bonus, []
        assert isinstance(bonus, Drnd)
        draw = bonus.draw_choices
        bonus.draw_choices = lambda *args: drawn.append(draw(*args)) or drawn[-1]  # type: ignore
        read = record_inputs(rnd_of(parts.agent).targets[0])
        copies = [{k: v.clone() for k, v in bonus.networks.predictor.state_dict().items()}]
        metrics = update(parts.rollout, parts.backend, advantages, parts.config)
        bonus.networks.predictor.load_state_dict(copies[0])
        predicted, targets = features_by_numpy(parts, np.concatenate(read))
        (choices,) = drawn
        assert len(np.unique(choices)) == 3
        aims = targets[choices.flatten().numpy(), np.arange(24)]
        expected = ((predicted - aims) ** 2).mean()
        assert metrics["losses/predictor"] == pytest.approx(expected, rel=1e-4)


# --- for other loops --------------------------------------------------------------------------


def test_the_module_for_other_loops_pays_and_learns_by_the_same_formulas() -> None:
    torch.manual_seed(0)
    bonus = rndfast.DRNDBonus((5,), num_envs=3, num_targets=4, drnd_alpha=0.6, num_features=8)
    assert isinstance(bonus, DRNDBonus)
    next_obs = torch.randn(7, 3, 5)
    bonus.initialize(next_obs)
    moments = bonus.obs_moments
    inputs = (next_obs.double() - moments.mean) / (moments.m2 / moments.count).sqrt()
    rows = inputs.clamp(-5, 5).float().flatten(0, 1)
    with torch.no_grad():
        predicted = bonus.rnd.predictor(rows)
        targets = torch.stack([target(rows) for target in bonus.rnd.targets])
    expected = bonus_by_numpy(predicted.numpy(), targets.numpy(), 0.6).reshape(7, 3)
    np.testing.assert_allclose(bonus(next_obs), expected, rtol=1e-4)

    # targets are drawn anew in each call: their mean error is that over all targets
    losses = [bonus.loss(next_obs).item() for _ in range(500)]
    every = ((predicted - targets) ** 2).mean()
    error = np.std(losses) / np.sqrt(len(losses))
    assert abs(np.mean(losses) - float(every)) < 4 * error
    bonus.loss(next_obs).backward()  # type: ignore[no-untyped-call]
    trained = {name for name, p in bonus.named_parameters() if p.grad is not None}
    assert trained
    assert all(name.startswith("rnd.predictor.") for name in trained)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_targets": 1}, "num_targets must be finite and at least 2, got 1"),
        ({"drnd_alpha": 1.5}, r"drnd_alpha must be in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DRNDBonus((5,), num_envs=3, **settings)
    with pytest.raises(ValueError, match=message):
        RndConfig(bonus="drnd", **settings)


def test_settings_of_drnd_are_refused_where_the_bonus_is_rnd() -> None:
    with pytest.raises(ValueError, match=r"^num_targets must be 5, .* with bonus 'rnd', got 7$"):
        RndConfig(num_targets=7)
