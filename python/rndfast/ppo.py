"""Advantages and the update of policy and predictor (paper, section 2.3; Schulman et al. 2017)."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import gae
from rndfast.agent import Agent, require_finite
from rndfast.config import Config, PpoConfig
from rndfast.distributions import ActionDistribution
from rndfast.networks import PolicyOutput
from rndfast.normalizer import Normalizer
from rndfast.rnd import feature_errors, map_transitions
from rndfast.rollout import Rollout
from rndfast.workers import Workers

# Whole environments of a recurrent policy's minibatch that pass through it at once, at least: one
# alone would leave its memory's matrices to be read for a single row.
MIN_RECURRENT_ENVS = 4


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
    """What the value heads foresee, in the order of ``config.streams``.

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


@dataclass(frozen=True)
class Advantages:
    """What the update learns from."""

    combined: NDArray[np.float32]  # (T, N): sum over streams of coef * advantage, not normalised
    returns: NDArray[np.float32]  # (T, N, V)


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
    """Share of the returns' variance that the values foresaw; None where all returns are equal."""
    variance = float(returns.var(dtype=np.float64))
    if variance == 0:
        return None
    return 1 - float((returns - values).var(dtype=np.float64)) / variance


@dataclass(frozen=True)
class Minibatch:
    """Rows of a rollout, flattened to ``(B, ...)`` on the device, that a loss is computed on."""

    actions: Tensor  # (B,) int64, or (B, K) float32
    log_probs: Tensor  # (B,) of the policy that acted
    advantages: Tensor  # (B,)
    values: Tensor  # (B, V) of the policy that acted
    returns: Tensor  # (B, V)


