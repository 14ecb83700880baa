"""Compare the console with ale-py for long: `python -m tests.exactness --help`.

The tests of the same comparisons, `test_console.py` and `test_micro_roms.py` in `tests/envs`, take
two minutes; this takes as long as it is told to. Everything runs in child processes.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence

from tests.reference.ale import Match, first_difference, legal_actions, make_ale, rom_file
from tests.reference.isolated import run_isolated
from tests.reference.micro_roms import KINDS, program_difference

from rndfast import Console
from rndfast.envs.games import GAMES, parse_game

NUM_WORKERS = 2
FRAMES_PER_LOAD = 4000
SLOWEST_CALL_SECONDS = 300


def play(game: str, seed: int, frames: int) -> Match:
    """Play one game in lockstep: in its first mode for even seeds, else in a random one."""
    rng = random.Random(f"{game} {seed}")
    ale = make_ale(rom_file(game), seed=seed)
    mode = difficulty = None
    if seed % 2 != 0:
        mode = rng.choice(ale.getAvailableModes())
        difficulty = rng.choice(ale.getAvailableDifficulties())
        ale = make_ale(rom_file(game), seed=seed, mode=mode, difficulty=difficulty)
    console = Console(game, random_seed=seed, mode=mode, difficulty=difficulty)
    match = first_difference(
        console, ale, frames=frames, rng=rng, actions=legal_actions(ale), reset_chance=0.0005
    )
    if match.difference is None:
        return match
    settings = f"seed {seed}, mode {mode}, difficulty {difficulty}"
    return match._replace(difference=f"{settings}: {match.difference}")


def compare_games(games: Sequence[str], frames: int, seeds: int) -> int:
    """Print a line for each game; return the number of games that differ."""
    loads = -(-frames // FRAMES_PER_LOAD)
    calls = [
        (game, seed * loads + load, min(FRAMES_PER_LOAD, frames - load * FRAMES_PER_LOAD))
        for game in games
        for seed in range(seeds)
        for load in range(loads)
    ]
    matches: dict[str, list[Match]] = defaultdict(list)
    total_frames = num_bad = 0
    print(f"{'game':<20}{'frames':>9}{'resets':>8}{'game overs':>12}  result")
    for outcome in run_isolated(play, calls, timeout=SLOWEST_CALL_SECONDS, num_workers=NUM_WORKERS):
        game = outcome.arguments[0]
        matches[game].append(outcome.value or Match(0, 0, 0, outcome.failure))
        if len(matches[game]) < seeds * loads:
            continue
        resets = sum(match.resets for match in matches[game])
        game_overs = sum(match.game_overs for match in matches[game])
        played = sum(match.frames for match in matches[game])
        differences = [m.difference for m in matches[game] if m.difference is not None]
        result = differences[0] if differences else "exact"
        print(f"{game:<20}{played:>9}{resets:>8}{game_overs:>12}  {result}", flush=True)
        total_frames += played
        num_bad += bool(differences)
    print(f"{len(games) - num_bad} of {len(games)} games exact in {total_frames:,} frames\n")
    return num_bad


def compare_micro_roms(num_programs: int, first_seed: int) -> int:
    """Print a line for each kind of program; return the number of programs that differ."""
    per_kind = -(-num_programs // len(KINDS))
    num_bad = 0
    print(f"{'programs':<20}{'number':>9}  result")
    for kind in KINDS:
        calls = [(kind, seed) for seed in range(first_seed, first_seed + per_kind)]
        differences = [
            f"seed {outcome.arguments[1]}: {outcome.failure or outcome.value}"
            for outcome in run_isolated(
                program_difference, calls, timeout=60, num_workers=NUM_WORKERS
            )
            if outcome.failure or outcome.value
        ]
        shown = "\n".ljust(32).join(sorted(differences)[:5])
        print(f"{kind:<20}{per_kind:>9}  {shown or 'exact'}", flush=True)
        num_bad += len(differences)
    print(f"{per_kind * len(KINDS) - num_bad} of {per_kind * len(KINDS)} programs exact")
    return num_bad


def main() -> int:
    """Compare what the command line asks for; return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.exactness", description=__doc__)
    parser.add_argument("games", nargs="*", type=parse_game, help="all if none is named")
    parser.add_argument("--frames", type=int, default=20_000, help="of each game and seed")
    parser.add_argument("--seeds", type=int, default=1, help="of each game")
    parser.add_argument("--micro-roms", type=int, default=0, help="number of random programs")
    parser.add_argument("--first-seed", type=int, default=1000, help="of the random programs")
    arguments = parser.parse_args()
    num_bad = 0
    if arguments.frames > 0 and arguments.seeds > 0:
        num_bad += compare_games(arguments.games or GAMES, arguments.frames, arguments.seeds)
    if arguments.micro_roms > 0:
        num_bad += compare_micro_roms(arguments.micro_roms, arguments.first_seed)
    return 1 if num_bad > 0 else 0


if __name__ == "__main__":
    raise SystemExit(main())
