"""What the state in a checkpoint must be: name, type, shape and range of every tensor.

Checksums say that a file is what somebody wrote, not that it is a state. It is compared with this
description before any of it is taken over: what does not fit is a `CheckpointError`.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TypeVar

import gymnasium
import torch
from torch import Tensor

from rndfast.config import Config, from_toml
from rndfast.envs.make import make_env_to_play
from rndfast.envs.protocol import Spaces
from rndfast.envs.rooms import NEVER
from rndfast.learner.agent import EXPERIENCE, Agent
from rndfast.runs.checkpoint import TENSORS, Checkpoint, CheckpointError
from rndfast.runs.state import CONSOLES, inflated, of_this_version

Value = TypeVar("Value")

OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Described:
    """What one tensor must be.

    Attributes:
        dtype: Its type.
        shape: Its shape.
        low: Least value; None: the least finite one of the type.
        high: Largest value; None: the largest finite one. NaN is in no range.
        is_new: An earlier version did not have it.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    is_new: bool = False


Description = dict[str, Described]

# Ranges of an agent's numbers, by the ends of their names; others must be finite.
RANGES: dict[str, tuple[float, float | None]] = {
    "transitions": (0, 2**62),
    ".count": (math.ulp(0.0), 2**53),  # up to there each sample still counts in float64
    ".m2": (0, None),
    ".step": (0, None),
    ".exp_avg_sq": (0, None),
}


def describe_agent(config: Config, spaces: Spaces) -> Description:
    """An agent's state by its settings, the optimiser's after a first step.

    It is that of an agent without numbers: no memory is taken, whatever the settings say.
    """
    with torch.device("meta"):
        agent = Agent(config, spaces, torch.device("meta"))
        tensors = agent.state() | agent.state_of_adam()
    described = {}
    for name, tensor in tensors.items():
        ranges = (bounds for end, bounds in RANGES.items() if name.endswith(end))
        low, high = next(ranges, (None, None))
        described[name] = Described(tensor.dtype, tuple(tensor.shape), low, high)
    return described | describe_experience(config, agent)


def describe_experience(config: Config, agent: Agent) -> Description:
    """What a rollout goes on from, of all environments of a run, but for the consoles."""
    num_envs, shape = config.env.num_envs, agent.observation_shape
    of_each = (num_envs,)
    described = {
        "is_first": Described(torch.bool, of_each),
        "clipped_returns": Described(torch.float64, of_each),
        "earlier_returns": Described(torch.float64, of_each, is_new=True),
        "earlier_lengths_steps": Described(torch.int64, of_each, low=0, is_new=True),
        "int_return_filter.carry": Described(torch.float64, of_each),
        "rooms.visited": Described(torch.bool, (num_envs, 256)),
        "rooms.first_visits": Described(torch.int64, (256,), low=NEVER),
        "memory": Described(torch.float32, (num_envs, agent.policy.memory_size)),
    }
    if agent.sees_images:
        frames = (config.atari.stack_num, num_envs, *shape)
        described["frames"] = Described(torch.uint8, frames)
        described["valid_frames"] = Described(torch.uint8, of_each)
    else:  # an environment may say that something is infinitely far
        vectors = (num_envs, *shape)
        described["vectors"] = Described(torch.float32, vectors, low=-math.inf, high=math.inf)
    return {f"{EXPERIENCE}{name}": of for name, of in described.items()}


def require_resumable(checkpoint: Checkpoint, config: Config, spaces: Spaces) -> None:
    """Check all of a state that a run of these settings would go on from.

    Raises:
        CheckpointError: Something is missing, unknown, or of another type, shape or range.
    """
    state = of_this_version(checkpoint.state)
    consoles = {name: tensor for name, tensor in state.items() if name.startswith(CONSOLES)}
    others = {name: tensor for name, tensor in state.items() if name not in consoles}
    description = describe_agent(config, spaces)
    if not any(name.startswith(OPTIMIZER) for name in state):  # before the first step
        description = without(description, OPTIMIZER)
    try:
        require_described(others, description)
        for rank in range(max(1, len(consoles))):
            if f"{CONSOLES}{rank}" not in consoles:
                raise ValueError(f"state '{CONSOLES}{rank}' must be there, got {sorted(consoles)}")
        for name, tensor in consoles.items():
            length = tensor.shape[0] if tensor.ndim == 1 else -1
            require_described({name: tensor}, {name: Described(torch.uint8, (length,))})
            try:
                inflated(tensor, config.env.num_envs)
            except ValueError as error:
                raise ValueError(f"state {name!r} must be compressed snapshots: {error}") from None
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path / TENSORS}: {error}") from None


