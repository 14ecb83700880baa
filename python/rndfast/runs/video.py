"""An episode, and a clip of it: the game, and beside it what was new to the agent."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rndfast.runs.recording import Recording

VideoFormat = Literal["mp4", "webp", "gif"]

# More rewards or changes of room than this are not marked: the marks would hide the curve.
MAX_MARKS = 60


@dataclass
class Episode:
    """One episode, from reset to end: a whole game, also where lost lives ended it in training.

    Attributes:
        ext_return: Sum of the unclipped extrinsic rewards.
        length_steps: Number of steps.
        ext_rewards: Unclipped extrinsic reward of each step.
        int_rewards: Intrinsic reward of each step, scaled as in training; empty without a bonus.
        rooms: Number of the room that each step ended in; empty in games without rooms.
        pictures: What there was to see after each step, as arrays ``(H, W, 3)`` or a `Recording` of
            such; empty if not recorded.
        pictures_per_s: The speed at which the pictures are meant to be seen.
        pixel_aspect: Height of a pixel, in widths of it.
    """

    ext_return: float = 0.0
    length_steps: int = 0
    ext_rewards: list[float] = field(default_factory=list)
    int_rewards: list[float] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    pictures: Sequence[NDArray[np.uint8]] | Recording = field(default_factory=list)
    pictures_per_s: float = 0.0
    pixel_aspect: float = 1.0


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        dots_per_inch: The clip is 9.6 by 4.8 inches.
        max_pictures_per_s: A faster clip leaves pictures out.
        options: Of ``imageio_ffmpeg.write_frames``.
    """

    dots_per_inch: float
    max_pictures_per_s: float
    options: dict[str, Any]


# Those that a README shows are smaller, as each picture costs far more in them.
FORMATS = {
    ".mp4": Format(100, 60, {}),
    ".webp": Format(
        80,
        15,
        {
            "codec": "libwebp_anim",
            "quality": None,
            "output_params": ["-loop", "0", "-quality", "80", "-compression_level", "6"],
        },
    ),
    ".gif": Format(
        80,
        12.5,  # whole hundredths of a second
        {
            "codec": "gif",
            "pix_fmt_out": "pal8",
            "quality": None,
            "ffmpeg_log_level": "error",  # it warns of colours that two pictures have
            "output_params": [
                *("-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none"),
                *("-loop", "0"),
            ],
        },
    ),
}


def require_video(path: Path | None, video_format: VideoFormat | None) -> None:
    """Check that a clip can be made before anything is played.

    Args:
        path: Where it is to go, if that is chosen.
        video_format: What it is to be, if that is chosen.

    Raises:
        ImportError: The ``video`` extra is not installed.
        ValueError: ``path`` ends in something else.
    """
    for library in ("imageio_ffmpeg", "matplotlib"):
        if importlib.util.find_spec(library) is None:
            raise ImportError(
                f"recording needs {library}: pip install 'rndfast[video]', or use --no-record"
            )
    suffixes = list(FORMATS) if video_format is None else [f".{video_format}"]
    if path is not None and path.suffix not in suffixes:
        raise ValueError(
            f"video must be a file that ends in {' or '.join(suffixes)}, got {str(path)!r}"
        )


def write_video(path: Path, episode: Episode, speed: float = 1.0) -> None:
    """Write a clip of an episode with a bonus, or of the rewards of one without.

    Args:
        path: The file; its suffix, one of `FORMATS`, chooses the format.
        episode: With its pictures.
        speed: How many seconds of the game a second of the clip shows.
    """
    import imageio_ffmpeg
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = FORMATS[path.suffix]
    figure = Figure(figsize=(9.6, 4.8), dpi=kind.dots_per_inch, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    picture_axes, chart = figure.subplots(1, 2, width_ratios=(1, 1.6))
    picture_axes.set_axis_off()
    picture = picture_axes.imshow(
        np.asarray(episode.pictures[0]), aspect=episode.pixel_aspect, animated=True
    )
    scores = np.cumsum(episode.ext_rewards)
    caption = picture_axes.set_title("room 0, return 0", loc="left", animated=True)
    curve = episode.int_rewards or episode.ext_rewards
    draw_chart(chart, episode)
    (mark,) = chart.plot([], [], "o", color="tab:red", animated=True)

    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    pictures_per_s = episode.pictures_per_s * speed
    stride = max(1, math.ceil(pictures_per_s / kind.max_pictures_per_s))
    writer = imageio_ffmpeg.write_frames(
        str(path), canvas.get_width_height(), fps=pictures_per_s / stride, **kind.options
    )
    writer.send(None)
    with contextlib.closing(writer):
        for step in range(0, len(episode.pictures), stride):
            canvas.restore_region(background)
            picture.set_data(np.asarray(episode.pictures[step]))
            room = f"room {episode.rooms[step]}, " if episode.rooms else ""
            caption.set_text(f"{room}return {scores[step]:g}")
            mark.set_data([step], [curve[step]])
            for axes, artist in ((picture_axes, picture), (picture_axes, caption), (chart, mark)):
                axes.draw_artist(artist)
            writer.send(np.asarray(canvas.buffer_rgba())[..., :3].tobytes())


def draw_chart(axes: Any, episode: Episode) -> None:
    """Draw the reward of each step, with marks where the game gave one and where rooms changed."""
    has_bonus = bool(episode.int_rewards)
    curve = episode.int_rewards or episode.ext_rewards
    axes.plot(curve, color="tab:blue", linewidth=0.8)
    axes.set_title(f"return {episode.ext_return:g} in {episode.length_steps:,} steps")
    axes.set_ylabel("intrinsic reward (scaled)" if has_bonus else "reward")
    meanings = []
    at_the_top = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    changes = (np.flatnonzero(np.diff(episode.rooms)) + 1).tolist()
    if 0 < len(changes) <= MAX_MARKS:
        meanings.append("dotted: another room, and its number")
        for step in changes:
            axes.axvline(step, color="tab:gray", linewidth=0.8, linestyle=":")
        for room in dict.fromkeys(episode.rooms):  # once each
            axes.annotate(
                str(room),
                (episode.rooms.index(room), 1),
                (2, -9),
                color="tab:gray",
                fontsize=9,
                **at_the_top,
            )
    rewards = np.flatnonzero(episode.ext_rewards)
    if has_bonus and 0 < len(rewards) <= MAX_MARKS:
        meanings.append("triangle: reward")
        top = axes.get_ylim()[1]
        axes.plot(rewards, np.full(len(rewards), 0.93 * top), "v", color="tab:green", markersize=6)
        axes.set_ylim(top=top)
    axes.set_xlabel("agent step" + (f" ({', '.join(meanings)})" if meanings else ""))
