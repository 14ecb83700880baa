"""Advantages and the update of policy and predictor (paper, section 2.3; Schulman et al. 2017)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import gae
from rndfast.agent import Agent, require_finite
from rndfast.config import Config, EnvConfig, PpoConfig
from rndfast.networks import PolicyOutput
from rndfast.rnd import ObservationNormalizer, feature_errors, map_transitions
from rndfast.rollout import Rollout, policy_input
from rndfast.workers import Workers


@dataclass(frozen=True)
class Advantages:
    """What the update learns from; each ``(T, N)`` float32."""

    combined: NDArray[np.float32]  # ext_coef * extrinsic + int_coef * intrinsic, not normalised
    ext_returns: NDArray[np.float32]
    int_returns: NDArray[np.float32]


def extrinsic_rewards(rollout: Rollout, config: EnvConfig) -> NDArray[np.float32]:
    """``(T, N)`` float32: the sign of each reward, or the reward itself without clipping."""
    return np.sign(rollout.rewards_raw) if config.reward_clipping else rollout.rewards_raw


def compute_advantages(
    rollout: Rollout,
    ext_rewards: NDArray[np.float32],
    int_rewards: NDArray[np.float32],
    config: PpoConfig,
) -> Advantages:
    """Two GAEs, one per stream and discount, and their weighted sum."""
    ended = rollout.terminated | rollout.truncated
    ext = gae(
        ext_rewards,
        rollout.ext_values,
        rollout.next_ext_value,
        rollout.terminated if config.bootstrap_truncated else ended,
        config.ext_gamma,
        config.gae_lambda,
        truncated=rollout.truncated if config.bootstrap_truncated else None,
        final_values=rollout.final_ext_values if config.bootstrap_truncated else None,
    )
    int_ = gae(
        int_rewards,
        rollout.int_values,
        rollout.next_int_value,
        ended if config.episodic_int_return else None,
        config.int_gamma,
        config.gae_lambda,
    )
    combined = np.float32(config.ext_coef) * ext + np.float32(config.int_coef) * int_
    require_finite("advantages", combined)
    return Advantages(combined, ext + rollout.ext_values, int_ + rollout.int_values)


def explained_variance(values: NDArray[np.float32], returns: NDArray[np.float32]) -> float | None:
    """Share of the returns' variance that the values foresaw; None where all returns are equal."""
    variance = float(returns.var(dtype=np.float64))
    if variance == 0:
        return None
    return 1 - float((returns - values).var(dtype=np.float64)) / variance


@dataclass(frozen=True)
class Minibatch:
    """Rows of a rollout, flattened to ``(B, ...)`` on the device, that a loss is computed on."""

    actions: Tensor  # (B,) int64
    log_probs: Tensor  # (B,) of the policy that acted
    advantages: Tensor  # (B,)
    ext_returns: Tensor  # (B,)
    int_returns: Tensor  # (B,)


@dataclass(frozen=True)
class PolicyLosses:
    """Sums over a minibatch, or a piece of one; scalars."""

    policy: Tensor
    ext_value: Tensor
    int_value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def policy_losses(output: PolicyOutput, batch: Minibatch, clip_coef: float) -> PolicyLosses:
    """Clipped surrogate, half squared value errors and entropy, each summed over the batch."""
    all_log_probs = torch.log_softmax(output.logits, dim=1)
    log_probs = all_log_probs.gather(1, batch.actions[:, None]).squeeze(1)
    log_ratio = log_probs - batch.log_probs
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1 - clip_coef, 1 + clip_coef)
    surrogate = torch.minimum(ratio * batch.advantages, clipped_ratio * batch.advantages)
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).sum()
        clip_fraction = ((ratio - 1).abs() > clip_coef).float().sum()
    return PolicyLosses(
        policy=-surrogate.sum(),
        ext_value=0.5 * (output.ext_values - batch.ext_returns).square().sum(),
        int_value=0.5 * (output.int_values - batch.int_returns).square().sum(),
        entropy=-(all_log_probs.exp() * all_log_probs).sum(),
        approx_kl=approx_kl,
        clip_fraction=clip_fraction,
    )


