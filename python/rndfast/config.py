"""Every setting of a run, its unit and the paper's value.

The dataclasses are the command line, the TOML file and the documentation at once. Defaults are the
paper's (Burda et al. 2018, table 5 and the authors' implementation); ``docs/algorithm.md`` lists
each with its source. ``rndfast.presets`` builds the presets from them; scripts may also import
``PRESETS`` and ``Preset`` from here.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import math
import shlex
import sys
import types
import typing
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Section = TypeVar("Section")

MAX_FILE_BYTES = 1_000_000  # of settings; all there are take 2 KB


def _require(condition: bool, name: str, expected: str, got: object) -> None:
    if not condition:
        raise ValueError(f"{name} must be {expected}, got {got!r}")


def _require_at_least(section: object, low: float, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        _require(low <= value < math.inf, name, f"finite and at least {low}", value)


def _require_at_most(section: object, high: int, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        _require(value <= high, name, f"at most {high:,}", value)


def _require_usable_integers(section: object) -> None:
    """Settings may come from a file: what is computed with must fit into 64 bits.

    A seed is only hashed.
    """
    for name, value in vars(section).items():
        if isinstance(value, int) and name != "seed":
            _require(abs(value) <= 2**53, name, f"in [{-(2**53)}, {2**53}]", value)


def _require_positive(section: object, name: str) -> None:
    value = getattr(section, name)
    is_right = value is None or 0.0 < value < math.inf
    _require(is_right, name, "finite and above 0", value)


def _require_fraction(section: object, *names: str) -> None:
    for name in names:
        value = getattr(section, name)
        _require(0.0 <= value <= 1.0, name, "in [0, 1]", value)


def _takes_atari_settings_too(section: type[Section]) -> type[Section]:
    """Let scripts of before `AtariConfig` give its settings here; `Config` moves them."""
    plain_init: Callable[..., None] = section.__init__

    @functools.wraps(plain_init)
    def init(self: Section, *args: Any, **settings: Any) -> None:
        names = [name for name in settings if name in AtariConfig.__dataclass_fields__]
        if names:
            # not a field: a copy by `dataclasses.replace` is without it
            moved = {name: settings.pop(name) for name in names}
            object.__setattr__(self, "_atari_settings", moved)
            warnings.warn(
                "EnvConfig takes settings of AtariConfig only so that scripts of before run: "
                + ", ".join(names),
                DeprecationWarning,
                stacklevel=2,
            )
        plain_init(self, *args, **settings)

    section.__init__ = init  # type: ignore[method-assign, assignment]
    return section


@_takes_atari_settings_too
@dataclass(frozen=True)
class EnvConfig:
    """Which environment, how many, and which of its rewards are trained on."""

    env_id: str = "rndfast/MontezumaRevenge-v5"
    """Game: any of the ids that `rndfast info` lists, or any id of Gymnasium's whose observations
    are a Box and whose actions are Discrete or a Box, as MountainCar-v0 or module:Name-v0."""
    num_envs: int = 128
    """Parallel environments."""
    reward_clipping: bool = True
    """Train on the sign of the extrinsic reward; the logged returns stay unclipped."""

    def __post_init__(self) -> None:
        _require_at_least(self, 1, "num_envs")
        _require_at_most(self, 65_536, "num_envs")

    @property
    def is_atari(self) -> bool:
        """Whether the environment is one of ours; otherwise Gymnasium makes it."""
        return self.env_id.startswith("rndfast/")

    @property
    def imported_module(self) -> str | None:
        """The module that Gymnasium imports, and so runs, to make the environment."""
        module, colon, _ = self.env_id.partition(":")
        return module if colon and not self.is_atari else None


@dataclass(frozen=True)
class AtariConfig:
    """How an Atari game is played and seen (paper, table 4); no other environment has this."""

    frameskip: int = 4
    """Emulated frames per step; the action is repeated."""
    maxpool: bool = True
    """Take the pixel-wise maximum of the last two frames of a step."""
    pool_before_grey: bool = True
    """Take that maximum of red, green and blue, then turn the picture grey, as the authors do;
    otherwise of the greys, as ale-py does."""
    grayscale: bool = True
    """Grey frames; otherwise RGB."""
    img_height: int = 84
    """Height of a frame, in pixels."""
    img_width: int = 84
    """Width of a frame, in pixels."""
    stack_num: int = 4
    """Frames that the policy sees at once; RND sees the newest alone."""
    max_num_frames_per_episode: int = 18_000
    """Longest episode, in emulated frames (4,500 steps at frameskip 4)."""
    repeat_action_probability: float = 0.25
    """Chance per emulated frame that the console repeats the previous action (sticky actions)."""
    noop_max: int = 0
    """A game starts with a random number of no-op frames below this; 0: none."""
    use_fire_reset: bool = False
    """Press FIRE at an episode's start where a game waits for it."""
    episodic_life: bool = False
    """Train on a lost life as on the end of an episode; the same game goes on, and what is logged
    and evaluated is whole games."""
    full_action_space: bool = False
    """All 18 joystick actions even where a game uses fewer."""

    def __post_init__(self) -> None:
        # training stacks the frames itself; a run's first act is to make an AtariVectorEnv, which
        # checks the others
        _require(1 <= self.stack_num <= 255, "stack_num", "in [1, 255]", self.stack_num)


