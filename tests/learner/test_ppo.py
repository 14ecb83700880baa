"""Advantages, losses and the update, against NumPy and a plain loss in float64."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
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
    ToyVectorEnv,
    layers_of,
    newest,
    record_inputs,
    rnd_of,
    small_learner,
    unchanged,
)
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal

from rndfast.config import PpoConfig
from rndfast.learner import cpu, ppo
from rndfast.learner.backend import Advantages
from rndfast.learner.distributions import Categorical
from rndfast.learner.networks import GaussianHead, PolicyOutput
from rndfast.learner.ppo import (
    PolicyLosses,
    PolicyRows,
    compute_advantages,
    explained_variance,
    policy_losses,
    update,
)
from rndfast.learner.rnd import draw_predictor_mask
from rndfast.learner.rollout import Rollout, collect
from rndfast.runs.train import set_learning_rate

Array = NDArray[Any]
STEPS = 6
CATEGORICAL = Categorical(5)
NO_MEMORY = torch.zeros(0, 0)
ONE_STEP: dict[str, Any] = {"num_minibatches": 1, "update_epochs": 1}
TERMINATED = ((0, 0), (2, 1), (4, 1))
TRUNCATED = ((1, 2), (3, 0), (5, 3))


@contextlib.contextmanager
def collected(env: ToyEnv | None = None, **settings: Any) -> Iterator[Learner]:
    """Make a learner with a rollout whose old policy and values differ from the present ones."""
    env = env or ToyEnv(4, TERMINATED, TRUNCATED)
    with small_learner(env, **settings) as parts:
        rng = np.random.default_rng(0)
        if isinstance(env, ToyVectorEnv):
            parts.agent.obs_moments.update(rng.normal(0, 9, (9, env.size)).astype(np.float32))
        else:
            parts.agent.obs_moments.update(rng.integers(0, 256, (9, 1, 44, 52), np.uint8))
        collect(parts.env, parts.rollout, parts.backend)
        noise = rng.normal(0, 0.2, parts.backend.log_probs.shape)
        parts.backend.log_probs += noise.astype(np.float32)
        yield parts


def random_advantages(
    num_envs: int = 4, size: float = 1.0, mean: float = 0.0, num_values: int = 2
) -> Advantages:
    rng = np.random.default_rng(1)
    drawn = (mean + size * rng.normal(size=(1 + num_values, STEPS, num_envs))).astype(np.float32)
    return Advantages(drawn[0], np.moveaxis(drawn[1:], 0, 2).copy())


def no_advantages() -> Advantages:
    return Advantages(np.zeros((STEPS, 4), np.float32), np.zeros((STEPS, 4, 2), np.float32))


def run_update(parts: Learner, advantages: Advantages) -> dict[str, float]:
    return update(parts.rollout, parts.backend, advantages, parts.config)


def record_gradients(parts: Learner) -> list[list[Array]]:
    """Keep the gradients of every optimiser step from now on."""
    steps: list[list[Array]] = []

    def keep(*_: Any) -> None:
        gradients = [parameter.grad for parameter in parts.agent.parameters]
        steps.append([g.numpy().copy() for g in gradients if g is not None])

    parts.agent.optimizer.register_step_pre_hook(keep)
    return steps


def last_linear(network: torch.nn.Module) -> torch.nn.Linear:
    return [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1]


def weights(parts: Learner) -> list[Array]:
    return [parameter.detach().numpy().copy() for parameter in parts.agent.parameters]


# --- losses -----------------------------------------------------------------------------------


def make_minibatch(size: int = 200) -> tuple[PolicyOutput, PolicyRows]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(size, 5))
    actions = rng.integers(0, 5, size)
    log_probs = learner.log_softmax(logits)[np.arange(size), actions]
    values, old_values, returns = torch.from_numpy(rng.normal(size=(3, size, 2))).float()
    advantages = torch.from_numpy(rng.normal(size=size)).float()
    output = PolicyOutput(torch.from_numpy(logits).float(), values, NO_MEMORY)
    old_log_probs = torch.from_numpy(log_probs + rng.normal(0, 0.15, size)).float()
    return output, PolicyRows(
        torch.from_numpy(actions), old_log_probs, advantages, old_values, returns
    )


def test_losses_equal_numpy() -> None:
    output, batch = make_minibatch()
    losses = policy_losses(output, batch, CATEGORICAL, PpoConfig(clip_coef=0.1))
    logits, values = output.action_params.numpy(), output.values.numpy()
    actions, old_log_probs, advantages, _, returns = (
        getattr(batch, field.name).numpy() for field in dataclasses.fields(batch)
    )
    log_ratios = learner.log_softmax(logits)[np.arange(200), actions] - old_log_probs
    expected = {
        "policy": learner.policy_loss(logits, actions, old_log_probs, advantages, 0.1),
        "value": [learner.value_loss(values[:, head], returns[:, head]) for head in range(2)],
        "entropy": learner.entropy(logits),
        "approx_kl": np.mean(np.exp(log_ratios) - 1 - log_ratios),
        "clip_fraction": np.mean(np.abs(np.exp(log_ratios) - 1) > 0.1),
    }
    assert 0.2 < expected["clip_fraction"] < 0.8
    for name, want in expected.items():
        got = getattr(losses, name).numpy() / 200
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.2, 1.0, -1.1, 0.0),  # too far the right way: clipped, nothing more to gain
        (0.8, -1.0, 0.9, 0.0),
        (1.2, -1.0, 1.2, 1.2),  # the wrong way: the whole loss, with its gradient
        (0.8, 1.0, -0.8, -0.8),
        (1.05, 1.0, -1.05, -1.05),  # within the range
        (0.95, -2.0, 1.9, 1.9),
    ],
)
def test_the_policy_loss_of_one_transition_in_closed_form(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    logits = torch.tensor([[0.3, -0.2]], requires_grad=True)
    log_prob = torch.log_softmax(logits, 1)[0, 0]
    zero = torch.zeros(1, 2)
    batch = PolicyRows(
        torch.tensor([0]),
        (log_prob.detach() - np.log(ratio))[None],
        torch.tensor([advantage]),
        zero,
        zero,
    )
    output = PolicyOutput(logits, zero, NO_MEMORY)
    policy = policy_losses(output, batch, CATEGORICAL, PpoConfig(clip_coef=0.1)).policy
    assert policy.item() == pytest.approx(loss, rel=1e-5)
    (gradient,) = torch.autograd.grad(policy, logits)
    # d log_prob / d logit of the chosen action: 1 - probability
    probability = log_prob.exp().item()
    assert float(gradient[0, 0]) == pytest.approx(slope * (1 - probability), rel=1e-4, abs=1e-7)


def test_policy_losses_have_the_documented_names() -> None:
    names = ["policy", "value", "entropy", "approx_kl", "clip_fraction"]
    assert [field.name for field in dataclasses.fields(PolicyLosses)] == names


def test_the_update_reports_the_documented_metrics() -> None:
    with collected(**ONE_STEP) as parts:
        metrics = run_update(parts, random_advantages())
    losses = ["policy", "ext_value", "int_value", "entropy", "approx_kl", "clip_fraction"]
    assert set(metrics) == {
        *(f"losses/{name}" for name in [*losses, "predictor", "gradient_norm"]),
        "rnd/feature_variance",
        "health/dead_features",
    }


# --- one minibatch ----------------------------------------------------------------------------


class DoublePass:
    """The networks' outputs on a whole rollout, on what the env showed, in float64.

    The policy's ``forward`` itself is checked against NumPy in test_networks.
    """

    def __init__(self, parts: Learner) -> None:
        env, agent = parts.env, parts.agent
        self.streams = parts.config.ppo.streams
        self.policy = copy.deepcopy(agent.policy).double()
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        observed, following = env.observations[-STEPS - 1 : -1], env.observations[-STEPS:]
        statistics = agent.obs_moments.mean, agent.obs_moments.var, 5.0
        if isinstance(env, ToyVectorEnv):
            inputs = normalized(observed.reshape(-1, env.size), *statistics)
            next_inputs = normalized(following.reshape(-1, env.size), *statistics)
        else:
            inputs = observed.reshape(-1, 4, 44, 52) / 255
            next_inputs = normalized(newest(following).reshape(-1, 1, 44, 52), *statistics)
        hidden = self.policy.trunk(torch.from_numpy(inputs))
        if self.policy.memory is not None:
            hidden = self.remember(self.policy.memory, hidden, parts)
        actor = hidden + torch.relu(self.policy.actor_residual(hidden))
        critic = hidden + torch.relu(self.policy.critic_residual(hidden))
        self.action_params = self.policy.actor(actor)
        self.values = self.policy.critic(critic)
        if agent.bonus is not None:
            predictor = copy.deepcopy(rnd_of(agent).predictor).double()
            self.parameters += predictor.parameters()
            self.predicted = predictor.layers(torch.from_numpy(next_inputs))
            self.target = learner.feature_outputs(layers_of(rnd_of(agent).target), next_inputs)

    def remember(self, memory: torch.nn.GRU, inputs: torch.Tensor, parts: Learner) -> torch.Tensor:
        """Step by step, with one cell of PyTorch's; its parameters take the place of ours."""
        cell = torch.nn.GRUCell(memory.input_size, memory.hidden_size, dtype=torch.float64)
        weights = {name.removesuffix("_l0"): value for name, value in memory.state_dict().items()}
        cell.load_state_dict(weights)
        ours = [id(parameter) for parameter in memory.parameters() if parameter.requires_grad]
        begin = [id(parameter) for parameter in self.parameters].index(ours[0])
        self.parameters[begin : begin + len(ours)] = [*cell.parameters()][: len(ours)]  # one bias
        remembered = torch.from_numpy(parts.backend.first_memory).double()
        steps = []
        for step, is_first in zip(
            inputs.view(STEPS, -1, 256), parts.rollout.is_first, strict=False
        ):
            begins = torch.from_numpy(is_first)[:, None]
            remembered = cell(step, torch.where(begins, 0.0, remembered))
            steps.append(remembered)
        return torch.cat(steps)

    def distribution(self) -> torch.distributions.Distribution:
        """Of the actions, by PyTorch."""
        if isinstance(self.policy.actor, GaussianHead):
            mean, log_std = self.action_params.chunk(2, dim=1)
            return Independent(Normal(mean, log_std.exp()), 1)
        return TorchCategorical(logits=self.action_params)

    def losses(self, parts: Learner, advantages: Advantages, mask: Array) -> dict[str, float]:
        """Evaluate the NumPy losses."""
        actions = parts.backend.actions.reshape(len(self.values), -1)
        old_log_probs = parts.backend.log_probs.ravel()
        params, values = self.action_params.detach().numpy(), self.values.detach().numpy()
        if isinstance(self.policy.actor, GaussianHead):
            mean, log_std = np.split(params, 2, axis=1)
            squares = ((actions - mean) / np.exp(log_std)) ** 2
            log_probs = -(squares / 2 + log_std + np.log(2 * np.pi) / 2).sum(axis=1)
            entropy = float((log_std + np.log(2 * np.pi * np.e) / 2).sum(axis=1).mean())
        else:
            log_probs = learner.log_softmax(params)[np.arange(len(params)), actions[:, 0]]
            entropy = learner.entropy(params)
        losses = {
            "policy": learner.clipped_loss(
                log_probs, old_log_probs, advantages.combined.ravel(), 0.1
            ),
            "entropy": entropy,
        }
        for head, stream in enumerate(self.streams):
            returns = advantages.returns[..., head].ravel()
            losses[f"{stream}_value"] = learner.value_loss(values[:, head], returns)
        if parts.agent.bonus is not None:
            predicted = self.predicted.detach().numpy()
            losses["predictor"] = learner.predictor_loss(predicted, self.target, mask)
        return losses

    def gradients(
        self, parts: Learner, advantages: Advantages, mask: Array, ent_coef: float = 0.001
    ) -> list[Array]:
        """Differentiate the total loss, written once more, by autograd."""

        def rows(array: Array) -> torch.Tensor:
            return torch.from_numpy(array.reshape(-1, *array.shape[2:])).double()

        advantage = rows(advantages.combined)
        distribution = self.distribution()
        log_probs = distribution.log_prob(rows(parts.backend.actions))
        ratio = torch.exp(log_probs - rows(parts.backend.log_probs))
        gain = torch.where(advantage >= 0, ratio.clamp(max=1.1), ratio.clamp(min=0.9)) * advantage
        errors = self.values - rows(advantages.returns)
        loss = -gain.mean() + 0.5 * (errors**2).mean(dim=0).sum()
        loss = loss - ent_coef * distribution.entropy().mean()
        if parts.agent.bonus is not None:
            feature_errors = ((self.predicted - torch.from_numpy(self.target)) ** 2).mean(1)
            loss = loss + (feature_errors * torch.from_numpy(mask)).sum() / max(int(mask.sum()), 1)
        return [gradient.numpy() for gradient in torch.autograd.grad(loss, self.parameters)]


