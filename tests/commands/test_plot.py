"""``rndfast plot``: which runs are one curve, its values, and what is drawn of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands.error_lines import error_of

from rndfast.commands.main import main
from rndfast.commands.plot import (
    BONUS,
    RETURN,
    ROOMS,
    group_curves,
    group_labels,
    group_runs,
    short_number,
)
from rndfast.config import Config, to_toml
from rndfast.presets import PRESETS
from rndfast.runs.curves import load_run

BASE = PRESETS["laptop"]
ROLLOUT = BASE.rollout_transitions


def changed(base: Config = BASE, **settings: Any) -> Config:
    """A configuration with some settings, whatever their sections, of other values."""
    sections = {}
    for section in dataclasses.fields(base):
        values = getattr(base, section.name)
        own = {name: settings[name] for name in vars(values).keys() & settings.keys()}
        sections[section.name] = dataclasses.replace(values, **own)
    return Config(**sections)


def write_run(run_dir: Path, rows: Iterable[dict[str, Any]], **settings: Any) -> Path:
    """A run directory as training leaves it, with rows of our own: 36 s for each rollout."""
    run_dir.mkdir(parents=True)
    (run_dir / "config.toml").write_text(to_toml(changed(run_dir=run_dir, **settings)))
    with (run_dir / "metrics.jsonl").open("w") as file:
        for k, row in enumerate(rows, start=1):
            always = {"transitions": k * ROLLOUT, "perf/iteration_s": 36.0, "charts/episodes": 1}
            file.write(json.dumps(always | row) + "\n")
    return run_dir


def returns(*values: float | None) -> list[dict[str, Any]]:
    return [{RETURN: value, "charts/episodes": int(value is not None)} for value in values]


def texts(svg: Path) -> set[str]:
    """What is written in a figure: matplotlib notes it beside the glyphs."""
    return set(re.findall(r"<!-- (.*?) -->", svg.read_text()))


# Groups -------------------------------------------------------------------------------------------


def test_runs_that_differ_in_seed_and_machine_are_a_group(tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 1, "ext_gamma": 0.99},
        {"seed": 2, "num_threads": 3, "total_transitions": 5, "precision": "float32"},
    ]
    runs = [
        load_run(write_run(tmp_path / str(n), returns(0.0), **of_run))
        for n, of_run in enumerate(settings)
    ]
    groups = group_runs(runs)
    assert [[run.run_dir.name for run in group.runs] for group in groups] == [["0", "2"], ["1"]]
    assert [group.label for group in groups] == ["RND, ext_gamma 0.999", "RND, ext_gamma 0.99"]


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    runs = [load_run(write_run(tmp_path / name, returns(0.0), seed=4)) for name in ("a", "b")]
    with pytest.raises(ValueError, match=r"but .*/a and .*/b have the same settings and seed 4"):
        group_runs(runs)


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ([{}], ["RND"]),
        ([{"int_coef": 0.0}], ["PPO"]),
        ([{"int_coef": 0.0}, {}], ["PPO", "RND"]),
        (
            [{"int_coef": 0.0}, {}, {"int_coef": 0.5}],
            ["PPO", "RND, int_coef 1", "RND, int_coef 0.5"],
        ),
        (  # a base and its variants
            [{}, {"norm_adv": True}, {"int_reward_clip": 5.0, "num_envs": 64}],
            ["RND", "RND, norm_adv", "RND, num_envs 64, int_reward_clip 5"],
        ),
        (  # half and half: each says which half
            [{}, {"norm_adv": True}, {"num_envs": 64}, {"num_envs": 64, "norm_adv": True}],
            [
                "RND, num_envs 32, no norm_adv",
                "RND, num_envs 32, norm_adv",
                "RND, num_envs 64, no norm_adv",
                "RND, num_envs 64, norm_adv",
            ],
        ),
        (
            [{"policy": "recurrent"}, {}, {"norm_adv": True}],
            ["RND, policy recurrent", "RND", "RND, norm_adv"],
        ),
        (
            [{"int_coef": 0.0}, {}, {"bonus": "drnd"}, {"bonus": "drnd", "num_targets": 9}],
            ["PPO", "RND", "DRND", "DRND, num_targets 9"],
        ),
        # RND has no number of targets
        ([{}, {"bonus": "drnd", "num_targets": 9}], ["RND", "DRND, num_targets 9"]),
    ],
)
def test_a_label_says_what_tells_a_group_apart(
    settings: list[dict[str, Any]], labels: list[str]
) -> None:
    assert group_labels([changed(**of_group) for of_group in settings]) == labels


def test_environments_are_not_compared_with_each_other(tmp_path: Path) -> None:
    runs = [
        load_run(write_run(tmp_path / str(n), returns(0.0), env_id=env_id, num_envs=num_envs))
        for n, (env_id, num_envs) in enumerate((("rndfast/Venture-v5", 32), ("rndfast/Pong-v5", 8)))
    ]
    groups = group_runs(runs)
    assert [(group.env_id, group.label) for group in groups] == [
        ("rndfast/Venture-v5", "RND"),
        ("rndfast/Pong-v5", "RND"),
    ]


# Curves -------------------------------------------------------------------------------------------


def test_a_curve_covers_what_all_of_its_runs_cover(tmp_path: Path) -> None:
    """Straight lines, so that what lies between two rollouts is known."""
    long = write_run(tmp_path / "long", returns(None, *(2.0 * k for k in range(2, 31))), seed=1)
    short = write_run(tmp_path / "short", returns(*(4.0 * k for k in range(1, 21))), seed=2)
    (group,) = group_runs([load_run(long), load_run(short)])
    curves = group_curves(group)
    assert set(curves) == {(RETURN, "transitions"), (RETURN, "hours")}
    for clock, per_rollout in (("transitions", ROLLOUT), ("hours", 0.01)):
        curve = curves[RETURN, clock]
        assert curve.positions[0] == pytest.approx(2 * per_rollout)
        assert curve.positions[-1] == pytest.approx(20 * per_rollout)
        rollouts = curve.positions / per_rollout
        np.testing.assert_allclose(curve.low, 2 * rollouts)
        np.testing.assert_allclose(curve.centre, 3 * rollouts)
        np.testing.assert_allclose(curve.high, 4 * rollouts)


def test_a_run_without_a_value_at_its_end_keeps_the_last_one(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", returns(1.0, None, 5.0, None, None)))
    curve = group_curves(group_runs([run])[0])[RETURN, "transitions"]
    asked = np.array([1.0, 2.0, 3.0, 4.0, 5.0]) * ROLLOUT
    values = np.interp(asked, curve.positions, curve.centre)
    np.testing.assert_allclose(values, (1, 3, 5, 5, 5), atol=0.05)
    assert curve.positions[-1] == 5 * ROLLOUT
    np.testing.assert_array_equal(curve.low, curve.high)  # one run has no interval


def test_episodes_count_alike_whatever_rollout_they_end_in(tmp_path: Path) -> None:
    """100 rollouts: an average is over two. Returns are weighed by episodes, rewards are not."""
    rows = [
        {RETURN: 9.0, "charts/episodes": 1, BONUS: 1.0},
        {RETURN: 3.0, "charts/episodes": 2, BONUS: 3.0},
    ]
    run = load_run(write_run(tmp_path / "run", rows * 50))
    curves = group_curves(group_runs([run])[0])
    assert curves[RETURN, "transitions"].centre[-1] == pytest.approx((9 + 3 + 3) / 3)
    assert curves[BONUS, "transitions"].centre[-1] == pytest.approx((1 + 3) / 2)


def test_runs_that_share_no_stretch_have_no_curve(tmp_path: Path) -> None:
    late = load_run(write_run(tmp_path / "late", returns(None, None, 1.0), seed=1))
    early = load_run(write_run(tmp_path / "early", returns(1.0, 1.0), seed=2))
    assert group_curves(group_runs([late, early])[0]) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-200, "-200"),
        (0.025, "0.025"),
        (999, "999"),
        (1000, "1k"),
        (-1500, "-1.5k"),
        (2_500_000, "2.5M"),
        (1.97e9, "1.97B"),
    ],
)
def test_a_tick_is_short(value: float, text: str) -> None:
    assert short_number(value) == text


# The command --------------------------------------------------------------------------------------


def test_the_suffix_chooses_the_format_and_the_same_runs_give_the_same_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dirs = [
        str(write_run(tmp_path / f"{seed}", returns(*range(seed, seed + 9)), seed=seed))
        for seed in range(5)
    ]
    pictures = []
    for name, magic in (("a.png", b"\x89PNG"), ("b/c.png", b"\x89PNG"), ("d.pdf", b"%PDF")):
        assert main(["plot", *run_dirs, "--output", str(tmp_path / name)]) == 0
        pictures.append((tmp_path / name).read_bytes())
        assert pictures[-1].startswith(magic)
    assert pictures[0] == pictures[1]
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == [
        "rndfast/MontezumaRevenge-v5, RND, 5 seeds: 18,432 transitions",
        f"the figure is {tmp_path / 'a.png'}",
    ]


def test_panels_and_legends_are_of_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two environments: of rooms and a bonus, and of neither."""
    with_rooms = [{RETURN: 0.0, ROOMS: k, BONUS: 0.1} for k in range(1, 4)]
    run_dirs = [
        write_run(tmp_path / "a", with_rooms, seed=1),
        write_run(tmp_path / "b", with_rooms[:2], seed=2),
        write_run(tmp_path / "c", returns(1.0, 2.0), int_coef=0.0),
        write_run(tmp_path / "d", returns(1.0, 2.0), int_coef=0.0, env_id="rndfast/Pong-v5"),
    ]
    svg = tmp_path / "plot.svg"
    assert main(["plot", *map(str, run_dirs), "--output", str(svg)]) == 0
    assert "RND, 2 seeds: 4,096 transitions (6,144 in the longest run)" in capsys.readouterr().out
    shown = texts(svg)
    assert {"rndfast/MontezumaRevenge-v5", "RND (2 seeds)", "PPO (1 seed)"} <= shown
    assert {"rndfast/Pong-v5", "episodic return", "rooms found", "intrinsic reward"} <= shown
    assert {"transitions", "hours"} <= shown

    assert main(["plot", str(run_dirs[3]), "--output", str(svg)]) == 0
    shown = texts(svg)
    assert {"rndfast/Pong-v5", "PPO (1 seed)", "episodic return"} <= shown
    assert not {"rndfast/MontezumaRevenge-v5", "rooms found", "intrinsic reward"} & shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one run directory, for example: rndfast plot runs/*"),
        (["nowhere"], "nowhere is no run directory: it has no config.toml"),
        (["new"], "new has no metrics yet: no rollout has ended"),
        (["odd"], "odd/config.toml: unknown setting 'num_env'; did you mean 'num_envs'?"),
        (["good", "good"], "runs must differ in a setting or in the seed, but good and good"),
        (["silent"], "nothing to plot yet: no episode has ended and there is no bonus"),
        (["good", "--output=plot.gif"], "output must end in one of .png, .svg, .pdf, got"),
        (["good", "--output=plot"], "output must end in one of .png, .svg, .pdf, got 'plot'"),
    ],
)
def test_a_wrong_argument_gives_one_line_and_no_figure(
    empty_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_run(empty_dir / "good", returns(1.0))
    write_run(empty_dir / "new", [])
    write_run(empty_dir / "silent", returns(None, None))
    (write_run(empty_dir / "odd", returns(1.0)) / "config.toml").write_text("[env]\nnum_env = 1")
    before = set(empty_dir.iterdir())
    assert error_of(capsys, "plot", *arguments).startswith(message)
    assert set(empty_dir.iterdir()) == before


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    expected = "plotting needs matplotlib: pip install 'rndfast[plots]'"
    assert error_of(capsys, "plot", str(tmp_path)) == expected
