# SPDX-License-Identifier: MIT
"""Calls of everything in the compiled module, with odd values.

``python -m tests.core.odd_calls SEED NUM_CALLS LOG`` makes random calls and writes each to ``LOG``
before it makes it. Any exception is an answer; only the end of the process is a finding.
"""

from __future__ import annotations

import faulthandler
import inspect
import random
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rndfast import _core
from rndfast.envs.games import rom_path

GAME = "breakout"
BATCH_ARGUMENTS = sorted(
    {*_core.AtariBatch(GAME, rom_path(GAME).read_bytes(), num_envs=1, num_threads=1).settings}
    | {"num_threads", "thread_affinity_offset", "simd", "copy", "remembers_resets"}
)
ADDRESS_SPACE_BYTES = 6 << 30  # so that what asks for too much is refused, not given
INTS: tuple[int, ...] = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 17, 18, 255, 4097, 2**16)
INTS = (*INTS, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64, 2**200)
FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-320, 1e300, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", GAME, "reward", "ram", "auto", "avx2", "ntsc", "forward", "4K", "x" * 9999, "\udc80")
DTYPES = ("b", "B", "h", "i", "q", "Q", "f", "d", "e", "?", "D", "O", "S3", "M8[s]", "V8", ">i8")
SHAPES = (
    (),
    (0,),
    (1,),
    (2,),
    (2,),
    (4,),
    (1, 2),
    (2, 2),
    (0, 3),
    (3, 4, 4),
    (2, 2, 1, 4, 4),
    (1,) * 9,
)


def classes() -> dict[str, type]:
    """Return all classes of the compiled module, by name."""
    return {name: value for name, value in vars(_core).items() if isinstance(value, type)}


def functions() -> dict[str, Callable[..., Any]]:
    """Return all functions of the compiled module, by name."""
    names = [name for name, value in vars(_core).items() if callable(value)]
    return {name: getattr(_core, name) for name in names if name not in classes()}


def empty_of(cls: Any) -> Any:
    """Return an object whose ``__init__`` has not run."""
    return cls.__new__(cls)


def rom() -> bytes:
    """Return a ROM."""
    return rom_path(GAME).read_bytes()


def started_batch(**settings: Any) -> _core.AtariBatch:
    """Return two environments that have been reset, and have begun and ended a step."""
    batch = _core.AtariBatch(
        GAME, rom(), num_envs=2, num_threads=1, autoreset_mode="SameStep", **settings
    )
    batch.reset(np.arange(2), np.arange(2))
    batch.send(np.zeros(2, np.int64))
    batch.recv()
    return batch


def moments() -> _core.RunningMoments:
    """Return moments that have seen a sample."""
    made = _core.RunningMoments((2, 2))
    made.update(np.ones((1, 2, 2), np.float32))
    return made


# one object of each class
EXAMPLES: dict[str, Callable[[], Any]] = {
    "AtariBatch": started_batch,
    "Console": lambda: _core.Console(GAME, rom(), random_seed=0),
    "DiscountedReturnFilter": lambda: _core.DiscountedReturnFilter(2),
    "RunningMoments": moments,
    "StepResults": lambda: started_batch().observe(),
    "ThreadPool": lambda: _core.ThreadPool(2),
}


def objects() -> list[Any]:
    """Return objects in every state that may make a difference, and a snapshot."""
    unstarted = _core.AtariBatch(GAME, rom(), num_envs=3, num_threads=1)
    under_way = started_batch(keeps_colors=True)
    under_way.send(np.zeros(2, np.int64))
    ending = started_batch(max_num_frames_per_episode=4)
    ending.send(np.zeros(2, np.int64))
    final = ending.recv()[-1]
    made = [example() for example in EXAMPLES.values()]
    empty = [empty_of(cls) for cls in classes().values()]
    snapshot = started_batch().snapshot()
    return [*made, *empty, unstarted, under_way, ending, final, snapshot]


