"""Trials that chance makes, repeated: ``python -m MODULE --times N``.

A trial gets random numbers and says in words what came of it; it raises AssertionError where
something does not hold. The same seed makes the same trial: ``--seed S --times 1`` repeats one.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable


def arguments(description: str | None) -> argparse.Namespace:
    """Parse ``--times`` and ``--seed``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--times", type=int, default=100, help="trials")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial")
    return parser.parse_args()


def repeat(trial: Callable[[random.Random], str], times: int, seed: int) -> None:
    """Make trials, until Ctrl-C at most, and end the process: with 1 if anything did not hold."""
    outcomes: Counter[str] = Counter()
    num_broken = 0
    begun = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        for trial_seed in range(seed, seed + times):
            try:
                outcomes[trial(random.Random(trial_seed))] += 1
            except AssertionError as broken:
                num_broken += 1
                print(f"seed {trial_seed}: BROKEN: {broken}", flush=True)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6} {outcome}")
    num_trials = outcomes.total() + num_broken
    print(f"{num_trials} trials in {time.monotonic() - begun:.0f} s, {num_broken} broken")
    sys.exit(num_broken > 0)
