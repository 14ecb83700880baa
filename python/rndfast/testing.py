# SPDX-License-Identifier: MIT
"""A conformance test for vector environments of Gymnasium 1.4, which itself has none.

The environments of a batch have independent random streams, so what one of them shows depends on
its seed and its actions alone. The same episodes must therefore come out in every autoreset mode,
after any misuse, and whatever happens to the other environments or to the arrays that were
returned. The checker plays the same episodes many times, under such changes, and compares.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

__all__ = ["RULES", "VectorEnvError", "check_vector_env"]

RULES = {
    "spaces": "num_envs, the single spaces and the batched ones agree",
    "metadata": 'metadata["autoreset_mode"] is the AutoresetMode of this instance, and stays so',
    "observations": "an observation is in its space: shape, dtype and bounds, C-contiguous",
    "step-arrays": "rewards, terminations and truncations are (num_envs,) arrays: real, bool, bool",
    "info": 'every key of info has a bool mask "_key", and a value with num_envs rows',
    "episodes-end": "enough episodes end for the other rules to be checked",
    "seed-repeats": "the same seed and actions give the same results, in any copy",
    "seed-matters": "different seeds, and different environments, differ somewhere",
    "seed-counts-up": "reset(seed=s) seeds environment i with s + i",
    "seed-stream": "reset() without a seed goes on with the random stream",
    "same-episodes": "every autoreset mode plays the same episodes",
    "next-step": "the step after an end ignores its action: reward 0, neither ended again",
    "same-step": "final_obs and final_info, with masks, exactly where an episode ended",
    "disabled": "stepping an ended environment is refused",
    "reset-mask": "environments in reset_mask begin an episode, and their next step is one of it",
    "reset-mask-bad": "a bad reset_mask raises TypeError or ValueError",
    "reset-mask-options": "reset leaves the caller's options as they were",
    "reset-mask-others": "environments outside of reset_mask go on as if nothing had happened",
    "fresh-arrays": "returned arrays are the caller's: neither written to nor read again",
    "bad-actions": "actions of wrong shape or value raise",
    "misuse-harmless": "after a refused step all goes on as if nothing had happened",
    "step-before-reset": "step before the first reset raises",
    "close": "close may be called twice and sets closed; any use after it raises",
}

_SEED = 123
_ALL_MODES = tuple(AutoresetMode)

AnyVectorEnv = VectorEnv[Any, Any, Any]
Mask = npt.NDArray[np.bool_]
Episodes = list[list["_Event"]]


class VectorEnvError(AssertionError):
    """A vector environment broke a rule.

    Attributes:
        rule: The rule's name, a key of `RULES`.
    """

    def __init__(self, rule: str, message: str) -> None:
        """Compose the message of the rule's name, what it says, and what was found."""
        super().__init__(f"[{rule}] {RULES[rule]}; but {message}")
        self.rule = rule


def check_vector_env(
    make_env: Callable[..., AnyVectorEnv],
    *,
    autoreset_modes: Collection[AutoresetMode] = _ALL_MODES,
    num_steps: int = 200,
    skip: Collection[str] = (),
) -> None:
    """Check that a vector environment keeps the rules of Gymnasium 1.4, and survives misuse.

    It takes a function that makes environments, since many rules compare several of them: with
    equal seeds, in different modes, closed or misused ones. Some dozens are made and closed.
    Actions are sampled from the single action space.

    Args:
        make_env: Called with ``autoreset_mode=`` an `AutoresetMode`; returns a new environment of
            at least 2 copies, equal but for the mode. ``functools.partial`` of a class or of
            ``gymnasium.make_vec`` with its arguments does.
        autoreset_modes: Modes to check; all that the environment has.
        num_steps: Steps of each play. Some episode must end in its first half.
        skip: Rules that need not be kept, keys of `RULES`. Only they are then left unchecked.

    Raises:
        VectorEnvError: If a rule is broken; it is an `AssertionError`, and says which and how.
        ValueError: If ``num_steps`` is below 2, ``skip`` has an unknown rule or ``autoreset_modes``
            is empty.

    Example:
        >>> from functools import partial
        >>> from rndfast import AtariVectorEnv
        >>> settings = {"num_envs": 2, "max_num_frames_per_episode": 100}
        >>> check_vector_env(partial(AtariVectorEnv, "breakout", **settings), num_steps=60)
    """
    if unknown := set(skip) - set(RULES):
        raise ValueError(f"skip must be names of rules (see rndfast.testing.RULES), got {unknown}")
    if num_steps < 2:
        raise ValueError(f"num_steps must be at least 2, got {num_steps}")
    if not autoreset_modes:
        raise ValueError("autoreset_modes must name at least one mode, got none")
    checker = _Checker(make_env, num_steps, frozenset(skip))
    checker.check_metadata(list(autoreset_modes))
    episodes_of: dict[AutoresetMode, Episodes] = {}
    for mode in autoreset_modes:
        episodes_of[mode] = checker.check_mode(mode)
    first = next(iter(episodes_of))
    for mode, episodes in episodes_of.items():
        checker.require_equal(
            "same-episodes", (mode.name, episodes), (first.name, episodes_of[first])
        )