def fix_mask(monkeypatch: pytest.MonkeyPatch, mask: Array) -> None:
    monkeypatch.setattr(ppo, "draw_predictor_mask", lambda *_: mask)


def assert_gradients_close(actual: list[Array], expected: list[Array]) -> None:
    for got, want in zip(actual, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-5 * np.abs(want).max() + 1e-12)


@pytest.mark.parametrize("micro_batch_size", [7, 128])
def test_losses_and_gradients_of_a_minibatch_are_those_of_the_plain_loss(
    micro_batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.arange(STEPS * 4) % 3 == 0
    fix_mask(monkeypatch, mask)
    advantages = random_advantages(mean=0.5)
    with collected(micro_batch_size=micro_batch_size, **ONE_STEP) as parts:
        oracle = DoublePass(parts)
        gradients = record_gradients(parts)
        losses = run_update(parts, advantages)
    expected = oracle.losses(parts, advantages, mask)
    assert expected.keys() == {"policy", "entropy", "ext_value", "int_value", "predictor"}
    for name, want in expected.items():
        assert losses[f"losses/{name}"] == pytest.approx(want, rel=1e-4), name
    assert losses["losses/clip_fraction"] > 0.2
    assert len(gradients) == 1
    assert_gradients_close(gradients[0], oracle.gradients(parts, advantages, mask))
    assert np.isfinite(learner.total_loss(expected, ent_coef=0.001, vf_coef=1.0))


ONE_HEAD: dict[str, Any] = {"two_value_heads": False, "int_gamma": 0.999}


@pytest.mark.parametrize(
    ("kind", "settings", "streams"),
    [
        ("images", {"policy": "recurrent"}, ["ext", "int"]),
        ("images", {"policy": "recurrent", "micro_batch_size": 128}, ["ext", "int"]),
        ("images", {"int_coef": 0.0}, ["ext"]),
        ("images", {"int_coef": 0.0, "policy": "recurrent"}, ["ext"]),
        ("images", ONE_HEAD, ["combined"]),
        ("images", {"ext_coef": 0.0}, ["ext", "int"]),
        ("images", {"shuffle_minibatches": True}, ["ext", "int"]),
        ("images", {"norm_adv": True}, ["ext", "int"]),
        ("images", {"predictor_hidden_layers": 0}, ["ext", "int"]),
        ("vectors", {}, ["ext", "int"]),
        ("vectors", {"policy": "recurrent", "norm_adv": True}, ["ext", "int"]),
        ("continuous", {}, ["ext", "int"]),
        ("continuous", {"int_coef": 0.0, "policy": "recurrent"}, ["ext"]),
        ("continuous", {"shuffle_minibatches": True, **ONE_HEAD}, ["combined"]),
    ],
)
def test_losses_and_gradients_of_every_kind_are_those_of_the_plain_loss(
    kind: str, settings: dict[str, Any], streams: list[str]
) -> None:
    """The second of two rollouts; a recurrent policy's reach through all steps of it."""
    is_recurrent = settings.get("policy") == "recurrent"
    num_envs = 10 if is_recurrent else 4
    ends = (*TERMINATED, (6, 1), (8, 0)), (*TRUNCATED, (9, 2))
    env = ToyEnv(num_envs, *ends)
    if kind != "images":
        env = ToyVectorEnv(num_envs, *ends, num_dims=2 if kind == "continuous" else None)
    settings = {"micro_batch_size": 7, "num_features": 8} | settings
    advantages = random_advantages(num_envs, mean=0.5, num_values=len(streams))
    everything = np.ones(STEPS * num_envs, bool)
    with collected(env, predictor_proportion=1.0, **settings, **ONE_STEP) as parts:
        parts.carry_over()
        collect(env, parts.rollout, parts.backend)
        noise = np.random.default_rng(2).normal(0, 0.2, parts.backend.log_probs.shape)
        parts.backend.log_probs += noise.astype(np.float32)
        oracle = DoublePass(parts)
        gradients = record_gradients(parts)
        inputs = record_inputs(parts.agent.policy, unchanged)
        losses = run_update(parts, advantages)
    if is_recurrent:
        assert parts.backend.first_memory.any()
        for is_first in (parts.rollout.is_first[0], parts.rollout.is_first[1:STEPS]):
            assert 0 < is_first.sum() < num_envs
        # of whole environments, 4 of them if as many transitions are more than asked for
        assert len(inputs) == (3 if settings["micro_batch_size"] == 7 else 1)
    if settings.get("norm_adv"):
        combined = advantages.combined.astype(np.float64)
        normal = (combined - combined.mean()) / combined.std()
        advantages = Advantages(normal, advantages.returns)
    expected = oracle.losses(parts, advantages, everything)
    values = [name.removesuffix("_value") for name in expected if name.endswith("_value")]
    assert values == streams
    assert ("predictor" in expected) == (settings.get("int_coef") != 0.0)
    unlike = {"approx_kl", "clip_fraction", "gradient_norm"}
    assert {f"losses/{name}" for name in expected.keys() | unlike} == {
        name for name in losses if name.startswith("losses/")
    }
    for name, want in expected.items():
        assert losses[f"losses/{name}"] == pytest.approx(want, rel=1e-4, abs=1e-6), name
    expected_gradients = oracle.gradients(parts, advantages, everything)
    assert_gradients_close(gradients[0], expected_gradients)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in expected_gradients))
    assert losses["losses/gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_the_entropy_bonus_makes_the_policy_less_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    # nothing to gain and no errors of value: only entropy moves the actor
    mask = np.zeros(STEPS * 4, bool)
    fix_mask(monkeypatch, mask)
    advantages = no_advantages()
    with collected(ent_coef=0.03, vf_coef=0.0, **ONE_STEP) as parts:
        oracle = DoublePass(parts)
        gradients = record_gradients(parts)
        run_update(parts, advantages)
        index = [id(p) for p in parts.agent.parameters].index(id(parts.agent.policy.actor.weight))
    values = oracle.values.detach().numpy().reshape(STEPS, 4, 2)
    advantages = Advantages(advantages.combined, values)
    expected = oracle.gradients(parts, advantages, mask, ent_coef=0.03)[index]
    assert np.abs(expected).max() > 1e-5
    assert_gradients_close([gradients[0][index]], [expected])


def test_the_total_loss_is_what_the_gradients_belong_to(monkeypatch: pytest.MonkeyPatch) -> None:
    # the slope of the NumPy loss along a head's gradient is the gradient's length; one head, or
    # row of one, for each term of the loss, so that no term hides behind a larger one
    mask = np.arange(STEPS * 4) % 2 == 0
    fix_mask(monkeypatch, mask)
    advantages = random_advantages()
    with collected(**ONE_STEP) as parts:
        policy, predictor = parts.agent.policy, rnd_of(parts.agent).predictor
        last = last_linear(predictor)
        before = weights(parts)
        recorded = record_gradients(parts)
        run_update(parts, advantages)

        def total_at(index: int, step: Array) -> float:
            with torch.no_grad():
                for number, parameter in enumerate(parts.agent.parameters):
                    moved = before[number] + (step if number == index else 0)
                    parameter.copy_(torch.from_numpy(moved))
            losses = DoublePass(parts).losses(parts, advantages, mask)
            return learner.total_loss(losses, ent_coef=0.001, vf_coef=1.0)

        first, second = slice(0, 1), slice(1, 2)
        for head, row in (
            (policy.actor, slice(None)),
            (policy.critic, first),
            (policy.critic, second),
            (last, slice(None)),
        ):
            index = [id(p) for p in parts.agent.parameters].index(id(head.weight))
            gradient = np.zeros(recorded[0][index].shape)
            gradient[row] = recorded[0][index][row]
            length = np.sqrt((gradient**2).sum())
            step = (1e-3 * gradient / length).astype(np.float32)
            slope = (total_at(index, step) - total_at(index, -step)) / 2e-3
            assert slope == pytest.approx(length, rel=0.01)


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
@pytest.mark.parametrize("offset", [0.0, 7.0])
def test_advantages_are_not_normalised(offset: float, policy: str) -> None:
    advantages = random_advantages(mean=offset)
    with small_learner(ToyEnv(4, TERMINATED, TRUNCATED), policy=policy, **ONE_STEP) as parts:
        collect(parts.env, parts.rollout, parts.backend)
        parts.carry_over()  # with it, what a policy with memory remembers
        collect(parts.env, parts.rollout, parts.backend)
        losses = run_update(parts, advantages)
    # the policy is the one that acted: every ratio is 1
    assert losses["losses/policy"] == pytest.approx(-float(advantages.combined.mean()), rel=1e-4)
    assert losses["losses/approx_kl"] == pytest.approx(0, abs=1e-8)
    assert losses["losses/clip_fraction"] == 0


def test_values_are_not_clipped_towards_the_old_ones() -> None:
    def losses(shift: float) -> dict[str, float]:
        with collected(**ONE_STEP) as parts:
            parts.rollout.values[..., 0] += shift
            parts.rollout.values[..., 1] -= shift
            return run_update(parts, random_advantages())

    assert losses(0) == losses(100)


def test_huge_gradients_are_not_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.ones(STEPS * 4, bool)
    fix_mask(monkeypatch, mask)
    advantages = random_advantages(size=1e4)
    with collected(**ONE_STEP) as parts:
        oracle = DoublePass(parts)
        run_update(parts, advantages)
        state = parts.agent.optimizer.state
        first_moments = [state[p]["exp_avg"].numpy() for p in parts.agent.parameters]
    expected = oracle.gradients(parts, advantages, mask)
    assert np.sqrt(sum((g**2).sum() for g in expected)) > 1e4
    assert_gradients_close([m / 0.1 for m in first_moments], expected)


# --- what the paper leaves out ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "value", "loss", "slope"),
    [
        # the return is 1, half the squared error is the loss
        (0.0, 0.05, 0.45125, -0.95),  # within the range: as it is
        (0.0, 0.5, 0.405, 0.0),  # too far, the right way: as if it had moved by 0.1, and no slope
        (0.0, -0.5, 1.125, -1.5),  # the wrong way: the larger loss
        (0.0, 2.0, 0.5, 1.0),  # far beyond the return: the larger loss
        (0.0, 1.2, 0.405, 0.0),
        (3.0, 2.0, 1.805, 0.0),  # down by 0.1: 2.9
    ],
)
def test_a_clipped_value_loss_in_closed_form(
    before: float, value: float, loss: float, slope: float
) -> None:
    values = torch.tensor([[value, value]], requires_grad=True)
    logits, zero, one = torch.zeros(1, 5), torch.zeros(1), torch.ones(1, 2)
    batch = PolicyRows(zero.long(), zero, zero, torch.full((1, 2), before), one)
    output = PolicyOutput(logits, values, NO_MEMORY)
    config = PpoConfig(clip_coef=0.1, clip_vloss=True)
    losses = policy_losses(output, batch, CATEGORICAL, config).value
    # of the extrinsic head alone
    np.testing.assert_allclose(losses.tolist(), [loss, 0.5 * (value - 1) ** 2], rtol=1e-5)
    (gradient,) = torch.autograd.grad(losses.sum(), values)
    np.testing.assert_allclose(gradient[0].tolist(), [slope, value - 1], rtol=1e-5, atol=1e-7)


