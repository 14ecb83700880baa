from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import rndfast.config
from rndfast.config import Config, EnvConfig, from_toml, load_run_config, to_toml
from rndfast.presets import PRESETS, Preset


def flat(config: Config) -> dict[str, object]:
    """Every setting by its name, which is unique over all sections."""
    sections = dataclasses.asdict(config).values()
    settings = [item for section in sections for item in section.items()]
    assert len(settings) == len(dict(settings))
    return dict(settings)


def test_the_laptop_preset_changes_the_size_alone() -> None:
    paper, laptop = flat(PRESETS["paper"]), flat(PRESETS["laptop"])
    changed = {name for name, value in paper.items() if laptop[name] != value}
    assert changed == {"num_envs", "rollout_steps", "obs_norm_steps", "total_transitions"}


def test_the_papers_budget_is_30000_rollouts() -> None:
    paper = PRESETS["paper"]
    assert paper.run.total_transitions / paper.rollout_transitions == 30_000


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_configuration_survives_toml(preset: Preset) -> None:
    config = PRESETS[preset]
    clipped = dataclasses.replace(config, rnd=dataclasses.replace(config.rnd, int_reward_clip=2.5))
    for original in (config, clipped):
        assert from_toml(to_toml(original)) == original


@pytest.mark.parametrize(
    ("num_envs", "proportion"), [(4, 1.0), (32, 1.0), (64, 0.5), (128, 0.25), (1024, 0.03125)]
)
def test_an_automatic_proportion_is_that_of_32_environments(
    num_envs: int, proportion: float
) -> None:
    paper = PRESETS["paper"]
    config = dataclasses.replace(
        paper,
        env=dataclasses.replace(paper.env, num_envs=num_envs),
        rnd=dataclasses.replace(paper.rnd, predictor_proportion="auto"),
    )
    assert config.predictor_proportion == proportion
    assert from_toml(to_toml(config)) == config


def test_settings_that_a_file_lacks_come_from_the_base() -> None:
    config = from_toml("[ppo]\nlearning_rate = 1\n", PRESETS["laptop"])
    laptop = PRESETS["laptop"]
    assert config == dataclasses.replace(
        laptop, ppo=dataclasses.replace(laptop.ppo, learning_rate=1.0)
    )
    assert isinstance(config.ppo.learning_rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[env", "not a TOML file"),
        ("env = 1", r"\[env\] must be a table, got 1"),
        ("[environment]", "unknown table 'environment'"),
        ("[env]\nnum_env = 4", "unknown setting 'num_env'; did you mean 'num_envs'?"),
        ("[env]\nnum_envs = 4.0", r"num_envs must be of type int, got 4\.0"),
        ("[env]\nnum_envs = true", "num_envs must be of type int, got True"),
        ("[atari]\nmaxpool = 1", "maxpool must be of type bool, got 1"),
        ("[env]\nenv_id = 3", "env_id must be of type str, got 3"),
        ("[run]\nrun_dir = 3", "run_dir must be of type Path, got 3"),
        ("[run]\ndevice = 'tpu'", "device must be one of"),
        ("[rnd]\nint_reward_clip = 'x'", "int_reward_clip must be of type float"),
        ("[env]\nnum_envs = 0", "num_envs must be finite and at least 1, got 0"),
        ("[env]\nnum_envs = 6", "num_envs must be a multiple of num_minibatches"),
        ("[atari]\nstack_num = 256", r"stack_num must be in \[1, 255\], got 256"),
        ("[atari]\nstack_num = 0", r"stack_num must be in \[1, 255\], got 0"),
        ("[atari]\nnoop = 3", "unknown setting 'noop'; did you mean 'noop_max'?"),
        ("[atari]\nnum_envs = 4", "unknown setting 'num_envs'"),
        (
            "[env]\nnoop_max = 3\n[atari]\nnoop_max = 3",
            r"noop_max must stand in \[atari\] alone, got it in \[env\] as well",
        ),
        ("[ppo]\nlearning_rate = 0.0", "learning_rate must be finite and above 0"),
        ("[ppo]\nlearning_rate = nan", "learning_rate must be finite and above 0"),
        ("[ppo]\next_coef = inf", "ext_coef must be finite and at least 0"),
        ("[ppo]\ngae_lambda = -0.1", "gae_lambda must be in"),
        ("[rnd]\npredictor_proportion = 0.0", "predictor_proportion must be in"),
        (
            "[rnd]\npredictor_proportion = 'all'",
            "predictor_proportion must be of type float or 'auto'",
        ),
        ("[ppo]\nmax_grad_norm = 0.0", "max_grad_norm must be finite and above 0"),
        ("[ppo]\next_coef = 0.0\nint_coef = 0.0", "ext_coef must be above 0 if int_coef is, got 0"),
        ("[ppo]\ntwo_value_heads = false", r"int_gamma must be ext_gamma \(0\.999\) with one"),
        (
            "[ppo]\npolicy = 'recurrent'\nshuffle_minibatches = true",
            "shuffle_minibatches must be False with a recurrent policy",
        ),
        (
            "[env]\nenv_id = 'MountainCar-v0'\n[atari]\nframeskip = 2",
            "frameskip must be 4, as only Atari games have it, with 'MountainCar-v0', got 2",
        ),
        ("[rnd]\nobs_clip = 0.0", "obs_clip must be above 0"),
        ("[rnd]\nint_reward_clip = -1.0", "int_reward_clip must be finite and above 0"),
        ("[run]\nseed = -1", "seed must be at least 0"),
        ("[run]\nnum_threads = -1", "num_threads must be finite and at least 0"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_toml(text)


def test_scripts_of_before_may_give_an_environment_the_settings_of_atari() -> None:
    laptop = PRESETS["laptop"]
    with pytest.warns(DeprecationWarning, match="AtariConfig .*: max_num_frames_per_episode, noop"):
        env = dataclasses.replace(laptop.env, max_num_frames_per_episode=40, noop_max=3, num_envs=8)  # type: ignore[call-arg]
    config = dataclasses.replace(laptop, env=env)
    expected = dataclasses.replace(laptop.atari, max_num_frames_per_episode=40, noop_max=3)
    assert config.atari == expected
    assert config.env == dataclasses.replace(laptop.env, num_envs=8)
    # what is changed afterwards stays changed
    later = dataclasses.replace(config, atari=laptop.atari)
    assert later.atari == laptop.atari
    assert from_toml(to_toml(config)) == config
    with pytest.raises(TypeError, match="max_frames"):
        EnvConfig(max_frames=40)  # type: ignore[call-arg]


def test_a_run_is_found_where_it_lies_now(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(PRESETS["laptop"]))
    config = load_run_config(tmp_path)
    assert config.run.run_dir == tmp_path
    assert config.env == PRESETS["laptop"].env
    with pytest.raises(FileNotFoundError, match=r"no run directory: it has no config\.toml"):
        load_run_config(tmp_path / "other")


def test_scripts_may_import_the_presets_from_here() -> None:
    script = "from rndfast.config import PRESETS, Preset; import rndfast.presets as p; "
    script += "assert PRESETS is p.PRESETS and Preset is p.Preset"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'PRESET'"):
        rndfast.config.PRESET  # noqa: B018
