"""The state that training goes on from, as a checkpoint holds it: that of all ranks together."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rndfast.envs.protocol import SameStepEnv
from rndfast.envs.rooms import earliest_visits
from rndfast.learner.agent import EXPERIENCE, Agent
from rndfast.learner.rollout import Rollout, reset_envs
from rndfast.runtime.processes import Ranks

# Axis of the environments in arrays of a state where it is not 0.
ENV_AXES = {"frames": 1}


def run_state(agent: Agent, env: SameStepEnv, rollout: Rollout, ranks: Ranks) -> dict[str, Tensor]:
    """The state of agent, rollout and all environments in the run's order; empty but on rank 0.

    Only the consoles depend on the number of ranks: there is one snapshot for each.
    """
    own = rollout.state() | {"int_return_filter.carry": agent.int_return_filter.carry}
    first_visits = own.pop("rooms.first_visits")
    whole = ranks.gather_envs(own, axes=ENV_AXES)
    snapshot = zlib.compress(env.snapshot() if env.has_snapshots else b"", level=1)
    snapshots = ranks.gather(np.frombuffer(snapshot, np.uint8))
    all_first_visits = ranks.gather(first_visits)
    if snapshots is None or all_first_visits is None:
        return {}
    state = agent.state()
    state["int_return_filter.carry"] = torch.from_numpy(whole.pop("int_return_filter.carry"))
    whole["rooms.first_visits"] = earliest_visits(all_first_visits)
    whole |= {f"consoles.{rank}": snapshot for rank, snapshot in enumerate(snapshots)}
    return state | {f"{EXPERIENCE}{name}": torch.from_numpy(a.copy()) for name, a in whole.items()}


def load_run_state(
    state: dict[str, Tensor],
    agent: Agent,
    env: SameStepEnv,
    rollout: Rollout,
    *,
    seed: int,
    ranks: Ranks,
    say: Callable[[str], None],
) -> None:
    """Go on from a state that `run_state` returned, with the environments that this rank steps.

    New episodes begin where the consoles cannot be restored: they are of another build or another
    number of ranks, or the environments have no snapshots.
    """
    carry = ranks.own(state["int_return_filter.carry"])
    agent.load_state(state | {"int_return_filter.carry": carry})
    own = {
        name.removeprefix(EXPERIENCE): tensor.numpy()
        for name, tensor in state.items()
        if name.startswith(EXPERIENCE)
    }
    for name in rollout.state().keys() - {"rooms.first_visits"}:
        if name in own:
            own[name] = ranks.own(own[name], axis=ENV_AXES.get(name, 0))
    rollout.load_state(own)
    num_snapshots = sum(name.startswith("consoles.") for name in own)
    try:
        if num_snapshots != ranks.world_size:
            raise ValueError(
                f"they are of {num_snapshots} processes, and there are {ranks.world_size} now"
            )
        env.restore(zlib.decompress(own[f"consoles.{ranks.rank}"].tobytes()))
    except ValueError as error:
        say(f"the environments begin new episodes: {error}")
        rollout.start(reset_envs(env, episode_seed(seed, int(state["transitions"])), ranks))


def episode_seed(seed: int, transitions: int) -> int:
    """Seed of the environments for a reset after so many transitions.

    It is another one than ``seed``, which the random agent's episodes have.
    """
    return (seed * 1_000_003 + transitions + 1) % 2**31