def test_values_are_clipped_towards_those_at_the_time_of_acting() -> None:
    def losses(shift: float) -> tuple[float, float]:
        with collected(clip_vloss=True, **ONE_STEP) as parts:
            before = parts.rollout.values
            before += shift
            expected = 0.5 * float(((before[..., 0] - 0.1) ** 2).mean())
            returns = np.zeros((STEPS, 4, 2), np.float32)
            metrics = run_update(parts, Advantages(random_advantages().combined, returns))
            if shift == 100:  # values that have fallen by 100, to 0: as if they had by 0.1
                assert metrics["losses/ext_value"] == pytest.approx(expected, rel=1e-5)
            return metrics["losses/ext_value"], metrics["losses/int_value"]

    near, far = losses(0), losses(100)
    assert near[0] < 100 < far[0]
    assert near[1] == far[1]


@pytest.mark.parametrize("max_grad_norm", [0.5, 1e6, None])
def test_gradients_are_as_long_as_they_may_be(
    max_grad_norm: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.ones(STEPS * 4, bool)
    fix_mask(monkeypatch, mask)
    advantages = random_advantages(size=100)
    with collected(max_grad_norm=max_grad_norm, **ONE_STEP) as parts:
        oracle = DoublePass(parts)
        gradients = record_gradients(parts)
        metrics = run_update(parts, advantages)
    expected = oracle.gradients(parts, advantages, mask)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in expected))
    assert 10 < norm < 1e6
    assert metrics["losses/gradient_norm"] == pytest.approx(norm, rel=1e-4)  # before it is clipped
    scale = max_grad_norm / norm if max_grad_norm == 0.5 else 1.0
    assert_gradients_close(gradients[0], [scale * gradient for gradient in expected])


