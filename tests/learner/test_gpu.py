"""The GPU's back end, run on the CPU: it collects and learns what the CPU's does.

The oracle of both is NumPy and autograd, elsewhere in this folder. What is captured as a graph on a
GPU is called as it is here; `benchmarks/gpu_check.py` compares the two on a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference.learner import ToyEnv, ToyVectorEnv, small_config

from rndfast import RunningMoments
from rndfast.config import Config
from rndfast.envs.atari import AtariVectorEnv
from rndfast.envs.make import make_env
from rndfast.envs.protocol import SameStepEnv
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages, Backend, Minibatch
from rndfast.learner.gpu import GpuBackend, acting_copy, moments_of_sums, sums_of_bytes
from rndfast.learner.make import make_learner
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rollout import Rollout, collect, start_episodes
from rndfast.runtime.compute import CpuCompute, GpuCompute

Array = NDArray[Any]
TERMINATED, TRUNCATED = ((0, 0), (4, 1), (7, 2), (13, 0)), ((2, 3), (9, 0), (14, 2))
CPU = torch.device("cpu")


class Iteration(NamedTuple):
    """What one iteration of training made."""

    arrays: dict[str, Array]
    losses: dict[str, float]
    gradients: list[torch.Tensor]  # of the last optimiser step
    state: dict[str, torch.Tensor]


@contextlib.contextmanager
def learner_on(
    kind: str, config: Config, env: SameStepEnv
) -> Iterator[tuple[Agent, Rollout, Backend]]:
    compute = CpuCompute(config.run) if kind == "cpu" else GpuCompute(config.run, CPU)
    with compute:
        yield make_learner(config, env, compute)


def iterate(config: Config, env: SameStepEnv, rollout: Rollout, backend: Backend) -> Iteration:
    """One iteration, as `rndfast.train` makes it."""
    agent = backend.agent
    collect(env, rollout, backend)
    int_rewards = None
    if agent.bonus is not None:
        raw = backend.intrinsic_rewards()
        int_rewards = agent.bonus.scale(raw, rollout.int_return_filter, backend.ranks)
    if agent.uses_obs_moments:
        backend.update_obs_moments()
    ext_rewards = rollout.clipped(rollout.rewards_raw)
    advantages = compute_advantages(rollout, ext_rewards, int_rewards, config.ppo)
    losses = update(rollout, backend, advantages, config)
    arrays: dict[str, Array] = {
        "values": rollout.values.copy(),
        "next_values": rollout.next_values.copy(),
        "rewards": rollout.rewards_raw.copy(),
        "advantages": advantages.combined.copy(),
        "final_values": np.where(rollout.truncated[..., None], rollout.final_values, 0),
    }
    if int_rewards is not None:
        arrays["int_rewards"] = int_rewards
    rollout.carry_over()
    backend.carry_over()
    arrays |= {f"first.{name}": tensor.clone().numpy() for name, tensor in backend.state().items()}
    gradients = [p.grad.clone() for p in agent.parameters if p.grad is not None]
    return Iteration(arrays, losses, gradients, agent.state())


def iterations(kind: str, env: SameStepEnv, num_iterations: int, config: Config) -> list[Iteration]:
    with learner_on(kind, config, env) as (_, rollout, backend):
        start_episodes(env, rollout, backend, 0, backend.ranks)
        return [iterate(config, env, rollout, backend) for _ in range(num_iterations)]


def assert_same(ours: list[Iteration], expected: list[Iteration]) -> None:
    for got, want in zip(ours, expected, strict=True):
        assert got.arrays.keys() == want.arrays.keys()
        for name, values in want.arrays.items():
            np.testing.assert_allclose(got.arrays[name], values, rtol=2e-3, atol=2e-4, err_msg=name)
        assert got.losses == pytest.approx(want.losses, rel=1e-3, abs=1e-5)
        for gradient, other in zip(got.gradients, want.gradients, strict=True):
            assert float((gradient - other).norm()) <= 2e-3 * float(other.norm()) + 1e-7
        assert got.state.keys() == want.state.keys()
        for name, tensor in want.state.items():
            torch.testing.assert_close(
                got.state[name].double(), tensor.double(), rtol=1e-3, atol=1e-4, msg=name
            )


KINDS: dict[str, dict[str, Any]] = {
    "paper": {},
    "recurrent": {"policy": "recurrent"},
    "without bonus": {"int_coef": 0.0},
    "one head": {"two_value_heads": False, "int_gamma": 0.999},
    "of a common script": {
        "norm_adv": True,
        "shuffle_minibatches": True,
        "clip_vloss": True,
        "max_grad_norm": 0.5,
        "bootstrap_truncated": True,
    },
    "drnd": {"bonus": "drnd", "num_targets": 3},
    "all rows": {"predictor_proportion": 1.0, "overlap": False},
}


@pytest.mark.parametrize(
    ("world", "kind"),
    [
        *(("frames", kind) for kind in KINDS),
        ("colour", "paper"),
        ("vectors", "drnd"),
        ("vectors", "recurrent"),
        ("vectors", "of a common script"),
        ("continuous", "paper"),
        ("continuous", "without bonus"),
    ],
)
def test_three_iterations_are_those_of_the_cpu(world: str, kind: str) -> None:
    def make_world() -> ToyEnv:
        if world in ("frames", "colour"):
            return ToyEnv(4, TERMINATED, TRUNCATED, is_rgb=world == "colour")
        num_dims = 2 if world == "continuous" else None
        return ToyVectorEnv(4, TERMINATED, TRUNCATED, num_dims=num_dims)

    config = small_config(update_epochs=2, grayscale=world != "colour", **KINDS[kind])
    ours, expected = (iterations(device, make_world(), 3, config) for device in ("gpu", "cpu"))
    assert_same(ours, expected)


def test_three_iterations_on_the_real_game_are_those_of_the_cpu() -> None:
    config = small_config(
        num_envs=6,
        rollout_steps=12,
        max_num_frames_per_episode=40,
        num_features=64,
        img_height=84,
        img_width=84,
    )

    def run(device: str) -> list[Iteration]:
        with contextlib.closing(make_env(config, 2)) as env:
            assert isinstance(env, AtariVectorEnv)
            return iterations(device, env, 3, config)

    ours, expected = run("gpu"), run("cpu")
    assert any(iteration.arrays["final_values"].any() for iteration in expected)
    assert_same(ours, expected)


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_from_a_state_it_goes_on_as_it_would_have(policy: str) -> None:
    def second(is_another: bool) -> Iteration:
        env = ToyEnv(4, TERMINATED, TRUNCATED)
        config = small_config(policy=policy, update_epochs=1)
        with learner_on("gpu", config, env) as (agent, rollout, backend):
            start_episodes(env, rollout, backend, 0, backend.ranks)
            iterate(config, env, rollout, backend)
            if is_another:
                observed = {name: tensor.numpy() for name, tensor in backend.state().items()}
                state = {name: array.copy() for name, array in rollout.state().items()}
                other_rollout = Rollout(config)
                other_rollout.load_state(state)
                compute = GpuCompute(config.run, CPU)
                other_backend = GpuBackend(config, agent, other_rollout, compute)
                other_backend.load_state(observed)
                return iterate(config, env, other_rollout, other_backend)
            return iterate(config, env, rollout, backend)

    same, another = second(False), second(True)
    for name, values in same.arrays.items():
        np.testing.assert_array_equal(values, another.arrays[name], err_msg=name)
    assert same.losses == another.losses


@pytest.mark.parametrize("world", [ToyEnv, ToyVectorEnv])
def test_before_the_first_step_the_state_is_that_of_the_cpu(world: type[ToyEnv]) -> None:
    config = small_config(policy="recurrent")

    def state(device: str) -> dict[str, torch.Tensor]:
        env = world(4)
        with learner_on(device, config, env) as (_, rollout, backend):
            start_episodes(env, rollout, backend, 0, backend.ranks)
            return backend.state()

    ours, expected = state("gpu"), state("cpu")
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(ours[name], tensor), name


def test_a_state_of_other_sizes_is_refused_by_name() -> None:
    with (
        learner_on("gpu", small_config(num_envs=2), ToyEnv(2)) as (_, _, backend),
        learner_on("gpu", small_config(), ToyEnv(4)) as (_, _, other),
    ):
        observed = {name: tensor.numpy() for name, tensor in backend.state().items()}
        with pytest.raises(ValueError, match=r"^state 'frames' must have shape \(4, 4, .* \(4, 2"):
            other.load_state(observed)
        del observed["memory"]
        with pytest.raises(ValueError, match=r"^state 'memory' must .* nothing of this name$"):
            backend.load_state(observed)


def test_more_rows_for_the_predictor_than_before_are_all_learnt_from() -> None:
    """The tensors of an update hold a number of rows that is hardly ever exceeded."""
    config = small_config(predictor_proportion=0.01, num_minibatches=1, update_epochs=1)

    def losses(device: str) -> list[dict[str, float]]:
        env = ToyEnv(4, TERMINATED, TRUNCATED)
        with learner_on(device, config, env) as (agent, rollout, backend):
            start_episodes(env, rollout, backend, 0, backend.ranks)
            collect(env, rollout, backend)
            assert agent.bonus is not None
            zeros = np.zeros((6, 4), np.float32)
            advantages = Advantages(zeros, np.zeros((6, 4, 2), np.float32))
            choices, seen = torch.zeros(24, dtype=torch.int64), []
            for num_rows in (3, 24):
                mask = np.arange(24).reshape(6, 4) < num_rows
                minibatch = Minibatch(rollout.indices(), mask, num_rows, 0.0, 1.0)
                seen.append(backend.learn(advantages, [minibatch], choices))
            return seen

    for got, want in zip(losses("gpu"), losses("cpu"), strict=True):
        assert got == pytest.approx(want, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("num_frames", [1, 127, 128, 300])
def test_moments_of_bytes_are_those_of_the_core_bit_for_bit(num_frames: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 1, 9, 11), np.uint8)
    frames[:, 0, 0, 0] = 255
    sums = sums_of_bytes(torch.from_numpy(frames))
    count, mean, m2 = moments_of_sums(sums, num_frames, (1, 9, 11))
    expected = RunningMoments((1, 9, 11))
    expected.update(frames)
    assert count == expected.count
    np.testing.assert_array_equal(mean, expected.mean)
    np.testing.assert_array_equal(m2, expected.m2)


def test_the_acting_copy_has_last_layers_in_float32() -> None:
    with learner_on("gpu", small_config(policy="recurrent"), ToyEnv(4)) as (agent, _, _):
        acting = acting_copy(agent.policy, torch.bfloat16)
        dtypes = {name: parameter.dtype for name, parameter in acting.named_parameters()}
    assert {name for name, dtype in dtypes.items() if dtype == torch.float32} == {
        name for name in dtypes if name.startswith(("actor.", "critic.", "memory."))
    }
    assert not any(parameter.requires_grad for parameter in acting.parameters())


def test_bfloat16_acts_and_learns_within_its_bounds() -> None:
    settings = {"update_epochs": 1, "num_minibatches": 1, "predictor_proportion": 1.0}

    def losses(precision: str) -> dict[str, float]:
        env = ToyEnv(4, TERMINATED, TRUNCATED)
        config = small_config(precision=precision, **settings)
        return iterations("gpu", env, 1, config)[0].losses

    full, half = losses("float32"), losses("bfloat16")
    assert half != full
    for name in ("entropy", "predictor", "int_value"):
        assert half[f"losses/{name}"] == pytest.approx(full[f"losses/{name}"], rel=0.05), name
