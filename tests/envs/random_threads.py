# SPDX-License-Identifier: MIT
"""Environments in threads that chance chooses: ``python -m tests.envs.random_threads --times N``.

A trial has any number of threads and consoles. It is one of these:

- *two*: two environments are stepped at once, each by a Python thread, half by half and with
  delays; what `recv` returns must be what an environment of one thread returns, and must stay so;
- *closed*: an environment is closed, or forgotten, at any moment of its steps;
- *interrupted*: Ctrl-C at any moment of steps; it must arrive, and not a step may be lost.

``make sanitize`` runs this under ThreadSanitizer, so torch must not be imported here.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tests import trials

from rndfast import AtariVectorEnv

GAMES = ("breakout", "montezuma_revenge", "pitfall2", "kaboom", "elevator_action")
INFO_KEYS = ("lives", "frame_number", "ram", "episode_return", "game_over")
FRAME_NUMBER = 4 + INFO_KEYS.index("frame_number")  # in results_of()
Array = npt.NDArray[Any]


class Plan(NamedTuple):
    """What is played: the same, whoever plays it."""

    game: str
    num_envs: int
    settings: dict[str, Any]
    seed: int
    num_steps: int

    @classmethod
    def draw(cls, chance: random.Random) -> Plan:
        settings = {
            "img_height": 8,
            "img_width": 8,
            "stack_num": 2,
            "frameskip": chance.choice((1, 4, 30)),
            "max_num_frames_per_episode": chance.choice((8, 40, 108_000)),
            "autoreset_mode": chance.choice(("NextStep", "SameStep")),
        }
        game, num_envs = chance.choice(GAMES), chance.choice((2, 3, 8, 21))
        return cls(game, num_envs, settings, chance.randrange(1000), chance.randrange(4, 16))

    def make(self, **more: Any) -> AtariVectorEnv:
        envs = AtariVectorEnv(self.game, self.num_envs, **self.settings, **more)
        envs.reset(seed=self.seed)
        return envs

    def actions(self, step: int) -> Array:
        return np.random.default_rng((self.seed, step)).integers(0, 3, self.num_envs)


def draw_num_threads(chance: random.Random) -> int:
    return chance.choice((1, 2, 3, 4, 7))


def delay(chance: random.Random, max_s: float) -> None:
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, max_s))


def results_of(step: tuple[Any, ...]) -> list[Array]:
    """All arrays of a step that have a row for each environment."""
    *arrays, info = step
    return [*arrays, *(info[key] for key in INFO_KEYS)]


def play_in_halves(plan: Plan, chance: random.Random, expected: list[list[Array]]) -> None:
    """Step the two halves in any order, and compare each result when it comes and once more."""
    envs = plan.make(num_threads=draw_num_threads(chance), copy=chance.random() < 0.5)
    border = chance.randrange(1, plan.num_envs)
    halves = [np.arange(border), np.arange(border, plan.num_envs)]
    held: list[tuple[list[Array], list[Array]]] = []  # of the last two recv: got and expected
    for step in range(plan.num_steps):
        order = chance.sample(halves, 2)
        for half in order:
            envs.send(plan.actions(step)[half], half)
            delay(chance, 0.001)
        for half in order:
            for got, right in held:  # while the consoles write the next ones
                assert all(map(np.array_equal, got, right)), "a result has changed"
            right = [array[half] for array in expected[step]]
            got = results_of(envs.recv())
            assert all(map(np.array_equal, got, right)), f"step {step} differs"
            held = [*held[-1:], (got, right)]
            delay(chance, 0.001)
    envs.close()


def two(chance: random.Random) -> str:
    plans = [Plan.draw(chance) for _ in range(2)]
    expected = []
    for plan in plans:
        envs = plan.make(num_threads=1)
        expected.append([results_of(envs.step(plan.actions(i))) for i in range(plan.num_steps)])
        envs.close()
    chances = [random.Random(chance.random()) for _ in plans]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(play_in_halves, plans, chances, expected))
    return "two at once: equal"


def closed(chance: random.Random) -> str:
    plan = Plan.draw(chance)
    envs = plan.make(num_threads=draw_num_threads(chance), copy=chance.random() < 0.5)
    half = np.arange(plan.num_envs // 2)
    for step in range(chance.randrange(3)):
        envs.step(plan.actions(step))
    envs.send(plan.actions(0)[half], half)
    delay(chance, 0.01)
    if chance.random() < 0.5:
        envs.close()
    del envs
    return "closed or forgotten during a step"


def interrupted(chance: random.Random) -> str:
    """Interrupt a few times. All environments have made as many steps, as none is ever reset."""
    plan = Plan.draw(chance)._replace(num_envs=chance.choice((8, 64, 1024)))
    plan.settings.update(noop_max=0, use_fire_reset=False, max_num_frames_per_episode=108_000)
    frameskip = plan.settings["frameskip"] = chance.choice((1, 4))
    envs = plan.make(num_threads=draw_num_threads(chance), copy=chance.random() < 0.5)
    twin = plan.make(num_threads=1)
    actions, num_steps = plan.actions(0), 0
    for _ in range(5):
        press_ctrl_c(envs, actions, chance.uniform(0, 0.03))
        while not envs.is_idle:
            envs.recv()
        last = results_of(envs.step(actions))
        frames = {*last[FRAME_NUMBER].tolist()}
        assert len(frames) == 1, f"after Ctrl-C the consoles are at frames {frames}"
        while num_steps * frameskip < min(frames):
            right = results_of(twin.step(actions))
            num_steps += 1
        assert all(map(np.array_equal, last, right)), f"step {num_steps} differs after Ctrl-C"
    envs.close()
    twin.close()
    return "interrupted five times: equal"


def press_ctrl_c(envs: AtariVectorEnv, actions: Array, delay_s: float) -> None:
    """Step until Ctrl-C comes, which must end a step or what is between two."""

    def press() -> None:
        time.sleep(delay_s)
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=press)
    try:
        other.start()
        while other.is_alive():
            envs.step(actions)
        time.sleep(60)  # the signal may still be on its way
    except KeyboardInterrupt:
        other.join()
        return
    raise AssertionError("Ctrl-C was lost")


def trial(chance: random.Random) -> str:
    return chance.choice((two, closed, interrupted))(chance)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts without
    parsed = trials.arguments(__doc__)
    trials.repeat(trial, parsed.times, parsed.seed)
