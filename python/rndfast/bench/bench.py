"""``rndfast bench``: real training, the update and the environments beside their peers.

The contestants take turns, round after round, so that other load on the machine and its clock touch
all alike; figures are medians of rounds, in wall and CPU time, and ratios of medians. The plain
learner (plain.py) is the peer of training and update, EnvPool and ale-py those of the environments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

import rndfast
from rndfast._core import usable_cores
from rndfast.bench.arguments import BenchArguments
from rndfast.bench.plain import PlainBatch, PlainLearner, make_ale_env, make_plain_env
from rndfast.bench.report import Report, print_report, write_charts
from rndfast.config import Config, EnvConfig, PpoConfig, RndConfig, RunConfig
from rndfast.envs.games import env_id, parse_game
from rndfast.envs.make import make_env
from rndfast.learner.agent import Agent
from rndfast.learner.backend import Advantages, Backend
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.device_observations import DeviceFrames
from rndfast.learner.distributions import Categorical
from rndfast.learner.gpu import GpuBackend
from rndfast.learner.make import make_learner
from rndfast.learner.observations import FrameStore
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rollout import Rollout, collect, initialize_obs_moments, start_episodes
from rndfast.runs.metrics import Metrics
from rndfast.runs.train import train
from rndfast.runtime.compute import open_compute, resolve_precision, resolved, torch_threads
from rndfast.runtime.hardware import hardware
from rndfast.runtime.interruption import Interruption
from rndfast.runtime.spans import device_use
from rndfast.runtime.terminal import open_console
from rndfast.runtime.timeline import PHASES, Span, Timeline

OURS = "rndfast"
PLAIN = "plain"
PAPER_TRANSITIONS = Config().run.total_transitions
PACKAGES = ("rndfast", "torch", "numpy", "gymnasium", "ale-py", "envpool")

# Largest difference of a loss between the fast path and the plain learner after an update, absolute
# or relative. In float32, rounding makes less than a hundredth of it.
LOSS_TOLERANCE = 0.02

STICKINESS = 0.25
# Steps of all environments in one round: so many that each library takes about the same time.
BATCHES_PER_ROUND = {OURS: 24, "ale-py": 6, "envpool": 6}

Work = Callable[[], object]
View = Callable[[str], None]
Precision = Literal["float32", "tf32", "bfloat16"]


def bench(arguments: BenchArguments) -> None:
    """Measure, print the figures and write ``bench.json`` and the charts.

    Raises:
        ValueError: An argument is wrong, or the fast path and the plain learner disagree.
        OSError: The output directory cannot be written; before anything is measured.
        Interrupted: Ctrl-C or SIGTERM.
    """
    if arguments.rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {arguments.rounds}")
    config = bench_config(arguments)
    precisions = number_formats(config.run)
    console = open_console()
    with (
        output_directory(arguments.output) as output,
        Interruption(),
        tempfile.TemporaryDirectory(prefix="rndfast-bench-") as scratch,
    ):
        report = measure(config, precisions, arguments.rounds, Path(scratch), console.print)
        (output / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
        print_report(report, console)
        written = [output / "bench.json", *write_charts(report, output, console)]
    console.print("written: " + ", ".join(map(str, written)))


def bench_config(arguments: BenchArguments) -> Config:
    """The paper's settings; with ``quick``, a smaller rollout and one pass over it."""
    num_envs, steps, epochs = (16, 8, 1) if arguments.quick else (128, 128, 4)
    return Config(
        env=EnvConfig(num_envs=num_envs),
        ppo=PpoConfig(rollout_steps=steps, update_epochs=epochs),
        rnd=RndConfig(obs_norm_steps=steps),
        run=resolved(
            RunConfig(
                device=arguments.device,
                num_threads=arguments.num_threads,
                precision=arguments.precision,
            )
        ),
    )


def number_formats(config: RunConfig) -> list[Precision]:
    """The number formats to measure: float32 always, and what the run's own stands for here."""
    chosen = resolve_precision(config)
    return ["float32"] if chosen == "float32" else ["float32", chosen]