class _Event(NamedTuple):
    """What one environment showed: at a reset, or at a step that it took."""

    is_reset: bool
    observation: Any
    outcome: tuple[float, bool, bool] = (0.0, False, False)  # reward, terminated, truncated

    def __str__(self) -> str:
        text = f"{'reset' if self.is_reset else 'step'} to {_text(self.observation)}"
        return text if self.is_reset else f"{text}, (reward, terminated, truncated) {self.outcome}"


class _Checker:
    def __init__(
        self, make_env: Callable[..., AnyVectorEnv], num_steps: int, skip: frozenset[str]
    ) -> None:
        self._make_env = make_env
        self._num_steps = num_steps
        self._skip = skip

    # --- verdicts -----------------------------------------------------------------------------

    def require(self, rule: str, is_kept: object, message: str, *found: object) -> None:
        """Raise, with what was found in the places of the message, unless the rule is kept."""
        if not is_kept and rule not in self._skip:
            raise VectorEnvError(rule, message.format(*map(_text, found)))

    def require_equal(
        self, rule: str, found: tuple[str, Episodes], expected: tuple[str, Episodes]
    ) -> None:
        """Compare as many events as both have. Each comes with a name of the play."""
        if difference := _difference(found, expected):
            self.require(rule, False, "{}", difference)

    def require_raises(
        self, rule: str, call: Callable[[], object], what: str, errors: Any = Exception
    ) -> None:
        if rule in self._skip:
            return
        try:
            call()
        except errors:
            return
        except Exception as error:
            raise VectorEnvError(rule, f"{what} raised {error!r}") from error
        raise VectorEnvError(rule, f"{what} raised nothing")

    # --- rules --------------------------------------------------------------------------------

    def check_metadata(self, modes: list[AutoresetMode]) -> None:
        class_metadata = dict(VectorEnv.metadata)
        envs = [self._make_env(autoreset_mode=mode) for mode in modes]
        for env, mode in zip(envs, modes, strict=True):
            got = env.metadata.get("autoreset_mode")
            others = [other.name for other in modes if other is not mode]
            message = "with {}, made beside others with {}, it is {}"
            self.require("metadata", got is mode, message, mode.name, others, got)
        is_same = VectorEnv.metadata == class_metadata
        message = "making environments changed the class's, VectorEnv.metadata, to {}"
        self.require("metadata", is_same, message, VectorEnv.metadata)
        for env in envs:
            env.close()

    def check_mode(self, mode: AutoresetMode) -> Episodes:
        """Check all rules of one mode; return the episodes that it plays."""
        env = self._make_env(autoreset_mode=mode)
        self._check_spaces(env)
        self._check_before_reset(env)
        episodes = self._play(env, mode)
        num_ends = sum(any(event.outcome[1:]) for events in episodes for event in events)
        message = "none did in {} steps ({}): let episodes be shorter, or num_steps larger"
        self.require("episodes-end", num_ends, message, self._num_steps, mode.name)

        self._check_seeds(env, mode, episodes)
        if mode is AutoresetMode.NEXT_STEP:
            again = self._play(env, mode, ignored=1)
            name = ("with other actions at resets", again)
            self.require_equal("next-step", name, ("without", episodes))
            name = ("reset by a mask", self._play(env, mode, by_mask=True))
            self.require_equal("reset-mask", name, ("by autoreset", episodes))
        scribbled = self._play(env, mode, scribble=True)
        self.require_equal(
            "fresh-arrays", ("with returned arrays overwritten", scribbled), ("without", episodes)
        )
        self._check_reset_masks(env, mode)
        self._check_misuse(env, mode, episodes)
        self._check_close(env)
        return episodes

    def _check_spaces(self, env: AnyVectorEnv) -> None:
        self.require("spaces", isinstance(env, VectorEnv), "it is no VectorEnv but a {}", type(env))
        num_envs: object = env.num_envs
        if not isinstance(num_envs, int) or num_envs < 2:
            raise VectorEnvError("spaces", f"at least 2 are needed here, num_envs is {num_envs!r}")
        for name in ("observation_space", "action_space"):
            single, batched = getattr(env, f"single_{name}"), getattr(env, name)
            is_space = isinstance(single, gymnasium.Space)
            self.require("spaces", is_space, "single_{} is {}", name, single)
            expected, message = batch_space(single, num_envs), "{} is {}, expected {}"
            self.require("spaces", batched == expected, message, name, batched, expected)

    def _check_before_reset(self, env: AnyVectorEnv) -> None:
        actions = _Actions(env, self._num_steps).batch([0] * env.num_envs)
        self.require_raises("step-before-reset", lambda: env.step(actions), "step")

    def _check_seeds(self, env: AnyVectorEnv, mode: AutoresetMode, episodes: Episodes) -> None:
        name = ("the first time", episodes)
        self.require_equal("seed-repeats", ("the second time", self._play(env, mode)), name)
        other = self._make_env(autoreset_mode=mode)
        self.require_equal("seed-repeats", ("in another copy", self._play(other, mode)), name)
        reseeded = self._play(other, mode, seed=_SEED + 1000)
        is_different = _difference(("", reseeded), ("", episodes)) is not None
        message = "seeds {} and {} give the same {} steps"
        self.require("seed-matters", is_different, message, _SEED, _SEED + 1000, self._num_steps)

        # the same actions for all: what is left is the seeds
        alike = self._play(other, mode, same_actions=True)
        is_different = any(_difference(("", [alike[0]]), ("", [one])) for one in alike[1:])
        message = "all environments show the same in {} steps of the same actions"
        self.require("seed-matters", is_different, message, self._num_steps)

        seeds = [_SEED + i for i in range(env.num_envs)]
        as_list = self._play(other, mode, seed=seeds)
        name = (f"seed={_SEED}", episodes)
        self.require_equal("seed-counts-up", (f"seed={seeds}", as_list), name)

        openings, again = self._openings(env, mode), self._openings(other, mode)
        for number, (one, two) in enumerate(zip(openings, again, strict=True)):
            names = (f"reset {number} after one with a seed", "in another copy")
            self.require_equal("seed-stream", (names[0], one), (names[1], two))
        is_different = any(_difference(("", openings[0]), ("", one)) for one in openings[1:])
        message = "{} resets in a row begin the same episodes"
        self.require("seed-stream", is_different, message, len(openings))
        other.close()

    def _check_reset_masks(self, env: AnyVectorEnv, mode: AutoresetMode) -> None:
        num_envs, rule = env.num_envs, "reset-mask-bad"
        actions = _Actions(env, self._num_steps)
        first, second = (actions.batch([i] * num_envs) for i in range(2))
        twin = self._make_env(autoreset_mode=mode)
        for each in (env, twin):
            each.reset(seed=_SEED)
        before, _, terminations, truncations, _ = env.step(first)
        twin.step(first)
        for mask, error in (
            ([True] * num_envs, TypeError),
            (np.ones(num_envs, np.int64), TypeError),
            (np.ones(num_envs + 1, np.bool_), ValueError),
            (np.ones((num_envs, 1), np.bool_), ValueError),
            (np.zeros(num_envs, np.bool_), ValueError),
        ):
            what = f"{_text(mask)} of {getattr(mask, 'dtype', type(mask).__name__)}"
            options: dict[str, Any] = {"reset_mask": mask}
            self.require_raises(rule, _bound(env.reset, options=options), what, error)
        before = copy.deepcopy(before)

        is_in_mask = np.arange(num_envs) % 2 == 0
        mask = is_in_mask.copy()
        options = {"reset_mask": mask}
        observations, info = env.reset(options=options)
        self._check_observations(env, observations)
        self._check_info(info, num_envs)
        is_same = options.keys() == {"reset_mask"} and options["reset_mask"] is mask
        is_same = is_same and np.array_equal(mask, is_in_mask)
        self.require("reset-mask-options", is_same, "they are now {}, the mask {}", options, mask)
        after, before = _rows(env, observations), _rows(env, before)
        for i in np.flatnonzero(~is_in_mask):
            is_same = data_equivalence(after[i], before[i], exact=True)
            message = "env {} showed {} and then, not reset, {}"
            self.require("reset-mask-others", is_same, message, i, before[i], after[i])
        can_go_on = mode is not AutoresetMode.DISABLED or not (terminations | truncations).any()
        rows, expected_rows = (
            _rows(each, each.step(second)[0]) if can_go_on else [] for each in (env, twin)
        )
        for i in np.flatnonzero(~is_in_mask) if can_go_on else ():
            is_same = data_equivalence(rows[i], expected_rows[i], exact=True)
            message = "env {} then steps to {}, expected {}"
            self.require("reset-mask-others", is_same, message, i, rows[i], expected_rows[i])
        twin.close()

    def _check_misuse(self, env: AnyVectorEnv, mode: AutoresetMode, episodes: Episodes) -> None:
        rule = "misuse-harmless"
        if rule in self._skip:
            self._misuse_apart(env, mode)
            return
        try:
            misused = self._play(env, mode, misuse=True)
        except VectorEnvError:
            raise
        except Exception as error:
            raise VectorEnvError(rule, f"a good call raised {error!r} ({mode.name})") from error
        self.require_equal(rule, ("after refused steps", misused), ("without", episodes))

    def _misuse_apart(self, env: AnyVectorEnv, mode: AutoresetMode) -> None:
        """Check that misuse is refused, where it may do harm: with a full reset after each."""
        for bad in _bad_actions(env):
            env.reset(seed=_SEED)
            self._refuses_actions(env, bad)
        env.reset(seed=_SEED)
        actions = _Actions(env, self._num_steps)
        for step in range(self._num_steps if mode is AutoresetMode.DISABLED else 0):
            batch = actions.batch([step] * env.num_envs)
            _, _, terminations, truncations, _ = env.step(batch)
            if (terminations | truncations).any():
                self._refuses_ended(env, batch, terminations | truncations)
                return

    def _check_close(self, env: AnyVectorEnv) -> None:
        actions = _Actions(env, self._num_steps).batch([0] * env.num_envs)
        env.close()
        self.require("close", env.closed, "after it, closed is {}", env.closed)
        try:
            env.close()
        except Exception as error:
            self.require("close", False, "the second one raised {}", error)
        self.require_raises("close", lambda: env.step(actions), "step after it")
        self.require_raises("close", env.reset, "reset after it")

    # --- play ---------------------------------------------------------------------------------

    def _play(
        self,
        env: AnyVectorEnv,
        mode: AutoresetMode,
        *,
        seed: Any = _SEED,
        ignored: int = 0,
        by_mask: bool = False,
        scribble: bool = False,
        misuse: bool = False,
        same_actions: bool = False,
    ) -> Episodes:
        """Play from a seed, checking all that is returned.

        Args:
            env: What to play.
            mode: Its autoreset mode.
            seed: Of the first reset.
            ignored: Which actions to give where they must be ignored.
            by_mask: Reset by a mask although there is autoreset.
            scribble: Overwrite every array once it has been looked at.
            misuse: Try bad actions now and then.
            same_actions: Give all environments the same actions.

        Returns:
            The events of every environment. Each got its own actions in order, however many of its
            steps were resets, so that they do not depend on the mode.
        """
        by_mask = by_mask or mode is AutoresetMode.DISABLED
        actions = _Actions(env, self._num_steps, same_actions)
        num_taken = [0] * env.num_envs
        kept = _Kept()
        ended: Mask = np.zeros(env.num_envs, np.bool_)
        episodes: Episodes = [[] for _ in range(env.num_envs)]

        def reset(where: Mask, **arguments: Any) -> None:
            observations, info = env.reset(**arguments)
            self._check_observations(env, observations)
            self._check_info(info, env.num_envs)
            note_resets(observations, where)
            kept.add((observations, info), scribble)

        def note_resets(observations: Any, where: Mask) -> None:
            rows = _rows(env, observations)
            for i in np.flatnonzero(where):
                episodes[i].append(_Event(True, copy.deepcopy(rows[i])))

        reset(~ended, seed=seed)
        for step in range(self._num_steps):
            if by_mask and ended.any():
                if misuse and mode is AutoresetMode.DISABLED:
                    self._refuses_ended(env, actions.batch(num_taken), ended)
                reset(ended, options={"reset_mask": ended.copy()})
                ended[:] = False
            if misuse and step % 7 == 1:
                for bad in _bad_actions(env):
                    self._refuses_actions(env, bad)
            result = env.step(actions.batch(num_taken + ignored * ended))
            was_reset, ended = ended, self._check_step(env, mode, result)
            for i, event in enumerate(_steps(env, mode, ended, result)):
                if was_reset[i] and mode is AutoresetMode.NEXT_STEP:
                    is_right = event.outcome == (0, False, False)
                    message = "env {} got (reward, terminated, truncated) {}"
                    self.require("next-step", is_right, message, i, event.outcome)
                    continue
                num_taken[i] += 1
                episodes[i].append(event)
            if mode is not AutoresetMode.DISABLED:
                note_resets(result[0], was_reset if mode is AutoresetMode.NEXT_STEP else ended)
            kept.add(result, scribble)
        changed = None if scribble else kept.changed()
        message = "what call {} returned changed later"
        self.require("fresh-arrays", changed is None, message, changed)
        return episodes

    def _openings(self, env: AnyVectorEnv, mode: AutoresetMode) -> list[Episodes]:
        """Return how the episodes after a seeded reset and four others without a seed begin."""
        openings: list[Episodes] = []
        for number in range(5):
            observations, _ = env.reset(seed=_SEED if number == 0 else None)
            rows = _rows(env, observations)
            opening = [[_Event(True, copy.deepcopy(row))] for row in rows]
            actions = _Actions(env, self._num_steps)
            for step in range(min(10, self._num_steps)):
                observations, _, terminations, truncations, _ = env.step(
                    actions.batch([step] * env.num_envs)
                )
                for events, row in zip(opening, _rows(env, observations), strict=True):
                    events.append(_Event(False, copy.deepcopy(row)))
                if mode is AutoresetMode.DISABLED and (terminations | truncations).any():
                    break
            openings.append(opening)
        return openings

    def _refuses_actions(self, env: AnyVectorEnv, actions: npt.NDArray[Any]) -> None:
        what = f"{_text(actions)} of {actions.dtype} for {env.action_space}"
        self.require_raises("bad-actions", _bound(env.step, actions), what)

    def _refuses_ended(self, env: AnyVectorEnv, actions: Any, ended: Mask) -> None:
        what = f"stepping the ended envs {np.flatnonzero(ended).tolist()}"
        self.require_raises("disabled", _bound(env.step, actions), what)

    # --- what a call returns ------------------------------------------------------------------

    def _check_observations(self, env: AnyVectorEnv, observations: Any) -> None:
        space, rule = env.observation_space, "observations"
        is_inside = space.contains(observations)
        if is_inside and isinstance(space, gymnasium.spaces.Box):  # contains() allows other dtypes
            is_inside = observations.dtype == space.dtype
        self.require(rule, is_inside, "{} is not in {}", observations, space)
        for leaf in _arrays(observations):
            message = "one of shape {} has strides {}"
            self.require(rule, leaf.flags.c_contiguous, message, leaf.shape, leaf.strides)

    def _check_step(self, env: AnyVectorEnv, mode: AutoresetMode, result: Any) -> Mask:
        """Check what a step returned; return where an episode ended."""
        observations, rewards, terminations, truncations, info = result
        self._check_observations(env, observations)
        for name, array, kinds in (
            ("rewards", rewards, "fiu"),
            ("terminations", terminations, "b"),
            ("truncations", truncations, "b"),
        ):
            is_right = _has_rows(array, env.num_envs) and array.ndim == 1
            is_right = is_right and array.dtype.kind in kinds
            self.require("step-arrays", is_right, "{} is {}", name, array)
        self._check_info(info, env.num_envs)
        ended: Mask = terminations | truncations
        if mode is AutoresetMode.SAME_STEP:
            self._check_final(env, ended, info)
        return ended

    def _check_info(self, info: Any, num_envs: int, *, is_nested: bool = False) -> None:
        self.require("info", isinstance(info, dict), "info is {}", info)
        for key, value in info.items():
            if not isinstance(key, str):
                self.require("info", False, "a key is {}", key)
            elif key.startswith("_") and key[1:] in info:
                is_mask = _has_rows(value, num_envs) and value.ndim == 1 and value.dtype == np.bool_
                self.require("info", is_mask, "the mask '{}' is {}", key, value)
            else:
                # wrappers such as RecordEpisodeStatistics leave out masks inside of a dict
                has_mask = f"_{key}" in info or is_nested
                self.require("info", has_mask, "'{}' has no mask, among {}", key, list(info))
                if isinstance(value, dict):
                    self._check_info(value, num_envs, is_nested=True)
                    continue
                self.require("info", _has_rows(value, num_envs), "'{}' is {}", key, value)

    def _check_final(self, env: AnyVectorEnv, ended: Mask, info: dict[str, Any]) -> None:
        rule = "same-step"
        for key in ("final_obs", "final_info"):
            mask = info.get(f"_{key}", np.zeros(env.num_envs, np.bool_))
            is_right = np.array_equal(mask, ended) and (key in info or not ended.any())
            self.require(rule, is_right, "where {} ended, the mask of {} is {}", ended, key, mask)
        if not ended.any():
            return
        final_obs, final_info = info.get("final_obs"), info.get("final_info")
        is_right = isinstance(final_obs, np.ndarray) and final_obs.dtype == object
        self.require(rule, is_right, "final_obs is no array of objects but {}", final_obs)
        for i, last in enumerate(final_obs if final_obs is not None else ()):
            is_right = env.single_observation_space.contains(last) if ended[i] else last is None
            message = "where {} ended, final_obs of env {} is {}"
            self.require(rule, is_right, message, ended, i, last)
        self.require(rule, isinstance(final_info, dict), "final_info is {}", final_info)
        values = final_info if isinstance(final_info, dict) else {}
        for key in values:
            if key.startswith("_") and key[1:] in values:
                continue
            mask = values.get(f"_{key}")
            is_right = isinstance(mask, np.ndarray) and not (mask & ~ended).any()
            message = "where {} ended, the mask of '{}' in final_info is {}"
            self.require(rule, is_right, message, ended, key, mask)


