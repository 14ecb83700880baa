"""Does the bonus explore inside other libraries? Each library's PPO, without the bonus and with it.

MountainCar-v0 costs 1 for each step until the car is on the hill, at most 200, and nothing rewards
the swing that leads there. A contestant trains one agent from a seed and returns its episodes; its
figure is the mean return of those that ended in the last tenth of the transitions.

Usage: ``python benchmarks/mountain_car.py [--contestants ...] [--seeds 5]
[--total-transitions 200000] [--json mountain_car.json]``
It needs ``pip install 'rndfast[integrations]'``. All runs take twenty minutes on one core.
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

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, ObservationNorm, RewardSum
from torchrl.modules import MLP, OneHotCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from rndfast import RNDBonus
from rndfast.bench.bench import versions
from rndfast.integrations.sb3 import PPORND
from rndfast.integrations.torchrl import IntrinsicReward, PredictorLoss, TwoStreamGAE
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


def _train_torchrl(seed: int, total_transitions: int, *, has_bonus: bool) -> list[Episode]:
    """By the settings of Stable-Baselines3, its defaults included."""
    torch.manual_seed(seed)
    steps: int = SB3_SETTINGS["n_steps"]
    gamma, gae_lambda = 0.99, SB3_SETTINGS["gae_lambda"]
    envs = gymnasium.make_vec(
        ENV_ID, NUM_ENVS, "sync", vector_kwargs={"autoreset_mode": "SameStep"}
    )
    env = GymWrapper(envs).append_transform(RewardSum())
    env.set_seed(seed)
    # by the statistics of a random agent: torchrl's running ones are experimental for batches
    env.append_transform(ObservationNorm(in_keys=["observation"], standard_normal=True))
    env.transform[-1].init_stats(128, reduce_dim=(0, 1), cat_dim=1)
    actor = ProbabilisticActor(
        TensorDictModule(_network(3, 0.01), in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=OneHotCategorical,
        return_log_prob=True,
    )
    critic = ValueOperator(_network(2 if has_bonus else 1, 1.0), in_keys=["observation"])
    ppo_loss = ClipPPOLoss(
        actor,
        critic,
        entropy_coeff=0.0,
        critic_coeff=0.5,
        loss_critic_type="l2",
        normalize_advantage=True,
    )
    losses, advantages = [ppo_loss], GAE(gamma=gamma, lmbda=gae_lambda, value_network=critic)
    optimizer = torch.optim.Adam(ppo_loss.parameters(), lr=SB3_SETTINGS["learning_rate"], eps=1e-5)
    if has_bonus:
        bonus = RNDBonus((2,), num_envs=NUM_ENVS, int_gamma=gamma, **SB3_BONUS["bonus_kwargs"])
        int_reward = IntrinsicReward(bonus)
        int_reward.initialize(env.rollout(128, break_when_any_done=False))
        advantages = TensorDictSequential(
            int_reward,
            TwoStreamGAE(
                critic,
                gamma=gamma,
                int_gamma=gamma,
                lmbda=gae_lambda,
                ext_coef=1.0,
                int_coef=SB3_BONUS["int_coef"],
            ),
        )
        losses.append(PredictorLoss(bonus))
        optimizer.add_param_group({"params": list(bonus.parameters()), "lr": 1e-4, "eps": 1e-8})
    collector = Collector(
        env,
        actor,
        frames_per_batch=NUM_ENVS * steps,
        total_frames=math.ceil(total_transitions / NUM_ENVS / steps) * NUM_ENVS * steps,
        auto_register_policy_transforms=False,
    )
    episodes: list[Episode] = []
    for index, batch in enumerate(collector):
        rows = advantages(batch).reshape(-1)
        for _ in range(SB3_SETTINGS["n_epochs"]):
            for chosen in torch.split(torch.randperm(len(rows)), SB3_SETTINGS["batch_size"]):
                parts = [loss(rows[chosen]) for loss in losses]
                optimizer.zero_grad()
                sum(
                    x for part in parts for key, x in part.items() if key.startswith("loss_")
                ).backward()
                nn.utils.clip_grad_norm_(ppo_loss.parameters(), 0.5)
                optimizer.step()
        for step in range(steps):
            ended = batch["next", "done"][:, step]
            returns = batch["next", "episode_reward"][:, step][ended].tolist()
            episodes += [((index * steps + step + 1) * NUM_ENVS, found) for found in returns]
    collector.shutdown()
    return episodes


def _network(num_outputs: int, gain: float) -> nn.Module:
    """The network of ``MlpPolicy``, initialised as there."""
    network: nn.Module = MLP(in_features=2, out_features=num_outputs, num_cells=[64, 64])
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain if layer is layers[-1] else math.sqrt(2))
        nn.init.zeros_(layer.bias)
    return network


def torchrl_ppo(seed: int, total_transitions: int) -> list[Episode]:
    """`ClipPPOLoss` and `GAE` of torchrl."""
    return _train_torchrl(seed, total_transitions, has_bonus=False)


def torchrl_ppo_rnd(seed: int, total_transitions: int) -> list[Episode]:
    """With `IntrinsicReward`, `TwoStreamGAE` and `PredictorLoss`, all else equal."""
    return _train_torchrl(seed, total_transitions, has_bonus=True)


CONTESTANTS: dict[str, Callable[[int, int], list[Episode]]] = {
    "Stable-Baselines3, PPO": sb3_ppo,
    "Stable-Baselines3, PPORND": sb3_ppornd,
    "torchrl, PPO": torchrl_ppo,
    "torchrl, PPO and RND": torchrl_ppo_rnd,
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
        | {name: importlib.metadata.version(name) for name in ("stable-baselines3", "torchrl")},
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
