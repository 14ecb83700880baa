"""States of single environments: taken, put back and copied, against environments that went on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rndfast import AtariVectorEnv

Array = NDArray[Any]
SETTINGS: dict[str, Any] = {
    "img_height": 20,
    "img_width": 16,
    "max_num_frames_per_episode": 120,
    "episodic_life": True,
    "num_threads": 2,
}


def make(num_envs: int, **settings: Any) -> AtariVectorEnv:
    envs = AtariVectorEnv("breakout", num_envs, **(SETTINGS | settings))
    envs.reset(seed=list(range(num_envs)))
    return envs


@pytest.fixture
def envs() -> Iterator[AtariVectorEnv]:
    made = make(4)
    play(made, np.random.default_rng(0).integers(0, 4, (25, 4)))
    yield made
    made.close()


def play(envs: AtariVectorEnv, actions: Array) -> list[tuple[Array, ...]]:
    """Step by ``(T, N)`` actions; observations, rewards, terminations, truncations of each step."""
    return [tuple(part.copy() for part in envs.step(row)[:4]) for row in actions]


def rows(results: list[tuple[Array, ...]], env: int) -> list[list[bytes]]:
    return [[part[env].tobytes() for part in result] for result in results]


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2], ids=lambda mode: mode.name)
@pytest.mark.parametrize("settings", [{}, {"ale_compatible": True}, {"grayscale": False}])
def test_a_state_put_back_goes_on_as_it_did(mode: AutoresetMode, settings: dict[str, Any]) -> None:
    """Any environment of any batch goes on from it, through ends of episodes, as the first did."""
    envs, other = (make(n, autoreset_mode=mode, **settings) for n in (3, 2))
    rng = np.random.default_rng(1)
    for _ in range(4):
        play(envs, rng.integers(0, 4, (int(rng.integers(1, 30)), 3)))
        states = envs.get_states(np.array([2, 0]))
        actions = rng.integers(0, 4, (60, 3))
        expected = play(envs, actions)
        other.set_states(np.array([1, 0]), states)
        assert other.get_states(np.array([1, 0])) == states
        again = play(other, actions[:, [0, 2]])
        assert rows(again, 1) == rows(expected, 2)
        assert rows(again, 0) == rows(expected, 0)
        assert any(result[2].any() or result[3].any() for result in expected)
    envs.close()
    other.close()


def test_a_state_is_the_snapshot_of_the_environment_alone() -> None:
    alone = AtariVectorEnv("breakout", 1, **SETTINGS)
    envs = make(2)
    alone.reset(seed=1)
    actions = np.random.default_rng(0).integers(0, 4, (30, 2))
    play(envs, actions)
    play(alone, actions[:, 1:])
    (state,) = envs.get_states(np.array([1]))
    assert state == alone.snapshot()
    envs.close()
    alone.close()


def test_others_are_untouched(envs: AtariVectorEnv) -> None:
    before = envs.get_states(np.arange(4))
    envs.set_states(np.array([3]), [before[0]])
    assert envs.get_states(np.arange(4)) == [*before[:3], before[0]]
    envs.copy_states(np.array([1, 1]), np.array([0, 3]))
    assert envs.get_states(np.arange(4)) == [before[1], before[1], before[2], before[1]]
    envs.set_states(np.zeros(0, np.int64), [])
    assert envs.get_states(np.zeros(0, np.int64)) == []


@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        ([1, 0], [0, 1]),  # which change places
        ([3, 0, 1, 2], [0, 1, 2, 3]),  # all move by one
        ([1, 0, 3, 2], [0, 1, 2, 3]),  # two circles
        ([1, 0, 1, 2], [0, 1, 2, 3]),  # a circle, and two that hang on it
        ([2, 2, 2, 0], [0, 1, 2, 3]),
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 1], [1, 2]),  # the second source is the first target
    ],
)
def test_all_sources_are_read_before_any_target_is_written(
    envs: AtariVectorEnv, sources: list[int], targets: list[int]
) -> None:
    before = envs.get_states(np.arange(4))
    expected = list(before)
    for source, target in zip(sources, targets, strict=True):
        expected[target] = before[source]
    envs.copy_states(np.array(sources), np.array(targets))
    assert envs.get_states(np.arange(4)) == expected
    actions = np.random.default_rng(3).integers(0, 4, (20, 1)).repeat(4, axis=1)
    results = play(envs, actions)
    for one in range(4):
        for other in range(4):
            if expected[one] == expected[other]:
                assert rows(results, one) == rows(results, other)


def test_an_environment_that_has_ended_is_restored_with_autoreset_off() -> None:
    envs = make(2, autoreset_mode=AutoresetMode.DISABLED)
    states = envs.get_states(np.arange(2))
    noop = np.zeros((1, 2), np.int64)
    while not (ended := envs.step(noop[0]))[2].any() | ended[3].any():
        pass
    with pytest.raises(RuntimeError, match="autoreset is disabled"):
        play(envs, noop)
    envs.set_states(np.arange(2), states)
    play(envs, noop)
    envs.close()


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([0, 4], ValueError, r"env_ids must be in \[0, 3\], got 4"),
        ([-1], ValueError, r"env_ids must be in \[0, 3\], got -1"),
        ([[0]], ValueError, r"env_ids must have shape \(n,\), got \(1, 1\)"),
        ([0.0], TypeError, "env_ids must have an integer dtype, got float64"),
    ],
)
def test_wrong_numbers_are_refused(
    envs: AtariVectorEnv, ids: Any, error: type[Exception], message: str
) -> None:
    before = envs.snapshot()
    with pytest.raises(error, match=message):
        envs.get_states(np.array(ids))
    with pytest.raises(error, match=message):
        envs.set_states(np.array(ids), [b""] * len(ids))
    for name, of_both in (("source_ids", (ids, [0] * len(ids))), ("target_ids", ([0], ids))):
        with pytest.raises(error, match=message.replace("env_ids", name)):
            envs.copy_states(*map(np.array, of_both))
    assert envs.snapshot() == before


def test_targets_are_named_once_and_there_is_a_state_for_each(envs: AtariVectorEnv) -> None:
    before = envs.snapshot()
    states = envs.get_states(np.arange(4))
    with pytest.raises(ValueError, match="env_ids must name each environment once, got 2 twice"):
        envs.set_states(np.array([2, 2]), states[:2])
    with pytest.raises(ValueError, match="target_ids must name each environment once, got 1 twice"):
        envs.copy_states(np.array([2, 3]), np.array([1, 1]))
    with pytest.raises(ValueError, match="states must be one for each of 2 environments, got 3"):
        envs.set_states(np.array([0, 1]), states[:3])
    with pytest.raises(ValueError, match=r"target_ids must have shape \(2,\), as source_ids"):
        envs.copy_states(np.array([2, 3]), np.array([1]))
    with pytest.raises(TypeError, match=r"states\[1\] must be bytes, got bytearray"):
        envs.set_states(np.array([0, 1]), [states[0], bytearray(states[1])])  # type: ignore[list-item]
    assert envs.snapshot() == before


def test_one_bad_state_changes_nothing(envs: AtariVectorEnv) -> None:
    states = envs.get_states(np.arange(4))
    before = envs.snapshot()
    flipped = bytearray(states[1])
    flipped[-1] ^= 1
    other_game = AtariVectorEnv("pong", 1, **SETTINGS)
    other_game.reset(seed=0)
    bad = [
        (bytes(flipped), "damaged"),
        (states[1][:-1], "bytes"),
        (b"", "not a snapshot"),
        (before, "must be of 'breakout x 1, .* got one of 'breakout x 4"),
        (other_game.snapshot(), "must be of 'breakout x 1, .* got one of 'pong"),
    ]
    for state, message in bad:
        with pytest.raises(ValueError, match=rf"^states\[1\]: .*{message}"):
            envs.set_states(np.array([3, 2, 1]), [states[0], state, states[2]])
    assert envs.snapshot() == before
    other_game.close()


def test_they_come_after_a_reset_between_steps_and_before_the_end(envs: AtariVectorEnv) -> None:
    ids = np.arange(1)
    states = envs.get_states(ids)
    fresh = AtariVectorEnv("breakout", 4, **SETTINGS)

    def uses(of: AtariVectorEnv) -> list[Any]:
        return [
            lambda: of.get_states(ids),
            lambda: of.set_states(ids, states),
            lambda: of.copy_states(ids, ids + 1),
        ]

    for use in uses(fresh):
        with pytest.raises(RuntimeError, match=r"call reset\(\) before \w+_states\(\)"):
            use()
    envs.send(np.zeros(4, np.int64))
    for use in uses(envs):
        with pytest.raises(RuntimeError, match="under way"):
            use()
    envs.recv()
    fresh.close()
    for use in uses(fresh):
        with pytest.raises(RuntimeError, match="closed"):
            use()
