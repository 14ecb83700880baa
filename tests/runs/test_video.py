"""Clips of episodes, decoded by other programs than the one that wrote them where there is one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from rndfast.runs.video import Episode, write_video


def episode_of(
    picture: NDArray[np.uint8],
    ext_rewards: list[float],
    int_rewards: list[float],
    rooms: list[int] | None = None,
) -> Episode:
    return Episode(
        ext_return=sum(ext_rewards),
        length_steps=len(ext_rewards),
        ext_rewards=ext_rewards,
        int_rewards=int_rewards,
        rooms=rooms or [],
        pictures=[picture] * len(ext_rewards),
        pictures_per_s=15,
        pixel_aspect=0.75,
    )


@pytest.mark.parametrize("has_bonus", [True, False])
def test_a_video_shows_the_picture_beside_the_reward(tmp_path: Path, has_bonus: bool) -> None:
    import imageio_ffmpeg

    red = np.zeros((210, 160, 3), np.uint8)
    red[..., 0] = 255
    steps = 20
    rewards = list(np.linspace(0, 1, steps))
    # of an agent without a bonus the extrinsic one is shown
    ext_rewards, int_rewards = ([0.0] * steps, rewards) if has_bonus else (rewards, [])
    episode = episode_of(red, ext_rewards, int_rewards)
    path = tmp_path / "video.mp4"
    write_video(path, episode)

    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (
        steps,
        pytest.approx(steps / 15, 0.1),
    )
    decode = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-i",
        path,
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
    ]
    raw = subprocess.run(decode, check=True, capture_output=True).stdout
    height, width = 480, 960
    pixels = np.frombuffer(raw, np.uint8).reshape(steps, height, width, 3)
    left, right = pixels[0][:, : width // 3], pixels[0][:, width // 3 :]
    is_red = (left[..., 0] > 200) & (left[..., 1] < 60) & (left[..., 2] < 60)
    assert is_red.mean() > 0.5
    assert (right > 200).all(axis=-1).mean() > 0.5  # the plot's white paper
    # the mark moves from the lower left to the upper right
    marks = [
        np.argwhere((frame[:, width // 2 :, 0] > 180) & (frame[:, width // 2 :, 1] < 80))
        for frame in (pixels[8], pixels[-2])
    ]
    assert marks[0][:, 1].mean() < marks[1][:, 1].mean()
    assert marks[0][:, 0].mean() > marks[1][:, 0].mean()


def frames_of(path: Path) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Pictures, and how many milliseconds each is shown."""
    with Image.open(path) as clip:
        pictures = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(clip)]
        durations = []
        for index in range(clip.n_frames):
            clip.seek(index)
            clip.load()
            durations.append(int(clip.info["duration"]))
    return pictures, durations


@pytest.mark.parametrize(
    ("suffix", "speed", "num_pictures", "milliseconds"),
    [
        (".gif", 0.5, 30, 130),  # 7.5 a second
        (".gif", 2.0, 10, 100),  # 30 a second: one of three
        (".webp", 1.0, 30, 66),
        (".webp", 4.0, 8, 66),  # 60 a second: one of four
    ],
)
def test_speed_and_format_choose_the_pictures(
    tmp_path: Path, suffix: str, speed: float, num_pictures: int, milliseconds: int
) -> None:
    black = np.zeros((210, 160, 3), np.uint8)
    path = tmp_path / f"clip{suffix}"
    write_video(path, episode_of(black, [0.0] * 30, list(np.linspace(0, 1, 30))), speed)
    pictures, durations = frames_of(path)
    assert len(pictures) == num_pictures
    assert pictures[0].shape == (384, 768, 3)
    assert durations[1] == pytest.approx(milliseconds, abs=10)


def test_changes_of_room_and_rewards_are_marked(tmp_path: Path) -> None:
    black = np.zeros((210, 160, 3), np.uint8)
    nothing, bonus = [0.0] * 20, list(np.linspace(0.2, 1, 20))
    rewarded = [*nothing[:12], 100.0, *nothing[13:]]

    def charts(name: str, rewards: list[float], rooms: list[int]) -> list[NDArray[np.int64]]:
        path = tmp_path / f"{name}.gif"
        write_video(path, episode_of(black, rewards, bonus, rooms), 0.5)  # with every picture
        return [picture.astype(np.int64) for picture in frames_of(path)[0]]

    plain = charts("plain", nothing, [1] * 20)
    marked = charts("marked", nothing, [1] * 10 + [2] * 10)
    green = charts("green", rewarded, [1] * 20)
    chart = (slice(30, 340), slice(400, 750))  # inside its axes

    def changed(picture: NDArray[np.int64]) -> NDArray[np.bool_]:
        differs: NDArray[np.bool_] = np.abs(picture - plain[0]).max(axis=-1) > 60
        return differs[chart]

    columns = changed(marked[0]).sum(axis=0)
    assert columns.max() > 60  # a dotted line from top to bottom
    assert columns.argmax() == pytest.approx(175, abs=25)  # in the middle, where room 2 begins
    red, of_green, blue = np.moveaxis(green[0][chart], -1, 0)
    rows, columns = np.nonzero((of_green > red + 60) & (of_green > blue + 60))
    assert len(rows) > 20
    assert rows.max() < 60  # at the top
    assert columns.mean() == pytest.approx(175 + 40, abs=25)
    # above the game: the room and the return so far
    above = (slice(0, 60), slice(0, 250))
    assert (marked[9][above] == marked[0][above]).all()
    assert (marked[10][above] != marked[9][above]).any()
    assert (green[11][above] == green[0][above]).all()
    assert (green[12][above] != green[11][above]).any()
