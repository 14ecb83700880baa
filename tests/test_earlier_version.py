"""Runs of the version before, whose configuration had Atari's settings in ``[env]``.

In ``data/earlier_version`` are checkpoints that it wrote. Of two there are only the configuration
and the name, dtype and shape of every tensor: their numbers, megabytes, are made here.
``played.json`` is what its own ``rndfast eval`` said of them.
"""

from __future__ import annotations

import json
import shutil
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
RUNS = ["atari", "mountain-car", "pendulum", "recurrent"]  # the third without a bonus


def make_run(name: str, run_dir: Path) -> Path:
    """The run whose checkpoint ``name`` is."""
    data, checkpoints = DATA / name, run_dir / "checkpoints"
    config = (data / "config.toml").read_text()
    if (data / "layout.json").exists():
        generator = torch.Generator().manual_seed(0)
        state = {}
        for tensor, (dtype, shape) in json.loads((data / "layout.json").read_text()).items():
            numbers = torch.rand(shape, generator=generator, dtype=torch.float64) * 0.01 + 0.01
            state[tensor] = numbers.to(getattr(torch, dtype))
        state["generator"] = generator.get_state()
        consoles = zlib.compress(b"of another build")
        state["experience.consoles.0"] = torch.frombuffer(bytearray(consoles), dtype=torch.uint8)
        save_checkpoint(checkpoints, 16, state, config, keep=1)
    else:
        shutil.copytree(data, checkpoints / "step-000000000000")
    (run_dir / "config.toml").write_text(config)
    return run_dir


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run("atari", tmp_path / "run")


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


@pytest.mark.parametrize("name", RUNS)
def test_its_agents_play_as_they_did(name: str, tmp_path: Path) -> None:
    episodes = evaluate(make_run(name, tmp_path), episodes=2, seed=3, record=False, num_threads=1)
    expected = json.loads((DATA / "played.json").read_text())[name]
    for episode, (ext_return, length_steps, int_rewards) in zip(episodes, expected, strict=True):
        assert episode.length_steps == length_steps
        assert episode.ext_return == pytest.approx(ext_return, rel=1e-4)
        # to the end of the episode, by which a difference in one action would show
        assert episode.int_rewards[-5:] == pytest.approx(int_rewards, rel=1e-3)


@pytest.mark.parametrize("name", RUNS)
def test_its_runs_are_described(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(make_run(name, tmp_path))]) == 0
    shown = capsys.readouterr().out
    assert "2 environments x " in shown
    assert ": verified" in shown


def test_its_run_goes_on(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run_dir), "--total-transitions=24"]) == 0
    shown = capsys.readouterr().out
    assert "the environments begin new episodes: these bytes are not a snapshot" in shown
    assert load_newest_checkpoint(run_dir / "checkpoints")[0].transitions == 24


def test_a_run_with_memory_does_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second bias of its memory learnt too, so that the optimiser's state is another."""
    run_dir = make_run("recurrent", tmp_path)
    assert main(["train", "--resume", str(run_dir), "--total-transitions=48"]) != 0
    assert "state 'optimizer." in capsys.readouterr().err


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
