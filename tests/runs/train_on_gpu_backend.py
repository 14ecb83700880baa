"""``rndfast`` with the GPU's back end computing on the CPU, for processes of their own."""

from __future__ import annotations

import sys

import torch

import rndfast.runs.train
from rndfast.commands.main import main
from rndfast.config import RunConfig
from rndfast.runtime.compute import GpuCompute
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import Timeline


def open_gpu(config: RunConfig, timeline: Timeline, ranks: Ranks) -> GpuCompute:
    """Instead of `open_compute`."""
    return GpuCompute(config, torch.device("cpu"), timeline, ranks)


if __name__ == "__main__":
    vars(rndfast.runs.train)["open_compute"] = open_gpu
    sys.exit(main(sys.argv[1:]))
