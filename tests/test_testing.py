# SPDX-License-Identifier: MIT
"""The conformance test of vector environments: good ones pass, and every broken rule is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from rndfast.envs.atari import AtariEnv, AtariVectorEnv
from rndfast.testing import RULES, VectorEnvError, check_vector_env

Array = npt.NDArray[Any]
Result = tuple[Any, Any, Any, Any, dict[str, Any]]

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode
SHORT: dict[str, Any] = {"num_envs": 2, "max_num_frames_per_episode": 60, "num_threads": 2}
TINY: dict[str, Any] = {"img_height": 21, "img_width": 16, "stack_num": 2}
# what Gymnasium's own SyncVectorEnv does otherwise
SYNC_BREAKS = ("reset-mask-options", "misuse-harmless", "close")


class Toy(VectorEnv[Any, Any, Any]):
    """Walks with noise; keeps all rules. Broken ones below change one thing each."""

    def __init__(self, num_envs: int = 3, autoreset_mode: AutoresetMode = NEXT_STEP) -> None:
        self.num_envs, self.mode = num_envs, autoreset_mode
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.single_observation_space = gymnasium.spaces.Box(-99, 99, (3,), np.float32)
        self.single_action_space = gymnasium.spaces.Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.states = np.zeros((num_envs, 3), np.float32)  # position, noise, time
        self.ended = np.zeros(num_envs, np.bool_)
        self.is_reset = False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.require_open()
        mask = self.checked_mask((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        for i in np.flatnonzero(mask):
            if seeds is not None:
                self.rngs[int(i)] = np.random.default_rng(seeds[i])
            self.begin(i)
        self.is_reset = True
        return self.states.copy(), self.info()

    def step(self, actions: Any) -> Result:
        self.require_ready()
        self.require_actions(actions)
        if self.mode is DISABLED and self.ended.any():
            raise RuntimeError("ended")
        rewards = np.zeros(self.num_envs, np.float32)
        terminations, truncations = np.zeros((2, self.num_envs), np.bool_)
        waiting = self.ended.copy()
        for i, action in enumerate(actions.tolist()):
            if waiting[i]:
                self.begin(i)
                continue
            rewards[i], terminations[i], truncations[i] = self.move(i, action)
        self.ended = terminations | truncations
        info: dict[str, Any] = {}
        if self.mode is SAME_STEP and self.ended.any():
            info = self.final()
            for i in np.flatnonzero(self.ended).tolist():
                self.begin(i)
        return self.states.copy(), rewards, terminations, truncations, self.info() | info

    def begin(self, i: Any) -> None:
        self.states[i] = self.rngs[i].random(), 0, 0
        self.ended[i] = False

    def move(self, i: int, action: int) -> tuple[float, bool, bool]:
        noise = self.rngs[i].random()
        self.states[i] += action, noise, 1
        return noise, noise < 0.1, bool(noise >= 0.1 and self.states[i, 2] >= 9)

    def info(self) -> dict[str, Any]:
        return {"time": self.states[:, 2].copy(), "_time": np.ones(self.num_envs, np.bool_)}

    def final(self) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(self.ended):
            final_obs[i] = self.states[i].copy()
        masks = {key: self.ended.copy() for key in ("_final_obs", "_final_info")}
        inner = {"time": self.states[:, 2] * self.ended, "_time": self.ended.copy()}
        return {"final_obs": final_obs, "final_info": inner} | masks

    def checked_mask(self, mask: Any) -> Any:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError("mask")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError("mask")
        return mask

    def require_actions(self, actions: Any) -> None:
        if actions.dtype.kind not in "iu" or actions.shape != (self.num_envs,):
            raise ValueError("actions")
        if (actions < 0).any() or (actions >= 3).any():
            raise ValueError("actions")

    def require_ready(self) -> None:
        self.require_open()
        if not self.is_reset:
            raise RuntimeError("not reset")

    def require_open(self) -> None:
        if self.closed:
            raise RuntimeError("closed")


BROKEN: list[tuple[str, str, type[Toy]]] = []


def breaks(rule: str, message: str) -> Callable[[type[Toy]], type[Toy]]:
    """Add a class to those that must be found out, with part of the message."""

    def add(broken: type[Toy]) -> type[Toy]:
        BROKEN.append((rule, message, broken))
        return broken

    return add


@breaks("spaces", "at least 2 are needed here, num_envs is 1")
class Alone(Toy):
    def __init__(self, **settings: Any) -> None:
        super().__init__(1, **settings)


@breaks("spaces", r"action_space is Discrete\(3\), expected MultiDiscrete")
class NotBatched(Toy):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.action_space = self.single_action_space


@breaks("metadata", "with NEXT_STEP, made beside others with .*, it is NextStep")
class ModeByValue(Toy):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.metadata = {"autoreset_mode": self.mode.value}


@breaks(
    "metadata", r"with NEXT_STEP, made beside others with \['SAME_STEP', 'DISABLED'\], it is .*"
)
class OneMetadataForAll(Toy):
    metadata: dict[str, Any] = {}  # noqa: RUF012 (the mistake)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        del self.metadata
        self.metadata["autoreset_mode"] = self.mode


@breaks("observations", r"float64 array of shape \(3, 3\) .* is not in Box")
class WrongDtype(Toy):
    def reset(self, **arguments: Any) -> Any:
        observations, info = super().reset(**arguments)
        return observations.astype(np.float64), info


@breaks("observations", r"shape \(4, 3\) .* is not in Box")
class OneRowMore(Toy):
    def step(self, actions: Any) -> Result:
        observations, *others = super().step(actions)
        return np.concatenate([observations, observations[:1]]), *others


@breaks("observations", "is not in Box")
class OutOfBounds(Toy):
    def step(self, actions: Any) -> Result:
        observations, *others = super().step(actions)
        return observations + 100, *others


@breaks("observations", r"one of shape \(3, 3\) has strides \(4, 12\)")
class NotContiguous(Toy):
    def reset(self, **arguments: Any) -> Any:
        observations, info = super().reset(**arguments)
        return np.asfortranarray(observations), info


@breaks("step-arrays", r"rewards is float32 array of shape \(3, 1\)")
class RewardColumn(Toy):
    def step(self, actions: Any) -> Result:
        observations, rewards, *others = super().step(actions)
        return observations, rewards[:, None], *others


@breaks("step-arrays", r"truncations is int64 array of shape \(3,\)")
class NumbersAsFlags(Toy):
    def step(self, actions: Any) -> Result:
        *others, truncations, info = super().step(actions)
        return *others, truncations.astype(np.int64), info


@breaks("step-arrays", "rewards is \\[")
class ListOfRewards(Toy):
    def step(self, actions: Any) -> Result:
        observations, rewards, *others = super().step(actions)
        return observations, list(rewards), *others


@breaks("info", r"'time' has no mask, among \['time'\]")
class NoMask(Toy):
    def info(self) -> dict[str, Any]:
        return {"time": self.states[:, 2].copy()}


@breaks("info", r"the mask '_time' is int64 array of shape \(3,\)")
class MaskOfNumbers(Toy):
    def info(self) -> dict[str, Any]:
        return super().info() | {"_time": np.ones(self.num_envs, np.int64)}


@breaks("info", r"'time' is \[0, 0, 0\]")
class InfoLists(Toy):
    def info(self) -> dict[str, Any]:
        return super().info() | {"time": [0] * self.num_envs}


@breaks("episodes-end", r"none did in 40 steps \(NEXT_STEP\)")
class Endless(Toy):
    def move(self, i: int, action: int) -> tuple[float, bool, bool]:
        return super().move(i, action)[0], False, False


@breaks("seed-repeats", "event 0 of env 0: the second time: reset to .*; the first time: reset to")
class IgnoresSeeds(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return super().reset(options=options)


@breaks("seed-repeats", "event 1 of env 0: the second time: step to")
class SeedsOnlyStarts(Toy):
    def move(self, i: int, action: int) -> tuple[float, bool, bool]:
        self.states[i, 0] += np.random.default_rng().random()
        return super().move(i, action)


@breaks("seed-matters", "seeds 123 and 1123 give the same 40 steps")
class OneSeed(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return super().reset(seed=None if seed is None else [7, 8, 9], options=options)


@breaks("seed-matters", "all environments show the same in 40 steps of the same actions")
class OneSeedForAll(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        seeds = [seed] * self.num_envs if isinstance(seed, int) else seed
        return super().reset(seed=seeds, options=options)


@breaks("seed-counts-up", r"seed=\[123, 124, 125\]: reset to .*; seed=123: reset to")
class SeedsTenApart(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        seeds = [seed + 10 * i for i in range(3)] if isinstance(seed, int) else seed
        return super().reset(seed=seeds, options=options)


@breaks("seed-stream", "5 resets in a row begin the same episodes")
class RestartsStream(Toy):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.seeds: dict[int, int] = {}

    def begin(self, i: Any) -> None:
        self.rngs[i] = np.random.default_rng(self.seeds.setdefault(i, 0) + 10 * int(i))
        super().begin(i)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        seeds = [seed + i for i in range(3)] if isinstance(seed, int) else seed
        self.seeds = dict(enumerate(seeds)) if seeds is not None else self.seeds
        return super().reset(options=options)


@breaks("seed-stream", "event 0 of env 0: reset 1 after one with a seed: .*; in another copy:")
class ForgetsStream(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        is_partial = options is not None
        seeds = (
            np.random.default_rng().integers(0, 99, 3) if seed is None and not is_partial else seed
        )
        return super().reset(seed=seeds, options=options)


@breaks("same-episodes", "of env 0: SAME_STEP: .*; NEXT_STEP: ")
class OtherStartsInSameStep(Toy):
    def begin(self, i: Any) -> None:
        super().begin(i)
        self.states[i, 1] = self.mode is SAME_STEP


@breaks("next-step", r"env . got \(reward, terminated, truncated\) \(1.0, False, False\)")
class RewardsAtReset(Toy):
    def step(self, actions: Any) -> Result:
        were_ended = self.ended.copy()
        observations, rewards, *others = super().step(actions)
        rewards[were_ended] = 1
        return observations, rewards, *others


@breaks("next-step", "with other actions at resets: .*; without: ")
class TakesActionsAtReset(Toy):
    def step(self, actions: Any) -> Result:
        were_ended = self.ended.copy()
        result = super().step(actions)
        if self.mode is NEXT_STEP:
            self.states[were_ended, 0] += actions[were_ended]
            return self.states.copy(), *result[1:]
        return result


@breaks("same-step", "where .* ended, the mask of final_obs is bool array .*False, False, False")
class NoFinalObs(Toy):
    def final(self) -> dict[str, Any]:
        final = super().final()
        return {key: final[key] for key in ("final_info", "_final_info")}


@breaks("same-step", "final_obs is no array of objects but float32 array")
class DenseFinalObs(Toy):
    def final(self) -> dict[str, Any]:
        return super().final() | {"final_obs": self.states.copy()}


@breaks("same-step", "where .* ended, final_obs of env . is float32 array")
class FinalObsOfAll(Toy):
    def final(self) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, object)
        final_obs[:] = list(self.states.copy())
        return super().final() | {"final_obs": final_obs}


@breaks("same-step", "the mask of 'time' in final_info is None")
class NoMaskInFinalInfo(Toy):
    def final(self) -> dict[str, Any]:
        final = super().final()
        del final["final_info"]["_time"]
        return final


@breaks("same-step", "the mask of final_info is")
class NoFinalInfo(Toy):
    def final(self) -> dict[str, Any]:
        final = super().final()
        return {key: final[key] for key in ("final_obs", "_final_obs")}


@breaks("same-episodes", "SAME_STEP: step to .*; NEXT_STEP: step to")
class FinalObsOfTheNextEpisode(Toy):
    def step(self, actions: Any) -> Result:
        result = super().step(actions)
        for i in np.flatnonzero(result[2] | result[3]) if self.mode is SAME_STEP else ():
            result[4]["final_obs"][i] = result[0][i].copy()
        return result


@breaks("disabled", r"stepping the ended envs \[.*\] raised nothing")
class StepsEnded(Toy):
    def step(self, actions: Any) -> Result:
        kept, states = self.ended, self.states.copy()
        if self.mode is DISABLED and kept.any():
            self.ended = np.zeros(self.num_envs, np.bool_)
            rngs = [np.random.default_rng(0) for _ in self.rngs]
            self.rngs, rngs = rngs, self.rngs
            result = super().step(actions)
            self.rngs, self.ended, self.states = rngs, kept, states
            return result
        return super().step(actions)


@breaks("reset-mask-bad", r"\[True, True, True\] of list raised nothing")
class TakesLists(Toy):
    def checked_mask(self, mask: Any) -> Any:
        return super().checked_mask(np.array(mask) if isinstance(mask, list) else mask)


@breaks("reset-mask-bad", "False, False, False.* raised nothing")
class TakesEmptyMasks(Toy):
    def checked_mask(self, mask: Any) -> Any:
        is_empty = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and not mask.any()
        return mask if is_empty else super().checked_mask(mask)


@breaks("reset-mask-bad", r"shape \(4,\) .* raised AssertionError\('mask'\)")
class Asserts(Toy):
    def checked_mask(self, mask: Any) -> Any:
        try:
            return super().checked_mask(mask)
        except ValueError:
            raise AssertionError("mask") from None


@breaks("reset-mask-options", "they are now {}, the mask")
class PopsOptions(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        result = super().reset(seed=seed, options=options)
        if options:
            options.clear()
        return result


@breaks("reset-mask-options", r"the mask bool array of shape \(3,\) \[False, False, False\]")
class ClearsMask(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        result = super().reset(seed=seed, options=options)
        if options:
            options["reset_mask"][:] = False
        return result


@breaks("reset-mask-others", "env 1 showed .* and then, not reset, float32 array")
class ShowsZerosOutsideOfMask(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        observations, info = super().reset(seed=seed, options=options)
        if options:
            observations[~options["reset_mask"]] = 0
        return observations, info


@breaks("reset-mask-others", "env 1 then steps to .*, expected")
class ReseedsAll(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if options and not self.ended.any():
            self.rngs = [np.random.default_rng(5) for _ in self.rngs]
        return super().reset(seed=seed, options=options)


@breaks("reset-mask", "reset by a mask: .*; by autoreset: ")
class ResetsTwice(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        were_ended = self.ended.copy()
        result = super().reset(seed=seed, options=options)
        if options and self.mode is NEXT_STEP:
            self.ended = were_ended
        return result


@breaks("fresh-arrays", "what call 0 returned changed later")
class OneBuffer(Toy):
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.states, super().reset(seed=seed, options=options)[1]


@breaks("fresh-arrays", "with returned arrays overwritten: .*; without: ")
class ReadsReturnedArrays(Toy):
    def step(self, actions: Any) -> Result:
        result = super().step(actions)
        self.states = result[0].copy()
        self.shown, self.truth = result[0], result[0].copy()
        return result

    def move(self, i: int, action: int) -> tuple[float, bool, bool]:
        if hasattr(self, "shown"):
            self.states[i, 0] += self.shown[i, 0] - self.truth[i, 0]
        return super().move(i, action)


@breaks("bad-actions", r"int64 array of shape \(3,\) \[., ., 3\] of int64 for .* raised nothing")
class TakesAllActions(Toy):
    def require_actions(self, actions: Any) -> None:
        if actions.shape != (3,) or actions.dtype.kind != "i" or actions.min() < 0:
            raise ValueError("actions")


@breaks("misuse-harmless", "after refused steps: .*; without: ")
class LosesRandomNumbers(Toy):
    def require_actions(self, actions: Any) -> None:
        self.rngs[0].random()
        super().require_actions(actions)
        self.rngs[0].bit_generator.state = self.state

    def step(self, actions: Any) -> Result:
        self.state = self.rngs[0].bit_generator.state
        return super().step(actions)


@breaks("misuse-harmless", r"a good call raised RuntimeError\('broken'\) \(NEXT_STEP\)")
class BreaksForGood(Toy):
    is_broken = False

    def require_actions(self, actions: Any) -> None:
        if self.is_broken:
            raise RuntimeError("broken")
        self.is_broken = True
        super().require_actions(actions)
        self.is_broken = False


@breaks("step-before-reset", "step raised nothing")
class NeedsNoReset(Toy):
    is_reset = property(lambda self: True, lambda self, value: None)


@breaks("close", "after it, closed is False")
class NeverClosed(Toy):
    def close(self, **arguments: Any) -> None:
        pass


@breaks("close", r"the second one raised ValueError\('again'\)")
class ClosesOnce(Toy):
    def close(self, **arguments: Any) -> None:
        if self.closed:
            raise ValueError("again")
        super().close(**arguments)


@breaks("close", "step after it raised nothing")
class StepsWhenClosed(Toy):
    def require_open(self) -> None:
        pass


@pytest.mark.parametrize(
    ("rule", "message", "broken"), BROKEN, ids=[broken.__name__ for *_, broken in BROKEN]
)
def test_a_broken_rule_is_named_with_what_was_found(
    rule: str, message: str, broken: type[Toy]
) -> None:
    with pytest.raises(VectorEnvError, match=rf"(?s)^\[{rule}\] .*; but .*{message}") as caught:
        check_vector_env(broken, num_steps=40)
    assert caught.value.rule == rule
    assert isinstance(caught.value, AssertionError)
    assert "\n" not in str(caught.value)


def test_every_rule_is_broken_above() -> None:
    assert {rule for rule, *_ in BROKEN} == set(RULES)


def test_a_rule_can_be_skipped() -> None:
    for broken in (PopsOptions, LosesRandomNumbers, StepsWhenClosed, ModeByValue):
        rule = next(rule for rule, _, other in BROKEN if other is broken)
        check_vector_env(broken, num_steps=25, skip=[rule])


def test_good_environments_pass_in_every_combination_of_modes() -> None:
    check_vector_env(Toy, num_steps=60)
    check_vector_env(partial(Toy, num_envs=2), num_steps=60, autoreset_modes=[SAME_STEP])


@pytest.mark.parametrize(
    "settings",
    [
        {"game": "breakout", "episodic_life": True, "use_fire_reset": False},
        {"game": "montezuma_revenge", "grayscale": False, "render_mode": "rgb_array"},
        {"game": "asterix", "ale_compatible": True, "full_action_space": True},
    ],
    ids=lambda settings: settings["game"],
)
def test_our_environments_pass(settings: dict[str, Any]) -> None:
    check_vector_env(partial(AtariVectorEnv, **(SHORT | TINY | settings)), num_steps=25)


def test_ours_made_by_gymnasium_pass() -> None:
    make = partial(gymnasium.make_vec, "rndfast/Pong-v5", **SHORT, **TINY)
    check_vector_env(make, num_steps=25, autoreset_modes=[NEXT_STEP])


def test_gymnasiums_own_pass_but_for_what_they_do_otherwise() -> None:
    carts = partial(SyncVectorEnv, [lambda: gymnasium.make("CartPole-v1")] * 2)
    check_vector_env(carts, num_steps=80, skip=SYNC_BREAKS)
    for rule in SYNC_BREAKS:
        # where a refused action did harm, the next one may be ignored, as at a reset
        with pytest.raises(VectorEnvError, match=rf"^\[({rule}|bad-actions)\]"):
            check_vector_env(carts, num_steps=80, skip=set(SYNC_BREAKS) - {rule})


def test_our_single_environment_passes_in_gymnasiums_vector_environment() -> None:
    settings = {"max_num_frames_per_episode": 40, "num_threads": 1, **TINY}
    made = partial(SyncVectorEnv, [lambda: AtariEnv("breakout", **settings)] * 2)
    check_vector_env(made, num_steps=25, skip=SYNC_BREAKS)


def test_spaces_of_any_kind_are_taken() -> None:
    class Nested(Toy):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.single_observation_space = gymnasium.spaces.Dict(
                {"state": self.single_observation_space, "time": gymnasium.spaces.Discrete(10)}
            )
            self.single_action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
            self.observation_space = batch_space(self.single_observation_space, self.num_envs)
            self.action_space = batch_space(self.single_action_space, self.num_envs)

        def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
            observations, info = super().reset(**arguments)
            return self.nested(observations), info

        def step(self, actions: Any) -> Result:
            if actions.shape != (self.num_envs, 2):
                raise ValueError("actions")
            observations, *others, info = super().step((actions[:, 0] > 0).astype(np.int64))
            for i in np.flatnonzero(info.get("_final_obs", ())):
                state = info["final_obs"][i]
                info["final_obs"][i] = {"state": state, "time": np.int64(state[2])}
            return self.nested(observations), *others, info

        def nested(self, states: Array) -> dict[str, Array]:
            return {"state": states, "time": states[:, 2].astype(np.int64)}

    check_vector_env(Nested, num_steps=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skip": ["closing"]}, r"skip must be names of rules .* got \{'closing'\}"),
        ({"num_steps": 1}, "num_steps must be at least 2, got 1"),
        ({"autoreset_modes": []}, "autoreset_modes must name at least one mode, got none"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_vector_env(Toy, **arguments)


def test_the_module_is_loaded_only_on_demand() -> None:
    script = "import rndfast, sys; raise SystemExit('rndfast.testing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
