"""Training: collect, intrinsic rewards, advantages, update, log."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import resource
import statistics
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast.config import Config, to_toml
from rndfast.envs.atari import AtariVectorEnv
from rndfast.envs.games import parse_game
from rndfast.envs.gymnasium_envs import GymVectorEnv
from rndfast.envs.rooms import NEVER, earliest_visits
from rndfast.learner.agent import EXPERIENCE, Agent
from rndfast.learner.ppo import Advantages, compute_advantages, explained_variance, update
from rndfast.learner.rnd import initialize_obs_moments, intrinsic_rewards, scale_intrinsic_rewards
from rndfast.learner.rollout import Rollout, SameStepEnv, collect, reset_envs
from rndfast.runs.checkpoint import Checkpoint, load_newest_checkpoint, save_checkpoint
from rndfast.runs.metrics import Metrics, MetricsWriter, require_tracker
from rndfast.runtime.compute import Workers, resolve_precision
from rndfast.runtime.durable_files import replace_durably
from rndfast.runtime.interruption import Interruption
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import Timeline

# Called once per rollout with its metrics, and with a line of text where there is something to say.
View = Callable[[Metrics | str], None]


def make_env(
    config: Config, num_threads: int, render_mode: Literal["rgb_array"] | None = None
) -> AtariVectorEnv | GymVectorEnv:
    """The training environment: same-step autoreset, unclipped rewards.

    Atari's returns single frames; the rollout stacks them.
    """
    env_id, num_envs = config.env.env_id, config.env.num_envs
    if not config.env.is_atari:
        return GymVectorEnv(env_id, num_envs, render_mode=render_mode)
    settings = dataclasses.asdict(config.atari) | {
        "num_envs": num_envs,
        "stack_num": 1,
        "reward_clipping": False,
        "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP,
        "num_threads": num_threads,
        "render_mode": render_mode,
    }
    return AtariVectorEnv(parse_game(env_id), **settings)


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
        FloatingPointError: A loss, reward, statistic or weight became NaN or infinite. The state
            before that rollout is saved.
        CheckpointError: With ``resume``, no checkpoint verifies.
        Interrupted: Ctrl-C or SIGTERM. The state after the last whole rollout is saved.
        RankLost: Another process of the run ended or does not answer. The same.
    """
    run = config.run
    timeline = timeline or Timeline()
    precision = resolve_precision(run)
    config = dataclasses.replace(config, run=dataclasses.replace(run, precision=precision))
    with (
        Interruption() as interruption,
        Ranks(run.device, num_minibatches=config.ppo.num_minibatches) as ranks,
        Workers(config.run, timeline, ranks) as workers,
        contextlib.closing(make_env(local_config(config, ranks), workers.num_threads)) as env,
    ):
        is_writer = ranks.rank == 0
        say = view if is_writer else silent
        checkpoint = start_run_dir(config, resume, say) if is_writer else None
        checkpoint = ranks.broadcast(checkpoint)
        say(
            f"networks: {precision} on {run.device}; {ranks.world_size} processes of "
            f"{workers.num_threads} threads"
        )
        if isinstance(env, AtariVectorEnv):
            timeline.watch("env", env)
        agent = Agent(local_config(config, ranks), env, workers)
        rollout = Rollout(local_config(config, ranks), agent)
        if checkpoint is not None:
            load_run_state(
                checkpoint.state, agent, env, rollout, seed=run.seed, ranks=ranks, view=say
            )
        else:
            with new_run_dir(run.run_dir) if is_writer else contextlib.nullcontext():
                if agent.uses_obs_moments and config.rnd.obs_norm_steps > 0:
                    say(
                        f"a random agent plays {config.rnd.obs_norm_steps} steps per environment "
                        "to start the statistics of the observations"
                    )
                    initialize_obs_moments(agent, env, config, workers)
            rollout.start(reset_envs(env, episode_seed(run.seed, 0), ranks))

        state = run_state(agent, env, rollout, ranks)
        recorder = RunRecorder(config, state, interruption) if is_writer else None
        with recorder or contextlib.nullcontext():
            timeline.take_seconds()
            while agent.transitions < run.total_transitions:
                # collect; these are two phases in turn: env and inference
                collect(agent, env, rollout, workers)

                # intrinsic rewards, with the statistics as they were; then these move on
                timeline.enter("bonus")
                raw_int_rewards = int_rewards = None
                if agent.has_bonus:
                    raw_int_rewards = intrinsic_rewards(agent, rollout, config.rnd, workers)
                    int_rewards = scale_intrinsic_rewards(
                        agent, raw_int_rewards, config.rnd, workers
                    )
                if agent.uses_obs_moments:
                    ranks.update_moments(agent.obs_moments, rollout.observations.acted_on())

                timeline.enter("advantages")
                ext_rewards = rollout.clipped(rollout.rewards_raw)
                advantages = compute_advantages(rollout, ext_rewards, int_rewards, config.ppo)

                timeline.enter("learn")
                learning_rate = set_learning_rate(agent, config)
                update_metrics = update(agent, rollout, advantages, config, workers)
                agent.transitions += config.rollout_transitions

                timeline.enter("log")
                metrics = {
                    "transitions": agent.transitions,
                    "charts/learning_rate": learning_rate,
                    **episode_metrics(rollout, ranks),
                    **reward_metrics(agent, ext_rewards, raw_int_rewards, int_rewards, ranks),
                    **value_metrics(rollout, advantages, config.ppo.streams, ranks),
                    **update_metrics,
                    **time_metrics(timeline.take_seconds(), config),
                }
                rollout.carry_over()
                state = run_state(agent, env, rollout, ranks)
                if recorder is not None:
                    recorder.record(metrics, state)
                    view(metrics)
    return run.run_dir


