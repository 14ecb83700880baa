"""Oracles of the reinforcement learning arithmetic: definitions, no recursion of the core's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float64Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Samples seen, their mean and the sum of squared deviations from it."""

    num_samples: float
    mean: Float64Array
    m2: Float64Array


def moments(samples: Array, prior_count: float = 0.0) -> Moments:
    """Compute the moments of all ``(B, ...)`` samples at once, in two passes.

    ``prior_count`` samples of mean 0 and variance 1 are counted with them. Around the common mean
    their squared deviations sum to ``prior_count * (1 + mean ** 2)``.
    """
    values = samples.astype(np.float64)
    count = prior_count + len(values)
    mean = values.sum(axis=0) / count
    m2 = prior_count * (1 + mean**2) + ((values - mean) ** 2).sum(axis=0)
    return Moments(count, np.asarray(mean), np.asarray(m2))


def discounted_sums(rewards: Array, gamma: float, carry: Array, direction: str) -> Float64Array:
    """Filter ``(T, N)`` rewards, each sum written out with its powers of ``gamma``.

    Forward: the rewards up to step t, and ``(N,)`` carry, the sum before the first step.
    Backward: the rewards from step t on.
    """
    steps, envs = rewards.shape
    sums = np.zeros((steps, envs))
    for n in range(envs):
        for t in range(steps):
            if direction == "forward":
                sums[t, n] = gamma ** (t + 1) * carry[n]
                sums[t, n] += sum(gamma ** (t - k) * float(rewards[k, n]) for k in range(t + 1))
            else:
                sums[t, n] = sum(gamma ** (k - t) * float(rewards[k, n]) for k in range(t, steps))
    return sums


def gae(
    rewards: Array,
    values: Array,
    next_value: Array,
    terminated: Array | None,
    *,
    gamma: float,
    gae_lambda: float,
    truncated: Array | None = None,
    final_values: Array | None = None,
) -> Float64Array:
    """Sum ``(gamma * gae_lambda) ** k * delta[t + k]`` over the rest of the episode.

    Schulman et al. 2016, equation 16. ``terminated`` None: no episode ends. The value that follows
    a termination is 0; the one that follows a truncation is ``final_values``.
    """
    steps, envs = rewards.shape
    advantages = np.zeros((steps, envs))
    for n in range(envs):
        is_terminated = [terminated is not None and bool(terminated[t, n]) for t in range(steps)]
        is_truncated = [truncated is not None and bool(truncated[t, n]) for t in range(steps)]

        deltas = []
        for t in range(steps):
            if is_terminated[t]:
                following = 0.0
            elif is_truncated[t]:
                assert final_values is not None
                following = float(final_values[t, n])
            else:
                following = float(values[t + 1, n] if t + 1 < steps else next_value[n])
            deltas.append(float(rewards[t, n]) + gamma * following - float(values[t, n]))

        for t in range(steps):
            ends = [e for e in range(t, steps) if is_terminated[e] or is_truncated[e]]
            last = ends[0] if ends else steps - 1
            weights = [(gamma * gae_lambda) ** k for k in range(last - t + 1)]
            pairs = zip(weights, deltas[t : last + 1], strict=True)
            advantages[t, n] = sum(weight * delta for weight, delta in pairs)
    return advantages
