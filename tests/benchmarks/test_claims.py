"""The figures in README and benchmarks/README.md: those of their files, all accounted for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks import claims
from benchmarks.figures import (
    Sentence,
    Source,
    Table,
    differing_from_records,
    find,
    unclaimed,
)

TEXT = """# Speeds 99

Ours makes 6.7 times as many steps as theirs and
1.5 times as many as NumPy. It knows 104 games. On 2026-11-27 with Python 3.11.7 and an H200 there
were no seeds but 7.

```
make 3 steps a second
```

| game | ours | theirs | times | goal |
|---|--:|--:|--:|---|
| Pong, 4 frames | 16,794 (15,900-17,907) | 2,500 | **6.7** | >= 5: met |
| Breakout, 4 frames | 21,000 (-3-22,000) | 3e-7 | 7.0 | |
"""
RESULTS = {
    "pong": {"ours": [16794.4, 15904.0, 17907], "theirs": [2496], "times": [6.73]},
    "breakout": {"ours": [21400, -3, 21999.5], "theirs": [2.6e-7], "times": [7.04]},
    "numpy": 1.46,
    "games": 104,
}
SENTENCES = [
    Sentence(
        "README.md",
        "Ours makes # times as many steps as theirs and # times as many as NumPy",
        "speed",
        lambda results: [results["pong"]["times"][0], results["numpy"]],
        0.25,
    ),
    Sentence("README.md", "It knows # games", "speed", lambda results: [results["games"]], 0.0),
]
TABLE = Table(
    "README.md",
    ("game", "ours", "theirs", "times", "goal"),
    "speed",
    lambda results, row, column: results[row[0].split(",")[0].lower()][column],
    {"times": 0.25},
    skipped=("goal",),
)


def texts(text: str = TEXT) -> dict[str, str]:
    return {"README.md": text}


def source(record: Any) -> Source:
    return Source("speed", "none", lambda: record)


# --- the files of this repository ---------------------------------------------------------------


def real_texts() -> dict[str, str]:
    files = (claims.README, claims.BENCHMARKS)
    return {file: (claims.ROOT / file).read_text() for file in files}


def test_figures_are_those_of_the_runs_that_the_text_tells_of() -> None:
    figures, problems = find(real_texts(), claims.CLAIMS)
    assert problems + differing_from_records(figures, claims.SOURCES) == []
    compared = {figure.source for figure in figures if figure.compute is not None}
    assert {"facts", "env", "scaling", "gpu", "gpu-earlier", "training"} <= compared


def test_no_figure_is_unaccounted_for() -> None:
    assert unclaimed(real_texts(), claims.CLAIMS) == []


def test_every_file_of_results_is_claimed_from() -> None:
    files = {source.record for source in claims.SOURCES if isinstance(source.record, Path)}
    assert files == {*claims.RESULTS.iterdir()}


# --- the machinery ------------------------------------------------------------------------------


def test_figures_are_found_where_they_stand() -> None:
    figures, problems = find(texts(), [*SENTENCES, TABLE])
    assert problems == []
    assert [(figure.text, figure.line) for figure in figures] == [
        *(("6.7", 3), ("1.5", 4), ("104", 4)),
        *(("16,794", 13), ("15,900", 13), ("17,907", 13), ("2,500", 13), ("6.7", 13)),
        *(("21,000", 14), ("-3", 14), ("22,000", 14), ("3e-7", 14), ("7.0", 14)),
    ]
    assert [figure.value for figure in figures[-4:]] == [-3, 22_000, 3e-7, 7.0]


def test_figures_that_are_rounded_results_are_right() -> None:
    figures, _ = find(texts(), [*SENTENCES, TABLE])
    assert differing_from_records(figures, [source(RESULTS)]) == []
    assert differing_from_records(figures, [Source("speed", "none", None)]) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"numpy": 1.56}, "README.md:4: 1.5 is 1.56 by speed"),
        ({"games": 105}, "README.md:4: 104 is 105 by speed"),
        (
            {"pong": {"ours": [16795, 15904, 17907], "theirs": [2496], "times": [6.73]}},
            "README.md:13: 16,794 is 16795 by speed: Pong, 4 frames, ours",
        ),
        (
            {"pong": {"ours": [16794, 15904, 17907], "theirs": [2570], "times": [6.73]}},
            "README.md:13: 2,500 is 2570 by speed: Pong, 4 frames, theirs",
        ),
    ],
)
def test_a_figure_that_is_not_its_runs_is_found(change: dict[str, Any], problem: str) -> None:
    figures, _ = find(texts(), [*SENTENCES, TABLE])
    (found,) = differing_from_records(figures, [source(RESULTS | change)])
    assert found.startswith(problem)


def test_a_figure_too_few_in_the_text_is_found() -> None:
    figures, _ = find(texts(TEXT.replace(" (15,900-17,907)", "")), [TABLE])
    with pytest.raises(
        LookupError, match="1 figures in the text, 3 computed: Pong, 4 frames, ours"
    ):
        differing_from_records(figures, [source(RESULTS)])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("knows", "has", "found 0 times, not once: 'It knows # games'"),
        ("104", "many", "found 0 times, not once: 'It knows # games'"),
        ("were no", "were. It knows 5 games. No", "found 2 times, not once"),
        ("| times |", "| ratio |", "table 0 is missing"),
    ],
)
def test_a_claim_that_the_text_does_not_have_is_found(old: str, new: str, problem: str) -> None:
    _, (found,) = find(texts(TEXT.replace(old, new)), [*SENTENCES, TABLE])
    assert problem in found


def test_numbers_without_a_claim_are_found() -> None:
    assert unclaimed(texts(), [*SENTENCES, TABLE]) == []
    (games,) = unclaimed(texts(), [SENTENCES[0], TABLE])
    assert games == "README.md:4: no claim has 104 in: It knows 104 games."
    in_table = unclaimed(texts(), SENTENCES)
    assert len(in_table) == 11  # the goal too, which the table's claim leaves out
    more = TEXT.replace("no seeds but 7", "2 rooms").replace(
        "| |\n", "| |\n| Venture | 5 | | | |\n"
    )
    found = unclaimed(texts(more), [*SENTENCES, TABLE])
    assert [line.split(" in: ")[0] for line in found] == ["README.md:5: no claim has 2"]
    assert len(find(texts(more), [TABLE])[0]) == 11  # the table's claim has the new row


def test_rows_of_a_table_may_be_claimed_apart() -> None:
    pong = dataclasses.replace(TABLE, rows=("Pong, 4 frames",))
    breakout = dataclasses.replace(TABLE, rows=("Breakout, 4 frames",))
    assert len(find(texts(), [pong])[0]) == 5
    assert unclaimed(texts(), [*SENTENCES, pong, breakout]) == []
    without = unclaimed(texts(), [*SENTENCES, pong])
    assert [line.split(":")[1] for line in without] == ["14"] * 5
    _, (problem,) = find(texts(), [dataclasses.replace(TABLE, rows=("Venture",))])
    assert problem.startswith("README.md: no figure in the table")


def test_another_number_is_written_as_the_text_has_the_old_one() -> None:
    figures, _ = find(texts(), [*SENTENCES, TABLE])
    by_text = {figure.text: figure for figure in figures}
    written = [
        by_text[text].written(number)
        for text, number in (
            *(("6.7", 7.248), ("104", 105), ("16,794", 9876.4), ("15,900", 16849)),
            *(("-3", -4.2), ("3e-7", 1.26e-6), ("7.0", 12)),
        )
    ]
    assert written == ["7.2", "105", "9,876", "16,800", "-4", "1e-6", "12.0"]


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script on the text above: its exit code, and what it says."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "README.md").write_text(TEXT)
    (tmp_path / "benchmarks/README.md").write_text("Nothing.\n")
    record = tmp_path / "record.json"
    record.write_text(json.dumps(RESULTS))

    def with_new_results(new: dict[str, Any], *flags: str, **settings: Any) -> tuple[int, str]:
        (tmp_path / "new.json").write_text(json.dumps(RESULTS | new))
        here = Source("speed", f"cp {tmp_path / 'new.json'} {{output}}", record)
        here = dataclasses.replace(here, **settings)
        there = Source("gpu", "train --device cuda", None, needs="a GPU")
        monkeypatch.setattr(claims, "ROOT", tmp_path)
        monkeypatch.setattr(claims, "SOURCES", [here, there])
        monkeypatch.setattr(claims, "CLAIMS", [*SENTENCES, TABLE])
        code: object = 0
        try:
            claims.main([*flags, f"--output={tmp_path / 'output'}"])
        except SystemExit as exit_:
            code = exit_.code
        said = capsys.readouterr()
        return int(bool(code)), f"{said.out}{said.err}{code}"

    return with_new_results


@pytest.mark.parametrize(
    ("new", "settings", "code", "said"),
    [
        ({}, {}, 0, "13 figures in the text; 5 were compared with new results: all hold"),
        ({"numpy": 1.86}, {}, 0, "5 were compared"),
        ({"numpy": 1.89}, {}, 1, "README.md:4: 1.5, measured 1.89"),
        ({"numpy": 1.11}, {}, 1, "README.md:4: 1.5, measured 1.11"),
        ({"numpy": 1.89}, {"processor": "none such"}, 0, "claimed of another processor"),
        ({"games": 105}, {}, 1, "README.md:4: 104, measured 105"),
        (
            {"pong": {"ours": [9, 9, 9], "theirs": [9], "times": [6.7]}},
            {},
            0,
            "shown",  # speeds are the machine's
        ),
    ],
)
def test_new_results_are_compared(
    run: Run, new: dict[str, Any], settings: dict[str, Any], code: int, said: str
) -> None:
    exit_code, output = run(new, **settings)
    assert said in output
    assert exit_code == code
    assert "train --device cuda" in output  # what cannot be measured is named


def test_it_fails_if_the_text_is_not_its_record_or_has_more(run: Run, tmp_path: Path) -> None:
    text = TEXT.replace("104", "103").replace("no seeds but 7", "2 rooms")
    (tmp_path / "README.md").write_text(text)
    code, output = run({"games": 103})
    assert code == 1
    assert "README.md:4: 103 is 104 by speed" in output
    assert "README.md:5: no claim has 2" in output


def test_it_fails_if_a_benchmark_does(run: Run) -> None:
    code, output = run({}, command="false")
    assert code == 1
    assert "speed: Command 'false' returned non-zero exit status 1" in output


def test_a_source_that_is_none_or_not_of_this_machine_is_refused(run: Run) -> None:
    for name in ("nothing", "gpu"):
        code, output = run({}, f"--only={name}")
        assert code == 1
        assert f"--only takes speed, got ['{name}']" in output


def test_update_writes_results_and_text(run: Run, tmp_path: Path) -> None:
    code, _ = run({"numpy": 1.89, "games": 105}, "--update")
    assert code == 0
    text = (tmp_path / "README.md").read_text()
    assert text == TEXT.replace("1.5 times", "1.9 times").replace("104", "105")
    assert json.loads((tmp_path / "record.json").read_text())["numpy"] == 1.89
