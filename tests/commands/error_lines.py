"""What a command says on standard error when it cannot do what it was asked."""

from __future__ import annotations

import pytest

from rndfast.commands.main import main


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with exit code 1 and one line; the line's message."""
    assert main([*arguments]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    begin = "rndfast: error: "
    assert line.startswith(begin)
    return line.removeprefix(begin)
