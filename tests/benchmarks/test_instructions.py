from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import instructions
from benchmarks.instructions import Counts

RECORD = Counts({"compiler": "GCC 1", "simd": "avx2"}, {"gae": 100_000, "resize": 50_000})


def other(**instructions_: int) -> Counts:
    """The record with other counts."""
    return dataclasses.replace(RECORD, instructions=RECORD.instructions | instructions_)


OTHER_COMPILER = dataclasses.replace(
    other(gae=200_000), environment=RECORD.environment | {"compiler": "GCC 2"}
)


Check = Callable[[Counts, list[str]], tuple[int, str, Counts]]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Run the script with these counts: its exit code, what it prints and the record after it."""
    path = tmp_path / "record.json"
    path.write_text(json.dumps(dataclasses.asdict(RECORD)))
    monkeypatch.setattr(instructions, "RECORD", path)
    monkeypatch.setattr(instructions, "PROGRAM", path)
    monkeypatch.setattr("shutil.which", lambda name: name)

    def run(measured: Counts, flags: list[str]) -> tuple[int, str, Counts]:
        monkeypatch.setattr(instructions, "count", lambda: measured)
        monkeypatch.setattr("sys.argv", ["instructions.py", *flags])
        code: object = 0
        try:
            instructions.main()
        except SystemExit as exit_:
            code = exit_.code
        shown = capsys.readouterr().out
        return int(bool(code)), shown, Counts(**json.loads(path.read_text()))

    return run


@pytest.mark.parametrize(
    ("measured", "flags", "code", "message"),
    [
        (RECORD, [], 0, "all within 1% of the record"),
        (other(gae=100_999, resize=49_501), ["--strict"], 0, "all within 1% of the record"),
        (other(gae=101_001), [], 1, "gae: +1.00%"),
        (other(resize=49_000), [], 1, "resize: -2.00%"),
        (other(filter=1), [], 1, "filter: new"),
        (Counts(RECORD.environment, {"gae": 100_000}), [], 1, "resize: gone"),
        (OTHER_COMPILER, [], 0, "NOT COMPARED, another environment: compiler is GCC 2"),
        (OTHER_COMPILER, ["--strict"], 1, "NOT COMPARED, another environment: compiler is GCC 2"),
        (OTHER_COMPILER, ["--update"], 0, "wrote"),
    ],
)
def test_only_counts_of_the_same_environment_and_near_the_record_pass(
    check: Check, measured: Counts, flags: list[str], code: int, message: str
) -> None:
    got_code, shown, record = check(measured, flags)
    assert got_code == code
    assert message in shown
    assert record == (measured if "--update" in flags else RECORD)


def test_without_valgrind_or_the_program_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["instructions.py"])
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(SystemExit, match="valgrind is missing"):
        instructions.main()
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(instructions, "PROGRAM", tmp_path / "nothing")
    with pytest.raises(SystemExit, match="'make instructions' builds it"):
        instructions.main()
