"""An agent, a rollout and the back end for the device that they are computed on."""

from __future__ import annotations

from typing import NamedTuple

from rndfast.config import Config
from rndfast.envs.protocol import Spaces
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Backend
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.gpu import GpuBackend
from rndfast.learner.rollout import Rollout
from rndfast.runtime.compute import CpuCompute, GpuCompute


class Learner(NamedTuple):
    """Who learns, what came of its actions, and what computes both."""

    agent: Agent
    rollout: Rollout
    backend: Backend


def make_learner(config: Config, env: Spaces, compute: CpuCompute | GpuCompute) -> Learner:
    """Make a learner; `rndfast.learner.rollout.start_episodes` gives it its first observations.

    Args:
        config: The settings of this process's environments.
        env: The environment, or another with its spaces.
        compute: The device.

    Raises:
        ValueError: Actions are neither Discrete nor a Box of one axis, or images are too small.
    """
    agent = Agent(config, env, compute.device, compute.pool)
    rollout = Rollout(config)
    backend: Backend
    if isinstance(compute, CpuCompute):
        backend = CpuBackend(config, agent, rollout, compute)
    else:
        backend = GpuBackend(config, agent, rollout, compute)
    return Learner(agent, rollout, backend)
