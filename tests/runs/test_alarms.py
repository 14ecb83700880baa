"""Alarms are raised by runs that go wrong, each in its own way, and by no healthy run."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference.halves import Step
from tests.tiny import NUM_ENVS, STEPS, PeriodicEnv, tiny_config
from torch import nn

import rndfast.runs.description
import rndfast.runs.train
from rndfast.commands.info import describe_run
from rndfast.config import Config
from rndfast.learner.agent import Agent
from rndfast.learner.rollout import collect
from rndfast.runs.alarms import RULES, Alarm, find_alarms
from rndfast.runs.metrics import Metrics, read_metrics
from rndfast.runs.train import train

ROLLOUT = NUM_ENVS * STEPS
CURVES = Path(__file__).parent.parent / "data" / "curves"


# --- runs that go wrong -----------------------------------------------------------------------

TINY = 1e-12  # a learning rate at which nothing is learnt


class FaultyEnv(PeriodicEnv):
    """Changes for the worse some steps after a reset."""

    has_snapshots = False

    def __init__(self, changes_at_step: int, **faults: Any) -> None:
        super().__init__()
        self._changes_at_step, self._faults = changes_at_step, faults
        self._steps = 0

    def reset(self, *, seed: int | list[int] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        self._steps = 0
        return super().reset(seed=seed)

    def step(self, actions: NDArray[Any]) -> Step:
        self._steps += 1
        is_faulty = self._steps > self._changes_at_step
        if is_faulty and "pictures" in self._faults:
            self.pictures = self._faults["pictures"]
        observations, rewards, terminated, truncated, info = super().step(actions)
        if is_faulty and "reward" in self._faults:
            rewards = np.full_like(rewards, self._faults["reward"])
            info["reward_raw"] = rewards
            info["episode_return"] = np.full_like(rewards, STEPS * self._faults["reward"])
        if is_faulty and self._faults.get("ends") == "never":
            terminated = np.zeros_like(terminated)
        if is_faulty and self._faults.get("ends") == "at the limit":
            terminated, truncated = truncated, terminated
            info["final_obs"] = observations
        return observations, rewards, terminated, truncated, info


def run_of(
    run_dir: Path,
    env: PeriodicEnv,
    num_rollouts: int,
    alter: Callable[[Agent], None] | None = None,
    **settings: dict[str, Any],
) -> Config:
    """Train, after the agent has been altered; few features make it quick."""
    config = tiny_config(run_dir, total_transitions=num_rollouts * ROLLOUT)
    settings = settings | {"rnd": {"num_features": 16} | settings.get("rnd", {})}
    config = dataclasses.replace(
        config,
        **{
            name: dataclasses.replace(getattr(config, name), **values)
            for name, values in settings.items()
        },
    )

    def altered(env: Any, rollout: Any, backend: Any) -> None:
        if backend.agent.transitions == 0 and alter is not None:
            with torch.no_grad():
                alter(backend.agent)
        collect(env, rollout, backend)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rndfast.runs.train, "make_env", lambda *_: env)
        patch.setattr(rndfast.runs.train, "collect", altered)
        train(config, view=lambda _: None)
    return config


def raised(config: Config) -> dict[str, Alarm]:
    """The alarms of a run, by name."""
    rows = read_metrics(config.run.run_dir / "metrics.jsonl")
    return {alarm.name: alarm for alarm in find_alarms(rows, STEPS)}


def predictor_of(agent: Agent) -> nn.Sequential:
    assert agent.bonus is not None
    return agent.bonus.networks.predictor.layers


def test_a_predictor_that_learns_nothing(tmp_path: Path) -> None:
    config = run_of(tmp_path / "run", PeriodicEnv(), 50, ppo={"learning_rate": TINY})
    alarm = raised(config)["predictor_stalled"]
    assert alarm.transitions == 50 * ROLLOUT
    assert alarm.value > alarm.threshold


def test_a_predictor_that_knows_everything(tmp_path: Path) -> None:
    def copy_target(agent: Agent) -> None:
        assert agent.bonus is not None
        networks = agent.bonus.networks
        networks.predictor.load_state_dict(networks.target.state_dict())

    config = run_of(
        tmp_path / "run",
        PeriodicEnv(),
        20,
        copy_target,
        ppo={"learning_rate": TINY},
        rnd={"predictor_hidden_layers": 0},
    )
    alarm = raised(config)["predictor_saturated"]
    assert alarm.transitions == 20 * ROLLOUT
    assert alarm.value < alarm.threshold


def test_a_predictor_that_diverges(tmp_path: Path) -> None:
    config = run_of(tmp_path / "run", PeriodicEnv(), 6, ppo={"learning_rate": 0.1})
    assert raised(config)["predictor_exploding"].value > 10


def test_a_target_that_tells_nothing_apart(tmp_path: Path) -> None:
    env = PeriodicEnv()
    env.pictures[:] = 100
    config = run_of(tmp_path / "run", env, 10)
    alarm = raised(config)["dead_features"]
    assert (alarm.transitions, alarm.value) == (10 * ROLLOUT, 1.0)


def test_units_that_are_never_active_and_values_that_are_all_the_same(tmp_path: Path) -> None:
    def kill(agent: Agent) -> None:
        for layers in (agent.policy.trunk, predictor_of(agent)):
            for layer in layers:
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    assert layer.bias is not None
                    layer.bias -= 1e4

    config = run_of(tmp_path / "run", PeriodicEnv(), 60, kill)
    alarms = raised(config)
    assert {"dead_policy_units", "dead_predictor_units", "int_value_collapse"} <= alarms.keys()
    assert alarms["dead_policy_units"].value == 1
    assert alarms["int_value_collapse"].transitions == 50 * ROLLOUT
    assert "ext_value_collapse" in alarms  # there are rewards in nearly all rollouts


def test_a_single_value_head_that_collapses(tmp_path: Path) -> None:
    def kill(agent: Agent) -> None:
        last = agent.policy.trunk[-2]
        assert isinstance(last, nn.Linear)
        last.bias.sub_(1e4)

    ppo = {"two_value_heads": False, "ext_gamma": 0.99, "int_gamma": 0.99}
    config = run_of(tmp_path / "run", PeriodicEnv(), 50, kill, ppo=ppo)
    alarms = raised(config)
    assert "combined_value_collapse" in alarms
    assert "int_value_collapse" not in alarms


def test_a_bonus_whose_scale_jumps(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, PeriodicEnv().pictures.shape, dtype=np.uint8)
    env = FaultyEnv(40 * STEPS, pictures=noise)
    env.pictures[:] = np.arange(100, 100 + STEPS)[:, None, None, None]
    config = run_of(tmp_path / "run", env, 50, ppo={"int_gamma": 0.5})
    alarm = raised(config)["bonus_scale_drift"]
    assert alarm.transitions >= 40 * ROLLOUT
    assert alarm.value > 2


def test_an_agent_whose_episodes_do_not_end(tmp_path: Path) -> None:
    config = run_of(tmp_path / "run", FaultyEnv(5 * STEPS, ends="never"), 30)
    alarms = raised(config)
    # episodes of 6 steps, the last of which ended at step 30
    alarm = alarms["episodes_stopped_ending"]
    assert alarm.transitions == (5 + 21) * ROLLOUT
    assert alarm.value == 21
    assert "episodes_run_out" not in alarms


@pytest.mark.parametrize(("reward", "is_alarming"), [(-1.0, True), (1.0, False)])
def test_an_agent_whose_episodes_run_into_the_limit(
    tmp_path: Path, reward: float, is_alarming: bool
) -> None:
    """Where that pays it is no fault: a pole that is balanced to the end is a success."""
    env = FaultyEnv(5 * STEPS, ends="at the limit", reward=reward)
    config = run_of(tmp_path / "run", env, 26)
    rows = read_metrics(config.run.run_dir / "metrics.jsonl")
    assert [row["charts/truncated_episodes"] for row in rows] == [0] * 5 + [1] * 21
    assert ("episodes_run_out" in raised(config)) == is_alarming


# --- healthy runs -----------------------------------------------------------------------------


def curve(name: str) -> list[Metrics]:
    with gzip.open(CURVES / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    ("name", "rollout_steps", "num_rollouts"),
    [
        ("montezuma-28m", 128, 1749),
        ("montezuma-laptop", 64, 103),
        ("cartpole", 128, 147),
        ("lunar-lander", 128, 147),
        ("mountain-car", 128, 196),
    ],
)
def test_a_healthy_run_raises_no_alarm(name: str, rollout_steps: int, num_rollouts: int) -> None:
    rows = curve(name)
    assert len(rows) >= num_rollouts
    assert [str(alarm) for alarm in find_alarms(rows, rollout_steps)] == []


def test_a_run_that_found_that_not_moving_costs_least_raises_one() -> None:
    """MountainCarContinuous: force costs, so that it soon stays in the valley until the limit."""
    (alarm,) = find_alarms(curve("mountain-car-continuous"), 128)
    assert alarm.name == "episodes_run_out"


# --- when exactly -----------------------------------------------------------------------------


def row_of(number: int, **metrics: float | None) -> Metrics:
    return {"transitions": number * ROLLOUT, **metrics}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_is_explained(rule: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{rule.name}`")]
    threshold, rollouts = (cell.strip() for cell in row.split("|")[3:5])
    assert threshold == f"{rule.side} {rule.threshold:g}"
    assert rollouts == str(rule.rollouts)


def test_an_alarm_needs_its_number_of_rollouts_in_a_row_and_is_raised_once() -> None:
    def alarms(shares: Sequence[float | None]) -> list[Alarm]:
        rows = [row_of(n, **{"health/dead_features": share}) for n, share in enumerate(shares, 1)]
        return find_alarms(rows, STEPS)

    assert alarms([0.9] * 9 + [0.5] + [0.9] * 9) == []
    (alarm,) = alarms([0.1] + [0.9] * 4 + [None] + [0.9] * 30)  # None says nothing
    assert alarm.transitions == 12 * ROLLOUT
    assert str(alarm).startswith(
        "alarm dead_features at 288 transitions: health/dead_features is 0.9, above 0.5 in 10 "
        "rollouts: most of the target's features"
    )


def test_value_heads_without_rewards_have_nothing_to_foresee() -> None:
    def alarms(reward: float) -> list[Alarm]:
        metrics = {"rollout/ext_explained_variance": 0.0, "rollout/extrinsic_reward": reward}
        return find_alarms([row_of(n, **metrics) for n in range(60)], STEPS)

    assert alarms(0.0) == []
    assert [alarm.name for alarm in alarms(0.01)] == ["ext_value_collapse"]


def test_rows_of_an_earlier_version_and_rows_with_gaps_are_read() -> None:
    rows: list[Metrics] = [{"transitions": n} for n in range(100)]
    rows[50] = {}
    assert find_alarms(rows, STEPS) == []


# --- where they are told ----------------------------------------------------------------------


def test_an_alarm_is_shown_recorded_and_not_repeated_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env = PeriodicEnv()
    env.pictures[:] = 100
    monkeypatch.setattr(rndfast.runs.train, "make_env", lambda *_: env)
    config = tiny_config(tmp_path / "run", total_transitions=12 * ROLLOUT)
    shown: list[Metrics | str] = []
    train(config, view=shown.append)
    run_dir = config.run.run_dir
    rows = read_metrics(run_dir / "metrics.jsonl")
    (alarm,) = find_alarms(rows, STEPS)
    assert [row["health/alarms"] for row in rows] == [0] * 9 + [1] * 3
    assert shown.count(str(alarm)) == 1
    after = shown[shown.index(str(alarm)) + 1]
    assert isinstance(after, dict)
    assert after["transitions"] == alarm.transitions
    (line,) = (run_dir / "alarms.jsonl").read_text().splitlines()
    assert json.loads(line) == alarm._asdict()

    more = dataclasses.replace(config.run, total_transitions=24 * ROLLOUT)
    shown.clear()
    train(dataclasses.replace(config, run=more), resume=True, view=shown.append)
    assert [text for text in shown if isinstance(text, str) and text.startswith("alarm")] == []
    assert len((run_dir / "alarms.jsonl").read_text().splitlines()) == 1
    rows = read_metrics(run_dir / "metrics.jsonl")
    assert [row["health/alarms"] for row in rows[9:]] == [1] * 15

    monkeypatch.setattr(rndfast.runs.description, "make_env_to_play", lambda *_, **__: env)
    describe_run(run_dir)
    assert "alarm dead_features at 240 transitions" in capsys.readouterr().out


def test_an_alarm_of_rollouts_that_are_played_again_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = PeriodicEnv()
    env.pictures[:] = 100
    monkeypatch.setattr(rndfast.runs.train, "make_env", lambda *_: env)
    config = tiny_config(
        tmp_path / "run", total_transitions=8 * ROLLOUT, checkpoint_interval_rollouts=4
    )
    train(config, view=lambda _: None)
    record = config.run.run_dir / "alarms.jsonl"
    assert not record.exists()
    # as a run leaves it that was killed two rollouts later
    rows = read_metrics(config.run.run_dir / "metrics.jsonl")
    with (config.run.run_dir / "metrics.jsonl").open("a") as file:
        for n in (9, 10):
            file.write(json.dumps({**rows[-1], "transitions": n * ROLLOUT}) + "\n")
    record.write_text("{}\n")
    more = dataclasses.replace(config.run, total_transitions=9 * ROLLOUT)
    train(dataclasses.replace(config, run=more), resume=True, view=lambda _: None)
    assert record.read_text() == ""
