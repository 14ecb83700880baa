"""Training and environments beside their peers."""

from __future__ import annotations
