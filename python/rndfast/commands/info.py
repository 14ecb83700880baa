"""``rndfast info``: what a run directory holds, and what this installation can do."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch

import rndfast
from rndfast._core import usable_cores
from rndfast.commands.display import number
from rndfast.config import load_run_config
from rndfast.envs.games import GAMES, env_id
from rndfast.envs.rooms import NEVER
from rndfast.learner.agent import EXPERIENCE
from rndfast.runs.agent_file import read_agent
from rndfast.runs.alarms import find_alarms
from rndfast.runs.checkpoint import Checkpoint, CheckpointError, list_checkpoints, load_checkpoint
from rndfast.runs.description import settings_of, verdict
from rndfast.runs.metrics import read_metrics
from rndfast.runtime.terminal import open_console

LIBRARIES = ("torch", "gymnasium", "ale-py", "numpy")


def describe_installation() -> None:
    """Print versions, the processor's abilities and the games."""
    console = open_console()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    console.print(f"rndfast {rndfast.__version__} with {libraries}")
    console.print(f"{usable_cores()} cores, kernels for {rndfast.ThreadPool(1).simd_level}")
    console.print(f"{len(GAMES)} games: {', '.join(env_id(game) for game in GAMES)}")


def describe_agent(path: Path) -> None:
    """Print what a file of `rndfast export` holds.

    Raises:
        CheckpointError: It is no such file, or it is damaged.
    """
    console = open_console()
    agent = read_agent(path)
    config = settings_of(agent)
    console.print(
        f"{path}: an agent of {config.env.env_id}, trained on {agent.transitions:,} transitions"
    )
    for network in ("policy", "rnd.target", "rnd.targets", "rnd.predictor"):
        size = sum(t.numel() for name, t in agent.state.items() if name.startswith(f"{network}."))
        if size:
            console.print(f"  {network:32} {size:,} weights")


def describe_run(run_dir: Path) -> None:
    """Print how far a run is, its last metrics and whether each checkpoint verifies.

    Raises:
        FileNotFoundError: There is no run.
        CheckpointError: A checkpoint does not verify; all have been described by then.
    """
    console = open_console()
    config = load_run_config(run_dir)
    rows = read_metrics(run_dir / "metrics.jsonl")
    done = rows[-1]["transitions"] if rows else 0
    console.print(
        f"{run_dir}: {config.env.env_id}, {done:,} of {config.run.total_transitions:,} transitions"
    )
    console.print(
        f"{config.env.num_envs} environments x {config.ppo.rollout_steps} steps, "
        f"seed {config.run.seed}, {config.run.device}, {config.run.precision}"
    )
    for key, value in (rows[-1] if rows else {}).items():
        console.print(f"  {key:32} {number(value)}")
    for alarm in find_alarms(rows, config.ppo.rollout_steps):
        console.print(str(alarm))
    damaged = []
    newest: Checkpoint | None = None
    for path in list_checkpoints(run_dir / "checkpoints"):
        try:
            checkpoint = load_checkpoint(path)
            said = verdict(checkpoint)
        except CheckpointError as error:
            if not path.exists():
                continue  # the run that is under way has deleted it, as it keeps only the newest
            damaged.append(error)
            console.print(f"{path.name}: {error}", style="red")
        else:
            size = sum(tensor.nbytes for tensor in checkpoint.state.values())
            console.print(f"{path.name}: {said}, {size / 2**20:.1f} MiB")
            newest = newest or checkpoint
    if newest is not None and (visits := first_visits(newest)):
        rooms = ", ".join(f"{room} at {transitions:,}" for room, transitions in visits)
        console.print(f"rooms, and transitions up to the first visit: {rooms}")
    if damaged:
        raise CheckpointError(f"{len(damaged)} checkpoints of {run_dir} are damaged")


def first_visits(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Rooms that a run had visited, each with the transitions up to then, in that order."""
    first = checkpoint.state.get(f"{EXPERIENCE}rooms.first_visits")
    if first is None or (first.dtype, first.ndim) != (torch.int64, 1):
        return []  # an earlier version had none
    visits = enumerate(first.tolist())
    return sorted(
        ((room, transitions) for room, transitions in visits if transitions != NEVER),
        key=lambda visit: (visit[1], visit[0]),
    )
