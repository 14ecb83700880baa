"""``rndfast presets``: the presets side by side."""

from __future__ import annotations

import dataclasses

import rich.box
from rich.text import Text

from rndfast.config import Config
from rndfast.presets import PRESETS
from rndfast.runtime.terminal import WholeTable, open_console

# Of a preset's column: every number fits, and a long id takes two lines.
CELL_WIDTH = 15


def describe_presets() -> None:
    """Print every setting of every preset; those that differ from the paper's are marked."""
    console = open_console()
    console.print(presets_table())
    console.print(
        "* differs from the paper's. `rndfast train --help` says what each setting means."
    )


def presets_table() -> WholeTable:
    """A row for each setting, a column for each preset."""
    table = WholeTable("setting", box=rich.box.SIMPLE)
    for name in PRESETS:
        table.add_column(name, overflow="fold", max_width=CELL_WIDTH)
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
