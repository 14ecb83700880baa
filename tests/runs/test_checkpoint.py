from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rndfast.runs.checkpoint import (
    CheckpointError,
    list_checkpoints,
    load_checkpoint,
    load_newest_checkpoint,
    save_checkpoint,
)

CONFIG_TOML = "[env]\nnum_envs = 4\n"


def example_state(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weights": torch.randn(3, 5, generator=generator),
        "mean": torch.randn(7, generator=generator, dtype=torch.float64),
        "count": torch.tensor(12.5, dtype=torch.float64),
        "generator": generator.get_state(),
    }


def save(directory: Path, transitions: int, keep: int = 3) -> Path:
    return save_checkpoint(directory, transitions, example_state(transitions), CONFIG_TOML, keep)


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    path = save(tmp_path, 128)
    assert path == tmp_path / "step-000000000128"
    loaded = load_checkpoint(path)
    assert (loaded.path, loaded.transitions, loaded.config_toml) == (path, 128, CONFIG_TOML)
    expected = example_state(128)
    assert loaded.state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded.state[name].dtype == tensor.dtype
        assert torch.equal(loaded.state[name], tensor), name


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for transitions in (0, 900, 1_000, 20_000):
        save(tmp_path, transitions, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-000000020000",
        "step-000000001000",
    ]


def is_equivalent_manifest(name: str, data: bytes, whole: bytes) -> bool:
    """A flip in a manifest's white space, in its count or in a name that nobody reads."""
    try:
        return name == "manifest.json" and (
            json.loads(data)["sha256"] == json.loads(whole)["sha256"]
            and json.loads(data)["format"] == 1
            and isinstance(json.loads(data)["transitions"], int)
        )
    except (ValueError, KeyError):
        return False


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    rng = np.random.default_rng(0)
    for name in ("agent.safetensors", "config.toml", "manifest.json"):
        file = path / name
        whole = file.read_bytes()
        damaged = [whole[:cut] for cut in rng.integers(0, len(whole), 20)]
        for position in rng.integers(0, len(whole) * 8, 100):
            flipped = bytearray(whole)
            flipped[position // 8] ^= 1 << (position % 8)
            damaged.append(bytes(flipped))
        for data in damaged:
            file.write_bytes(data)
            if is_equivalent_manifest(name, data, whole):
                continue
            with pytest.raises(CheckpointError, match=re.escape(str(path))):
                load_checkpoint(path)
        file.write_bytes(whole)
    load_checkpoint(path)


@pytest.mark.parametrize("name", ["agent.safetensors", "config.toml", "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 1)
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing or not a plain file"):
        load_checkpoint(path)


def test_a_file_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    shutil.copy(first / "agent.safetensors", second / "agent.safetensors")
    with pytest.raises(CheckpointError, match=r"agent\.safetensors is damaged: its SHA-256"):
        load_checkpoint(second)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    elsewhere = tmp_path / "elsewhere"
    (path / "agent.safetensors").rename(elsewhere)
    (path / "agent.safetensors").symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="not a plain file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "must be a manifest of format 1"),
        ('{"format": 2, "transitions": 1, "sha256": {}}', "must be a manifest of format 1"),
        ('{"format": 1, "transitions": "1", "sha256": {}}', "must be a manifest of format 1"),
        ('{"format": 1, "transitions": 1, "sha256": {"../../x": "0"}}', "is damaged"),
        (" " * 2_000_000, "larger than 1000000 bytes"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = save(tmp_path, 1)
    (path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_pickle_in_the_place_of_tensors_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'executed')!r}, 'w').close()",)

    path = save(tmp_path, 1)
    data = pickle.dumps(Evil())
    (path / "agent.safetensors").write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["agent.safetensors"] = hashlib.sha256(data).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()


def test_the_newest_that_verifies_is_loaded_and_the_others_are_named(tmp_path: Path) -> None:
    for transitions in (1, 2, 3):
        save(tmp_path, transitions)
    for name in ("step-000000000002", "step-000000000003"):
        (tmp_path / name / "config.toml").write_text("other")
    checkpoint, problems = load_newest_checkpoint(tmp_path)
    assert checkpoint.transitions == 1
    assert ["step-000000000003" in problems[0], "step-000000000002" in problems[1]] == [True, True]


def test_no_usable_checkpoint_is_an_error_never_a_fresh_start(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no step-<transitions> directory"):
        load_newest_checkpoint(tmp_path)
    (save(tmp_path, 1) / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        load_newest_checkpoint(tmp_path)


def test_a_torn_write_is_never_taken_for_a_checkpoint_and_is_cleared(tmp_path: Path) -> None:
    good = save(tmp_path, 1)
    torn = tmp_path / "tmp-4242"
    shutil.copytree(good, torn)
    (torn / "agent.safetensors").write_bytes(b"")
    assert list_checkpoints(tmp_path) == [good]
    save(tmp_path, 2)
    assert not torn.exists()


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = save(tmp_path, 1)

    def full_disk(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("rndfast.runs.checkpoint.write_durably", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == [good.name]
    load_checkpoint(good)


def test_a_checkpoint_that_holds_another_state_is_replaced(tmp_path: Path) -> None:
    """Its sums may be right and its contents not, so that the run was resumed from an older one."""
    path = save_checkpoint(tmp_path, 1, example_state(7), CONFIG_TOML, 3)
    assert save(tmp_path, 1) == path
    expected = example_state(1)
    got = load_checkpoint(path).state
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_a_damaged_checkpoint_is_written_again(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "config.toml").write_text("other")
    save(tmp_path, 1)
    assert load_checkpoint(path).config_toml == CONFIG_TOML