class _Actions:
    """For each environment its own sequence of sampled actions, the same in every copy."""

    def __init__(self, env: AnyVectorEnv, num_steps: int, same_actions: bool = False) -> None:
        self._space = env.single_action_space
        self._num_envs = env.num_envs
        space = copy.deepcopy(self._space)
        space.seed(0)
        rows = [space.sample() for _ in range((1 if same_actions else env.num_envs) * num_steps)]
        self._of_env = [
            rows if same_actions else rows[i :: env.num_envs] for i in range(env.num_envs)
        ]

    def batch(self, indices: Any) -> Any:
        """Return the actions of these indices, one for each environment."""
        rows = [rows[index % len(rows)] for rows, index in zip(self._of_env, indices, strict=True)]
        empty: Any = create_empty_array(self._space, n=self._num_envs)
        return concatenate(self._space, rows, empty)


class _Kept:
    """What calls returned, and how it was then."""

    def __init__(self) -> None:
        self._returned: list[Any] = []
        self._copies: list[Any] = []

    def add(self, returned: Any, scribble: bool) -> None:
        self._returned.append(returned)
        self._copies.append(copy.deepcopy(returned))
        if scribble:
            for array in _arrays(returned):
                if array.flags.writeable:
                    array[...] = np.ones((), array.dtype)

    def changed(self) -> int | None:
        """Return the number of the first call whose results are not what they were."""
        pairs = zip(self._returned, self._copies, strict=True)
        unequal = (i for i, (a, b) in enumerate(pairs) if not data_equivalence(a, b, exact=True))
        return next(unequal, None)


