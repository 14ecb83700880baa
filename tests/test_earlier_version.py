"""Runs of the version before, whose configuration had Atari's settings in ``[env]``.

``data/earlier_version`` is of a checkpoint that it wrote: the configuration, and the name, dtype
and shape of every tensor. The numbers in them, megabytes, are made here.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
import torch

from rndfast.commands.arguments import parse_train
from rndfast.commands.main import main
from rndfast.config import from_toml, load_run_config, to_toml
from rndfast.runs.checkpoint import load_newest_checkpoint, save_checkpoint
from rndfast.runs.evaluate import evaluate

DATA = Path(__file__).parent / "data" / "earlier_version"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, (dtype, shape) in json.loads((DATA / "layout.json").read_text()).items():
        numbers = torch.rand(shape, generator=generator, dtype=torch.float64) * 0.01 + 0.01
        state[name] = numbers.to(getattr(torch, dtype))
    state["generator"] = generator.get_state()
    consoles = zlib.compress(b"of another build")
    state["experience.consoles.0"] = torch.frombuffer(bytearray(consoles), dtype=torch.uint8)
    config = (DATA / "config.toml").read_text()
    save_checkpoint(tmp_path / "run" / "checkpoints", 16, state, config, keep=1)
    (tmp_path / "run" / "config.toml").write_text(config)
    return tmp_path / "run"


def test_a_configuration_of_the_version_before_is_read(run_dir: Path) -> None:
    config = load_run_config(run_dir)
    assert (config.env.num_envs, config.ppo.max_grad_norm) == (2, 0.5)
    atari = config.atari
    assert (atari.frameskip, atari.stack_num, atari.noop_max) == (2, 2, 3)
    assert not atari.pool_before_grey  # which there was not: what the agent saw stays as it was
    assert (atari.img_height, atari.img_width) == (52, 44)
    assert (atari.max_num_frames_per_episode, atari.episodic_life) == (20, True)
    assert "[atari]\nframeskip = 2\n" in to_toml(config)
    assert parse_train(["--resume", str(run_dir), "--num-threads=1"]).settings.atari == atari


def test_its_agent_plays_and_is_described(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = evaluate(run_dir, episodes=2, record=False, num_threads=1)
    assert [episode.length_steps for episode in episodes] == [10, 10]  # 20 frames at frameskip 2
    assert min(episodes[0].int_rewards) > 0
    assert main(["info", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert "2 environments x 4 steps" in shown
    assert "step-000000000016: verified" in shown


def test_its_run_goes_on(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run_dir), "--total-transitions=24"]) == 0
    shown = capsys.readouterr().out
    assert "the environments begin new episodes: these bytes are not a snapshot" in shown
    assert load_newest_checkpoint(run_dir / "checkpoints")[0].transitions == 24


def test_its_flags_are_still_flags(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text("[env]\nnum_envs = 8\nframeskip = 2\n")
    flags = [f"--config={tmp_path / 'old.toml'}", "--noop-max=7", "--no-maxpool", "--num-envs=12"]
    config = parse_train(flags).settings
    assert (config.env.num_envs, config.atari.frameskip, config.atari.noop_max) == (12, 2, 7)
    assert not config.atari.maxpool


@pytest.mark.parametrize(
    ("text", "pool_before_grey"),
    [
        ("[env]\nframeskip = 4", False),  # that version always pooled greys
        ("[env]\nframeskip = 4\n[atari]\npool_before_grey = true", True),
        ("[env]\nnum_envs = 8", True),  # any version's
        ("[env]\nenv_id = 'MountainCar-v0'\nframeskip = 4", True),  # the default: not Atari
    ],
)
def test_its_games_are_seen_as_it_saw_them(text: str, pool_before_grey: bool) -> None:
    assert from_toml(text).atari.pool_before_grey == pool_before_grey