@contextlib.contextmanager
def output_directory(path: Path) -> Iterator[Path]:
    """Make a directory and see that it can be written; removed if what is done inside fails.

    Raises:
        ValueError: It is a file.
        OSError: It cannot be written.
    """
    is_new = not path.exists()
    if not is_new and not path.is_dir():
        raise ValueError(f"output must be a directory, but {path} is a file")
    path.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
        yield path
    except BaseException:
        with contextlib.suppress(OSError):  # figures are in it
            if is_new:
                path.rmdir()
        raise


def measure(
    config: Config, precisions: list[Precision], rounds: int, scratch: Path, view: View
) -> Report:
    """Measure everything; returns what ``bench.json`` holds."""
    plain_threads = config.run.num_threads or torch.get_num_threads()
    report: Report = {
        "settings": {
            "env_id": config.env.env_id,
            "num_envs": config.env.num_envs,
            "rollout_steps": config.ppo.rollout_steps,
            "update_epochs": config.ppo.update_epochs,
            "num_minibatches": config.ppo.num_minibatches,
            "device": config.run.device,
            "num_threads": config.run.num_threads or usable_cores(),
            "plain_threads": plain_threads,
            "plain_env": "envpool" if is_installed("envpool") else "ale-py",
            "rounds": rounds,
        },
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **versions()},
        "training": {},
        "update": {},
    }
    for precision in precisions:
        run = dataclasses.replace(config.run, precision=precision, run_dir=scratch / precision)
        chosen = dataclasses.replace(config, run=run)
        view(f"training in {precision}, a warm-up and {rounds} rounds beside plain PyTorch")
        report["training"][precision] = measure_training(chosen, rounds, plain_threads, view)
        view(f"update in {precision}")
        report["update"][precision] = measure_update(chosen, rounds, plain_threads)
    # later ones would count the plain learner's memory
    report["peak_memory_mib"] = report["training"][precisions[0]].pop("peak_memory_mib")
    view("environments")
    num_threads = report["settings"]["num_threads"]
    env_costs = measure_envs(
        parse_game(config.env.env_id), config.env.num_envs, num_threads, rounds
    )
    report["environments"] = comparison(env_costs)
    return report


# --- time -------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Time on the wall, and of all threads of this process together."""

    wall_s: float
    cpu_s: float

    @classmethod
    def since(cls, start: Cost) -> Cost:
        """The cost since another moment's :meth:`now`."""
        now = cls.now()
        return cls(now.wall_s - start.wall_s, now.cpu_s - start.cpu_s)

    @classmethod
    def now(cls) -> Cost:
        """The clocks."""
        return cls(time.perf_counter(), time.process_time())


def cost_of(work: Work) -> Cost:
    """Do something once."""
    start = Cost.now()
    work()
    return Cost.since(start)


def alternate(contestants: dict[str, Work], rounds: int) -> dict[str, list[Cost]]:
    """Let each do its work in turn, round after round."""
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            costs[name].append(cost_of(work))
    return costs


def figures(values: list[float]) -> dict[str, Any]:
    """Values of rounds, their median and range."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "rounds": values,
    }


def comparison(costs: dict[str, list[Cost]]) -> Report:
    """Costs of each contestant, and how many times as much a peer's are as ours.

    A ratio is one of medians; its range is that of the rounds' own ratios.
    """
    report: Report = {
        name: {clock: figures([getattr(cost, clock) for cost in of_name]) for clock in Cost._fields}
        for name, of_name in costs.items()
    }
    ours = report[OURS]
    ratios: Report = {peer: {} for peer in costs if peer != OURS}
    for peer, ratio in ratios.items():
        for clock in Cost._fields:
            theirs, own = report[peer][clock], ours[clock]
            of_rounds = [a / b for a, b in zip(theirs["rounds"], own["rounds"], strict=True)]
            ratio[clock.removesuffix("_s")] = {
                "of_medians": theirs["median"] / own["median"],
                "min": min(of_rounds),
                "max": max(of_rounds),
            }
    return report | {"times_as_fast_as": ratios}


# --- training ---------------------------------------------------------------------------------


class _ClockedTimeline(Timeline):
    """Notes our own clocks, and a GPU's, as well whenever ``train`` makes a row."""

    def __init__(self) -> None:
        super().__init__(times_device=True)
        self.moments: list[Cost] = []
        self.device_seconds: list[dict[str, float]] = []

    def take_seconds(self) -> dict[str, float]:
        self.moments.append(Cost.now())
        seconds = super().take_seconds()
        self.device_seconds.append(self.take_device_seconds())
        return seconds


