"""What the documentation's site does beyond Markdown, as hooks of MkDocs."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[([^]]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")
HELP = "<!-- help of every command -->"


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Lead links to files outside docs/ to the repository, and fill in the commands' help."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def outside(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return link.group()
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{page.file.src_uri} has a link to {path}")
        if not config.repo_url:  # the site knows no repository
            return text
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{anchor or ''})"

    return LINK.sub(outside, markdown).replace(HELP, help_of_commands())


def help_of_commands() -> str:
    """What each command says about itself, as Markdown."""
    from rndfast.commands.main import COMMANDS, main

    sections = []
    for command in COMMANDS:
        out = io.StringIO()
        with (
            mock.patch.dict(os.environ, {"COLUMNS": "78", "NO_COLOR": "1"}),
            mock.patch.object(sys, "argv", ["rndfast"]),
            contextlib.redirect_stdout(out),
            contextlib.suppress(SystemExit),
        ):
            main([command.name, "--help"])
        sections.append(f"## rndfast {command.name}\n\n```text\n{out.getvalue().strip()}\n```")
    return "\n\n".join(sections)
