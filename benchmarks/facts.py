"""Sizes and counts that the text tells of, which take no time and are exact."""

from __future__ import annotations

import numpy as np

import rndfast
from rndfast.envs.games import GAMES

PICTURE_LINES, LINE_PIXELS = 250, 160  # as many lines as a console for PAL shows
RANDOM_WORDS = 625  # of a Mersenne Twister, of 4 bytes each, the position among them


def count() -> dict[str, int]:
    """The figures by their names."""
    num_envs = 8
    envs = rndfast.AtariVectorEnv("pong", num_envs)
    observations, _ = envs.reset(seed=0)
    facts = {
        "games": len(GAMES),
        "bytes of an environment": len(envs.snapshot()) // num_envs,
        "bytes of two pictures": 2 * PICTURE_LINES * LINE_PIXELS,
        "bytes of a stack": int(np.prod(observations.shape[1:])),
        "bytes of two random streams": 2 * 4 * RANDOM_WORDS,
        "bytes of a gather": 4096 * int(np.prod(observations.shape[1:])) * 4,
    }
    envs.close()
    return facts
