"""Checkpoints whose sums are right and whose content is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

import rndfast
from rndfast.commands.main import main
from rndfast.config import Config, from_toml, load_run_config
from rndfast.envs.gymnasium_envs import GymVectorEnv
from rndfast.envs.make import make_env
from rndfast.presets import PRESETS, Preset
from rndfast.runs.checkpoint import (
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    load_newest_checkpoint,
)
from rndfast.runs.description import describe_agent, playable_state, require_resumable
from rndfast.runs.evaluate import evaluate
from rndfast.runs.metrics import Metrics
from rndfast.runs.state import inflated
from rndfast.runs.train import train

MIB = 1 << 20


def silent(_: Metrics | str) -> None:
    """A view that shows nothing."""


def small(preset: Preset, run_dir: Path, env: dict[str, Any], **changed: dict[str, Any]) -> Config:
    """Two rollouts of four steps in four environments."""
    config = PRESETS[preset]
    sections: dict[str, dict[str, Any]] = {
        "env": {"num_envs": 4, **env},
        "ppo": {"rollout_steps": 4, "update_epochs": 1, **changed.pop("ppo", {})},
        "rnd": {"obs_norm_steps": 2, "num_features": 16},
        "run": {
            "run_dir": run_dir,
            "total_transitions": 32,
            "num_threads": 1,
            "precision": "float32",
            "checkpoint_interval_rollouts": 1,
        },
        **changed,
    }
    replaced = {
        name: dataclasses.replace(getattr(config, name), **values)
        for name, values in sections.items()
    }
    return dataclasses.replace(config, **replaced)


ATARI = {"img_height": 52, "img_width": 44}
RECURRENT = {"policy": "recurrent", "two_value_heads": False, "int_gamma": 0.999}


@pytest.mark.parametrize(
    ("preset", "env", "changed"),
    [
        ("laptop", {}, {"atari": ATARI}),
        ("laptop", {}, {"atari": ATARI | {"grayscale": False, "stack_num": 2}}),
        ("laptop", {}, {"atari": ATARI, "ppo": RECURRENT}),
        ("laptop", {}, {"atari": ATARI, "ppo": {"int_coef": 0.0}}),
        ("classic", {"env_id": "CartPole-v1"}, {}),
        ("classic", {"env_id": "Pendulum-v1"}, {"ppo": {"policy": "recurrent"}}),
        ("classic", {"env_id": "CartPole-v1"}, {"ppo": {"int_coef": 0.0}}),
    ],
)
def test_the_description_is_that_of_the_states_that_runs_save(
    tmp_path: Path, preset: Preset, env: dict[str, Any], changed: dict[str, Any]
) -> None:
    config = small(preset, tmp_path / "run", env, **changed)
    train(config, view=silent)
    with_env = make_env(config, 1)
    description = describe_agent(config, with_env)
    described = {name: (of.dtype, of.shape) for name, of in description.items()}
    newest, *_, first = list_checkpoints(tmp_path / "run" / "checkpoints")
    for path in (newest, first):
        checkpoint = load_checkpoint(path)
        saved = {
            name: (tensor.dtype, tuple(tensor.shape))
            for name, tensor in checkpoint.state.items()
            if ".consoles." not in name
        }
        if path == first:  # before the optimiser's first step
            described = {n: of for n, of in described.items() if not n.startswith("optimizer.")}
        assert saved == described
        require_resumable(checkpoint, config, with_env)
        assert playable_state(checkpoint, config, with_env).keys() <= saved.keys()
        described = {name: (of.dtype, of.shape) for name, of in description.items()}
    with_env.close()


def test_nothing_large_is_made_to_describe_large_settings() -> None:
    paper = PRESETS["paper"]
    config = dataclasses.replace(
        paper, rnd=dataclasses.replace(paper.rnd, num_features=65_536, predictor_hidden_layers=64)
    )
    env = rndfast.AtariVectorEnv("pong", 1)
    tracemalloc.start()
    description = describe_agent(config, env)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    env.close()
    assert description["rnd.predictor.layers.9.weight"].shape == (65_536, 65_536)  # 16 GiB
    assert peak < 20 * MIB


# --- one tensor is wrong ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on MountainCar with three checkpoints."""
    run_dir = tmp_path_factory.mktemp("described") / "run"
    train(small("classic", run_dir, {}), view=silent)
    return run_dir