@dataclass(frozen=True)
class PolicyLosses:
    """Sums over a minibatch, or a piece of one; scalars, but for one value loss for each head."""

    policy: Tensor
    value: Tensor  # (V,)
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def policy_losses(
    output: PolicyOutput, batch: Minibatch, distribution: ActionDistribution, config: PpoConfig
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


def draw_predictor_mask(
    size: int, proportion: float, generator: torch.Generator
) -> NDArray[np.bool_]:
    """``(size,)`` bool: the rows that train the predictor, each drawn on its own."""
    mask: NDArray[np.bool_] = (torch.rand(size, generator=generator) < proportion).numpy()
    return mask


def minibatches(
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


def policy_pieces(
    minibatch: NDArray[np.int64], agent: Agent, workers: Workers
) -> list[NDArray[np.int64]]:
    """Cut a minibatch ``(t, n)`` for `Workers.map`: anywhere, or between whole environments.

    Pieces are ``(1, B)``, or ``(T, n)`` for a policy with memory.
    """
    if agent.policy.memory is None:
        return [piece[None] for piece in workers.pieces(minibatch.ravel())]
    num_steps, num_envs = minibatch.shape
    envs_per_piece = max(MIN_RECURRENT_ENVS, workers.batch_size // num_steps)
    return np.array_split(minibatch, -(-num_envs // envs_per_piece), axis=1)


def advantage_moments(advantages: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation, not quite 0, of a minibatch's advantages."""
    return float(advantages.mean(dtype=np.float64)), float(advantages.std(dtype=np.float64)) + 1e-8


def update(
    agent: Agent, rollout: Rollout, advantages: Advantages, config: Config, workers: Workers
) -> dict[str, float]:
    """Train policy and predictor on a rollout; returns metrics: means over all minibatches.

    One minibatch is one optimiser step, whatever the size of the pieces that it is computed in. The
    target does not learn: its features are computed once.
    """
    ppo = config.ppo
    rows = Minibatch(
        *(
            workers.to_device(array.reshape(-1, *array.shape[2:]))
            for array in (
                rollout.actions,
                rollout.log_probs,
                advantages.combined,
                rollout.values,
                advantages.returns,
            )
        )
    )
    batch_size = config.rollout_transitions // ppo.num_minibatches
    value_names = [f"{stream}_value" for stream in ppo.streams]
    features: Tensor | None = None
    normalizer = Normalizer(agent.obs_moments, config.rnd.obs_clip, workers)
    if agent.has_bonus:
        features = map_transitions(agent.rnd.target, rollout, normalizer, workers)  # (T * N, F)

    def policy_share(piece: NDArray[np.int64], shift: float, scale: float) -> Share:
        selected = workers.to_device(piece.ravel())
        batch = Minibatch(*(getattr(rows, name)[selected] for name in Minibatch.__annotations__))
        batch = dataclasses.replace(batch, advantages=(batch.advantages - shift) / scale)
        envs = piece[0] % rollout.num_envs
        memory = workers.to_device(rollout.first_memory[envs])
        is_first = workers.to_device(rollout.is_first[: len(piece), envs])
        with workers.autocast():
            inputs = rollout.observations.policy_input(piece.ravel(), workers)
            output = agent.policy(inputs, memory, is_first)
        losses = policy_losses(output, batch, agent.distribution, ppo)
        means = {name: value / batch_size for name, value in vars(losses).items()}
        value_losses = means.pop("value")
        loss = means["policy"] - ppo.ent_coef * means["entropy"] + ppo.vf_coef * value_losses.sum()
        means |= dict(zip(value_names, value_losses, strict=True))
        return Share.of(loss, agent.policy, means)

    def predictor_share(piece: NDArray[np.int64], num_rows: int) -> Share:
        assert features is not None
        with workers.autocast():
            inputs = rollout.observations.next_input(piece, normalizer, workers)
            predicted = agent.rnd.predictor(inputs)
        target = features[workers.to_device(piece)]
        loss = feature_errors(predicted, target).sum() / max(num_rows, 1)
        return Share.of(loss, agent.rnd.predictor, {"predictor": loss})

    totals: dict[str, Tensor] = {}
    num_updates = ppo.update_epochs * ppo.num_minibatches
    for _ in range(ppo.update_epochs):
        for minibatch in minibatches(rollout.indices(), ppo, agent.generator):
            # the two networks share no parameter, so that each has its own pieces
            chosen = advantages.combined.ravel()[minibatch]
            shift_and_scale = advantage_moments(chosen) if ppo.norm_adv else (0.0, 1.0)
            tasks: list[Callable[[], Share]] = [
                functools.partial(policy_share, piece, *shift_and_scale)
                for piece in policy_pieces(minibatch, agent, workers)
            ]
            if agent.has_bonus:
                mask = draw_predictor_mask(
                    minibatch.size, config.predictor_proportion, agent.generator
                )
                predictor_rows = minibatch.ravel()[mask]
                tasks += [
                    functools.partial(predictor_share, piece, len(predictor_rows))
                    for piece in workers.pieces(predictor_rows)
                ]
            agent.optimizer.zero_grad(set_to_none=True)
            means: dict[str, Tensor] = {}
            for share in workers.map(lambda task: task(), tasks):
                share.add_gradients()
                for name, mean in share.means.items():
                    means[name] = means.get(name, 0.0) + mean
            # without a bound the norm is only looked at
            means["gradient_norm"] = torch.nn.utils.clip_grad_norm_(
                agent.parameters, ppo.max_grad_norm or math.inf
            )
            agent.optimizer.step()
            for name, mean in means.items():
                totals[name] = totals.get(name, 0.0) + mean / num_updates

    require_finite("weights", torch.stack([weights.detach().sum() for weights in agent.parameters]))
    return update_metrics(totals, features)


def update_metrics(losses: dict[str, Tensor], features: Tensor | None) -> dict[str, float]:
    """Losses, and what the target's features ``(T * N, F)`` are like, by the names of metrics."""
    metrics = {f"losses/{name}": value for name, value in losses.items()}
    if features is not None:
        metrics["rnd/feature_variance"] = features.var(dim=0, correction=0).mean()
        metrics["rnd/feature_max"] = features.abs().max()
    figures = torch.stack(list(metrics.values())).tolist()  # waits for a GPU, once
    named = dict(zip(metrics, figures, strict=True))
    for name, figure in named.items():
        require_finite(name, figure)
    return named


@dataclass(frozen=True)
class Share:
    """What a piece of a minibatch contributes to the step."""

    gradients: list[tuple[Tensor, Tensor]]  # of each parameter
    means: dict[str, Tensor]  # the piece's part of each loss

    @classmethod
    def of(cls, loss: Tensor, network: torch.nn.Module, means: dict[str, Tensor]) -> Share:
        """Differentiate a piece's part of the loss by a network's parameters."""
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        return cls(
            list(zip(parameters, gradients, strict=True)),
            {name: value.detach() for name, value in means.items()},
        )

    def add_gradients(self) -> None:
        """Add to what the parameters have."""
        for parameter, gradient in self.gradients:
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
