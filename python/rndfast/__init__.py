"""Random Network Distillation on Atari: faithful to the paper, with a compiled core.

Importing the package registers every game as ``rndfast/<Game>-v5`` with Gymnasium.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

try:
    from rndfast._core import DiscountedReturnFilter, RunningMoments, ThreadPool, gae
except ModuleNotFoundError as error:
    if error.name != "rndfast._core":
        raise
    raise ImportError(
        "rndfast._core, the compiled part of rndfast, is missing: run 'pip install .' in a clone "
        "of the repository (a bare source tree on sys.path is not enough)"
    ) from error

from rndfast.envs.atari import AtariVectorEnv, register_envs
from rndfast.envs.console import Console

if TYPE_CHECKING:
    from rndfast.learner.bonus import DRNDBonus, RNDBonus
    from rndfast.runs.trained_agent import TrainedAgent, load_agent

__version__ = version("rndfast")

__all__ = [
    "AtariVectorEnv",
    "Console",
    "DRNDBonus",
    "DiscountedReturnFilter",
    "RNDBonus",
    "RunningMoments",
    "ThreadPool",
    "TrainedAgent",
    "__version__",
    "gae",
    "load_agent",
]

register_envs()


def __dir__() -> list[str]:
    # for completion in a notebook, which knows nothing of what is not imported yet
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # imported when they are asked for: they take torch
    if name in ("DRNDBonus", "RNDBonus"):
        return getattr(importlib.import_module("rndfast.learner.bonus"), name)
    if name in ("TrainedAgent", "load_agent"):
        return getattr(importlib.import_module("rndfast.runs.trained_agent"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
