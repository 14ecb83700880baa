"""The state that training goes on from, as a checkpoint holds it: that of all ranks together."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rndfast.envs.protocol import SameStepEnv
from rndfast.envs.rooms import earliest_visits
from rndfast.learner.agent import EXPERIENCE
from rndfast.learner.backend import Backend
from rndfast.learner.rollout import Rollout, start_episodes

# Axis of the environments in arrays of a state where it is not 0.
ENV_AXES = {"frames": 1}

CONSOLES = f"{EXPERIENCE}consoles."


def run_state(env: SameStepEnv, rollout: Rollout, backend: Backend) -> dict[str, Tensor]:
    """A copy of the state of all environments in the run's order; empty but on rank 0.

    It costs little, as it is taken after every rollout: tensors stay on the device where they are,
    and `packed` makes of it what is written. Only the consoles depend on the number of ranks: there
    is one snapshot for each.
    """
    ranks = backend.ranks
    own = rollout.state()
    first_visits = own.pop("rooms.first_visits")
    observed = backend.state()
    if ranks.world_size > 1:  # rank 0 collects arrays
        own |= {name: tensor.cpu().numpy() for name, tensor in observed.items()}
        observed = {}
    whole = ranks.gather_envs(own, axes=ENV_AXES)
    snapshot = env.snapshot() if env.has_snapshots else b""
    snapshots = ranks.gather(np.frombuffer(snapshot, np.uint8))
    all_first_visits = ranks.gather(first_visits)
    if snapshots is None or all_first_visits is None:
        return {}
    whole["rooms.first_visits"] = earliest_visits(all_first_visits)
    whole |= {f"consoles.{rank}": snapshot for rank, snapshot in enumerate(snapshots)}
    experience = observed | {name: torch.from_numpy(a.copy()) for name, a in whole.items()}
    named = {f"{EXPERIENCE}{name}": tensor for name, tensor in experience.items()}
    return backend.agent.state() | named


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state on the host, with compressed consoles: what a checkpoint holds; waits for a GPU."""
    on_host = {name: tensor.cpu() for name, tensor in state.items()}
    for name in [name for name in on_host if name.startswith(CONSOLES)]:
        compressed = zlib.compress(on_host[name].numpy().tobytes(), level=1)
        on_host[name] = torch.from_numpy(np.frombuffer(compressed, np.uint8).copy())
    return on_host


def of_this_version(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a checkpoint, that of an earlier version under today's names.

    Earlier, the discounted sums of rewards were the agent's, and an agent without a bonus had the
    statistics of their scale too.
    """
    old_names = {"int_return_filter.carry": f"{EXPERIENCE}int_return_filter.carry"}
    has_bonus = any(name.startswith("rnd.") for name in state)
    return {
        old_names.get(name, name): tensor
        for name, tensor in state.items()
        if has_bonus or not name.startswith("int_return_moments.")
    }


def load_run_state(
    state: dict[str, Tensor],
    env: SameStepEnv,
    rollout: Rollout,
    backend: Backend,
    *,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Go on from a state that `packed` returned, with the environments that this rank steps.

    New episodes begin where the consoles cannot be restored: they are of another build or another
    number of ranks, or the environments have no snapshots.
    """
    ranks = backend.ranks
    state = of_this_version(state)
    backend.agent.load_state(state)
    own = {
        name.removeprefix(EXPERIENCE): tensor.numpy()
        for name, tensor in state.items()
        if name.startswith(EXPERIENCE)
    }
    of_envs = (rollout.state() | backend.state()).keys() - {"rooms.first_visits"}
    for name in of_envs & own.keys():
        own[name] = ranks.own(own[name], axis=ENV_AXES.get(name, 0))
    rollout.load_state(own)
    backend.load_state(own)
    num_snapshots = sum(name.startswith("consoles.") for name in own)
    try:
        if num_snapshots != ranks.world_size:
            raise ValueError(
                f"they are of {num_snapshots} processes, and there are {ranks.world_size} now"
            )
        env.restore(zlib.decompress(own[f"consoles.{ranks.rank}"].tobytes()))
    except ValueError as error:
        say(f"the environments begin new episodes: {error}")
        start_episodes(env, rollout, backend, episode_seed(seed, int(state["transitions"])), ranks)


def episode_seed(seed: int, transitions: int) -> int:
    """Seed of the environments for a reset after so many transitions.

    It is another one than ``seed``, which the random agent's episodes have.
    """
    return (seed * 1_000_003 + transitions + 1) % 2**31
