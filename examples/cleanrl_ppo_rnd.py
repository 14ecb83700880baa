"""PPO in one file with a curiosity bonus; the lines that belong to the bonus are marked.

On Atari and on whatever gymnasium.make_vec makes with discrete actions:

    python examples/cleanrl_ppo_rnd.py
    python examples/cleanrl_ppo_rnd.py --env-id CartPole-v1 --num-envs 8 --learning-rate 1e-3
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import ClipReward, RecordEpisodeStatistics
from torch import Tensor, nn
from torch.distributions import Categorical

import rndfast

Metrics = dict[str, float]


def make_envs(env_id: str, num_envs: int) -> VectorEnv[Any, Any, Any]:
    """Same-step autoreset: no step is lost, and the first observation follows the last one."""
    if env_id.startswith("rndfast/"):
        return gymnasium.make_vec(
            env_id, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, reward_clipping=False
        )
    return gymnasium.make_vec(
        env_id,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )


def layer(module: nn.Conv2d | nn.Linear, gain: float = np.sqrt(2)) -> nn.Module:
    """Initialise a layer."""
    nn.init.orthogonal_(module.weight, gain)
    nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return module


class Agent(nn.Module):
    """Actor and two critics: of stacks of frames (S, H, W), or of vectors (D,)."""

    def __init__(self, shape: tuple[int, ...], num_actions: int) -> None:
        super().__init__()
        size = 512 if len(shape) == 3 else 64
        if len(shape) == 3:
            self.trunk = nn.Sequential(
                layer(nn.Conv2d(shape[0], 32, 8, stride=4)),
                nn.ReLU(),
                layer(nn.Conv2d(32, 64, 4, stride=2)),
                nn.ReLU(),
                layer(nn.Conv2d(64, 64, 3, stride=1)),
                nn.ReLU(),
                nn.Flatten(),
                layer(nn.Linear(64 * 7 * 7, size)),
                nn.ReLU(),
            )
        else:
            self.trunk = nn.Sequential(
                layer(nn.Linear(shape[0], size)), nn.Tanh(), layer(nn.Linear(size, size)), nn.Tanh()
            )
        self.actor = layer(nn.Linear(size, num_actions), 0.01)
        self.critics = layer(nn.Linear(size, 2), 1.0)  # extrinsic and intrinsic

    def forward(self, observations: Tensor) -> tuple[Categorical, Tensor]:
        """Distribution of actions, and values (B, 2)."""
        is_image = observations.dtype == torch.uint8
        hidden = self.trunk(observations / 255 if is_image else observations)
        return Categorical(logits=self.actor(hidden)), self.critics(hidden)


class Batch(NamedTuple):
    """What PPO learns from; all (T * N, ...)."""

    observations: Tensor
    next_frames: Tensor  # what the bonus sees
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor  # (T * N, 2)


def gae(
    rewards: Tensor, values: Tensor, goes_on: Tensor, *, gamma: float, gae_lambda: float = 0.95
) -> Tensor:
    """Advantages (T, N); values are (T + 1, N), goes_on is 0 where an episode ended."""
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * values[t + 1] * goes_on[t] - values[t]
        following = advantages[t] = delta + gamma * gae_lambda * goes_on[t] * following
    return advantages


def learn(
    agent: Agent,
    bonus: rndfast.RNDBonus,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    epochs: int = 4,
    minibatches: int = 4,
    clip_coef: float = 0.1,
    ent_coef: float = 0.001,
) -> Metrics:
    """Several passes of PPO over a batch; returns the last losses."""
    for _ in range(epochs):
        for rows in torch.randperm(len(batch.actions)).chunk(minibatches):
            mini = Batch(*(values[rows] for values in batch))
            distribution, values = agent(mini.observations)
            ratio = (distribution.log_prob(mini.actions) - mini.log_probs).exp()
            gain = (mini.advantages - mini.advantages.mean()) / (mini.advantages.std() + 1e-8)
            clipped = ratio.clamp(1 - clip_coef, 1 + clip_coef)
            losses = {
                "policy": -torch.min(ratio * gain, clipped * gain).mean(),
                "value": 0.5 * (values - mini.returns).square().mean(0).sum(),
                "entropy": distribution.entropy().mean(),
                "predictor": bonus.loss(mini.next_frames),  # rnd
            }
            loss = losses["policy"] + 0.5 * losses["value"] - ent_coef * losses["entropy"]
            loss = loss + losses["predictor"]  # rnd
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
    return {f"losses/{name}": value.item() for name, value in losses.items()}


def main(
    total_steps: int = 10_000_000,
    *,
    env_id: str = "rndfast/MontezumaRevenge-v5",
    num_envs: int = 32,
    rollout_steps: int = 128,
    obs_norm_steps: int = 512,
    learning_rate: float = 1e-4,
    ext_coef: float = 2.0,
    int_coef: float = 1.0,
    ext_gamma: float = 0.999,
    int_gamma: float = 0.99,
    seed: int = 1,
    device: str = "cpu",
) -> tuple[Agent, rndfast.RNDBonus, list[Metrics]]:
    """Train, and print what came of each rollout.

    Args:
        total_steps: Steps of all environments together.
        env_id: rndfast/<Game>-v5, or another id of Gymnasium's with discrete actions.
        num_envs: Environments.
        rollout_steps: Steps of each environment between updates.
        obs_norm_steps: Steps of a random agent that start the statistics of the observations.
        learning_rate: Of one Adam for all.
        ext_coef: Weight of the extrinsic advantage.
        int_coef: Weight of the intrinsic advantage.
        ext_gamma: Discount of extrinsic returns.
        int_gamma: Discount of intrinsic returns.
        seed: Of everything.
        device: cpu or cuda.
    """
    torch.manual_seed(seed)
    envs = make_envs(env_id, num_envs)
    shape = envs.single_observation_space.shape or ()
    is_image = len(shape) == 3

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values, device=device)

    def observed(values: Any) -> Tensor:
        return tensor(values) if is_image else tensor(values).float()

    def newest(observations: Tensor) -> Tensor:
        return observations[..., -1:, :, :] if is_image else observations

    agent = Agent(shape, int(envs.single_action_space.n)).to(device)  # type: ignore[attr-defined]
    bonus = rndfast.RNDBonus(  # rnd
        (1, *shape[1:]) if is_image else shape,
        num_envs=num_envs,
        int_gamma=int_gamma,
        num_features=512 if is_image else 64,
    ).to(device)
    optimizer = torch.optim.Adam([*agent.parameters(), *bonus.parameters()], lr=learning_rate)

    envs.action_space.seed(seed)
    envs.reset(seed=seed)
    for _ in range(obs_norm_steps):  # rnd
        observations, *_ = envs.step(envs.action_space.sample())
        bonus.initialize(newest(observed(observations)))

    episodes = RecordEpisodeStatistics(envs)  # their returns are not clipped
    envs = ClipReward(episodes, -1, 1) if is_image else episodes
    next_obs = observed(envs.reset(seed=seed)[0])
    log: list[Metrics] = []
    start_s = time.perf_counter()
    for update in range(1, total_steps // (num_envs * rollout_steps) + 1):
        rows: list[tuple[Tensor, ...]] = []
        for _ in range(rollout_steps):
            with torch.no_grad():
                distribution, values = agent(next_obs)
            actions = distribution.sample()
            log_probs = distribution.log_prob(actions)
            observations, rewards, terminated, truncated, _ = envs.step(actions.cpu().numpy())
            before, next_obs = next_obs, observed(observations)
            goes_on = tensor(~(terminated | truncated)).float()
            rewards = tensor(rewards).float()
            rows.append((before, newest(next_obs), actions, log_probs, values, rewards, goes_on))
        obs, next_frames, actions, log_probs, values, rewards, goes_on = map(
            torch.stack, zip(*rows, strict=True)
        )  # each (T, N, ...)
        int_rewards = bonus.update(next_frames)  # rnd

        with torch.no_grad():
            values = torch.cat([values, agent(next_obs)[1][None]])  # (T + 1, N, 2)
        ext = gae(rewards, values[..., 0], goes_on, gamma=ext_gamma)
        always = torch.ones_like(goes_on)  # the intrinsic return goes on over the ends of episodes
        int_ = gae(int_rewards, values[..., 1], always, gamma=int_gamma)  # rnd
        batch = Batch(
            observations=obs,
            next_frames=next_frames,
            actions=actions,
            log_probs=log_probs,
            advantages=ext_coef * ext + int_coef * int_,  # rnd
            returns=torch.stack([ext, int_], dim=-1) + values[:-1],
        )
        batch = Batch(*(values.flatten(0, 1) for values in batch))
        metrics = learn(agent, bonus, optimizer, batch)
        metrics["steps"] = update * num_envs * rollout_steps
        metrics["charts/SPS"] = metrics["steps"] / (time.perf_counter() - start_s)
        metrics["charts/int_reward"] = int_rewards.mean().item()
        if episodes.return_queue:
            metrics["charts/episodic_return"] = float(np.mean(episodes.return_queue))
        print({name: round(value, 4) for name, value in metrics.items()})
        log.append(metrics)
    envs.close()
    return agent, bonus, log


if __name__ == "__main__":
    tyro.cli(main)
