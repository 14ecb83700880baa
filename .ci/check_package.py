"""Build the sdist, the wheel from the sdist, and use the wheel in a clean environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_WHEEL_BYTES = 3_000_000
EXPECTED = {"rndfast/py.typed", "rndfast/_core.pyi", "rndfast/__init__.py"}

USE = """
import gymnasium, numpy as np, rndfast
envs = gymnasium.make_vec("rndfast/MontezumaRevenge-v5", num_envs=2)
observations, _ = envs.reset(seed=0)
observations, *_ = envs.step(np.zeros(2, np.int64))
assert observations.shape == (2, 4, 84, 84), observations.shape
ones = np.ones((3, 2), np.float32)
assert rndfast.gae(ones, 0 * ones, np.zeros(2, np.float32), gamma=1.0, gae_lambda=1.0)[0, 0] == 3
"""


def run(*command: str | Path, **options: object) -> None:
    """Run a command; a failure ends the script with its exit code."""
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


class CleanEnvironment:
    """An environment outside the source tree, with the versions that are installed here."""

    def __init__(self, folder: Path, *requirements: str | Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=True)
        constraints = folder / "constraints.txt"
        freeze = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
        constraints.write_bytes(subprocess.run(freeze, check=True, capture_output=True).stdout)
        self.run("pip", "install", "-q", "-c", constraints, *requirements)

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of its programs."""
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        run(self.folder / "bin" / program, *arguments, cwd=self.folder, env=clean)


def main() -> None:
    """Check the package."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run(sys.executable, "-m", "build", "--sdist", "--outdir", work, ROOT)
        (sdist,) = work.glob("*.tar.gz")
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", work, sdist)
        (wheel,) = work.glob("*.whl")

        size = wheel.stat().st_size
        assert size < MAX_WHEEL_BYTES, f"the wheel has {size} bytes"
        names = set(zipfile.ZipFile(wheel).namelist())
        assert names >= EXPECTED, f"missing in the wheel: {EXPECTED - names}"
        roms = [name for name in names if name.endswith((".bin", ".a26", ".rom"))]
        assert not roms, f"ROMs in the wheel: {roms}"
        weights = [name for name in names if name.endswith(".safetensors")]
        assert not weights, f"agents in the wheel: {weights}"

        environment = CleanEnvironment(work / "venv", wheel)
        environment.run("python", "-c", USE)
        environment.run("rndfast", "info")
    sys.stdout.write(f"{wheel.name}: {size:,} bytes, installs and runs in a clean environment\n")


if __name__ == "__main__":
    main()