class Parts:
    """A run's newest checkpoint, its settings, and environments of them."""

    def __init__(self, run_dir: Path) -> None:
        self.config = load_run_config(run_dir)
        self.checkpoint = load_newest_checkpoint(run_dir / "checkpoints")[0]
        self.env = GymVectorEnv(self.config.env.env_id, 1)

    def check(self, state: dict[str, Tensor]) -> None:
        """Take a state for one that can be resumed."""
        changed = dataclasses.replace(self.checkpoint, state=state)
        require_resumable(changed, self.config, self.env)

    def check_to_play(self, state: dict[str, Tensor]) -> None:
        """Take a state for one that can play."""
        changed = dataclasses.replace(self.checkpoint, state=state)
        playable_state(changed, self.config, self.env)


@pytest.fixture(scope="module")
def parts(trained: Path) -> Iterator[Parts]:
    parts = Parts(trained)
    yield parts
    parts.env.close()


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """The tensor with its last number another one."""

    def fill(tensor: Tensor) -> Tensor:
        changed = tensor.clone().reshape(-1)
        changed[-1] = value
        return changed.reshape(tensor.shape)

    return fill


CHANGES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "missing": lambda _: None,
    "int64": lambda tensor: tensor.to(torch.int64 if tensor.dtype != torch.int64 else torch.int32),
    "float16": lambda tensor: tensor.to(torch.float16),
    "one more axis": lambda tensor: tensor[None],
    "one number more": lambda tensor: torch.cat((tensor.reshape(-1), tensor.reshape(-1)[:1])),
    "empty": lambda tensor: tensor.reshape(-1)[:0],
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_tensor_that_is_missing_or_of_another_kind_is_named(
    parts: Parts, change: str
) -> None:
    for name, tensor in parts.checkpoint.state.items():
        if (name, change) in ALLOWED or tensor.numel() == 0:
            continue
        changed = CHANGES[change](tensor)
        others = {key: of for key, of in parts.checkpoint.state.items() if key != name}
        state = others if changed is None else others | {name: changed}
        with pytest.raises(CheckpointError, match=rf"state '{name}"):
            parts.check(state)
        if name.startswith(("experience.", "optimizer.")):
            parts.check_to_play(state)
        else:
            with pytest.raises(CheckpointError, match=rf"state '{name}"):
                parts.check_to_play(state)


# An earlier version did not have them.
ALLOWED = {
    ("experience.earlier_returns", "missing"),
    ("experience.earlier_lengths_steps", "missing"),
}


def test_an_unknown_tensor_is_named(parts: Parts) -> None:
    for name in ("policy.extra", "extra", "obs_moments.median"):
        state = parts.checkpoint.state | {name: torch.zeros(1)}
        for check in (parts.check, parts.check_to_play):
            with pytest.raises(CheckpointError, match=f"state '{name}' is unknown"):
                check(state)
    for name in ("experience.extra", "optimizer.99.step", "optimizer.0.lr"):
        with pytest.raises(CheckpointError, match=f"state '{name}' is unknown"):
            parts.check(parts.checkpoint.state | {name: torch.zeros(1)})