def silent(update: Metrics | str) -> None:
    """The view of a process whose figures are part of another's."""


def local_config(config: Config, ranks: Ranks) -> Config:
    """The settings of this rank's environments.

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


def start_run_dir(config: Config, resume: bool, view: View) -> Checkpoint | None:
    """The checkpoint to go on from; None for a new run, whose directory must not exist yet.

    Raises:
        FileExistsError: It does.
        CheckpointError: No checkpoint verifies.
        ImportError: The tracker is not installed.
    """
    require_tracker(config.run.tracker)
    if resume:
        return resume_run_dir(config, view)
    require_new(config.run.run_dir)
    return None


def set_learning_rate(agent: Agent, config: Config) -> float:
    """Adam's step size for the rollout just made: constant, or falling to 0 at the run's end."""
    left = 1.0
    if config.ppo.anneal_lr:
        left = max(0.0, 1 - agent.transitions / config.run.total_transitions)
    learning_rate = left * config.ppo.learning_rate
    for group in agent.optimizer.param_groups:
        group["lr"] = learning_rate
    return learning_rate


class RunRecorder:
    """Writes metrics and checkpoints, and on any failure saves the state after the last rollout.

    Use as a context manager around training.
    """

    def __init__(
        self, config: Config, state: dict[str, Tensor], interruption: Interruption
    ) -> None:
        replace_durably(config.run.run_dir / "config.toml", to_toml(config))
        self._config = config
        self._interruption = interruption
        self._state = state  # after the last whole rollout
        self._metrics = MetricsWriter(config.run, dataclasses.asdict(config), self._transitions)
        self._save()

    @property
    def _transitions(self) -> int:
        return int(self._state["transitions"])

    def record(self, metrics: Metrics, state: dict[str, Tensor]) -> None:
        """End a rollout: write its metrics, and a checkpoint of the state if one is due."""
        run = self._config.run
        with self._interruption.shielded():
            self._state = state
            self._metrics.write(metrics)
            num_rollouts = self._transitions // self._config.rollout_transitions
            is_last = self._transitions >= run.total_transitions
            if is_last or num_rollouts % run.checkpoint_interval_rollouts == 0:
                self._save()
                mean = state["obs_moments.mean"]
                if mean.ndim == 3 and float(state["obs_moments.count"]) >= 1:  # of images
                    self._metrics.write_image("rnd/observation_mean", mean, self._transitions)

    def _save(self) -> None:
        save_checkpoint(
            self._config.run.run_dir / "checkpoints",
            self._transitions,
            self._state,
            to_toml(self._config),
            self._config.run.keep_checkpoints,
        )

    def __enter__(self) -> RunRecorder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._metrics.close()
        # where the system refused to write (full disk), another write would only hide the reason
        if error is not None and not isinstance(error, OSError):
            with self._interruption.shielded():  # torchrun stops a run's ranks when one is lost
                self._save()


def require_new(run_dir: Path) -> None:
    """Check that a run would not touch another one's directory, before anything is started.

    Raises:
        FileExistsError: It exists already.
    """
    if run_dir.exists():
        raise FileExistsError(
            f"run directory {run_dir} exists already: choose another --run-dir, "
            f"or go on with --resume {run_dir}"
        )


@contextlib.contextmanager
def new_run_dir(run_dir: Path) -> Iterator[None]:
    """Create the run directory; where the block fails, the run has not begun and it goes again."""
    run_dir.mkdir(parents=True)
    try:
        yield
    except BaseException:
        run_dir.rmdir()
        raise


def resume_run_dir(config: Config, view: View) -> Checkpoint:
    """The newest checkpoint of a run that verifies."""
    checkpoint, problems = load_newest_checkpoint(config.run.run_dir / "checkpoints")
    for problem in problems:
        view(f"skipped a checkpoint: {problem}")
    view(f"resuming from {checkpoint.path}")
    return checkpoint


# Axis of the environments in the arrays of a state; 0 in the others that have one.
ENV_AXES = {"frames": 1}


def run_state(agent: Agent, env: SameStepEnv, rollout: Rollout, ranks: Ranks) -> dict[str, Tensor]:
    """On rank 0, what training goes on with, of all environments in the run's order.

    But for the consoles, of which each rank has a block, it does not tell how many ranks there are.
    """
    own = rollout.state() | {"int_return_filter.carry": agent.int_return_filter.carry}
    first_visits = own.pop("rooms.first_visits")
    whole = ranks.gather_envs(own, axes=ENV_AXES)
    consoles = ranks.gather(np.frombuffer(zlib.compress(env.snapshot(), level=1), np.uint8))
    all_first_visits = ranks.gather(first_visits)
    if consoles is None or all_first_visits is None:
        return {}
    state = agent.state()
    state["int_return_filter.carry"] = torch.from_numpy(whole.pop("int_return_filter.carry"))
    whole["rooms.first_visits"] = earliest_visits(all_first_visits)
    whole |= {f"consoles.{rank}": block for rank, block in enumerate(consoles)}
    return state | {f"{EXPERIENCE}{name}": torch.from_numpy(a.copy()) for name, a in whole.items()}


def load_run_state(
    state: dict[str, Tensor],
    agent: Agent,
    env: SameStepEnv,
    rollout: Rollout,
    *,
    seed: int,
    ranks: Ranks,
    view: View,
) -> None:
    """Go on from a state of `run_state`, with this rank's environments of it.

    Episodes begin anew if the consoles were another build's or another number of ranks', or cannot
    be restored at all.
    """
    carry = ranks.own(state["int_return_filter.carry"])
    agent.load_state(state | {"int_return_filter.carry": carry})
    own = {
        name.removeprefix(EXPERIENCE): tensor.numpy()
        for name, tensor in state.items()
        if name.startswith(EXPERIENCE)
    }
    for name in rollout.state().keys() - {"rooms.first_visits"}:
        if name in own:
            own[name] = ranks.own(own[name], axis=ENV_AXES.get(name, 0))
    rollout.load_state(own)
    blocks = [name for name in own if name.startswith("consoles.")]
    try:
        if len(blocks) != ranks.world_size:
            raise ValueError(
                f"they are of {len(blocks)} processes, and there are {ranks.world_size} now"
            )
        env.restore(zlib.decompress(own[f"consoles.{ranks.rank}"].tobytes()))
    except ValueError as error:
        view(f"the environments begin new episodes: {error}")
        rollout.start(reset_envs(env, episode_seed(seed, int(state["transitions"])), ranks))


def episode_seed(seed: int, transitions: int) -> int:
    """Seed of the consoles where episodes begin; the random agent's is ``seed``."""
    return (seed * 1_000_003 + transitions + 1) % 2**31


