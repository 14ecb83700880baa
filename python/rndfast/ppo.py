"""Advantages and the update of policy and predictor (paper, section 2.3; Schulman et al. 2017)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import gae
from rndfast.agent import Agent, require_finite
from rndfast.config import Config, EnvConfig, PpoConfig
from rndfast.networks import PolicyOutput
from rndfast.rnd import ObservationNormalizer, feature_errors, target_features
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
    computed in.
    """
    ppo = config.ppo
    normalizer = ObservationNormalizer(agent, config.rnd.obs_clip)
    features = target_features(agent, rollout, normalizer, workers)  # (T * N, features)
    rows = Minibatch(
        *(
            torch.from_numpy(array.ravel()).to(workers.device)
            for array in (
                rollout.actions,
                rollout.log_probs,
                advantages.combined,
                advantages.ext_returns,
                advantages.int_returns,
            )
        )
    )
    is_predictor_row = np.zeros(config.rollout_transitions, np.bool_)

    def gradients(
        piece: NDArray[np.int64], batch_size: int, predictor_size: int
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Gradients of one piece's share of a minibatch's loss, and its share of each mean."""
        selected = torch.from_numpy(piece).to(workers.device)
        batch = Minibatch(*(getattr(rows, name)[selected] for name in Minibatch.__annotations__))
        with workers.autocast():
            output = agent.policy(policy_input(rollout, piece, workers))
        losses = policy_losses(output, batch, ppo.clip_coef)
        means = {name: value / batch_size for name, value in vars(losses).items()}
        total = (
            means["policy"]
            - ppo.ent_coef * means["entropy"]
            + ppo.vf_coef * (means["ext_value"] + means["int_value"])
        )

        predictor_rows = piece[is_predictor_row[piece]]
        with workers.autocast():
            frames = normalizer.next_frames(rollout, predictor_rows, workers)
            predicted = agent.rnd.predictor(frames)
        target = features[torch.from_numpy(predictor_rows).to(workers.device)]
        means["predictor"] = feature_errors(predicted, target).sum() / predictor_size
        total = total + means["predictor"]
        return torch.autograd.grad(total, agent.parameters), {
            name: value.detach() for name, value in means.items()
        }

    totals: dict[str, float] = {}
    indices = rollout.indices()
    num_updates = ppo.update_epochs * ppo.num_minibatches
    for _ in range(ppo.update_epochs):
        for env_slice in np.split(indices, ppo.num_minibatches, axis=1):
            minibatch = env_slice.ravel()
            mask = draw_predictor_mask(
                len(minibatch), config.rnd.predictor_proportion, agent.generator
            )
            is_predictor_row[minibatch] = mask
            predictor_size = max(int(mask.sum()), 1)

            agent.optimizer.zero_grad(set_to_none=True)
            piece_function = functools.partial(
                gradients, batch_size=len(minibatch), predictor_size=predictor_size
            )
            for piece_gradients, means in workers.map(piece_function, minibatch):
                add_gradients(agent.parameters, piece_gradients)
                for name, mean in means.items():
                    totals[name] = totals.get(name, 0.0) + float(mean) / num_updates
            agent.optimizer.step()

    for name, total in totals.items():
        require_finite(f"{name} loss", total)
    for parameter in agent.parameters:
        require_finite("weights", parameter)
    return totals


def add_gradients(parameters: list[torch.nn.Parameter], gradients: tuple[Tensor, ...]) -> None:
    """Add a piece's gradients to those of the minibatch."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            parameter.grad += gradient