def measure_training(config: Config, rounds: int, plain_threads: int, view: View) -> Report:
    """Iterations of real training, and between them those of the plain learner.

    The first iteration of each warms up; on a GPU, where graphs are captured in the second, the
    second too. There a last one is traced.
    """
    num_warm_up = 2 if config.run.device == "cuda" else 1
    num_traced = 1 if config.run.device == "cuda" else 0
    timeline = _ClockedTimeline()
    rows: list[Metrics] = []
    plain_costs: list[Cost] = []
    pauses: list[Cost] = []  # the plain learner's turn after each row of metrics
    spans: list[Span] = []

    def follow(update: Metrics | str) -> None:
        if isinstance(update, str):
            view(update)
            return
        rows.append(update)
        if len(rows) > num_warm_up + rounds:
            spans.extend(timeline.take_trace())
            return
        start = Cost.now()
        with timeline.paused(), torch_threads(plain_threads):
            plain_costs.append(cost_of(lambda: next(plain)))
        pauses.append(Cost.since(start))
        if num_traced and len(rows) == num_warm_up + rounds:
            timeline.keeps_spans = True
            timeline.start_trace()

    num_iterations = num_warm_up + rounds + num_traced
    total_transitions = num_iterations * config.rollout_transitions
    run = dataclasses.replace(config.run, total_transitions=total_transitions)
    with contextlib.closing(plain_iterations(config)) as plain:
        train(dataclasses.replace(config, run=run), view=follow, timeline=timeline)

    # from row to row, as the phases: an iteration has the writing of the row before
    peak_memory = rows[0]["perf/peak_memory_mib"]  # later the plain learner's is in it
    rows = rows[num_warm_up : num_warm_up + rounds]
    moments = timeline.moments[num_warm_up : num_warm_up + rounds + 1]
    costs = np.diff(moments, axis=0) - np.array(pauses[num_warm_up - 1 : -1])  # (rounds, clocks)
    report = comparison(
        {
            OURS: [Cost(*cost) for cost in costs.tolist()],
            PLAIN: plain_costs[num_warm_up : num_warm_up + rounds],
        }
    )
    walls = report[OURS]["wall_s"]
    transitions_per_s = config.rollout_transitions / walls["median"]
    return report | {
        "transitions_per_s": transitions_per_s,
        "transitions_per_cpu_s": config.rollout_transitions / report[OURS]["cpu_s"]["median"],
        "hours_to_the_papers_transitions": PAPER_TRANSITIONS / transitions_per_s / 3600,
        "phases_s": {
            phase: figures([float(row[f"perf/{phase}_s"] or 0.0) for row in rows])
            for phase in PHASES
        },
        **gpu_figures(timeline.device_seconds[num_warm_up + 1 :][:rounds], spans),
        "median_round": walls["rounds"].index(statistics.median_low(walls["rounds"])),
        "peak_memory_mib": peak_memory,
    }


