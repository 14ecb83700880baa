"""Collecting experience: what the environments did, and the loop that plays them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rndfast._core import DiscountedReturnFilter
from rndfast.config import Config
from rndfast.envs.gymnasium_envs import random_actions
from rndfast.envs.protocol import SameStepEnv
from rndfast.envs.rooms import Rooms
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Backend
from rndfast.learner.finite import require_finite
from rndfast.learner.observations import newest
from rndfast.runtime.processes import Ranks


@dataclass
class EpisodeStatistics:
    """Episodes that ended in a rollout: whole games, also if lost lives end what is trained on."""

    returns: list[float] = field(default_factory=list)  # unclipped extrinsic return
    clipped_returns: list[float] = field(default_factory=list)  # of the rewards trained on
    lengths_steps: list[int] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)  # cut off by a limit of steps
    rooms: list[int] = field(default_factory=list)  # numbers of them; none where a game has none


class Rollout:
    """What came of T steps of N environments, on the host; the back end has what was observed.

    Arrays are ``(T, N, ...)``: what came of the action at observation ``t``. ``values``, ``(T, N,
    V)``, are the policy's of that observation, ``next_values``, ``(N, V)``, of the one after the
    last step. ``is_first``, ``(T + 1, N)`` bool, says whether an observation is its episode's
    first.

    Args:
        config: The sizes, the discount of intrinsic rewards and the clipping of extrinsic ones.
    """

    def __init__(self, config: Config) -> None:
        self.num_steps = config.ppo.rollout_steps
        self.num_envs = config.env.num_envs
        self._clips_rewards = config.env.reward_clipping
        shape = (self.num_steps, self.num_envs)
        num_values = len(config.ppo.streams)
        self.values = np.zeros((*shape, num_values), np.float32)
        self.rewards_raw = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, np.bool_)
        self.truncated = np.zeros(shape, np.bool_)
        self.game_over = np.zeros(shape, np.bool_)  # not only a life was lost
        self.final_values = np.zeros((*shape, num_values), np.float32)  # read only where truncated
        self.next_values = np.zeros((self.num_envs, num_values), np.float32)
        self.is_first = np.ones((self.num_steps + 1, self.num_envs), np.bool_)
        # of the games under way; returns and lengths without the life that is being played
        self.clipped_returns = np.zeros(self.num_envs)
        self.earlier_returns = np.zeros(self.num_envs)
        self.earlier_lengths_steps = np.zeros(self.num_envs, np.int64)
        self.int_return_filter = DiscountedReturnFilter(
            self.num_envs, gamma=config.ppo.int_gamma, direction=config.rnd.int_return_direction
        )
        self.episodes = EpisodeStatistics()
        self.rooms = Rooms(self.num_envs)

    def state(self) -> dict[str, NDArray[Any]]:
        """What the next rollout goes on from, but for the observations."""
        return {
            "is_first": self.is_first[0],
            "clipped_returns": self.clipped_returns,
            "earlier_returns": self.earlier_returns,
            "earlier_lengths_steps": self.earlier_lengths_steps,
            "int_return_filter.carry": self.int_return_filter.carry,
            "rooms.visited": self.rooms.visited,
            "rooms.first_visits": self.rooms.first_visits,
        }

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from another rollout.

        Raises:
            ValueError: An array is missing or of another shape: the state belongs to other settings
            or another version.
        """
        zeros = {  # an earlier version did not keep what happened in lost lives
            name: np.zeros_like(array)
            for name, array in self.state().items()
            if name.startswith("earlier_")
        }
        state = zeros | state
        copy_arrays(state, self.state())
        self.int_return_filter.carry = state["int_return_filter.carry"]

    def start(self) -> None:
        """Begin after a reset of the environments."""
        self.is_first[0] = True
        self.clipped_returns[:] = 0
        self.earlier_returns[:] = 0
        self.earlier_lengths_steps[:] = 0
        self.rooms.visited[:] = False

    def carry_over(self) -> None:
        """Make the observation after this rollout the first one of the next."""
        self.is_first[0] = self.is_first[-1]
        self.episodes = EpisodeStatistics()
        self.rooms.steps[:] = 0

    def note_games(
        self, t: int, envs: slice, ended: NDArray[np.bool_], info: dict[str, Any], transitions: int
    ) -> None:
        """Count step ``t`` of some environments towards their games, and the games that ended.

        Args:
            t: The step, whose rewards are stored.
            envs: The environments.
            ended: ``(n,)``: whose episode ended; by a lost life perhaps, and then the game goes on.
            info: Of the step.
            transitions: Up to this step, over all environments.
        """
        is_over = info.get("game_over", ended)
        self.game_over[t, envs] = is_over
        clipped_returns, games = self.clipped_returns[envs], self.episodes
        clipped_returns += self.clipped(self.rewards_raw[t, envs])
        if "room" in info:
            games.rooms += self.rooms.note(envs, info, ended, is_over, transitions)
        if not ended.any():
            return
        returns, lengths = self.earlier_returns[envs], self.earlier_lengths_steps[envs]
        returns[ended] += info["episode_return"][ended]
        lengths[ended] += info["episode_length"][ended]
        games.returns += returns[is_over].tolist()
        games.lengths_steps += lengths[is_over].tolist()
        games.truncated += self.truncated[t, envs][is_over].tolist()
        games.clipped_returns += clipped_returns[is_over].tolist()
        for of_game in (returns, lengths, clipped_returns):
            of_game[is_over] = 0

    def clipped(self, rewards: NDArray[np.float32]) -> NDArray[np.float32]:
        """Extrinsic rewards as they are trained on: their signs, if the settings say so."""
        return np.sign(rewards) if self._clips_rewards else rewards

    def indices(self) -> NDArray[np.int64]:
        """``(T, N)``: ``t * N + n``, the index of each transition in kernels and flat arrays."""
        return np.arange(self.num_steps * self.num_envs).reshape(self.num_steps, self.num_envs)


