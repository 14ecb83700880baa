"""Collecting experience: observations stored once, with what was done and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast.config import Config
from rndfast.envs.rooms import Rooms
from rndfast.learner.agent import Agent, Spaces
from rndfast.learner.networks import PolicyOutput
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.observations import FrameStore, Observations, VectorStore
from rndfast.runtime.compute import Workers
from rndfast.runtime.processes import Ranks

# Images that pass through the policy at once while it acts: few enough that several threads share a
# step, and no fewer, as small passes are slow.
INFERENCE_BATCH_SIZE = 32


class SameStepEnv(Spaces, Protocol):
    """What training asks of a vector environment: Gymnasium's, with same-step autoreset."""

    num_envs: int

    def reset(self, *, seed: int | list[int] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode in each environment."""

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[
        NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Step each environment; an observation after an episode's end is the next one's first."""

    def send(
        self,
        actions: NDArray[Any],
        env_ids: NDArray[np.int64],
        *,
        out: NDArray[Any] | None = None,
    ) -> None:
        """Begin to step some environments."""

    def recv(
        self,
    ) -> tuple[
        NDArray[Any], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Wait for the oldest `send`; returns what `step` does of its environments."""

    def snapshot(self) -> bytes:
        """Return the whole state."""

    def restore(self, snapshot: bytes) -> None:
        """Return to a state."""


def reset_envs(env: SameStepEnv, seed: int, ranks: Ranks) -> NDArray[Any]:
    """First observations of new episodes; environment ``i`` of the run's has seed ``seed + i``."""
    num_envs = env.num_envs * ranks.world_size
    seeds = ranks.own(np.arange(seed, seed + num_envs))
    return env.reset(seed=seeds.tolist() if ranks.world_size > 1 else seed)[0]


@dataclass
class EpisodeStatistics:
    """Episodes that ended in a rollout: whole games, also if lost lives end what is trained on."""

    returns: list[float] = field(default_factory=list)  # unclipped extrinsic return
    clipped_returns: list[float] = field(default_factory=list)  # of the rewards trained on
    lengths_steps: list[int] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)  # numbers of them; none where a game has none


class Rollout:
    """The experience of T steps of N environments, and the first observation after it.

    Arrays are ``(T, N, ...)``: what was done at observation ``t`` and what came of it. Besides:
    ``observations``; ``is_first``, ``(T + 1, N)`` bool, whether an observation is its episode's
    first; ``first_memory`` and ``memory``, ``(N, M)``, what the policy remembers before the first
    observation and after the newest that it acted on.

    Args:
        config: ``env``, ``ppo`` and ``run.overlap`` are read.
        agent: Whose experience it is.
    """

    def __init__(self, config: Config, agent: Agent) -> None:
        self.num_steps = config.ppo.rollout_steps
        self.num_envs = config.env.num_envs
        middle = -(-self.num_envs // 2)
        self.halves = [slice(0, middle), slice(middle, self.num_envs)]
        self.overlap = config.run.overlap
        self.observations: Observations
        if agent.sees_images:
            self.observations = FrameStore(config, agent.observation_shape, agent.device)
        else:
            self.halves = [slice(0, self.num_envs)]  # Gymnasium steps all or none
            self.observations = VectorStore(config, agent.observation_shape[0])
        self._obs_clip = config.rnd.obs_clip
        self._clips_rewards = config.env.reward_clipping
        shape = (self.num_steps, self.num_envs)
        num_values = len(config.ppo.streams)
        self.actions: NDArray[Any] = agent.distribution.empty_actions(*shape)
        self.log_probs = np.zeros(shape, np.float32)
        self.values = np.zeros((*shape, num_values), np.float32)
        self.rewards_raw = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, np.bool_)
        self.truncated = np.zeros(shape, np.bool_)
        self.final_values = np.zeros((*shape, num_values), np.float32)  # read only where truncated
        self.next_values = np.zeros((self.num_envs, num_values), np.float32)
        self.is_first = np.ones((self.num_steps + 1, self.num_envs), np.bool_)
        self.first_memory = np.zeros((self.num_envs, agent.policy.memory_size), np.float32)
        self.memory = np.zeros_like(self.first_memory)
        # of the games under way; returns and lengths without the life that is being played
        self.clipped_returns = np.zeros(self.num_envs)
        self.earlier_returns = np.zeros(self.num_envs)
        self.earlier_lengths_steps = np.zeros(self.num_envs, np.int64)
        self.episodes = EpisodeStatistics()
        self.rooms = Rooms(self.num_envs)

    def state(self) -> dict[str, NDArray[Any]]:
        """What the first observation consists of; with it, another rollout goes on the same."""
        return {
            **self.observations.state(),
            "is_first": self.is_first[0],
            "memory": self.first_memory,
            "clipped_returns": self.clipped_returns,
            "earlier_returns": self.earlier_returns,
            "earlier_lengths_steps": self.earlier_lengths_steps,
            "rooms.visited": self.rooms.visited,
            "rooms.first_visits": self.rooms.first_visits,
        }

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Begin at the first observation of another rollout.

        Raises:
            ValueError: An array is missing or of another shape: the state belongs to other settings
            or another version.
        """
        for name, array in self.state().items():
            if name.startswith("earlier_") and name not in state:  # of an earlier version
                array[:] = 0
                continue
            got = state[name].shape if name in state else "nothing of this name"
            if got != array.shape:
                raise ValueError(f"state {name!r} must have shape {array.shape}, got {got}")
            array[:] = state[name]
        self.observations.upload_first()

    def start(self, observations: NDArray[Any]) -> None:
        """Begin with the first observations after a reset."""
        self.observations.start(observations)
        self.is_first[0] = True
        self.clipped_returns[:] = 0
        self.earlier_returns[:] = 0
        self.earlier_lengths_steps[:] = 0
        self.rooms.visited[:] = False

    def begin(self, agent: Agent, workers: Workers) -> None:
        """Fix what the policy reads until the next call: its memory, and statistics of vectors."""
        self.memory[:] = self.first_memory
        if isinstance(self.observations, VectorStore):
            normalizer = Normalizer(agent.obs_moments, self._obs_clip, workers)
            self.observations.policy_normalizer = normalizer

    def carry_over(self) -> None:
        """Make the observation after this rollout the first one of the next."""
        self.observations.carry_over()
        self.is_first[0] = self.is_first[-1]
        self.first_memory[:] = self.memory
        self.episodes = EpisodeStatistics()

    def store_next(
        self, t: int, envs: slice, observations: NDArray[Any], ended: NDArray[np.bool_]
    ) -> None:
        """Store the observations that followed step ``t``."""
        self.is_first[t + 1, envs] = ended
        self.observations.store_next(t, envs, observations, ended)

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
        returns, lengths = self.earlier_returns[envs], self.earlier_lengths_steps[envs]
        clipped_returns = self.clipped_returns[envs]
        returns[ended] += info["episode_return"][ended]
        lengths[ended] += info["episode_length"][ended]
        clipped_returns += self.clipped(self.rewards_raw[t, envs])
        games = self.episodes
        games.returns += returns[is_over].tolist()
        games.lengths_steps += lengths[is_over].tolist()
        games.clipped_returns += clipped_returns[is_over].tolist()
        for of_game in (returns, lengths, clipped_returns):
            of_game[is_over] = 0
        if "room" in info:
            games.rooms += self.rooms.note(envs, info, ended, is_over, transitions)

    def clipped(self, rewards: NDArray[np.float32]) -> NDArray[np.float32]:
        """Extrinsic rewards as they are trained on: their signs, if the settings say so."""
        return np.sign(rewards) if self._clips_rewards else rewards

    def indices(self) -> NDArray[np.int64]:
        """``(T, N)``: ``t * N + n``, the index of each transition in kernels and flat arrays."""
        return np.arange(self.num_steps * self.num_envs).reshape(self.num_steps, self.num_envs)


def evaluate_policy(
    agent: Agent, rollout: Rollout, batches: list[NDArray[np.int64]], workers: Workers
) -> PolicyOutput:
    """What the policy says of stored observations, on the host, without gradients.

    Each batch passes through the network on its own: what it is evaluated beside changes nothing.
    The policy remembers what `Rollout.memory` says.
    """
    is_first = rollout.is_first.reshape(-1)
    on_device = rollout.observations.on_device

    def forward(inputs: Tensor, memory: Tensor, is_first: Tensor) -> Tensor:
        output = agent.policy(inputs, memory, is_first[None])
        return torch.cat((output.action_params, output.values, output.memory), dim=1)

    def evaluate(piece: NDArray[np.int64]) -> Tensor:
        remembered = rollout.memory[piece % rollout.num_envs]
        memory = [workers.to_device(array) for array in (remembered, is_first[piece])]
        with torch.no_grad(), workers.autocast():
            if workers.graphs is None or on_device is None:
                outputs = forward(rollout.observations.policy_input(piece, workers), *memory)
            else:
                dtype = workers.dtype
                outputs = workers.graphs.run(
                    "policy",
                    lambda indices, *memory: forward(on_device.stacks(indices, dtype), *memory),
                    workers.to_device(piece),
                    *memory,
                )
            return outputs.cpu()  # waits for a GPU: the next actions depend on it

    max_size = INFERENCE_BATCH_SIZE if agent.sees_images else None
    pieces = [piece for batch in batches for piece in workers.pieces(batch, max_size)]
    outputs = torch.cat(list(workers.map(evaluate, pieces)))
    num_values, num_memory = rollout.values.shape[2], rollout.memory.shape[1]
    num_params = outputs.shape[1] - num_values - num_memory
    return PolicyOutput(*torch.split(outputs, [num_params, num_values, num_memory], dim=1))


def collect(agent: Agent, env: SameStepEnv, rollout: Rollout, workers: Workers) -> None:
    """Step every environment T times with the policy and fill the rollout.

    With ``rollout.overlap`` one half of the environments is emulated while the other's actions are
    chosen. The bytes are the same either way.
    """
    rollout.begin(agent, workers)
    indices, distribution, ranks = rollout.indices(), agent.distribution, workers.ranks
    num_envs = rollout.num_envs * ranks.world_size  # of the run
    halves = [half for half in rollout.halves if half.start < half.stop]  # not of one environment
    groups = [[half] for half in halves] if rollout.overlap else [halves]  # stepped together

    def act(t: int, group: list[slice], noise: Tensor) -> None:
        workers.timeline.enter("inference")
        envs = slice(group[0].start, group[-1].stop)
        output = evaluate_policy(agent, rollout, [indices[t, half] for half in group], workers)
        actions = distribution.sample(output.action_params, noise[envs])
        rollout.actions[t, envs] = actions.numpy()
        rollout.log_probs[t, envs] = distribution.log_probs(output.action_params, actions).numpy()
        rollout.values[t, envs] = output.values.numpy()
        rollout.memory[envs] = output.memory.numpy()

        workers.timeline.enter("env")
        env_ids = np.arange(envs.start, envs.stop)
        env.send(actions.numpy(), env_ids, out=rollout.observations.next_row(t, envs))

    def receive(t: int, group: list[slice]) -> None:
        workers.timeline.enter("env")
        envs = slice(group[0].start, group[-1].stop)
        observations, _, terminated, truncated, info = env.recv()
        ended = terminated | truncated
        rollout.rewards_raw[t, envs] = info["reward_raw"]
        rollout.terminated[t, envs] = terminated
        rollout.truncated[t, envs] = truncated & ~terminated
        rollout.store_next(t, envs, observations, ended)
        rollout.note_games(t, envs, ended, info, agent.transitions + (t + 1) * num_envs)
        for row in np.flatnonzero(truncated & ~terminated).tolist():
            n = envs.start + row
            final = rollout.observations.final_input(t, n, info["final_obs"][row], workers)
            rollout.final_values[t, n] = final_values(agent, final, rollout.memory[n], workers)

    for t in range(rollout.num_steps):
        noise = ranks.own(distribution.draw_noise(num_envs, agent.generator))
        for group in groups:
            if t > 0:
                receive(t - 1, group)
            act(t, group, noise)
    for group in groups:
        receive(rollout.num_steps - 1, group)

    # the observation after the last step bootstraps the returns
    workers.timeline.enter("inference")
    after_last = indices[-1] + rollout.num_envs
    output = evaluate_policy(agent, rollout, [after_last[half] for half in halves], workers)
    rollout.next_values[:] = output.values.numpy()


def final_values(
    agent: Agent, observation: Tensor, memory: NDArray[np.float32], workers: Workers
) -> NDArray[np.float32]:
    """``(V,)``: values of an episode's last observation, ``(1, ...)``, with memory ``(M,)``."""
    goes_on = torch.zeros((1, 1), dtype=torch.bool, device=workers.device)
    with torch.no_grad(), workers.autocast():
        output = agent.policy(observation, workers.to_device(memory[None]), goes_on)
    values: NDArray[np.float32] = output.values[0].cpu().numpy()  # waits for a GPU; rare
    return values
