"""The state that training goes on from, as a checkpoint holds it: that of all ranks together."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast.envs.protocol import SameStepEnv
from rndfast.envs.rooms import earliest_visits
from rndfast.learner.agent import EXPERIENCE
from rndfast.learner.backend import Backend
from rndfast.learner.rollout import Rollout, start_episodes
from rndfast.runtime.processes import Ranks

# Axis of the environments in arrays of a state where it is not 0.
ENV_AXES = {"frames": 1}

CONSOLES = f"{EXPERIENCE}consoles."

# Most that the snapshots of one environment take: a hundred times what they do.
MAX_SNAPSHOT_BYTES = 1 << 20


class RunStates:
    """Copies of a run's state, one after each rollout: what a failure in the next cannot touch.

    They cost little. Memory is used again, as fresh memory takes longer to get than to fill;
    tensors stay on the device where they are; consoles are copied by all threads.

    Args:
        env: The environments that this rank steps.
        rollout: What came of them.
        backend: The agent, and what it observes.
    """

    def __init__(self, env: SameStepEnv, rollout: Rollout, backend: Backend) -> None:
        self._env, self._rollout, self._backend = env, rollout, backend
        # of the last copy but one, and of the last
        self._memory: list[dict[str, Tensor]] = [{}, {}]

    def take(self) -> dict[str, Tensor]:
        """Copy the state of all environments in the run's order; empty but on rank 0.

        It stays as it is until the next call but one. Only the consoles depend on the number of
        ranks: there is one state of them for each.
        """
        memory = self._memory.pop(0)
        ranks, own = self._backend.ranks, self._rollout.state()
        first_visits = own.pop("rooms.first_visits")
        observed = self._backend.state()
        if ranks.world_size > 1:  # rank 0 collects arrays
            own |= {name: tensor.cpu().numpy() for name, tensor in observed.items()}
            observed = {}
        whole = ranks.gather_envs(own, axes=ENV_AXES)
        consoles = ranks.gather(self._consoles(memory))
        all_first_visits = ranks.gather(first_visits)
        state: dict[str, Tensor] = {}
        if consoles is not None and all_first_visits is not None:
            whole["rooms.first_visits"] = earliest_visits(all_first_visits)
            experience = observed | {name: torch.from_numpy(a) for name, a in whole.items()}
            named = {f"{EXPERIENCE}{name}": tensor for name, tensor in experience.items()}
            state = copied(self._backend.agent.tensors() | named, memory)
            for rank, of_rank in enumerate(consoles):
                state[f"{CONSOLES}{rank}"] = torch.from_numpy(of_rank)
        self._memory.append(state)
        return state

    def packed(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A copy as a checkpoint holds it: on the host, consoles compressed; waits for a GPU."""
        on_host = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        for name, tensor in state.items():
            if name.startswith(CONSOLES):
                snapshot = self._env.snapshot_of(tensor.numpy()) if len(tensor) > 0 else b""
                compressed = np.frombuffer(zlib.compress(snapshot, level=1), np.uint8)
                on_host[name] = torch.from_numpy(compressed.copy())
        return on_host

    def _consoles(self, memory: dict[str, Tensor]) -> NDArray[np.uint8]:
        if not self._env.has_snapshots:
            return np.zeros(0, np.uint8)
        before = memory.get(f"{CONSOLES}{self._backend.ranks.rank}")
        return self._env.copy_state(None if before is None else before.numpy())


def copied(tensors: dict[str, Tensor], memory: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, where their devices are, in memory of the same names and shapes if any."""
    copies: dict[str, Tensor] = {}
    kinds: dict[tuple[torch.device, torch.dtype], list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        copy = memory.get(name)
        if copy is None or copy.shape != tensor.shape:
            copy = torch.empty_like(tensor)
        copies[name] = copy
        kinds[tensor.device, tensor.dtype].append(name)
    for names in kinds.values():  # on a GPU, in as few kernels as can be
        torch._foreach_copy_([copies[name] for name in names], [tensors[name] for name in names])
    return copies


def inflated(compressed: Tensor, num_envs: int) -> bytes:
    """The snapshots of up to ``num_envs`` environments that `packed` compressed.

    Raises:
        ValueError: They are something else, or larger than they can be.
    """
    limit = (num_envs + 1) * MAX_SNAPSHOT_BYTES
    inflation = zlib.decompressobj()
    try:
        data = inflation.decompress(compressed.numpy().tobytes(), limit)
    except zlib.error as error:
        raise ValueError(f"they are no zlib data ({error})") from None
    if not inflation.eof:
        reason = "cut off" if len(data) < limit else f"larger than {limit:,} bytes"
        raise ValueError(f"they are {reason}")
    if inflation.unused_data:
        raise ValueError(f"{len(inflation.unused_data):,} bytes come after their end")
    return data


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
    """Go on from a state of `RunStates.packed`, with the environments that this rank steps.

    New episodes begin in all environments where consoles cannot be restored: they are of another
    build or another number of ranks, or the environments have no snapshots.
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
    problem = restore_consoles(state, env, ranks, rollout.num_envs)
    if problem is not None:
        say(f"the environments begin new episodes: {problem}")
        start_episodes(env, rollout, backend, episode_seed(seed, int(state["transitions"])), ranks)


def restore_consoles(
    state: dict[str, Tensor], env: SameStepEnv, ranks: Ranks, num_envs: int
) -> str | None:
    """Restore the consoles of every rank; why they cannot be, the same on all, or None.

    If one rank's cannot, all begin new episodes: which ones are restored must not depend on it.
    """
    num_snapshots = sum(name.startswith(CONSOLES) for name in state)
    if num_snapshots != ranks.world_size:
        return f"they are of {num_snapshots} processes, and there are {ranks.world_size} now"
    problem = None
    try:
        env.restore(inflated(state[f"{CONSOLES}{ranks.rank}"], num_envs))
    except ValueError as error:
        problem = f"{error}" if ranks.world_size == 1 else f"process {ranks.rank}: {error}"
    of_ranks = ranks.gather(problem) or []
    return ranks.broadcast(next((found for found in of_ranks if found is not None), None))


def episode_seed(seed: int, transitions: int) -> int:
    """Seed of the environments for a reset after so many transitions.

    It is another one than ``seed``, which the random agent's episodes have.
    """
    return (seed * 1_000_003 + transitions + 1) % 2**31
