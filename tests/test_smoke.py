"""If you run only one test file, run this one: every part once, in seconds, on a CPU."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import safetensors.torch
import torch
from tests.reference.ale import AleVectorEnv, first_difference, legal_actions, make_ale, rom_file

import rndfast
from rndfast.commands.main import main


def test_importing_registers_the_games_with_gymnasium() -> None:
    spec = gymnasium.spec("rndfast/MontezumaRevenge-v5")
    assert spec.vector_entry_point == "rndfast.envs:AtariVectorEnv"


def test_what_is_imported_when_it_is_asked_for_is_listed_before() -> None:
    assert {"RNDBonus", "DRNDBonus", "TrainedAgent", "load_agent", "gae"} <= {*dir(rndfast)}


def test_a_console_plays_as_ale_pys_does() -> None:
    ale = make_ale(rom_file("montezuma_revenge"), seed=3)
    console = rndfast.Console("montezuma_revenge", random_seed=3)
    match = first_difference(
        console, ale, frames=100, rng=random.Random(0), actions=legal_actions(ale)
    )
    assert match.difference is None
    assert match.frames == 100


def test_a_vector_environment_steps_as_ale_pys_does() -> None:
    rng = np.random.default_rng(0)
    envs = rndfast.AtariVectorEnv("breakout", num_envs=2, num_threads=2, ale_compatible=True)
    ale_envs = AleVectorEnv("breakout", 2, repeat_action_probability=0.25)
    observations, _ = envs.reset(seed=0)
    expected, _ = ale_envs.reset(seed=0)
    assert observations.shape == (2, 4, 84, 84)
    np.testing.assert_array_equal(observations, expected)
    for _ in range(40):
        actions = rng.integers(0, 4, size=2)
        results, expected_results = envs.step(actions), ale_envs.step(actions)
        for result, expected_result in zip(results[:4], expected_results[:4], strict=True):
            np.testing.assert_array_equal(result, expected_result)
    envs.close()
    ale_envs.close()


def test_advantages_of_a_constant_reward_are_a_geometric_series() -> None:
    rewards = np.ones((6, 3), np.float32)
    advantages = rndfast.gae(
        rewards, 0 * rewards, np.zeros(3, np.float32), gamma=0.5, gae_lambda=0.5
    )
    steps_left = np.arange(6, 0, -1)
    expected = (1 - 0.25**steps_left) / (1 - 0.25)
    np.testing.assert_allclose(advantages, expected[:, None].repeat(3, axis=1), rtol=1e-7)


def test_a_run_of_one_rollout_learns_and_writes_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    settings = "--num-envs 4 --rollout-steps 8 --obs-norm-steps 4 --num-threads 2 --seed 5"
    command = ["train", *settings.split(), "--total-transitions", "32", "--run-dir", str(run_dir)]
    assert main(command) == 0

    assert "seed = 5" in (run_dir / "config.toml").read_text()
    assert list((run_dir / "tensorboard").glob("events.*"))
    (row,) = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert row["transitions"] == 32
    assert 0 < row["losses/entropy"] <= np.log(18) + 1e-6  # of 18 actions
    assert row["rnd/intrinsic_reward"] > 0

    start, end = (run_dir / "checkpoints" / f"step-{step:012d}" for step in (0, 32))
    for name, expected in json.loads((end / "manifest.json").read_text())["sha256"].items():
        assert hashlib.sha256((end / name).read_bytes()).hexdigest() == expected
    before, after = (safetensors.torch.load_file(p / "agent.safetensors") for p in (start, end))
    networks = ("policy.", "rnd.predictor.", "rnd.target.")
    has_changed = {
        network: any(
            not torch.equal(tensor, after[name])
            for name, tensor in before.items()
            if name.startswith(network)
        )
        for network in networks
    }
    assert has_changed == {"policy.": True, "rnd.predictor.": True, "rnd.target.": False}

    capsys.readouterr()
    assert main(["info", str(run_dir)]) == 0
    assert "step-000000000032: verified" in capsys.readouterr().out


def test_info_describes_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"rndfast {rndfast.__version__} with torch {torch.__version__}" in shown
    assert "104 games" in shown
