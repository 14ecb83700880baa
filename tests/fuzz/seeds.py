"""Write inputs to begin fuzzing with: `python -m tests.fuzz.seeds FOLDER`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.reference.micro_roms import KINDS, make_program

# in the order of console_fuzz.cpp
SCHEMES = ("2K", "4K", "F8", "F6", "F8SC", "F6SC", "E0", "FE", "DPC")
SEEDS_PER_KIND = 4
NUM_MOVES = 4


def main(folder: Path) -> None:
    """Write a few programs of each kind, played at random."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for kind in KINDS:
        for seed in range(SEEDS_PER_KIND):
            program = make_program(kind, seed)
            header = bytes((SCHEMES.index(program.scheme), rng.randrange(104), NUM_MOVES))
            content = header + rng.randbytes(NUM_MOVES) + program.image
            (folder / f"{kind}-{seed}").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
