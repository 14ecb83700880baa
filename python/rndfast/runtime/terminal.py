"""Where text is shown: names, paths and files of others are text there, and never commands.

Every line that rndfast prints goes through `open_console` or `print_line`.
"""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text


def printable(text: str) -> str:
    """The text without what a terminal obeys or cannot show: only line breaks and tabs stay.

    Control characters, marks that change the direction of writing and bytes that are no text are
    left out.
    """
    return "".join(
        character for character in text if character.isprintable() or character in "\n\t"
    )


def print_line(text: str, file: TextIO | None = None) -> None:
    """Write a line at once, to standard output if no file is given."""
    print(printable(text), file=file or sys.stdout, flush=True)


def open_console(**settings: Any) -> Console:
    """A console for tables and lines on which strings are shown as they are.

    Args:
        settings: As of `rich.console.Console`.
    """
    return _PlainConsole(highlight=False, markup=False, emoji=False, **settings)


class _PlainConsole(Console):
    """Markup and emoji codes are switched off; what is left are control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