def test_the_gradient_norm_is_the_mean_over_all_steps() -> None:
    with collected(num_minibatches=2, update_epochs=3) as parts:
        gradients = record_gradients(parts)
        metrics = run_update(parts, random_advantages())
    norms = [np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in step)) for step in gradients]
    assert len(norms) == 6
    assert np.ptp(norms) > 1e-3
    assert metrics["losses/gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-5)


@pytest.mark.parametrize("shuffle", [False, True])
def test_advantages_of_each_minibatch_get_mean_0_and_deviation_1(
    shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[Array, Array]] = []  # advantages, and the returns that tell the transitions

    def keep(output: Any, batch: PolicyRows, *rest: Any) -> PolicyLosses:
        read.append((batch.advantages.numpy(), batch.returns[:, 0].numpy()))
        return policy_losses(output, batch, *rest)

    monkeypatch.setattr(cpu, "policy_losses", keep)
    combined = random_advantages(size=20).combined
    combined += 100 * np.arange(4, dtype=np.float32)  # one environment's are far from another's
    numbers = np.arange(STEPS * 4, dtype=np.float32).reshape(STEPS, 4)
    advantages = Advantages(combined, np.stack([numbers, numbers], axis=2))
    settings: dict[str, Any] = {
        "num_minibatches": 2,
        "update_epochs": 2,
        "micro_batch_size": 5,
        "shuffle_minibatches": shuffle,
    }
    with collected(norm_adv=True, **settings) as parts:
        run_update(parts, advantages)
    assert len(read) == 4 * 3  # minibatches of 12 in three pieces
    for number in range(4):
        got, which = (np.concatenate(rows) for rows in zip(*read[3 * number :][:3], strict=True))
        chosen = combined.ravel()[which.astype(int)].astype(np.float64)
        expected = (chosen - chosen.mean()) / chosen.std()
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_advantages_that_are_all_alike_are_no_advantages() -> None:
    alike = Advantages(np.full((STEPS, 4), 7, np.float32), np.zeros((STEPS, 4, 2), np.float32))
    with collected(norm_adv=True, **ONE_STEP) as parts:
        metrics = run_update(parts, alike)
    assert metrics["losses/policy"] == pytest.approx(0, abs=1e-6)
    assert np.isfinite([*metrics.values()]).all()


@pytest.mark.parametrize("anneal_lr", [False, True])
def test_the_learning_rate_falls_to_0_at_the_end_only_on_request(anneal_lr: bool) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.02, "total_transitions": 1000, **ONE_STEP}
    with collected(anneal_lr=anneal_lr, **settings) as parts:
        agent = parts.agent
        for transitions, left in ((0, 1.0), (250, 0.75), (999, 0.001), (1000, 0.0), (1200, 0.0)):
            agent.transitions = transitions
            want = 0.02 * (left if anneal_lr else 1.0)
            assert set_learning_rate(agent, parts.config) == pytest.approx(want)
            assert [g["lr"] for g in agent.optimizer.param_groups] == [pytest.approx(want)]
        # the step that Adam makes is as long: its first one is the rate, whatever the gradient
        agent.transitions = 250
        set_learning_rate(agent, parts.config)
        before = weights(parts)
        run_update(parts, random_advantages())
        pairs = zip(weights(parts), before, strict=True)
        moved = max(np.abs(after - weight).max() for after, weight in pairs)
        assert moved == pytest.approx(0.015 if anneal_lr else 0.02, rel=1e-3)


