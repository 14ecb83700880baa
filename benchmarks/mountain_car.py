"""Does the bonus explore inside other libraries? Each library's PPO, without the bonus and with it.

MountainCar-v0 costs 1 for each step until the car is on the hill, at most 200, and nothing rewards
the swing that leads there. A contestant trains one agent from a seed and returns its episodes; its
figure is the mean return of those that ended in the last tenth of the transitions.

Usage: ``python benchmarks/mountain_car.py [--contestants ...] [--seeds 5]
[--total-transitions 200000] [--json mountain_car.json]``
It needs ``pip install 'rndfast[integrations]'``. All runs take ten minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from rndfast.bench.bench import versions
from rndfast.integrations.sb3 import PPORND
from rndfast.runs.curves import summary
from rndfast.runtime.hardware import hardware

ENV_ID = "MountainCar-v0"
NUM_ENVS = 16
# What is not named is the library's default. Chosen for PPORND, on seeds 1 to 5.
SB3_SETTINGS: dict[str, Any] = {
    "learning_rate": 5e-4,
    "n_steps": 128,
    "batch_size": 512,
    "n_epochs": 4,
    "gae_lambda": 0.98,
    "device": "cpu",
}
SB3_BONUS: dict[str, Any] = {
    "int_coef": 300.0,
    "bonus_kwargs": {"num_features": 64, "predictor_hidden_layers": 0},
}
FIRST_SEED = 11
FINAL_FRACTION = 0.1

Episode = tuple[int, float]  # the transitions of the run when it ended, and its return


class _Episodes(BaseCallback):
    """Notes the episodes of a run of Stable-Baselines3."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Episode] = []

    def _on_step(self) -> bool:
        self.found += [
            (self.num_timesteps, info["episode"]["r"])
            for info in self.locals["infos"]
            if "episode" in info
        ]
        return True


def _train_sb3(
    algorithm: type[PPO], seed: int, total_transitions: int, **settings: Any
) -> list[Episode]:
    env = make_vec_env(ENV_ID, n_envs=NUM_ENVS, seed=seed)
    # Velocities are below 0.07: as they are, the policy hardly sees them. Rewards stay as they are.
    env = VecNormalize(env, norm_reward=False)
    episodes = _Episodes()
    model = algorithm("MlpPolicy", env, seed=seed, **SB3_SETTINGS, **settings)
    model.learn(total_transitions, callback=episodes)
    return episodes.found


def sb3_ppo(seed: int, total_transitions: int) -> list[Episode]:
    """`PPO` of Stable-Baselines3."""
    return _train_sb3(PPO, seed, total_transitions)


def sb3_ppornd(seed: int, total_transitions: int) -> list[Episode]:
    """`PPORND`, all else equal."""
    return _train_sb3(PPORND, seed, total_transitions, **SB3_BONUS)


CONTESTANTS: dict[str, Callable[[int, int], list[Episode]]] = {
    "Stable-Baselines3, PPO": sb3_ppo,
    "Stable-Baselines3, PPORND": sb3_ppornd,
}


def final_return(episodes: list[Episode], total_transitions: int) -> float:
    """Mean return of the episodes that ended in the last tenth; NaN if none did."""
    begin = (1 - FINAL_FRACTION) * total_transitions
    returns = [of_episode for transitions, of_episode in episodes if transitions > begin]
    return float(np.mean(returns)) if returns else math.nan


def main(argv: list[str] | None = None) -> None:
    """Train all, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--seeds", type=int, default=5, help="runs of each contestant")
    parser.add_argument("--total-transitions", type=int, default=200_000, help="of a run")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args(argv)
    for name in ("seeds", "total_transitions"):
        if getattr(arguments, name) < 1:
            flag = name.replace("_", "-")
            parser.error(f"--{flag} must be at least 1, got {getattr(arguments, name)}")

    returns: dict[str, list[float]] = {name: [] for name in arguments.contestants}
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
        for name, of_contestant in returns.items():
            began = time.monotonic()
            episodes = CONTESTANTS[name](seed, arguments.total_transitions)
            of_contestant.append(final_return(episodes, arguments.total_transitions))
            seconds = time.monotonic() - began
            print(f"{name}, seed {seed}: {of_contestant[-1]:.1f} ({seconds:.0f} s)", flush=True)
    report = {
        "hardware": hardware(),
        "versions": versions()
        | {"stable-baselines3": importlib.metadata.version("stable-baselines3")},
        "env_id": ENV_ID,
        "first_seed": FIRST_SEED,
        "transitions": arguments.total_transitions,
        "return": {name: summary(of_each_seed) for name, of_each_seed in returns.items()},
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print("\nReturn in the last tenth of the transitions, IQM over seeds (95 % interval):")
    for name, found in report["return"].items():
        if found is not None:
            print(f"{name}: {found['iqm']:.1f} ({found['low']:.1f} to {found['high']:.1f})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