OUT_OF_RANGE = [
    ("transitions", -1),
    ("transitions", 2**62 + 1),
    ("obs_moments.count", 1e300),
    ("obs_moments.count", -1.0),
    ("obs_moments.count", 0.0),
    ("obs_moments.m2", -1e-9),
    ("int_return_moments.count", 1e300),
    ("int_return_moments.m2", -1.0),
    ("optimizer.3.step", -1.0),
    ("optimizer.3.exp_avg_sq", -1e-12),
    ("experience.earlier_lengths_steps", -1),
    ("experience.rooms.first_visits", -2),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_number_out_of_its_range_is_named(parts: Parts, name: str, value: float) -> None:
    state = dict(parts.checkpoint.state)
    state[name] = filled(value)(state[name])
    with pytest.raises(CheckpointError, match=rf"state '{name}' must be in \[.*\], got "):
        parts.check(state)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number_may_be_infinite_or_none(parts: Parts, value: float) -> None:
    for name, tensor in parts.checkpoint.state.items():
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        state = parts.checkpoint.state | {name: filled(value)(tensor)}
        if name == "experience.vectors" and np.isinf(value):
            parts.check(state)  # an environment may say so
            continue
        with pytest.raises(CheckpointError, match=f"state '{name}' must be in"):
            parts.check(state)


def test_a_truth_that_is_neither_true_nor_false_is_named(parts: Parts) -> None:
    name = "experience.is_first"
    odd = torch.tensor([0, 1, 2, 0], dtype=torch.uint8).view(torch.bool)
    with pytest.raises(CheckpointError, match=rf"'{name}' must be in \[0, 1\], got 2"):
        parts.check(parts.checkpoint.state | {name: odd})


def test_a_generator_that_draws_nothing_is_named(parts: Parts) -> None:
    own = parts.checkpoint.state["generator"]
    noise = torch.randint(0, 256, own.shape, generator=torch.Generator().manual_seed(0))
    zeros, kept = own.clone(), own.clone()
    zeros[24 : 24 + 624 * 8] = 0  # its words
    kept[-32:-24] = torch.tensor([torch.nan], dtype=torch.float64).view(torch.uint8)  # a number
    kept[-16] = 1  # that is drawn next
    for state in (torch.zeros_like(own), noise.to(torch.uint8), zeros, kept):
        with pytest.raises(CheckpointError, match="'generator' must be a random generator's"):
            parts.check(parts.checkpoint.state | {"generator": state})


def compressed(data: bytes) -> Tensor:
    """As a checkpoint holds consoles."""
    return torch.frombuffer(bytearray(zlib.compress(data)), dtype=torch.uint8)


def test_consoles_that_are_no_zlib_data_or_too_much_are_refused(parts: Parts) -> None:
    name = "experience.consoles.0"
    whole = compressed(np.random.default_rng(0).bytes(100_000))
    bomb = compressed(bytes(2 << 30))
    assert len(bomb) < 3 * MIB
    wrong = [
        ("no zlib data", torch.arange(100, dtype=torch.uint8)),
        ("cut off", torch.zeros(0, dtype=torch.uint8)),
        ("cut off", whole[:-10]),
        ("larger than", bomb),
    ]
    for reason, tensor in wrong:
        tracemalloc.start()
        with pytest.raises(CheckpointError, match=rf"'{name}' .* {reason}"):
            parts.check(parts.checkpoint.state | {name: tensor})
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB  # four environments
        tracemalloc.stop()
    assert inflated(whole, 4) == np.random.default_rng(0).bytes(100_000)
    for others in ({"experience.consoles.2": whole}, {"experience.consoles.00": whole}):
        with pytest.raises(CheckpointError, match=r"'experience\.consoles\.1' must be there"):
            parts.check(parts.checkpoint.state | others)


# --- the next older one is tried --------------------------------------------------------------


def rewrite(path: Path, name: str, data: bytes) -> None:
    """Put other content into a checkpoint, with the right sum."""
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def rewrite_state(path: Path, **changed: Tensor | None) -> None:
    """Replace some tensors, or remove them."""
    state = load_checkpoint(path).state | changed
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    rewrite(path, "agent.safetensors", safetensors.torch.save(kept))


def header_of(entries: dict[str, Any]) -> bytes:
    """A safetensors file without data."""
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


WRONG_FILES: dict[str, tuple[str, bytes, str]] = {
    "deep manifest": ("manifest.json", b"[" * 500_000, "not JSON"),
    "deep values": (
        "manifest.json",
        b'{"format": 1, "transitions": 1, "sha256": ' + b'{"a":' * 90_000 + b"1",
        "not JSON",
    ),
    "deep settings": ("config.toml", b"[env]\nnum_envs = " + b"[" * 100_000, "nested too deeply"),
    "no text": ("config.toml", b"\xff\xfe", "no text in UTF-8"),
    "long settings": ("config.toml", b"#" * 1_000_001, "larger than 1000000 bytes"),
    "no settings": ("config.toml", b"[[", "not a TOML file"),
    "huge settings": ("config.toml", b"[rnd]\nnum_features = 1000000000", "at most 65,536"),
    "endless settings": (
        "config.toml",
        b"[rnd]\npredictor_hidden_layers = 1000000000",
        "at most 64",
    ),
    "long header": ("agent.safetensors", (1 << 40).to_bytes(8, "little") + b"{}", "too long"),
    "no data": (
        "agent.safetensors",
        header_of({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        "is no safetensors file",
    ),
    "overflowing shape": (
        "agent.safetensors",
        header_of({"x": {"dtype": "F32", "shape": [1 << 62, 4, 0], "data_offsets": [0, 0]}}),
        "agent.safetensors",
    ),
    "odd type": (
        "agent.safetensors",
        header_of({"x": {"dtype": "F8_E8M0", "shape": [0], "data_offsets": [0, 0]}}),
        "agent.safetensors",
    ),
    "deep header": (
        "agent.safetensors",
        (400_000).to_bytes(8, "little") + b"[" * 400_000,
        "is no safetensors file",
    ),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_wrong_file_is_named_and_the_next_older_checkpoint_is_played(
    trained: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    name, data, reason = WRONG_FILES[kind]
    newest, older, _ = list_checkpoints(run_dir / "checkpoints")
    if name == "manifest.json":
        (newest / name).write_bytes(data)
    else:
        rewrite(newest, name, data)
    assert main(["eval", str(run_dir), "--episodes=1", "--no-record"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "skipped a checkpoint: " in shown
    assert reason in shown
    assert f"1 episodes of {older.name}" in shown


@pytest.mark.parametrize("command", ["eval", "train", "info"])
@pytest.mark.parametrize("size", [3 << 30, 40 << 30])
def test_a_sparse_file_is_not_read(
    trained: Path, tmp_path: Path, command: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    newest = list_checkpoints(run_dir / "checkpoints")[0]
    os.truncate(newest / "agent.safetensors", size)
    flags = {"eval": ["--episodes=1", "--no-record"]}.get(command, [])
    argv = ["--resume", str(run_dir)] if command == "train" else [str(run_dir), *flags]
    code = main([command, *argv])
    captured = capsys.readouterr()
    assert code == (command == "info")  # which says that one is damaged
    assert "agent.safetensors is damaged: larger than" in " ".join(captured.out.split())


@pytest.mark.parametrize(
    "transitions", ["-1", "1e300", "true", str(10**30), "9" * 5000, "null", '"1"', "1.0"]
)
def test_a_wrong_count_in_a_manifest_is_named(
    trained: Path, tmp_path: Path, transitions: str
) -> None:
    path = tmp_path / "step-000000000032"
    shutil.copytree(list_checkpoints(trained / "checkpoints")[0], path)
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(
        text.replace('"transitions": 32', f'"transitions": {transitions}')
    )
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy.actor.bias", torch.zeros(3, dtype=torch.float16)),
        ("policy.actor.bias", torch.full((3,), torch.nan)),
        ("obs_moments.count", torch.tensor(1e300, dtype=torch.float64)),
        ("transitions", None),
        ("generator", torch.zeros(5056, dtype=torch.uint8)),
    ],
)
def test_a_wrong_tensor_is_named_and_the_next_older_checkpoint_is_used(
    trained: Path, tmp_path: Path, name: str, value: Tensor | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    newest, older, _ = list_checkpoints(run_dir / "checkpoints")
    rewrite_state(newest, **{name: value})
    assert main(["eval", str(run_dir), "--episodes=1", "--no-record"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"state '{name}' must be" in shown
    assert f"1 episodes of {older.name}" in shown
    with pytest.raises(CheckpointError, match=f"state '{name}' must be"):
        evaluate(run_dir, checkpoint_name=newest.name, episodes=1, record=False)
    assert rndfast.load_agent(run_dir).transitions == 16
    capsys.readouterr()
    assert main(["info", str(run_dir)]) == 1
    shown = capsys.readouterr().out
    assert re.search(rf"^{newest.name}: .*state '{name}' must be", shown, re.MULTILINE)
    assert f"{older.name}: verified, " in shown

    assert main(["train", "--resume", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert f"state '{name}' must be" in shown
    assert f"resuming from {older}" in shown
    assert load_newest_checkpoint(run_dir / "checkpoints")[0].transitions == 32


def test_what_only_resuming_needs_is_told_apart(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    newest = list_checkpoints(run_dir / "checkpoints")[0]
    rewrite_state(newest, **{"experience.is_first": None})
    assert main(["info", str(run_dir)]) == 0
    expected = rf"{newest.name}: verified to play, no run can go on .* 'experience.is_first' must"
    assert re.search(expected, capsys.readouterr().out)


def test_settings_that_name_no_game_are_not_verified(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    newest, older, _ = list_checkpoints(run_dir / "checkpoints")
    text = (newest / "config.toml").read_text()
    for path, env_id in ((newest, "rndfast/Pongg-v5"), (older, "NotInstalledHere-v0")):
        changed = text.replace("MountainCar-v0", env_id)
        rewrite(path, "config.toml", changed.encode())
    assert main(["info", str(run_dir)]) == 1
    shown = capsys.readouterr().out
    assert f"{newest.name}: the settings in {newest}: unknown game" in shown
    assert f"{older.name}: its sums are right, its state is not checked: " in shown


def test_an_agent_file_with_a_wrong_tensor_is_refused(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    assert main(["export", str(trained), "--output", str(path)]) == 0
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    whole = safetensors.torch.load_file(path)
    weight = whole["policy.actor.weight"]
    for wrong in (weight.long(), weight[:2], torch.full_like(weight, torch.nan), None):
        state = whole | {"policy.actor.weight": wrong}
        kept = {name: tensor.clone() for name, tensor in state.items() if tensor is not None}
        safetensors.torch.save_file(kept, path, metadata)
        with pytest.raises(CheckpointError, match=r"state 'policy\.actor\.weight' must be"):
            rndfast.load_agent(path)
    safetensors.torch.save_file(whole, path, metadata | {"transitions": "9" * 5000})
    with pytest.raises(CheckpointError, match="its metadata lacks transitions"):
        rndfast.load_agent(path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("[env]\nnum_envs = 1000000000000", "num_envs must be at most 65,536"),
        ("[ppo]\nrollout_steps = 1000000000000", "rollout_steps must be at most 1,048,576"),
        ("[rnd]\nnum_features = 65537", "num_features must be at most 65,536"),
        ("[rnd]\npredictor_hidden_layers = 65", "predictor_hidden_layers must be at most 64"),
        (f"[atari]\nframeskip = {10**30}", "frameskip must be in"),
        (f"[run]\ntotal_transitions = {10**30}", "total_transitions must be in"),
        ("[run]\nseed = " + "[" * 100_000, "nested too deeply"),
        (f"[run]\nseed = {'9' * 5000}", "4300 digits"),
    ],
)
def test_settings_that_would_take_all_memory_are_refused(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_toml(setting)
