"""What training asks of an environment, written as types that any environment may have."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rndfast.runtime.timeline import TracedThreads

# observations, rewards, terminations, truncations and info
Step = tuple[
    NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class Spaces(Protocol):
    """What an agent must know of an environment."""

    @property
    def single_observation_space(self) -> gymnasium.Space[Any]:
        """Of one environment."""

    @property
    def single_action_space(self) -> gymnasium.Space[Any]:
        """Of one environment."""


class SameStepEnv(Spaces, Protocol):
    """A vector environment as Gymnasium's, with same-step autoreset.

    Attributes:
        num_envs: Number of environments.
        has_snapshots: Whether `copy_state` and `restore` work. Where they do not, a resumed run
            begins new episodes.
        render_fps: How many pictures of `render` make up a second.
        pixel_aspect: Height of a pixel of these pictures, in widths of it.
    """

    num_envs: int
    has_snapshots: bool
    render_fps: float
    pixel_aspect: float

    @property
    def traced_threads(self) -> TracedThreads | None:
        """The threads that step the environments, for a trace; None: the caller's own."""

    def reset(self, *, seed: int | list[int] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode in each environment."""

    def step(self, actions: NDArray[Any]) -> Step:
        """Step each environment; an observation after an episode's end is the next one's first."""

    def send(
        self,
        actions: NDArray[Any],
        env_ids: NDArray[np.int64],
        *,
        out: NDArray[Any] | None = None,
    ) -> None:
        """Begin to step some environments."""

    def recv(self) -> Step:
        """Wait for the oldest `send`; returns what `step` does of its environments."""

    def copy_state(self, memory: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the whole state, in memory that an earlier call returned or in new memory."""

    def snapshot_of(self, state: NDArray[np.uint8]) -> bytes:
        """Make of a copied state what `restore` takes: it takes longer, and is for what is kept."""

    def restore(self, snapshot: bytes) -> None:
        """Return to a state.

        Raises:
            ValueError: It is of other environments, or nothing can be restored.
        """

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Pictures of the environments, each ``(H, W, 3)``."""

    def close(self) -> None:
        """Free what the environments hold."""