def gpu_figures(device_seconds: list[dict[str, float]], spans: list[Span]) -> Report:
    """Of a GPU: each round's phases by its own clock, and what a traced iteration shows.

    Args:
        device_seconds: As of `Timeline.take_device_seconds`, of each round.
        spans: A trace; empty without a GPU, of which nothing is returned then.
    """
    use = device_use(spans)
    if not use:
        return {}
    return {
        "gpu_phases_s": {
            phase: figures([seconds[phase] for seconds in device_seconds]) for phase in PHASES
        },
        "gpu_kernels": use["iteration"].kernels,
        "gpu_busy_share": use["iteration"].busy_share,
    }


def plain_iterations(config: Config) -> Generator[dict[str, float], None, None]:
    """Iterations of the plain learner, which is made when the first one is asked for."""
    num_actions = rndfast.AtariVectorEnv(parse_game(config.env.env_id), 1).num_actions
    num_threads = config.run.num_threads or usable_cores()
    with contextlib.closing(make_plain_env(config, num_threads)) as env:
        plain = PlainLearner(config, num_actions)
        plain.start(env)
        while True:
            yield plain.iteration(env)


# --- update -----------------------------------------------------------------------------------


def measure_update(config: Config, rounds: int, plain_threads: int) -> Report:
    """Updates of the fast path and of the plain learner, from the same weights and experience.

    Raises:
        ValueError: Their losses differ.
    """
    with (
        open_compute(config.run) as compute,
        contextlib.closing(make_env(config, compute.num_threads)) as env,
    ):
        agent, rollout, backend = make_learner(config, env, compute)
        assert agent.bonus is not None
        initialize_obs_moments(agent, env, config, compute.ranks)
        start_episodes(env, rollout, backend, config.run.seed + 1, compute.ranks)
        collect(env, rollout, backend)
        int_rewards = agent.bonus.scale(
            backend.intrinsic_rewards(), rollout.int_return_filter, compute.ranks
        )
        ext_rewards = rollout.clipped(rollout.rewards_raw)
        advantages = compute_advantages(rollout, ext_rewards, int_rewards, config.ppo)

        plain = plain_copy(agent, config)
        batch = plain_batch(rollout, backend, advantages)

        def fast_update() -> dict[str, float]:
            metrics = update(rollout, backend, advantages, config)
            return {name.removeprefix("losses/"): value for name, value in metrics.items()}

        def plain_update() -> dict[str, float]:
            with torch_threads(plain_threads):
                return plain.update(batch)

        losses = {OURS: fast_update(), PLAIN: plain_update()}  # the first of each also warms up
        require_same_losses(losses[OURS], losses[PLAIN])
        costs = alternate({OURS: fast_update, PLAIN: plain_update}, rounds)
    return comparison(costs) | {"losses_of_first_update": losses}


def plain_copy(agent: Agent, config: Config) -> PlainLearner:
    """A plain learner with an agent's weights and pixel statistics; its optimiser is new."""
    assert isinstance(agent.distribution, Categorical)
    assert agent.bonus is not None
    plain = PlainLearner(config, agent.distribution.num_actions)
    plain.policy.load_state_dict(agent.policy.state_dict())
    plain.target.load_state_dict(agent.bonus.networks.target.state_dict())
    plain.predictor.load_state_dict(agent.bonus.networks.predictor.state_dict())
    plain.obs_statistics.mean = agent.obs_moments.mean
    plain.obs_statistics.var = agent.obs_moments.var
    return plain


def plain_batch(rollout: Rollout, backend: Backend, advantages: Advantages) -> PlainBatch:
    """A rollout as the plain learner's update takes it, with whole stacks."""
    assert isinstance(backend, CpuBackend | GpuBackend)
    store = backend.observations
    assert isinstance(store, FrameStore | DeviceFrames)
    steps, stack_num = rollout.num_steps, store.stack_num
    frames, valid_frames, actions, log_probs, combined, returns = (
        torch.as_tensor(array, device=backend.agent.device)
        for array in (
            store.frames,
            store.valid_frames,
            backend.actions,
            backend.log_probs,
            advantages.combined,
            advantages.returns,
        )
    )
    stacks = torch.stack(
        [frames[t : t + stack_num, :, 0].swapaxes(0, 1) for t in range(steps)]
    )  # (T, N, S, H, W)
    ages = torch.arange(stack_num, device=frames.device)
    stacks[ages < stack_num - valid_frames[:steps, :, None].long()] = 0
    return PlainBatch(
        stacks.float(),
        frames[stack_num:].float(),  # next frames
        actions[:steps],
        log_probs[:steps],
        combined,
        *returns.unbind(2),  # extrinsic and intrinsic
    )


