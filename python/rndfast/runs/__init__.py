"""A run from start to end: the training loop, its state, its directory and its figures."""

from __future__ import annotations
