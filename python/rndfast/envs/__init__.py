"""Environments: our own Atari consoles behind Gymnasium's interfaces, and Gymnasium's own."""

from __future__ import annotations

from rndfast.envs.atari import AtariEnv, AtariVectorEnv, register_envs

__all__ = ["AtariEnv", "AtariVectorEnv", "register_envs"]