def test_shuffled_minibatches_hold_each_transition_once_in_every_pass() -> None:
    env = ToyEnv(8)
    settings: dict[str, Any] = {
        "num_minibatches": 4,
        "update_epochs": 3,
        "predictor_proportion": 1.0,
        "shuffle_minibatches": True,
    }
    with collected(env, **settings) as parts:
        policy_inputs = record_inputs(parts.agent.policy)
        predictor_inputs = record_inputs(rnd_of(parts.agent).predictor)
        run_update(parts, random_advantages(8))
        mean, var = parts.agent.obs_moments.mean[0], parts.agent.obs_moments.var[0]
    assert len(policy_inputs) == len(predictor_inputs) == 12
    next_of = {  # frames of the next observations by the codes (env, serial) of the present ones
        tuple(frame[0, :2].tolist()): normalized(following, mean, var, 5.0)
        for frame, following in zip(
            newest(env.observations[:STEPS]).reshape(-1, 44, 52),
            newest(env.observations[1:]).reshape(-1, 44, 52),
            strict=True,
        )
    }
    passes = []
    for number in range(3):
        codes = [
            tuple(np.rint(stack[-1, 0, :2] * 255).astype(int).tolist())
            for stacks in policy_inputs[4 * number : 4 * number + 4]
            for stack in stacks
        ]
        assert len(codes) == STEPS * 8
        assert set(codes) == next_of.keys()
        frames = np.concatenate(predictor_inputs[4 * number : 4 * number + 4])[:, 0]
        wanted = np.stack([next_of[code] for code in codes])
        np.testing.assert_allclose(frames, wanted, rtol=2e-6, atol=1e-6)
        passes.append(tuple(codes))
    assert len(set(passes)) == 3  # in another order each time
    envs_of_first = {env for env, _ in passes[0][: STEPS * 2]}
    assert len(envs_of_first) > 2  # of any environment


# --- without a part ---------------------------------------------------------------------------


def test_without_a_bonus_there_is_nothing_of_rnd() -> None:
    with collected(int_coef=0.0, **ONE_STEP) as parts:
        agent, rollout = parts.agent, parts.rollout
        assert agent.bonus is None
        run_update(parts, random_advantages(num_values=1))
        assert not any(name.startswith("rnd") for name in agent.state())
        of_policy = [id(parameter) for parameter in agent.policy.parameters()]
        assert [id(parameter) for parameter in agent.parameters] == of_policy
        (group,) = agent.optimizer.param_groups
        assert [id(parameter) for parameter in group["params"]] == of_policy
        assert agent.policy.critic.out_features == rollout.values.shape[2] == 1
        # and what there is of it is a whole state
        with small_learner(int_coef=0.0) as other:
            other.agent.load_state(agent.state())
        with small_learner() as other, pytest.raises(ValueError, match="must have shape"):
            other.agent.load_state(agent.state())


@pytest.mark.parametrize("bootstrap_truncated", [False, True])
def test_advantages_without_a_bonus_are_one_gae(bootstrap_truncated: bool) -> None:
    rewards = np.random.default_rng(3).normal(size=(STEPS, 4)).astype(np.float32)
    with collected(int_coef=0.0, bootstrap_truncated=bootstrap_truncated) as parts:
        rollout = parts.rollout
        actual = compute_advantages(rollout, rewards, None, parts.config.ppo)
        expected = gae_of(rollout, rewards, 0.999, bootstrap_truncated)
    np.testing.assert_allclose(actual.combined, 2 * expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        actual.returns[..., 0], expected + rollout.values[..., 0], rtol=1e-5, atol=1e-5
    )


