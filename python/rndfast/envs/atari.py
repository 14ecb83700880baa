# SPDX-License-Identifier: MIT
"""Atari environments behind Gymnasium's interfaces, many at once and one at a time.

One idea: the compiled core plays, preprocesses and resets, and checks the settings; this file
offers it as Gymnasium 1.4 wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rndfast import _core
from rndfast.envs.games import ACTION_MEANINGS, GAMES, env_id, has_rooms, parse_game, rom_path
from rndfast.envs.step_info import StepInfo, all_entries
from rndfast.runtime.seeds import reduced_seed

__all__ = ["AtariEnv", "AtariVectorEnv", "register_envs", "require_autoreset_mode"]

_CONSOLE_FPS = 60
# The core takes this seed as "go on with the present random numbers".
_UNSEEDED = -1
_CONSOLE_KEYS = ("env_id", "lives", "frame_number", "episode_frame_number", "ram")
_STEP_KEYS = ("reward_raw", "episode_return", "episode_length", "game_over")

Array = npt.NDArray[Any]
Step = tuple[
    npt.NDArray[np.uint8],
    npt.NDArray[np.float32],
    npt.NDArray[np.bool_],
    npt.NDArray[np.bool_],
    dict[str, Any],
]


class AtariVectorEnv(VectorEnv[npt.NDArray[np.uint8], npt.NDArray[Any], npt.NDArray[Any]]):
    """Many copies of one Atari game, stepped together.

    Shapes, with ``N = num_envs``: observations are ``(N, stack_num, img_height, img_width)`` uint8,
    oldest frame first, zeros before the reset frame, with a last axis of 3 if ``grayscale=False``;
    actions ``(N,)`` of any integer dtype, indices into the action set; rewards ``(N,)`` float32;
    terminations and truncations ``(N,)`` bool. Every returned array is the caller's, with ``copy``:
    no later call writes to it.

    A *step* is one call of `step`: ``frameskip`` emulated *frames* (60 per second), fewer if the
    episode ends. ``info`` holds these ``(N,)`` arrays, each with its mask ``_<key>``:

    - ``env_id``, ``lives``, ``frame_number``, ``episode_frame_number`` (int32; the last two count
      frames), ``ram`` (``(N, 128)`` uint8) and, where the game keeps it in RAM, ``room`` (int32):
      of the returned observation;
    - from `step` only, ``reward_raw`` (float32): unclipped reward, summed over the frames;
    - from `step` only, ``episode_return`` (float32, of ``reward_raw``) and ``episode_length``
      (int32, steps): of the episode that the step belonged to, the step included, so final where a
      termination or truncation is set;
    - from `step` only, ``game_over`` (bool): the game itself has ended, or reached the limit of
      frames, so that a new one follows; False where only a life was lost.

    Autoreset: with ``NEXT_STEP``, the step after the end of an episode ignores its action and
    returns the reset observation; it belongs to no episode (reward, return and length 0). With
    ``SAME_STEP``, the observation is the new episode's, and if any episode ended ``info`` also has
    ``final_obs`` (object array, None elsewhere) and ``final_info`` (dict), each with its mask. With
    ``DISABLED``, an ended episode must be reset by ``reset(options={"reset_mask": mask})``.

    Instead of `step`, `send` begins to step some environments and `recv` waits for them, so that
    the caller can choose the actions of one half while the other half is emulated. Results are the
    same, byte for byte, either way, and for any number of threads.

    Args:
        game: Rom id, name or id: ``"pong"``, ``"Pong"`` or ``"rndfast/Pong-v5"``.
        num_envs: Number of environments, 1 to 65536.
        max_num_frames_per_episode: Frames after which an episode is truncated, no-ops and FIRE of
            the reset not counted.
        repeat_action_probability: Chance, in each frame, that the previous action is repeated.
        full_action_space: Use all 18 actions instead of those the game reads.
        autoreset_mode: ``NEXT_STEP``, ``SAME_STEP`` or ``DISABLED``, as enum or its value.
        img_height: Height of an observation in pixels, 1 to 4096.
        img_width: Width of an observation in pixels, 1 to 4096.
        grayscale: Observe brightness instead of red, green and blue.
        stack_num: Steps whose pictures make up an observation, 1 to 1024.
        frameskip: Frames for which an action is held.
        maxpool: Take the brighter of the last two frames, pixel by pixel.
        pool_before_grey: Pool red, green and blue of the last two frames, then turn the result
            grey, as the authors of RND do; ale-py turns each frame grey and pools the greys. No
            effect without ``grayscale`` and ``maxpool`` (``docs/algorithm.md``).
        noop_max: A reset plays a random number of no-op frames below this.
        episodic_life: End an episode when a life is lost; the next one goes on in the same game,
            after one step of no-op, whose last frame is FIRE with ``use_fire_reset``.
        life_loss_info: Set the termination when a life is lost, but play on; return and length
            start anew.
        reward_clipping: Return the sign of the summed reward.
        use_fire_reset: Press FIRE for one frame at a reset, where the game has that action; also
            where an episode begins after a lost life.
        mode: One of the game's modes; None: its first.
        difficulty: One of the game's difficulties: bit 0 is the left switch, bit 1 the right one,
            1 is A. None: both at B.
        ale_compatible: Do as ale-py does where it is mistaken: a step that an ended episode cuts
            short does not show its last frame, and a lost life with ``episodic_life`` starts a new
            game (``docs/emulator.md``).
        copy: Return new arrays from every step, which stay as they are. Without it, arrays are
            used again: what a `recv` or `step` returned, ``info`` included, is valid until the
            second `recv` or `step` after it; and the entries of ``info`` are made when they are
            asked for. ``final_obs`` stays in any case.
        render_mode: ``"rgb_array"`` to use `render`; None.
        num_threads: Worker threads, 0 to 1024; 0 means one for each core that the process
            may use (its affinity, and a container's CPU quota).
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

    has_snapshots = True
    pixel_aspect = 0.75  # a television's pixel is wider than high
    _batch: _core.AtariBatch | None = None  # None once closed

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
        pool_before_grey: bool = False,
        noop_max: int = 30,
        episodic_life: bool = False,
        life_loss_info: bool = False,
        reward_clipping: bool = True,
        use_fire_reset: bool = True,
        mode: int | None = None,
        difficulty: int | None = None,
        ale_compatible: bool = False,
        copy: bool = True,
        render_mode: str | None = None,
        num_threads: int = 0,
        thread_affinity_offset: int = -1,
    ) -> None:
        """Check every argument, then start the threads. See the class for the arguments."""
        self.game = parse_game(game)
        self.autoreset_mode = _checked_autoreset_mode(autoreset_mode)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        self.render_mode = render_mode
        self._batch = _core.AtariBatch(
            self.game,
            rom_path(self.game).read_bytes(),
            num_envs=num_envs,
            num_threads=num_threads,
            thread_affinity_offset=thread_affinity_offset,
            copy=copy,
            max_num_frames_per_episode=max_num_frames_per_episode,
            repeat_action_probability=repeat_action_probability,
            full_action_space=full_action_space,
            autoreset_mode=self.autoreset_mode.value,
            img_height=img_height,
            img_width=img_width,
            grayscale=grayscale,
            stack_num=stack_num,
            frameskip=frameskip,
            maxpool=maxpool,
            pool_before_grey=pool_before_grey,
            noop_max=noop_max,
            episodic_life=episodic_life,
            life_loss_info=life_loss_info,
            reward_clipping=reward_clipping,
            use_fire_reset=use_fire_reset,
            mode=mode,
            difficulty=difficulty,
            ale_compatible=ale_compatible,
            keeps_colors=render_mode is not None,
        )

        self.num_envs = self._batch.num_envs
        self._action_set = self._batch.action_set
        self.num_actions = len(self._action_set)
        shape = (stack_num, img_height, img_width) + (() if grayscale else (3,))
        self.single_observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(self.num_actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_fps = _CONSOLE_FPS / frameskip
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": self.render_fps,
            "autoreset_mode": self.autoreset_mode,
        }
        self._is_reset = False
        rooms = ("room",) if has_rooms(self.game) else ()
        self._console_keys = (*_CONSOLE_KEYS, *rooms)
        self._step_keys = (*_CONSOLE_KEYS, *rooms, *_STEP_KEYS)
        self._is_same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        self._copies = copy

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | Array | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Reset all environments, or those selected by a mask.

        Results of `send` that have not been received are lost.

        Args:
            seed: An int ``s`` seeds environment ``i`` with ``s + i``; a sequence or an ``(N,)``
                integer array gives one seed per environment (unused where not reset); None, also as
                an item, goes on with the present random stream (at first, a random one).
                A seed is any integer that is not negative. The consoles take 32 bits: larger ones
                are hashed by `numpy.random.SeedSequence`.
            options: ``{"reset_mask": mask}`` with a ``(N,)`` bool array: only these environments
                are reset; the others keep their state. Not changed.

        Returns:
            Observations and ``info`` of all environments, reset or not.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If a shape or seed is wrong, or ``options`` has an unknown key.
            RuntimeError: After `close`, in a forked child, or with a mask before any full reset.
        """
        batch = self._usable_batch()
        mask = self._checked_reset_mask(options)
        seeds = self._checked_seeds(seed)
        if not self._is_reset:
            if not mask.all():
                raise RuntimeError(
                    "the first reset must be of all environments: leave out reset_mask"
                )
            unseeded = seeds == _UNSEEDED
            seeds[unseeded] = np.random.default_rng().integers(0, 2**32, unseeded.sum())
        env_ids = np.flatnonzero(mask)
        batch.reset(env_ids, seeds[env_ids])
        self._is_reset = True
        results = batch.observe()
        make_info = all_entries if self._copies else StepInfo.of
        info = make_info(results, self._console_keys, is_same_step=False)
        return results.observations, info

    def step(self, actions: Array, *, out: npt.NDArray[np.uint8] | None = None) -> Step:
        """Hold one action in each environment for ``frameskip`` frames.

        Args:
            actions: ``(N,)`` integer array, each in ``[0, single_action_space.n)``.
            out: Where to write the observations, of their shape and dtype; None: a new array.

        Returns:
            Observations, rewards, terminations, truncations and ``info``; see the class.

        Raises:
            TypeError: If ``actions`` is not an array of integers.
            ValueError: If its shape or an action is wrong. The environments are unchanged.
            RuntimeError: Before `reset`, after `close`, in a forked child, while a `send` is under
                way, or, without autoreset, where an episode has ended.
            KeyboardInterrupt: At Ctrl-C. The step goes on: `recv` returns its results.
        """
        self._started_batch().send(actions, None, out, waits=True)
        return self.recv()

    def send(
        self,
        actions: Array,
        env_ids: Array | None = None,
        *,
        out: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Begin to step some environments, and return at once.

        Args:
            actions: ``(n,)`` integer array, as of `step`.
            env_ids: ``(n,)`` integer array of different environments; None: all in order.
            out: As of `step`, with n rows. It must not be used before `recv`.

        Raises:
            TypeError: If an argument is not an array of the right type.
            ValueError: If a shape, action or environment is wrong.
            RuntimeError: As of `step`, or where an environment is still under way.
        """
        self._started_batch().send(actions, env_ids, out)

    def recv(self) -> Step:
        """Wait for the oldest `send`, and return what `step` does for its environments.

        Row ``i`` is environment ``info["env_id"][i]``, in the order of `send`.

        Raises:
            RuntimeError: If nothing is under way; after `close` or in a forked child. If an
                environment fails, its number and what happened.
            KeyboardInterrupt: At Ctrl-C. Nothing is lost: call again.
        """
        observations, rewards, terminations, truncations, results = self._open_batch().recv()
        # libraries that walk through trees of dicts, as torch's pytree, take a subclass for a leaf
        make_info = all_entries if self._copies else StepInfo.of
        info = make_info(results, self._step_keys, is_same_step=self._is_same_step)
        return observations, rewards, terminations, truncations, info

    def render(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """Return what each console shows, ``(H, 160, 3)`` uint8; H is 210 for most games.

        Pooled as observations are: after a step the brighter of its last two frames, with
        ``maxpool``.

        Raises:
            RuntimeError: Without ``render_mode="rgb_array"``, before `reset`, after `close`, or
                while a `send` is under way.
        """
        batch = self._idle_batch()
        if self.render_mode is None:
            raise RuntimeError('make the environment with render_mode="rgb_array" to render it')
        if not self._is_reset:
            raise RuntimeError("call reset() before render()")
        return tuple(batch.render(env) for env in range(self.num_envs))

    def snapshot(self) -> bytes:
        """Return the whole state: consoles, random streams, pictures, frame stacks and episodes.

        Restoring it continues exactly: the same actions give the same bytes.

        Raises:
            RuntimeError: Before `reset`, after `close`, in a forked child, or while a `send` is
                under way.
        """
        batch = self._idle_batch()
        if not self._is_reset:
            raise RuntimeError("call reset() before snapshot()")
        return batch.snapshot()

    def copy_state(self, memory: Array | None = None) -> Array:
        """Return the whole state quickly, copied by all threads and without a checksum.

        `snapshot_of` makes of it what `snapshot` would have returned.

        Args:
            memory: What an earlier call returned, to be written over; None: new memory.

        Raises:
            TypeError: If ``memory`` is no array of uint8.
            ValueError: If it is of other environments.
            RuntimeError: As of `snapshot`.
        """
        batch = self._idle_batch()
        if not self._is_reset:
            raise RuntimeError("call reset() before copy_state()")
        if memory is None:
            memory = np.empty(batch.snapshot_bytes, np.uint8)
        batch.copy_state(memory)
        return memory

    @staticmethod
    def snapshot_of(state: Array) -> bytes:
        """Return the snapshot of a state that `copy_state` returned.

        Args:
            state: Not changed.

        Raises:
            TypeError: If it is no array of uint8.
            ValueError: If it does not come from there.
        """
        completed = state.copy()
        _core.add_snapshot_sum(completed)
        snapshot: bytes = completed.tobytes()
        return snapshot

    def restore(self, snapshot: bytes) -> None:
        """Return to a state that `snapshot` gave, here or in another process.

        Args:
            snapshot: Of environments of the same game, number and settings (but reward clipping).

        Raises:
            TypeError: If it is not bytes.
            ValueError: If it is damaged, or of other environments or another build of rndfast. The
                environments are unchanged.
            RuntimeError: After `close`, in a forked child, or while a `send` is under way.
        """
        if not isinstance(snapshot, bytes):
            raise TypeError(f"snapshot must be bytes, got {type(snapshot).__name__}")
        self._idle_batch().restore(snapshot)
        self._is_reset = True

    def get_states(self, env_ids: Array) -> list[bytes]:
        """Return the state of some environments, each by itself.

        A state holds all there is: console, random streams, picture, frame stack and episode. It is
        what `snapshot` of the same environment alone, ``num_envs=1``, would return.

        Args:
            env_ids: ``(n,)`` integers.

        Raises:
            TypeError: If ``env_ids`` is no array of integers.
            ValueError: If it has another shape, or a number that is no environment's.
            RuntimeError: As of `snapshot`.
        """
        batch = self._idle_batch()
        if not self._is_reset:
            raise RuntimeError("call reset() before get_states()")
        return batch.get_states(np.asarray(env_ids))

    def set_states(self, env_ids: Array, states: Sequence[bytes]) -> None:
        """Return some environments to states that `get_states` gave, here or in another process.

        They go on exactly as those whose states they were: the same actions give the same bytes.
        `step` and `recv` return what follows; nothing returns the restored observation itself.

        Args:
            env_ids: ``(n,)`` integers, each once.
            states: n states, of any environments of the same game and settings (but reward
                clipping); the same one may be there several times.

        Raises:
            TypeError: If ``env_ids`` is no array of integers, or a state is not bytes.
            ValueError: If ``env_ids`` has another shape, a number twice or one that is no
                environment's; if a state is damaged, or of other environments or another build of
                rndfast. The environments are unchanged.
            RuntimeError: As of `snapshot`.
        """
        batch = self._idle_batch()
        if not self._is_reset:
            raise RuntimeError("call reset() before set_states()")
        for index, state in enumerate(states):
            if not isinstance(state, bytes):
                raise TypeError(f"states[{index}] must be bytes, got {type(state).__name__}")
        batch.set_states(np.asarray(env_ids), states)

    def copy_states(self, source_ids: Array, target_ids: Array) -> None:
        """Put the states of some environments into others, which go on from there as they would.

        All sources are read first, so that environments may change places. It copies memory alone,
        more than a hundred thousand environments a second. Random streams are copied too: with
        sticky actions or no-op starts, give copies other actions for them to differ.

        Args:
            source_ids: ``(n,)`` integers; one may be there several times.
            target_ids: ``(n,)`` integers, each once.

        Raises:
            TypeError: If either is no array of integers.
            ValueError: If they have other shapes, or numbers that are no environments'; if a target
                is there twice.
            RuntimeError: As of `snapshot`.
        """
        batch = self._idle_batch()
        if not self._is_reset:
            raise RuntimeError("call reset() before copy_states()")
        batch.copy_states(np.asarray(source_ids), np.asarray(target_ids))

    def get_action_meanings(self) -> list[str]:
        """Say what each action does, in ale-py's words: ``["NOOP", "FIRE", "RIGHT", "LEFT"]``."""
        return [ACTION_MEANINGS[action] for action in self._action_set]

    @property
    def is_idle(self) -> bool:
        """Whether no `send` is under way whose results `recv` has not returned.

        Raises:
            RuntimeError: After `close` or in a forked child.
        """
        return self._usable_batch().is_idle

    @property
    def traced_threads(self) -> AtariVectorEnv:
        """These environments, whose threads `start_trace` and `take_trace` are about."""
        return self

    def start_trace(self, max_spans: int) -> None:
        """Begin to note which thread works on which environment and when, for `take_trace`.

        Args:
            max_spans: Steps and resets of single environments to keep at most, 1 to 2**24.

        Raises:
            TypeError: If it is no int.
            ValueError: If it is out of range.
            RuntimeError: After `close` or in a forked child.
        """
        self._usable_batch().start_trace(_checked_int("max_spans", max_spans, 1, 2**24))

    def take_trace(self) -> Array:
        """End the trace and return it, one record for each step or reset of an environment.

        Returns:
            ``(n,)`` records, in the order in which the work ended: int64 ``start_ns`` and
            ``end_ns``, of the clock of `time.perf_counter_ns`; uint32 ``thread``, below
            ``num_threads``, or ``num_threads`` for the thread that waited; uint32 ``item``, the
            environment.

        Raises:
            RuntimeError: After `close` or in a forked child.
        """
        return self._usable_batch().take_trace()

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads. `close` calls this once."""
        self._batch = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: the consoles belong to threads of this process."""
        raise TypeError(
            "AtariVectorEnv cannot be pickled: make it where it is used, with "
            f'gymnasium.make_vec("{env_id(self.game)}", num_envs={self.num_envs}, ...)'
        )

    def _open_batch(self) -> _core.AtariBatch:
        if self._batch is None:
            raise RuntimeError("the environment is closed: make a new one")
        return self._batch

    def _started_batch(self) -> _core.AtariBatch:
        batch = self._open_batch()
        if not self._is_reset:
            batch.require_owner()
            raise RuntimeError("call reset() before step()")
        return batch

    def _usable_batch(self) -> _core.AtariBatch:
        batch = self._open_batch()
        batch.require_owner()
        return batch

    def _idle_batch(self) -> _core.AtariBatch:
        batch = self._usable_batch()
        if not self.is_idle:
            raise RuntimeError("a step is under way: call recv() or reset() first")
        return batch

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
            first = _checked_seed("seed", seed)
            seeds = [first + env for env in range(self.num_envs)]
        return np.array(
            [
                _UNSEEDED
                if item is None
                else reduced_seed(_checked_seed(f"seed of env {env}", item), bits=32)
                for env, item in enumerate(seeds)
            ],
            np.int64,
        )


class AtariEnv(gymnasium.Env[npt.NDArray[np.uint8], int | np.integer[Any]]):
    """One Atari game, for what takes a `gymnasium.Env`.

    Observations and ``info`` are those of `AtariVectorEnv` without the first axis, the masks and
    ``env_id``. Nothing resets by itself: the step that ends an episode returns its last
    observation, and the next call must be `reset`.

    Args:
        game: Rom id, name or id: ``"pong"``, ``"Pong"`` or ``"rndfast/Pong-v5"``.
        **settings: Keyword arguments of `AtariVectorEnv`, but ``num_envs`` and ``autoreset_mode``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (Gymnasium's declaration)

    def __init__(self, game: str, **settings: Any) -> None:
        """Start the emulator. See the class for the arguments."""
        self._envs = AtariVectorEnv(
            game, num_envs=1, autoreset_mode=AutoresetMode.DISABLED, **settings
        )
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self.render_mode = self._envs.render_mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": self._envs.render_fps}
        self._has_ended = False
        # a termination is then not the end of the episode
        self._plays_on_after_life = settings.get("life_loss_info", False) and not settings.get(
            "episodic_life", False
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Start an episode; ``seed`` as of `AtariVectorEnv.reset`.

        Raises:
            TypeError: ``seed`` is no int.
            ValueError: It is negative, or there are options: an environment has none.
            RuntimeError: After `close` or in a forked child.
        """
        seed = None if seed is None else _checked_seed("seed", seed)
        if options:
            raise ValueError(f"options must be None or empty, got {options!r}")
        observations, info = self._envs.reset(seed=seed)
        self._has_ended = False
        super().reset(seed=seed)
        return observations[0], _of_only_env(info)

    def step(
        self, action: int | np.integer[Any]
    ) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Hold ``action`` for ``frameskip`` frames.

        Raises:
            TypeError: ``action`` is no integer.
            ValueError: It is an array of integers, or none of the game's actions.
            RuntimeError: Before `reset`, after `close`, in a forked child, or after the end of an
                episode.
            KeyboardInterrupt: At Ctrl-C. If the step had begun, it was made; its results are lost.
        """
        action_array = np.asarray(action)
        if action_array.shape != ():
            raise ValueError(f"action must be one integer, got shape {action_array.shape}")
        if not np.issubdtype(action_array.dtype, np.integer):
            raise TypeError(f"action must be an integer, got {type(action).__name__} {action!r}")
        if not 0 <= action_array < self._envs.num_actions:
            raise ValueError(f"action must be in [0, {self._envs.num_actions}), got {action}")
        if self._has_ended:
            raise RuntimeError("the episode has ended: call reset() first")
        try:
            observations, rewards, terminations, truncations, info = self._envs.step(
                action_array.reshape(1)
            )
        except KeyboardInterrupt:
            # who goes on can only step again, and does not know of a step that is under way
            if not self._envs.is_idle:  # it is, if Ctrl-C came before the step or after its end
                _, _, terminations, truncations, info = self._envs.recv()
                self._note_end(terminations, truncations, info)
            raise
        self._note_end(terminations, truncations, info)
        return (
            observations[0],
            float(rewards[0]),
            bool(terminations[0]),
            bool(truncations[0]),
            _of_only_env(info),
        )

    def get_action_meanings(self) -> list[str]:
        """Say what each action does; see `AtariVectorEnv.get_action_meanings`."""
        return self._envs.get_action_meanings()

    def _note_end(self, terminations: Array, truncations: Array, info: dict[str, Any]) -> None:
        is_end = info["game_over"] if self._plays_on_after_life else terminations | truncations
        self._has_ended = bool(is_end[0])

    def render(self) -> npt.NDArray[np.uint8]:
        """Return the console's picture; errors as in `AtariVectorEnv.render`."""
        return self._envs.render()[0]

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


def require_autoreset_mode(envs: object, mode: AutoresetMode) -> None:
    """Check what an adapter to another library is given.

    Raises:
        TypeError: ``envs`` is no `AtariVectorEnv`.
        ValueError: Its autoreset mode is another.
    """
    if not isinstance(envs, AtariVectorEnv):
        raise TypeError(f"envs must be an AtariVectorEnv, got {type(envs).__name__}")
    if envs.autoreset_mode is not mode:
        raise ValueError(
            f"envs must be made with autoreset_mode={mode.value!r}, "
            f"got {envs.autoreset_mode.value!r}"
        )


def _of_only_env(info: dict[str, Any]) -> dict[str, Any]:
    values = {key: value[0] for key, value in info.items() if f"_{key}" in info and key != "env_id"}
    if "game_over" in values:  # Gymnasium makes arrays of Python's bool alone
        values["game_over"] = bool(values["game_over"])
    return values


def _int(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    return int(value)


def _checked_int(name: str, value: object, low: int, high: int) -> int:
    checked = _int(name, value)
    if not low <= checked <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
    return checked


def _checked_seed(name: str, value: object) -> int:
    checked = _int(name, value)
    if checked < 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return checked


def _checked_autoreset_mode(value: object) -> AutoresetMode:
    modes = ", ".join(f"{mode.name} ({mode.value!r})" for mode in AutoresetMode)
    if not isinstance(value, (AutoresetMode, str)):
        raise TypeError(
            f"autoreset_mode must be one of {modes}, got {type(value).__name__} {value!r}"
        )
    for mode in AutoresetMode:
        if value in (mode, mode.value):
            return mode
    raise ValueError(f"autoreset_mode must be one of {modes}, got {value!r}")
