"""The machine that something was measured or trained on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from rndfast._core import ThreadPool, usable_cores


def hardware() -> dict[str, Any]:
    """The machine, and how busy it is."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "simd_level": ThreadPool(1).simd_level,
        "load_average_1min": os.getloadavg()[0],
    }


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
