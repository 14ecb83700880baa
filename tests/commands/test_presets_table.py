"""`rndfast presets`, against tables of the presets' sources."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from rndfast.commands.main import main
from rndfast.config import Config
from rndfast.presets import PRESETS, Preset


def flat(config: Config) -> dict[str, Any]:
    sections = dataclasses.asdict(config).values()
    return {name: value for section in sections for name, value in section.items()}


# the settings that the common single-file script states, where it differs from the paper
CLEANRL = {
    "max_num_frames_per_episode": 108_000,
    "noop_max": 30,
    "use_fire_reset": True,
    "episodic_life": True,
    "adam_eps": 1e-5,
    "anneal_lr": True,
    "shuffle_minibatches": True,
    "norm_adv": True,
    "vf_coef": 0.5,
    "clip_vloss": True,
    "max_grad_norm": 0.5,
    "leaky_relu_slope": 0.01,
    "total_transitions": 2_000_000_000,
}
# what the first TensorFlow port lacked of the paper, as settings
TF_AGENTS = {
    "env_id": "LunarLander-v3",
    "two_value_heads": False,
    "episodic_int_return": True,
    "predictor_hidden_layers": 0,
    "obs_norm_steps": 0,
    "obs_clip": math.inf,
}


def test_the_scripts_preset_differs_from_the_papers_in_its_settings_alone() -> None:
    paper, cleanrl = flat(PRESETS["paper"]), flat(PRESETS["cleanrl"])
    assert {name: cleanrl[name] for name in paper if cleanrl[name] != paper[name]} == CLEANRL


def test_the_ports_preset_has_what_the_port_had() -> None:
    settings = flat(PRESETS["tf-agents"])
    assert {name: settings[name] for name in TF_AGENTS} == TF_AGENTS
    assert settings["ext_gamma"] == settings["int_gamma"]  # one discount


def test_every_setting_is_shown_and_marked_where_it_is_not_the_papers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    names: list[Preset] = list(PRESETS)
    for name in flat(PRESETS["paper"]):
        values = [flat(PRESETS[preset])[name] for preset in names]
        is_marked = [
            value != values[0] and not has_no(preset, name)
            for preset, value in zip(names, values, strict=True)
        ]
        if name != "env_id":  # too long for its column
            assert rows[name].count("*") == sum(is_marked), rows[name]
    assert rows["max_grad_norm"].split() == ["max_grad_norm", "None", "None", "0.5", "*", "0.5", "*", "None"]  # fmt: skip  # noqa: E501
    assert rows["noop_max"].split() == ["noop_max", "0", "0", "-", "30", "*", "-"]
    assert shown.rstrip().endswith("says what each setting means.")


def has_no(preset: Preset, name: str) -> bool:
    """Whether an environment has no such setting: it is Atari's."""
    config = PRESETS[preset]
    return not config.env.is_atari and name in vars(config.atari)


def test_presets_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["presets", "paper"])
    assert "paper" in capsys.readouterr().err
