"""Trained agents in one file, and in the hands of a script; networks are compared with NumPy's."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from tests.reference import learner
from tests.reference.frames import normalized
from tests.reference.learner import layers_of

import rndfast
from rndfast.commands.main import main
from rndfast.runs.agent_file import FORMAT, export_agent, read_agent
from rndfast.runs.checkpoint import Checkpoint, CheckpointError, load_newest_checkpoint
from rndfast.runs.evaluate import evaluate

NOT_EXPORTED = ("experience.", "optimizer.", "generator", "transitions")


def train(run_dir: Path, *arguments: str) -> Path:
    small = [
        "--num-envs=4", "--rollout-steps=8", "--obs-norm-steps=4", "--update-epochs=1",
        "--total-transitions=32", "--precision=float32",
    ]  # fmt: skip
    assert main(["train", *small, *arguments, "--run-dir", str(run_dir)]) == 0
    return run_dir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "run"
    return train(path, "--env-id=rndfast/Pong-v5", "--max-num-frames-per-episode=120")


def checkpoint_of(run_dir: Path) -> Checkpoint:
    return load_newest_checkpoint(run_dir / "checkpoints")[0]


def header_of(path: Path) -> dict[str, Any]:
    """What the file's format says: a length in eight bytes, then so much JSON."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header