def odd_array(rng: random.Random, usual_shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return an array of some dtype, shape, layout and content."""
    shape = usual_shape if rng.random() < 0.7 else rng.choice(SHAPES)
    if rng.random() < 0.4:  # so that content is looked at
        return np.array(rng.choices(INTS[:18], k=int(np.prod(shape))), np.int64).reshape(shape)
    dtype = np.dtype(rng.choice(DTYPES))
    if dtype.kind == "O":
        return np.full(shape, None, object)
    memory = rng.randbytes(max(1, int(np.prod(shape))) * dtype.itemsize + 1)
    array = np.ndarray(shape, dtype, memory, offset=int(rng.random() < 0.1))
    layout: Callable[[Any], np.ndarray[Any, Any]] = rng.choice(
        (np.array, np.array, np.asarray, np.asfortranarray, lambda a: a[..., ::-1] if a.ndim else a)
    )
    return layout(array)


def odd_value(rng: random.Random, known: list[Any], usual_shape: tuple[int, ...]) -> Any:
    """Return anything that Python code may pass."""
    choose = rng.choice(
        (
            lambda: rng.choice(INTS),
            lambda: rng.choice(FLOATS),
            lambda: rng.choice((None, True, False, Ellipsis, object(), int, {}, [], ())),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice((b"", rom(), rng.randbytes(9))),
            lambda: np.dtype(rng.choice("bBqQfd?")).type(rng.choice((0, 1, 7))),
            lambda: [rng.choice((*INTS[:12], 1.5, "a")) for _ in range(rng.randrange(4))],
            lambda: rng.choice(known),
            *(lambda: odd_array(rng, usual_shape),) * 5,
        )
    )
    return choose()


def argument_names(function: Any) -> list[str]:
    """Return the names in the signature that pybind11 writes into the documentation."""
    signature = re.match(r"\w+\((.*)\) ->", inspect.getdoc(function) or "")
    names = re.findall(r"(?:^|, )(\w+):", signature.group(1)) if signature else []
    return [name for name in names if name not in ("self", "kwargs")]


class Target(NamedTuple):
    """Something to call."""

    name: str
    function: Callable[..., Any]
    owner: type | None  # of a method
    arguments: list[str]  # besides self


def targets() -> list[Target]:
    """Return all functions, constructors, methods, and accessors of properties."""
    found = [Target(name, f, None, argument_names(f)) for name, f in functions().items()]
    for class_name, cls in classes().items():
        found.append(Target(class_name, cls, None, argument_names(cls.__init__)))  # type: ignore[misc]
        for name, attribute in vars(cls).items():
            if isinstance(attribute, property):
                found.append(Target(f"{class_name}.{name}", attribute.__get__, cls, []))
                if attribute.fset is not None:
                    assign = _setter(attribute)
                    found.append(Target(f"{class_name}.{name} =", assign, cls, ["value"]))
            elif callable(function := getattr(cls, name)):
                arguments = argument_names(function)
                found.append(Target(f"{class_name}.{name}", function, cls, arguments))
    return found


def _setter(attribute: property) -> Callable[[Any, Any], None]:
    def assign(owner: Any, value: Any) -> None:
        attribute.__set__(owner, value)

    return assign


def odd_call(rng: random.Random, target: Target, known: list[Any]) -> Callable[[], Any]:
    """Choose what to give a target."""
    owners: list[Any] = []
    if target.owner is not None:
        alike = [item for item in known if isinstance(item, target.owner)]
        owners = [rng.choice(alike if rng.random() < 0.9 else known)]
    shape = rng.choice(SHAPES)
    num_positional = rng.randrange(len(target.arguments) + 2)
    positional = [odd_value(rng, known, shape) for _ in range(num_positional)]
    chosen = target.arguments[num_positional if rng.random() < 0.7 else 0 :]
    named = {name: odd_value(rng, known, shape) for name in chosen if rng.random() < 0.8}
    if target.name == "AtariBatch":  # of which most arguments are not in the signature
        positional = [GAME, rom()]
        named = {name: odd_value(rng, known, shape) for name in rng.sample(BATCH_ARGUMENTS, 2)}
        named |= {"num_envs": rng.choice((1, odd_value(rng, known, shape)))}
    return lambda: target.function(*owners, *positional, **named)


def main(seed: int, num_calls: int, log: Path) -> None:
    """Make random calls."""
    faulthandler.enable()
    if "libasan" not in Path("/proc/self/maps").read_text():  # which reserves terabytes
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    rng = random.Random(seed)
    known = objects()
    all_targets = targets()
    num_answers = 0
    with log.open("w") as file:
        for number in range(num_calls):
            if number % 100 == 99:
                known = objects()
            target = rng.choice(all_targets)
            call = odd_call(rng, target, known)
            file.seek(0)
            file.write(f"{number} {target.name}".ljust(80) + "\n")
            file.flush()
            try:
                call()
                num_answers += 1
            except Exception:
                continue
    sys.stdout.write(f"{num_answers}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