def gae_of(rollout: Rollout, rewards: Array, gamma: float, bootstrap_truncated: bool) -> Array:
    """Of the first head, ended by episodes."""
    ended = rollout.terminated | rollout.truncated
    return rl.gae(
        rewards,
        rollout.values[..., 0],
        rollout.next_values[:, 0],
        terminated=rollout.terminated if bootstrap_truncated else ended,
        gamma=gamma,
        gae_lambda=0.95,
        truncated=rollout.truncated if bootstrap_truncated else None,
        final_values=rollout.final_values[..., 0],
    )


@pytest.mark.parametrize("bootstrap_truncated", [False, True])
@pytest.mark.parametrize("episodic_int_return", [False, True])
def test_one_value_head_foresees_the_weighted_sum_of_rewards(
    bootstrap_truncated: bool, episodic_int_return: bool
) -> None:
    rng = np.random.default_rng(3)
    ext_rewards, int_rewards = rng.normal(size=(2, STEPS, 4)).astype(np.float32)
    settings: dict[str, Any] = {
        "two_value_heads": False,
        "bootstrap_truncated": bootstrap_truncated,
        "episodic_int_return": episodic_int_return,
        "ext_gamma": 0.97,
        "int_gamma": 0.97,
        "ext_coef": 3.0,
        "int_coef": 0.5,
    }
    with collected(**settings) as parts:
        rollout = parts.rollout
        actual = compute_advantages(rollout, ext_rewards, int_rewards, parts.config.ppo)
        rewards = 3.0 * ext_rewards + 0.5 * int_rewards
        if episodic_int_return:
            expected = gae_of(rollout, rewards, 0.97, bootstrap_truncated)
        else:  # nothing ends it
            values, next_values = rollout.values[..., 0], rollout.next_values[:, 0]
            expected = rl.gae(rewards, values, next_values, None, gamma=0.97, gae_lambda=0.95)
    assert actual.returns.shape == (STEPS, 4, 1)
    np.testing.assert_allclose(actual.combined, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        actual.returns[..., 0], expected + rollout.values[..., 0], rtol=1e-5, atol=1e-5
    )


def test_without_extrinsic_weight_the_bonus_alone_counts_and_both_values_are_learnt() -> None:
    rng = np.random.default_rng(3)
    ext_rewards, int_rewards = rng.normal(size=(2, STEPS, 4)).astype(np.float32)
    with collected(ext_coef=0.0, int_coef=0.5) as parts:
        rollout = parts.rollout
        actual = compute_advantages(rollout, ext_rewards, int_rewards, parts.config.ppo)
        int_ = rl.gae(
            int_rewards,
            rollout.values[..., 1],
            rollout.next_values[:, 1],
            None,
            gamma=0.99,
            gae_lambda=0.95,
        )
        ext = gae_of(rollout, ext_rewards, 0.999, bootstrap_truncated=False)
    np.testing.assert_allclose(actual.combined, 0.5 * int_, rtol=1e-5, atol=1e-5)
    returns = np.stack([ext, int_], axis=2) + rollout.values
    np.testing.assert_allclose(actual.returns, returns, rtol=1e-5, atol=1e-5)


# --- the optimiser ----------------------------------------------------------------------------


def test_one_adam_trains_policy_and_predictor_with_the_papers_settings() -> None:
    with small_learner() as (_, _, agent, _, _):
        assert type(agent.optimizer) is torch.optim.Adam
        (group,) = agent.optimizer.param_groups
        expected = [*agent.policy.parameters(), *rnd_of(agent).predictor.parameters()]
        assert [id(p) for p in group["params"]] == [id(p) for p in expected]
        assert group["lr"] == 1e-4
        assert group["eps"] == 1e-8
        assert group["betas"] == (0.9, 0.999)
        assert group["weight_decay"] == 0
        assert group["amsgrad"] is False


def test_sixteen_steps_of_adam_per_rollout_equal_numpy() -> None:
    with collected(num_minibatches=4, update_epochs=4) as parts:
        before = weights(parts)
        gradients = record_gradients(parts)
        run_update(parts, random_advantages())
        after = weights(parts)
    assert len(gradients) == 16
    for index, weight in enumerate(before):
        adam = learner.Adam(weight.astype(np.float64), learning_rate=1e-4, eps=1e-8)
        for step in gradients:
            adam.step(step[index])
        assert np.abs(adam.parameter - weight).max() > 1e-5  # no parameter was left out
        # 16 roundings of weights below 1
        np.testing.assert_allclose(after[index], adam.parameter, rtol=0, atol=1e-6)


def test_the_update_changes_all_that_learns_and_not_the_target() -> None:
    with collected(predictor_proportion=1.0) as parts:
        target = [p.detach().clone() for p in rnd_of(parts.agent).target.parameters()]
        before = weights(parts)
        run_update(parts, random_advantages())
        for old, new in zip(target, rnd_of(parts.agent).target.parameters(), strict=True):
            assert torch.equal(old, new)
        for old_array, new_array in zip(before, weights(parts), strict=True):
            assert not np.array_equal(old_array, new_array)


# --- minibatches, pieces and threads ----------------------------------------------------------


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_minibatches_are_slices_of_environments_in_the_same_order_in_every_epoch(
    policy: str,
) -> None:
    env = ToyEnv(8)
    settings: dict[str, Any] = {
        "policy": policy,
        "num_minibatches": 4,
        "update_epochs": 3,
        "predictor_proportion": 1.0,
    }
    with collected(env, **settings) as parts:
        policy_inputs = record_inputs(parts.agent.policy)
        predictor_inputs = record_inputs(rnd_of(parts.agent).predictor)
        run_update(parts, random_advantages(8))
        rollout_frames = newest(env.observations[:STEPS])[:, :, 0]  # (T, N, H, W)
        next_frames = normalized(
            newest(env.observations[1:])[:, :, 0],
            parts.agent.obs_moments.mean[0],
            parts.agent.obs_moments.var[0],
            5.0,
        )
    assert len(policy_inputs) == len(predictor_inputs) == 12
    for number, (stacks, frames) in enumerate(zip(policy_inputs, predictor_inputs, strict=True)):
        first = 2 * (number % 4)
        # (env, serial) of each row, as the frames themselves tell
        codes = np.rint(stacks[:, -1, 0, :2] * 255)
        expected = rollout_frames[:, first : first + 2, 0, :2].reshape(-1, 2)
        np.testing.assert_array_equal(codes[np.lexsort(codes.T)], expected[np.lexsort(expected.T)])
        np.testing.assert_array_equal(np.unique(codes[:, 0]), [first, first + 1])
        wanted = next_frames[:, first : first + 2].reshape(-1, 1, 44, 52)
        order = np.lexsort(codes.T)
        np.testing.assert_allclose(
            frames[order], wanted[np.lexsort(expected.T)], rtol=2e-6, atol=1e-6
        )


