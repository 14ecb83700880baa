"""`rndfast presets`, against the presets."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from rndfast.commands.main import main
from rndfast.config import Config
from rndfast.presets import PRESETS, Preset


def flat(config: Config) -> dict[str, Any]:
    sections = dataclasses.asdict(config).values()
    return {name: value for section in sections for name, value in section.items()}


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
    assert rows["max_grad_norm"].split() == ["max_grad_norm", "None", "None", "None", "0.5", "*", "0.5", "*", "None"]  # fmt: skip  # noqa: E501
    assert rows["noop_max"].split() == ["noop_max", "0", "0", "0", "-", "30", "*", "-"]
    assert shown.rstrip().endswith("says what each setting means.")


@pytest.mark.parametrize("columns", [20, 40, 80, 139])
def test_on_a_narrow_terminal_every_number_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["presets"]) == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= columns
    words = set(re.split(r"[\s,]+(?=\s)|\s+", shown))
    for config in PRESETS.values():
        for name, value in flat(config).items():
            if type(value) in (int, float) and not (
                name in vars(config.atari) and not config.env.is_atari
            ):
                assert (f"{value:,}" if isinstance(value, int) else str(value)) in words, (
                    name,
                    value,
                )


def has_no(preset: Preset, name: str) -> bool:
    """Whether an environment has no such setting: it is Atari's."""
    config = PRESETS[preset]
    return not config.env.is_atari and name in vars(config.atari)


def test_presets_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["presets", "paper"])
    assert "paper" in capsys.readouterr().err
