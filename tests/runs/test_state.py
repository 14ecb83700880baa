"""Copies of a run's state: what is in them, and that nothing that follows touches them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.tiny import tiny_config
from torch import Tensor

from rndfast.config import Config
from rndfast.envs.make import make_env
from rndfast.envs.protocol import SameStepEnv
from rndfast.learner.make import Learner, make_learner
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rollout import collect, start_episodes
from rndfast.runs.state import RunStates, load_run_state
from rndfast.runtime.compute import CpuCompute, GpuCompute


@contextlib.contextmanager
def learner_on(kind: str, config: Config) -> Iterator[tuple[SameStepEnv, Learner]]:
    """A learner on the real game, at the start of its episodes."""
    compute = (
        CpuCompute(config.run) if kind == "cpu" else GpuCompute(config.run, torch.device("cpu"))
    )
    with compute, contextlib.closing(make_env(config, 1)) as env:
        learner = make_learner(config, env, compute)
        start_episodes(env, learner.rollout, learner.backend, 0, compute.ranks)
        yield env, learner


def iterate(env: SameStepEnv, learner: Learner, config: Config) -> None:
    """One rollout and its update."""
    agent, rollout, backend = learner
    collect(env, rollout, backend)
    assert agent.bonus is not None
    raw = backend.intrinsic_rewards()
    int_rewards = agent.bonus.scale(raw, rollout.int_return_filter, backend.ranks)
    backend.update_obs_moments()
    ext_rewards = rollout.clipped(rollout.rewards_raw)
    update(
        rollout, backend, compute_advantages(rollout, ext_rewards, int_rewards, config.ppo), config
    )
    agent.transitions += config.rollout_transitions
    rollout.carry_over()
    backend.carry_over()


def cloned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_copy_outlasts_the_next_rollout_and_the_next_copy(kind: str, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with learner_on(kind, config) as (env, learner):
        states = RunStates(env, learner.rollout, learner.backend)
        copies, expected = [], []
        for _ in range(4):
            copies.append(states.take())
            expected.append(cloned(copies[-1]))
            if len(copies) > 1:
                assert_equal(copies[-2], expected[-2])
            iterate(env, learner, config)
            assert_equal(copies[-1], expected[-1])
        changed = [n for n in expected[3] if not torch.equal(expected[2][n], expected[3][n])]
        for name in ("experience.consoles.0", "experience.frames", "policy.actor.weight"):
            assert name in changed
        # memory is used again once the optimiser has its moments: after the first rollout
        assert {t.data_ptr() for t in copies[1].values()} & {
            t.data_ptr() for t in copies[3].values()
        }


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_from_a_packed_copy_training_goes_on_as_it_would_have(kind: str, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with learner_on(kind, config) as (env, learner):
        states = RunStates(env, learner.rollout, learner.backend)
        iterate(env, learner, config)
        state = states.take()
        assert state["experience.consoles.0"].numpy().tobytes() != env.snapshot()  # type: ignore[attr-defined]
        iterate(env, learner, config)  # which must not be seen in what is packed
        packed = cloned(states.packed(state))
        expected = cloned(states.take())
    with learner_on(kind, config) as (env, learner):
        lines: list[str] = []
        load_run_state(packed, env, learner.rollout, learner.backend, seed=0, say=lines.append)
        iterate(env, learner, config)
        assert_equal(RunStates(env, learner.rollout, learner.backend).take(), expected)
    assert lines == []