def copy_arrays(source: dict[str, NDArray[Any]], target: dict[str, NDArray[Any]]) -> None:
    """Copy arrays of a state into those of another of the same settings.

    Raises:
        ValueError: An array is missing or of another shape.
    """
    require_shapes(source, {name: array.shape for name, array in target.items()})
    for name, array in target.items():
        array[...] = source[name]


def require_shapes(state: dict[str, NDArray[Any]], shapes: dict[str, tuple[int, ...]]) -> None:
    """Check that a state has arrays of these names and shapes.

    Raises:
        ValueError: One is missing or of another shape.
    """
    for name, shape in shapes.items():
        got = state[name].shape if name in state else "nothing of this name"
        if got != shape:
            raise ValueError(f"state {name!r} must have shape {shape}, got {got}")


def start_episodes(
    env: SameStepEnv, rollout: Rollout, backend: Backend, seed: int, ranks: Ranks
) -> None:
    """Begin new episodes in all environments."""
    observations = reset_envs(env, seed, ranks)
    rollout.start()
    backend.start(observations)


def reset_envs(env: SameStepEnv, seed: int, ranks: Ranks) -> NDArray[Any]:
    """First observations of new episodes.

    Environment ``i`` of the run's has seed ``seed + i``.
    """
    num_envs = env.num_envs * ranks.world_size
    seeds = ranks.own(np.array([seed + env for env in range(num_envs)], object))  # of any size
    return env.reset(seed=seeds.tolist())[0]


