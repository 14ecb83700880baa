"""The figures of one rollout, as rows of metrics: episodes, rewards, values and times."""

from __future__ import annotations

import itertools
import math
import resource
import statistics
import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rndfast.config import Config
from rndfast.envs.rooms import NEVER, earliest_visits
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages
from rndfast.learner.ppo import explained_variance
from rndfast.learner.rollout import Rollout
from rndfast.runs.metrics import Metrics
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import PHASES

# A GPU is held back if a run waits for the consoles for a larger share of its time than this. It is
# looked at once, after some iterations in which graphs are captured.
WAITING_SHARE = 0.6
WARM_UP_ITERATIONS = 3
WATCHED_ITERATIONS = 5


def time_metrics(phase_seconds: dict[str, float], config: Config) -> Metrics:
    """Wall seconds of each phase of an iteration, and its speed.

    An iteration lasts from the making of one row of metrics to that of the next, so that the
    writing of a row counts as the next iteration's logging.
    """
    total_s = sum(phase_seconds.values())
    transitions_per_s = config.rollout_transitions / total_s
    return {
        "charts/SPS": transitions_per_s,
        "perf/emulated_frames_per_s": (
            transitions_per_s * config.atari.frameskip if config.env.is_atari else None
        ),
        **{f"perf/{phase}_s": seconds for phase, seconds in phase_seconds.items()},
        "perf/iteration_s": total_s,
        "perf/peak_memory_mib": peak_memory_mib(),
    }


class ConsoleWatch:
    """Says once if consoles hold back a GPU, and how many cores would not.

    They do if a run waits for them for more than `WAITING_SHARE` of its time. By then a GPU is idle
    most of the time, and more cores are worth more than a faster one.

    Args:
        num_threads: That emulate the consoles.
    """

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._num_iterations = 0
        self._seconds = dict.fromkeys(PHASES, 0.0)

    def note(self, metrics: Metrics) -> str | None:
        """Take an iteration's row of metrics; returns a line, once, where it is so."""
        self._num_iterations += 1
        if not WARM_UP_ITERATIONS < self._num_iterations <= WARM_UP_ITERATIONS + WATCHED_ITERATIONS:
            return None
        for phase in PHASES:
            self._seconds[phase] += metrics[f"perf/{phase}_s"] or 0.0
        if self._num_iterations < WARM_UP_ITERATIONS + WATCHED_ITERATIONS:
            return None
        waiting_s, total_s = self._seconds["env"], sum(self._seconds.values())
        if waiting_s <= WAITING_SHARE * total_s:
            return None
        # Consoles are at work while actions are chosen too. With so many times the cores they take
        # that much less time, and all else takes what it does now.
        acting_s, else_s = self._seconds["inference"], total_s - waiting_s
        bearable_s = acting_s + else_s * WAITING_SHARE / (1 - WAITING_SHARE)
        cores = math.ceil(self._num_threads * (waiting_s + acting_s) / bearable_s)
        return (
            f"the GPU waits for the consoles {waiting_s / total_s:.0%} of the time: with {cores} "
            f"cores instead of {self._num_threads} it would be {WAITING_SHARE:.0%}, if all of them "
            "are as fast"
        )


