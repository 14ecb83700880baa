"""Adapters to other libraries' interfaces; each module needs the library of its name."""

from __future__ import annotations
