"""`AtariVectorEnv` as an environment of Stable-Baselines3, which has an interface of its own.

What Gymnasium returns as arrays of N, SB3 wants as one ``done`` and one info dict for each
environment. Observations are not copied, and ``step_async`` and ``step_wait`` are ``send`` and
``recv``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rndfast.envs.atari import AtariVectorEnv, require_autoreset_mode
from rndfast.envs.step_info import rows_of

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ModuleNotFoundError as error:
    if error.name != "stable_baselines3":
        raise
    raise ImportError(
        "stable-baselines3 is not installed: pip install 'rndfast[integrations]'"
    ) from error

from rndfast.integrations.ppo_rnd import PPORND

__all__ = ["PPORND", "SB3VecEnv"]

Array = NDArray[Any]
Indices = int | Iterable[int] | None


class SB3VecEnv(VecEnv):
    """Atari environments for Stable-Baselines3's algorithms, wrappers and callbacks.

    Observations are ``(N, C, H, W)`` uint8, as ``CnnPolicy`` takes them without a wrapper: C is
    ``stack_num``, times 3 for colour, oldest frame first. Rewards are ``(N,)`` float32, dones
    ``(N,)`` bool. Each environment's info is the one that ``gymnasium.make`` would give, with the
    keys that SB3 reads besides:

    - ``TimeLimit.truncated`` (bool): the episode met its frame limit, and did not terminate;
    - at an episode's end, ``terminal_observation`` ``(C, H, W)``, and ``episode`` as of `Monitor`:
      ``r``, the *unclipped* return, ``l``, the length in steps, and ``t``, the seconds since this
      object was made. SB3's logs and ``evaluate_policy`` read it, so that no `Monitor` is needed.

    Args:
        envs: The environments, with ``autoreset_mode="SameStep"``. They belong to this object: it
            closes them.

    Raises:
        TypeError: ``envs`` is no `AtariVectorEnv`.
        ValueError: Its autoreset mode is another.

    Example:
        >>> envs = SB3VecEnv(AtariVectorEnv("pong", num_envs=2, autoreset_mode="SameStep"))
        >>> envs.reset().shape
        (2, 4, 84, 84)
        >>> envs.close()
    """

    def __init__(self, envs: AtariVectorEnv) -> None:
        require_autoreset_mode(envs, AutoresetMode.SAME_STEP)
        self.envs = envs
        self._attributes: list[dict[str, Any]] = [{} for _ in range(envs.num_envs)]
        self._start_s = time.perf_counter()
        shape = envs.single_observation_space.shape or ()  # (S, H, W), or (S, H, W, 3)
        self._has_colors = len(shape) == 4
        planes = self._channels_first(np.empty(shape, np.uint8))
        super().__init__(
            envs.num_envs,
            gymnasium.spaces.Box(0, 255, planes.shape, np.uint8),
            envs.single_action_space,
        )
        # VecVideoRecorder reads the rate
        self.metadata: dict[str, Any] = {**self.metadata, "render_fps": envs.render_fps}

    def reset(self) -> Array:
        """Start an episode in each environment; see `seed`.

        Returns:
            Observations; `reset_infos` has the infos.
        """
        observations, info = self.envs.reset(seed=self._seeds)
        self._reset_seeds()
        self.reset_infos = rows_of(info)
        return self._channels_first(observations)

    def step_async(self, actions: Array | Sequence[int]) -> None:
        """Begin to step all environments; errors as of `AtariVectorEnv.send`.

        The results of a step whose `step_wait` Ctrl-C has cut off are dropped.

        Args:
            actions: ``(N,)`` integers.
        """
        while not self.envs.is_idle:
            self.envs.recv()
        self.envs.send(np.asarray(actions))

    def step_wait(
        self,
    ) -> tuple[Array, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Wait for `step_async`.

        Returns:
            Observations, of the next episode where one ended; rewards; dones; infos. See the class.

        Raises:
            RuntimeError: As of `AtariVectorEnv.recv`.
        """
        observations, rewards, terminations, truncations, info = self.envs.recv()
        dones = terminations | truncations
        infos = rows_of(info)
        for env, is_truncated in enumerate((truncations & ~terminations).tolist()):
            infos[env]["TimeLimit.truncated"] = is_truncated
        if dones.any():
            # where an episode ended, infos are of the next one's first observation
            finals = rows_of(info["final_info"])
            for env in np.flatnonzero(dones).tolist():
                self.reset_infos[env] = {key: infos[env][key] for key in self.reset_infos[env]}
                infos[env] |= finals[env]
                infos[env]["terminal_observation"] = self._channels_first(info["final_obs"][env])
                infos[env]["episode"] = {
                    "r": float(infos[env]["episode_return"]),
                    "l": int(infos[env]["episode_length"]),
                    "t": round(time.perf_counter() - self._start_s, 6),
                }
        return self._channels_first(observations), rewards, dones, infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Choose the next `reset`'s seeds: ``seed + i`` for environment i; None: random ones."""
        if seed is None:
            seed = int(np.random.default_rng().integers(2**32))
        return super().seed(seed)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Refuse options of `reset`: an environment has none.

        Raises:
            ValueError: There are any.
        """
        if any(options if isinstance(options, list) else [options]):
            raise ValueError(f"the environments have no options of reset, got {options!r}")

    def get_images(self) -> Sequence[Array]:
        """What each console shows; see `AtariVectorEnv.render`."""
        return self.envs.render()

    def close(self) -> None:
        """Close the environments; may be called again."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of some environments: of `set_attr`, else of the vector environment.

        Raises:
            AttributeError: There is none of this name.
        """
        if attr_name in ("observation_space", "action_space"):  # one environment's, not all's
            return [getattr(self, attr_name) for _ in self._get_indices(indices)]
        return [
            attributes[attr_name] if attr_name in attributes else getattr(self.envs, attr_name)
            for attributes in (self._attributes[env] for env in self._get_indices(indices))
        ]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Attach a value to some environments, for `get_attr`.

        Raises:
            AttributeError: The environments have an attribute of this name: theirs are fixed.
        """
        if hasattr(self.envs, attr_name):
            raise AttributeError(
                f"{attr_name} is fixed: make the environments with the value that it should have"
            )
        for env in self._get_indices(indices):
            self._attributes[env][attr_name] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call ``render`` or ``get_action_meanings`` of some environments.

        Raises:
            AttributeError: It is another method: single ones have no more.
        """
        if method_name == "get_action_meanings":
            return [self.envs.get_action_meanings() for _ in self._get_indices(indices)]
        if method_name != "render":
            raise AttributeError(
                "single environments have the methods 'render' and 'get_action_meanings', "
                f"got {method_name!r}; all together they have those of the attribute envs"
            )
        pictures = self.envs.render(*method_args, **method_kwargs)
        return [pictures[env] for env in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Whether environments are wrapped: True for `Monitor` alone, whose work they do."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _channels_first(self, observations: Array) -> Array:
        """``(..., S, H, W)`` or ``(..., S, H, W, 3)`` to ``(..., C, H, W)``."""
        if not self._has_colors:
            return observations
        planes = np.moveaxis(observations, -1, -3)  # (..., S, 3, H, W)
        return planes.reshape(*planes.shape[:-4], -1, *planes.shape[-2:])
