"""PPO with random network distillation and two value heads, as an algorithm of Stable-Baselines3.

`PPO` of Stable-Baselines3 does nearly all of it. The policy has a second value head, the rollout
buffer a second stream of rewards; values and returns are pairs there, which PPO flattens, so that
its value loss is the mean over both heads. The predictor has an optimiser of its own, as it shares
no weight with the policy.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from rndfast._core import gae
from rndfast.learner.bonus import RNDBonus

Array = NDArray[Any]


class TwoValuePolicy(ActorCriticPolicy):
    """``MlpPolicy`` with a value head for each of two streams: extrinsic, intrinsic."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, 2)
        for weights in self.value_net.weight.data:  # each head on its own
            nn.init.orthogonal_(weights[None])
        nn.init.zeros_(self.value_net.bias)
        settings = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **settings)

    def predict_both_values(self, observations: Any) -> Tensor:
        """``(N, 2)``: extrinsic and intrinsic values."""
        return super().predict_values(observations)

    def predict_values(self, observations: Any) -> Tensor:
        """``(N, 1)``: extrinsic values, which PPO bootstraps rewards at a time limit with."""
        return self.predict_both_values(observations)[:, :1]


class TwoValueCnnPolicy(TwoValuePolicy, ActorCriticCnnPolicy):
    """``CnnPolicy`` likewise."""


