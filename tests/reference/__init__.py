"""Oracles: slow and obvious NumPy code in float64, written to be read and compared with."""

from __future__ import annotations
