"""How actions are drawn, against the probabilities that were asked for."""

from __future__ import annotations

import numpy as np
import torch

from rndfast.distributions import Categorical


def test_actions_are_drawn_with_the_probabilities_of_the_logits() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.04, 0.01])
    draws = 20_000
    distribution = Categorical(5)
    logits = torch.from_numpy(np.log(probabilities) + 3).float().expand(draws, 5)
    noise = distribution.draw_noise(draws, torch.Generator().manual_seed(0))
    actions = distribution.sample(logits, noise)
    counts = np.bincount(actions.numpy(), minlength=5)
    chi_square = ((counts - draws * probabilities) ** 2 / (draws * probabilities)).sum()
    assert chi_square < 23.5  # exceeded once in 10,000, at 4 degrees of freedom
    log_probs = distribution.log_probs(logits, actions)
    np.testing.assert_allclose(log_probs, np.log(probabilities)[actions.numpy()], rtol=1e-5)


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
