"""What a run stands on: devices and threads, processes, clocks, signals and files."""

from __future__ import annotations
