"""A trained agent in the hands of a script or a notebook: it acts, and says what is new to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast.config import Config, require_import_allowed
from rndfast.envs.atari import AtariVectorEnv
from rndfast.envs.gymnasium_envs import GymVectorEnv
from rndfast.envs.make import make_env_to_play
from rndfast.learner.agent import Agent
from rndfast.learner.networks import PolicyOutput, to_blocks
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.observations import newest
from rndfast.learner.rnd import scaled_rewards
from rndfast.runs.agent_file import load_trained
from rndfast.runs.checkpoint import Checkpoint
from rndfast.runs.description import playable_state, settings_of


class TrainedAgent:
    """An agent that learns nothing any more; made by `load_agent`.

    Attributes:
        config: The settings that it was trained with.
        transitions: On how many it was trained.
        policy: The network of actions and values.
        rnd: Target (or targets, of DRND) and predictor of the bonus; None without one.
    """

    def __init__(self, checkpoint: Checkpoint, seed: int, allow_import: str | None) -> None:
        self.config: Config = settings_of(checkpoint)
        require_import_allowed(self.config, allow_import, checkpoint.path)
        self.transitions = checkpoint.transitions
        with contextlib.closing(make_env_to_play(self.config, num_envs=1)) as env:
            state = playable_state(checkpoint, self.config, env)
            self._agent = Agent(self.config, env, torch.device("cpu"))
        self._agent.load_state(state, only_to_play=True)
        self._agent.generator.manual_seed(seed)
        self.policy = self._agent.policy
        self.rnd = self._agent.bonus.networks if self._agent.bonus else None
        self._normalizer = Normalizer(self._agent.obs_moments, self.config.rnd.obs_clip)

    def make_env(
        self, num_envs: int = 1, *, render_mode: Literal["rgb_array"] | None = None
    ) -> AtariVectorEnv | GymVectorEnv:
        """Make environments like those that it was trained in, with the observations it reads.

        A game's rewards are not clipped, and a lost life ends an episode only if it did in
        training.
        """
        return make_env_to_play(self.config, num_envs, render_mode)

    def initial_state(self, num_envs: int) -> NDArray[np.float32]:
        """``(num_envs, M)`` zeros: what the policy remembers before the first observation.

        M is 0 for a policy without memory. Where an episode ends, set the row to 0.
        """
        return np.zeros((num_envs, self.policy.memory_size), np.float32)

    def act(
        self, observations: NDArray[Any], state: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Draw actions from the policy, as in training.

        Args:
            observations: ``(N, S, H, W)`` uint8 stacks of frames, oldest first, zeros before an
                episode's first (with an axis of 3 at the end if it was trained in colour); or
                ``(N, D)`` float32 vectors: what the environments of `make_env` return.
            state: ``(N, M)`` float32, of the step before; None: `initial_state`.

        Returns:
            actions: ``(N,)`` int64, or ``(N, D)`` float32 of a Box.
            values: ``(N, V)`` float32: the extrinsic return expected, then the intrinsic one if
                there is a bonus.
            state: ``(N, M)`` float32, for the next step.

        Raises:
            TypeError: The dtype is wrong.
            ValueError: The shape is wrong.
        """
        inputs = self._policy_inputs(observations)
        num_envs = len(observations)
        if state is None:
            state = self.initial_state(num_envs)
        if state.shape != self.initial_state(num_envs).shape or state.dtype != np.float32:
            raise ValueError(
                f"state must be float32 of shape {self.initial_state(num_envs).shape}, "
                f"got {state.dtype} of shape {state.shape}"
            )
        distribution = self._agent.distribution
        with torch.no_grad():
            goes_on = torch.zeros((1, num_envs), dtype=torch.bool)
            output: PolicyOutput = self.policy(inputs, torch.from_numpy(state), goes_on)
            noise = distribution.draw_noise(num_envs, self._agent.generator)
            actions = distribution.sample(output.action_params, noise)
        return actions.numpy(), output.values.numpy(), output.memory.numpy()

    def bonus(self, next_observations: NDArray[Any]) -> NDArray[np.float32]:
        """``(N,)``: intrinsic rewards for coming to see these observations, scaled as in training.

        Args:
            next_observations: As of `act`; of stacks only the newest frame is read.

        Raises:
            TypeError: The dtype is wrong.
            ValueError: The shape is wrong, or the agent was trained without a bonus.
        """
        if self._agent.bonus is None:
            raise ValueError("this agent has no bonus: it was trained with int_coef 0")
        self._check(next_observations)
        rows = self._normalizer(torch.from_numpy(newest(next_observations)))
        with torch.no_grad():
            rewards = self._agent.bonus.rewards(to_blocks(rows) if rows.ndim > 2 else rows)
        return scaled_rewards(
            rewards.numpy(), self._agent.bonus.return_moments, self.config.rnd.int_reward_clip
        )

    def _policy_inputs(self, observations: NDArray[Any]) -> Tensor:
        self._check(observations)
        if not self._agent.sees_images:
            return self._normalizer(torch.from_numpy(observations))
        planes = observations if observations.ndim == 4 else np.moveaxis(observations, -1, 2)
        if planes.ndim == 5:  # (N, S, 3, H, W)
            planes = planes.reshape(len(planes), -1, *planes.shape[3:])
        return to_blocks(torch.from_numpy(np.ascontiguousarray(planes)) / 255)

    def _check(self, observations: NDArray[Any]) -> None:
        """Compare with what the networks read."""
        channels, *rest = self._agent.observation_shape
        shape: tuple[int, ...] = (channels,)
        dtype: np.dtype[Any] = np.dtype(np.float32)
        if self._agent.sees_images:
            colours = (3,) if channels == 3 else ()
            shape = (self.config.atari.stack_num, *rest, *colours)
            dtype = np.dtype(np.uint8)
        if observations.dtype != dtype:
            raise TypeError(f"observations must be {dtype}, got {observations.dtype}")
        if observations.shape[1:] != shape:
            expected = f"(N, {', '.join(map(str, shape))})"
            raise ValueError(f"observations must have shape {expected}, got {observations.shape}")


def load_agent(
    path: str | os.PathLike[str], *, seed: int = 0, allow_import: str | None = None
) -> TrainedAgent:
    """Load a trained agent.

    Args:
        path: A file of ``rndfast export``, or a run's directory: its newest checkpoint.
        seed: Of the random stream that draws actions.
        allow_import: Module that may be imported where its ``env_id`` is ``module:Name``.

    Raises:
        CheckpointError: There is nothing that verifies.
        ValueError: Its settings and its weights do not fit each other, or its environment is of a
            module that is not allowed.

    Example:
        An episode of an agent, and where it was surprised most::

            agent = rndfast.load_agent("agent.safetensors")
            env = agent.make_env()
            observations, info = env.reset(seed=0)
            state, bonuses, is_over = agent.initial_state(1), [], False
            while not is_over:
                actions, values, state = agent.act(observations, state)
                observations, rewards, terminated, truncated, info = env.step(actions)
                bonuses.append(agent.bonus(observations)[0])
                is_over = terminated[0] or truncated[0]
            print(np.argmax(bonuses), max(bonuses))
    """
    return load_trained(Path(path), lambda trained: TrainedAgent(trained, seed, allow_import))
