"""Do the figures in README.md and in benchmarks/README.md still hold?

``make claims`` measures anew what this machine can, in an hour with nothing else running. It
prints what is claimed beside what was measured, and fails where they differ: counts must be equal,
ratios of speed within a quarter. Speeds in steps or seconds are shown and not compared, as they are
the machine's; so are ratios on another processor than the text tells of. What needs other hardware,
or hours, is named with its command and its file of results. It fails as well where the text is not
what the file of its run says, or has a figure that no claim covers; a test looks at these two.

    make claims
    python -m benchmarks.claims [--only env,core] [--output build/claims] [--update]

``--update`` then writes the new results into ``benchmarks/results`` and their figures into the
text; words such as the processor's name or "met" are for you to change. How a figure is found and
what is in scope: ``figures.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import facts
from benchmarks.figures import (
    DIFFERS,
    HOLDS,
    Claim,
    Figure,
    Sentence,
    Source,
    Table,
    differing_from_records,
    find,
    unclaimed,
)
from rich.console import Console
from rich.table import Table as ShownTable

from rndfast.runtime.hardware import hardware

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
README, BENCHMARKS = "README.md", "benchmarks/README.md"
RATIO = 0.25  # how far a ratio of speeds may be, as a share
EXACT = 0.0
PAPER_TRANSITIONS = 491.5e6

SOURCES = [
    Source("facts", "benchmarks/facts.py counts them", facts.count),
    Source(
        "env",
        "python benchmarks/bench_env.py --rounds 3 --json {output}",
        RESULTS / "bench_env-epyc.json",
        processor="EPYC",
    ),
    Source(
        "scaling",
        "python benchmarks/bench_env.py --scaling --seconds 0.5 --json {output} montezuma_revenge",
        RESULTS / "scaling-epyc.json",
        processor="EPYC",
    ),
    Source("core", "python benchmarks/bench_core.py --json {output}", None, processor="Xeon"),
    Source(
        "bench",
        "rndfast bench --rounds 3 --output {output}.d && cp {output}.d/bench.json {output}",
        None,
        processor="Xeon",
    ),
    Source(
        "proof",
        "python benchmarks/exploration.py --tasks mountain-car --seeds 3 --jobs 2"
        " --total-transitions 150000 --output {output}.d"
        " && cp {output}.d/exploration.json {output}",
        RESULTS / "proof-epyc.json",
    ),
    Source(
        "mountain-car",
        "python benchmarks/exploration.py --tasks mountain-car --algorithms PPO RND DRND --jobs 2"
        " --output {output}.d && cp {output}.d/exploration.json {output}",
        RESULTS / "exploration-mountain-car.json",
    ),
    Source(
        "libraries",
        "python benchmarks/mountain_car.py --json {output}",
        RESULTS / "mountain_car-epyc.json",
    ),
    Source(
        "door-key",
        "python -m benchmarks.door_key --output {output}.d && cp {output}.d/door_key.json {output}",
        RESULTS / "door_key-epyc.json",
        needs="an hour on one core",
    ),
    Source(
        "exploration",
        "python benchmarks/exploration.py --tasks lunar-lander door-key montezuma-laptop --jobs 2",
        None,
        needs="hours on two cores",
    ),
    Source(
        "go-explore",
        "python examples/go_explore.py",
        None,
        needs="eleven minutes on two idle cores",
    ),
    Source(
        "gpu",
        "python3 benchmarks/gpu_check.py --output gpu --budget-s 350 --train-s 120",
        RESULTS / "gpu_check-h200.json",
        needs="one NVIDIA H200, 16 hardware threads",
    ),
    Source(
        "gpu-earlier",
        "python3 benchmarks/gpu_check.py --output gpu",
        RESULTS / "gpu_check-h100.json",
        needs="one NVIDIA H100, 16 hardware threads",
    ),
    Source(
        "training",
        "rndfast train --device cuda --total-transitions 28704768"
        " --checkpoint-interval-rollouts 1000",
        RESULTS / "training-h200.json",
        needs="one NVIDIA H200, 16 hardware threads",
    ),
    Source("instructions", "make instructions && echo {{}} > {output}", None),
    Source("once", "none", None, needs="seen once: no command makes it again"),
    Source("given", "none", None, needs="no result, but a setting, a goal or arithmetic"),
]

# --- bench_env ----------------------------------------------------------------------------------

GAMES = {
    "Montezuma's Revenge": "montezuma_revenge",
    "Breakout": "breakout",
    "Pong": "pong",
    "Venture": "venture",
    "Seaquest": "seaquest",
    "Private Eye": "private_eye",
}
CPU, WALL = "CPU second, one thread", "second, 2 threads"
PEERS = {"EnvPool": "envpool", "ale-py": "ale-py", "rndfast": "rndfast"}


def env_ratio(results: Any, game: str, unit: str, peer: str) -> float:
    """How many times as many steps as a peer, by medians."""
    rates = results[f"{game}, {unit}"]
    return float(statistics.median(rates["rndfast"]) / statistics.median(rates[peer]))


def env_ratios(results: Any, unit: str, peer: str) -> list[float]:
    """The same for all games."""
    return [env_ratio(results, game, unit, peer) for game in GAMES.values()]


def env_cell(unit: str) -> Callable[[Any, tuple[str, ...], str], Sequence[float]]:
    """A table's cells: ratios, or a median and the range of the rounds."""

    def cell(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
        peer = PEERS[column.removeprefix("x ")]
        if row[0].startswith("median"):
            return [statistics.median(env_ratios(results, unit, peer))]
        game = GAMES[row[0]]
        if column.startswith("x "):
            return [env_ratio(results, game, unit, peer)]
        rates = results[f"{game}, {unit}"][peer]
        return [statistics.median(rates), min(rates), max(rates)]

    return cell


def env_microseconds(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """CPU time of frames and pictures."""
    names = ("a frame not drawn", "a frame drawn, resized and returned")
    costs = results[f"{GAMES[row[0]]}, microseconds"]
    return [costs[names.index(column) if column in names else 2]]


def env_summary(results: Any) -> Sequence[float]:
    """Least, most and median of six games, beside each peer."""
    ours, theirs = (env_ratios(results, CPU, peer) for peer in ("envpool", "ale-py"))
    return [
        *(min(ours), max(ours), statistics.median(ours)),
        *(min(theirs), max(theirs), statistics.median(theirs)),
    ]


ENV_HEAD = ("game", "rndfast", "EnvPool", "ale-py", "x EnvPool", "x ale-py")
ENV_RATIOS = {"x EnvPool": RATIO, "x ale-py": RATIO}


def scaling_cell(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """Steps a second with these threads."""
    peer = PEERS[column]
    label = row[0]
    if label == "2 threads, without resets":
        return [results["without_resets"]]
    if label == "1 thread":
        return [results["threads"][peer]["1"]]
    if label == "2 threads on 2 cores, a first time":
        return [results["threads"][peer]["2"]]
    key = label.removesuffix(", again").replace("1 thread ", "1 threads ")
    key = key.replace("1 thread,", "1 threads,")
    return [results["too_few_cores"][peer][key]]


# --- rndfast bench and bench_core ---------------------------------------------------------------


def bench_cell(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """Medians, and a ratio with its range; in the unit of the text."""
    label, peer, clock = row
    what, _, precision = label.partition(", ")
    if what == "environment step":
        measured = results["environments"]
    else:
        kind = {"training iteration": "training", "update": "update"}[what]
        measured = results[kind][precision or "float32"]
    key = {"EnvPool": "envpool", "ale-py": "ale-py"}.get(peer, "plain")
    if column == "times as fast":
        ratio = measured["times_as_fast_as"][key][clock.lower()]
        return [ratio["of_medians"], ratio["min"], ratio["max"]]
    scale = 1e6 if what == "environment step" else 1.0
    who = "rndfast" if column == "rndfast" else key
    return [scale * measured[who][f"{clock.lower()}_s"]["median"]]


def bench_summary(results: Any) -> Sequence[float]:
    """Speed and hours."""
    training = results["training"]["float32"]
    return [training["transitions_per_s"], training["hours_to_the_papers_transitions"]]


def bench_ratio(results: Any) -> Sequence[float]:
    """How many times as fast as plain PyTorch training is, by the wall clock."""
    ratios = results["training"]["float32"]["times_as_fast_as"]
    return [ratios["plain"]["wall"]["of_medians"]]


def bench_phases(results: Any) -> Sequence[float]:
    """Seconds of an iteration's phases; advantages in milliseconds."""
    phases = results["training"]["float32"]["phases_s"]
    names = ("learn", "inference", "bonus", "env", "log")
    return [*(phases[name]["median"] for name in names), 1e3 * phases["advantages"]["median"]]


# what the text calls otherwise
CORE_QUESTIONS = {
    "gae, 128 x 128": "gae",
    "return filter, 128 x 128": "return filter",
    "normalise + clip, 4096, float32": "normalise + clip, 4096 frames, float32",
    "normalise + clip, 4096, bfloat16": "normalise + clip, 4096 frames, bfloat16",
}
CORE_COLUMNS = {
    "CPU ms": "cpu_ms",
    "user ms": "user_ms",
    "CPU ratio": "ratio",
    "user ratio": "user_ratio",
}


def core_cell(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """A time or a ratio of one contestant."""
    question = CORE_QUESTIONS.get(row[0], row[0])
    (found,) = (
        of_row
        for of_row in results["rows"]
        if of_row["question"] == question
        and (of_row["contestant"] == row[1] or of_row["contestant"].startswith(f"{row[1]}, "))
    )
    return [found[CORE_COLUMNS[column]]]


def core_normalising(results: Any) -> Sequence[float]:
    """Least and most of the ratios by user time."""
    ratios = [
        row["user_ratio"]
        for row in results["rows"]
        if row["question"].startswith("normalise") and row["contestant"] != "rndfast"
    ]
    return [min(ratios), max(ratios)]


# --- on a GPU -----------------------------------------------------------------------------------


def milliseconds(seconds: Any) -> dict[str, float]:
    """The phases of an iteration as the text has them."""
    return {
        "collect": 1e3 * (seconds["env"] + seconds["inference"]),
        **{name: 1e3 * seconds[name] for name in ("bonus", "learn", "log", "iteration")},
    }


def gpu_cell(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """Speed and milliseconds of a variant."""
    variant = results["variants"][row[0]]
    if column == "transitions/s":
        return [variant["transitions_per_s"]]
    return [milliseconds(variant["seconds"])[column]]


def training_summary(results: Any) -> Sequence[float]:
    """Transitions in millions, seconds, speed, and milliseconds of an iteration."""
    phases = milliseconds(results["median_s"])
    return [
        results["transitions"] / 1e6,
        results["seconds"],
        results["median_transitions_per_s"],
        *(phases[name] for name in ("collect", "bonus", "learn", "log")),
    ]


def of_eight(*names: str) -> Callable[[Any], Sequence[float]]:
    """Speeds of runs of eight iterations."""
    return lambda results: [
        results["iterations_of_eight"][name]["transitions_per_s"] for name in names
    ]


def return_from_15_million(results: Any) -> Sequence[float]:
    """The least best return of the parts of the curve from there on."""
    late = [row for row in results["curve"] if row["transitions"] >= 15e6]
    return [min(row["charts/episodic_return_max"] for row in late)]


# --- exploration --------------------------------------------------------------------------------


def proof_returns(results: Any) -> Sequence[float]:
    """The return of each seed with the bonus."""
    values: list[float] = results["tasks"]["mountain-car"]["RND"]["return"]["of_each_seed"]
    return values


def mountain_car(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """Interquartile mean and interval; README has DRND's in the column without a name."""
    returns = results["tasks"]["mountain-car"][column or "DRND"]["return"]
    return [returns["iqm"], returns["low"], returns["high"]]


def libraries(results: Any, row: tuple[str, ...], column: str) -> Sequence[float]:
    """What a contestant of `mountain_car.py`, or a bonus of `door_key.py`, reached."""
    returns = results["return"][row[0]]
    if column == "of each seed":
        values: list[float] = returns["of_each_seed"]
        return values
    return [returns["iqm"], returns["low"], returns["high"]]


# --- what is claimed ----------------------------------------------------------------------------

CLAIMS: list[Claim] = [
    # README.md
    Sentence(
        README,
        "gets # for ever",
        "proof",
        lambda results: [results["tasks"]["mountain-car"]["PPO"]["return"]["iqm"]],
        EXACT,
    ),
    Sentence(
        README,
        "all three seeds have, early, and return to it: #, # and #",
        "proof",
        proof_returns,
        RATIO,
    ),
    Sentence(README, "the return stays #, as a first reward", "given"),
    Sentence(
        README,
        "make # to # times as many steps as EnvPool's (median of six games: #) and # to #"
        " times as many as ale-py's (#)",
        "env",
        env_summary,
        RATIO,
    ),
    Sentence(
        README,
        "Training is # times as fast as the same algorithm in plain PyTorch on EnvPool",
        "bench",
        bench_ratio,
        RATIO,
    ),
    Sentence(
        README,
        "in float32: # transitions a second on two cores of an Intel Xeon, in # GB",
        "bench",
        lambda results: [bench_summary(results)[0], results["peak_memory_mib"] * 2**20 / 1e9],
    ),
    Sentence(README, "One H200 beside # hardware threads", "given"),
    Sentence(
        README,
        "# transitions a second in bfloat16",
        "training",
        lambda results: [results["median_transitions_per_s"]],
    ),
    Sentence(
        README,
        "so that the paper's run takes # hours (computed)",
        "training",
        lambda results: [PAPER_TRANSITIONS / results["median_transitions_per_s"] / 3600],
    ),
    Sentence(README, "on two cores found # rooms and a way to # points", "go-explore"),
    Sentence(README, "on all # games", "facts", lambda results: [results["games"]], EXACT),
    Sentence(README, "returns with # % bootstrap intervals", "given"),
    Table(
        README,
        ("task", "PPO", "RND", ""),
        "mountain-car",
        mountain_car,
        dict.fromkeys(("PPO", "RND", ""), RATIO),
        rows=("MountainCar-v0",),
    ),
    Table(
        README,
        ("task", "PPO", "RND", ""),
        "exploration",
        rows=("LunarLander-v3", "MiniGrid-DoorKey-8x8", "Montezuma's Revenge"),
    ),
    Sentence(README, "no extrinsic reward either: # % of the paper's budget", "given"),
    Sentence(README, "scores, which need # billion frames", "given"),
    # rndfast bench
    Sentence(BENCHMARKS, "the hours to the paper's # million transitions", "given"),
    Sentence(BENCHMARKS, "At # x # it takes tens of minutes and # GiB of memory", "given"),
    Sentence(BENCHMARKS, "# epochs x # minibatches by the fast path", "given"),
    Sentence(
        BENCHMARKS,
        "# environments x # steps, # epochs x # minibatches, float32, # minutes",
        "given",
    ),
    Table(
        BENCHMARKS,
        ("time of one", "peer", "clock", "rndfast", "peer's", "times as fast", "goal"),
        "bench",
        bench_cell,
        {"times as fast": RATIO},
        labels=3,
        skipped=("goal",),
    ),
    Sentence(BENCHMARKS, "# transitions a second: # hours to the paper's", "bench", bench_summary),
    Sentence(BENCHMARKS, "hours to the paper's # million (computed)", "given"),
    Sentence(
        BENCHMARKS,
        "learn takes # s, inference # s, bonus # s, waiting for the environments # s, the log # s,"
        " advantages # ms",
        "bench",
        bench_phases,
    ),
    Sentence(
        BENCHMARKS,
        "Most memory in training: # MiB",
        "bench",
        lambda results: [results["peak_memory_mib"]],
    ),
    Sentence(BENCHMARKS, "The goals of # and # times", "given"),
    Sentence(BENCHMARKS, "a matrix product is # to # times as fast as in float32", "once"),
    # bench_env
    Table(BENCHMARKS, ENV_HEAD, "env", env_cell(CPU), ENV_RATIOS),
    Table(BENCHMARKS, ENV_HEAD, "env", env_cell(WALL), ENV_RATIOS, nth=1),
    Table(
        BENCHMARKS,
        (
            "game",
            "a frame not drawn",
            "a frame drawn, resized and returned",
            "pooling two pictures and resizing",
        ),
        "env",
        env_microseconds,
    ),
    Sentence(BENCHMARKS, "some # pixels that are exact ties", "once"),
    Sentence(
        BENCHMARKS,
        "An environment takes # bytes: # for two pictures, # for its stack of frames, # for random"
        " streams",
        "facts",
        lambda results: [
            results["bytes of an environment"],
            results["bytes of two pictures"],
            results["bytes of a stack"],
            results["bytes of two random streams"],
        ],
        EXACT,
    ),
    Sentence(BENCHMARKS, "# minutes, right after it", "given"),
    Sentence(BENCHMARKS, "Steps per second of # environments", "given"),
    Table(BENCHMARKS, ("", "rndfast", "ale-py", "EnvPool"), "scaling", scaling_cell),
    Sentence(
        BENCHMARKS,
        "two threads make #, #, #, # and #:",
        "scaling",
        lambda results: list(results["envs"]["rndfast"].values()),
    ),
    Sentence(
        BENCHMARKS,
        "no processor time (# of a core)",
        "scaling",
        lambda results: [results["too_few_cores"]["idle_cpu_share"]],
    ),
    Sentence(
        BENCHMARKS,
        "A step makes # calls of futex",
        "scaling",
        lambda results: [results["futex_calls_per_step"]],
    ),
    Sentence(
        BENCHMARKS,
        "cost the calling thread # and # microseconds, with copies # and #",
        "scaling",
        lambda results: [
            results["calling_thread_us"][f"copy={copy}"][name]
            for copy in (False, True)
            for name in ("send", "recv")
        ],
    ),
    Sentence(BENCHMARKS, "(goals: # and # together, not met)", "given"),
    # exploration
    Table(
        BENCHMARKS,
        ("task", "environment", "settings", "transitions of a run"),
        "given",
        skipped=("environment", "settings"),
    ),
    Sentence(BENCHMARKS, "over seeds and # % bootstrap interval", "given"),
    Table(
        BENCHMARKS,
        ("task", "PPO", "RND", "DRND"),
        "mountain-car",
        mountain_car,
        dict.fromkeys(("PPO", "RND", "DRND"), RATIO),
        rows=("mountain-car",),
    ),
    Table(
        BENCHMARKS,
        ("task", "PPO", "RND", "DRND"),
        "exploration",
        rows=("lunar-lander", "door-key", "montezuma-laptop`, 61,440 transitions"),
    ),
    Sentence(BENCHMARKS, "the bonus is gone after # thousand transitions", "exploration"),
    # mountain_car
    Table(
        BENCHMARKS,
        ("contestant", "final return", "of each seed"),
        "libraries",
        libraries,
        {"final return": RATIO},
    ),
    # door_key
    Table(BENCHMARKS, ("bonus", "final return", "of each seed"), "door-key", libraries),
    Sentence(BENCHMARKS, "The last tenth of # transitions, seeds # to #", "given"),
    # gpu_check
    Sentence(
        BENCHMARKS,
        "NVIDIA H200 with # hardware threads of a Xeon (AVX-512), torch 2.11.0 with CUDA #,",
        "given",
    ),
    Sentence(BENCHMARKS, "Milliseconds of an iteration of # steps", "given"),
    Table(
        BENCHMARKS,
        ("variant", "transitions/s", "collect", "bonus", "learn", "log", "iteration"),
        "gpu",
        gpu_cell,
    ),
    Sentence(
        BENCHMARKS,
        "intrinsic rewards #, advantages #, gradients #,",
        "gpu",
        lambda results: [
            results["parity"]["update"][name]
            for name in ("intrinsic_rewards", "advantages", "gradients")
        ],
    ),
    Sentence(
        BENCHMARKS,
        "steps #; pixel statistics equal",
        "gpu",
        lambda results: [results["parity"]["update"]["weights"]],
    ),
    Sentence(BENCHMARKS, "weights after # steps", "given"),
    Sentence(
        BENCHMARKS,
        "The consoles alone made # steps/s on the # threads, in two halves that take turns (# on"
        " one, # on four, # on eight)",
        "gpu",
        lambda results: [
            results["consoles_steps_per_s"]["16"],
            16,
            *(results["consoles_steps_per_s"][threads] for threads in ("1", "4", "8")),
        ],
    ),
    Sentence(
        BENCHMARKS,
        "The GPU is busy # % of an iteration",
        "gpu",
        lambda results: [100 * results["profile"]["gpu_busy_share"]],
    ),
    Sentence(
        BENCHMARKS,
        "Memory: # GiB of the GPU's in bfloat16",
        "gpu",
        lambda results: [results["variants"]["bfloat16"]["gpu_memory_reserved_gib"]],
    ),
    Sentence(
        BENCHMARKS,
        "the process # GiB in training",
        "training",
        lambda results: [results["peak_memory_mib"] / 1024],
    ),
    Sentence(
        BENCHMARKS,
        "# kernels in an iteration, of which # are acting's",
        "gpu",
        lambda results: [
            results["profile"]["by_phase"][phase]["kernels"] for phase in ("iteration", "inference")
        ],
    ),
    Sentence(
        BENCHMARKS,
        "Without graphs a step waits for the host: #/s",
        "gpu",
        lambda results: [results["variants"]["bfloat16, without graphs"]["transitions_per_s"]],
    ),
    Sentence(BENCHMARKS, "The version before made # to #/s", "once"),
    Sentence(
        BENCHMARKS,
        "with faster consoles (# steps/s by `bench_env.py --scaling`, # on one thread",
        "training",
        lambda results: [
            results["bench_env_scaling"]["steps_per_s_by_threads"][threads]
            for threads in ("16", "1")
        ],
    ),
    Sentence(BENCHMARKS, "did not end in its time), # threads", "given"),
    Sentence(
        BENCHMARKS,
        "# million transitions in # s, # a second in the median iteration (collect # ms, bonus #,"
        " learn #, log #)",
        "training",
        training_summary,
    ),
    Sentence(BENCHMARKS, "The first reward at # million", "once"),
    Sentence(BENCHMARKS, "# points from", "training", return_from_15_million),
    Sentence(BENCHMARKS, "points from # million on", "given"),
    Sentence(
        BENCHMARKS,
        "Eight iterations each: # and # transitions/s",
        "training",
        of_eight("spin", "spin2"),
    ),
    Sentence(BENCHMARKS, "transitions/s with # threads, **", "given"),
    Sentence(BENCHMARKS, "**# with", "training", of_eight("spin15")),
    Sentence(BENCHMARKS, " with #**", "given"),
    Sentence(BENCHMARKS, "gave # and # with", "training", of_eight("blocking", "blocking2")),
    Sentence(
        BENCHMARKS,
        "threads, # with #, and was not kept",
        "training",
        lambda results: [*of_eight("blocking15")(results), 15],
    ),
    Sentence(BENCHMARKS, "80GB with # threads made", "given"),
    Sentence(
        BENCHMARKS,
        "made # transitions/s ([results/gpu_check-h100",
        "gpu-earlier",
        lambda results: [results["variants"]["bfloat16"]["transitions_per_s"]],
    ),
    # bench_core
    Sentence(BENCHMARKS, "# environments, # steps, # x # frames; # is one of the paper's", "given"),
    Sentence(BENCHMARKS, "dear on this virtual machine, # % or more", "once"),
    Sentence(BENCHMARKS, "(# cores, AVX-512), # thread,", "given"),
    Sentence(BENCHMARKS, "# s. Wall times equal CPU times", "given"),
    Table(
        BENCHMARKS,
        (
            *("question", "contestant", "CPU ms", "user ms", "CPU ratio", "user ratio"),
            "goal (CPU)",
        ),
        "core",
        core_cell,
        {"CPU ratio": RATIO, "user ratio": RATIO},
        labels=2,
        skipped=("goal (CPU)",),
    ),
    Sentence(BENCHMARKS, "normalising was # times and gathering # times as fast", "once"),
    Sentence(BENCHMARKS, "normalising # to # times", "core", core_normalising, RATIO),
    Sentence(
        BENCHMARKS,
        "the float32 gather writes # MB",
        "facts",
        lambda results: [results["bytes of a gather"] / 1e6],
        EXACT,
    ),
    Sentence(BENCHMARKS, "No kernel can be # times faster", "given"),
    # instructions
    Sentence(BENCHMARKS, "differed by at most # in #; the tolerance is # %", "once"),
    Sentence(BENCHMARKS, "All take # s.", "instructions"),
    Sentence(BENCHMARKS, "gave +# % for frames drawn and +# %", "once"),
]


def chosen_sources(only: str | None) -> list[Source]:
    """Those that are measured: the named ones, or all that this machine can.

    Raises:
        ValueError: There is none of such a name, or it cannot be measured here.
    """
    can = {source.name: source for source in SOURCES if not source.needs}
    if only is None:
        return [*can.values()]
    if unknown := [name for name in only.split(",") if name not in can]:
        raise ValueError(f"--only takes {', '.join(can)}, got {unknown}")
    return [can[name] for name in only.split(",")]


def compare(
    figures: list[Figure], results: dict[str, Any], cpu: str
) -> list[tuple[Figure, float, str]]:
    """The figures that were measured, what they are now, and the verdict."""
    sources = {source.name: source for source in SOURCES}
    compared = []
    for figure in figures:
        if figure.source in results and figure.compute is not None:
            measured = figure.compute(results[figure.source])
            verdict = sources[figure.source].verdict(figure, measured, cpu)
            compared.append((figure, measured, verdict))
    return compared


def show(compared: list[tuple[Figure, float, str]], console: Console) -> None:
    """Print claimed beside measured."""
    table = ShownTable("where", "figure", title="figures of this machine", box=None)
    for column in ("claimed", "measured"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for figure, measured, verdict in compared:
        shown = f"{measured:,.0f}" if abs(measured) >= 100 else f"{measured:.4g}"
        table.add_row(figure.place, figure.name[:70], figure.text, shown, verdict)
    console.print(table)


def name_others(figures: list[Figure], results: dict[str, Any], console: Console) -> None:
    """Print where the figures come from that were not measured anew."""
    table = ShownTable("source", "figures", "needs", "command", "file", title="others", box=None)
    for source in SOURCES:
        count = sum(figure.source == source.name for figure in figures)
        if source.name not in results:
            kept = source.record.name if isinstance(source.record, Path) else "none kept"
            needs = source.needs or "time: choose it by --only"
            table.add_row(source.name, str(count), needs, source.command, kept)
    console.print(table)


def update(figures: list[Figure], results: dict[str, Any], texts: dict[str, str]) -> None:
    """Write new results, and their figures into the text."""
    for source in SOURCES:
        if source.name in results and not callable(source.record):
            path = source.record or RESULTS / f"{source.name}.json"
            path.write_text(json.dumps(results[source.name], indent=1) + "\n")
            print(f"wrote {path}")
    for figure in sorted(figures, key=lambda figure: figure.begin, reverse=True):
        if figure.source in results and figure.compute is not None:
            new = figure.written(figure.compute(results[figure.source]))
            text = texts[figure.file]
            end = figure.begin + len(figure.text)
            texts[figure.file] = text[: figure.begin] + new + text[end:]
    for file, text in texts.items():
        (ROOT / file).write_text(text)


def main(argv: list[str] | None = None) -> None:
    """Check the text, measure, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", help="sources, with commas between; left out: all that this machine can"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build/claims", help="for new results"
    )
    parser.add_argument("--update", action="store_true", help="write results and text anew")
    arguments = parser.parse_args(argv)
    try:
        chosen = chosen_sources(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    console = Console(width=200)
    texts = {file: (ROOT / file).read_text() for file in (README, BENCHMARKS)}
    figures, _ = find(texts, CLAIMS)
    arguments.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    failures = []
    for source in chosen:
        try:
            results[source.name] = source.measured(arguments.output)
        except subprocess.CalledProcessError as error:
            failures.append(f"{source.name}: {error}")
    compared = compare(figures, results, hardware()["cpu"])
    show(compared, console)
    name_others(figures, results, console)
    differing = [
        f"{figure.place}: {figure.text}, measured {measured:.4g}: {figure.name}"
        for figure, measured, verdict in compared
        if verdict == DIFFERS
    ]
    if arguments.update:
        update(figures, results, texts)
        differing = []
    figures, problems = find(texts, CLAIMS)
    problems += differing_from_records(figures, SOURCES) + unclaimed(texts, CLAIMS)
    problems += differing + failures
    if problems:
        sys.exit("\n".join(["", *problems, f"{len(problems)} figures do not hold"]))
    held = sum(verdict == HOLDS for _, _, verdict in compared)
    print(f"\n{len(figures)} figures in the text; {held} were compared with new results: all hold")


if __name__ == "__main__":
    main()
