"""Where text is shown: names, paths and files of others are text there, and never commands.

Every line that rndfast prints goes through `open_console` or `print_line`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rndfast.runtime.durable_files import named_in_errors

# What is named where it cannot be written.
STANDARD_OUTPUT = Path("standard output")

# Of output that is no terminal, which has none of its own: no line of ours is longer.
_UNLIMITED_WIDTH = 10_000


def printable(text: str) -> str:
    """The text without what a terminal obeys or cannot show: only line breaks and tabs stay.

    Control characters, marks that change the direction of writing and bytes that are no text are
    left out.
    """
    return "".join(
        character for character in text if character.isprintable() or character in "\n\t"
    )


def typed(path: Path) -> str:
    """A path as one types it into a shell: one word, and never an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def print_line(text: str, file: TextIO | None = None) -> None:
    """Write a line at once, to standard output if no file is given."""
    named = named_in_errors(STANDARD_OUTPUT) if file is None else contextlib.nullcontext()
    with named:
        print(printable(text), file=file or sys.stdout, flush=True)


def print_error(text: str) -> None:
    """Write a line to standard error; where that fails, there is nobody to tell."""
    with contextlib.suppress(OSError, ValueError):
        print_line(text, sys.stderr)


def give_up_output() -> None:
    """Let what is left for standard output, which fails, be written nowhere."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_console(**settings: Any) -> Console:
    """A console for tables and lines on which strings are shown as they are.

    A terminal's lines are broken between words; in a file or a pipe, lines stay whole.

    Args:
        settings: As of `rich.console.Console`.
    """
    console = _PlainConsole(highlight=False, markup=False, emoji=False, **settings)
    if not console.is_terminal and "width" not in settings:
        console.width, console.soft_wrap = _UNLIMITED_WIDTH, True
    return console


class WholeTable(Table):
    """A table that cuts nothing off: where it is too wide, each row is told in words."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update_width(_UNLIMITED_WIDTH)
        if self.__rich_measure__(console, unlimited).maximum <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        if self.title is not None:
            yield self.title
        for row, *cells in zip(self.rows, *(column.cells for column in self.columns), strict=True):
            texts = [
                cell if isinstance(cell, Text) else console.render_str(str(cell)) for cell in cells
            ]
            yield texts[0]
            named = zip((column.header for column in self.columns), texts, strict=True)
            pairs = [Text.assemble(f"{header} ", text) for header, text in named if text]
            yield Padding.indent(Text(", ").join(pairs[1:]), 2)
            if row.end_section:
                yield ""


class _PlainConsole(Console):
    """Markup and emoji codes are switched off; what is left are control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        with named_in_errors(STANDARD_OUTPUT):
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - the error; rich would end the program without a word

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
