"""Three whole rollouts of training on real games, against the authors' iteration in float64.

The package trains as ``rndfast train`` does, and is watched: what it does to its environments, and
what it computes from what they show. The oracle gets its own experience, from ale-py's environments
to which the same is done, and the same random numbers for the predictor's loss; statistics,
rewards, advantages, losses, gradients and Adam's averages are its own over the whole run. Only the
weights it takes from the package before each of the optimiser's steps. Where it kept its own, they
would differ by rounding, and sooner or later a ReLU would be on in one and off in the other.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from tests.reference import authors
from tests.reference.ale import AleVectorEnv
from tests.reference.authors import (
    PpoAgent,
    Results,
    RunningMeanStd,
    Segment,
    VecFrameStack,
    Weights,
    warp_frame,
)
from torch import Tensor

from rndfast.config import AtariConfig, Config, EnvConfig, PpoConfig, RndConfig, RunConfig
from rndfast.envs.atari import AtariVectorEnv
from rndfast.envs.games import env_id

Array = NDArray[Any]
Policy = Literal["feedforward", "recurrent"]

ENVS, STEPS, ROLLOUTS = 8, 16, 3
RANDOM_STEPS = 2 * STEPS
EPISODE_STEPS = 13  # the time limit
SEED = 3
PROPORTION = 0.5  # of a minibatch, that trains the predictor
OPTIMIZER_STEPS = authors.NEPOCHS * authors.NMINIBATCHES


# --- the package, watched: all that is known of it stands here --------------------------------


class Reset(NamedTuple):
    """A reset of all environments, or of some."""

    seed: Array | None  # (N,), or none: the random numbers go on
    is_reset: Array  # (N,) bool


@dataclass
class Iteration:
    """What the package computed in one iteration."""

    results: Results
    ob_rms: RunningMeanStd  # as the update uses it
    rff_rms_int: RunningMeanStd
    masks: Array  # (16, N / 4, T) bool
    losses: dict[str, float] = field(default_factory=dict)  # means over the optimiser's steps
    gradients: list[dict[str, Tensor]] = field(default_factory=list)  # of each of its steps
    weights: list[dict[str, Tensor]] = field(
        default_factory=list
    )  # before each, and after the last


@dataclass
class Training:
    """A run, as far as it can be watched."""

    events: list[Reset | Array] = field(default_factory=list)  # resets, and actions (N,)
    iterations: list[Iteration] = field(default_factory=list)


def train_watched(policy: Policy, game: str, run_dir: Path) -> Training:
    """Train the package, and write down what it does."""
    config = Config(
        env=EnvConfig(env_id=env_id(game), num_envs=ENVS),
        atari=AtariConfig(max_num_frames_per_episode=4 * EPISODE_STEPS),
        ppo=PpoConfig(policy=policy, rollout_steps=STEPS),
        rnd=RndConfig(
            obs_norm_steps=RANDOM_STEPS, predictor_proportion=PROPORTION, num_features=128
        ),
        run=RunConfig(
            run_dir=run_dir,
            total_transitions=ROLLOUTS * STEPS * ENVS,
            seed=SEED,
            precision="float32",
            num_threads=1,
        ),
    )
    module = importlib.import_module("rndfast.runs.train")
    reset, step, send = AtariVectorEnv.reset, AtariVectorEnv.step, AtariVectorEnv.send
    compute_advantages, update = module.compute_advantages, module.update
    training = Training()
    sent: dict[int, int] = {}  # actions of the environments that have begun this step
    rews_int: list[Array] = []

    def watched_reset(env: AtariVectorEnv, *, seed: Any = None, options: Any = None) -> Any:
        mask = np.ones(ENVS, np.bool_) if options is None else options["reset_mask"]
        seeds = seed + np.arange(ENVS) if isinstance(seed, int) else seed
        training.events.append(Reset(None if seed is None else np.array(seeds), mask))
        result = reset(env, seed=seed, options=options)
        return stagger(env) if options is None else result

    def watched_step(env: AtariVectorEnv, actions: Array, **out: Any) -> Any:
        training.events.append(actions.copy())
        return step(env, actions, **out)

    def watched_send(env: AtariVectorEnv, actions: Array, env_ids: Any = None, **out: Any) -> None:
        ids = np.arange(ENVS) if env_ids is None else env_ids
        sent.update(zip(ids.tolist(), actions.tolist(), strict=True))
        if len(sent) == ENVS:
            training.events.append(np.array([sent[n] for n in range(ENVS)]))
            sent.clear()
        send(env, actions, env_ids, **out)

    def watched_advantages(rollout: Any, ext: Array, int_: Array, ppo: PpoConfig) -> Any:
        rews_int.append(int_)
        return compute_advantages(rollout, ext, int_, ppo)

    def watched_update(rollout: Any, backend: Any, advantages: Any, *rest: Any) -> dict[str, float]:
        agent = backend.agent
        values = np.concatenate([rollout.values, rollout.next_values[None]])
        iteration = Iteration(
            Results(
                nlps=-backend.log_probs.T,
                vpreds_int=values[..., 1].T,
                vpreds_ext=values[..., 0].T,
                rews_int=rews_int[-1].T,
                advs=advantages.combined.T,
                rets_int=advantages.returns[..., 1].T,
                rets_ext=advantages.returns[..., 0].T,
            ),
            ob_rms=copy_of(agent.obs_moments),
            rff_rms_int=copy_of(agent.bonus.return_moments),
            masks=masks_to_come(agent.generator),
        )
        training.iterations.append(iteration)

        def watch_step(*_: Any) -> None:
            iteration.weights.append(parameters_of(agent))
            iteration.gradients.append(parameters_of(agent, gradients=True))

        hook = agent.optimizer.register_step_pre_hook(watch_step)
        metrics: dict[str, float] = update(rollout, backend, advantages, *rest)
        hook.remove()
        iteration.weights.append(parameters_of(agent))
        iteration.losses = {name: metrics[f"losses/{name}"] for name in authors.LOSS_WEIGHTS}
        return metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AtariVectorEnv, "reset", watched_reset)
        patch.setattr(AtariVectorEnv, "step", watched_step)
        patch.setattr(AtariVectorEnv, "send", watched_send)
        patch.setattr(module, "compute_advantages", watched_advantages)
        patch.setattr(module, "update", watched_update)
        module.train(config, view=lambda _: None)
    return training


def copy_of(moments: Any) -> RunningMeanStd:
    copy = RunningMeanStd()
    copy.count = moments.count
    copy.mean, copy.var = moments.mean.squeeze(), moments.var.squeeze()  # one channel
    return copy


def masks_to_come(generator: torch.Generator) -> Array:
    """What the package is about to draw for each minibatch, step by step."""
    ahead = torch.Generator()
    ahead.set_state(generator.get_state())
    size = (STEPS, ENVS // authors.NMINIBATCHES)
    draws = [torch.rand(size, generator=ahead).T for _ in range(OPTIMIZER_STEPS)]
    return (torch.stack(draws) < PROPORTION).numpy()


def parameters_of(agent: Any, *, gradients: bool = False) -> dict[str, Tensor]:
    """Copies of the parameters, or of the gradients of those that learn."""
    networks = {
        "policy": agent.policy,
        "target": agent.bonus.networks.target.layers,
        "predictor": agent.bonus.networks.predictor.layers,
    }
    return {
        f"{network}.{name}": (parameter.grad if gradients else parameter.detach()).clone()
        for network, module in networks.items()
        for name, parameter in module.named_parameters()
        if parameter.grad is not None or not gradients
    }


# Layers of the package, and what the authors' iteration calls them.
SCOPES = {
    "policy.trunk.0": "c1",
    "policy.trunk.2": "c2",
    "policy.trunk.4": "c3",
    "policy.trunk.7": "fc1",
    "policy.trunk.9": "fc_additional",
    "policy.actor_residual": "fc2act",
    "policy.critic_residual": "fc2val",
    "policy.actor": "pd",
    "target.0": "target_c1",
    "target.2": "target_c2",
    "target.4": "target_c3",
    "target.7": "target_fc1",
    "predictor.0": "predictor_c1",
    "predictor.2": "predictor_c2",
    "predictor.4": "predictor_c3",
    "predictor.7": "predictor_fc1",
    "predictor.9": "predictor_fc2",
    "predictor.11": "predictor_fc3",
}


def by_the_authors(parameters: Mapping[str, Tensor]) -> Weights:
    """Weights, or their gradients, in the authors' layout."""
    of = {name: values.double() for name, values in parameters.items()}
    weights: Weights = {}
    for name, scope in SCOPES.items():
        if f"{name}.weight" in of:
            weights[f"{scope}/w"] = inputs_first(of[f"{name}.weight"])
            weights[f"{scope}/b"] = of[f"{name}.bias"]
    for head, scope in enumerate(("vf_ext", "vf_int")):
        weights[f"{scope}/w"] = inputs_first(of["policy.critic.weight"][head : head + 1])
        weights[f"{scope}/b"] = of["policy.critic.bias"][head : head + 1]
    if "policy.memory.weight_ih_l0" in of:
        of_input, of_state, bias = (
            of[f"policy.memory.{name}_l0"].chunk(3)
            for name in ("weight_ih", "weight_hh", "bias_ih")
        )
        for gate, scope in enumerate(("gru_reset", "gru_update", "gru_candidate")):
            weights[f"{scope}/w"] = torch.cat((of_input[gate], of_state[gate]), dim=1).T
            weights[f"{scope}/b"] = bias[gate]
    return weights


