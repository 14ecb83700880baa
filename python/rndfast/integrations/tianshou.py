"""`AtariVectorEnv` as a vector environment of Tianshou, for its collectors.

Tianshou resets single environments itself and wants one info dict for each. All environments of a
step are one call of the core.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rndfast.envs.atari import AtariVectorEnv, require_autoreset_mode
from rndfast.envs.step_info import rows_of

try:
    from tianshou.env import BaseVectorEnv
except ModuleNotFoundError as error:
    if error.name != "tianshou":
        raise
    raise ImportError("tianshou is not installed: pip install tianshou") from error

__all__ = ["TianshouVectorEnv"]

Array = NDArray[Any]
Ids = int | list[int] | Array | None


class TianshouVectorEnv(BaseVectorEnv):
    """Atari environments for Tianshou's `Collector`, trainers and wrappers of vector environments.

    It gives what Tianshou's `DummyVectorEnv` gives of ``gymnasium.make``'s environments. Arrays
    have a row for each environment that is asked for, in the order of its ids: observations
    ``(n, stack_num, H, W)`` uint8, with a last axis of 3 for colour, rewards ``(n,)`` float32,
    terminations and truncations ``(n,)`` bool, infos ``(n,)`` dicts.

    Args:
        envs: The environments, with ``autoreset_mode="Disabled"``. They belong to this object: it
            closes them.

    Raises:
        TypeError: ``envs`` is no `AtariVectorEnv`.
        ValueError: Its autoreset mode is another.

    Example:
        >>> envs = TianshouVectorEnv(AtariVectorEnv("pong", 2, autoreset_mode="Disabled"))
        >>> envs.reset()[0].shape
        (2, 4, 84, 84)
        >>> envs.reset(env_id=[1])[0].shape
        (1, 4, 84, 84)
        >>> envs.close()
    """

    def __init__(self, envs: AtariVectorEnv) -> None:
        # not BaseVectorEnv's own, which starts a worker for each environment
        require_autoreset_mode(envs, AutoresetMode.DISABLED)
        self.envs = envs
        self.env_num = self.wait_num = envs.num_envs
        self.is_async = self.is_closed = False
        # of which collectors sample, environment by environment
        self._action_spaces = [
            gymnasium.spaces.Discrete(envs.num_actions) for _ in range(envs.num_envs)
        ]

    def reset(self, env_id: Ids = None, **kwargs: Any) -> tuple[Array, Array]:
        """Start an episode in some environments.

        Args:
            env_id: Which; None: all.
            kwargs: ``seed``, as of `AtariVectorEnv.reset`.

        Returns:
            Observations and infos of these environments.
        """
        ids = np.asarray(self._wrap_id(env_id))
        mask = np.zeros(self.env_num, np.bool_)
        mask[ids] = True
        observations, info = self.envs.reset(options={"reset_mask": mask}, **kwargs)
        return observations[ids], np.array(rows_of(info), object)[ids]

    def step(self, action: Any, id: Ids = None) -> tuple[Array, Array, Array, Array, Array]:
        """Step some environments; errors as of `AtariVectorEnv.send`.

        Args:
            action: ``(n,)`` integers.
            id: Which environments; None: all.

        Returns:
            Observations, rewards, terminations, truncations and infos of these environments.
        """
        ids = np.asarray(self._wrap_id(id))
        self.envs.send(np.asarray(action), ids)
        observations, rewards, terminations, truncations, info = self.envs.recv()
        infos = rows_of(info)
        for row, env in zip(infos, ids.tolist(), strict=True):
            row["env_id"] = env
        return observations, rewards, terminations, truncations, np.array(infos, object)

    def seed(self, seed: int | list[int] | None = None) -> list[Any]:
        """Reset all environments, and their action spaces, with seeds.

        Args:
            seed: One for each environment; an int: ``seed + i`` for environment i; None: random.

        Returns:
            For each environment a list with its seed.
        """
        seeds: list[Any]
        if isinstance(seed, int):
            seeds = [seed + env for env in range(self.env_num)]
        else:
            seeds = [None] * self.env_num if seed is None else seed
        self.envs.reset(seed=seeds)
        for space, own in zip(self._action_spaces, seeds, strict=True):
            space.seed(own)
        return [[own] for own in seeds]

    def render(self, **kwargs: Any) -> list[Array]:
        """What each console shows; see `AtariVectorEnv.render`."""
        return list(self.envs.render(**kwargs))

    def close(self) -> None:
        """Close the environments; may be called again."""
        self.envs.close()
        self.is_closed = True

    def get_env_attr(self, key: str, id: Ids = None) -> list[Any]:
        """An attribute of some environments; all but spaces are those of the vector environment.

        Raises:
            AttributeError: There is none of this name.
        """
        if key == "action_space":
            return [self._action_spaces[env] for env in self._wrap_id(id)]
        name = "single_observation_space" if key == "observation_space" else key
        return [getattr(self.envs, name) for _ in self._wrap_id(id)]

    def set_env_attr(self, key: str, value: Any, id: Ids = None) -> None:
        """Refuse: the environments share their settings.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(
            f"{key} is fixed: make the environments with the value that it should have"
        )
