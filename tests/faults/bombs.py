"""Checkpoints with right checksums and wrong or huge contents: each is refused, and costs little.

The newest checkpoint of a run is replaced. The run is resumed from the one before, without much
more memory than otherwise, and ends as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from tests.faults import campaign
from tests.faults.campaign import Broken
from torch import Tensor

from rndfast.runs.checkpoint import list_checkpoints

State = dict[str, Tensor]
CONSOLES = "experience.consoles.0"
MAX_MEMORY_MIB = 400  # more than a resumed run takes


def bytes_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def some_floats(chance: random.Random, state: State) -> str:
    return chance.choice(sorted(name for name in state if state[name].dtype == torch.float32))


# --- wrong contents ---------------------------------------------------------------------------


def missing(chance: random.Random, state: State) -> None:
    del state[chance.choice(sorted(state))]


def one_more(chance: random.Random, state: State) -> None:
    state[chance.choice(("policy.extra", "rnd.extra", "optimizer.999.step"))] = torch.zeros(3)


def of_another_type(chance: random.Random, state: State) -> None:
    name = some_floats(chance, state)
    state[name] = state[name].to(chance.choice((torch.float16, torch.float64, torch.int64)))


def of_another_shape(chance: random.Random, state: State) -> None:
    name = some_floats(chance, state)
    state[name] = chance.choice((state[name][None], torch.zeros(0), torch.zeros(7, 7)))


def not_finite(chance: random.Random, state: State) -> None:
    name = some_floats(chance, state)
    state[name] = torch.full_like(state[name], chance.choice((torch.nan, torch.inf)))


def of_absurd_count(chance: random.Random, state: State) -> None:
    value = chance.choice((1e300, -1.0, torch.nan))
    state["obs_moments.count"] = torch.tensor(value, dtype=torch.float64)


def of_negative_transitions(chance: random.Random, state: State) -> None:
    state["transitions"] = torch.tensor(-chance.randint(1, 2**62))


def without_consoles(chance: random.Random, state: State) -> None:
    state[CONSOLES] = bytes_tensor(chance.randbytes(1000))


def with_a_bomb(chance: random.Random, state: State) -> None:
    """Inflated, these consoles would be two gigabytes."""
    compressor = zlib.compressobj(9)
    block = bytes(2**20)
    data = b"".join(compressor.compress(block) for _ in range(2048)) + compressor.flush()
    state[CONSOLES] = bytes_tensor(data)


# --- wrong files ------------------------------------------------------------------------------


def sparse_state(chance: random.Random, path: Path) -> None:
    with (path / "agent.safetensors").open("r+b") as file:
        file.truncate(40 * 2**30)


def sparse_manifest(chance: random.Random, path: Path) -> None:
    with (path / "manifest.json").open("r+b") as file:
        file.truncate(40 * 2**30)


def deep_manifest(chance: random.Random, path: Path) -> None:
    (path / "manifest.json").write_text("[" * 400_000)


def absurd_manifest(chance: random.Random, path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    text = json.dumps(manifest | {"transitions": 0}).replace(
        '"transitions": 0', f'"transitions": {chance.choice(("1e999", "9" * 5000, "-1", "null"))}'
    )
    (path / "manifest.json").write_text(text)


def huge_header(chance: random.Random, path: Path) -> None:
    """The names of the tensors are said to take eight exabytes."""
    data = (path / "agent.safetensors").read_bytes()
    write_with_sum(path, "agent.safetensors", (2**63 - 1).to_bytes(8, "little") + data[8:])


WRONG_STATES: tuple[Callable[[random.Random, State], None], ...] = (
    missing, one_more, of_another_type, of_another_shape, not_finite, of_absurd_count,
    of_negative_transitions, without_consoles, with_a_bomb,
)  # fmt: skip
WRONG_FILES: tuple[Callable[[random.Random, Path], None], ...] = (
    sparse_state, sparse_manifest, deep_manifest, absurd_manifest, huge_header,
)  # fmt: skip


def write_with_sum(path: Path, name: str, data: bytes) -> None:
    """Replace a file of a checkpoint, and its sum in the manifest."""
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def peak_mib() -> float:
    """The most memory that any process of this campaign has had."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def trial(chance: random.Random, folder: Path, whole: Path) -> str:
    """Replace the newest checkpoint and resume."""
    run_dir = folder / "run"
    shutil.copytree(whole, run_dir)
    newest = list_checkpoints(run_dir / "checkpoints")[0]
    before = peak_mib()  # of the uninterrupted run at least
    wrong = chance.randrange(len(WRONG_STATES) + len(WRONG_FILES))
    if wrong < len(WRONG_STATES):
        name = WRONG_STATES[wrong].__name__
        state = safetensors.torch.load_file(newest / "agent.safetensors")
        WRONG_STATES[wrong](chance, state)
        write_with_sum(newest, "agent.safetensors", safetensors.torch.save(state))
    else:
        name = WRONG_FILES[wrong - len(WRONG_STATES)].__name__
        WRONG_FILES[wrong - len(WRONG_STATES)](chance, newest)
    log = folder / "log"
    code = campaign.ended(campaign.start(run_dir, log))
    said = log.read_text().splitlines()
    if code != 0:
        raise Broken(f"{name}: the run ended with {campaign.signal_name(code)}: {said}")
    if not any(newest.name in line and "skipped a checkpoint" in line for line in said):
        raise Broken(f"{name}: nothing was said of the checkpoint: {said}")
    if peak_mib() > before + MAX_MEMORY_MIB:
        raise Broken(f"{name}: it took {peak_mib():.0f} MiB, a run before {before:.0f}")
    campaign.require_equal(run_dir, whole)
    return f"{name}: refused, resumed from an older one, equal"


if __name__ == "__main__":
    campaign.main(trial, __doc__)
