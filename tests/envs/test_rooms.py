"""Rooms visited, against a history that is kept whole, and on the real game against its RAM."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference.learner import ToyEnv, small_config, small_learner

from rndfast.envs.make import make_env
from rndfast.envs.rooms import NEVER, Rooms, earliest_visits
from rndfast.learner.make import make_learner
from rndfast.learner.rollout import Rollout, collect, start_episodes
from rndfast.runs.figures import episode_metrics, room_metrics
from rndfast.runtime.compute import CpuCompute

Array = NDArray[Any]


def test_rooms_of_games_and_first_visits_are_those_of_the_whole_history() -> None:
    rng = np.random.default_rng(0)
    num_envs, num_steps = 5, 60
    rooms = Rooms(num_envs)
    games: list[set[int]] = [set() for _ in range(num_envs)]
    first_visits: dict[int, int] = {}
    counts, expected_counts = [], []
    steps = Counter[int]()
    for step in range(num_steps):
        for envs in (slice(0, 3), slice(3, 5)):  # halves
            n = envs.stop - envs.start
            ended = rng.random(n) < 0.3
            is_over = ended & (rng.random(n) < 0.5)  # otherwise a life was lost
            room, final_room = rng.integers(0, 2 + step, (2, n)).astype(np.int32)
            info: dict[str, Any] = {"room": room}
            if ended.any():
                info["final_info"] = {"room": np.where(ended, final_room, 0)}
            counts += rooms.note(envs, info, ended, is_over, step)
            for row, env in enumerate(range(envs.start, envs.stop)):
                last = int(final_room[row] if ended[row] else room[row])
                assert rooms.last[env] == last
                games[env].add(last)
                first_visits.setdefault(last, step)
                steps[last] += 1
                if is_over[row]:
                    expected_counts.append(len(games[env]))
                    games[env] = set()
                games[env].add(int(room[row]))
                first_visits.setdefault(int(room[row]), step)
    assert counts == expected_counts
    assert len(counts) > 20
    assert {room: count for room, count in enumerate(rooms.steps) if count} == steps
    found = np.flatnonzero(rooms.first_visits != NEVER)
    assert (
        dict(zip(found.tolist(), rooms.first_visits[found].tolist(), strict=True)) == first_visits
    )


def test_the_rooms_of_several_processes_are_those_of_any() -> None:
    never = NEVER
    parts = [[5, never, 9, never], [7, 2, never, never], [6, 8, 9, never]]
    together = earliest_visits([np.array(part) for part in parts])
    np.testing.assert_array_equal(together, [5, 2, 9, never])


def test_a_game_without_rooms_has_none() -> None:
    with small_learner() as parts:
        collect(parts.env, parts.rollout, parts.backend)
        assert episode_metrics(parts.rollout, parts.backend.ranks)["rnd/rooms"] is None
        assert room_metrics(parts.rollout, 0, parts.backend.ranks) == {}


def test_a_rollout_notes_the_rooms_that_the_ram_shows() -> None:
    """Episodes of ten steps on Montezuma's Revenge, whose room is byte 3 of the RAM."""
    config = small_config(num_envs=2, rollout_steps=12, max_num_frames_per_episode=40)
    with (
        CpuCompute(config.run) as compute,
        contextlib.closing(make_env(config, compute.num_threads)) as env,
    ):
        agent, rollout, backend = make_learner(config, env, compute)
        agent.transitions = 1000
        start = set(env.reset(seed=0)[1]["ram"][:, 3].tolist())
        start_episodes(env, rollout, backend, 0, compute.ranks)
        collect(env, rollout, backend)
        found = np.flatnonzero(rollout.rooms.first_visits != NEVER)
        assert set(found.tolist()) == start  # ten steps are not enough to leave it
        assert rollout.rooms.first_visits[found].tolist() == [1002]  # after the first step
        assert rollout.episodes.rooms == [1, 1]
        assert episode_metrics(rollout, backend.ranks)["rnd/rooms"] == len(start)
        (room,) = start
        in_row = {f"rooms/{room}/steps": 24, f"rooms/{room}/first_visit": 1002}
        assert room_metrics(rollout, 1000, backend.ranks) == in_row
        rollout.carry_over()
        backend.carry_over()
        agent.transitions = 1024
        collect(env, rollout, backend)  # nothing new
        assert room_metrics(rollout, 1024, backend.ranks) == {f"rooms/{room}/steps": 24}
        other = Rollout(config)
        other.load_state(rollout.state())
        np.testing.assert_array_equal(other.rooms.first_visits, rollout.rooms.first_visits)
        np.testing.assert_array_equal(other.rooms.visited, rollout.rooms.visited)


def test_a_state_without_rooms_or_of_other_sizes_is_refused_by_name() -> None:
    with small_learner(ToyEnv(2)) as parts, small_learner(ToyEnv(4)) as others:
        rollout, other = parts.rollout, others.rollout
    state = rollout.state()
    del state["rooms.visited"]
    with pytest.raises(ValueError, match=r"^state 'rooms.visited' must .* nothing of this name$"):
        rollout.load_state(state)
    with pytest.raises(ValueError, match=r"^state 'is_first' must have shape \(4,\), got \(2,\)"):
        other.load_state(rollout.state())
    observed = {name: tensor.numpy() for name, tensor in parts.backend.state().items()}
    with pytest.raises(ValueError, match=r"^state 'frames' must have shape \(4, 4, .* \(4, 2, "):
        others.backend.load_state(observed)
