"""Playing episodes with a trained agent: statistics, and a video of the intrinsic reward."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from pathlib import Path

import numpy as np

from rndfast.config import Config, require_import_allowed
from rndfast.envs.make import make_env
from rndfast.envs.rooms import NEVER
from rndfast.learner.make import make_learner
from rndfast.learner.rnd import scaled_rewards
from rndfast.learner.rollout import play_steps, start_episodes
from rndfast.runs.agent_file import load_trained
from rndfast.runs.checkpoint import Checkpoint
from rndfast.runs.curves import bootstrap_interval
from rndfast.runs.description import playable_state, settings_of
from rndfast.runs.directory import require_no_link
from rndfast.runs.recording import Recording
from rndfast.runs.video import Episode, VideoFormat, require_video, write_video
from rndfast.runtime.compute import CpuCompute
from rndfast.runtime.durable_files import require_writable
from rndfast.runtime.interruption import Interruption
from rndfast.runtime.seeds import reduced_seed
from rndfast.runtime.terminal import WholeTable, open_console


def evaluate(
    source: Path,
    *,
    checkpoint_name: str | None = None,
    episodes: int = 8,
    seed: int = 0,
    num_threads: int = 0,
    video: Path | None = None,
    video_format: VideoFormat | None = None,
    speed: float = 1.0,
    record: bool = True,
    allow_import: str | None = None,
) -> list[Episode]:
    """Play ``episodes`` episodes, print their statistics and record the first.

    The agent samples its actions, as in training, by the protocol that it was trained on. Nothing
    is learnt.

    Args:
        source: Directory of a run, or a file of ``rndfast export``.
        checkpoint_name: ``step-<transitions>`` of the run; None: the newest that verifies.
        episodes: Episodes, played in parallel.
        seed: Seed of consoles and actions: the same seed plays the same episodes.
        num_threads: Threads; 0: one per core.
        video: The file; None: one in ``eval/`` in the run directory, or beside the agent's file.
        video_format: Of the video; None: what ``video`` ends in, or mp4.
        speed: How many seconds of the game a second of the video shows.
        record: Record a video; needs the ``video`` extra.
        allow_import: Module that may be imported where the run's ``env_id`` is ``module:Name``.

    Raises:
        CheckpointError: No checkpoint verifies, the one named does not, or the file.
        ImportError: ``record`` without the libraries of the ``video`` extra.
        OSError: The video cannot be written; before anything is played.
        ValueError: ``episodes`` is below 1, ``seed`` below 0, ``speed`` not above 0, ``video`` of
            another format, or the environment of a module that is not allowed.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if not 0 < speed < math.inf:
        raise ValueError(f"speed must be finite and above 0, got {speed}")
    if record:
        require_video(video, video_format)
        if video is None:
            require_no_link(source / "eval")
    console = open_console()
    is_file = source.is_file()

    def video_of(checkpoint: Checkpoint) -> Path:
        directory = source.parent if is_file else source / "eval"
        return video or directory / f"{checkpoint.path.stem}-seed{seed}.{video_format or 'mp4'}"

    def play_checkpoint(checkpoint: Checkpoint) -> tuple[Checkpoint, list[Episode]]:
        trained = settings_of(checkpoint)
        require_import_allowed(trained, allow_import, checkpoint.path)
        config = dataclasses.replace(
            trained,
            # the format that it was trained in may be a GPU's alone, or emulated here
            run=dataclasses.replace(
                trained.run, device="cpu", precision="float32", num_threads=num_threads
            ),
        )
        if record:
            path = video_of(checkpoint)
            if video is None:
                require_no_link(path)
            require_writable(path)
        return checkpoint, play(config, checkpoint, episodes, seed, record)

    checkpoint, played = load_trained(source, play_checkpoint, checkpoint_name, console.print)
    name = source.name if is_file else f"{checkpoint.path.name} of {source}"
    console.print(statistics_table(played, f"{name}, seed {seed}"))
    if record:
        path = video_of(checkpoint)
        write_video(path, played[0], speed)
        console.print(f"video of the first episode: {path}", soft_wrap=True)
    return played


def play(
    config: Config, checkpoint: Checkpoint, num_episodes: int, seed: int, record: bool
) -> list[Episode]:
    """Play one episode in each of ``num_episodes`` environments.

    Raises:
        CheckpointError: The checkpoint's state is not one of these settings.
    """
    one_step = dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, num_envs=num_episodes),
        ppo=dataclasses.replace(config.ppo, rollout_steps=1, num_minibatches=1),
        run=dataclasses.replace(config.run, overlap=False),  # of one step nothing can overlap
    )
    episodes = [Episode() for _ in range(num_episodes)]
    if record:
        episodes[0].pictures = recording = Recording()
    is_playing = np.ones(num_episodes, np.bool_)
    with (
        Interruption(),
        CpuCompute(config.run) as compute,
        contextlib.closing(
            make_env(one_step, compute.num_threads, render_mode="rgb_array" if record else None)
        ) as env,
    ):
        state = playable_state(checkpoint, one_step, env)
        agent, rollout, backend = make_learner(one_step, env, compute)
        agent.load_state(state, only_to_play=True)
        agent.generator.manual_seed(reduced_seed(seed, bits=64))
        start_episodes(env, rollout, backend, seed, compute.ranks)

        while is_playing.any():
            play_steps(env, rollout, backend)
            int_rewards = None
            if agent.bonus is not None:
                int_rewards = scaled_rewards(
                    backend.intrinsic_rewards()[0],
                    agent.bonus.return_moments,
                    config.rnd.int_reward_clip,
                )
            rollout.carry_over()
            backend.carry_over()

            if is_playing[0] and record:
                recording.append(env.render()[0])
                episodes[0].pictures_per_s = env.render_fps
                episodes[0].pixel_aspect = env.pixel_aspect
            for n in np.flatnonzero(is_playing):
                episodes[n].ext_rewards.append(float(rollout.rewards_raw[0, n]))
                if int_rewards is not None:
                    episodes[n].int_rewards.append(float(int_rewards[n]))
                if rollout.rooms.last[n] != NEVER:
                    episodes[n].rooms.append(int(rollout.rooms.last[n]))
            is_playing &= ~rollout.game_over[0]
    for episode in episodes:
        episode.ext_return = float(np.sum(episode.ext_rewards))
        episode.length_steps = len(episode.ext_rewards)
    return episodes


def statistics_table(episodes: list[Episode], title: str) -> WholeTable:
    """What the episodes came to: means with their bootstrap intervals, and ranges."""
    table = WholeTable(
        *("", "mean", "95 % interval", "min", "max"),
        title=f"{len(episodes)} episodes of {title}",
    )
    rows = {
        "return (unclipped)": [episode.ext_return for episode in episodes],
        "length (steps)": [float(episode.length_steps) for episode in episodes],
    }
    if episodes[0].rooms:
        rows["rooms"] = [float(len(set(episode.rooms))) for episode in episodes]
    if episodes[0].int_rewards:
        rows["intrinsic per step"] = [float(np.mean(e.int_rewards)) for e in episodes]
    for name, values in rows.items():
        low, high = bootstrap_interval(np.array(values), lambda drawn: drawn.mean(axis=0))
        mean, *ends = (
            f"{figure:.4g}" for figure in (np.mean(values), np.min(values), np.max(values))
        )
        table.add_row(name, mean, f"{low:.4g} to {high:.4g}", *ends)
    return table
