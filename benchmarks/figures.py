"""Figures in Markdown: where they stand, what they are by a file of results, and whether they hold.

A claim says where figures stand, by the words around them or by the head of a table, and computes
them from the results of one benchmark. So each number is written once, in the text; the same
computation gives what it should be by the file of the run that the text tells of, and what it is by
a new run.

In scope, so that a figure without a claim is an error: every number in a table, but in its first
column, and every number in a sentence that has one of `UNITS`. Not in scope: code, links, headings,
dates, versions, numbers within names (H100, 84x84), and numbers as words ("a third").
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NUMBER = re.compile(
    r"(?<![\w.])(?<![A-Za-z]-)"  # not within a name, as AVX-512
    r"((?:(?<![\w.,)])-)?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)"  # a hyphen after a number: a range
    r"(?!\w|\.\d|,\d|-[A-Za-z])"
)
UNITS = re.compile(
    r"times (as|faster)|a second|/s\b|[Ss]teps|transitions|\bhours\b|\bs\b|\bms\b|microseconds"
    r"|bytes|[MG]i?B|%|points|rooms|games|kernels|return|weights"
)
NOT_PROSE = re.compile(
    r"```.*?```|`[^`]*`|\]\([^)]*\)|^#.*?$"
    r"|\b\d{4}-\d\d-\d\d\b|\b[A-Z][a-z]+ 20\d\d\b(?!-)|\bPython \d[\d.]*\b",
    re.DOTALL | re.MULTILINE,
)
SENTENCE_END = re.compile(r"(?<=[.:!?])[*)]*\s+(?=[A-Z*`(\[-])|\n\s*\n|\n(?=- |\|)")
OWN_ROUNDING = 1e-9
HOLDS, DIFFERS = "holds", "DIFFERS"


@dataclass(frozen=True)
class Source:
    """Where figures come from.

    Attributes:
        name: What ``--only`` of `claims.py` calls it.
        command: What measures them; ``{output}`` is the file that it writes.
        record: What the command wrote when it made the figures in the text, or a function that
            counts them; None: that file was not kept.
        needs: What it takes, if it is not measured anew but only named; "" if it is measured.
        processor: Part of the name of the processor that the text tells of; "": any. On another one
            figures are shown, not compared.
    """

    name: str
    command: str
    record: Path | Callable[[], Any] | None
    needs: str = ""
    processor: str = ""

    def verdict(self, figure: Figure, measured: float, cpu: str) -> str:
        """What a new measurement on this processor says of a figure."""
        if figure.tolerance is None:
            return "shown"
        if self.processor not in cpu:
            return f"claimed of another processor ({self.processor})"
        return HOLDS if figure.holds(measured) else DIFFERS

    def recorded(self) -> Any:
        """The results that the text tells of; None if none were kept."""
        if isinstance(self.record, Path):
            return json.loads(self.record.read_text())
        return None if self.record is None else self.record()

    def measured(self, folder: Path) -> Any:
        """New results; their file stays in ``folder``."""
        if callable(self.record):
            return self.record()
        output = folder / f"{self.name}.json"
        output.unlink(missing_ok=True)
        command = self.command.format(output=shlex.quote(str(output)))
        print(f"\n{command}", flush=True)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(command, shell=True, check=True, env=os.environ | {"PATH": path})
        return json.loads(output.read_text())


@dataclass(frozen=True)
class Sentence:
    """Figures in running text.

    Attributes:
        file: Which file.
        text: The words, a ``#`` for each figure. Line breaks do not matter.
        source: Name of the source.
        values: The figures by its results; None: its results do not have them.
        tolerance: How far a new measurement may be, as a share; None: it is shown, not compared.
    """

    file: str
    text: str
    source: str
    values: Callable[[Any], Sequence[float]] | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class Table:
    """Figures in a table.

    Attributes:
        file: Which file.
        head: The cells of its first line.
        source: Name of the source.
        values: The figures of a cell by the results, the row's labels and the column's name; None:
            the results do not have them.
        tolerances: Of each column that is compared.
        labels: Columns, from the left, that name a row; an empty cell is as the one above.
        skipped: Columns without figures, of goals for example.
        nth: Which of the tables with this head, from 0.
        rows: First labels of the rows that are meant; (): all.
    """

    file: str
    head: tuple[str, ...]
    source: str
    values: Callable[[Any, tuple[str, ...], str], Sequence[float]] | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict)
    labels: int = 1
    skipped: tuple[str, ...] = ()
    nth: int = 0
    rows: tuple[str, ...] = ()


Claim = Sentence | Table


@dataclass(frozen=True)
class Figure:
    """One figure in the text: where it stands, and how to compute it from results."""

    file: str
    begin: int
    text: str
    line: int
    name: str
    source: str
    compute: Callable[[Any], float] | None
    tolerance: float | None

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text.replace(",", ""))

    @property
    def resolution(self) -> float:
        """What the last digit that counts is worth; of whole thousands the zeros do not count."""
        mantissa, _, exponent = self.text.replace(",", "").partition("e")
        decimals = len(mantissa.partition(".")[2])
        zeros = len(mantissa) - len(mantissa.rstrip("0")) if abs(self.value) >= 1000 else 0
        return float(10.0 ** (int(exponent or 0) + (zeros if not decimals else -decimals)))

    def is_rounded(self, exact: float) -> bool:
        """Whether the text has this number, rounded."""
        slack = OWN_ROUNDING * max(1e-12, abs(exact))
        return abs(self.value - exact) <= self.resolution / 2 + slack

    def holds(self, measured: float) -> bool:
        """Whether a new measurement is within the tolerance."""
        assert self.tolerance is not None
        if self.is_rounded(measured):
            return True
        return abs(measured - self.value) <= self.tolerance * abs(self.value)

    def written(self, number: float) -> str:
        """Another number in the way in which the text has this one."""
        if "e" in self.text:
            return f"{number:.0e}".replace("e-0", "e-")
        rounded = round(number / self.resolution) * self.resolution
        decimals = len(self.text.partition(".")[2])
        return f"{rounded:{',' if ',' in self.text or abs(rounded) >= 1e4 else ''}.{decimals}f}"

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


def _masked(text: str) -> str:
    """The text with blanks for what is no prose; all else stays where it is."""
    return NOT_PROSE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _of_sentence(text: str, claim: Sentence) -> list[Figure]:
    words = (re.escape(part) for part in re.split(r"\s+", claim.text.strip()))
    pattern = r"\s+".join(words).replace(r"\#", NUMBER.pattern)
    found = list(re.finditer(pattern, text))
    if len(found) != 1:
        raise LookupError(f"{claim.file}: found {len(found)} times, not once: {claim.text!r}")
    count = found[0].re.groups
    return [
        Figure(
            claim.file,
            found[0].start(nth),
            found[0][nth],
            _line(text, found[0].start(nth)),
            claim.text,
            claim.source,
            _nth_of(claim.values, (), nth - 1, count, claim.text),
            claim.tolerance,
        )
        for nth in range(1, count + 1)
    ]


def _nth_of(
    values: Callable[..., Sequence[float]] | None, arguments: Any, nth: int, count: int, name: str
) -> Callable[[Any], float] | None:
    if values is None:
        return None

    def compute(results: Any) -> float:
        all_of_them = values(results, *arguments)
        if len(all_of_them) != count:
            raise LookupError(f"{count} figures in the text, {len(all_of_them)} computed: {name}")
        return float(all_of_them[nth])

    return compute


@dataclass(frozen=True)
class _Cell:
    row: tuple[str, ...]
    column: str
    begin: int
    text: str


def _tables(text: str) -> Iterator[tuple[tuple[str, ...], list[list[tuple[int, str]]]]]:
    """Each table: its head, and the cells of its rows with where they begin."""
    for block in re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = []
        for line in re.finditer(r"^\|(.*)\|\s*$", block[0], re.MULTILINE):
            cells = re.finditer(r"[^|]+", line[1])
            start = block.start() + line.start(1)
            rows.append([(start + cell.start(), cell[0]) for cell in cells])
        yield tuple(cell.strip() for _, cell in rows[0]), rows[2:]


def _cells(text: str, claim: Table) -> Iterator[_Cell]:
    found = [rows for head, rows in _tables(text) if head == claim.head]
    if len(found) <= claim.nth:
        raise LookupError(f"{claim.file}: table {claim.nth} is missing, of those with {claim.head}")
    labels = [""] * claim.labels
    for row in found[claim.nth]:
        for i, (_, cell) in enumerate(row[: claim.labels]):
            labels[i] = cell.strip().strip("*`") or labels[i]
        if claim.rows and labels[0] not in claim.rows:
            continue
        for i, (begin, cell) in enumerate(row[claim.labels :], claim.labels):
            yield _Cell(tuple(labels), claim.head[i], begin, cell)


def _of_table(text: str, claim: Table) -> list[Figure]:
    figures = []
    for cell in _cells(text, claim):
        if cell.column in claim.skipped:
            continue
        numbers = list(NUMBER.finditer(cell.text))
        name = ", ".join(filter(None, (*cell.row, cell.column)))
        figures += [
            Figure(
                claim.file,
                cell.begin + number.start(1),
                number[1],
                _line(text, cell.begin),
                name,
                claim.source,
                _nth_of(claim.values, (cell.row, cell.column), nth, len(numbers), name),
                claim.tolerances.get(cell.column),
            )
            for nth, number in enumerate(numbers)
        ]
    if not figures:
        raise LookupError(f"{claim.file}: no figure in the table with {claim.head}")
    return figures


def figures_of(text: str, claim: Claim) -> list[Figure]:
    """The figures of a claim in the text of its file.

    Raises:
        LookupError: The text does not have these words, or this table, or has them twice.
    """
    return _of_sentence(text, claim) if isinstance(claim, Sentence) else _of_table(text, claim)


def find(texts: Mapping[str, str], claims: Iterable[Claim]) -> tuple[list[Figure], list[str]]:
    """All figures that are claimed, and what is wrong: claims that the text does not have."""
    figures: list[Figure] = []
    problems: list[str] = []
    for claim in claims:
        try:
            figures += figures_of(texts[claim.file], claim)
        except LookupError as error:
            problems.append(str(error))
    return figures, problems


def unclaimed(texts: Mapping[str, str], claims: Iterable[Claim]) -> list[str]:
    """Numbers in scope that no claim has."""
    claims = list(claims)
    figures, _ = find(texts, claims)
    claimed = {(figure.file, figure.begin) for figure in figures}
    skipped = {
        (claim.file, cell.begin)
        for claim in claims
        if isinstance(claim, Table)
        for cell in _cells_if_there(texts[claim.file], claim)
        if cell.column in claim.skipped
    }
    problems = []
    for file, text in texts.items():
        for begin, part in _parts_in_scope(_masked(text)):
            if (file, begin) in skipped:
                continue
            for number in NUMBER.finditer(part):
                at = begin + number.start(1)
                if (file, at) not in claimed:
                    context = " ".join(part.split())
                    problems.append(
                        f"{file}:{_line(text, at)}: no claim has {number[1]} in: {context[:120]}"
                    )
    return problems


def _cells_if_there(text: str, claim: Table) -> list[_Cell]:
    try:
        return [*_cells(text, claim)]
    except LookupError:  # `find` tells of it
        return []


def _parts_in_scope(masked: str) -> Iterator[tuple[int, str]]:
    """Cells of tables, then sentences, with where they begin."""
    for _, rows in _tables(masked):
        for row in rows:
            yield from row[1:]
    prose = re.sub(r"^\|.*$", lambda line: " " * len(line[0]), masked, flags=re.MULTILINE)
    begin = 0
    for end in [*SENTENCE_END.finditer(prose), None]:
        part = prose[begin : end.start() if end else None]
        if UNITS.search(part):
            yield begin, part
        begin = end.end() if end else begin


def differing_from_records(figures: Iterable[Figure], sources: Iterable[Source]) -> list[str]:
    """Figures that are not those of the run that the text tells of."""
    problems = []
    results = {source.name: source.recorded() for source in sources}
    for figure in figures:
        if figure.compute is None or results[figure.source] is None:
            continue
        exact = figure.compute(results[figure.source])
        if not figure.is_rounded(exact):
            problems.append(
                f"{figure.place}: {figure.text} is {exact:.7g} by {figure.source}: {figure.name}"
            )
    return problems
