"""`send` and `recv` for test environments that can only step all of their copies at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Step = tuple[Array, Array, Array, Array, dict[str, Any]]


class SteppedTogether(ABC):
    """`send` and `recv` over `step`, which is called once every environment has its action."""

    num_envs: int
    has_snapshots = True
    render_fps = 30.0
    pixel_aspect = 1.0
    traced_threads = None

    def __init__(self) -> None:
        self._sent: list[tuple[Array, Array | None]] = []  # not yet received, oldest first
        self._actions: dict[int, Any] = {}
        self._step: Step | None = None

    @abstractmethod
    def step(self, actions: Array) -> Step:
        """Step all environments."""

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Nothing to see."""
        raise NotImplementedError

    def send(self, actions: Array, env_ids: Array, *, out: Array | None = None) -> None:
        """Keep the actions; step if they are the last."""
        self._sent.append((env_ids, out))
        self._actions |= dict(zip(env_ids.tolist(), actions.tolist(), strict=True))
        if len(self._actions) == self.num_envs:
            self._step = self.step(np.array([self._actions[n] for n in range(self.num_envs)]))
            self._actions.clear()

    def recv(self) -> Step:
        """Return the oldest `send`'s part of the step."""
        env_ids, out = self._sent.pop(0)
        assert self._step is not None
        *arrays, info = self._step
        observations, rewards, terminated, truncated = (array[env_ids] for array in arrays)
        if out is not None:
            out[:] = observations[:, -1:]  # the newest frames
            observations = out
        return (
            observations,
            rewards,
            terminated,
            truncated,
            {name: values[env_ids] for name, values in info.items()},
        )