class _TwoStreamBuffer(RolloutBuffer):
    """A rollout of two streams of rewards, whose values come as ``(N, 2)``.

    Args:
        buffer_size: Steps, T.
        observation_space: Of one environment.
        action_space: Of one environment.
        int_gamma: Discount of the intrinsic return.
        ext_coef: Weight of the extrinsic advantages.
        int_coef: Weight of the intrinsic ones.
        settings: Those of `RolloutBuffer`.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *,
        int_gamma: float,
        ext_coef: float,
        int_coef: float,
        **settings: Any,
    ) -> None:
        self.int_gamma, self.ext_coef, self.int_coef = int_gamma, ext_coef, int_coef
        super().__init__(buffer_size, observation_space, action_space, **settings)

    def reset(self) -> None:
        """Begin a rollout."""
        super().reset()
        self.int_values = np.zeros_like(self.values)
        self.dones = np.zeros(self.n_envs, np.bool_)

    def add(
        self,
        obs: Array,
        action: Array,
        reward: Array,
        episode_start: Array,
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """Store a step of all environments."""
        self.int_values[self.pos] = value[:, 1].cpu().numpy()
        super().add(obs, action, reward, episode_start, value[:, 0], log_prob)

    def compute_returns_and_advantage(self, last_values: Tensor, dones: Array) -> None:
        """Nothing yet, as the bonus is not known: `finish` does it."""
        del last_values
        self.dones = dones

    def finish(self, int_rewards: Array, last_values: Array) -> None:
        """Compute advantages and returns of both streams (paper, section 2.3).

        Args:
            int_rewards: ``(T, N)`` float32.
            last_values: ``(N, 2)`` float32, of the observations after the last step.
        """
        ended = np.concatenate((self.episode_starts[1:], self.dones[None])).astype(np.bool_)
        values = np.stack((self.values, self.int_values), axis=2)
        self.returns = np.empty_like(values)
        self.advantages = np.zeros_like(self.rewards)
        for head, (rewards, terminated, gamma, coef) in enumerate(
            (
                (self.rewards, ended, self.gamma, self.ext_coef),
                (int_rewards, None, self.int_gamma, self.int_coef),  # which no episode ends
            )
        ):
            own_values = np.ascontiguousarray(values[..., head])
            next_values = np.ascontiguousarray(last_values[:, head])
            advantages = gae(rewards, own_values, next_values, terminated, gamma, self.gae_lambda)
            self.advantages += np.float32(coef) * advantages
            self.returns[..., head] = advantages + own_values
        self.values = values


class PPORND(PPO):
    """`PPO` with the bonus of random network distillation (Burda et al. 2018).

    ``learn``, callbacks, ``predict``, ``save``, ``load`` and ``evaluate_policy`` are those of
    Stable-Baselines3, and so are the rewards that they log: the game's. With the paper's numbers:
    ``gamma=0.999, ext_coef=2.0, normalize_advantage=False, vf_coef=1.0, n_epochs=4``. The bonus is
    paid for the observation that follows an action, which after an episode's end is the next
    episode's first. A value loss is the mean over both heads. The bonus normalises observations for
    itself alone: for the policy, put vectors of small or large numbers into a `VecNormalize`.

    Args:
        policy: ``"MlpPolicy"`` for vectors, ``"CnnPolicy"`` for images, or a subclass of
            `TwoValuePolicy`.
        env: As of `PPO`: vectors (a Box of one axis), or images of uint8; stacks of frames too.
        int_gamma: Discount of the intrinsic return.
        ext_coef: Weight of the extrinsic advantages.
        int_coef: Weight of the intrinsic advantages.
        frame_channels: Channels of the newest frame of a stack of images, its last ones, which
            alone the bonus sees: 1 if grey, 3 in colour.
        obs_norm_steps: Steps of a random agent in each environment before training, to start the
            statistics of the observations.
        bonus_learning_rate: Of the predictor's Adam.
        bonus_kwargs: More settings of `rndfast.RNDBonus`.
        settings: All others of `PPO`, but those of the rollout buffer.

    Raises:
        TypeError: The policy is of another class.
        ValueError: The observations are of another kind.

    Example:
        >>> model = PPORND("MlpPolicy", "MountainCar-v0", obs_norm_steps=16, n_steps=32, n_epochs=1)
        >>> model.learn(64).num_timesteps
        64
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": TwoValuePolicy,
        "CnnPolicy": TwoValueCnnPolicy,
    }
    policy: TwoValuePolicy
    rollout_buffer: _TwoStreamBuffer

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        int_gamma: float = 0.99,
        ext_coef: float = 1.0,
        int_coef: float = 1.0,
        frame_channels: int = 1,
        obs_norm_steps: int = 128,
        bonus_learning_rate: float = 1e-4,
        bonus_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        if not isinstance(policy, str) and not issubclass(policy, TwoValuePolicy):
            raise TypeError(f"policy must be a subclass of TwoValuePolicy, got {policy.__name__}")
        self.int_gamma, self.ext_coef, self.int_coef = int_gamma, ext_coef, int_coef
        self.frame_channels = frame_channels
        self.obs_norm_steps = obs_norm_steps
        self.bonus_learning_rate = bonus_learning_rate
        self.bonus_kwargs = bonus_kwargs or {}
        self._has_statistics = False
        super().__init__(policy, env, _init_setup_model=False, **settings)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self.rollout_buffer_class = _TwoStreamBuffer
        self.rollout_buffer_kwargs = {
            "int_gamma": self.int_gamma,
            "ext_coef": self.ext_coef,
            "int_coef": self.int_coef,
        }
        super()._setup_model()
        space = self.observation_space
        shape = space.shape or ()
        if len(shape) == 3 and space.dtype == np.uint8:
            shape = (self.frame_channels, *shape[1:])
        elif len(shape) != 1 or not isinstance(space, spaces.Box):
            raise ValueError(f"observations must be vectors or images of uint8, got {space}")
        self.bonus = RNDBonus(
            shape, num_envs=self.n_envs, int_gamma=self.int_gamma, **self.bonus_kwargs
        ).to(self.device)
        parameters = [p for p in self.bonus.parameters() if p.requires_grad]
        self.bonus_optimizer = torch.optim.Adam(parameters, lr=self.bonus_learning_rate)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        *arguments: Any,
        **settings: Any,
    ) -> tuple[int, BaseCallback]:
        prepared = super()._setup_learn(total_timesteps, callback, *arguments, **settings)
        if not self._has_statistics:
            assert self.env is not None
            for _ in range(self.obs_norm_steps):
                actions = [self.action_space.sample() for _ in range(self.n_envs)]
                observations = self.env.step(np.array(actions))[0]
                self.bonus.initialize(self._newest(np.asarray(observations)))
            self._last_obs = np.asarray(self.env.reset())
            self._last_episode_starts = np.ones(self.n_envs, np.bool_)
            self._has_statistics = True
        return prepared

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect as `PPO` does, then pay the bonus. Returns False if a callback ended training."""
        assert isinstance(rollout_buffer, _TwoStreamBuffer)
        if not super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps):
            return False
        last = np.asarray(self._last_obs)
        following = np.concatenate((rollout_buffer.observations[1:], last[None]))
        self._next_obs = self._newest(following)  # (T, N, ...)
        int_rewards = self.bonus.update(self._next_obs).cpu().numpy()
        with torch.no_grad():
            observations, _ = self.policy.obs_to_tensor(last)
            last_values = self.policy.predict_both_values(observations).cpu().numpy()
        rollout_buffer.finish(int_rewards, last_values)
        self.logger.record("rollout/int_rew_mean", float(int_rewards.mean()))
        return True

    def train(self) -> None:
        """Train the policy as `PPO` does, then the predictor, on as many minibatches."""
        super().train()
        next_obs = self._next_obs.flatten(0, 1)
        losses = []
        for _ in range(self.n_epochs):
            order = torch.randperm(len(next_obs), device=self.device)
            for rows in torch.split(order, self.batch_size):
                loss = self.bonus.loss(next_obs[rows])
                self.bonus_optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.bonus_optimizer.step()
                losses.append(loss.item())
        self.logger.record("train/predictor_loss", float(np.mean(losses)))

    def _newest(self, observations: Array) -> Tensor:
        """What the bonus sees of observations ``(..., *observation_space.shape)``."""
        if observations.dtype == np.uint8:
            observations = observations[..., -self.frame_channels :, :, :]
        else:
            observations = observations.astype(np.float32)
        return torch.as_tensor(np.ascontiguousarray(observations), device=self.device)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "bonus", "bonus_optimizer", "_next_obs"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "bonus", "bonus_optimizer"], variables