def verdict(checkpoint: Checkpoint) -> str:
    """Check all that a checkpoint holds, by its own settings; what it is good for, in words.

    The state is not checked where its environment cannot be made here, or only by importing a
    module.

    Raises:
        CheckpointError: Its settings are wrong, or its agent is not one of them.
    """
    config = settings_of(checkpoint)
    unchecked = "its sums are right, its state is not checked: "
    if config.env.imported_module is not None:
        return f"{unchecked}that would import {config.env.imported_module}"
    try:
        env = make_env_to_play(config, num_envs=1)
    except (ImportError, gymnasium.error.Error, ValueError) as error:
        if config.env.is_atari:  # all of them are here
            raise CheckpointError(f"the settings in {checkpoint.path}: {error}") from None
        return f"{unchecked}{error}"
    with contextlib.closing(env):
        playable_state(checkpoint, config, env)
        try:
            require_resumable(checkpoint, config, env)
        except CheckpointError as error:  # also of earlier versions
            return f"verified to play, no run can go on from it: {error}"
    return "verified"


def playable_state(checkpoint: Checkpoint, config: Config, spaces: Spaces) -> dict[str, Tensor]:
    """What an agent of these settings needs to play, checked; nothing else is looked at.

    Raises:
        CheckpointError: Something is missing, unknown, or of another type, shape or range.
    """
    state = without(of_this_version(checkpoint.state), OPTIMIZER, EXPERIENCE)
    try:
        require_described(state, without(describe_agent(config, spaces), OPTIMIZER, EXPERIENCE))
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    return state


def settings_of(checkpoint: Checkpoint) -> Config:
    """The settings that a checkpoint was made with.

    Raises:
        CheckpointError: They are wrong.
    """
    try:
        return from_toml(checkpoint.config_toml)
    except ValueError as error:
        raise CheckpointError(f"the settings in {checkpoint.path}: {error}") from None


def require_described(state: dict[str, Tensor], description: Description) -> None:
    """Check every tensor of a state.

    Raises:
        ValueError: The first that is not as described, with what was expected and found.
    """
    for name in sorted(description.keys() | state.keys()):
        expected, tensor = description.get(name), state.get(name)
        if expected is None:
            raise ValueError(f"state {name!r} is unknown: it must not be there")
        if tensor is None:
            if expected.is_new:
                continue
            raise ValueError(
                f"state {name!r} must be {text_of(expected)}, got nothing of this name"
            )
        found = Described(tensor.dtype, tuple(tensor.shape))
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            raise ValueError(f"state {name!r} must be {text_of(expected)}, got {text_of(found)}")
        if name == "generator":
            _require_generator(tensor)
        else:
            _require_range(name, tensor, expected)


def text_of(described: Described) -> str:
    """Type and shape, in words."""
    return f"{str(described.dtype).removeprefix('torch.')} of shape {described.shape}"


def without(named: dict[str, Value], *begins: str) -> dict[str, Value]:
    """What has names that begin in another way."""
    return {name: value for name, value in named.items() if not name.startswith(begins)}


def _require_range(name: str, tensor: Tensor, expected: Described) -> None:
    if tensor.numel() == 0:
        return
    if tensor.dtype == torch.bool:  # a byte each in the file, whatever it is
        tensor, low, high = tensor.view(torch.uint8), 0.0, 1.0
    else:
        limits = (
            torch.finfo(tensor.dtype) if tensor.is_floating_point() else torch.iinfo(tensor.dtype)
        )
        low = limits.min if expected.low is None else expected.low
        high = limits.max if expected.high is None else expected.high
    for value in tensor.aminmax():  # both NaN if one number is
        if not low <= value.item() <= high:
            raise ValueError(f"state {name!r} must be in [{low:g}, {high:g}], got {value:g}")


def _require_generator(state: Tensor) -> None:
    """Check that it is a generator's state, from which numbers come that differ and are finite."""
    generator = torch.Generator()
    try:
        generator.set_state(state)
    except RuntimeError as error:
        raise ValueError(f"state 'generator' must be a random generator's: {error}") from None
    # the numbers that it keeps for the next calls, of each type, then those of its words
    drawn = [torch.randn(1, generator=generator, dtype=of) for of in (torch.float32, torch.float64)]
    drawn.append(torch.rand(1248, generator=generator))
    if not all(numbers.isfinite().all() for numbers in drawn) or not drawn[-1].std() > 0:
        raise ValueError("state 'generator' must be a random generator's: it draws no numbers")
