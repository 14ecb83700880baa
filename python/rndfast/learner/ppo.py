"""Advantages and the update of policy and predictor (paper, section 2.3; Schulman et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import RunningMoments, gae
from rndfast.config import Config, PpoConfig
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages, Backend, Minibatch
from rndfast.learner.distributions import ActionDistribution
from rndfast.learner.finite import require_finite
from rndfast.learner.networks import PolicyOutput
from rndfast.learner.rnd import draw_predictor_mask
from rndfast.learner.rollout import Rollout
from rndfast.runtime.processes import Ranks

# A feature of the target with a smaller variance over a rollout says nothing of where the agent is.
DEAD_VARIANCE = 1e-6


@dataclass(frozen=True)
class Stream:
    """Rewards with a value head of their own."""

    rewards: NDArray[np.float32]  # (T, N)
    gamma: float
    is_episodic: bool  # episodes end its returns
    coef: float  # weight of its advantage


def reward_streams(
    ext_rewards: NDArray[np.float32], int_rewards: NDArray[np.float32] | None, config: PpoConfig
) -> list[Stream]:
    """What the value heads predict, in the order of ``config.streams``.

    Args:
        ext_rewards: ``(T, N)``.
        int_rewards: ``(T, N)``; None without a bonus.
        config: Discounts and coefficients.
    """
    ext = Stream(ext_rewards, config.ext_gamma, True, config.ext_coef)
    if int_rewards is None:
        return [ext]
    if config.two_value_heads:
        is_episodic = config.episodic_int_return
        return [ext, Stream(int_rewards, config.int_gamma, is_episodic, config.int_coef)]
    weighted = np.float32(config.ext_coef) * ext_rewards
    weighted += np.float32(config.int_coef) * int_rewards
    return [Stream(weighted, config.ext_gamma, config.episodic_int_return, 1.0)]


def compute_advantages(
    rollout: Rollout,
    ext_rewards: NDArray[np.float32],
    int_rewards: NDArray[np.float32] | None,
    config: PpoConfig,
) -> Advantages:
    """A GAE for each stream, by its own discount and ends, and their weighted sum."""
    combined = np.zeros_like(ext_rewards)
    returns = np.empty_like(rollout.values)
    bootstraps = config.bootstrap_truncated
    for head, stream in enumerate(reward_streams(ext_rewards, int_rewards, config)):
        cuts_off = stream.is_episodic and bootstraps
        ended = rollout.terminated if bootstraps else rollout.terminated | rollout.truncated
        values = np.ascontiguousarray(rollout.values[..., head])
        advantages = gae(
            stream.rewards,
            values,
            np.ascontiguousarray(rollout.next_values[:, head]),
            ended if stream.is_episodic else None,
            stream.gamma,
            config.gae_lambda,
            truncated=rollout.truncated if cuts_off else None,
            final_values=(
                np.ascontiguousarray(rollout.final_values[..., head]) if cuts_off else None
            ),
        )
        combined += np.float32(stream.coef) * advantages
        returns[..., head] = advantages + values
    require_finite("advantages", combined)
    return Advantages(combined, returns)


def explained_variance(values: NDArray[np.float32], returns: NDArray[np.float32]) -> float | None:
    """Share of the returns' variance that the values explain; None where all returns are equal."""
    variance = float(returns.var(dtype=np.float64))
    if variance == 0:
        return None
    return 1 - float((returns - values).var(dtype=np.float64)) / variance


@dataclass(frozen=True)
class PolicyRows:
    """Rows of a rollout, flattened to ``(B, ...)``, that the policy's losses are computed on."""

    actions: Tensor  # (B,) int64, or (B, K) float32
    log_probs: Tensor  # (B,) of the policy that acted
    advantages: Tensor  # (B,)
    values: Tensor  # (B, V) of the policy that acted
    returns: Tensor  # (B, V)

    def at(self, indices: Tensor) -> PolicyRows:
        """Some of the rows."""
        return PolicyRows(*(rows[indices] for rows in vars(self).values()))


@dataclass(frozen=True)
class PolicyLosses:
    """Sums over a batch; scalars, but for one value loss for each head."""

    policy: Tensor
    value: Tensor  # (V,)
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def policy_losses(
    output: PolicyOutput, batch: PolicyRows, distribution: ActionDistribution, config: PpoConfig
) -> PolicyLosses:
    """Clipped surrogate, half squared value errors and entropy, each summed over the batch."""
    clip_coef = config.clip_coef
    log_ratio = distribution.log_probs(output.action_params, batch.actions) - batch.log_probs
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1 - clip_coef, 1 + clip_coef)
    surrogate = torch.minimum(ratio * batch.advantages, clipped_ratio * batch.advantages)
    squared_errors = (output.values - batch.returns).square()  # (B, V)
    if config.clip_vloss:
        changes = (output.values - batch.values).clamp(-clip_coef, clip_coef)[:, :1]
        clipped_errors = (batch.values[:, :1] + changes - batch.returns[:, :1]).square()
        larger = torch.maximum(squared_errors[:, :1], clipped_errors)
        squared_errors = torch.cat((larger, squared_errors[:, 1:]), dim=1)
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).sum()
        clip_fraction = ((ratio - 1).abs() > clip_coef).float().sum()
    return PolicyLosses(
        policy=-surrogate.sum(),
        value=0.5 * squared_errors.sum(dim=0),
        entropy=distribution.entropy(output.action_params).sum(),
        approx_kl=approx_kl,
        clip_fraction=clip_fraction,
    )


