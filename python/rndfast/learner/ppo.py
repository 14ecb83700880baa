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

from rndfast._core import RunningMoments, gae
from rndfast.config import Config, PpoConfig
from rndfast.learner.agent import Agent, require_finite
from rndfast.learner.distributions import ActionDistribution
from rndfast.learner.networks import PolicyOutput
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.rnd import feature_errors, map_transitions
from rndfast.learner.rollout import Rollout
from rndfast.runtime.compute import Workers
from rndfast.runtime.processes import Ranks

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


def shift_and_scale(advantages: NDArray[np.float32], ranks: Ranks) -> tuple[float, float]:
    """Mean and standard deviation, not quite 0, of a minibatch's advantages on all ranks."""
    moments = RunningMoments(())
    ranks.update_moments(moments, advantages)
    return float(moments.mean), math.sqrt(float(moments.var)) + 1e-8


def update(
    agent: Agent, rollout: Rollout, advantages: Advantages, config: Config, workers: Workers
) -> dict[str, float]:
    """Train policy and predictor on a rollout; returns metrics: means over all minibatches.

    One minibatch is one optimiser step, whatever the size of the pieces that it is computed in, and
    on however many ranks: their gradients are summed. ``config`` is the whole run's.
    """
    ppo, ranks = config.ppo, workers.ranks
    lesson = Lesson(agent, rollout, advantages, config, workers)
    totals: dict[str, Tensor] = {}
    num_updates = ppo.update_epochs * ppo.num_minibatches
    for _ in range(ppo.update_epochs):
        for minibatch in minibatches(rollout.indices(), ppo, agent.generator):
            agent.optimizer.zero_grad(set_to_none=True)
            for share in workers.map(lambda task: task(), lesson.tasks(minibatch)):
                share.add_gradients()
                for name, mean in share.means.items():
                    totals[name] = totals.get(name, 0.0) + mean / num_updates
            ranks.sum_gradients(agent.parameters)
            gradients = [p.grad for p in agent.parameters if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if ppo.max_grad_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(agent.parameters, ppo.max_grad_norm, norm)
            # every rank has the whole norm, and of the losses a share
            share_of_norm = norm / (num_updates * ranks.world_size)
            totals["gradient_norm"] = totals.get("gradient_norm", 0.0) + share_of_norm
            agent.optimizer.step()

    figures = torch.stack(list(totals.values())).tolist()  # waits for a GPU, once
    losses = ranks.sum_values(dict(zip(totals, figures, strict=True)))
    metrics = {f"losses/{name}": value for name, value in losses.items()}
    if lesson.features is not None:
        moments = RunningMoments((lesson.features.shape[1],))
        ranks.update_moments(moments, lesson.features.cpu().numpy())
        metrics["rnd/feature_variance"] = float(moments.var.mean())
    for name, value in metrics.items():
        require_finite(name, value)
    # last: a loss that is not finite is named, not the weights that it spoiled
    require_finite("weights", torch.stack([weights.detach().sum() for weights in agent.parameters]))
    return metrics


class Lesson:
    """A rollout on the device, and what its minibatches contribute to optimiser steps.

    ``features``, ``(T * N, F)``, are the target's, which does not learn: they are computed once.
    """

    def __init__(
        self,
        agent: Agent,
        rollout: Rollout,
        advantages: Advantages,
        config: Config,
        workers: Workers,
    ) -> None:
        self._agent, self._rollout, self._config, self._workers = agent, rollout, config, workers
        arrays = (
            rollout.actions,
            rollout.log_probs,
            advantages.combined,
            rollout.values,
            advantages.returns,
        )
        self._rows = Minibatch(*(workers.to_device(a.reshape(-1, *a.shape[2:])) for a in arrays))
        self._advantages = advantages.combined.ravel()
        self._batch_size = config.rollout_transitions // config.ppo.num_minibatches  # on all ranks
        self._normalizer = Normalizer(agent.obs_moments, config.rnd.obs_clip, workers)
        self.features: Tensor | None = None
        if agent.has_bonus:
            self.features = map_transitions(agent.rnd.target, rollout, self._normalizer, workers)

    def tasks(self, minibatch: NDArray[np.int64]) -> list[Callable[[], Share]]:
        """The pieces of a minibatch ``(t, n)``; the two networks share no parameter."""
        agent, ranks = self._agent, self._workers.ranks
        shift, scale = 0.0, 1.0
        if self._config.ppo.norm_adv:
            shift, scale = shift_and_scale(self._advantages[minibatch], ranks)
        tasks: list[Callable[[], Share]] = [
            functools.partial(self._policy_share, piece, shift, scale)
            for piece in policy_pieces(minibatch, agent, self._workers)
        ]
        if agent.has_bonus:
            # drawn for the minibatch of the whole run; of it, this rank has a slice
            mask = draw_predictor_mask(
                self._batch_size, self._config.predictor_proportion, agent.generator
            )
            own = np.split(mask.reshape(len(minibatch), -1), ranks.world_size, axis=1)[ranks.rank]
            tasks += [
                functools.partial(self._predictor_share, piece, max(int(mask.sum()), 1))
                for piece in self._workers.pieces(minibatch[own])
            ]
        return tasks

    def _policy_share(self, piece: NDArray[np.int64], shift: float, scale: float) -> Share:
        rollout, workers, ppo = self._rollout, self._workers, self._config.ppo
        selected = workers.to_device(piece.ravel())
        batch = Minibatch(*(rows[selected] for rows in vars(self._rows).values()))
        batch = dataclasses.replace(batch, advantages=(batch.advantages - shift) / scale)
        envs = piece[0] % rollout.num_envs
        memory = workers.to_device(rollout.first_memory[envs])
        is_first = workers.to_device(rollout.is_first[: len(piece), envs])
        with workers.autocast():
            inputs = rollout.observations.policy_input(piece.ravel(), workers)
            output = self._agent.policy(inputs, memory, is_first)
        losses = policy_losses(output, batch, self._agent.distribution, ppo)
        means = {name: value / self._batch_size for name, value in vars(losses).items()}
        value_losses = means.pop("value")
        loss = means["policy"] - ppo.ent_coef * means["entropy"] + ppo.vf_coef * value_losses.sum()
        for stream, value_loss in zip(ppo.streams, value_losses, strict=True):
            means[f"{stream}_value"] = value_loss
        return Share.of(loss, self._agent.policy, means)

    def _predictor_share(self, piece: NDArray[np.int64], num_rows: int) -> Share:
        assert self.features is not None
        predictor = self._agent.rnd.predictor
        with self._workers.autocast():
            inputs = self._rollout.observations.next_input(piece, self._normalizer, self._workers)
            predicted = predictor(inputs)
        target = self.features[self._workers.to_device(piece)]
        loss = feature_errors(predicted, target).sum() / num_rows
        return Share.of(loss, predictor, {"predictor": loss})


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