def time_metrics(phase_seconds: dict[str, float], config: Config) -> Metrics:
    """Wall seconds of each phase of an iteration, and its speed.

    The iteration begins where the row of the one before was made: its logging is that row's.
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


def peak_memory_mib() -> float:
    """Most memory that this process has had resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def episode_metrics(rollout: Rollout, ranks: Ranks) -> Metrics:
    """Returns, lengths and rooms of the episodes that ended in a rollout, on rank 0.

    Episodes are whole games, also where lost lives end what is trained on. Returns are unclipped,
    and of the rewards as they are trained on. None if no episode ended, or the game has no rooms.
    """
    parts = ranks.gather((rollout.episodes, rollout.rooms.first_visits))
    if parts is None:
        return {}
    returns = [value for episodes, _ in parts for value in episodes.returns]
    clipped = [value for episodes, _ in parts for value in episodes.clipped_returns]
    lengths = [value for episodes, _ in parts for value in episodes.lengths_steps]
    rooms = [value for episodes, _ in parts for value in episodes.rooms]
    found = earliest_visits([first_visits for _, first_visits in parts]) != NEVER
    return {
        "charts/episodes": len(returns),
        "charts/episodic_return": statistics.fmean(returns) if returns else None,
        "charts/episodic_return_max": max(returns, default=None),
        "charts/episodic_clipped_return": statistics.fmean(clipped) if clipped else None,
        "charts/episodic_length": statistics.fmean(lengths) if lengths else None,
        "charts/episodic_rooms": statistics.fmean(rooms) if rooms else None,
        "charts/episodic_rooms_max": max(rooms, default=None),
        "rnd/rooms": int(found.sum()) or None,
    }


