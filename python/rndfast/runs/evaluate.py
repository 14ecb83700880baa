"""Playing episodes with a trained agent: statistics, and a video of the intrinsic reward."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rndfast.config import Config, require_import_allowed
from rndfast.envs.make import make_env
from rndfast.learner.make import make_learner
from rndfast.learner.rnd import scaled_rewards
from rndfast.learner.rollout import play_steps, start_episodes
from rndfast.runs.agent_file import load_trained
from rndfast.runs.checkpoint import Checkpoint
from rndfast.runs.description import playable_state, settings_of
from rndfast.runs.directory import require_no_link
from rndfast.runs.recording import Recording
from rndfast.runtime.compute import CpuCompute
from rndfast.runtime.durable_files import require_writable
from rndfast.runtime.interruption import Interruption
from rndfast.runtime.seeds import reduced_seed
from rndfast.runtime.terminal import WholeTable, open_console


@dataclass
class Episode:
    """One episode, from reset to end: a whole game, also where lost lives ended it in training.

    Attributes:
        ext_return: Sum of the unclipped extrinsic rewards.
        length_steps: Number of steps.
        ext_rewards: Unclipped extrinsic reward of each step.
        int_rewards: Intrinsic reward of each step, scaled as in training; empty without a bonus.
        pictures: What there was to see after each step, as arrays ``(H, W, 3)`` or a `Recording` of
            such; empty if not recorded.
        pictures_per_s: The speed at which the pictures are meant to be seen.
        pixel_aspect: Height of a pixel, in widths of it.
    """

    ext_return: float = 0.0
    length_steps: int = 0
    ext_rewards: list[float] = field(default_factory=list)
    int_rewards: list[float] = field(default_factory=list)
    pictures: Sequence[NDArray[np.uint8]] | Recording = field(default_factory=list)
    pictures_per_s: float = 0.0
    pixel_aspect: float = 1.0


def evaluate(
    source: Path,
    *,
    checkpoint_name: str | None = None,
    episodes: int = 8,
    seed: int = 0,
    num_threads: int = 0,
    video: Path | None = None,
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
        video: Path of the mp4; None: ``eval/`` in the run directory, or beside the file.
        record: Record a video; needs the ``video`` extra.
        allow_import: Module that may be imported where the run's ``env_id`` is ``module:Name``.

    Raises:
        CheckpointError: No checkpoint verifies, the one named does not, or the file.
        ImportError: ``record`` without the libraries of the ``video`` extra.
        OSError: The video cannot be written; before anything is played.
        ValueError: ``episodes`` is below 1, ``seed`` below 0, ``video`` no .mp4, or the
            environment is of a module that is not allowed.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if record:
        require_video_libraries()
        if video is not None and video.suffix != ".mp4":
            raise ValueError(f"video must be a file that ends in .mp4, got {str(video)!r}")
        if video is None:
            require_no_link(source / "eval")
    console = open_console()
    is_file = source.is_file()

    def video_of(checkpoint: Checkpoint) -> Path:
        directory = source.parent if is_file else source / "eval"
        return video or directory / f"{checkpoint.path.stem}-seed{seed}.mp4"

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
        write_video(path, played[0])
        console.print(f"video of the first episode: {path}")
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
            is_playing &= ~rollout.game_over[0]
    for episode in episodes:
        episode.ext_return = float(np.sum(episode.ext_rewards))
        episode.length_steps = len(episode.ext_rewards)
    return episodes


def statistics_table(episodes: list[Episode], title: str) -> WholeTable:
    """Mean, spread and range of the episodes' returns, lengths and intrinsic rewards."""
    table = WholeTable(
        "", "mean", "std", "min", "max", title=f"{len(episodes)} episodes of {title}"
    )
    rows = {
        "return (unclipped)": [episode.ext_return for episode in episodes],
        "length (steps)": [float(episode.length_steps) for episode in episodes],
    }
    if episodes[0].int_rewards:
        rows["mean intrinsic reward"] = [float(np.mean(e.int_rewards)) for e in episodes]
    for name, values in rows.items():
        figures = (np.mean(values), np.std(values), np.min(values), np.max(values))
        table.add_row(name, *(f"{figure:.4g}" for figure in figures))
    return table


def require_video_libraries() -> None:
    """Check that a video can be written before anything is played.

    Raises:
        ImportError: The ``video`` extra is not installed.
    """
    for library in ("imageio_ffmpeg", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise ImportError(
                f"recording needs {library}: pip install 'rndfast[video]', or use --no-record"
            )


def write_video(path: Path, episode: Episode) -> None:
    """Write an mp4: the picture, and the episode's reward with a moving mark.

    The reward is the intrinsic one, or the extrinsic one of an agent without.
    """
    import imageio_ffmpeg
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    picture_axes, reward_axes = figure.subplots(1, 2, width_ratios=(1, 1.6))
    picture_axes.set_axis_off()
    rewards = episode.int_rewards or episode.ext_rewards
    label = "intrinsic reward (scaled)" if episode.int_rewards else "reward"
    reward_axes.plot(rewards, color="tab:blue", linewidth=0.8)
    reward_axes.set(xlabel="agent step", ylabel=label)
    reward_axes.set_title(f"return {episode.ext_return:g} in {episode.length_steps:,} steps")
    picture = picture_axes.imshow(
        np.asarray(episode.pictures[0]), aspect=episode.pixel_aspect, animated=True
    )
    (mark,) = reward_axes.plot([], [], "o", color="tab:red", animated=True)

    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    size, fps = canvas.get_width_height(), episode.pictures_per_s
    writer = imageio_ffmpeg.write_frames(str(path), size, fps=fps)
    writer.send(None)
    with contextlib.closing(writer):
        for step, pixels in enumerate(episode.pictures):
            canvas.restore_region(background)
            picture.set_data(np.asarray(pixels))
            mark.set_data([step], [rewards[step]])
            picture_axes.draw_artist(picture)
            reward_axes.draw_artist(mark)
            writer.send(np.asarray(canvas.buffer_rgba())[..., :3].tobytes())
