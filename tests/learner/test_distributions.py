"""How actions are drawn, against torch.distributions and the moments that were asked for."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal

from rndfast.learner.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    distribution_over,
)

DRAWS = 20_000
BOTH = [Categorical(5), DiagonalGaussian(3)]


def make_params(distribution: ActionDistribution, size: int) -> Tensor:
    """``(size, P)`` float64: logits, or means and logarithms of deviations from 0.1 to 10."""
    rng = np.random.default_rng(0)
    if isinstance(distribution, Categorical):
        return torch.from_numpy(rng.normal(0, 3, (size, distribution.num_actions)))
    log_std = rng.uniform(np.log(0.1), np.log(10), (size, distribution.num_dims))
    means = rng.normal(0, 5, (size, distribution.num_dims))
    return torch.from_numpy(np.concatenate((means, log_std), axis=1))


def oracle_of(distribution: ActionDistribution, params: Tensor) -> Any:
    if isinstance(distribution, Categorical):
        return TorchCategorical(logits=params)
    mean, log_std = params.chunk(2, dim=1)
    return Independent(Normal(mean, log_std.exp()), 1)


@pytest.mark.parametrize("distribution", BOTH)
def test_log_probabilities_and_entropies_are_those_of_torch(
    distribution: ActionDistribution,
) -> None:
    params = make_params(distribution, 50)
    oracle = oracle_of(distribution, params)
    actions = oracle.sample()
    log_probs = distribution.log_probs(params, actions)
    assert log_probs.shape == (50,)
    torch.testing.assert_close(log_probs, oracle.log_prob(actions), rtol=1e-12, atol=1e-12)
    entropy = distribution.entropy(params)
    assert entropy.shape == (50,)
    torch.testing.assert_close(entropy, oracle.entropy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("distribution", BOTH)
def test_samples_are_of_the_kind_that_is_stored(distribution: ActionDistribution) -> None:
    params = make_params(distribution, 6).float()
    noise = distribution.draw_noise(6, torch.Generator().manual_seed(0))
    actions = distribution.sample(params, noise).numpy()
    stored = distribution.empty_actions(3, 6)
    assert stored.shape == (3, *actions.shape)
    assert stored.dtype == actions.dtype
    assert distribution.num_outputs == (5 if isinstance(distribution, Categorical) else 3)


@pytest.mark.parametrize("distribution", BOTH)
def test_a_sample_depends_on_its_own_parameters_and_noise_alone(
    distribution: ActionDistribution,
) -> None:
    params = make_params(distribution, 8).float()
    noise = distribution.draw_noise(8, torch.Generator().manual_seed(1))
    together = distribution.sample(params, noise)
    for row in range(8):
        alone = distribution.sample(params[row : row + 1], noise[row : row + 1])
        assert torch.equal(alone[0], together[row])
    torch.rand(3)  # the global stream plays no part
    assert torch.equal(noise, distribution.draw_noise(8, torch.Generator().manual_seed(1)))


def test_actions_are_drawn_with_the_probabilities_of_the_logits() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    distribution = Categorical(5)
    logits = torch.from_numpy(np.log(probabilities) + 3).float().expand(DRAWS, 5)
    noise = distribution.draw_noise(DRAWS, torch.Generator().manual_seed(0))
    actions = distribution.sample(logits, noise)
    counts = np.bincount(actions.numpy(), minlength=5)
    chi_square = ((counts - DRAWS * probabilities) ** 2 / (DRAWS * probabilities)).sum()
    assert chi_square < 23.5  # exceeded once in 10,000, at 4 degrees of freedom
    log_probs = distribution.log_probs(logits, actions)
    np.testing.assert_allclose(log_probs, np.log(probabilities)[actions.numpy()], rtol=1e-5)


def test_points_are_drawn_with_the_means_and_deviations_and_each_coordinate_on_its_own() -> None:
    mean, std = np.array([1.0, -20.0, 0.0]), np.array([0.1, 3.0, 10.0])
    distribution = DiagonalGaussian(3)
    params = torch.from_numpy(np.concatenate((mean, np.log(std)))).float().expand(DRAWS, 6)
    noise = distribution.draw_noise(DRAWS, torch.Generator().manual_seed(0))
    standard = (distribution.sample(params, noise).numpy() - mean) / std
    # of n standard normal variables the mean deviates by sqrt(1 / n), the mean square, 1, by
    # sqrt(2 / n), the mean fourth power, 3, by sqrt(96 / n), the mean product of two by sqrt(1 / n)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        bound = 4 * np.sqrt(variance / DRAWS)
        np.testing.assert_allclose((standard**power).mean(axis=0), moment, atol=bound)
    products: NDArray[Any] = standard.T @ standard / DRAWS
    np.testing.assert_allclose(products, np.eye(3), atol=4 * np.sqrt(2 / DRAWS))


def test_extreme_logits_leave_no_choice_and_no_nan() -> None:
    distribution = Categorical(5)
    best = np.array([3, 0, 2, 2])
    logits = torch.full((4, 5), -1e4)
    logits[torch.arange(4), torch.from_numpy(best)] = 1e4
    for seed in range(5):
        noise = distribution.draw_noise(4, torch.Generator().manual_seed(seed))
        actions = distribution.sample(logits, noise)
        np.testing.assert_array_equal(actions.numpy(), best)
        np.testing.assert_array_equal(distribution.log_probs(logits, actions).numpy(), 0)


@pytest.mark.parametrize(
    ("space", "distribution"),
    [
        (Discrete(4), Categorical(4)),
        (Box(-1, 1, (1,)), DiagonalGaussian(1)),
        (Box(-np.inf, np.inf, (6,)), DiagonalGaussian(6)),
    ],
)
def test_a_space_has_its_distribution(
    space: gymnasium.Space[Any], distribution: ActionDistribution
) -> None:
    assert distribution_over(space) == distribution


@pytest.mark.parametrize(
    "space",
    [
        Discrete(4, start=1),
        Box(-1, 1, (2, 3)),
        Box(-1, 1, ()),
        gymnasium.spaces.MultiDiscrete([2, 3]),
        gymnasium.spaces.Dict({"action": Discrete(2)}),
    ],
)
def test_other_spaces_are_refused_by_name(space: gymnasium.Space[Any]) -> None:
    expected = "^actions must be Discrete from 0 on, or a Box of one axis, got "
    with pytest.raises(ValueError, match=expected) as caught:
        distribution_over(space)
    assert str(caught.value).endswith(str(space))