def require_same_losses(ours: dict[str, float], plain: dict[str, float]) -> None:
    """Check that two updates from the same start did the same.

    The predictor's loss is left out: it depends on which quarter of the rows each drew.

    Raises:
        ValueError: A loss differs by more than `LOSS_TOLERANCE`.
    """
    for name in ("policy", "ext_value", "int_value", "entropy"):
        if abs(ours[name] - plain[name]) > LOSS_TOLERANCE * max(1.0, abs(plain[name])):
            raise ValueError(
                f"the {name} loss must be that of plain PyTorch, {plain[name]:.6g}, "
                f"got {ours[name]:.6g}"
            )


# --- environments -----------------------------------------------------------------------------


def rndfast_stepper(game: str, num_envs: int, num_threads: int, **settings: Any) -> Work:
    """Return a function that steps a batch of ours with random actions."""
    envs = rndfast.AtariVectorEnv(game, num_envs, num_threads=num_threads, **settings)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    return lambda: envs.step(rng.integers(0, envs.num_actions, num_envs))


def ale_stepper(game: str, num_envs: int, num_threads: int) -> Work:
    """Return a function that steps a batch of ale-py's."""
    envs = make_ale_env(
        game, num_envs, num_threads=num_threads, repeat_action_probability=STICKINESS
    )
    envs.reset()
    num_actions = len(envs.ale.get_action_set())
    rng = np.random.default_rng(0)
    return lambda: envs.step(rng.integers(0, num_actions, num_envs))


def envpool_stepper(game: str, num_envs: int, num_threads: int) -> Work:
    """Return a function that steps a batch of EnvPool's."""
    import envpool

    envs = envpool.make(
        env_id(game).removeprefix("rndfast/"),
        env_type="gymnasium",
        num_envs=num_envs,
        num_threads=num_threads,
        repeat_action_probability=STICKINESS,
    )
    envs.reset()
    num_actions = int(envs.action_space.n)
    rng = np.random.default_rng(0)
    return lambda: envs.step(rng.integers(0, num_actions, num_envs).astype(np.int32))


STEPPERS = {OURS: rndfast_stepper, "ale-py": ale_stepper, "envpool": envpool_stepper}


def measure_envs(game: str, num_envs: int, num_threads: int, rounds: int) -> dict[str, list[Cost]]:
    """Costs of one step of one environment, of each library that is installed.

    A step is four console frames, the maximum of the last two, grey, 84 x 84, a stack of four,
    sticky actions 0.25, other settings each library's own; actions are random.
    """
    steppers = {
        name: make(game, num_envs, num_threads)
        for name, make in STEPPERS.items()
        if name == OURS or is_installed(name)
    }

    def batches(name: str) -> Work:
        def step_batches() -> None:
            for _ in range(BATCHES_PER_ROUND[name]):
                steppers[name]()

        return step_batches

    contestants = {name: batches(name) for name in steppers}
    costs = alternate(contestants, rounds + 1)  # the first one warms up
    return {
        name: [
            Cost(*(seconds / (BATCHES_PER_ROUND[name] * num_envs) for seconds in cost))
            for cost in of_name[1:]
        ]
        for name, of_name in costs.items()
    }


# --- where it ran -----------------------------------------------------------------------------


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package.replace("-", "_")) is not None


def versions() -> dict[str, str | None]:
    """Versions of what is compared; None: not installed."""
    return {
        name: importlib.metadata.version(name) if is_installed(name) else None for name in PACKAGES
    }