def _bad_actions(env: AnyVectorEnv) -> Iterator[npt.NDArray[Any]]:
    """Yield actions of wrong shape or value, where the space is simple enough to know some."""
    space, single = env.action_space, env.single_action_space
    if not isinstance(space, (gymnasium.spaces.MultiDiscrete, gymnasium.spaces.Box)):
        return
    good = np.asarray(space.sample())
    yield np.concatenate([good, good[:1]])
    yield good[:-1]
    if isinstance(single, gymnasium.spaces.Discrete):
        yield good.astype(np.float64) + 0.5
        for value in (single.start - 1, single.start + single.n):
            bad = good.copy()
            bad[-1] = value
            yield bad


def _steps(env: AnyVectorEnv, mode: AutoresetMode, ended: Mask, result: Any) -> Iterator[_Event]:
    """Yield what each environment showed in a step, before any reset in it."""
    observations, rewards, terminations, truncations, info = result
    for i, row in enumerate(_rows(env, observations)):
        is_final = ended[i] and mode is AutoresetMode.SAME_STEP and "final_obs" in info
        last = copy.deepcopy(info["final_obs"][i] if is_final else row)
        yield _Event(False, last, (float(rewards[i]), bool(terminations[i]), bool(truncations[i])))


def _bound(call: Callable[..., object], *args: Any, **kwargs: Any) -> Callable[[], object]:
    return lambda: call(*args, **kwargs)


