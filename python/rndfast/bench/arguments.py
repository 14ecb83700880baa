"""The arguments of ``rndfast bench``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BenchArguments:
    """Measure training, the update and the environments, each in turn with its peers.

    The peers are a plain PyTorch implementation, EnvPool if it is installed, and ale-py. At the
    paper's 128 environments x 128 steps it takes tens of minutes on few cores.
    """

    quick: bool = False
    """A small rollout, 16 environments x 8 steps and one epoch: less than two minutes."""
    rounds: int = 3
    """Rounds that are counted; each contestant's first turn before them is not."""
    num_threads: int = 0
    """Threads of every contestant; 0: one per core, and what PyTorch takes by itself for the plain
    implementation."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks live."""
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """Number format of the networks' passes beside float32, which is always measured; auto:
    bfloat16 where the hardware has it."""
    output: Path = Path("bench")
    """Directory for bench.json and the charts (pip install 'rndfast[plots]')."""
