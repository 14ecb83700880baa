# SPDX-License-Identifier: MIT
"""Atari environments behind Gymnasium's interfaces, many at once and one at a time.

One idea: ale-py's vector interface emulates and preprocesses; this file checks every argument
before ale-py sees it (which hangs or crashes on bad ones), keeps the returns of the episodes, and
lays out ``info`` as Gymnasium 1.4 does. ale-py always runs in its next-step mode: same-step
autoreset is a reset of the ended environments right here, so their last ``info`` is complete.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rndfast.games import GAMES, env_id, parse_game, rom_path

__all__ = ["AtariEnv", "AtariVectorEnv", "register_envs"]

_INT32_MAX = 2**31 - 1
_CONSOLE_FPS = 60
_SUPPORTED_AUTORESET = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
_UNSEEDED = -1  # ale-py's mark for "go on with the present random stream"


class AtariVectorEnv(VectorEnv[npt.NDArray[np.uint8], npt.NDArray[Any], npt.NDArray[Any]]):
    """Many copies of one Atari game, stepped together.

    Shapes, with ``N = num_envs``: observations are ``(N, stack_num, img_height, img_width)`` uint8,
    oldest frame first, zeros before the reset frame, with a last axis of 3 if ``grayscale=False``;
    actions ``(N,)`` of any integer dtype, indices into the action set; rewards ``(N,)`` float32;
    terminations and truncations ``(N,)`` bool. Every returned array is the caller's: no later call
    writes to it.

    A *step* is one call of `step`: ``frameskip`` emulated *frames* (60 per second), fewer if the
    episode ends. ``info`` holds these ``(N,)`` arrays, each with its mask ``_<key>``:

    - ``env_id``, ``lives``, ``frame_number``, ``episode_frame_number`` (int32; the last two count
      frames): ale-py's, of the returned observation;
    - from `step` only, ``reward_raw`` (float32): unclipped reward, summed over the frames;
    - from `step` only, ``episode_return`` (float32, of ``reward_raw``) and ``episode_length``
      (int32, steps): of the episode that the step belonged to, the step included, so final where a
      termination or truncation is set.

    Autoreset: with ``NEXT_STEP``, the step after the end of an episode ignores its action and
    returns the reset observation; it belongs to no episode (reward, return and length 0). With
    ``SAME_STEP``, the observation is the new episode's, and if any episode ended ``info`` also has
    ``final_obs`` (object array, None elsewhere) and ``final_info`` (dict), each with its mask.

    Args:
        game: Rom id, name or id: ``"pong"``, ``"Pong"`` or ``"rndfast/Pong-v5"``.
        num_envs: Number of environments, 1 to 65536.
        max_num_frames_per_episode: Frames after which an episode is truncated, no-ops and FIRE of
            the reset not counted.
        repeat_action_probability: Chance, in each frame, that the previous action is repeated.
        full_action_space: Use all 18 actions instead of those the game reads.
        autoreset_mode: ``NEXT_STEP`` or ``SAME_STEP``, as enum or its value.
        img_height: Height of an observation in pixels, 1 to 4096.
        img_width: Width of an observation in pixels, 1 to 4096.
        grayscale: Observe brightness instead of red, green and blue.
        stack_num: Steps whose pictures make up an observation, 1 to 1024.
        frameskip: Frames for which an action is held.
        maxpool: Take the brighter of the last two frames, pixel by pixel.
        noop_max: A reset plays a random number of no-op frames below this.
        episodic_life: End (and reset) an episode when a life is lost.
        life_loss_info: Set the termination when a life is lost, but play on; return and length
            start anew.
        reward_clipping: Return the sign of the summed reward.
        use_fire_reset: Press FIRE for one frame at a reset, where the game has that action.
        num_threads: Worker threads, 0 to 1024; 0 lets ale-py choose. Results do not depend on it.
        thread_affinity_offset: First CPU to pin the threads to, -1 for none.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, the game unknown, or its ROM file damaged.
        FileNotFoundError: If ale-py or its ROM file is missing.

    Example:
        >>> envs = AtariVectorEnv("montezuma_revenge", num_envs=2)
        >>> observations, info = envs.reset(seed=0)
        >>> observations.shape
        (2, 4, 84, 84)
        >>> envs.close()
    """

    _ale: Any = None  # ale_py.ALEVectorInterface, None once closed

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        *,
        max_num_frames_per_episode: int = 108_000,
        repeat_action_probability: float = 0.25,
        full_action_space: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        img_height: int = 84,
        img_width: int = 84,
        grayscale: bool = True,
        stack_num: int = 4,
        frameskip: int = 4,
        maxpool: bool = True,
        noop_max: int = 30,
        episodic_life: bool = False,
        life_loss_info: bool = False,
        reward_clipping: bool = True,
        use_fire_reset: bool = True,
        num_threads: int = 0,
        thread_affinity_offset: int = -1,
    ) -> None:
        """Check every argument, then start the emulators. See the class for the arguments."""
        self.game = parse_game(game)
        self.num_envs = _checked_int("num_envs", num_envs, 1, 65_536)
        self.autoreset_mode = _checked_autoreset_mode(autoreset_mode)
        self._max_episode_frames = _checked_int(
            "max_num_frames_per_episode", max_num_frames_per_episode, 1
        )
        self._clips_rewards = _checked_bool("reward_clipping", reward_clipping)
        settings: dict[str, Any] = {
            "num_envs": self.num_envs,
            "frame_skip": _checked_int("frameskip", frameskip, 1),
            "stack_num": _checked_int("stack_num", stack_num, 1, 1024),
            "img_height": _checked_int("img_height", img_height, 1, 4096),
            "img_width": _checked_int("img_width", img_width, 1, 4096),
            "grayscale": _checked_bool("grayscale", grayscale),
            "maxpool": _checked_bool("maxpool", maxpool),
            "noop_max": _checked_int("noop_max", noop_max, 0),
            "use_fire_reset": _checked_bool("use_fire_reset", use_fire_reset),
            "episodic_life": _checked_bool("episodic_life", episodic_life),
            "life_loss_info": _checked_bool("life_loss_info", life_loss_info),
            "reward_clipping": False,  # clipped here, so that info can hold the raw reward
            "max_episode_steps": self._max_episode_frames,  # ale-py's name; it counts frames
            "repeat_action_probability": _checked_probability(
                "repeat_action_probability", repeat_action_probability
            ),
            "full_action_space": _checked_bool("full_action_space", full_action_space),
            "batch_size": 0,
            "num_threads": _checked_int("num_threads", num_threads, 0, 1024),
            "thread_affinity_offset": _checked_int(
                "thread_affinity_offset", thread_affinity_offset, -1, 65_535
            ),
            "autoreset_mode": AutoresetMode.NEXT_STEP.value,
        }
        rom = rom_path(self.game)  # before ale-py opens it: a bad ROM ends the process there

        # the compiled interface, not ale-py's Python class, which writes to VectorEnv.metadata;
        # imported late, so that a missing ale-py is reported by rom_path
        from ale_py import ALEVectorInterface

        self._ale = ALEVectorInterface(rom_path=rom, **settings)
        self._pid = os.getpid()

        num_actions = len(self._ale.get_action_set())
        shape = (stack_num, img_height, img_width) + (() if grayscale else (3,))
        self.single_observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(num_actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_fps = _CONSOLE_FPS / frameskip
        self.metadata = {
            "render_modes": [],
            "render_fps": self.render_fps,
            "autoreset_mode": self.autoreset_mode,
        }

        self.num_actions = num_actions
        self._paddle_strength = np.ones(self.num_envs, np.float32)
        self._plays_on_after_life = bool(life_loss_info and not episodic_life)
        self._is_reset = False
        # per environment; the frames and lives serve to tell a lost life from the end of a game
        self._episode_returns = np.zeros(self.num_envs, np.float64)
        self._episode_lengths = np.zeros(self.num_envs, np.int32)
        self._start_frames = np.zeros(self.num_envs, np.int32)
        self._lives = np.zeros(self.num_envs, np.int32)
        self._has_ended = np.zeros(self.num_envs, np.bool_)  # the step before ended an episode
        self._awaits_reset = np.zeros(self.num_envs, np.bool_)  # the next step is a reset step

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | npt.NDArray[Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Reset all environments, or those selected by a mask.

        Args:
            seed: An int ``s`` seeds environment ``i`` with ``s + i``; a sequence or an ``(N,)``
                integer array gives one seed per environment (unused where not reset); None, also as
                an item, goes on with the present random stream (at first, a random one).
                Seeds are 0 to 2**31 - 1, as in ale-py. Larger ones are refused, not reduced, so
                that different seeds are never the same stream.
            options: ``{"reset_mask": mask}`` with a ``(N,)`` bool array: only these environments
                are reset; the others keep their state. Not changed.

        Returns:
            Observations and ``info`` of all environments, reset or not.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If a shape or seed is wrong, or ``options`` has an unknown key.
            RuntimeError: After `close`, in a forked child, or with a mask before any full reset.
        """
        self._check_usable()
        mask = self._checked_reset_mask(options)
        seeds = self._checked_seeds(seed)
        if not self._is_reset and not mask.all():
            raise RuntimeError("the first reset must be of all environments: leave out reset_mask")
        observations, state = self._reset_emulators(mask, seeds)
        self._is_reset = True
        self._has_ended[mask] = False
        self._awaits_reset[mask] = False
        self._episode_returns[mask] = 0
        self._episode_lengths[mask] = 0
        return observations, self._with_masks(state)

    def step(
        self, actions: npt.NDArray[Any]
    ) -> tuple[
        npt.NDArray[np.uint8],
        npt.NDArray[np.float32],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Hold one action in each environment for ``frameskip`` frames.

        Args:
            actions: ``(N,)`` integer array, each in ``[0, single_action_space.n)``.

        Returns:
            Observations, rewards, terminations, truncations and ``info``; see the class.

        Raises:
            TypeError: If ``actions`` is not an array of integers.
            ValueError: If its shape or an action is wrong. The environments are unchanged.
            RuntimeError: Before `reset`, after `close`, or in a forked child.
        """
        self._check_usable()
        if not self._is_reset:
            raise RuntimeError("call reset() before step()")
        self._ale.send(self._checked_actions(actions), self._paddle_strength)
        observations, ale_rewards, terminations, truncations, state = self._ale.recv()
        rewards_raw = ale_rewards.astype(np.float32)

        # account for the step; a reset step adds nothing to the sums just set to zero
        self._episode_returns[self._has_ended] = 0
        self._episode_lengths[self._has_ended] = 0
        self._episode_returns += rewards_raw
        self._episode_lengths += ~self._awaits_reset
        values = state | {
            "reward_raw": rewards_raw,
            "episode_return": self._episode_returns.astype(np.float32),
            "episode_length": self._episode_lengths.copy(),
        }
        info = self._with_masks(values)

        self._has_ended = terminations | truncations
        self._awaits_reset = self._find_game_ends(state)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._has_ended.any():
            final = self._final_entries(observations, values)
            if self._awaits_reset.any():
                unseeded = np.full(self.num_envs, _UNSEEDED)
                observations, state = self._reset_emulators(self._awaits_reset, unseeded)
                self._awaits_reset[:] = False
            info |= state | final

        rewards = np.sign(rewards_raw) if self._clips_rewards else rewards_raw.copy()
        return observations, rewards, terminations, truncations, info

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the emulators and their threads. `close` calls this once."""
        self._ale = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: the emulators live in threads of this process."""
        raise TypeError(
            "AtariVectorEnv cannot be pickled: make it where it is used, with "
            f'gymnasium.make_vec("{env_id(self.game)}", num_envs={self.num_envs}, ...)'
        )

    def _check_usable(self) -> None:
        if self._ale is None:
            raise RuntimeError("the environment is closed: make a new one")
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"the environment belongs to process {self._pid} and its threads do not exist in "
                f"its fork {os.getpid()}: make it in the child, or start the child by spawn"
            )

    def _checked_actions(self, actions: object) -> npt.NDArray[np.int64]:
        if not isinstance(actions, np.ndarray):
            raise TypeError(f"actions must be a NumPy array, got {type(actions).__name__}")
        if not np.issubdtype(actions.dtype, np.integer):
            raise TypeError(f"actions must have an integer dtype, got {actions.dtype}")
        if actions.shape != (self.num_envs,):
            raise ValueError(f"actions must have shape ({self.num_envs},), got {actions.shape}")
        is_bad = (actions < 0) | (actions >= self.num_actions)
        if is_bad.any():
            env = int(np.argmax(is_bad))
            raise ValueError(
                f"action of env {env} must be in [0, {self.num_actions}), got {actions[env]}"
            )
        return np.ascontiguousarray(actions, np.int64)

    def _checked_reset_mask(self, options: object) -> npt.NDArray[np.bool_]:
        if options is None:
            options = {}
        if not isinstance(options, dict):
            raise TypeError(f"options must be a dict or None, got {type(options).__name__}")
        if unknown := set(options) - {"reset_mask"}:
            raise ValueError(f"options may only have the key 'reset_mask', got {unknown}")
        if "reset_mask" not in options:
            return np.ones(self.num_envs, np.bool_)
        mask: object = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            got = f"dtype {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise TypeError(f"reset_mask must be a NumPy array of bool, got {got}")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask must have shape ({self.num_envs},), got {mask.shape}")
        if not mask.any():
            raise ValueError("reset_mask must select at least one environment, got none")
        checked: npt.NDArray[np.bool_] = mask.copy()
        return checked

    def _checked_seeds(self, seed: object) -> npt.NDArray[np.int64]:
        seeds: list[Any]
        if seed is None:
            seeds = [None] * self.num_envs
        elif isinstance(seed, np.ndarray):
            if not np.issubdtype(seed.dtype, np.integer):
                raise TypeError(f"seed must have an integer dtype, got {seed.dtype}")
            if seed.shape != (self.num_envs,):
                raise ValueError(f"seed must have shape ({self.num_envs},), got {seed.shape}")
            seeds = seed.tolist()
        elif isinstance(seed, Sequence) and not isinstance(seed, (str, bytes)):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed must have {self.num_envs} items, got {len(seed)}")
            seeds = list(seed)
        else:
            first = _checked_int("seed", seed, 0)
            seeds = [first + env for env in range(self.num_envs)]
        return np.array(
            [
                _UNSEEDED if item is None else _checked_int(f"seed of env {env}", item, 0)
                for env, item in enumerate(seeds)
            ],
            np.int64,
        )

    def _reset_emulators(
        self, mask: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.int32]]]:
        indices = np.flatnonzero(mask)
        observations, state = self._ale.reset(indices, seeds[indices])
        self._start_frames[mask] = state["episode_frame_number"][mask]
        self._lives = state["lives"].copy()
        return observations, state

    def _find_game_ends(self, state: dict[str, npt.NDArray[np.int32]]) -> npt.NDArray[np.bool_]:
        """Tell which ended episodes ale-py follows by a reset: all, unless a life plays on."""
        frames, lives = state["episode_frame_number"], state["lives"]
        self._start_frames[self._awaits_reset] = frames[self._awaits_reset]
        has_lost_life = (lives > 0) & (lives < self._lives)
        self._lives = lives.copy()
        is_out_of_frames = frames - self._start_frames >= self._max_episode_frames
        plays_on = has_lost_life & ~is_out_of_frames & self._plays_on_after_life
        game_ends: npt.NDArray[np.bool_] = self._has_ended & ~plays_on
        return game_ends

    def _with_masks(self, values: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
        masks = {f"_{key}": np.ones(self.num_envs, np.bool_) for key in values}
        return values | masks

    def _final_entries(
        self, observations: npt.NDArray[np.uint8], values: dict[str, npt.NDArray[Any]]
    ) -> dict[str, Any]:
        ended = self._has_ended
        final_obs = np.full(self.num_envs, None, dtype=object)
        for env in np.flatnonzero(ended):
            final_obs[env] = observations[env].copy()
        final_info: dict[str, npt.NDArray[Any]] = {}
        for key, value in values.items():
            final_info[key] = np.where(ended, value, np.zeros_like(value))
            final_info[f"_{key}"] = ended.copy()
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": final_info,
            "_final_info": ended.copy(),
        }


class AtariEnv(gymnasium.Env[npt.NDArray[np.uint8], int | np.integer[Any]]):
    """One Atari game, for what takes a `gymnasium.Env`.

    Observations and ``info`` are those of `AtariVectorEnv` without the first axis, the masks and
    ``env_id``. Nothing resets by itself: the step that ends an episode returns its last
    observation, and the next call must be `reset`.

    Args:
        game: Rom id, name or id: ``"pong"``, ``"Pong"`` or ``"rndfast/Pong-v5"``.
        **settings: Keyword arguments of `AtariVectorEnv`, but ``num_envs`` and ``autoreset_mode``.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's declaration)

    def __init__(self, game: str, **settings: Any) -> None:
        """Start the emulator. See the class for the arguments."""
        self._envs = AtariVectorEnv(
            game, num_envs=1, autoreset_mode=AutoresetMode.NEXT_STEP, **settings
        )
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self.metadata = {"render_modes": [], "render_fps": self._envs.render_fps}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Start an episode; ``seed`` and errors as in `AtariVectorEnv.reset`."""
        seed = None if seed is None else _checked_int("seed", seed, 0)
        observations, info = self._envs.reset(seed=seed, options=options)
        super().reset(seed=seed)
        return observations[0], _of_only_env(info)

    def step(
        self, action: int | np.integer[Any]
    ) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Hold ``action`` for ``frameskip`` frames; errors as in `AtariVectorEnv.step`.

        Raises:
            RuntimeError: Also after the end of an episode.
        """
        self._envs._check_usable()
        if self._envs._awaits_reset[0]:
            raise RuntimeError("the episode has ended: call reset() before step()")
        observations, rewards, terminations, truncations, info = self._envs.step(
            np.asarray([action])
        )
        return (
            observations[0],
            float(rewards[0]),
            bool(terminations[0]),
            bool(truncations[0]),
            _of_only_env(info),
        )

    def close(self) -> None:
        """Stop the emulator; may be called again."""
        self._envs.close()


def register_envs() -> None:
    """Register ``rndfast/<Game>-v5`` with Gymnasium for all games; again does nothing."""
    for game in GAMES:
        if env_id(game) not in gymnasium.registry:
            gymnasium.register(
                id=env_id(game),
                entry_point="rndfast.envs:AtariEnv",
                vector_entry_point="rndfast.envs:AtariVectorEnv",
                kwargs={"game": game},
            )


def _of_only_env(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value[0] for key, value in info.items() if f"_{key}" in info and key != "env_id"}


def _checked_int(name: str, value: object, low: int, high: int = _INT32_MAX) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
    return int(value)


def _checked_bool(name: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {type(value).__name__} {value!r}")
    return bool(value)


def _checked_probability(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a float, got {type(value).__name__} {value!r}")
    if math.isnan(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
    return float(value)


def _checked_autoreset_mode(value: object) -> AutoresetMode:
    supported = ", ".join(f"{mode.name} ({mode.value!r})" for mode in _SUPPORTED_AUTORESET)
    if not isinstance(value, (AutoresetMode, str)):
        raise TypeError(
            f"autoreset_mode must be one of {supported}, got {type(value).__name__} {value!r}"
        )
    for mode in _SUPPORTED_AUTORESET:
        if value in (mode, mode.value):
            return mode
    raise ValueError(f"autoreset_mode must be one of {supported}, got {value!r}")
