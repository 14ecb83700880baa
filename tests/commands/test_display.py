from __future__ import annotations

import io

import pytest
from rich.console import Console

from rndfast.commands.display import (
    live_table,
    number,
    open_view,
    phase_shares,
    plain_line,
    time_left,
)
from rndfast.presets import PRESETS

METRICS = {
    "transitions": 250_000,
    "charts/episodes": 3,
    "charts/episodic_return": 33.25,
    "charts/episodic_return_max": 100.0,
    "charts/episodic_length": None,
    "charts/SPS": 500.0,
    "rnd/rooms": 7,
    "rnd/intrinsic_reward": 0.0123456,
    "rnd/prediction_error": 0.5,
    "losses/policy": -0.5,
    "losses/ext_value": 1e-7,
    "perf/emulated_frames_per_s": 2000.0,
    "perf/env_s": 1.0,
    "perf/inference_s": 0.5,
    "perf/bonus_s": 0.5,
    "perf/advantages_s": 0.0,
    "perf/learn_s": 1.75,
    "perf/log_s": 0.25,
    "perf/iteration_s": 4.0,
    "perf/peak_memory_mib": 1234.5,
}


def test_a_line_says_how_far_how_fast_and_which_frames() -> None:
    line = plain_line(METRICS, 1_000_000)
    assert "\n" not in line
    for part in (
        "250,000 of 1,000,000 transitions",
        "500 transitions/s = 2,000 emulated frames/s",
        "return 33.25 in 3 episodes",
        "intrinsic 0.01235",
        "losses policy -0.5, ext_value 1e-07",
        "env 25%, inference 12%, bonus 12%, advantages 0%, learn 44%, log 6%",
        "0:25:00 left",
    ):
        assert part in line


def test_a_line_says_nothing_of_frames_where_there_are_none() -> None:
    line = plain_line({**METRICS, "perf/emulated_frames_per_s": None}, 1_000_000)
    assert "| 500 transitions/s | return" in line


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_live_table_holds_every_figure(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    longest = {"losses/approx_kl": -1.234e-05, "losses/int_value": -0.00123449}
    console.print(live_table({**METRICS, **longest}, PRESETS["laptop"], width))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for part in (
        "rndfast/MontezumaRevenge-v5", "25.0 %", "0:25:00 left", "250,000", "2,000", "33.25",
        "policy", "-0.5", "learn time", "43.8%", "1,234 MiB", "0.01235", "-1.234e-05", "-0.001234",
    ):  # fmt: skip
        assert part in text, part
    assert max(map(len, text.splitlines())) <= width


def test_without_a_terminal_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with open_view(PRESETS["laptop"]) as view:
        view("a word")
        view(METRICS)
    assert capsys.readouterr().out == f"a word\n{plain_line(METRICS, 1_000_000)}\n"


def test_shares_and_time_left() -> None:
    assert phase_shares(METRICS)["learn"] == 0.4375
    assert time_left(METRICS, 1_000_000) == "0:25:00"
    assert time_left({**METRICS, "transitions": 2_000_000}, 1_000_000) == "0:00:00"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (1234567.8, "1,234,568"), (0.00012345, "0.0001234"), (-5.5, "-5.5")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text
