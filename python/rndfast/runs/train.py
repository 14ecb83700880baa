"""The training loop: collect, intrinsic rewards, advantages, update, log."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rndfast.config import Config
from rndfast.envs.make import make_env
from rndfast.envs.protocol import SameStepEnv
from rndfast.learner.agent import Agent
from rndfast.learner.make import make_learner
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rollout import collect, initialize_obs_moments, start_episodes
from rndfast.runs.agent_file import load_trained
from rndfast.runs.checkpoint import Checkpoint
from rndfast.runs.description import playable_state, settings_of
from rndfast.runs.directory import RunRecorder, checkpoint_to_resume, own_run_dir
from rndfast.runs.figures import (
    ConsoleWatch,
    episode_metrics,
    reward_metrics,
    room_metrics,
    time_metrics,
    unit_metrics,
    value_metrics,
)
from rndfast.runs.metrics import Metrics
from rndfast.runs.state import RunStates, episode_seed, load_run_state
from rndfast.runtime.compute import Compute, GpuCompute, open_compute, resolved
from rndfast.runtime.interruption import Interruption, shielded
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import Timeline

# Called once per rollout with its metrics, and with a line of text where there is something to say.
View = Callable[[Metrics | str], None]

NOTHING = contextlib.nullcontext()  # in place of what only rank 0 has


def train(
    config: Config,
    *,
    resume: bool = False,
    view: View = print,
    timeline: Timeline | None = None,
) -> Path:
    """Train PPO with RND; returns the run directory.

    Args:
        config: All settings. The run goes to ``config.run.run_dir``.
        resume: Go on from the newest checkpoint in the run directory that verifies: networks,
            optimiser, statistics, random streams and consoles go on as if it had never stopped,
            bit for bit.
        view: Receives each rollout's metrics, and lines of text.
        timeline: Where phases are noted; None: a new one.

    Raises:
        FileExistsError: The run directory exists already (without ``resume``).
        InUse: Another process trains in the run directory.
        FloatingPointError: A loss, reward, statistic or weight became NaN or infinite. The state
            before that rollout is saved.
        CheckpointError: With ``resume``, no checkpoint verifies.
        Interrupted: Ctrl-C or SIGTERM. The state after the last whole rollout is saved.
        RankLost: Another process of the run ended or does not answer. The same.
    """
    timeline = timeline or Timeline()
    run = resolved(config.run)
    config = dataclasses.replace(config, run=run)
    with (
        Interruption(),
        Ranks(run.device, num_minibatches=config.ppo.num_minibatches) as ranks,
        own_run_dir(run, resume=resume, say=view) if ranks.rank == 0 else NOTHING,
        open_compute(run, timeline, ranks) as compute,
        contextlib.closing(make_env(local_config(config, ranks), compute.num_threads)) as env,
    ):
        is_writer = ranks.rank == 0
        say = watching_consoles(view, config, compute) if is_writer else silent
        checkpoint = checkpoint_to_resume(config, env, say) if resume and is_writer else None
        checkpoint = ranks.broadcast(checkpoint)
        say(
            f"networks: {run.precision} on {run.device}; threads: {compute.num_threads}"
            + (f" in each of {ranks.world_size} processes" if ranks.world_size > 1 else "")
        )
        if env.traced_threads is not None:
            timeline.watch("env", env.traced_threads)
        agent, rollout, backend = make_learner(local_config(config, ranks), env, compute)
        if checkpoint is not None:
            load_run_state(checkpoint.state, env, rollout, backend, seed=run.seed, say=say)
        else:
            start_agent(agent, env, config, ranks, say)
            start_episodes(env, rollout, backend, episode_seed(run.seed, 0), ranks)

        states = RunStates(env, rollout, backend)
        state = states.take()
        with shielded():
            recorder = RunRecorder(config, states, state) if is_writer else None
        with recorder or NOTHING:
            timeline.take_seconds()
            while agent.transitions < run.total_transitions:
                # collect, which enters two phases in turn: env and inference
                collect(env, rollout, backend)

                # intrinsic rewards, with the statistics as they were; then these move on
                timeline.enter("bonus")
                raw_int_rewards = int_rewards = None
                if agent.bonus is not None:
                    raw_int_rewards = backend.intrinsic_rewards()
                    int_rewards = agent.bonus.scale(
                        raw_int_rewards, rollout.int_return_filter, ranks
                    )
                if agent.uses_obs_moments:
                    backend.update_obs_moments()

                timeline.enter("advantages")
                ext_rewards = rollout.clipped(rollout.rewards_raw)
                advantages = compute_advantages(rollout, ext_rewards, int_rewards, config.ppo)

                timeline.enter("learn")
                learning_rate = set_learning_rate(agent, config)
                update_metrics = update(rollout, backend, advantages, config)
                agent.transitions += config.rollout_transitions

                timeline.enter("log")
                metrics = {
                    "transitions": agent.transitions,
                    "charts/learning_rate": learning_rate,
                    **episode_metrics(rollout, ranks),
                    **room_metrics(rollout, agent.transitions - config.rollout_transitions, ranks),
                    **reward_metrics(agent, ext_rewards, raw_int_rewards, int_rewards, ranks),
                    **value_metrics(rollout, advantages, config.ppo.streams, ranks),
                    **update_metrics,
                    **unit_metrics(agent),
                    **time_metrics(timeline.take_seconds(), config),
                }
                rollout.carry_over()
                backend.carry_over()
                state = states.take()
                if recorder is not None:
                    for alarm in recorder.record(metrics, state):
                        say(str(alarm))
                    say(metrics)
    return run.run_dir


def start_agent(
    agent: Agent, env: SameStepEnv, config: Config, ranks: Ranks, say: Callable[[str], None]
) -> None:
    """Begin with what another agent has learnt, or with statistics of a random one's observations.

    Raises:
        CheckpointError: ``init_from`` holds no agent that verifies.
        ValueError: It is an agent of another environment, or its networks are of other sizes.
    """
    source, num_steps = config.run.init_from, config.rnd.obs_norm_steps
    if source is None:
        if agent.uses_obs_moments and num_steps > 0:
            say(
                f"a random agent plays {num_steps} steps per environment "
                "to start the statistics of the observations"
            )
            initialize_obs_moments(agent, env, config, ranks)
        return

    def state_of(trained: Checkpoint) -> tuple[int, dict[str, Tensor]]:
        env_id = settings_of(trained).env.env_id
        if env_id != config.env.env_id:
            raise ValueError(
                f"init_from must be an agent of {config.env.env_id}, got one of {env_id}: {source}"
            )
        return trained.transitions, playable_state(trained, config, env)

    transitions, state = load_trained(source, state_of, say=say)
    own = {"transitions": torch.tensor(0), "generator": agent.generator.get_state()}
    agent.load_state(state | own, only_to_play=True)
    say(f"it begins with the agent of {source}, trained on {transitions:,} transitions")


def watching_consoles(view: View, config: Config, compute: Compute) -> View:
    """A view that is also told, once, if consoles hold back a GPU."""
    if not isinstance(compute, GpuCompute) or not config.env.is_atari:
        return view
    watch = ConsoleWatch(compute.num_threads)

    def watching(update: Metrics | str) -> None:
        view(update)
        if not isinstance(update, str) and (line := watch.note(update)):
            view(line)

    return watching


def silent(update: Metrics | str) -> None:
    """Show nothing: rank 0 shows the figures of all ranks."""


def local_config(config: Config, ranks: Ranks) -> Config:
    """The run's settings, but with the number of environments that this rank steps.

    Raises:
        ValueError: The environments cannot be shared out, or minibatches are shuffled: each rank
            could shuffle its own transitions alone, another shuffle than one process draws.
    """
    if ranks.world_size > 1 and config.ppo.shuffle_minibatches:
        raise ValueError(
            "shuffle_minibatches must be False on several processes, which would draw another "
            f"shuffle than one, got True on {ranks.world_size}"
        )
    num_envs = len(ranks.env_ids(config.env.num_envs))
    env = dataclasses.replace(config.env, num_envs=num_envs)
    return dataclasses.replace(config, env=env)


def set_learning_rate(agent: Agent, config: Config) -> float:
    """Set Adam's step size for the new rollout: constant, or falling to 0 at the run's end."""
    left = 1.0
    if config.ppo.anneal_lr:
        left = max(0.0, 1 - agent.transitions / config.run.total_transitions)
    learning_rate = left * config.ppo.learning_rate
    agent.set_learning_rate(learning_rate)
    return learning_rate