def test_every_row_is_learned_with_its_own_action_advantage_and_returns() -> None:
    # one environment per minibatch; only environment 2 has anything to learn
    advantages = no_advantages()
    advantages.combined[:, 2] = 1
    with collected(num_minibatches=4, update_epochs=1, vf_coef=0.0, ent_coef=0.0) as parts:
        actor = [id(p) for p in parts.agent.parameters].index(id(parts.agent.policy.actor.weight))
        gradients = record_gradients(parts)
        run_update(parts, advantages)
    assert [bool(step[actor].any()) for step in gradients] == [False, False, True, False]


def test_micro_batches_change_rounding_only() -> None:
    def updated(micro_batch_size: int) -> tuple[dict[str, float], list[Array]]:
        with collected(micro_batch_size=micro_batch_size, **ONE_STEP) as parts:
            gradients = record_gradients(parts)
            return run_update(parts, random_advantages()), gradients[0]

    whole_losses, whole_gradients = updated(128)
    for size in (1, 5, 23):
        losses, gradients = updated(size)
        assert losses == pytest.approx(whole_losses, rel=1e-4)
        assert_gradients_close(gradients, whole_gradients)


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_the_number_of_threads_changes_no_bit(policy: str) -> None:
    def updated(num_threads: int) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        settings = {"policy": policy, "micro_batch_size": 5, "update_epochs": 2}
        with collected(ToyEnv(10), num_threads=num_threads, **settings) as parts:
            losses = run_update(parts, random_advantages(10))
            return losses, parts.agent.state()

    losses, state = updated(1)
    for num_threads in (2, 3):
        other_losses, other_state = updated(num_threads)
        assert other_losses == losses
        assert other_state.keys() == state.keys()
        for key, values in state.items():
            assert torch.equal(values, other_state[key]), key


# --- the predictor's share --------------------------------------------------------------------


@pytest.mark.parametrize("proportion", [0.05, 0.25, 0.9])
def test_the_mask_has_the_proportion_asked_for(proportion: float) -> None:
    mask = draw_predictor_mask(40_000, proportion, torch.Generator().manual_seed(0))
    assert mask.dtype == np.bool_
    deviation = np.sqrt(proportion * (1 - proportion) / 40_000)
    assert mask.mean() == pytest.approx(proportion, abs=4 * deviation)
    halves = mask[:20_000].mean(), mask[20_000:].mean()
    assert halves[0] == pytest.approx(halves[1], abs=8 * deviation)


@pytest.mark.parametrize(("num_envs", "proportion"), [(4, 1.0), (64, 0.5)])
def test_an_automatic_proportion_is_that_of_32_environments(
    num_envs: int, proportion: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, float]] = []

    def draw(size: int, proportion: float, generator: torch.Generator) -> Array:
        drawn.append((size, proportion))
        return draw_predictor_mask(size, proportion, generator)

    monkeypatch.setattr(ppo, "draw_predictor_mask", draw)
    with collected(ToyVectorEnv(num_envs), predictor_proportion="auto", **ONE_STEP) as parts:
        run_update(parts, random_advantages(num_envs))
    assert drawn == [(STEPS * num_envs, proportion)]


def test_a_proportion_of_one_takes_every_row() -> None:
    assert draw_predictor_mask(10_000, 1.0, torch.Generator().manual_seed(0)).all()


def test_the_mask_is_redrawn_for_each_minibatch_and_epoch_and_selects_the_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks: list[Array] = []

    def draw(*arguments: Any) -> Array:
        masks.append(draw_predictor_mask(*arguments))
        return masks[-1]

    monkeypatch.setattr(ppo, "draw_predictor_mask", draw)
    with collected(ToyEnv(8), num_minibatches=2, update_epochs=4) as parts:
        inputs = record_inputs(rnd_of(parts.agent).predictor)
        run_update(parts, random_advantages(8))
        frames = normalized(
            newest(parts.env.observations[1:]),
            parts.agent.obs_moments.mean,
            parts.agent.obs_moments.var,
            5.0,
        )
    assert [mask.shape for mask in masks] == [(STEPS * 4,)] * 8
    assert len({mask.tobytes() for mask in masks}) == 8
    assert 0.1 < np.mean(masks) < 0.4  # 192 draws with probability 0.25
    for number, (mask, rows) in enumerate(zip(masks, inputs, strict=True)):
        first = 4 * (number % 2)
        expected = frames[:, first : first + 4].reshape(-1, 1, 44, 52)[mask]
        np.testing.assert_allclose(rows, expected, rtol=2e-6, atol=1e-6)


def test_an_empty_mask_leaves_the_predictor_alone_and_makes_no_nan() -> None:
    with collected(predictor_proportion=1e-12, micro_batch_size=7) as parts:
        before = [p.detach().clone() for p in rnd_of(parts.agent).predictor.parameters()]
        actor = parts.agent.policy.actor.weight.detach().clone()
        losses = run_update(parts, random_advantages())
        assert losses["losses/predictor"] == 0
        assert np.isfinite(list(losses.values())).all()
        for old, new in zip(before, rnd_of(parts.agent).predictor.parameters(), strict=True):
            assert torch.equal(old, new)
        assert not torch.equal(actor, parts.agent.policy.actor.weight)


# --- advantages -------------------------------------------------------------------------------


