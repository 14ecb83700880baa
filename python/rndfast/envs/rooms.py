"""Rooms that the agent has been in, in games that keep the number of the present one in RAM."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEVER = -1


class Rooms:
    """Rooms of the games under way, and the first visit ever to each.

    ``visited``: ``(N, 256)`` bool. ``first_visits``: ``(256,)`` int64, transitions over all
    environments up to the step that ended there; `NEVER` before. ``steps``: ``(256,)`` int64, steps
    of this rollout that ended there. ``last``: ``(N,)`` int64, the room that each environment's
    latest step ended in. In games whose rooms are not known, no room is ever marked, and ``last``
    stays `NEVER`.

    Args:
        num_envs: N.
    """

    def __init__(self, num_envs: int) -> None:
        self.visited = np.zeros((num_envs, 256), np.bool_)
        self.first_visits = np.full(256, NEVER, np.int64)
        self.steps = np.zeros(256, np.int64)
        self.last = np.full(num_envs, NEVER, np.int64)

    def note(
        self,
        envs: slice,
        info: dict[str, Any],
        ended: NDArray[np.bool_],
        is_over: NDArray[np.bool_],
        transitions: int,
    ) -> list[int]:
        """Mark the rooms that a step of some environments has shown.

        Args:
            envs: The environments.
            info: Of the step, with same-step autoreset: ``room`` and, where an episode ended,
                ``final_info``.
            ended: ``(n,)``: whose episode ended.
            is_over: ``(n,)``: of these, whose game did.
            transitions: Transitions over all environments up to this step.

        Returns:
            The number of rooms of each game that ended.
        """
        visited, rows = self.visited[envs], np.arange(len(ended))
        rooms, some_ended = info["room"], bool(ended.any())
        last_rooms = np.where(ended, info["final_info"]["room"], rooms) if some_ended else rooms
        self.last[envs] = last_rooms
        self.steps += np.bincount(last_rooms, minlength=256)
        if not some_ended and visited[rows, rooms].all():  # nothing new, as in most steps
            return []
        visited[rows, last_rooms] = True
        num_rooms: list[int] = visited[is_over].sum(axis=1).tolist()
        visited[is_over] = False
        visited[rows, rooms] = True  # of the next game, where one ended
        seen = np.concatenate((last_rooms, rooms))
        self.first_visits[seen[self.first_visits[seen] == NEVER]] = transitions
        return num_rooms


def earliest_visits(first_visits: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """``(256,)``: the earliest of several processes' first visits to each room."""
    visits = np.stack(first_visits)
    earliest = np.where(visits == NEVER, np.iinfo(np.int64).max, visits).min(axis=0)
    found: NDArray[np.int64] = np.where((visits != NEVER).any(axis=0), earliest, NEVER)
    return found
