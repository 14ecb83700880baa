from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from tests.reference.ale import AleVectorEnv

import rndfast.evaluate
from rndfast.checkpoint import load_newest_checkpoint
from rndfast.cli import main
from rndfast.distributions import Categorical
from rndfast.evaluate import ATARI_PIXEL_ASPECT, Episode, evaluate, write_video


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "run"
    arguments = [
        "--preset=laptop", "--num-envs=4", "--rollout-steps=8", "--obs-norm-steps=4",
        "--update-epochs=1", "--total-transitions=32", "--max-num-frames-per-episode=120",
    ]  # fmt: skip
    assert main(["train", *arguments, "--run-dir", str(path)]) == 0
    return path


def test_episodes_are_played_to_their_end_by_the_protocol_of_the_run(run_dir: Path) -> None:
    episodes = evaluate(run_dir, episodes=2, seed=3, record=False)
    for episode in episodes:
        assert episode.length_steps == 30  # 120 frames at frameskip 4
        assert len(episode.int_rewards) == 30
        assert np.isfinite(episode.int_rewards).all()
        assert min(episode.int_rewards) > 0
        assert episode.pictures == []


def test_the_same_seed_plays_the_same_episodes_and_learns_nothing(run_dir: Path) -> None:
    before = load_newest_checkpoint(run_dir / "checkpoints")[0].state
    first = evaluate(run_dir, episodes=2, seed=3, record=False, num_threads=1)
    again = evaluate(run_dir, episodes=2, seed=3, record=False, num_threads=2)
    other = evaluate(run_dir, episodes=2, seed=4, record=False)
    assert first == again
    assert first[0].int_rewards != other[0].int_rewards
    after = load_newest_checkpoint(run_dir / "checkpoints")[0].state
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_pictures_are_those_of_the_first_environment(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is an ale-py console in colour that is given the recorded actions."""
    actions: list[int] = []

    sample = Categorical.sample

    def recorded(
        distribution: Categorical, logits: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        result = sample(distribution, logits, noise)
        actions.append(int(result[0]))
        return result

    monkeypatch.setattr(Categorical, "sample", recorded)
    monkeypatch.setattr(rndfast.evaluate, "write_video", lambda *arguments: None)
    episode = evaluate(run_dir, episodes=2, seed=5)[0]
    oracle = AleVectorEnv(
        "montezuma_revenge", 1, grayscale=False, img_height=210, img_width=160, stack_num=1,
        noop_max=0, use_fire_reset=False, repeat_action_probability=0.25,
        autoreset_mode=AutoresetMode.SAME_STEP, max_num_frames_per_episode=120,
    )  # fmt: skip
    oracle.reset(seed=5)
    for action, picture in zip(actions, episode.pictures, strict=True):
        observations = oracle.step(np.array([action]))[0]
        np.testing.assert_array_equal(picture, observations[0, 0])
    oracle.close()


def test_a_video_shows_the_picture_beside_the_intrinsic_reward(tmp_path: Path) -> None:
    import imageio_ffmpeg

    red = np.zeros((210, 160, 3), np.uint8)
    red[..., 0] = 255
    steps = 20
    rewards = list(np.linspace(0, 1, steps))
    episode = Episode(1.0, steps, [0.0] * steps, rewards, [red] * steps)
    path = tmp_path / "video.mp4"
    write_video(path, episode, ATARI_PIXEL_ASPECT)

    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (
        steps,
        pytest.approx(steps / 15, 0.1),
    )
    decode = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-i",
        path,
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
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


def test_eval_writes_the_video_and_prints_statistics(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "deep" / "video.mp4"
    assert main(["eval", str(run_dir), "--episodes=2", "--video", str(video)]) == 0
    shown = capsys.readouterr().out
    assert "2 episodes of step-000000000032" in shown
    assert "return (unclipped)" in shown
    assert video.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes=0"], "episodes must be at least 1, got 0"),
        (["--checkpoint=step-000000000007"], "is missing or not a plain file"),
    ],
)
def test_a_wrong_argument_is_named(
    run_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["eval", str(run_dir), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_missing_video_libraries_are_named_before_anything_is_played(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["eval", str(run_dir)]) == 1
    assert "pip install 'rndfast[video]', or use --no-record" in capsys.readouterr().err
