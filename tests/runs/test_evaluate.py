from __future__ import annotations

import os
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from tests.reference import learner
from tests.reference.ale import AleVectorEnv
from tests.reference.frames import normalized
from tests.reference.halves import Step
from tests.reference.learner import ToyEnv, layers_of, rnd_of, small_learner

import rndfast.runs.evaluate
from rndfast.commands.main import main
from rndfast.config import from_toml
from rndfast.learner.distributions import Categorical
from rndfast.runs.checkpoint import Checkpoint, load_newest_checkpoint
from rndfast.runs.evaluate import evaluate, play
from rndfast.runs.video import Episode


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


def record_actions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep the first environment's actions from now on."""
    actions: list[int] = []
    sample = Categorical.sample

    def recorded(
        distribution: Categorical, logits: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        result = sample(distribution, logits, noise)
        actions.append(int(result[0]))
        return result

    monkeypatch.setattr(Categorical, "sample", recorded)
    return actions


def test_the_pictures_are_those_of_the_first_environment(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is an ale-py console in colour that is given the recorded actions."""
    actions = record_actions(monkeypatch)
    monkeypatch.setattr(rndfast.runs.evaluate, "write_video", lambda *arguments: None)
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


def test_a_policy_with_memory_plays_by_it_and_its_bonus_is_of_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three episodes in one walk of NumPy's, with the noise that decides the actions."""
    env = ToyEnv(3, ((6, 0), (3, 2), (8, 2)), ((9, 1),))
    with small_learner(policy="recurrent") as parts:
        agent, config = parts.agent, parts.config
        frames = np.random.default_rng(0).integers(0, 256, (9, 1, 44, 52), np.uint8)
        agent.obs_moments.update(frames)
        checkpoint = Checkpoint(Path("nowhere"), 0, "", agent.state())
    monkeypatch.setattr(rndfast.runs.evaluate, "make_env", lambda *_, **__: env)
    episodes = play(config, checkpoint, 3, seed=7, record=False)
    assert [episode.length_steps for episode in episodes] == [7, 10, 4]
    for n, episode in enumerate(episodes):
        assert episode.ext_return == env.rewards[: episode.length_steps, n].sum()

    is_first = np.zeros((10, 3), bool)
    is_first[0] = is_first[7, 0] = is_first[[4, 9], 2] = True
    generator = torch.Generator().manual_seed(7)
    noise = np.stack([Categorical(5).draw_noise(3, generator).numpy() for _ in range(10)])

    def actions(is_first: NDArray[np.bool_]) -> NDArray[np.int64]:
        observed = learner.scaled(env.observations[:-1])
        walked = learner.recurrent_outputs(agent.policy, observed, np.zeros((3, 256)), is_first)
        log_probs = learner.log_softmax(walked.logits.reshape(-1, 5)).reshape(10, 3, 5)
        chosen: NDArray[np.int64] = (log_probs - np.log(noise)).argmax(axis=2)
        return chosen

    np.testing.assert_array_equal(np.stack(env.actions_of[-1]), actions(is_first))
    assert not np.array_equal(actions(is_first), actions(np.ones_like(is_first)))  # it could tell

    inputs = normalized(
        learner.newest(env.observations[1:]).reshape(-1, 1, 44, 52),
        agent.obs_moments.mean,
        agent.obs_moments.var,
        5.0,
    )
    target, predicted = (
        learner.feature_outputs(layers_of(network), inputs) for network in rnd_of(agent).children()
    )
    expected = ((predicted - target) ** 2).mean(axis=1).reshape(10, 3)
    for n, episode in enumerate(episodes):
        want = expected[: episode.length_steps, n]
        np.testing.assert_allclose(episode.int_rewards, want, rtol=1e-4)


def test_a_lost_life_ends_no_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    class EnvWithLives(ToyEnv):
        """Terminations are lost lives, and truncations the ends of games."""

        def step(self, actions: NDArray[np.int64]) -> Step:
            *results, info = super().step(actions)
            return (*results, info | {"game_over": results[3]})  # type: ignore[return-value]

    env = EnvWithLives(2, ((2, 0), (3, 1), (5, 1)), ((4, 0), (8, 1)))
    with small_learner(policy="recurrent") as parts:
        agent, config = parts.agent, parts.config
        assert agent.bonus is not None
        agent.bonus.return_moments.update(np.arange(3, dtype=np.float32))
        checkpoint = Checkpoint(Path("nowhere"), 0, "", agent.state())
    monkeypatch.setattr(rndfast.runs.evaluate, "make_env", lambda *_, **__: env)
    episodes = play(config, checkpoint, 2, seed=7, record=False)
    assert [episode.length_steps for episode in episodes] == [5, 9]
    for n, episode in enumerate(episodes):
        assert episode.ext_return == env.rewards[: episode.length_steps, n].sum()
        assert len(episode.int_rewards) == episode.length_steps


# --- environments of Gymnasium ----------------------------------------------------------------


@pytest.fixture(scope="module", params=["with a bonus", "without"])
def classic_run_dir(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "classic"
    arguments = [
        "--preset=classic", "--num-envs=4", "--rollout-steps=16", "--obs-norm-steps=16",
        "--update-epochs=1", "--total-transitions=64", "--num-threads=1",
    ]  # fmt: skip
    int_coef = 1.0 if request.param == "with a bonus" else 0.0
    assert main(["train", *arguments, f"--int-coef={int_coef}", "--run-dir", str(path)]) == 0
    return path


def test_an_episode_of_gymnasium_is_played_and_shown(
    classic_run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The oracle is the environment itself, alone, that is given the recorded actions."""
    actions = record_actions(monkeypatch)
    shown: list[tuple[Path, Episode, float]] = []
    monkeypatch.setattr(rndfast.runs.evaluate, "write_video", lambda *given: shown.append(given))
    first, second = evaluate(classic_run_dir, episodes=2, seed=5)
    assert first.length_steps == second.length_steps == 200
    assert first.ext_return == second.ext_return == -200
    has_bonus = from_toml((classic_run_dir / "config.toml").read_text()).ppo.int_coef > 0
    assert len(first.int_rewards) == (200 if has_bonus else 0)
    assert ("intrinsic per step" in capsys.readouterr().out) == has_bonus
    assert [episode for _, episode, _ in shown] == [first]
    assert first.pixel_aspect == 1.0

    env = gymnasium.make("MountainCar-v0", render_mode="rgb_array")
    assert first.pictures_per_s == env.metadata["render_fps"]
    env.reset(seed=5)
    for action, picture in zip(actions, first.pictures, strict=True):
        _, reward, terminated, truncated, _ = env.step(action)
        assert reward == -1
        if terminated or truncated:
            env.reset()  # the last picture is of the next episode
        np.testing.assert_array_equal(picture, env.render())
    env.close()


def test_eval_writes_the_video_and_prints_statistics(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "deep" / "video.mp4"
    assert main(["eval", str(run_dir), "--episodes=2", "--video", str(video)]) == 0
    shown = capsys.readouterr().out
    assert "2 episodes of step-000000000032" in shown
    assert "return (unclipped)" in shown
    assert re.search(r"rooms .* 1 .* 1 to 1 ", shown)  # in 30 steps none is left
    assert video.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed=-1"], "seed must be at least 0, got -1"),
        (
            ["--video=out.avi"],
            "video must be a file that ends in .mp4 or .webp or .gif, got 'out.avi'",
        ),
        (["--video=out.gif", "--format=mp4"], "must be a file that ends in .mp4, got 'out.gif'"),
        (["--speed=0"], "speed must be finite and above 0, got 0.0"),
        (["--episodes=0"], "episodes must be at least 1, got 0"),
        (["--checkpoint=step-000000000007"], "is missing or not a plain file"),
    ],
)
def test_a_wrong_argument_is_named(
    run_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["eval", str(run_dir), *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "place", ["a directory", "below a file", "where no files are", "read-only"]
)
def test_a_video_that_cannot_be_written_is_told_before_anything_is_played(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    video = tmp_path / "video.mp4"
    if place == "a directory":
        video.mkdir()
    elif place == "below a file":
        (tmp_path / "file").touch()
        video = tmp_path / "file" / "video.mp4"
    elif place == "where no files are":
        video = Path("/proc/video.mp4")
    else:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        tmp_path.chmod(0o500)
    monkeypatch.setattr(rndfast.runs.evaluate, "play", None)  # calling it would be another error
    before = sorted(run_dir.rglob("*"))
    assert main(["eval", str(run_dir), f"--video={video}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(video.parent if place == "below a file" else video) in line
    assert sorted(run_dir.rglob("*")) == before


def test_missing_video_libraries_are_named_before_anything_is_played(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["eval", str(run_dir)]) == 1
    assert "pip install 'rndfast[video]', or use --no-record" in capsys.readouterr().err
