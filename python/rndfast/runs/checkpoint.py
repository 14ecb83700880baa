"""Checkpoints without pickle: ``step-<transitions>/`` with safetensors and a SHA-256 manifest.

A checkpoint is written under a name that no reader looks for, flushed to the disk and renamed: it
is there whole or not at all. Nothing in one is executed or trusted before its sum is right.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor

from rndfast.runtime.durable_files import (
    remove_leftovers,
    sync_directory,
    temporary_name,
    write_durably,
)

Result = TypeVar("Result")

FORMAT = 1
MANIFEST = "manifest.json"
TENSORS = "agent.safetensors"
CONFIG = "config.toml"

# Larger files are not read. The paper's state takes 53 MB, and one of 4,096 environments 0.3 GB.
MAX_STATE_BYTES = 1 << 31
_MAX_TEXT_BYTES = 1_000_000  # of the manifest, the settings, and the names in a safetensors file
_MAX_TRANSITIONS = 1 << 62
_NAME = re.compile(r"step-\d{12,19}")


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete or not what its manifest says."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint directory holds."""

    path: Path
    transitions: int
    config_toml: str
    state: dict[str, Tensor]


def save_checkpoint(
    directory: Path, transitions: int, state: dict[str, Tensor], config_toml: str, keep: int
) -> Path:
    """Write ``directory/step-<transitions>`` and delete all but the newest ``keep`` checkpoints.

    Raises:
        OSError: The disk is full or refuses; older checkpoints are untouched, and nothing of this
            one is left.
        ValueError: The state is larger than what `load_checkpoint` reads.
    """
    final = directory / f"step-{transitions:012d}"
    if final.exists():
        try:
            if is_same_state(load_checkpoint(final).state, state):
                return final
        except CheckpointError:
            pass  # damaged: the run was resumed from an older one
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    temporary = directory / temporary_name()
    replaced = directory / f".{final.name}.{temporary_name()}"
    try:
        temporary.mkdir()
        contents = {TENSORS: safetensors.torch.save(state), CONFIG: config_toml.encode()}
        if len(contents[TENSORS]) > MAX_STATE_BYTES:
            raise ValueError(
                f"a state must have at most {MAX_STATE_BYTES:,} bytes, got "
                f"{len(contents[TENSORS]):,}: use fewer environments or smaller networks"
            )
        manifest = {
            "format": FORMAT,
            "transitions": transitions,
            "sha256": {name: _sha256(data) for name, data in contents.items()},
        }
        for name, data in {**contents, MANIFEST: json.dumps(manifest, indent=2).encode()}.items():
            write_durably(temporary / name, data)
        sync_directory(temporary)
        if final.exists():
            final.rename(replaced)
        temporary.rename(final)
        sync_directory(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
    for old in list_checkpoints(directory)[keep:]:
        shutil.rmtree(old)
    return final


def is_same_state(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states have the same tensors, number for number."""
    return state.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
        for name, tensor in state.items()
    )


def list_checkpoints(directory: Path) -> list[Path]:
    """Checkpoint directories, newest first, verified or not; copies under other names are none."""
    found = [
        path
        for path in directory.glob("step-*")
        if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify one checkpoint directory.

    Raises:
        CheckpointError: Something in it is missing, cut, altered or of an unknown format; the
        message names the file.
    """
    manifest = _read_manifest(path / MANIFEST)
    contents = {}
    for name in (TENSORS, CONFIG):
        data = _read(path / name, MAX_STATE_BYTES if name == TENSORS else _MAX_TEXT_BYTES)
        if _sha256(data) != manifest["sha256"].get(name):
            raise CheckpointError(
                f"{path / name} is damaged: its SHA-256 sum is not the one in {MANIFEST}"
            )
        contents[name] = data
    try:
        config_toml = contents[CONFIG].decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path / CONFIG} is no text in UTF-8: {error}") from None
    state = _tensors(contents[TENSORS], path / TENSORS)
    return Checkpoint(path, manifest["transitions"], config_toml, state)


def load_newest_checkpoint(directory: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that verifies, and why each newer one does not.

    Raises:
        CheckpointError: There is none, or none verifies.
    """
    return use_newest_checkpoint(directory, lambda checkpoint: checkpoint)


def use_newest_checkpoint(
    directory: Path, use: Callable[[Checkpoint], Result]
) -> tuple[Result, list[str]]:
    """What ``use`` makes of the newest checkpoint that it can use, and why it is no newer one.

    Args:
        directory: Where the checkpoints lie.
        use: Raises CheckpointError where a checkpoint's sums are right, but not what it holds.

    Raises:
        CheckpointError: There is none, none verifies, or none can be used.
    """
    problems: list[str] = []
    for path in list_checkpoints(directory):
        try:
            return use(load_checkpoint(path)), problems
        except CheckpointError as error:
            problems.append(str(error))
    reasons = "; ".join(problems) or "it holds no step-<transitions> directory"
    raise CheckpointError(f"no usable checkpoint in {directory}: {reasons}")


def _read_manifest(path: Path) -> dict[str, Any]:
    data = _read(path, _MAX_TEXT_BYTES)
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is damaged: not JSON") from None
    is_valid = (
        isinstance(manifest, dict)
        and manifest.get("format") == FORMAT
        and type(manifest.get("transitions")) is int
        and isinstance(manifest.get("sha256"), dict)
    )
    if not is_valid:
        raise CheckpointError(f"{path} must be a manifest of format {FORMAT}, got something else")
    assert isinstance(manifest, dict)
    if not 0 <= manifest["transitions"] <= _MAX_TRANSITIONS:
        raise CheckpointError(
            f"transitions in {path} must be in [0, {_MAX_TRANSITIONS}], "
            f"got {manifest['transitions']:.6g}"
        )
    return manifest


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whose names have a sensible length."""
    if int.from_bytes(data[:8], "little") > _MAX_TEXT_BYTES:
        raise CheckpointError(f"{path} is no safetensors file: its header is too long")
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from None


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if path.is_symlink() or not path.is_file():
            raise CheckpointError(f"{path} is missing or not a plain file")
        if path.stat().st_size > max_bytes:
            raise CheckpointError(f"{path} is damaged: larger than {max_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
