"""Stable-Baselines3's PPO on rndfast's environments.

It needs the extra: pip install 'rndfast[integrations]'. To run it:

    python examples/sb3_ppo.py --game breakout
"""

from __future__ import annotations

import tyro
from stable_baselines3 import PPO

import rndfast
from rndfast.integrations.sb3 import SB3VecEnv


def main(
    total_steps: int = 10_000_000,
    *,
    game: str = "breakout",
    num_envs: int = 8,
    rollout_steps: int = 128,
    seed: int = 1,
) -> PPO:
    """Train; SB3 prints a table for each rollout, with unclipped returns.

    Args:
        total_steps: Steps of all environments together.
        game: Any of the games that `rndfast info` lists.
        num_envs: Environments.
        rollout_steps: Steps of each environment between updates.
        seed: Of everything.
    """
    env = SB3VecEnv(rndfast.AtariVectorEnv(game, num_envs, autoreset_mode="SameStep"))
    model = PPO(
        "CnnPolicy",
        env,
        learning_rate=2.5e-4,
        n_steps=rollout_steps,
        batch_size=num_envs * rollout_steps // 4,
        n_epochs=4,
        clip_range=0.1,
        ent_coef=0.01,
        vf_coef=0.5,
        seed=seed,
        verbose=1,
    )
    model.learn(total_steps)
    env.close()
    return model


if __name__ == "__main__":
    tyro.cli(main)
