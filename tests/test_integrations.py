from __future__ import annotations

import subprocess
import sys

TORCHRL = """
import gymnasium, rndfast, torch
from torchrl.envs import GymWrapper
from torchrl.envs.utils import check_env_specs

env = GymWrapper(gymnasium.make_vec("rndfast/Pong-v5", num_envs=2, autoreset_mode="SameStep"))
check_env_specs(env)
steps = env.rollout(3, break_when_any_done=False)
assert steps.batch_size == torch.Size([2, 3]), steps.batch_size
assert steps["observation"].shape == (2, 3, 4, 84, 84)
assert steps["next", "reward_raw"].shape[:2] == (2, 3)
"""


def test_torchrl_wraps_the_vector_environment() -> None:
    # in a process of its own: torchrl warns and logs at import
    done = subprocess.run(
        [sys.executable, "-c", TORCHRL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
