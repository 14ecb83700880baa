"""A few trials of each campaign, as the command that with a larger ``--times`` makes many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRIALS = {"kills": 2, "signals": 2, "torn": 8, "disks": 3, "writers": 2, "bombs": 4}


def test_every_campaign_is_here() -> None:
    modules = {path.stem for path in Path(__file__).parent.glob("*.py")}
    assert modules - {"campaign", "test_campaigns", "__init__"} == TRIALS.keys()


@pytest.mark.parametrize(("name", "times"), TRIALS.items())
def test_nothing_breaks(name: str, times: int) -> None:
    command = [sys.executable, "-m", f"tests.faults.{name}", "--times", str(times)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{times} trials" in done.stdout
