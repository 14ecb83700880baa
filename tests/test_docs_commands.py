"""The tutorial and the how-to pages do what they say: every command and script in them is run.

Runs have a thousandth of the transitions and fewer environments, so that they take seconds. What
stands below ``<!-- not run: why -->`` is not run.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from rndfast.commands.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
SMALL = "--num-envs 4 --rollout-steps 8 --obs-norm-steps 4 --num-threads 2"
SHRINK = 2048


def smaller(command: str) -> str:
    """The same with fewer transitions, on as many threads as tests may have."""
    command = re.sub(
        r"(--total-transitions) (\d+)",
        lambda found: f"{found[1]} {int(found[2]) // SHRINK}",
        command,
    )
    starts = command.startswith("rndfast train") and "--resume" not in command
    return f"{command} {SMALL}" if starts else command


def run_shell(script: str) -> None:
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(smaller(line), comments=True)
        assert words[0] == "rndfast", f"'{line}' is neither run here nor marked as not run"
        assert main(words[1:]) == 0, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_on_the_page_works(
    page: Path, empty_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = BLOCK.findall(page.read_text())
    assert len(blocks) == page.read_text().count("\n```") // 2, "a block that is not found"
    for not_run, language, content in blocks:
        if not_run:
            continue
        if language == "sh":
            run_shell(content)
        else:
            assert language == "python"
            exec(compile(content, page, "exec"), {})
    written = re.findall(r"(?:--output|--video) (\S+)", page.read_text())
    assert all((empty_dir / name).stat().st_size > 0 for name in written)