def test_a_file_holds_what_plays_and_nothing_else(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    assert main(["export", str(run_dir), "--output", str(path)]) == 0
    state = checkpoint_of(run_dir).state
    exported = safetensors.torch.load_file(path)
    assert exported.keys() == {name for name in state if not name.startswith(NOT_EXPORTED)}
    for name, tensor in exported.items():
        assert torch.equal(tensor, state[name]), name
    metadata = header_of(path)["__metadata__"]
    assert metadata["transitions"] == "32"
    assert metadata["config"] == (run_dir / "config.toml").read_text()


def test_half_rounds_the_weights_alone(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    assert main(["export", str(run_dir), "--output", str(path), "--half"]) == 0
    state, read = checkpoint_of(run_dir).state, read_agent(path).state
    for name, entry in header_of(path).items():
        if name == "__metadata__":
            continue
        tensor = state[name].numpy()
        is_weight = name.startswith(("policy.", "rnd."))
        assert (entry["dtype"] == "F16") == is_weight
        expected = tensor.astype(np.float16).astype(np.float32) if is_weight else tensor
        np.testing.assert_array_equal(read[name].numpy(), expected)


def test_it_plays_the_episodes_that_the_run_would(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    export_agent(checkpoint_of(run_dir), path, half=False)
    of_file = evaluate(path, episodes=2, seed=3, record=False)
    assert of_file == evaluate(run_dir, episodes=2, seed=3, record=False)
    evaluate(path, episodes=1)
    assert (tmp_path / "agent-seed0.mp4").stat().st_size > 0


def test_info_describes_a_file(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.safetensors"
    export_agent(checkpoint_of(run_dir), path, half=False)
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "an agent of rndfast/Pong-v5, trained on 32 transitions" in printed
    weights = sum(t.numel() for n, t in checkpoint_of(run_dir).state.items() if n[:6] == "policy")
    assert f"{weights:,} weights" in printed


def test_a_run_begins_with_an_agent(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    export_agent(checkpoint_of(run_dir), path, half=False)
    begun = train(
        tmp_path / "begun", "--env-id=rndfast/Pong-v5", "--init-from", str(path),
        "--learning-rate=1e-30",
    )  # fmt: skip
    state, began_with = checkpoint_of(begun).state, checkpoint_of(run_dir).state
    assert int(state["transitions"]) == 32
    for name, tensor in began_with.items():
        if name.startswith(("policy.", "rnd.")):  # which such a small step does not move
            np.testing.assert_allclose(state[name], tensor, rtol=0, atol=1e-20, err_msg=name)
    # 32 more observations, and no random agent's
    before, after = (float(s["obs_moments.count"]) for s in (began_with, state))
    assert after - before == pytest.approx(32)


def test_an_agent_of_another_game_is_refused(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.safetensors"
    export_agent(checkpoint_of(run_dir), path, half=False)
    arguments = ["--env-id=rndfast/Breakout-v5", "--num-envs=4", "--init-from", str(path)]
    assert main(["train", *arguments, "--run-dir", str(tmp_path / "run")]) == 1
    assert "agent of rndfast/Breakout-v5, got one of rndfast/Pong-v5" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def damage(path: Path, kind: str) -> None:
    """Make something else of a file."""
    data = path.read_bytes()
    match kind:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "text":
            path.write_text("[env]\n")
        case "other metadata":
            safetensors.torch.save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
        case "no settings":
            metadata = {"format": FORMAT, "transitions": "3"}
            safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)
        case "wrong count":
            metadata = {"format": FORMAT, "transitions": "-3", "config": ""}
            safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)


@pytest.mark.parametrize(
    "kind", ["missing", "cut", "text", "other metadata", "no settings", "wrong count"]
)
def test_what_is_no_agent_is_named(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "agent.safetensors"
    export_agent(checkpoint_of(run_dir), path, half=False)
    damage(path, kind)
    with pytest.raises(CheckpointError, match=r"agent\.safetensors"):
        rndfast.load_agent(path)
    assert main(["eval", str(path), "--no-record"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    begin = ["train", "--init-from", str(path), "--env-id=rndfast/Pong-v5"]
    assert main([*begin, "--run-dir", str(tmp_path / "begun")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert not (tmp_path / "begun").exists()


def test_weights_that_do_not_fit_the_settings_are_refused(run_dir: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(run_dir)
    path = tmp_path / "agent.safetensors"
    state = dict(checkpoint.state)
    del state["policy.actor.bias"]
    export_agent(dataclasses.replace(checkpoint, state=state), path, half=False)
    with pytest.raises(ValueError, match=r"policy\.actor\.bias"):
        rndfast.load_agent(path)


# --- load_agent -------------------------------------------------------------------------------


def play_some(agent: rndfast.TrainedAgent, num_steps: int) -> list[NDArray[Any]]:
    """Observations of two environments."""
    env = agent.make_env(num_envs=2)
    observations = env.reset(seed=0)[0]
    seen, state = [observations], None
    for _ in range(num_steps):
        actions, _, state = agent.act(observations, state)
        observations = env.step(actions)[0]
        seen.append(observations)
    env.close()
    return seen


@pytest.mark.parametrize("colour", ["--grayscale", "--no-grayscale"])
def test_values_and_bonuses_are_numpys(tmp_path: Path, colour: str) -> None:
    run_dir = train(tmp_path / "run", "--env-id=rndfast/Breakout-v5", colour)
    agent = rndfast.load_agent(run_dir)
    state = checkpoint_of(run_dir).state
    for observations in play_some(agent, 6)[::3]:
        _, values, memory = agent.act(observations)
        assert memory.shape == (2, 0)
        planes = observations
        if colour == "--no-grayscale":  # (N, S, H, W, 3): the planes of each frame together
            planes = np.moveaxis(observations, -1, 2).reshape(2, 12, 84, 84)
        policy = layers_of(agent.policy)
        np.testing.assert_allclose(
            values, learner.policy_outputs(policy, planes / 255)[1], atol=1e-5
        )
        newest = planes[:, -planes.shape[1] // 4 :]
        mean, m2 = state["obs_moments.mean"].numpy(), state["obs_moments.m2"].numpy()
        inputs = normalized(newest, mean, m2 / float(state["obs_moments.count"]), 5)
        assert agent.rnd is not None
        predicted, target = (
            learner.feature_outputs(layers_of(network), inputs)
            for network in (agent.rnd.predictor, agent.rnd.target)
        )
        of_returns = float(state["int_return_moments.m2"]) / float(
            state["int_return_moments.count"]
        )
        expected = ((predicted - target) ** 2).mean(axis=1) / np.sqrt(of_returns)
        np.testing.assert_allclose(agent.bonus(observations), expected, rtol=1e-3)


def test_actions_follow_the_policys_probabilities(run_dir: Path) -> None:
    agent = rndfast.load_agent(run_dir, seed=1)
    observations = play_some(agent, 1)[-1]
    many = np.repeat(observations[:1], 500, axis=0)
    logits = learner.policy_outputs(layers_of(agent.policy), observations[:1] / 255)[0]
    probabilities = np.exp(learner.log_softmax(logits))[0]
    counts = np.zeros(len(probabilities))
    for _ in range(4):
        counts += np.bincount(agent.act(many)[0], minlength=len(counts))
    deviations = np.sqrt(2000 * probabilities * (1 - probabilities))
    assert (np.abs(counts - 2000 * probabilities) < 5 * deviations).all()
    again = rndfast.load_agent(run_dir, seed=1)
    play_some(again, 1)
    fresh = rndfast.load_agent(run_dir, seed=1)
    play_some(fresh, 1)
    np.testing.assert_array_equal(again.act(many)[0], fresh.act(many)[0])


def test_a_policy_remembers_what_its_state_says(tmp_path: Path) -> None:
    arguments = ["--env-id=rndfast/Pong-v5", "--policy=recurrent"]
    agent = rndfast.load_agent(train(tmp_path / "run", *arguments))
    observations = np.stack(play_some(agent, 3))  # (T, N, S, H, W)
    is_first = np.zeros((4, 2), np.bool_)
    walked = learner.recurrent_outputs(
        agent.policy, observations / 255, np.zeros((2, 256)), is_first
    )
    state = agent.initial_state(2)
    for t in range(4):
        _, values, state = agent.act(observations[t], state)
        np.testing.assert_allclose(values, walked.values[t], atol=1e-5)
        np.testing.assert_allclose(state, walked.memory[t], atol=1e-5)


def test_vectors_are_read_by_their_statistics(tmp_path: Path) -> None:
    run_dir = train(
        tmp_path / "run", "--preset=classic", "--num-minibatches=2", "--total-transitions=64"
    )
    agent = rndfast.load_agent(run_dir)
    state = checkpoint_of(run_dir).state
    observations = play_some(agent, 4)[-1]
    assert observations.shape == (2, 2)
    mean, m2 = state["obs_moments.mean"].numpy(), state["obs_moments.m2"].numpy()
    inputs = normalized(observations, mean, m2 / float(state["obs_moments.count"]), 5)
    values = learner.policy_outputs(layers_of(agent.policy), inputs)[1]
    np.testing.assert_allclose(agent.act(observations)[1], values, atol=1e-5)
    assert agent.bonus(observations).shape == (2,)


def test_wrong_arrays_are_named(run_dir: Path) -> None:
    agent = rndfast.load_agent(run_dir)
    right = np.zeros((2, 4, 84, 84), np.uint8)
    with pytest.raises(TypeError, match="observations must be uint8, got float32"):
        agent.act(right.astype(np.float32))
    for wrong in (right[0], right[:, :1], right[..., :80]):
        with pytest.raises(ValueError, match=r"shape \(N, 4, 84, 84\), got"):
            agent.act(wrong)
        with pytest.raises(ValueError, match=r"shape \(N, 4, 84, 84\), got"):
            agent.bonus(wrong)
    with pytest.raises(ValueError, match=r"state must be float32 of shape \(2, 0\)"):
        agent.act(right, np.zeros((2, 256), np.float32))


def test_an_agent_without_a_bonus_says_so(tmp_path: Path) -> None:
    run_dir = train(tmp_path / "run", "--env-id=rndfast/Pong-v5", "--int-coef=0")
    agent = rndfast.load_agent(run_dir)
    observations = play_some(agent, 1)[-1]
    assert agent.act(observations)[1].shape == (2, 1)
    with pytest.raises(ValueError, match="int_coef 0"):
        agent.bonus(observations)
