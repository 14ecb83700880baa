"""Build and try the package in another supported version of Python, if this machine has one.

The oldest one that is not the version of this interpreter. What is tried needs no torch, whose CPU
build there may be no way to get for it: the environments and the kernels, beside their oracles. All
versions, with all smoke tests, are .github/workflows/wheels.yml's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check_package import ROOT, run

MINORS = range(10, 15)
TESTS = (
    "tests/core/test_gae.py",
    "tests/core/test_running_moments.py",
    "tests/envs/test_games.py",
    "tests/envs/test_console.py",
)
# beside the kernels' tests: one game, and what needs none
CHOICE = "test_games or core or montezuma_revenge or refused or named"
PACKAGES = ("numpy", "gymnasium", "ale-py", "pytest", "pytest-timeout", "hypothesis")
PROBE = """
import ensurepip, pathlib, sys, sysconfig, venv
headers = pathlib.Path(sysconfig.get_path("include"), "Python.h")
sys.exit(0 if headers.exists() and not sysconfig.get_config_var("Py_GIL_DISABLED") else 1)
"""


def find_interpreter() -> Path | None:
    """Return another version's interpreter that has its headers; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for minor in MINORS:
        if minor == sys.version_info.minor:
            continue
        found = [*pyenv.glob(f"versions/3.{minor}.*/bin/python3")]
        if (on_path := shutil.which(f"python3.{minor}")) is not None:
            found.append(Path(on_path))
        for python in found:
            probe = subprocess.run([python, "-c", PROBE], check=False, capture_output=True)
            if probe.returncode == 0:
                return python
    return None


def main() -> None:
    """Build and try."""
    python = find_interpreter()
    if python is None:
        versions = ", ".join(f"3.{minor}" for minor in MINORS)
        ours = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.stdout.write(
            f"skipped: no Python but {ours} with headers is here, of {versions} "
            "(looked for python3.x on PATH and for pyenv's)\n"
        )
        return
    with tempfile.TemporaryDirectory() as name:
        environment = Path(name) / "venv"
        run("uv", "venv", "-q", "--python", python, environment)
        other = environment / "bin/python"
        install = ("uv", "pip", "install", "-q", "--python", other)
        run(*install, "--constraints", ROOT / "requirements-dev.txt", *PACKAGES)
        run(*install, "--no-deps", ROOT)
        run(other, "--version")
        settings = ("-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider")
        tests = [ROOT / test for test in TESTS]
        run(other, "-m", "pytest", "-q", *settings, "-k", CHOICE, *tests, cwd=environment)


if __name__ == "__main__":
    main()
