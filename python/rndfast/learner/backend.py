"""What acting and learning need of a device; `CpuBackend` and `GpuBackend` do it in two ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rndfast.learner.agent import Agent
from rndfast.runtime.processes import Moments, Ranks
from rndfast.runtime.timeline import Timeline


@dataclass(frozen=True)
class Advantages:
    """What the update learns from."""

    combined: NDArray[np.float32]  # (T, N): sum over streams of coef * advantage, not normalised
    returns: NDArray[np.float32]  # (T, N, V)


@dataclass(frozen=True)
class Minibatch:
    """What one optimiser step learns from, as indices ``t * N + n`` of transitions.

    Contiguous slices of environments are ``(T, n)``, transitions in any order ``(1, B)``.
    """

    indices: NDArray[np.int64]
    trains_predictor: NDArray[np.bool_] | None  # like indices; None without a bonus
    num_predictor_rows: int  # that train the predictor in all processes, at least 1
    advantage_shift: float  # subtracted from the advantages, which are then
    advantage_scale: float  # divided by this


class Backend(Protocol):
    """Acts and learns with an agent, and holds what the networks read of a rollout.

    ``groups`` are the parts of the environments that are stepped in turn, each as a whole.
    """

    agent: Agent
    ranks: Ranks
    timeline: Timeline
    groups: list[slice]

    # --- the rollout's observations ---

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset; nothing is remembered."""

    def next_row(self, t: int, envs: slice) -> NDArray[np.uint8] | None:
        """Where environments may write the frames that follow step ``t``; None: nowhere."""

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], is_first: NDArray[np.bool_]
    ) -> None:
        """Store what followed step ``t``, if it is not in `next_row` already."""

    def carry_over(self) -> None:
        """Make the observation after the rollout the first one of the next."""

    def state(self) -> dict[str, Tensor]:
        """What the first observation and the memory consist of, where it is: not copied."""

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over a state of `state`; more entries than its own are ignored.

        Raises:
            ValueError: An array is missing or of another shape.
        """

    # --- acting ---

    def begin(self) -> None:
        """Prepare for acting, and draw the noise that decides the actions.

        Until the next call actions go by the weights and statistics of now.
        """

    def start_act(self, t: int, envs: slice) -> None:
        """Begin to choose actions at observation ``t`` of a group, on a device of its own."""

    def act(self, t: int, envs: slice) -> NDArray[Any]:
        """Choose them, or wait until they are chosen: ``(n,)`` or ``(n, K)``."""

    def final_values(self, t: int, n: int, observation: NDArray[Any]) -> NDArray[np.float32]:
        """``(V,)``: values of the observation that ended an episode at step ``t``."""

    def value_last_observations(self) -> None:
        """Value the observations after the last step; with it all values are on the host."""

    # --- bonus and statistics ---

    def intrinsic_rewards(self) -> NDArray[np.float32]:
        """``(T, N)``: rewards of the next observations by the statistics so far, not scaled."""

    def update_obs_moments(self) -> None:
        """Let the observations acted on enter the agent's statistics."""

    # --- learning ---

    def learn(
        self, advantages: Advantages, minibatches: list[Minibatch], choices: Tensor
    ) -> dict[str, float]:
        """Make an optimiser step for each minibatch.

        Args:
            advantages: Of the rollout.
            minibatches: What each step learns from.
            choices: ``(T * N,)`` int64 on the host: the bonus's target of each transition; without
                a bonus ``(0,)``.

        Returns:
            Means over the steps: this process's part of each loss and of the gradient's norm; the
            parts of all processes add up to them.
        """

    def target_moments(self) -> Moments:
        """Moments of the features that the predictor was trained to predict; only with a bonus."""
