"""Do the kernels execute as many instructions as when that was last recorded?

Valgrind counts them, so that other processes, the clock rate and the caches do not matter: a count
is the same to a few in a million from run to run, and a change of 1 % is a change of the code. It
is no measure of speed: that is for the other benchmarks. Fewer fail as more do, so that the record
stays true; ``--update`` writes it anew, for the commit that changes the counts.

Another compiler, C library or valgrind gives other counts. Then nothing is compared, only shown,
unless ``--strict`` (as CI does, in the image of the record) makes that a failure, too.

    make instructions
    python benchmarks/instructions.py [--update] [--strict]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "build/instructions/rndfast_instructions"
RECORD = Path(__file__).with_suffix(".json")
# The best instruction set that valgrind knows.
LEVEL = "avx2"
# of the C library's copies, one that does not depend on the processor's maker and caches
GLIBC_TUNABLES = "glibc.cpu.hwcaps=-ERMS,-FSRM:glibc.cpu.x86_non_temporal_threshold=0x10000000"
TOLERANCE = 0.01


@dataclass(frozen=True)
class Counts:
    """Instructions of each kernel, and what they depend on besides the sources."""

    environment: dict[str, str]
    instructions: dict[str, int]


def count() -> Counts:
    """Run every kernel under valgrind."""
    lines = run([str(PROGRAM)]).stdout.splitlines()
    pairs = [tuple(line.split(": ", 1)) for line in lines]
    environment = {name: value for name, value in pairs if name != "kernel"}
    environment |= {"valgrind": run(["valgrind", "--version"]).stdout.strip(), "simd": LEVEL}
    kernels = [value for name, value in pairs if name == "kernel"]
    return Counts(environment, {kernel: count_kernel(kernel) for kernel in kernels})


def count_kernel(kernel: str) -> int:
    """Instructions that one kernel executes on its inputs."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    counted = "--toggle-collect=rndfast_counted"
    report = run([*callgrind, counted, str(PROGRAM), kernel, LEVEL]).stderr
    found = re.search(r"Collected : (\d+)", report)
    if found is None or int(found.group(1)) == 0:
        sys.exit(f"valgrind counted nothing of '{kernel}':\n{report}")
    return int(found.group(1))


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program; exits with what it says if it fails."""
    environment = os.environ | {"GLIBC_TUNABLES": GLIBC_TUNABLES}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with code {done.returncode}:\n{done.stderr}")
    return done


def environment_differences(recorded: Counts, measured: Counts) -> list[str]:
    """In what the record's environment was another one."""
    return [
        f"{name} is {measured.environment.get(name)}, of the record {value}"
        for name, value in recorded.environment.items()
        if measured.environment.get(name) != value
    ]


def changes(recorded: Counts, measured: Counts) -> list[str]:
    """What is no longer as it was recorded, a line for each kernel."""
    found = []
    for kernel in recorded.instructions | measured.instructions:
        before, now = recorded.instructions.get(kernel), measured.instructions.get(kernel)
        if before is None or now is None:
            found.append(f"{kernel}: {'new' if before is None else 'gone'}")
        elif abs(now / before - 1) > TOLERANCE:
            found.append(f"{kernel}: {now / before - 1:+.2%}")
    return found


def table(recorded: Counts, measured: Counts) -> Table:
    """All counts beside the recorded ones."""
    shown = Table("kernel", box=None, pad_edge=False)
    for column in ("instructions", "recorded", "ratio"):
        shown.add_column(column, justify="right")
    for kernel, now in measured.instructions.items():
        before = recorded.instructions.get(kernel)
        old = ("-", "-") if before is None else (f"{before:,}", f"{now / before:.4f}")
        shown.add_row(kernel, f"{now:,}", *old)
    return shown


def main() -> None:
    """Count, then compare with the record or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the record anew")
    parser.add_argument(
        "--strict", action="store_true", help="fail in another environment than the record's"
    )
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: it counts the instructions (apt-get install valgrind)")
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} is missing: 'make instructions' builds it")

    measured = count()
    recorded = Counts(**json.loads(RECORD.read_text())) if RECORD.exists() else Counts({}, {})
    Console(highlight=False).print(table(recorded, measured))
    if arguments.update:
        RECORD.write_text(json.dumps(asdict(measured), indent=2) + "\n")
        print(f"wrote {RECORD}")
        return
    differences = environment_differences(recorded, measured)
    if differences:
        print(f"NOT COMPARED, another environment: {'; '.join(differences)}")
        sys.exit(1 if arguments.strict else 0)
    found = changes(recorded, measured)
    if found:
        print("\n".join(found))
        sys.exit(
            f"{len(found)} counts differ from the record by more than {TOLERANCE:.0%}. If that is "
            "meant, run benchmarks/instructions.py --update and commit the record with the change"
        )
    print(f"all within {TOLERANCE:.0%} of the record")


if __name__ == "__main__":
    main()
