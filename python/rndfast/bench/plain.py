"""The same algorithm as a plain PyTorch script: nothing here is for speed, all of it to be read.

Tests hold the fast path against it, and ``rndfast bench`` runs it as the baseline. It does what
single-file implementations of PPO do: float32 stacks of four frames, stored four times over; two
forward passes per step, one for the values and one for the action; whole minibatches; the target
computed for every minibatch; the predictor run on all rows and its error masked; PyTorch's own
threads. The algorithm is ``docs/algorithm.md``'s, sections 1 and 2: it takes sizes and coefficients
from a `Config`, and the paper's choice wherever a setting offers another.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Categorical

from rndfast.config import Config
from rndfast.envs.games import parse_game
from rndfast.runtime.compute import resolve_device

# --- networks ---------------------------------------------------------------------------------


def orthogonal(layer: nn.Conv2d | nn.Linear, gain: float = math.sqrt(2)) -> nn.Module:
    """Initialise a layer: orthogonal weights, no bias."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def num_outputs(height: int, width: int, last_kernel: int) -> int:
    """Outputs of the three convolutions: 8x8 with stride 4, 4x4 with stride 2, the last one's."""
    height, width = (((side - 8) // 4 - 3) // 2 + 2 - last_kernel for side in (height, width))
    return 64 * height * width


class PlainPolicy(nn.Module):
    """Actor and two critics on stacks ``(B, 4, H, W)`` of pixels from 0 to 255.

    Parameters have the names and shapes of `rndfast.learner.networks.PolicyNetwork`'s.
    """

    def __init__(self, num_actions: int, height: int = 84, width: int = 84) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            orthogonal(nn.Conv2d(4, 32, 8, stride=4)),
            nn.ReLU(),
            orthogonal(nn.Conv2d(32, 64, 4, stride=2)),
            nn.ReLU(),
            orthogonal(nn.Conv2d(64, 64, 4, stride=1)),
            nn.ReLU(),
            nn.Flatten(),
            orthogonal(nn.Linear(num_outputs(height, width, 4), 256)),
            nn.ReLU(),
            orthogonal(nn.Linear(256, 448)),
            nn.ReLU(),
        )
        self.actor_residual = orthogonal(nn.Linear(448, 448), 0.1)
        self.critic_residual = orthogonal(nn.Linear(448, 448), 0.1)
        self.actor = orthogonal(nn.Linear(448, num_actions), 0.01)
        self.critic = orthogonal(nn.Linear(448, 2), 0.01)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``(B, A)``, extrinsic and intrinsic values ``(B,)``."""
        hidden = self.trunk(observations / 255)
        actor = hidden + torch.relu(self.actor_residual(hidden))
        return self.actor(actor), *self._values(hidden)

    def get_values(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Extrinsic and intrinsic values ``(B,)``."""
        return self._values(self.trunk(observations / 255))

    def get_action(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Sampled actions ``(B,)`` and their log-probabilities."""
        logits, _, _ = self(observations)
        distribution = Categorical(logits=logits)
        actions = distribution.sample()  # type: ignore[no-untyped-call]
        return actions, distribution.log_prob(actions)  # type: ignore[no-untyped-call]

    def _values(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        critic = hidden + torch.relu(self.critic_residual(hidden))
        ext_values, int_values = self.critic(critic).unbind(1)
        return ext_values, int_values


class PlainFeatures(nn.Module):
    """The target (no hidden layer) or the predictor (two) on normalised frames ``(B, 1, H, W)``.

    Parameters have the names and shapes of those of `rndfast.learner.networks.RndNetworks`.
    """

    def __init__(
        self,
        num_hidden_layers: int,
        num_features: int = 512,
        height: int = 84,
        width: int = 84,
        *,
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            orthogonal(nn.Conv2d(1, 32, 8, stride=4)),
            nn.LeakyReLU(slope),
            orthogonal(nn.Conv2d(32, 64, 4, stride=2)),
            nn.LeakyReLU(slope),
            orthogonal(nn.Conv2d(64, 64, 3, stride=1)),
            nn.LeakyReLU(slope),
            nn.Flatten(),
        ]
        size = num_outputs(height, width, 3)
        for _ in range(num_hidden_layers):
            layers += [orthogonal(nn.Linear(size, num_features)), nn.ReLU()]
            size = num_features
        self.layers = nn.Sequential(*layers, orthogonal(nn.Linear(size, num_features)))

    def forward(self, frames: Tensor) -> Tensor:
        """Features ``(B, F)``."""
        features: Tensor = self.layers(frames)
        return features


# --- arithmetic -------------------------------------------------------------------------------


class RunningStatistics:
    """Mean and variance of all samples so far, from 1e-4 samples of mean 0 and variance 1 on."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.count = 1e-4
        self.mean = np.zeros(shape)
        self.var = np.ones(shape)

    def update(self, samples: NDArray[Any]) -> None:
        """Take in ``(B, *shape)`` samples (Chan, Golub and LeVeque, 1983)."""
        mean, var = samples.mean(0, dtype=np.float64), samples.var(0, dtype=np.float64)
        count = len(samples)
        total = self.count + count
        delta = mean - self.mean
        m2 = self.var * self.count + var * count + delta**2 * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.var = m2 / total
        self.count = total


def gae(
    rewards: Tensor, values: Tensor, goes_on: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Advantages ``(T, N)``; values are ``(T + 1, N)``, ``goes_on`` is 0 where an episode ended."""
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * values[t + 1] * goes_on[t] - values[t]
        following = delta + gamma * gae_lambda * goes_on[t] * following
        advantages[t] = following
    return advantages


# --- one iteration ----------------------------------------------------------------------------


class PlainRollout(NamedTuple):
    """What T steps of N environments gave; the last row of (T + 1) belongs to what follows."""

    observations: Tensor  # (T + 1, N, 4, H, W) float32, pixels from 0 to 255
    actions: Tensor  # (T, N) int64
    log_probs: Tensor  # (T, N)
    ext_values: Tensor  # (T + 1, N)
    int_values: Tensor  # (T + 1, N)
    rewards: Tensor  # (T, N), unclipped
    ended: Tensor  # (T, N), 1 where an episode terminated or met the frame limit


class PlainBatch(NamedTuple):
    """What the update learns from."""

    observations: Tensor  # (T, N, 4, H, W) float32, pixels from 0 to 255
    next_frames: Tensor  # (T, N, 1, H, W) float32, newest frames of the next observations
    actions: Tensor  # (T, N) int64, as all below are (T, N)
    log_probs: Tensor
    advantages: Tensor
    ext_returns: Tensor
    int_returns: Tensor


class PlainLearner:
    """PPO with random network distillation; draws from PyTorch's global random stream.

    Args:
        config: All settings.
        num_actions: Actions of the game.
    """

    def __init__(self, config: Config, num_actions: int) -> None:
        rnd = config.rnd
        size = (config.atari.img_height, config.atari.img_width)
        self.config = config
        self.device = torch.device(resolve_device(config.run))
        self.num_actions = num_actions
        self.policy = PlainPolicy(num_actions, *size).to(self.device)
        self.target, self.predictor = (
            PlainFeatures(n, rnd.num_features, *size, slope=rnd.leaky_relu_slope).to(self.device)
            for n in (0, 2)
        )
        self.optimizer = torch.optim.Adam(
            [*self.policy.parameters(), *self.predictor.parameters()],
            lr=config.ppo.learning_rate,
            eps=config.ppo.adam_eps,
        )
        self.obs_statistics = RunningStatistics((1, *size))
        self.int_return_statistics = RunningStatistics()
        self.int_return = np.zeros(config.env.num_envs)  # discounted sum of past intrinsic rewards

    def start(self, env: Any) -> None:
        """Start the pixel statistics with a random agent's frames, then new episodes."""
        rng = np.random.default_rng(self.config.run.seed)
        observation = env.reset()[0]
        for _ in range(self.config.rnd.obs_norm_steps):
            self.obs_statistics.update(observation[:, -1:])
            actions = rng.integers(self.num_actions, size=self.config.env.num_envs)
            observation = env.step(actions)[0]
        self.observation = self._tensor(env.reset()[0])

    def iteration(self, env: Any) -> dict[str, float]:
        """Collect, reward, update the pixel statistics, learn; returns the mean losses."""
        rollout = self.collect(env)
        int_rewards = self.intrinsic_rewards(rollout)
        observed = rollout.observations[:-1, :, -1:].flatten(0, 1)  # (T * N, 1, H, W)
        self.obs_statistics.update(observed.cpu().numpy())
        return self.update(self.advantages(rollout, int_rewards))

    @torch.no_grad()
    def collect(self, env: Any) -> PlainRollout:
        """Step every environment T times with the policy."""
        shape = (steps, envs) = self.config.ppo.rollout_steps, self.config.env.num_envs
        rollout = PlainRollout(
            observations=self._zeros(steps + 1, *self.observation.shape),
            actions=self._zeros(*shape).long(),
            log_probs=self._zeros(*shape),
            ext_values=self._zeros(steps + 1, envs),
            int_values=self._zeros(steps + 1, envs),
            rewards=self._zeros(*shape),
            ended=self._zeros(*shape),
        )
        for t in range(steps):
            rollout.observations[t] = self.observation
            rollout.ext_values[t], rollout.int_values[t] = self.policy.get_values(self.observation)
            rollout.actions[t], rollout.log_probs[t] = self.policy.get_action(self.observation)
            observation, rewards, terminated, truncated, _ = env.step(
                rollout.actions[t].cpu().numpy()
            )
            self.observation = self._tensor(observation)
            rollout.rewards[t] = self._tensor(rewards)
            rollout.ended[t] = self._tensor(terminated | truncated)
        rollout.observations[-1] = self.observation
        rollout.ext_values[-1], rollout.int_values[-1] = self.policy.get_values(self.observation)
        return rollout

    @torch.no_grad()
    def intrinsic_rewards(self, rollout: PlainRollout) -> Tensor:
        """Prediction errors ``(T, N)`` over the running deviation of their discounted sums."""
        errors = torch.zeros_like(rollout.rewards)
        for t in range(len(errors)):
            frames = self.normalized(rollout.observations[t + 1, :, -1:])
            errors[t] = (self.predictor(frames) - self.target(frames)).pow(2).mean(1)
        returns = []
        for rewards in errors.cpu().numpy():  # forward in time, across rollouts and episode ends
            self.int_return = self.config.ppo.int_gamma * self.int_return + rewards
            returns.append(self.int_return)
        self.int_return_statistics.update(np.concatenate(returns))
        return errors / math.sqrt(self.int_return_statistics.var)

    def advantages(self, rollout: PlainRollout, int_rewards: Tensor) -> PlainBatch:
        """Two GAEs: the extrinsic one ends with each episode, the intrinsic one never."""
        ppo = self.config.ppo
        goes_on = 1 - rollout.ended
        ext_rewards = rollout.rewards.sign()
        ext = gae(ext_rewards, rollout.ext_values, goes_on, ppo.ext_gamma, ppo.gae_lambda)
        always = torch.ones_like(goes_on)
        int_ = gae(int_rewards, rollout.int_values, always, ppo.int_gamma, ppo.gae_lambda)
        return PlainBatch(
            observations=rollout.observations[:-1],
            next_frames=rollout.observations[1:, :, -1:],
            actions=rollout.actions,
            log_probs=rollout.log_probs,
            advantages=ppo.ext_coef * ext + ppo.int_coef * int_,
            ext_returns=ext + rollout.ext_values[:-1],
            int_returns=int_ + rollout.int_values[:-1],
        )

    def update(self, batch: PlainBatch, masks: Tensor | None = None) -> dict[str, float]:
        """Train on slices of environments, in order; returns the mean of each loss.

        Args:
            batch: The experience.
            masks: ``(epochs * minibatches, T * N / minibatches)`` bool: rows, step by step, that
                train the predictor at each optimiser step; None: drawn.
        """
        ppo = self.config.ppo
        steps, envs = batch.actions.shape
        num_updates = ppo.update_epochs * ppo.num_minibatches
        if masks is None:
            size = (num_updates, steps * envs // ppo.num_minibatches)
            masks = torch.rand(size) < self.config.predictor_proportion
        batch = batch._replace(next_frames=self.normalized(batch.next_frames))
        slices = torch.arange(envs, device=self.device).chunk(ppo.num_minibatches)
        totals: dict[str, float] = {}
        for number, mask in enumerate(masks.to(self.device)):
            of_slice = slices[number % ppo.num_minibatches]
            minibatch = PlainBatch(*(rows[:, of_slice].flatten(0, 1) for rows in batch))
            losses = self.losses(minibatch, mask)
            loss = (
                losses["policy"]
                - ppo.ent_coef * losses["entropy"]
                + ppo.vf_coef * (losses["ext_value"] + losses["int_value"])
                + losses["predictor"]
            )
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.item() / num_updates
        return totals

    def losses(self, minibatch: PlainBatch, mask: Tensor) -> dict[str, Tensor]:
        """Mean losses of a minibatch: ``(B, ...)`` arrays, frames normalised."""
        logits, ext_values, int_values = self.policy(minibatch.observations)
        distribution = Categorical(logits=logits)
        log_probs = distribution.log_prob(minibatch.actions)  # type: ignore[no-untyped-call]
        ratio = (log_probs - minibatch.log_probs).exp()
        clipped_ratio = ratio.clamp(1 - self.config.ppo.clip_coef, 1 + self.config.ppo.clip_coef)
        gain = torch.min(ratio * minibatch.advantages, clipped_ratio * minibatch.advantages)
        with torch.no_grad():
            target = self.target(minibatch.next_frames)
        errors = (self.predictor(minibatch.next_frames) - target).pow(2).mean(1)
        return {
            "policy": -gain.mean(),
            "ext_value": 0.5 * (ext_values - minibatch.ext_returns).pow(2).mean(),
            "int_value": 0.5 * (int_values - minibatch.int_returns).pow(2).mean(),
            "entropy": distribution.entropy().mean(),  # type: ignore[no-untyped-call]
            "predictor": (errors * mask).sum() / mask.sum().clamp(min=1),
        }

    def normalized(self, frames: Tensor) -> Tensor:
        """Frames ``(..., 1, H, W)`` by the pixel statistics as they are, clipped."""
        mean, std = (
            self._tensor(values)
            for values in (self.obs_statistics.mean, np.sqrt(self.obs_statistics.var))
        )
        clip = self.config.rnd.obs_clip
        return ((frames - mean) / std).clamp(-clip, clip)

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).float().to(self.device)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device)


# --- environment ------------------------------------------------------------------------------


def make_plain_env(config: Config, num_threads: int) -> Any:
    """EnvPool's environments if it is installed, else ale-py's, by the paper's protocol.

    Good enough for a baseline, not exact: both show an episode's last observation and begin the
    next one in a step of its own; EnvPool plays one no-op at a start, for it cannot play none.
    """
    game, atari = parse_game(config.env.env_id), config.atari
    settings: dict[str, Any] = {
        "num_envs": config.env.num_envs,
        "num_threads": num_threads,
        "repeat_action_probability": atari.repeat_action_probability,
        "img_height": atari.img_height,
        "img_width": atari.img_width,
        "stack_num": atari.stack_num,
        "use_fire_reset": False,
        "episodic_life": False,
    }
    if importlib.util.find_spec("envpool") is not None:
        import envpool

        return envpool.make(
            config.env.env_id.removeprefix("rndfast/"),
            env_type="gymnasium",
            frame_skip=atari.frameskip,
            max_episode_steps=atari.max_num_frames_per_episode // atari.frameskip,
            noop_max=1,
            reward_clip=False,
            **settings,
        )
    return make_ale_env(
        game,
        frameskip=atari.frameskip,
        max_num_frames_per_episode=atari.max_num_frames_per_episode,
        noop_max=0,
        reward_clipping=False,
        **settings,
    )


def make_ale_env(game: str, num_envs: int, **settings: Any) -> Any:
    """ale-py's vector environment, kept from writing to Gymnasium's class-level metadata."""
    from ale_py.vector_env import AtariVectorEnv

    AtariVectorEnv.metadata = {}  # its own
    return AtariVectorEnv(game, num_envs, **settings)
