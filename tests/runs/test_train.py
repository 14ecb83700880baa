from __future__ import annotations

import dataclasses
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.reference import rl
from tests.tiny import NUM_ENVS, SIDE, STEPS, PeriodicEnv, tiny_config

import rndfast.runs.train
from rndfast.config import AtariConfig, Config, from_toml
from rndfast.envs.atari import AtariVectorEnv
from rndfast.learner.backend import Backend
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.ppo import update
from rndfast.learner.rollout import Rollout, collect
from rndfast.presets import PRESETS
from rndfast.runs.checkpoint import list_checkpoints, load_checkpoint, load_newest_checkpoint
from rndfast.runs.evaluate import evaluate
from rndfast.runs.metrics import Metrics, read_metrics
from rndfast.runs.state import episode_seed
from rndfast.runs.train import train
from rndfast.runtime.compute import resolved
from rndfast.runtime.interruption import Interrupted

ROLLOUT = NUM_ENVS * STEPS


def silent(metrics: Metrics | str) -> None:
    """A view that shows nothing."""


def with_settings(config: Config, **sections: dict[str, Any]) -> Config:
    """A copy with other settings, by section."""
    changed = {
        name: dataclasses.replace(getattr(config, name), **settings)
        for name, settings in sections.items()
    }
    return dataclasses.replace(config, **changed)


@pytest.fixture
def periodic_env(monkeypatch: pytest.MonkeyPatch) -> PeriodicEnv:
    env = PeriodicEnv()
    monkeypatch.setattr(rndfast.runs.train, "make_env", lambda config, num_threads: env)
    return env


def rows_of(config: Config) -> list[dict[str, Any]]:
    return [dict(row) for row in read_metrics(config.run.run_dir / "metrics.jsonl")]


def newest_state(config: Config) -> dict[str, torch.Tensor]:
    return load_newest_checkpoint(config.run.run_dir / "checkpoints")[0].state


def test_a_resumed_run_ends_bit_equal_to_the_uninterrupted_one(
    tmp_path: Path, periodic_env: PeriodicEnv
) -> None:
    whole = tiny_config(tmp_path / "whole")
    train(whole, view=silent)
    half = tiny_config(tmp_path / "halves", total_transitions=2 * ROLLOUT)
    train(half, view=silent)
    rest = tiny_config(tmp_path / "halves")
    train(rest, resume=True, view=silent)

    expected, got = newest_state(whole), newest_state(rest)
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, got[name]), name
    losses = [
        [
            {key: value for key, value in row.items() if not key.startswith(("perf", "charts/SPS"))}
            for row in read_metrics(config.run.run_dir / "metrics.jsonl")
        ]
        for config in (whole, rest)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def short_run(run_dir: Path, total_transitions: int, **ppo: Any) -> Config:
    """A run on the real game that ends episodes, so that consoles are reset as well."""
    config = tiny_config(
        run_dir, total_transitions=total_transitions, checkpoint_interval_rollouts=1
    )
    return dataclasses.replace(
        config,
        atari=dataclasses.replace(config.atari, max_num_frames_per_episode=64),
        ppo=dataclasses.replace(config.ppo, **ppo),
    )


def assert_equal_ends(config: Config, other: Config) -> None:
    expected, got = newest_state(config), newest_state(other)
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, got[name]), name


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_consoles_go_on_where_they_were(tmp_path: Path, policy: str) -> None:
    whole = short_run(tmp_path / "whole", 8 * ROLLOUT, policy=policy)
    train(whole, view=silent)
    for part in (3, 5, 8):
        parts = short_run(tmp_path / "parts", part * ROLLOUT, policy=policy)
        train(parts, resume=part > 3, view=silent)
    assert_equal_ends(whole, parts)
    state = newest_state(parts)
    assert "experience.consoles.0" in state
    assert state["experience.memory"].any() == (policy == "recurrent")