def reward_metrics(
    agent: Agent,
    ext_rewards: NDArray[np.float32],
    raw_int_rewards: NDArray[np.float32] | None,
    int_rewards: NDArray[np.float32] | None,
    ranks: Ranks,
) -> Metrics:
    """Rewards as they are trained on, and the errors behind them, on rank 0; None without bonus."""
    rewards = {"ext": ext_rewards}
    if raw_int_rewards is not None and int_rewards is not None:
        rewards |= {"raw": raw_int_rewards, "int": int_rewards}
    rewards = ranks.gather_envs(rewards, axes=dict.fromkeys(rewards, 1))
    if not rewards:
        return {}
    has_bonus = "int" in rewards
    return {
        "rollout/extrinsic_reward": float(rewards["ext"].mean()),
        "rnd/intrinsic_reward": float(rewards["int"].mean()) if has_bonus else None,
        "rnd/intrinsic_reward_std": float(rewards["int"].std()) if has_bonus else None,
        "rnd/intrinsic_reward_max": float(rewards["int"].max()) if has_bonus else None,
        "rnd/prediction_error": float(rewards["raw"].mean()) if has_bonus else None,
        "rnd/intrinsic_return_std": (
            math.sqrt(float(agent.int_return_moments.var)) if has_bonus else None
        ),
    }


def value_metrics(
    rollout: Rollout, advantages: Advantages, streams: tuple[str, ...], ranks: Ranks
) -> Metrics:
    """How well each head foresaw its returns, on rank 0."""
    own = {"values": rollout.values, "returns": advantages.returns}
    whole = ranks.gather_envs(own, axes=dict.fromkeys(own, 1))
    return {
        f"rollout/{stream}_explained_variance": explained_variance(
            whole["values"][..., head], whole["returns"][..., head]
        )
        for head, stream in enumerate(streams)
        if whole
    }
