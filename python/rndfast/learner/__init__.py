"""The algorithm: networks, rollouts, the curiosity bonus and the update of PPO."""

from __future__ import annotations
