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
from typing import Literal, NamedTuple

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast.agent import EXPERIENCE, Agent
from rndfast.checkpoint import Checkpoint, load_newest_checkpoint, save_checkpoint
from rndfast.config import Config, to_toml
from rndfast.envs import AtariVectorEnv
from rndfast.files import replace_durably
from rndfast.games import parse_game
from rndfast.gym_envs import GymVectorEnv
from rndfast.interruption import Interruption
from rndfast.metrics import Metrics, MetricsWriter, require_tracker
from rndfast.ppo import compute_advantages, explained_variance, update
from rndfast.rnd import initialize_obs_moments, intrinsic_rewards, scale_intrinsic_rewards
from rndfast.rollout import Rollout, SameStepEnv, collect
from rndfast.timeline import Timeline
from rndfast.workers import Workers, resolve_precision

# Called once per rollout with its metrics, and with a line of text where there is something to say.
View = Callable[[Metrics | str], None]


def make_env(
    config: Config, num_threads: int, render_mode: Literal["rgb_array"] | None = None
) -> AtariVectorEnv | GymVectorEnv:
    """The training environment: ``config.env``, same-step autoreset, unclipped rewards.

    Atari's returns single frames; the rollout stacks them.
    """
    settings = dataclasses.asdict(config.env)
    env_id = settings.pop("env_id")
    if not config.env.is_atari:
        return GymVectorEnv(env_id, config.env.num_envs, render_mode=render_mode)
    settings |= {
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
    """
    run = config.run
    timeline = timeline or Timeline()
    require_tracker(run.tracker)
    precision = resolve_precision(run)
    config = dataclasses.replace(config, run=dataclasses.replace(run, precision=precision))
    run = config.run
    checkpoint = None
    if resume:
        checkpoint = resume_run_dir(config, view)
    else:
        require_new(run.run_dir)
    with (
        Interruption() as interruption,
        Workers(run, timeline) as workers,
        contextlib.closing(make_env(config, workers.num_threads)) as env,
    ):
        view(f"networks: {run.precision} on {run.device}; {workers.num_threads} threads")
        if isinstance(env, AtariVectorEnv):
            timeline.watch("env", env)
        agent = Agent(config, env, workers)
        rollout = Rollout(config, agent)
        if checkpoint is not None:
            agent.load_state(checkpoint.state)
            load_experience(checkpoint.state, env, rollout, run.seed, view)
        else:
            with new_run_dir(run.run_dir):
                if agent.uses_obs_moments and config.rnd.obs_norm_steps > 0:
                    view(
                        f"a random agent plays {config.rnd.obs_norm_steps} steps per environment "
                        "to start the statistics of the observations"
                    )
                    initialize_obs_moments(
                        agent, env, config.rnd.obs_norm_steps, config.ppo.rollout_steps, run.seed
                    )
            rollout.start(env.reset(seed=episode_seed(run.seed, 0))[0])

        def state() -> dict[str, Tensor]:
            return agent.state() | experience_state(env, rollout)

        with RunRecorder(config, state(), interruption) as recorder:
            timeline.take_seconds()
            while agent.transitions < run.total_transitions:
                # collect; these are two phases in turn: env and inference
                collect(agent, env, rollout, workers)

                # intrinsic rewards, with the statistics as they were; then these move on
                timeline.enter("bonus")
                bonus = compute_bonus(agent, rollout, config, workers)
                if agent.uses_obs_moments:
                    agent.obs_moments.update(rollout.observations.acted_on())

                timeline.enter("advantages")
                ext_rewards = rollout.clipped(rollout.rewards_raw)
                advantages = compute_advantages(rollout, ext_rewards, bonus.rewards, config.ppo)

                timeline.enter("learn")
                learning_rate = learning_rate_at(agent.transitions, config)
                for group in agent.optimizer.param_groups:
                    group["lr"] = learning_rate
                update_metrics = update(agent, rollout, advantages, config, workers)
                agent.transitions += config.rollout_transitions

                timeline.enter("log")
                metrics = {
                    "transitions": agent.transitions,
                    **episode_metrics(rollout),
                    "charts/learning_rate": learning_rate,
                    "rnd/rooms": rollout.rooms.num_found,
                    **bonus.metrics,
                    "rollout/extrinsic_reward": float(ext_rewards.mean()),
                    **{
                        f"rollout/{stream}_explained_variance": explained_variance(
                            rollout.values[..., head], advantages.returns[..., head]
                        )
                        for head, stream in enumerate(config.ppo.streams)
                    },
                    **update_metrics,
                    **time_metrics(timeline.take_seconds(), config),
                }
                rollout.carry_over()
                recorder.record(metrics, state())
                view(metrics)
    return run.run_dir


class Bonus(NamedTuple):
    """Intrinsic rewards ``(T, N)`` as they are trained on, and metrics of them; None and none."""

    rewards: NDArray[np.float32] | None
    metrics: Metrics


def compute_bonus(agent: Agent, rollout: Rollout, config: Config, workers: Workers) -> Bonus:
    """The rollout's intrinsic rewards, if there are any, scaled by their returns."""
    if not agent.has_bonus:
        return Bonus(None, {})
    raw = intrinsic_rewards(agent, rollout, config.rnd, workers)
    rewards = scale_intrinsic_rewards(agent, raw, config.rnd)
    return Bonus(
        rewards,
        {
            "rnd/intrinsic_reward": float(rewards.mean()),
            "rnd/intrinsic_reward_std": float(rewards.std()),
            "rnd/intrinsic_reward_max": float(rewards.max()),
            "rnd/prediction_error": float(raw.mean()),
            "rnd/intrinsic_return_std": math.sqrt(float(agent.int_return_moments.var)),
        },
    )


def learning_rate_at(transitions: int, config: Config) -> float:
    """Adam's step size in the rollout that begins there; constant, or falling to 0 at the end."""
    rate = config.ppo.learning_rate
    if not config.ppo.anneal_lr:
        return rate
    return rate * max(0.0, 1 - transitions / config.run.total_transitions)


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


def experience_state(env: SameStepEnv, rollout: Rollout) -> dict[str, Tensor]:
    """What collecting goes on with: the consoles, and the newest frames of each environment."""
    consoles = np.frombuffer(zlib.compress(env.snapshot(), level=1), np.uint8)
    state = {"consoles": consoles, **rollout.state()}
    return {f"{EXPERIENCE}{name}": torch.from_numpy(a.copy()) for name, a in state.items()}


def load_experience(
    state: dict[str, Tensor], env: SameStepEnv, rollout: Rollout, seed: int, view: View
) -> None:
    """Go on where a checkpoint's consoles stood; with new episodes if they were another build's."""
    own = {
        name.removeprefix(EXPERIENCE): tensor.numpy()
        for name, tensor in state.items()
        if name.startswith(EXPERIENCE)
    }
    rollout.load_state(own)
    try:
        env.restore(zlib.decompress(own["consoles"].tobytes()))
    except ValueError as error:
        view(f"the consoles begin new episodes: {error}")
        new_seed = episode_seed(seed, int(state["transitions"]))
        rollout.start(env.reset(seed=new_seed)[0])


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
        "perf/emulated_frames_per_s": transitions_per_s * config.env.frameskip,
        **{f"perf/{phase}_s": seconds for phase, seconds in phase_seconds.items()},
        "perf/iteration_s": total_s,
        "perf/peak_memory_mib": peak_memory_mib(),
    }


def peak_memory_mib() -> float:
    """Most memory that this process has had resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def episode_metrics(rollout: Rollout) -> Metrics:
    """Returns, lengths and numbers of rooms of the episodes that ended in a rollout.

    Returns are unclipped, and of the rewards as they are trained on.

    None if none did, or the game has no rooms.
    """
    returns, lengths = rollout.episodes.returns, rollout.episodes.lengths_steps
    clipped, rooms = rollout.episodes.clipped_returns, rollout.episodes.rooms
    return {
        "charts/episodes": len(returns),
        "charts/episodic_return": statistics.fmean(returns) if returns else None,
        "charts/episodic_return_max": max(returns, default=None),
        "charts/episodic_clipped_return": statistics.fmean(clipped) if clipped else None,
        "charts/episodic_length": statistics.fmean(lengths) if lengths else None,
        "charts/episodic_rooms": statistics.fmean(rooms) if rooms else None,
        "charts/episodic_rooms_max": max(rooms, default=None),
    }