def inputs_first(weight: Tensor) -> Tensor:
    """A weight in TensorFlow's layout; inputs may be an image of 64 channels, which come last."""
    if weight.ndim == 4:
        return weight.permute(2, 3, 1, 0)
    if weight.shape[1] in (64 * 6 * 6, 64 * 7 * 7):
        weight = weight.reshape(len(weight), 64, -1).transpose(1, 2).flatten(1)
    return weight.T


# --- experience -------------------------------------------------------------------------------


def stagger(env: Any) -> Any:
    """Let environment n play N - 1 - n steps, so that its episodes end when no other's do."""
    for first in range(1, ENVS):
        env.step(np.zeros(ENVS, np.int64))
        result = env.reset(options={"reset_mask": np.arange(ENVS) >= first})
    return result


def replay(game: str, events: list[Reset | Array]) -> list[Segment]:
    """Do the same to ale-py's environments; returns what they showed after each staggered start."""
    env = AleVectorEnv(
        game,
        ENVS,
        num_threads=1,
        stack_num=1,
        grayscale=False,
        img_height=210,
        img_width=160,
        noop_max=0,
        use_fire_reset=False,
        reward_clipping=False,
        repeat_action_probability=0.25,
        max_num_frames_per_episode=4 * EPISODE_STEPS,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    stack = VecFrameStack(ENVS)
    after_resets: list[tuple[list[Array], ...]] = []
    for event in events:
        if isinstance(event, Reset):
            options = None if event.is_reset.all() else {"reset_mask": event.is_reset}
            ob = env.reset(seed=event.seed, options=options)[0]
            after_resets.append(([stack.reset(warp_frame(ob[:, 0]))], [np.ones(ENVS)], [], []))
        else:
            ob, rew, terminated, truncated, _ = env.step(event)
            new = (terminated | truncated).astype(np.float64)
            shown = stack.step(warp_frame(ob[:, 0]), new), new, event, rew
            for buffer, values in zip(after_resets[-1], shown, strict=True):
                buffer.append(values)
    env.close()
    return [
        Segment(*(np.stack(buffer, axis=1) for buffer in buffers))
        for buffers in after_resets
        if len(buffers[2]) > 1  # staggering goes on for one step at a time
    ]


# --- the comparison ---------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("policy", "game"),
    [
        ("feedforward", "montezuma_revenge"),
        ("recurrent", "montezuma_revenge"),
        ("feedforward", "asterix"),  # rewards of 50, which Montezuma's Revenge has none of so early
    ],
)
def test_three_rollouts_are_those_of_the_authors(policy: Policy, game: str, tmp_path: Path) -> None:
    training = train_watched(policy, game, tmp_path / "run")
    of_random_agent, of_policy = replay(game, training.events)
    is_first = of_policy.news[:, 1:]
    assert min(is_first.sum(axis=1)) >= 3  # every environment has ends of episodes
    assert max(is_first.sum(axis=0)) <= 3  # but not all at the same step
    assert game == "montezuma_revenge" or (of_policy.rews_ext > 1).sum() >= 10

    weights = by_the_authors(training.iterations[0].weights[0])
    agent = PpoAgent(weights, ENVS, 256 if policy == "recurrent" else 0)
    agent.collect_random_statistics(of_random_agent.obs[:, :-1], STEPS)
    assert len(training.iterations) == ROLLOUTS
    for number, package in enumerate(training.iterations):
        agent.weights = by_the_authors(package.weights[0])
        segment = of_policy.cut(number * STEPS, (number + 1) * STEPS)
        results = agent.iterate(segment)
        assert_statistics_equal(package.ob_rms, agent.ob_rms, 1e-12)
        assert_statistics_equal(package.rff_rms_int, agent.rff_rms_int, 1e-6)
        for name, expected in results._asdict().items():
            # values begin near 0, as differences of larger numbers
            tolerance = 1e-6 * np.abs(expected).max() + 2e-7
            actual = getattr(package.results, name)
            np.testing.assert_allclose(actual, expected, 0, tolerance, err_msg=f"{name} {number}")

        losses, distances = [], []
        moved = {name: torch.zeros_like(agent.weights[name]) for name in agent.adam.m}
        package_moved = {name: torch.zeros_like(values) for name, values in moved.items()}
        after = agent.weights
        for num, mask in enumerate(package.masks):
            before, after = after, by_the_authors(package.weights[num + 1])
            agent.weights = before
            step = agent.optimize(num, segment, results, mask)
            losses.append(step.losses)
            distances.append(distances_of(by_the_authors(package.gradients[num]), step.grads))
            for name in moved:
                moved[name] += agent.weights[name] - before[name]
                package_moved[name] += after[name] - before[name]
        for name, loss in package.losses.items():
            expected_loss = np.mean([of[name] for of in losses])
            assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-9), name
        for name in moved:
            of_steps = [of[name] for of in distances]
            # in a few steps a ReLU's input is so near 0 that rounding decides
            assert np.median(of_steps) < 1e-5, name
            assert max(of_steps) < 0.05, name
        # Adam divides a gradient by its size: of one that is nothing but rounding it makes as long
        # a step as of any other
        assert max(distances_of(package_moved, moved).values()) < 0.01


def assert_statistics_equal(
    actual: RunningMeanStd, expected: RunningMeanStd, tolerance: float
) -> None:
    assert actual.count == pytest.approx(expected.count, rel=1e-15)
    np.testing.assert_allclose(actual.mean, expected.mean.squeeze(), tolerance)
    np.testing.assert_allclose(actual.var, expected.var.squeeze(), tolerance)


def distances_of(actual: Weights, expected: Weights) -> dict[str, float]:
    """Norm of each difference, relative to what is expected."""
    assert actual.keys() == expected.keys()
    return {
        name: float((actual[name] - values).norm() / values.norm())
        for name, values in expected.items()
    }