def mean_losses(
    losses: PolicyLosses, streams: tuple[str, ...], batch_size: int
) -> dict[str, Tensor]:
    """Sums over part of a minibatch as their part of its means, by the names of metrics.

    ``batch_size`` is that of the whole minibatch.
    """
    means: dict[str, Tensor] = {
        name: value / batch_size for name, value in vars(losses).items() if name != "value"
    }
    for stream, value_loss in zip(streams, losses.value / batch_size, strict=True):
        means[f"{stream}_value"] = value_loss
    return means


def total_loss(means: dict[str, Tensor], config: PpoConfig) -> Tensor:
    """What the optimiser minimises of the policy's losses."""
    value_loss = torch.stack([means[f"{stream}_value"] for stream in config.streams]).sum()
    return means["policy"] - config.ent_coef * means["entropy"] + config.vf_coef * value_loss


def optimizer_step(agent: Agent, max_grad_norm: float | None, ranks: Ranks) -> Tensor:
    """Clip the gradients and make a step; this process's part of their norm before clipping.

    Metrics are summed over processes, which all have the same norm.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in agent.parameters if p.grad is not None])
    if max_grad_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(agent.parameters, max_grad_norm, norm)
    agent.optimizer.step()
    return norm / ranks.world_size


def epoch_indices(
    indices: NDArray[np.int64], config: PpoConfig, generator: torch.Generator
) -> list[NDArray[np.int64]]:
    """The minibatches of one pass over transitions ``(T, N)``.

    Contiguous slices of environments, ``(T, N / minibatches)``, in order; or, shuffled, ``(1, T * N
    / minibatches)`` each.
    """
    if not config.shuffle_minibatches:
        return np.split(indices, config.num_minibatches, axis=1)
    order = torch.randperm(indices.size, generator=generator).numpy()
    return np.split(indices.ravel()[order][None], config.num_minibatches, axis=1)


def shift_and_scale(advantages: NDArray[np.float32], ranks: Ranks) -> tuple[float, float]:
    """Mean, and standard deviation plus 1e-8, of a minibatch's advantages on all ranks."""
    moments = RunningMoments(())
    ranks.update_moments(moments, advantages)
    return float(moments.mean), math.sqrt(float(moments.var)) + 1e-8


def draw_minibatches(
    rollout: Rollout, backend: Backend, advantages: Advantages, config: Config
) -> list[Minibatch]:
    """The minibatches of all epochs, with the rows of each that train the predictor.

    Rows are drawn for the minibatches of the whole run, of which each process has its part.
    """
    generator, ranks = backend.agent.generator, backend.ranks
    combined = advantages.combined.ravel()
    minibatches = []
    for _ in range(config.ppo.update_epochs):
        for indices in epoch_indices(rollout.indices(), config.ppo, generator):
            shift, scale = 0.0, 1.0
            if config.ppo.norm_adv:
                shift, scale = shift_and_scale(combined[indices], ranks)
            trains_predictor, num_rows = None, 0
            if backend.agent.bonus is not None:
                size = indices.size * ranks.world_size
                mask = draw_predictor_mask(size, config.predictor_proportion, generator)
                num_rows = max(int(mask.sum()), 1)
                parts = np.split(mask.reshape(len(indices), -1), ranks.world_size, axis=1)
                trains_predictor = parts[ranks.rank]
            minibatches.append(Minibatch(indices, trains_predictor, num_rows, shift, scale))
    return minibatches


def update(
    rollout: Rollout, backend: Backend, advantages: Advantages, config: Config
) -> dict[str, float]:
    """Train policy and predictor on a rollout; returns metrics: means over all minibatches.

    One minibatch is one optimiser step, on however many processes: their gradients are summed.
    ``config`` is the whole run's.
    """
    agent, ranks = backend.agent, backend.ranks
    minibatches = draw_minibatches(rollout, backend, advantages, config)
    choices = torch.zeros(0, dtype=torch.int64)
    if agent.bonus is not None:
        shape = (rollout.num_steps, rollout.num_envs * ranks.world_size)
        choices = ranks.own(agent.bonus.draw_choices(shape, agent.generator), axis=1).flatten()
    losses = ranks.sum_values(backend.learn(advantages, minibatches, choices))
    metrics = {f"losses/{name}": value for name, value in losses.items()}
    if agent.bonus is not None:
        own = backend.target_moments()
        moments = RunningMoments(own[1].shape)
        ranks.merge_moments(moments, own)
        metrics["rnd/feature_variance"] = float(moments.var.mean())
        metrics["health/dead_features"] = float((moments.var < DEAD_VARIANCE).mean())
    for name, value in metrics.items():
        require_finite(name, value)
    # last, so that the error names a loss that is not finite before the weights that it has spoilt
    require_finite("weights", torch.stack([weights.detach().sum() for weights in agent.parameters]))
    return metrics