@dataclass(frozen=True)
class PpoConfig:
    """Proximal policy optimisation with two value heads (paper, section 2.3 and table 5)."""

    policy: Literal["feedforward", "recurrent"] = "feedforward"
    """Network of actor and critics: without memory, or with a GRU that is trained through the whole
    rollout and starts anew with each episode."""
    rollout_steps: int = 128
    """Steps of each environment per rollout."""
    learning_rate: float = 1e-4
    """Adam's step size, for policy and predictor together."""
    anneal_lr: bool = False
    """Let the learning rate fall linearly to zero at total_transitions; constant in the paper."""
    adam_eps: float = 1e-8
    """Adam's epsilon."""
    update_epochs: int = 4
    """Passes over each rollout."""
    num_minibatches: int = 4
    """Minibatches per pass: contiguous slices of environments, in order."""
    shuffle_minibatches: bool = False
    """Draw the minibatches of each pass from all transitions instead; on one process only."""
    ext_gamma: float = 0.999
    """Discount of the extrinsic return, per step."""
    int_gamma: float = 0.99
    """Discount of the intrinsic return, per step."""
    gae_lambda: float = 0.95
    """GAE's weight of longer returns, for both streams."""
    ext_coef: float = 2.0
    """Weight of the extrinsic advantage; 0: explore for its own sake."""
    int_coef: float = 1.0
    """Weight of the intrinsic advantage; 0: plain PPO, nothing of RND is computed."""
    norm_adv: bool = False
    """Shift and scale the advantages of each minibatch to mean 0 and deviation 1."""
    clip_coef: float = 0.1
    """PPO's clip range: probability ratios in [1 - clip_coef, 1 + clip_coef]."""
    ent_coef: float = 0.001
    """Weight of the entropy bonus."""
    vf_coef: float = 1.0
    """Weight of the value loss, half the mean squared error of each head."""
    clip_vloss: bool = False
    """Clip the change of the first value head, the extrinsic, to clip_coef, as the common
    single-file script does."""
    max_grad_norm: float | None = None
    """Largest norm of the gradients of policy and predictor together; longer ones are scaled down.
    None in the paper."""
    two_value_heads: bool = True
    """A value head for each stream of rewards. Otherwise one for their weighted sum: it needs equal
    discounts, and episodic_int_return says whether episodes end it."""
    episodic_int_return: bool = False
    """Cut the intrinsic return at episode ends too (the paper's ablation)."""
    bootstrap_truncated: bool = False
    """Bootstrap returns where a time limit cut an episode off; the paper counts it as an end."""

    def __post_init__(self) -> None:
        _require_at_least(self, 1, "rollout_steps", "update_epochs", "num_minibatches")
        _require_at_most(self, 2**20, "rollout_steps")
        _require_at_least(self, 0.0, "ext_coef", "int_coef", "ent_coef", "vf_coef")
        _require_fraction(self, "ext_gamma", "int_gamma", "gae_lambda")
        for name in ("learning_rate", "adam_eps", "clip_coef", "max_grad_norm"):
            _require_positive(self, name)
        _require(self.ext_coef + self.int_coef > 0, "ext_coef", "above 0 if int_coef is", 0.0)
        is_combined = not self.two_value_heads and self.int_coef > 0
        _require(
            not is_combined or self.int_gamma == self.ext_gamma,
            "int_gamma",
            f"ext_gamma ({self.ext_gamma}) with one value head",
            self.int_gamma,
        )
        _require(
            not (self.shuffle_minibatches and self.policy == "recurrent"),
            "shuffle_minibatches",
            "False with a recurrent policy, which learns from whole environments",
            self.shuffle_minibatches,
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """What each value head predicts: names of streams of rewards."""
        if self.int_coef == 0:
            return ("ext",)
        return ("ext", "int") if self.two_value_heads else ("combined",)

    @property
    def has_bonus(self) -> bool:
        """Whether there are intrinsic rewards."""
        return self.int_coef > 0


@dataclass(frozen=True)
class RndConfig:
    """The bonus: random network distillation (paper, sections 2.2 and 2.4), or its sibling DRND."""

    bonus: Literal["rnd", "drnd"] = "rnd"
    """The error of one random target's features (rnd), or what the predictions say of several
    targets' (drnd)."""
    num_targets: int = 5
    """Random targets of drnd, at least 2; rnd has one."""
    drnd_alpha: float = 0.9
    """Weight of the first term of drnd's bonus, the distance to the targets' mean, in [0, 1]; the
    second, which counts visits, has the rest."""
    predictor_proportion: float | Literal["auto"] = 0.25
    """Share of each minibatch that trains the predictor, drawn anew each time; auto: 32 / num_envs,
    the paper's rule, so that it learns at the pace of 32 environments."""
    predictor_hidden_layers: int = 2
    """Linear layers that the predictor has more than the target."""
    obs_norm_steps: int = 6_400
    """Steps per environment that a random agent plays before training, to start the statistics of
    the observations, the reset's included; 0: they start with the first rollout."""
    obs_clip: float = 5.0
    """Largest magnitude of a normalised pixel or feature; inf: none."""
    int_return_direction: Literal["forward", "backward"] = "forward"
    """How rewards are summed for the scale of the bonus: forward in time (the authors' code) or
    backward (the paper)."""
    int_reward_clip: float | None = None
    """Largest normalised intrinsic reward; none in the paper."""
    leaky_relu_slope: float = 0.2
    """Slope below zero in the first layers of target and predictor (TensorFlow's default, 0.2)."""
    num_features: int = 512
    """Outputs of target and predictor."""

    def __post_init__(self) -> None:
        proportion = self.predictor_proportion
        _require(
            proportion == "auto" or (not isinstance(proportion, str) and 0.0 < proportion <= 1.0),
            "predictor_proportion",
            "in (0, 1] or 'auto'",
            proportion,
        )
        _require_at_least(self, 2, "num_targets")
        _require_at_most(self, 64, "num_targets")
        _require(0.0 <= self.drnd_alpha <= 1.0, "drnd_alpha", "in [0, 1]", self.drnd_alpha)
        if self.bonus != "drnd":
            for name in ("num_targets", "drnd_alpha"):
                value, default = getattr(self, name), getattr(RndConfig, name)
                expected = f"{default!r}, as only drnd has it, with bonus {self.bonus!r}"
                _require(value == default, name, expected, value)
        _require_at_least(self, 0, "obs_norm_steps", "predictor_hidden_layers")
        _require_at_least(self, 1, "num_features")
        _require_at_most(self, 65_536, "num_features")
        _require_at_most(self, 64, "predictor_hidden_layers")
        _require_at_least(self, 0.0, "leaky_relu_slope")
        _require(self.obs_clip > 0.0, "obs_clip", "above 0", self.obs_clip)
        _require_positive(self, "int_reward_clip")

    def proportion_with(self, num_envs: int) -> float:
        """Share of each minibatch that trains the predictor, as a number."""
        proportion = self.predictor_proportion
        return min(1.0, 32 / num_envs) if proportion == "auto" else float(proportion)


@dataclass(frozen=True)
class RunConfig:
    """Where, how long and on what a run goes; nothing here changes the algorithm."""

    run_dir: Path = Path("runs/rnd")
    """Directory of the run; must not exist yet, unless it is resumed."""
    total_transitions: int = 491_520_000
    """Transitions to train on, summed over environments (30,000 rollouts of 128 x 128)."""
    init_from: Path | None = None
    """Trained agent whose networks and statistics the run begins with, a file of `rndfast export`
    or a run's directory; the random agent's steps are then left out."""
    seed: int = 1
    """Seed of networks, actions and environments, of any size; environment i gets its own."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the networks live: a CUDA GPU if there is one (auto). mps, an Apple GPU, is slow."""
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """Number format of the networks' passes: bfloat16 where the hardware has it (auto); tf32 is a
    CUDA GPU's. Last layers, weights and statistics stay float32 and float64."""
    num_threads: int = 0
    """Threads of each process for emulation, kernels and network passes; 0: one per core, but for
    the one that waits for a CUDA GPU. Results do not depend on it on the CPU."""
    overlap: bool = True
    """Emulate one half of the environments while the other half's actions are chosen; changes no
    result on the CPU, and only rounding on a GPU."""
    graphs: bool = True
    """On a CUDA GPU, replay passes as captured graphs. Off, to look for faults, it is slower."""
    deterministic: bool = False
    """On a CUDA GPU, choose kernels that repeat a run bit for bit; a CPU always repeats it."""
    micro_batch_size: int = 128
    """Largest number of observations that pass through a network at once on the CPU; changes
    rounding only."""
    checkpoint_interval_rollouts: int = 20
    """Rollouts between checkpoints; one is also written at the end and when the run is stopped."""
    keep_checkpoints: int = 3
    """Newest checkpoints to keep."""
    tracker: Literal["none", "trackio", "wandb"] = "none"
    """Experiment tracker to log to as well (pip install 'rndfast[trackers]')."""

    def __post_init__(self) -> None:
        _require_at_least(self, 1, "total_transitions", "micro_batch_size")
        _require_at_least(self, 1, "checkpoint_interval_rollouts", "keep_checkpoints")
        _require_at_least(self, 0, "num_threads")
        _require(self.seed >= 0, "seed", "at least 0", self.seed)


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    env: EnvConfig = field(default_factory=EnvConfig)
    atari: AtariConfig = field(default_factory=AtariConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)
    rnd: RndConfig = field(default_factory=RndConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if moved := vars(self.env).get("_atari_settings"):
            object.__setattr__(self, "env", dataclasses.replace(self.env))
            object.__setattr__(self, "atari", dataclasses.replace(self.atari, **moved))
        for section in vars(self).values():
            _require_usable_integers(section)
        _require(
            self.env.num_envs % self.ppo.num_minibatches == 0,
            "num_envs",
            f"a multiple of num_minibatches ({self.ppo.num_minibatches})",
            self.env.num_envs,
        )
        if not self.env.is_atari:
            for setting in dataclasses.fields(self.atari):
                value = getattr(self.atari, setting.name)
                _require(
                    value == setting.default,
                    setting.name,
                    f"{setting.default!r}, as only Atari games have it, with {self.env.env_id!r}",
                    value,
                )

    @property
    def predictor_proportion(self) -> float:
        """Share of each minibatch that trains the predictor."""
        return self.rnd.proportion_with(self.env.num_envs)

    @property
    def rollout_transitions(self) -> int:
        """Transitions of one rollout, over all environments."""
        return self.ppo.rollout_steps * self.env.num_envs


def to_toml(config: Config) -> str:
    """Write a configuration as TOML, one table per section; settings that are None are left out."""
    sections = {
        section: {
            name: str(value) if isinstance(value, Path) else value
            for name, value in values.items()
            if value is not None
        }
        for section, values in dataclasses.asdict(config).items()
    }
    return tomli_w.dumps(sections)


def from_toml(text: str, base: Config | None = None) -> Config:
    """Read a configuration; settings that the text lacks come from ``base``, else the paper.

    Atari's settings may also stand in ``[env]``, as in files of earlier versions.

    Raises:
        ValueError: The text is no TOML, or a table, a setting, a type or a value is wrong.
    """
    base = base or Config()
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not a TOML file: {error}") from None
    except RecursionError:
        raise ValueError("not a file of settings: its values are nested too deeply") from None
    for name, values in tables.items():
        _require_known(name, [section.name for section in dataclasses.fields(base)], "table")
        if not isinstance(values, dict):
            raise ValueError(f"[{name}] must be a table, got {values!r}")
    _move_atari_settings(tables, base.env)
    tables.get("run", {}).pop("cuda_graphs", None)  # an earlier version's: graphs need no asking
    sections = {name: _replace(getattr(base, name), values) for name, values in tables.items()}
    return dataclasses.replace(base, **sections)


def _move_atari_settings(tables: dict[str, dict[str, Any]], base: EnvConfig) -> None:
    """Put what earlier versions wrote into ``[env]`` where it stands now; they pooled greys."""
    env = tables.get("env", {})
    names = [field.name for field in dataclasses.fields(AtariConfig) if field.name in env]
    for name in names:
        atari = tables.setdefault("atari", {})
        if name in atari:
            raise ValueError(f"{name} must stand in [atari] alone, got it in [env] as well")
        atari[name] = env.pop(name)
    if names and _replace(base, env).is_atari:
        tables["atari"].setdefault("pool_before_grey", False)


def load_run_config(run_dir: Path) -> Config:
    """The configuration of a run, wherever its directory lies now.

    Raises:
        FileNotFoundError: There is no run.
        ValueError: Its ``config.toml`` is not right.
    """
    path = run_dir / "config.toml"
    if run_dir.is_file():
        raise FileNotFoundError(
            f"{run_dir} is no run directory but a file; agents in files are for eval, info and "
            "train --init-from"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{run_dir} is no run directory: it has no config.toml")
    config = read_toml(path)
    return dataclasses.replace(config, run=dataclasses.replace(config.run, run_dir=run_dir))


def read_toml(path: Path, base: Config | None = None) -> Config:
    """Read a file of settings, as `from_toml` does a text; it is UTF-8 whatever the locale is.

    Raises:
        ValueError: It is not right; the message names the file.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"settings must have at most {MAX_FILE_BYTES:,} bytes, got more")
        return from_toml(data.decode(), base)
    except ValueError as error:  # as that of bytes that are no UTF-8
        raise ValueError(f"{path}: {error}") from None


def require_import_allowed(config: Config, allowed: str | None, where: Path) -> None:
    """Check that settings that came with a run name no code to run but what the user allowed.

    Args:
        config: The settings.
        allowed: A module that the user trusts.
        where: The file or directory that they came from, for the message.

    Raises:
        ValueError: The environment is another module's.
    """
    module = config.env.imported_module
    if module is not None and module != allowed:
        raise ValueError(
            f"{where} has env_id {config.env.env_id!r}, for which the module {module!r} would be "
            f"imported and run: if you trust it, add --allow-import {shlex.quote(module)}"
        )


def _replace(section: Section, values: dict[str, Any]) -> Section:
    """A copy of a configuration section with other values, their types checked."""
    hints = typing.get_type_hints(type(section))
    converted = {}
    for name, value in values.items():
        _require_known(name, list(hints), "setting")
        converted[name] = _convert(name, value, hints[name])
    return dataclasses.replace(section, **converted)  # type: ignore[type-var]


def _convert(name: str, value: Any, hint: Any) -> Any:
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        # float | None, where None is written by leaving the setting out; float | Literal["auto"]
        hint, other = typing.get_args(hint)
        choices = typing.get_args(other)
    if value in choices:
        return value
    if not isinstance(hint, type):
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")
    accepted = {float: (int, float), Path: (str,)}.get(hint, (hint,))
    is_right = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
    expected = " or ".join([f"of type {hint.__name__}", *map(repr, choices)])
    _require(is_right, name, expected, value)
    return hint(value)


def _require_known(name: str, known: list[str], what: str) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
    raise ValueError(f"unknown {what} {name!r}{hint}")


def __getattr__(name: str) -> Any:
    if name in ("PRESETS", "Preset"):  # when asked for: presets are made of what is defined here
        return getattr(importlib.import_module("rndfast.presets"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
