"""The training environment that a configuration describes."""

from __future__ import annotations

import dataclasses
from typing import Literal

import gymnasium

from rndfast.config import Config
from rndfast.envs.atari import AtariVectorEnv
from rndfast.envs.games import parse_game
from rndfast.envs.gymnasium_envs import GymVectorEnv
from rndfast.envs.protocol import SameStepEnv


def make_env(
    config: Config, num_threads: int, render_mode: Literal["rgb_array"] | None = None
) -> SameStepEnv:
    """The training environment: same-step autoreset, unclipped rewards.

    Atari's returns single frames, which the rollout stacks; the next steps use their arrays again.
    """
    num_envs = config.env.num_envs
    return _make_env(config, num_envs, num_threads, render_mode, stack_num=1, copy=False)


def make_env_to_play(
    config: Config, num_envs: int, render_mode: Literal["rgb_array"] | None = None
) -> AtariVectorEnv | GymVectorEnv:
    """The same for scripts: Atari's returns whole stacks, in arrays that stay as they are."""
    stack_num = config.atari.stack_num
    return _make_env(config, num_envs, 0, render_mode, stack_num=stack_num, copy=True)


def _make_env(
    config: Config,
    num_envs: int,
    num_threads: int,
    render_mode: Literal["rgb_array"] | None,
    *,
    stack_num: int,
    copy: bool,
) -> AtariVectorEnv | GymVectorEnv:
    env_id = config.env.env_id
    if not config.env.is_atari:
        return GymVectorEnv(env_id, num_envs, render_mode=render_mode)
    settings = dataclasses.asdict(config.atari) | {
        "num_envs": num_envs,
        "stack_num": stack_num,
        "reward_clipping": False,
        "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP,
        "num_threads": num_threads,
        "copy": copy,
        "render_mode": render_mode,
    }
    return AtariVectorEnv(parse_game(env_id), **settings)
