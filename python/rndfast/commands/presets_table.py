"""``rndfast presets``: the presets side by side."""

from __future__ import annotations

import dataclasses

import rich.box
from rich.table import Table
from rich.text import Text

from rndfast.config import Config
from rndfast.presets import PRESETS
from rndfast.runtime.terminal import open_console

# Wide enough for every preset where output is no terminal, which has no width of its own.
PLAIN_WIDTH = 140


def describe_presets() -> None:
    """Print every setting of every preset; those that differ from the paper's are marked."""
    console = open_console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(presets_table())
    console.print(
        "* differs from the paper's. `rndfast train --help` says what each setting means."
    )


def presets_table() -> Table:
    """A row for each setting, a column for each preset."""
    table = Table(box=rich.box.SIMPLE)
    table.add_column("setting", no_wrap=True)
    for name in PRESETS:
        table.add_column(name, overflow="fold")
    for section in dataclasses.fields(Config):
        for setting in dataclasses.fields(getattr(PRESETS["paper"], section.name)):
            table.add_row(
                setting.name,
                *(cell(preset, section.name, setting.name) for preset in PRESETS.values()),
            )
        table.add_section()
    return table


def cell(preset: Config, section: str, name: str) -> Text:
    """A setting's value as text, marked if it is not the paper's; a dash if nothing reads it."""
    if section == "atari" and not preset.env.is_atari:
        return Text("-")
    value = getattr(getattr(preset, section), name)
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    is_papers = value == getattr(getattr(PRESETS["paper"], section), name)
    return Text(text) if is_papers else Text(f"{text} *", style="bold yellow")
