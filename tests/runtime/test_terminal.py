"""What is shown: numbers and lines are whole, and escapes are those that the terminal knows."""

from __future__ import annotations

import io
import re

import pytest
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rndfast.commands.main import main
from rndfast.runtime.terminal import WholeTable, open_console

CELLS = [("return (unclipped)", "1234.5678", "-987,654,321"), ("length (steps)", "", "4,500 *")]


def filled(table: Table) -> str:
    table.add_row(*CELLS[0], end_section=True)
    table.add_row(CELLS[1][0], Text(CELLS[1][1]), Text(CELLS[1][2]))
    return shown(table, 40)


def shown(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_that_fits_is_one() -> None:
    table, plain = (kind("", "mean", "largest", title="two rows", box=box.SIMPLE) for kind in (WholeTable, Table))  # fmt: skip  # noqa: E501
    filled(plain)
    filled(table)
    width = max(map(len, shown(plain, 200).splitlines()))
    assert shown(table, width) == shown(plain, width)
    assert shown(table, width - 1) != shown(plain, width - 1)


def test_a_table_that_does_not_fit_is_told_in_words() -> None:
    text = filled(WholeTable("", "mean", "largest", title="two rows", box=box.SIMPLE))
    lines = [line.strip() for line in text.splitlines()]
    assert lines == [
        "two rows",
        "return (unclipped)",
        "mean 1234.5678, largest -987,654,321",
        "",
        "length (steps)",
        "largest 4,500 *",
    ]


def test_in_a_pipe_no_line_is_broken() -> None:
    console = open_console(file=io.StringIO())
    path = "/a path/" + "that is long/" * 40
    console.print(f"the video is {path}")
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"the video is {path}\n"


@pytest.mark.parametrize(
    ("variable", "value", "escapes"),
    [("TERM", "xterm", r"\x1b\[1;33m"), ("TERM", "dumb", None), ("NO_COLOR", "1", r"\x1b\[1m")],
)
def test_escapes_are_those_that_the_terminal_knows(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    escapes: str | None,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    assert main(["presets"]) == 0
    found = set(re.findall(r"\x1b\[[0-9;]*m", capsys.readouterr().out)) - {"\x1b[0m"}
    assert len(found) == (0 if escapes is None else 1)
    assert all(re.fullmatch(str(escapes), escape) for escape in found)
