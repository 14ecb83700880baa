"""Write inputs to begin fuzzing with: `python -m tests.fuzz.seeds FOLDER`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.reference.micro_roms import KINDS, make_program

from rndfast import _core
from rndfast.envs.games import GAMES, rom_path

# in the order of schemes.hpp
SCHEMES = ("2K", "4K", "F8", "F6", "F8SC", "F6SC", "E0", "FE", "DPC")
FACTS = {facts["name"]: facts for facts in _core.games()}
SEEDS_PER_KIND = 4
NUM_MOVES = 4


def main(folder: Path) -> None:
    """Write a few programs of each kind, and all games, played at random."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for kind in KINDS:
        for seed in range(SEEDS_PER_KIND):
            program = make_program(kind, seed)
            header = bytes((SCHEMES.index(program.scheme), rng.randrange(104), NUM_MOVES))
            content = header + rng.randbytes(NUM_MOVES) + program.image
            (folder / f"{kind}-{seed}").write_bytes(content)
    for number, game in enumerate(GAMES):  # every scheme, and every game's wiring and decoder
        scheme = SCHEMES.index(FACTS[game]["scheme"])
        header = bytes((scheme, number, NUM_MOVES)) + rng.randbytes(NUM_MOVES)
        (folder / f"game-{game}").write_bytes(header + rom_path(game).read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