def test_a_learning_rate_that_falls_goes_on_where_it_was(
    tmp_path: Path, periodic_env: PeriodicEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_settings(tiny_config(tmp_path / "run"), ppo={"anneal_lr": True})
    rates: list[float] = []

    def watched(rollout: Rollout, backend: Backend, *arguments: Any) -> dict[str, float]:
        rates.extend(group["lr"] for group in backend.agent.optimizer.param_groups)
        return update(rollout, backend, *arguments)

    def stop(metrics: Metrics | str) -> None:
        if not isinstance(metrics, str) and metrics["transitions"] == 2 * ROLLOUT:
            raise ArithmeticError

    monkeypatch.setattr(rndfast.runs.train, "update", watched)
    with pytest.raises(ArithmeticError):
        train(config, view=stop)
    train(config, resume=True, view=silent)
    expected = [1e-4, 0.75e-4, 0.5e-4, 0.25e-4]
    assert rates == pytest.approx(expected, rel=1e-12)
    rows = rows_of(config)
    assert [row["charts/learning_rate"] for row in rows] == rates


def test_without_a_bonus_nothing_of_rnd_is_computed(
    tmp_path: Path, periodic_env: PeriodicEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a call fails
    monkeypatch.setattr(rndfast.runs.train, "initialize_obs_moments", None)
    monkeypatch.setattr(CpuBackend, "intrinsic_rewards", None)
    config = with_settings(tiny_config(tmp_path / "run"), ppo={"int_coef": 0.0})
    train(config, view=silent)
    assert len(periodic_env.reset_seeds) == 1  # no random agent
    assert not any(name.startswith("rnd.") for name in newest_state(config))
    rows = rows_of(config)
    for row in rows:
        assert [name for name in row if name.startswith("rnd/") and row[name] is not None] == []
        assert "losses/predictor" not in row
        assert "losses/int_value" not in row
        assert row["losses/ext_value"] > 0
    assert np.isfinite(rows[-1]["rollout/ext_explained_variance"])
    more = with_settings(config, run={"total_transitions": 5 * ROLLOUT})
    train(more, resume=True, view=silent)
    assert int(newest_state(config)["transitions"]) == 5 * ROLLOUT


def test_one_value_head_has_its_own_metrics(tmp_path: Path, periodic_env: PeriodicEnv) -> None:
    ppo = {"two_value_heads": False, "int_gamma": 0.999}
    config = with_settings(tiny_config(tmp_path / "run", total_transitions=ROLLOUT), ppo=ppo)
    train(config, view=silent)
    (row,) = rows_of(config)
    assert row["losses/combined_value"] > 0
    assert np.isfinite(row["rollout/combined_explained_variance"])
    assert row["rnd/intrinsic_reward"] > 0
    assert newest_state(config)["policy.critic.weight"].shape[0] == 1


def test_without_a_random_agent_the_statistics_start_with_the_first_rollout(
    tmp_path: Path, periodic_env: PeriodicEnv
) -> None:
    run = tiny_config(tmp_path / "run", total_transitions=ROLLOUT)
    config = with_settings(run, rnd={"obs_norm_steps": 0})
    train(config, view=silent)
    first = episode_seed(config.run.seed, 0)
    assert periodic_env.reset_seeds == [list(range(first, first + NUM_ENVS))]
    state = newest_state(config)
    pictures = periodic_env.pictures.reshape(ROLLOUT, 1, SIDE, SIDE)
    count, mean, m2 = rl.moments(pictures, prior_count=1e-4)
    assert float(state["obs_moments.count"]) == pytest.approx(count)
    np.testing.assert_allclose(state["obs_moments.mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(state["obs_moments.m2"], m2, rtol=1e-12)


# --- other environments -----------------------------------------------------------------------

MINIGRID = "minigrid:MiniGrid-DoorKey-5x5-v0"
needs_minigrid = pytest.mark.skipif(sys.version_info < (3, 11), reason="minigrid needs Python 3.11")


def classic_run(run_dir: Path, env_id: str, **ppo: Any) -> Config:
    """Three rollouts of 80 steps in four environments."""
    classic = with_settings(
        PRESETS["classic"],
        ppo={"rollout_steps": 80, "update_epochs": 1, **ppo},
        rnd={"obs_norm_steps": 20, "num_features": 16},
        run={"run_dir": run_dir, "total_transitions": 960, "num_threads": 1},
    )
    env = dataclasses.replace(classic.env, env_id=env_id, num_envs=4)
    return dataclasses.replace(classic, env=env)


@pytest.mark.parametrize("ppo", [{}, {"policy": "recurrent"}, {"int_coef": 0.0}])
@pytest.mark.parametrize(
    ("env_id", "observation_size", "num_actions"),
    [
        ("MountainCar-v0", 2, 3),
        ("MountainCarContinuous-v0", 2, None),
        pytest.param(MINIGRID, 7 * 7 * 3, 7, marks=needs_minigrid),
    ],
)
def test_a_run_on_an_environment_of_gymnasium(
    tmp_path: Path,
    env_id: str,
    observation_size: int,
    num_actions: int | None,
    ppo: dict[str, Any],
) -> None:
    config = classic_run(tmp_path / "run", env_id, **ppo)
    train(config, view=silent)
    rows = rows_of(config)
    assert [row["transitions"] for row in rows] == [320, 640, 960]
    for row in rows:
        assert ("int_coef" in ppo) or row["rnd/intrinsic_reward"] > 0
        numbers = [value for value in row.values() if value is not None]
        assert np.isfinite(numbers).all()
        assert row["perf/emulated_frames_per_s"] is None  # nothing is emulated
    if env_id == "MountainCar-v0":  # cut off after 200 steps, at a reward of -1 each
        assert [row["charts/episodes"] for row in rows] == [0, 0, 4]
        assert rows[2]["charts/episodic_return"] == -200
        assert rows[2]["charts/episodic_clipped_return"] == -200
        assert rows[2]["charts/episodic_length"] == 200
        assert rows[2]["rollout/extrinsic_reward"] == -1
    state = newest_state(config)
    assert state["policy.trunk.0.weight"].shape == (64, observation_size)
    assert state["policy.actor.weight"].shape[0] == (num_actions or 1)
    assert ("policy.actor.log_std" in state) == (num_actions is None)
    # the random agent's 20 steps and three rollouts of 80, in four environments: the policy reads
    # normalised vectors, with a bonus or without
    assert float(state["obs_moments.count"]) == pytest.approx(4 * (20 + 3 * 80))


def test_a_resumed_run_on_an_environment_of_gymnasium_begins_new_episodes(tmp_path: Path) -> None:
    config = classic_run(tmp_path / "run", "MountainCar-v0", policy="recurrent")
    train(config, view=silent)
    before = newest_state(config)
    assert before["experience.memory"].any()
    shown: list[Metrics | str] = []
    more = with_settings(config, run={"total_transitions": 1600})
    begun: list[dict[str, Any]] = []

    def watched(env: Any, rollout: Rollout, backend: CpuBackend) -> None:
        vectors = backend.observations.state()["vectors"].copy()
        is_first, moments = rollout.is_first[0].copy(), backend.agent.obs_moments
        begun.append({"vectors": vectors, "is_first": is_first, "count": moments.count})
        collect(env, rollout, backend)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rndfast.runs.train, "collect", watched)
        train(more, resume=True, view=shown.append)
    message = "the environments begin new episodes: Gymnasium environments cannot be restored"
    assert message in shown
    # what it has learnt goes on
    assert begun[0]["count"] == float(before["obs_moments.count"])
    rows = rows_of(config)
    assert [row["transitions"] for row in rows] == [320, 640, 960, 1280, 1600]
    # and each environment is where a reset with a seed of its own puts it
    assert begun[0]["is_first"].all()
    for n, vector in enumerate(begun[0]["vectors"]):
        env = gymnasium.make("MountainCar-v0")
        np.testing.assert_array_equal(vector, env.reset(seed=episode_seed(1, 960) + n)[0])
    assert not begun[1]["is_first"].any()  # after 80 steps


def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tests.runs.test_train import short_run, silent
from rndfast.runs.train import train
run_dir = Path(sys.argv[1])
train(short_run(run_dir, int(sys.argv[2])), resume=run_dir.exists(), view=silent)
"""
    whole = short_run(tmp_path / "whole", 20 * ROLLOUT)
    train(whole, view=silent)
    killed = short_run(tmp_path / "killed", 20 * ROLLOUT)
    rng = np.random.default_rng(0)
    num_kills = 0
    while True:
        command = [sys.executable, "-c", script, str(killed.run.run_dir), str(20 * ROLLOUT)]
        with subprocess.Popen(command) as process:
            while num_kills < 3 and process.poll() is None:
                if list_checkpoints(killed.run.run_dir / "checkpoints"):
                    time.sleep(rng.uniform(0, 1))
                    process.kill()
                time.sleep(0.01)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        num_kills += 1
    assert num_kills >= 1
    assert_equal_ends(whole, killed)


def test_consoles_of_another_build_begin_new_episodes_and_this_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(short_run(tmp_path / "run", ROLLOUT), view=silent)

    def refuse(env: AtariVectorEnv, snapshot: bytes) -> None:
        raise ValueError("made by another build")

    monkeypatch.setattr(AtariVectorEnv, "restore", refuse)
    shown: list[Metrics | str] = []
    train(short_run(tmp_path / "run", 2 * ROLLOUT), resume=True, view=shown.append)
    assert "the environments begin new episodes: made by another build" in shown


@pytest.mark.parametrize("num_threads", [2, 3])
def test_results_do_not_depend_on_the_number_of_threads(
    tmp_path: Path, periodic_env: PeriodicEnv, num_threads: int
) -> None:
    states = []
    for threads in (1, num_threads):
        config = tiny_config(
            tmp_path / str(threads), num_threads=threads, micro_batch_size=4, total_transitions=48
        )
        train(config, view=silent)
        states.append(newest_state(config))
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_environments_are_reset_after_the_random_agent_played(
    tmp_path: Path, periodic_env: PeriodicEnv
) -> None:
    config = tiny_config(tmp_path / "run", total_transitions=ROLLOUT)
    train(config, view=silent)
    firsts = (config.run.seed, episode_seed(config.run.seed, 0))
    assert periodic_env.reset_seeds == [list(range(n, n + NUM_ENVS)) for n in firsts]
    assert firsts[0] != firsts[1]


@pytest.mark.parametrize("seed", [2**31 - 1, 2**32 - 1, 2**64 - 1, 10**40])
@pytest.mark.parametrize("env_id", ["rndfast/MontezumaRevenge-v5", "CartPole-v1"])
def test_environments_take_every_seed_that_a_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env_id: str, seed: int
) -> None:
    """Also those at which episodes begin, which come from the run's."""
    monkeypatch.setattr(rndfast.runs.train, "episode_seed", lambda *_: seed - 1)
    config = tiny_config(tmp_path / "run", total_transitions=1, seed=seed)
    atari = AtariConfig()
    if env_id.startswith("rndfast/"):
        atari = dataclasses.replace(config.atari, max_num_frames_per_episode=40)
    env = dataclasses.replace(config.env, env_id=env_id)
    train(dataclasses.replace(config, env=env, atari=atari), view=silent)
    episodes = evaluate(tmp_path / "run", episodes=2, seed=seed, record=False)
    assert min(episode.length_steps for episode in episodes) > 0


def test_a_run_on_the_real_game_writes_metrics_checkpoints_and_its_configuration(
    tmp_path: Path,
) -> None:
    laptop = PRESETS["laptop"]
    config = dataclasses.replace(
        laptop,
        env=dataclasses.replace(laptop.env, num_envs=4),
        atari=dataclasses.replace(laptop.atari, max_num_frames_per_episode=40),
        ppo=dataclasses.replace(laptop.ppo, rollout_steps=16, update_epochs=1),
        rnd=dataclasses.replace(laptop.rnd, obs_norm_steps=8),
        run=dataclasses.replace(
            laptop.run, run_dir=tmp_path / "run", total_transitions=128, precision="float32"
        ),
    )
    shown: list[Metrics | str] = []
    assert train(config, view=shown.append) == config.run.run_dir

    lines = (config.run.run_dir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["transitions"] for row in rows] == [64, 128]
    assert [update for update in shown if not isinstance(update, str)] == rows
    assert [row["charts/episodes"] for row in rows] == [4, 8]  # ends at steps 10, 20 and 30 of 32
    required = {
        "charts/episodic_return", "charts/episodic_length", "charts/SPS", "rnd/intrinsic_reward",
        "losses/policy", "losses/ext_value", "losses/int_value", "losses/entropy",
        "losses/predictor", "losses/approx_kl", "losses/clip_fraction", "losses/gradient_norm",
        "rnd/feature_variance", "charts/learning_rate",
        "charts/episodic_clipped_return", "perf/env_s", "perf/inference_s",
        "perf/bonus_s", "perf/learn_s",
    }  # fmt: skip
    for row in rows:
        assert required <= row.keys()
        assert row["charts/episodic_length"] == 10  # 40 frames at frameskip 4
        assert row["rnd/intrinsic_reward"] > 0
        assert 0 < row["losses/entropy"] <= np.log(18) + 1e-6
        phases = ("env", "inference", "bonus", "advantages", "learn", "log")
        assert all(row[f"perf/{phase}_s"] > 0 for phase in phases)
        assert sum(row[f"perf/{phase}_s"] for phase in phases) == pytest.approx(
            row["perf/iteration_s"]
        )
        assert row["charts/SPS"] * 4 == pytest.approx(row["perf/emulated_frames_per_s"])
    assert from_toml((config.run.run_dir / "config.toml").read_text()) == dataclasses.replace(
        config, run=resolved(config.run)
    )
    assert list((config.run.run_dir / "tensorboard").glob("events.*"))
    checkpoint = load_checkpoint(list_checkpoints(config.run.run_dir / "checkpoints")[0])
    assert checkpoint.transitions == 128


@pytest.mark.parametrize("poison", ["reward", "weights"])
def test_a_quantity_that_is_not_finite_stops_the_run_and_keeps_the_state_before_it(
    tmp_path: Path, periodic_env: PeriodicEnv, monkeypatch: pytest.MonkeyPatch, poison: str
) -> None:
    calls = 0
    before: dict[str, torch.Tensor] = {}

    def poisoned(env: Any, rollout: Any, backend: Any) -> None:
        nonlocal calls
        agent = backend.agent
        calls += 1
        if calls == 2:
            before.update(agent.state())
        collect(env, rollout, backend)
        if calls == 2 and poison == "reward":
            rollout.rewards_raw[3, 1] = np.nan
        elif calls == 2:
            with torch.no_grad():
                agent.policy.actor.weight[0, 0] = torch.inf

    monkeypatch.setattr(rndfast.runs.train, "collect", poisoned)
    config = tiny_config(tmp_path / "run", checkpoint_interval_rollouts=100)
    name = {"reward": "advantages", "weights": "losses/policy"}[poison]
    with pytest.raises(FloatingPointError, match=rf"^{name} must be finite, but \d+ of \d+ values"):
        train(config, view=silent)
    saved = newest_state(config)
    assert int(saved["transitions"]) == ROLLOUT
    for key, tensor in before.items():
        assert torch.equal(tensor, saved[key]), key


@pytest.mark.parametrize("int_coef", [1.0, 0.0])
@pytest.mark.parametrize("what", ["observations", "rewards"])
def test_what_an_environment_gives_and_is_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, int_coef: float
) -> None:
    car: Any = type(gymnasium.make("MountainCar-v0").unwrapped)
    step, calls = car.step, 0

    def poisoned(self: Any, action: Any) -> Any:
        nonlocal calls
        calls += 1
        observation, reward, *rest = step(self, action)
        if calls < 500:  # four environments' 20 random steps, 80 of a rollout, and 25
            return observation, reward, *rest
        if what == "observations":
            return np.full(2, np.nan, np.float32), reward, *rest
        return observation, np.inf, *rest

    monkeypatch.setattr(car, "step", poisoned)
    config = classic_run(tmp_path / "run", "MountainCar-v0", int_coef=int_coef)
    of = "2 of 8" if what == "observations" else "1 of 4"
    with pytest.raises(FloatingPointError, match=f"^the environments' {what} must be .* but {of}"):
        train(config, view=silent)
    assert int(newest_state(config)["transitions"]) == 4 * 80


def test_an_existing_run_directory_is_left_alone(tmp_path: Path, periodic_env: PeriodicEnv) -> None:
    config = tiny_config(tmp_path / "run")
    config.run.run_dir.mkdir()
    (config.run.run_dir / "notes").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already: choose another --run-dir"):
        train(config, view=silent)
    assert [path.name for path in config.run.run_dir.iterdir()] == ["notes"]


def test_a_run_that_is_stopped_before_it_began_leaves_no_directory(
    tmp_path: Path, periodic_env: PeriodicEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(rndfast.runs.train, "initialize_obs_moments", interrupted)
    config = tiny_config(tmp_path / "run")
    with pytest.raises(Interrupted, match="SIGTERM"):
        train(config, view=silent)
    assert not config.run.run_dir.exists()


def test_a_run_that_cannot_start_leaves_no_directory(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run")
    env_id = "rndfast/Montezooma-v5"
    wrong = dataclasses.replace(config, env=dataclasses.replace(config.env, env_id=env_id))
    with pytest.raises(ValueError, match="unknown game 'rndfast/Montezooma-v5'"):
        train(wrong, view=silent)
    assert not config.run.run_dir.exists()


def test_resume_skips_a_damaged_checkpoint_and_says_so(
    tmp_path: Path, periodic_env: PeriodicEnv
) -> None:
    config = tiny_config(tmp_path / "run", checkpoint_interval_rollouts=1)
    train(config, view=silent)
    damaged = list_checkpoints(config.run.run_dir / "checkpoints")[0]
    expected = newest_state(config)
    with (damaged / "agent.safetensors").open("r+b") as file:
        file.truncate(1000)
    shown: list[Metrics | str] = []
    train(config, resume=True, view=shown.append)
    assert "skipped a checkpoint" in str(shown[0])
    assert "agent.safetensors is damaged" in str(shown[0])
    # the lost rollout was played again, bit for bit, and its checkpoint is whole again
    again = newest_state(config)
    assert all(torch.equal(tensor, again[name]) for name, tensor in expected.items())
    rows = read_metrics(config.run.run_dir / "metrics.jsonl")
    assert [row["transitions"] for row in rows] == [ROLLOUT * k for k in (1, 2, 3, 4)]


def test_tensorboard_shows_the_mean_observation_at_each_checkpoint(
    tmp_path: Path, periodic_env: PeriodicEnv
) -> None:
    config = tiny_config(tmp_path / "run", checkpoint_interval_rollouts=2)
    train(config, view=silent)
    events = EventAccumulator(str(config.run.run_dir / "tensorboard"))
    events.Reload()
    images = events.Images("rnd/observation_mean")
    assert [image.step for image in images] == [2 * ROLLOUT, 4 * ROLLOUT]
    encoded = io.BytesIO(images[-1].encoded_image_string)
    shown = np.asarray(Image.open(encoded).convert("L"), np.float64)
    mean = newest_state(config)["obs_moments.mean"][0].numpy()
    assert np.abs(shown - mean).max() <= 1
    assert np.ptp(mean) > 50
