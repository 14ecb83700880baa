"""Checkpoints that were torn: the damage is noticed, and the next older checkpoint is taken.

The newest checkpoint, and at times the one before, are cut, zeroed in parts, altered or robbed of a
file. Every tenth trial resumes the run, which ends as if nothing had happened.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from tests.faults import campaign
from tests.faults.campaign import Broken

from rndfast.runs.checkpoint import CheckpointError, list_checkpoints, load_checkpoint

RESUMES_EVERY = 10
SECTOR_BYTES = 512


def cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def zero_sectors(chance: random.Random, data: bytes) -> bytes:
    first = chance.randrange(-(-len(data) // SECTOR_BYTES)) * SECTOR_BYTES
    length = min(chance.choice((1, 8, 4096)) * SECTOR_BYTES, len(data) - first)
    return data[:first] + bytes(length) + data[first + length :]


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    altered = bytearray(data)
    for _ in range(chance.choice((1, 2, 16))):
        altered[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(altered)


def lengthen(chance: random.Random, data: bytes) -> bytes:
    return data + chance.randbytes(chance.randint(1, 10_000))


DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    cut, zero_sectors, flip_bits, lengthen,
)  # fmt: skip


def trial(chance: random.Random, folder: Path, whole: Path) -> str:
    """Damage the newest checkpoints of a copy of a run."""
    run_dir = folder / "run"
    shutil.copytree(whole, run_dir)
    outcomes = set()
    for path in list_checkpoints(run_dir / "checkpoints")[: chance.choice((1, 1, 2))]:
        outcomes.add(damage(chance, path))
    if chance.randrange(RESUMES_EVERY) == 0:
        campaign.finish_as(whole, run_dir)
        return "noticed, resumed from an older one, equal"
    return ", ".join(sorted(outcomes))


def damage(chance: random.Random, path: Path) -> str:
    """Damage one file of a checkpoint and load it."""
    before = load_checkpoint(path)
    file = chance.choice(sorted(path.iterdir()))
    if chance.randrange(10) == 0:
        file.unlink()
    else:
        data = file.read_bytes()
        altered = chance.choice(DAMAGES)(chance, data)
        if altered == data:
            return "nothing altered"
        file.write_bytes(altered)
    try:
        after = load_checkpoint(path)
    except CheckpointError as error:
        if path.name not in str(error):
            raise Broken(f"the error does not name the checkpoint: {error}") from None
        return "noticed"
    # in the manifest white space and the format of numbers are nobody's
    is_equal = (
        before.state.keys() == after.state.keys()
        and all(torch.equal(tensor, after.state[name]) for name, tensor in before.state.items())
        and before.config_toml == after.config_toml
        and before.transitions == after.transitions
    )
    if not is_equal:
        raise Broken(f"a damaged {file.name} was loaded")
    return "loaded, the same"


if __name__ == "__main__":
    campaign.main(trial, __doc__)
