"""The tutorial and the how-to pages do what they say: every command and script in them is run.

Runs have a thousandth of the transitions and fewer environments, so that they take seconds. What
stands below ``<!-- not run: why -->`` is not run. A script that begins with ``# name.py`` goes into
this file. A diff is applied to a copy of the package, which runs the commands below it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

import rndfast._core
from rndfast.commands.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
SMALL = "--num-envs 4 --rollout-steps 8 --obs-norm-steps 4"
SHRINK = 2048
# Runs a command with the package in a folder, which no editable installation hides.
WITH_COPY = """
import runpy, sys
folder, (program, *sys.argv) = sys.argv[1], sys.argv[2:]
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
sys.path.insert(0, f"{folder}/python")
import rndfast
assert rndfast.__file__.startswith(folder), rndfast.__file__
if program == "python":
    runpy.run_path(f"{folder}/{sys.argv[0]}", run_name="__main__")
else:
    from rndfast.commands.main import main
    sys.exit(main(sys.argv))
"""


def smaller(command: str) -> str:
    """The same with fewer transitions, on as many threads as tests may have."""
    command = re.sub(
        r"(--total-(?:transitions|steps)) (\d+)",
        lambda found: f"{found[1]} {int(found[2]) // SHRINK}",
        command,
    )
    if command.startswith("python"):
        return f"{command} {SMALL}"
    starts = command.startswith("rndfast train") and "--resume" not in command
    return f"{command} {SMALL} --num-threads 2" if starts else command


def run_shell(script: str, changed: Path | None) -> None:
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(smaller(line.removeprefix("python -m ")), comments=True)
        is_example = words[0] == "python" and changed is not None
        assert words[0] == "rndfast" or is_example, f"'{line}' is not run and not marked so"
        if changed is None:
            assert main(words[1:]) == 0, line
            continue
        command = [sys.executable, "-c", WITH_COPY, str(changed), *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def changed_copy(diff: str, folder: Path) -> Path:
    """A copy of the package and the examples, with a diff applied."""
    for part in ("python/rndfast", "examples"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    core = Path(rndfast._core.__file__)
    shutil.copy(core, folder / "python" / "rndfast" / core.name)
    command = ["git", "apply", "--verbose", "-"]
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=diff,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{diff}\n{done.stderr}"
    assert "Skipped" not in done.stderr, done.stderr
    return folder


@pytest.mark.timeout(900)  # a page of changes has a process for each of them
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_on_the_page_works(
    page: Path, empty_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(empty_dir)  # as that of `python -m`
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    changed: Path | None = None
    blocks = BLOCK.findall(page.read_text())
    assert len(blocks) == page.read_text().count("\n```") // 2, "a block that is not found"
    for number, (not_run, language, content) in enumerate(blocks):
        if not_run:
            continue
        if language == "sh":
            run_shell(content, changed)
        elif language == "diff":
            changed = changed_copy(content, tmp_path / f"changed-{number}")
        elif named := re.match(r"# (\w+\.py)\n", content):
            Path(named[1]).write_text(content)
        else:
            assert language == "python"
            exec(compile(content, page, "exec"), {})
    written = re.findall(r"(?:--output|--video) (\S+)", page.read_text())
    assert all((empty_dir / name).stat().st_size > 0 for name in written)
