# SPDX-License-Identifier: MIT
"""A few trials of threads at random; ``make sanitize`` makes more, under ThreadSanitizer."""

from __future__ import annotations

import subprocess
import sys


def test_threads_at_random_change_nothing_and_lose_nothing() -> None:
    command = [sys.executable, "-m", "tests.envs.random_threads", "--times", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 trials" in done.stdout
    assert done.stdout.count("equal") == 2  # two kinds that compare