def initialize_obs_moments(agent: Agent, env: SameStepEnv, config: Config, ranks: Ranks) -> None:
    """Start the statistics of the observations with a random agent's.

    They are merged once per ``rollout_steps`` steps, of ``obs_norm_steps`` altogether. As in the
    authors' code, a step counts with the observation before it: the first one of the reset, and
    not the last. The caller resets the environments afterwards: nothing of these episodes enters
    training.
    """
    num_steps, seed = config.rnd.obs_norm_steps, config.run.seed
    rng = np.random.default_rng(seed)
    space = env.single_action_space
    observations = reset_envs(env, seed, ranks)
    num_envs = env.num_envs * ranks.world_size  # of the run
    assert isinstance(space, Discrete | Box)
    first, batch_size = newest(observations), min(config.ppo.rollout_steps, num_steps)
    batch = np.empty((batch_size, *first.shape), first.dtype)
    for step in range(num_steps):
        row = step % batch_size
        actions = ranks.own(random_actions(space, num_envs, rng))
        batch[row] = newest(observations)
        observations = env.step(actions)[0]
        if row + 1 == batch_size or step + 1 == num_steps:
            ranks.update_moments(agent.obs_moments, batch[: row + 1])


def collect(env: SameStepEnv, rollout: Rollout, backend: Backend) -> None:
    """Step every environment T times with the policy and fill the rollout.

    The observation after the last step gives the values that the returns go on with.
    """
    play_steps(env, rollout, backend)
    backend.timeline.enter("inference")
    backend.value_last_observations()


def play_steps(env: SameStepEnv, rollout: Rollout, backend: Backend) -> None:
    """Step every environment T times with the policy.

    The groups of `Backend.groups` take turns: while one is emulated, the actions of the next are
    chosen. On the CPU the bytes are the same for any groups; on a GPU, sizes of batches may round
    differently.
    """
    backend.begin()
    timeline = backend.timeline
    groups = [(envs, np.arange(envs.start, envs.stop)) for envs in backend.groups]
    for t in range(rollout.num_steps):
        for envs, env_ids in groups:
            info = receive(env, rollout, backend, t - 1, envs) if t > 0 else None
            timeline.enter("inference")
            backend.start_act(t, envs)
            if info is not None:
                note(rollout, backend, t - 1, envs, info)
            actions = backend.act(t, envs)
            timeline.enter("env")
            env.send(actions, env_ids, out=backend.next_row(t, envs))
    for envs in backend.groups:
        info = receive(env, rollout, backend, rollout.num_steps - 1, envs)
        note(rollout, backend, rollout.num_steps - 1, envs, info)


def receive(
    env: SameStepEnv, rollout: Rollout, backend: Backend, t: int, envs: slice
) -> dict[str, Any]:
    """Wait for step ``t`` of a group and store what the next actions depend on; returns ``info``.

    All else is for `note`, for which there is time while a GPU chooses them.

    Raises:
        FloatingPointError: What is no game of ours observes or rewards NaN or infinity.
    """
    backend.timeline.enter("env")
    observations, _, terminated, truncated, info = env.recv()
    if not backend.agent.sees_images:
        require_finite("the environments' observations", observations)
        require_finite("the environments' rewards", info["reward_raw"])
    ended = terminated | truncated
    rollout.terminated[t, envs] = terminated
    rollout.truncated[t, envs] = truncated & ~terminated
    rollout.is_first[t + 1, envs] = ended
    backend.store_next(t, envs, observations, ended)
    return info


def note(rollout: Rollout, backend: Backend, t: int, envs: slice, info: dict[str, Any]) -> None:
    """Store what else came of step ``t`` of a group, before it is stepped again."""
    rollout.rewards_raw[t, envs] = info["reward_raw"]
    num_envs = rollout.num_envs * backend.ranks.world_size  # of the run
    transitions = backend.agent.transitions + (t + 1) * num_envs
    rollout.note_games(t, envs, rollout.is_first[t + 1, envs], info, transitions)
    for row in np.flatnonzero(rollout.truncated[t, envs]).tolist():
        n = envs.start + row
        rollout.final_values[t, n] = backend.final_values(t, n, info["final_obs"][row])