@pytest.mark.parametrize("bootstrap_truncated", [False, True])
@pytest.mark.parametrize("episodic_int_return", [False, True])
def test_advantages_are_two_gaes_with_their_own_ends_and_discounts(
    bootstrap_truncated: bool, episodic_int_return: bool
) -> None:
    rng = np.random.default_rng(3)
    ext_rewards, int_rewards = rng.normal(size=(2, STEPS, 4)).astype(np.float32)
    settings: dict[str, Any] = {
        "bootstrap_truncated": bootstrap_truncated,
        "episodic_int_return": episodic_int_return,
    }
    with collected(**settings) as (config, _, _, rollout, _):
        assert rollout.terminated.sum() == rollout.truncated.sum() == 3
        # the extrinsic return ends at both kinds of end, unless a truncation is bootstrapped
        ended = rollout.terminated | rollout.truncated
        ext = rl.gae(
            ext_rewards,
            rollout.values[..., 0],
            rollout.next_values[:, 0],
            terminated=rollout.terminated if bootstrap_truncated else ended,
            gamma=0.999,
            gae_lambda=0.95,
            truncated=rollout.truncated if bootstrap_truncated else None,
            final_values=rollout.final_values[..., 0],
        )
        # the intrinsic return never ends, unless it is asked to; then it ends as the other does
        is_cut_off = episodic_int_return and bootstrap_truncated
        int_ends = rollout.terminated if is_cut_off else ended
        int_ = rl.gae(
            int_rewards,
            rollout.values[..., 1],
            rollout.next_values[:, 1],
            terminated=int_ends if episodic_int_return else None,
            gamma=0.99,
            gae_lambda=0.95,
            truncated=rollout.truncated if is_cut_off else None,
            final_values=rollout.final_values[..., 1],
        )
        actual = compute_advantages(rollout, ext_rewards, int_rewards, config.ppo)
        expected = learner.combined_advantages(ext, int_, 2.0, 1.0)
        np.testing.assert_allclose(actual.combined, expected, rtol=1e-5, atol=1e-5)
        returns = np.stack([ext, int_], axis=2) + rollout.values
        np.testing.assert_allclose(actual.returns, returns, rtol=1e-5, atol=1e-5)


def test_the_bonus_counts_once_and_the_extrinsic_reward_twice() -> None:
    zeros = np.zeros((STEPS, 4), np.float32)
    last = zeros.copy()
    last[-1] = 1
    with collected() as (config, _, _, rollout, _):
        without = compute_advantages(rollout, zeros, zeros, config.ppo).combined
        with_bonus = compute_advantages(rollout, zeros, last, config.ppo).combined
        with_reward = compute_advantages(rollout, last, zeros, config.ppo).combined
    np.testing.assert_allclose(with_bonus[-1] - without[-1], 1, rtol=1e-5)
    np.testing.assert_allclose(with_reward[-1] - without[-1], 2, rtol=1e-5)
    # environment 3 is cut off at the last step only: one step earlier, both still count
    assert (with_bonus - without)[-2, 3] == pytest.approx(0.99 * 0.95, rel=1e-4)
    assert (with_reward - without)[-2, 3] == pytest.approx(2 * 0.999 * 0.95, rel=1e-4)
    # environment 1 ended at step 4: the bonus reaches back over it, the reward does not
    assert (with_bonus - without)[0, 1] == pytest.approx((0.99 * 0.95) ** 5, rel=1e-4)
    assert (with_reward - without)[0, 1] == 0


# --- numbers that are none --------------------------------------------------------------------


def test_explained_variance_in_closed_form() -> None:
    returns = np.array([[0, 2], [4, 6]], np.float32)  # variance 5
    assert explained_variance(returns + 7, returns) == 1  # a constant error is no variance
    assert explained_variance(np.zeros_like(returns), returns) == 0
    assert explained_variance(-returns, returns) == 1 - 4
    assert explained_variance(returns * np.float32(0.5), returns) == 0.75
    assert explained_variance(returns, np.full_like(returns, 3)) is None


def test_a_nan_intrinsic_reward_is_named() -> None:
    with collected() as (_, _, agent, rollout, backend):
        with torch.no_grad():
            last_linear(rnd_of(agent).predictor).bias[0] = float("nan")
        assert agent.bonus is not None
        rewards = backend.intrinsic_rewards()
        with pytest.raises(
            FloatingPointError, match=r"^intrinsic rewards must be finite, .* 24 of 24"
        ):
            agent.bonus.scale(rewards, rollout.int_return_filter, backend.ranks)


class NoSpread:
    """Statistics gone wrong: a variance of 0."""

    var = np.float64(0)

    def update(self, returns: Array) -> None:
        """Take no notice."""


def test_an_infinite_scaled_reward_is_named() -> None:
    rewards = np.ones((STEPS, 4), np.float32)
    with small_learner() as (_, _, agent, rollout, backend):
        assert agent.bonus is not None
        agent.bonus.return_moments = NoSpread()  # type: ignore[assignment]
        with (
            np.errstate(divide="ignore"),
            pytest.raises(FloatingPointError, match=r"^scaled intrinsic rewards must be finite"),
        ):
            agent.bonus.scale(rewards, rollout.int_return_filter, backend.ranks)


@pytest.mark.parametrize("stream", ["ext", "int"])
def test_a_nan_advantage_is_named(stream: str) -> None:
    rewards = {name: np.zeros((STEPS, 4), np.float32) for name in ("ext", "int")}
    rewards[stream][0, 1] = np.nan
    with (
        collected() as (config, _, _, rollout, _),
        pytest.raises(FloatingPointError, match=r"^advantages must be finite, .* 1 of 24"),
    ):
        compute_advantages(rollout, rewards["ext"], rewards["int"], config.ppo)


@pytest.mark.parametrize(
    ("name", "place", "loss"),
    [
        ("combined", (2, 1), "policy"),
        ("returns", (2, 1, 0), "ext_value"),
        ("returns", (2, 1, 1), "int_value"),
    ],
)
def test_a_nan_loss_is_named(name: str, place: tuple[int, ...], loss: str) -> None:
    advantages = random_advantages()
    getattr(advantages, name)[place] = np.nan
    with (
        collected(**ONE_STEP) as parts,
        pytest.raises(FloatingPointError, match=rf"^losses/{loss} must be finite"),
    ):
        run_update(parts, advantages)


def test_infinite_weights_are_named() -> None:
    with collected(**ONE_STEP) as parts:
        parts.agent.optimizer.param_groups[0]["lr"] = float("inf")
        with pytest.raises(FloatingPointError, match=r"^weights must be finite"):
            run_update(parts, random_advantages())


# --- bfloat16 ---------------------------------------------------------------------------------


def test_bfloat16_gives_nearly_the_same_losses() -> None:
    def losses(precision: str) -> dict[str, float]:
        settings = {"precision": precision, "predictor_proportion": 1.0, **ONE_STEP}
        with small_learner(ToyEnv(4, TERMINATED), **settings) as parts:
            parts.agent.obs_moments.update(
                np.random.default_rng(0).integers(0, 256, (9, 1, 44, 52), np.uint8)
            )
            collect(parts.env, parts.rollout, parts.backend)
            losses = run_update(parts, random_advantages(mean=3.0))
            assert {p.dtype for p in parts.agent.parameters} == {torch.float32}
            return losses

    full, half = losses("float32"), losses("bfloat16")
    assert half != full
    for name in ("policy", "ext_value", "int_value", "entropy", "predictor"):
        want = pytest.approx(full[f"losses/{name}"], rel=0.02)
        assert half[f"losses/{name}"] == want, name
