"""One file that holds a trained agent: to keep, to share, and to start another run from.

It is a safetensors file: the policy, the networks of the bonus and the statistics; in its metadata
the settings. What only a resumed run needs (optimiser, environments, random streams) is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rndfast.learner.agent import EXPERIENCE
from rndfast.runs.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from rndfast.runs.directory import use_newest
from rndfast.runs.state import of_this_version
from rndfast.runtime.durable_files import replace_durably
from rndfast.runtime.terminal import print_line

Result = TypeVar("Result")

FORMAT = "rndfast agent 1"
NETWORKS = ("policy.", "rnd.")

# The paper's agent takes 20 MB; nothing that this package trains comes near.
_MAX_BYTES = 1 << 30


def export_agent(checkpoint: Checkpoint, path: Path, *, half: bool) -> None:
    """Write the agent of a checkpoint into one file.

    Args:
        checkpoint: Of a run, or a file of this kind.
        path: The file; an older one is replaced.
        half: Weights in float16, which halves the file. The statistics keep their numbers.

    Raises:
        OSError: The file cannot be written; an older one is then untouched.
    """
    tensors = {}
    for name, tensor in of_this_version(checkpoint.state).items():
        if name.startswith((EXPERIENCE, "optimizer.")) or name in ("generator", "transitions"):
            continue
        is_weight = name.startswith(NETWORKS)
        tensors[name] = (tensor.half() if half and is_weight else tensor).contiguous()
    metadata = {
        "format": FORMAT,
        "rndfast": version("rndfast"),
        "transitions": str(checkpoint.transitions),
        "config": checkpoint.config_toml,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(path, safetensors.torch.save(tensors, metadata))


def read_agent(path: Path) -> Checkpoint:
    """Read a file of `export_agent`, weights in float32.

    Raises:
        CheckpointError: It is no such file, or it is damaged.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path} must be smaller than 1 GiB: it is no agent of rndfast")
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file, or damaged: {error}") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} must be a file of 'rndfast export' (metadata format {FORMAT!r}), "
            f"got {metadata.get('format')!r}"
        )
    transitions, config_toml = metadata.get("transitions", ""), metadata.get("config")
    if not (transitions.isdecimal() and len(transitions) <= 18) or config_toml is None:
        raise CheckpointError(f"{path} is damaged: its metadata lacks transitions or settings")
    for name, tensor in tensors.items():
        if name.startswith(NETWORKS) and tensor.dtype == torch.float16:
            tensors[name] = tensor.float()
    tensors["transitions"] = torch.tensor(int(transitions))
    tensors["generator"] = torch.Generator().get_state()  # of whoever plays: seed it
    return Checkpoint(path, int(transitions), config_toml, tensors)


def load_trained(
    source: Path,
    use: Callable[[Checkpoint], Result],
    checkpoint_name: str | None = None,
    say: Callable[[str], None] = print_line,
) -> Result:
    """What ``use`` makes of what a run has learnt, or of what a file of `export_agent` holds.

    Args:
        source: A run's directory, or a file.
        use: Raises CheckpointError where it cannot use one: then the next older one is tried.
        checkpoint_name: ``step-<transitions>``, of a run alone; None: the newest of use.
        say: Told why newer checkpoints are of no use.

    Raises:
        CheckpointError: Nothing is of use, or what is named is not.
        ValueError: ``checkpoint_name`` with a file.
    """
    if source.is_file():
        if checkpoint_name is not None:
            raise ValueError(f"checkpoint names one of a run, and {source} is a file")
        return use(read_agent(source))
    if not source.exists():
        raise CheckpointError(f"{source} is neither a run directory nor a file: it does not exist")
    if checkpoint_name is not None:
        return use(load_checkpoint(source / "checkpoints" / checkpoint_name))
    return use_newest(source, use, say)
