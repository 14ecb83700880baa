"""Play an episode with a trained agent and say what surprised it most.

rndfast export runs/first --output agent.safetensors
python examples/play_agent.py agent.safetensors
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import rndfast


def main(
    agent_file: tyro.conf.Positional[Path], *, total_steps: int = 100_000, seed: int = 0
) -> None:
    """Play one episode.

    Args:
        agent_file: A file of `rndfast export`, or a run's directory.
        total_steps: Steps after which it is enough.
        seed: Of the console and of the actions.
    """
    agent = rndfast.load_agent(agent_file, seed=seed)
    env = agent.make_env()
    observations, _ = env.reset(seed=seed)
    state = agent.initial_state(1)
    score, bonuses = 0.0, []
    for _ in range(total_steps):
        actions, _, state = agent.act(observations, state)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        score += float(rewards[0])
        bonuses.append(float(agent.bonus(observations)[0]))
        if terminated[0] or truncated[0]:
            break
    print(f"return {score:g} in {len(bonuses)} steps; most surprising: step {np.argmax(bonuses)}")


if __name__ == "__main__":
    tyro.cli(main)
