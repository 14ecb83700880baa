"""What each metric is, in a sentence or two: TensorBoard shows it beside the curve.

The texts are those of ``docs/metrics.md``, which has more to say of each; a test compares them.
"""

from __future__ import annotations

import re

PAGE = "docs/metrics.md"

MEANINGS = {
    "charts/SPS": "`T * N / perf/iteration_s`: speed of training, learning included.",
    "charts/learning_rate": "Adam's step size in this rollout.",
    "charts/episodes": (
        "Games that ended in this rollout. The means below are over these: always of whole "
        "games, also with `--episodic-life`, where the agent learns as if each life were an "
        "episode."
    ),
    "charts/episodic_return": (
        "Mean return of the games that ended, unclipped and undiscounted: the game's score."
    ),
    "charts/episodic_return_max": "The best return of a game that ended.",
    "charts/episodic_clipped_return": (
        "Mean return of the games that ended, in the rewards that are trained on: signs of "
        "the game's, unless `--no-reward-clipping`."
    ),
    "charts/episodic_length": "Mean number of steps of the games that ended.",
    "charts/truncated_episodes": (
        "Those of the games that ended because of the limit of steps, as a part of all that ended."
    ),
    "charts/episodic_rooms": (
        "Mean number of different rooms that the games that ended had visited. Games without "
        "a room number in memory: `null`."
    ),
    "charts/episodic_rooms_max": "The most different rooms of a game that ended.",
    "rnd/rooms": "Different rooms that any environment has visited since the run began.",
    "rooms/<n>/steps": (
        "Steps of this rollout that ended in room n; only of rooms in which one did. They add "
        "up to the rollout's transitions."
    ),
    "rooms/<n>/first_visit": (
        "Transitions, over all environments, up to the first step that ended in room n since "
        "the run began; only in the row of that rollout."
    ),
    "rollout/extrinsic_reward": (
        "Mean over the rollout of the extrinsic rewards that are trained on (clipped to their "
        "sign by default)."
    ),
    "rnd/prediction_error": (
        "Mean of e, the predictor's mean squared error at the next observation: the raw "
        "bonus, by the statistics and the predictor as they were while acting. Not with "
        "`--bonus drnd`, whose raw bonus is no error."
    ),
    "rnd/intrinsic_reward": (
        "Mean of the scaled bonus: e divided by `rnd/intrinsic_return_std`. The policy learns "
        "from this one."
    ),
    "rnd/intrinsic_reward_std": (
        "Standard deviation of the scaled bonus over the rollout's transitions."
    ),
    "rnd/intrinsic_reward_max": "Largest scaled bonus of the rollout.",
    "rnd/intrinsic_return_std": (
        "Running standard deviation of the discounted sums of e, `sqrt(var)`, since the run "
        "began: what the bonus is divided by."
    ),
    "rnd/feature_variance": (
        "Variance of each of the target's features over the rollout, mean over features. A "
        "predictor that always gave the mean would have this error."
    ),
    "rollout/ext_explained_variance": (
        "Explained variance of the extrinsic value head: 1 if it foresaw all returns, 0 if it "
        "knows no more than their mean."
    ),
    "rollout/int_explained_variance": (
        "Explained variance of the intrinsic value head: 1 if it foresaw all returns, 0 if it "
        "knows no more than their mean."
    ),
    "rollout/combined_explained_variance": (
        "Explained variance of the single value head of `--no-two-value-heads`, which "
        "foresees the weighted sum of both rewards."
    ),
    "losses/policy": (
        "PPO's loss: `-mean(min(r * A, clip(r) * A))`, with r the ratio of the new to the old "
        "probability of an action and A its advantage."
    ),
    "losses/ext_value": "Half the mean squared error of the extrinsic value head.",
    "losses/int_value": "Half the mean squared error of the intrinsic value head.",
    "losses/combined_value": (
        "Half the mean squared error of the single value head of `--no-two-value-heads`."
    ),
    "losses/predictor": (
        "The predictor's mean squared error over the rows that it is trained on (a quarter of "
        "each minibatch in the paper)."
    ),
    "losses/entropy": (
        "Mean entropy of the distribution of actions. Uniform over A actions: `ln(A)`, 2.890 "
        "for 18. Of Box actions it is differential and may be negative."
    ),
    "losses/approx_kl": (
        "`mean(r - 1 - ln r)`: an estimate of the divergence of the new policy from the one "
        "that acted. Never negative."
    ),
    "losses/clip_fraction": (
        "Share of the transitions whose ratio left `[1 - clip_coef, 1 + clip_coef]`."
    ),
    "losses/gradient_norm": (
        "L2 norm of the gradients of policy and predictor together, before it is clipped (the "
        "paper does not clip)."
    ),
    "health/alarms": "Alarms that the run has raised so far.",
    "health/dead_features": (
        "The target's features whose variance over the rollout is below 1e-6: they are the "
        "same for every observation."
    ),
    "health/dead_policy_units": (
        "Units of the policy's trunk (of convolutions, channels) that nothing in the "
        "rollout's last minibatch has made active, as the exact zero in their bias's gradient "
        "says."
    ),
    "health/dead_predictor_units": (
        "Units of the predictor's layers with ReLUs, which are two in the paper, that nothing "
        "in the last minibatch has made active; `null` if it has none, as in the preset "
        "`classic`."
    ),
    "perf/emulated_frames_per_s": (
        "`charts/SPS` times the frame skip. `null` for environments that are not Atari's."
    ),
    "perf/env_s": (
        "Giving actions to the environments and waiting for what they return. With `overlap`, "
        "only what could not be hidden behind the policy."
    ),
    "perf/inference_s": "The policy's passes that choose actions.",
    "perf/bonus_s": (
        "Passes of predictor and target over the rollout, the scaling of the bonus and the "
        "statistics of the observations."
    ),
    "perf/advantages_s": "Advantages and returns, by GAE.",
    "perf/learn_s": "The update: all optimiser steps.",
    "perf/log_s": (
        "Everything else: metrics, the copy of the state, checkpoints. It is of the row "
        "before, which is written when this iteration begins."
    ),
    "perf/iteration_s": (
        "Wall time from the end of one row to the end of the next: the sum of the phases."
    ),
    "perf/peak_memory_mib": (
        "Most memory that the process has had resident since it began; GPU memory is not counted."
    ),
}


def description_of(metric: str) -> str:
    """Markdown: what a metric is, and which page says more; empty if it is not known."""
    meaning = MEANINGS.get(re.sub(r"^rooms/\d+/", "rooms/<n>/", metric))
    return "" if meaning is None else f"{meaning} Healthy and odd values of it: `{PAGE}`."