def peak_memory_mib() -> float:
    """The most memory that this process has had in use at once, as the system counts it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def episode_metrics(rollout: Rollout, ranks: Ranks) -> Metrics:
    """Returns, lengths and rooms of the episodes that ended in a rollout; empty but on rank 0.

    Returns are unclipped; the clipped ones add up rewards as they are trained on. A figure is None
    if no episode ended, or the game has no rooms.
    """
    parts = ranks.gather((rollout.episodes, rollout.rooms.first_visits))
    if parts is None:
        return {}
    returns = [value for episodes, _ in parts for value in episodes.returns]
    clipped = [value for episodes, _ in parts for value in episodes.clipped_returns]
    lengths = [value for episodes, _ in parts for value in episodes.lengths_steps]
    truncated = [value for episodes, _ in parts for value in episodes.truncated]
    rooms = [value for episodes, _ in parts for value in episodes.rooms]
    found = earliest_visits([first_visits for _, first_visits in parts]) != NEVER
    return {
        "charts/episodes": len(returns),
        "charts/episodic_return": statistics.fmean(returns) if returns else None,
        "charts/episodic_return_max": max(returns, default=None),
        "charts/episodic_clipped_return": statistics.fmean(clipped) if clipped else None,
        "charts/episodic_length": statistics.fmean(lengths) if lengths else None,
        "charts/truncated_episodes": statistics.fmean(truncated) if truncated else None,
        "charts/episodic_rooms": statistics.fmean(rooms) if rooms else None,
        "charts/episodic_rooms_max": max(rooms, default=None),
        "rnd/rooms": int(found.sum()) or None,
    }


def room_metrics(rollout: Rollout, transitions: int, ranks: Ranks) -> Metrics:
    """Steps that ended in each room, and first visits in this rollout; empty but on rank 0.

    Args:
        rollout: The rollout.
        transitions: Before it.
        ranks: The processes of the run.
    """
    parts = ranks.gather((rollout.rooms.steps, rollout.rooms.first_visits))
    if parts is None:
        return {}
    steps = np.sum([steps for steps, _ in parts], axis=0)
    first_visits = earliest_visits([first_visits for _, first_visits in parts])
    found = np.flatnonzero(first_visits > transitions)
    return {
        **{f"rooms/{room}/steps": int(steps[room]) for room in np.flatnonzero(steps)},
        **{f"rooms/{room}/first_visit": int(first_visits[room]) for room in found},
    }


def reward_metrics(
    agent: Agent,
    ext_rewards: NDArray[np.float32],
    raw_int_rewards: NDArray[np.float32] | None,
    int_rewards: NDArray[np.float32] | None,
    ranks: Ranks,
) -> Metrics:
    """Rewards as they are trained on, and the prediction errors behind the intrinsic ones.

    Those of the bonus are None if there is none, the errors also where its rewards are none.
    Empty but on rank 0.
    """
    rewards = {"ext": ext_rewards}
    if raw_int_rewards is not None and int_rewards is not None:
        rewards |= {"raw": raw_int_rewards, "int": int_rewards}
    rewards = ranks.gather_envs(rewards, axes=dict.fromkeys(rewards, 1))
    if not rewards:
        return {}
    has_bonus = "int" in rewards
    has_errors = agent.bonus is not None and agent.bonus.rewards_are_errors
    return {
        "rollout/extrinsic_reward": float(rewards["ext"].mean()),
        "rnd/intrinsic_reward": float(rewards["int"].mean()) if has_bonus else None,
        "rnd/intrinsic_reward_std": float(rewards["int"].std()) if has_bonus else None,
        "rnd/intrinsic_reward_max": float(rewards["int"].max()) if has_bonus else None,
        "rnd/prediction_error": float(rewards["raw"].mean()) if has_errors else None,
        "rnd/intrinsic_return_std": (
            math.sqrt(float(agent.bonus.return_moments.var)) if agent.bonus is not None else None
        ),
    }


def unit_metrics(agent: Agent) -> Metrics:
    """Share of the units with ReLUs that nothing in the last minibatch has made active.

    None where a network has none. The same on all ranks, as the gradients are.
    """
    return {
        "health/dead_policy_units": dead_share(agent.policy.trunk),
        "health/dead_predictor_units": (
            dead_share(agent.bonus.networks.predictor.layers) if agent.bonus is not None else None
        ),
    }


def dead_share(layers: nn.Sequential) -> float | None:
    """Share of the units before a ReLU whose bias has a gradient of exactly 0.

    A gradient reaches a unit's bias only by observations that make the unit active, so that the
    biases alone, a few hundred numbers, say which units are dead. Units of convolutions are
    channels.
    """
    gradients = [
        layer.bias.grad
        for layer, activation in itertools.pairwise(layers)
        if isinstance(activation, nn.ReLU)
        and isinstance(layer, nn.Linear | nn.Conv2d)
        and layer.bias is not None
        and layer.bias.grad is not None
    ]
    if not gradients:
        return None
    return float((torch.cat(gradients) == 0).float().mean())


def value_metrics(
    rollout: Rollout, advantages: Advantages, streams: tuple[str, ...], ranks: Ranks
) -> Metrics:
    """How well each value head predicted its returns; empty but on rank 0."""
    own = {"values": rollout.values, "returns": advantages.returns}
    whole = ranks.gather_envs(own, axes=dict.fromkeys(own, 1))
    return {
        f"rollout/{stream}_explained_variance": explained_variance(
            whole["values"][..., head], whole["returns"][..., head]
        )
        for head, stream in enumerate(streams)
        if whole
    }