def _difference(found: tuple[str, Episodes], expected: tuple[str, Episodes]) -> str | None:
    """Describe the first event in which two plays differ, if any."""
    (name, episodes), (other_name, other_episodes) = found, expected
    for env, (events, others) in enumerate(zip(episodes, other_episodes, strict=True)):
        for number, (event, other) in enumerate(zip(events, others, strict=False)):
            if not data_equivalence(tuple(event), tuple(other), exact=True):
                return f"event {number} of env {env}: {name}: {event}; {other_name}: {other}"
    return None


def _rows(env: AnyVectorEnv, observations: Any) -> list[Any]:
    return list(iterate(env.observation_space, observations))


def _arrays(nested: Any) -> Iterator[npt.NDArray[Any]]:
    """Yield every array of numbers in what a call returned."""
    if isinstance(nested, np.ndarray) and nested.dtype != object:
        yield nested
    elif isinstance(nested, dict):
        for value in nested.values():
            yield from _arrays(value)
    elif isinstance(nested, (list, tuple, np.ndarray)):
        for value in nested:
            yield from _arrays(value)


def _has_rows(value: Any, num_rows: int) -> bool:
    return isinstance(value, np.ndarray) and value.shape[:1] == (num_rows,)


def _text(value: object) -> str:
    """Return a text of one line, fit for a message."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        facts = f"{value.dtype} array of shape {value.shape}"
        if value.size <= 16:
            return f"{facts} {value.tolist()}"
        return f"{facts}, mean {value.mean():.6g}" if value.dtype.kind in "fiub" else facts
    if isinstance(value, np.generic):
        value = value.item()
    text = " ".join(repr(value).split())
    return text if len(text) <= 300 else text[:297] + "..."
