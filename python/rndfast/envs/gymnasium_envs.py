"""Environments of Gymnasium, in the form that training asks for."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NoReturn

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformObservation
from numpy.typing import NDArray

from rndfast.envs import games

Step = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]


class GymVectorEnv:
    """Copies of one environment that `gymnasium.make` makes, stepped together in this thread.

    With ``N = num_envs``, observations are ``(N, D)`` float32: numbers, flattened; of a dict (as
    MiniGrid's), its ``"image"``. Actions are ``(N,)`` integers, or ``(N, K)`` floats: what lies
    beyond the environment's bounds is clipped to them. Rewards are ``(N,)`` float32, terminations
    and truncations ``(N,)`` bool. Every returned array is the caller's.

    Autoreset is ``SAME_STEP``: where an episode ends, the observation is the next one's first.
    ``info`` of a step holds:

    - ``reward_raw``: ``(N,)`` float32, the rewards again;
    - ``episode_return`` (``(N,)`` float64) and ``episode_length`` (``(N,)`` int32, steps): of the
      episode that the step belonged to, the step included;
    - if an episode ended, ``final_obs``: ``(N,)`` objects, its last observation, ``(D,)`` float32,
      and None where none ended; ``_final_obs``: ``(N,)`` bool, where one did.

    Args:
        env_id: As `gymnasium.make` takes it: ``"MountainCar-v0"``, or ``"module:Id"`` where a
            module registers it: ``"minigrid:MiniGrid-DoorKey-8x8-v0"``.
        num_envs: Number of environments, at least 1.
        render_mode: ``"rgb_array"`` makes `render` available.

    Raises:
        ValueError: If there is no such environment, a package that it needs is missing, its spaces
            are of another kind, or it draws no pictures and should.

    Example:
        >>> envs = GymVectorEnv("MountainCar-v0", num_envs=2)
        >>> observations, info = envs.reset(seed=0)
        >>> observations.shape
        (2, 2)
        >>> envs.close()
    """

    has_snapshots = False
    pixel_aspect = 1.0
    traced_threads = None

    def __init__(
        self, env_id: str, num_envs: int, *, render_mode: Literal["rgb_array"] | None = None
    ) -> None:
        """Make the environments. See the class for the arguments."""
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if env_id.count(":") > 1:
            raise ValueError(f"env_id must be 'Id' or 'module:Id', got {env_id!r}")
        try:
            if render_mode is not None:
                _require_pictures(env_id, render_mode)
            envs = SyncVectorEnv(
                [functools.partial(_make, env_id, render_mode)] * num_envs,
                autoreset_mode=AutoresetMode.SAME_STEP,
            )
        except (gymnasium.error.Error, ImportError) as error:
            raise ValueError(f"cannot make {env_id!r}: {error}{_advice(env_id, error)}") from error
        self.num_envs = num_envs
        self.render_fps = float(envs.metadata.get("render_fps", 30))
        self._env_id = env_id
        self._env_space = envs.single_action_space
        self.single_action_space = _flat_actions(self._env_space)
        self.single_observation_space = envs.single_observation_space
        self._envs: SyncVectorEnv | None = envs  # None once closed
        self._is_reset = False
        self._step: Step | None = None  # what the last `send` led to, until `recv` returns it
        self._episode_return = np.zeros(num_envs)
        self._episode_length = np.zeros(num_envs, np.int32)

    def reset(
        self, *, seed: int | Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode in each environment.

        A step of `send` that has not been received is lost.

        Args:
            seed: An int ``s`` seeds environment ``i`` with ``s + i``; a sequence gives one seed for
                each; None goes on with the present random streams (at first, random ones).

        Returns:
            Observations, and an empty ``info``.

        Raises:
            ValueError: If a sequence has another length than ``num_envs``.
            RuntimeError: After `close`, or an environment failed; its own error is the cause.
        """
        envs = self._open_envs()
        if isinstance(seed, Sequence) and len(seed) != self.num_envs:
            raise ValueError(f"seed must have {self.num_envs} items, got {len(seed)}")
        self._step = None
        self._episode_return[:] = 0
        self._episode_length[:] = 0
        with self._named_in_errors("reset()"):
            observations, _ = envs.reset(seed=[*seed] if isinstance(seed, Sequence) else seed)
        self._is_reset = True
        return observations, {}

    def step(self, actions: NDArray[Any]) -> Step:
        """Do an action in each environment.

        Args:
            actions: ``(N,)`` integers in ``[0, single_action_space.n)``, or ``(N, K)`` floats.

        Returns:
            Observations, rewards, terminations, truncations and ``info``; see the class.

        Raises:
            TypeError: If ``actions`` has the wrong dtype.
            ValueError: If its shape or an action is wrong. The environments are unchanged.
            RuntimeError: Before `reset`, after `close`, while a `send` is not yet received, or an
                environment failed; its own error is the cause.
        """
        self.send(actions, np.arange(self.num_envs))
        return self.recv()

    def send(
        self,
        actions: NDArray[Any],
        env_ids: NDArray[np.int64],
        *,
        out: NDArray[np.float32] | None = None,
    ) -> None:
        """Step all environments; `recv` returns what came of it.

        Args:
            actions: As of `step`.
            env_ids: ``(N,)``: 0 to N - 1 in order. These environments cannot be stepped in parts.
            out: ``(N, D)`` float32, where to write the observations; None: a new array.

        Raises:
            TypeError: As of `step`.
            ValueError: As of `step`, or if ``env_ids`` are others.
            RuntimeError: As of `step`.
        """
        envs = self._open_envs()
        if not self._is_reset:
            raise RuntimeError("call reset() before step()")
        if self._step is not None:
            raise RuntimeError("a step is under way: call recv() or reset() first")
        if not np.array_equal(env_ids, np.arange(self.num_envs)):
            raise ValueError(
                f"env_ids must be all {self.num_envs} environments in order, got {env_ids}"
            )
        checked = self._checked_actions(actions)
        with self._named_in_errors("step()"):
            observations, rewards, terminations, truncations, env_info = envs.step(checked)
        if out is not None:
            out[:] = observations
            observations = out
        self._episode_return += rewards
        self._episode_length += 1
        reward_raw = rewards.astype(np.float32)
        info: dict[str, Any] = {
            "reward_raw": reward_raw,
            "episode_return": self._episode_return.copy(),
            "episode_length": self._episode_length.copy(),
        }
        ended = terminations | truncations
        if ended.any():
            info |= {key: env_info[key] for key in ("final_obs", "_final_obs")}
            self._episode_return[ended] = 0
            self._episode_length[ended] = 0
        self._step = observations, reward_raw.copy(), terminations, truncations, info

    def recv(self) -> Step:
        """Return what `step` does, of the last `send`.

        Raises:
            RuntimeError: If there was none, or after `close`.
        """
        self._open_envs()
        if self._step is None:
            raise RuntimeError("nothing is under way: call send() first")
        step, self._step = self._step, None
        return step

    def copy_state(self, memory: NDArray[np.uint8] | None = None) -> NoReturn:
        """Refuse: Gymnasium's environments do not tell their state.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("Gymnasium environments do not tell their state")

    def snapshot_of(self, state: NDArray[np.uint8]) -> NoReturn:
        """Refuse, as `copy_state` does."""
        raise NotImplementedError("Gymnasium environments do not tell their state")

    def restore(self, snapshot: bytes) -> NoReturn:
        """Refuse: training begins new episodes where environments cannot be restored.

        Raises:
            ValueError: Always.
        """
        raise ValueError("Gymnasium environments cannot be restored")

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Pictures of the environments, each ``(H, W, 3)``; of the next episode where one ended.

        Raises:
            ImportError: If the environment draws with a package that is missing.
            RuntimeError: Before `reset`, after `close`, or without ``render_mode="rgb_array"``.
        """
        envs = self._open_envs()
        if envs.render_mode != "rgb_array":
            raise RuntimeError("render() needs render_mode='rgb_array'")
        if not self._is_reset:
            raise RuntimeError("call reset() before render()")
        try:
            pictures = envs.render() or ()
        except gymnasium.error.DependencyNotInstalled as error:
            raise ImportError(f"cannot draw {self._env_id!r}: {error}") from None
        return tuple(np.asarray(picture, np.uint8) for picture in pictures)

    def close(self) -> None:
        """Free what the environments hold; may be called again."""
        if self._envs is not None:
            self._envs.close()
        self._envs = None

    def _open_envs(self) -> SyncVectorEnv:
        if self._envs is None:
            raise RuntimeError("the environment is closed: make a new one")
        return self._envs

    @contextlib.contextmanager
    def _named_in_errors(self, call: str) -> Iterator[None]:
        """Say whose error it is: with a traceback, and not as an error in the user's settings."""
        try:
            yield
        except Exception as error:
            raise RuntimeError(
                f"{self._env_id!r} failed in {call}: {type(error).__name__}: {error}"
            ) from error

    def _checked_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        space = self.single_action_space
        kind = np.integer if isinstance(space, Discrete) else np.floating
        if not np.issubdtype(actions.dtype, kind):
            expected = "an integer" if kind is np.integer else "a float"
            raise TypeError(f"actions must have {expected} dtype, got {actions.dtype}")
        shape = (self.num_envs, *(space.shape or ()))
        if actions.shape != shape:
            raise ValueError(f"actions must have shape {shape}, got {actions.shape}")
        if isinstance(space, Discrete):
            is_bad = (actions < 0) | (actions >= space.n)
            expected = f"in [0, {space.n})"
        else:
            is_bad = np.isnan(actions).any(axis=1)
            expected = "numbers"
        if is_bad.any():
            n = int(np.argmax(is_bad))
            raise ValueError(f"action of env {n} must be {expected}, got {actions[n]}")
        if not isinstance(self._env_space, Box):
            return actions
        in_shape = actions.reshape(self.num_envs, *self._env_space.shape)
        clipped: NDArray[Any] = np.clip(in_shape, self._env_space.low, self._env_space.high)
        return clipped.astype(self._env_space.dtype)


def random_actions(
    space: Discrete | Box, num_envs: int, rng: np.random.Generator
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Actions of a random agent: ``(N,)`` int64 or ``(N, K)`` float32.

    Each is uniform in the space; standard normal, clipped, along a direction without two bounds.
    """
    if isinstance(space, Discrete):
        return rng.integers(space.n, size=num_envs)
    shape = (num_envs, *space.shape)
    is_bounded = np.isfinite(space.low) & np.isfinite(space.high)
    low, high = np.where(is_bounded, space.low, 0), np.where(is_bounded, space.high, 0)
    drawn = np.where(is_bounded, rng.uniform(low, high, shape), rng.standard_normal(shape))
    clipped: NDArray[np.float32] = np.clip(drawn, space.low, space.high).astype(np.float32)
    return clipped


def _make(
    env_id: str, render_mode: str | None
) -> TransformObservation[NDArray[np.float32], Any, Any]:
    """One environment, with ``(D,)`` float32 observations."""
    # an environment that draws nothing need not know of render_mode
    options: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    env: gymnasium.Env[Any, Any] = gymnasium.make(env_id, **options)
    space, key = env.observation_space, None
    if isinstance(space, Dict) and "image" in space.spaces:
        space, key = space["image"], "image"
    if not isinstance(space, Box):
        raise ValueError(
            f"the observation space must be a Box, or a Dict with a Box 'image', "
            f"got {env.observation_space}"
        )

    def flatten(observation: Any) -> NDArray[np.float32]:
        array = observation if key is None else observation[key]
        flat: NDArray[np.float32] = np.array(array, np.float32).ravel()
        if flat.shape != flat_space.shape:
            raise ValueError(
                f"an observation must have the shape of its space, {space.shape}, "
                f"got {np.shape(array)}"
            )
        return flat  # a copy: the environment may write to its own

    flat_space = Box(-np.inf, np.inf, (math.prod(space.shape),), np.float32)
    return TransformObservation(env, flatten, flat_space)


def _require_pictures(env_id: str, render_mode: str) -> None:
    """Ask an environment whether it draws, before it is told to.

    Raises:
        ValueError: It does not.
    """
    with contextlib.closing(gymnasium.make(env_id)) as env:
        if render_mode not in env.metadata.get("render_modes", ()):
            raise ValueError(
                f"{env_id!r} draws no pictures: its metadata must have {render_mode!r} among "
                "'render_modes' (or play without a video: rndfast eval --no-record)"
            )


def _flat_actions(space: gymnasium.Space[Any]) -> Discrete | Box:
    """The space of actions as training gives them."""
    if isinstance(space, Discrete) and space.start == 0:
        return space
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        low, high = (bound.astype(np.float32).ravel() for bound in (space.low, space.high))
        return Box(low, high, dtype=np.float32)
    raise ValueError(
        f"the action space must be a Discrete that starts at 0 or a Box of floats, got {space}"
    )


def _advice(env_id: str, error: Exception) -> str:
    """What to do where an environment cannot be made."""
    module = env_id.rpartition(":")[0]
    missing = getattr(error.__cause__, "name", None)  # of the import that Gymnasium tried
    if isinstance(error, gymnasium.error.DependencyNotInstalled) or missing == "minigrid":
        return " (Box2D and MiniGrid come with the extra 'gym': pip install 'rndfast[gym]')"
    if missing is not None and missing == module.partition(".")[0]:
        return (
            " A module of your own must be where Python looks for it: train with "
            "'python -m rndfast train' in its folder, or name the folder in PYTHONPATH."
        )
    unknown = (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound)
    if isinstance(error, unknown) and not module:
        # "PongNoFrameskip-v4" and "PongDeterministic-v4" are other settings of the same game
        name = re.sub("(NoFrameskip|Deterministic)?(-.*)?$", "", env_id.rpartition("/")[2], count=1)
        with contextlib.suppress(ValueError):
            return f" An Atari game of ours is {games.env_id(name)!r}."
        return " Another package's is 'module:Id', as 'minigrid:MiniGrid-DoorKey-8x8-v0'."
    return ""