def draw_predictor_mask(
    size: int, proportion: float, generator: torch.Generator
) -> NDArray[np.bool_]:
    """``(size,)`` bool: the rows that train the predictor, each drawn on its own."""
    mask: NDArray[np.bool_] = (torch.rand(size, generator=generator) < proportion).numpy()
    return mask


def update(
    agent: Agent, rollout: Rollout, advantages: Advantages, config: Config, workers: Workers
) -> dict[str, float]:
    """Train policy and predictor on a rollout; returns the mean of each loss over all minibatches.

    Minibatches are contiguous slices of environments with all their steps, in the same order in
    every epoch. One minibatch is one optimiser step, whatever the size of the pieces that it is
    computed in. The target does not learn: its features are computed once.
    """
    ppo = config.ppo
    normalizer = ObservationNormalizer(agent, config.rnd.obs_clip, workers)
    features = map_transitions(agent.rnd.target, rollout, normalizer, workers)  # (T * N, features)
    rows = Minibatch(
        *(
            workers.to_device(array.ravel())
            for array in (
                rollout.actions,
                rollout.log_probs,
                advantages.combined,
                advantages.ext_returns,
                advantages.int_returns,
            )
        )
    )
    batch_size = config.rollout_transitions // ppo.num_minibatches

    def policy_share(piece: NDArray[np.int64]) -> Share:
        selected = workers.to_device(piece)
        batch = Minibatch(*(getattr(rows, name)[selected] for name in Minibatch.__annotations__))
        with workers.autocast():
            output = agent.policy(policy_input(rollout, piece, workers))
        losses = policy_losses(output, batch, ppo.clip_coef)
        means = {name: value / batch_size for name, value in vars(losses).items()}
        loss = (
            means["policy"]
            - ppo.ent_coef * means["entropy"]
            + ppo.vf_coef * (means["ext_value"] + means["int_value"])
        )
        return Share.of(loss, agent.policy, means)

    def predictor_share(piece: NDArray[np.int64], num_rows: int) -> Share:
        with workers.autocast():
            predicted = agent.rnd.predictor(normalizer.next_frames(rollout, piece))
        target = features[workers.to_device(piece)]
        loss = feature_errors(predicted, target).sum() / max(num_rows, 1)
        return Share.of(loss, agent.rnd.predictor, {"predictor": loss})

    totals: dict[str, Tensor] = {}
    num_updates = ppo.update_epochs * ppo.num_minibatches
    for _ in range(ppo.update_epochs):
        for env_slice in np.split(rollout.indices(), ppo.num_minibatches, axis=1):
            minibatch = env_slice.ravel()
            mask = draw_predictor_mask(
                len(minibatch), config.rnd.predictor_proportion, agent.generator
            )
            predictor_rows = minibatch[mask]
            # the two networks share no parameter, so that each has its own pieces
            tasks: list[Callable[[], Share]] = [
                functools.partial(policy_share, piece) for piece in workers.pieces(minibatch)
            ]
            tasks += [
                functools.partial(predictor_share, piece, len(predictor_rows))
                for piece in workers.pieces(predictor_rows)
            ]
            agent.optimizer.zero_grad(set_to_none=True)
            for share in workers.map(lambda task: task(), tasks):
                share.add_gradients()
                for name, mean in share.means.items():
                    totals[name] = totals.get(name, 0.0) + mean / num_updates
            agent.optimizer.step()

    names = list(totals)
    means = torch.stack([totals[name] for name in names]).tolist()  # waits for a GPU, once
    for name, mean in zip(names, means, strict=True):
        require_finite(f"{name} loss", mean)
    require_finite("weights", torch.stack([weights.detach().sum() for weights in agent.parameters]))
    return dict(zip(names, means, strict=True))


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
