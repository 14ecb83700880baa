"""Where the rooms of a game lie, and what a run says of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rndfast.envs.games import parse_game
from rndfast.runs.curves import Run

# The first level of Montezuma's Revenge is a pyramid of four floors, numbered from left to right.
MONTEZUMA_FLOORS = (range(3), range(3, 8), range(8, 15), range(15, 24))

# Pitfall's screens follow each other as the states of a shift register, from this one to the right.
PITFALL_START = 0xC4


@dataclass(frozen=True)
class Room:
    """What a run says of a room; of one that it has not been in, only where it lies."""

    number: int
    row: int  # on the map, from the top
    column: int  # from the left, beginning with 0
    first_visit: int | None  # transitions
    share: float | None  # of all steps; None if none ended there
    late_share: float  # the same, of the last tenth of the run


def rooms_of(run: Run) -> list[Room]:
    """The rooms of the game, in the order of the map; empty for games without rooms."""
    steps: dict[int, int] = {}
    late_steps: dict[int, int] = {}
    first_visits: dict[int, int] = {}
    late = len(run.rows) - max(1, len(run.rows) // 10)
    for index, row in enumerate(run.rows):
        for name, value in row.items():
            found = re.fullmatch(r"rooms/(\d+)/(steps|first_visit)", name)
            if found is None or value is None:
                continue
            number = int(found[1])
            if found[2] == "first_visit":
                first_visits[number] = int(value)
            else:
                steps[number] = steps.get(number, 0) + int(value)
                if index >= late:
                    late_steps[number] = late_steps.get(number, 0) + int(value)
    if not steps:
        return []
    places = places_of(parse_game(run.config.env.env_id), set(steps))
    total, late_total = sum(steps.values()), max(1, sum(late_steps.values()))
    rooms = [
        Room(
            number,
            *places[number],
            first_visits.get(number),
            steps[number] / total if number in steps else None,
            late_steps.get(number, 0) / late_total,
        )
        for number in places
    ]
    return sorted(rooms, key=lambda room: (room.row, room.column))


def places_of(game: str, numbers: set[int]) -> dict[int, tuple[int, int]]:
    """Row and column of each room on the map.

    Montezuma's rooms, all of them, stand in the game's pyramid, which is 9 rooms wide; those of
    other games that were visited in a row: Pitfall's as one walks from left to right.
    """
    if game == "montezuma_revenge" and max(numbers) < MONTEZUMA_FLOORS[-1].stop:
        return {
            number: (row, number - floor.start + len(MONTEZUMA_FLOORS) - 1 - row)
            for row, floor in enumerate(MONTEZUMA_FLOORS)
            for number in floor
        }
    order = sorted(numbers, key=pitfall_distances().__getitem__ if game == "pitfall" else None)
    return {number: (0, column) for column, number in enumerate(order)}


def pitfall_distances() -> dict[int, int]:
    """How many screens to the right of the first each of Pitfall's is; to the left, negative."""
    distances = {}
    state = PITFALL_START
    for distance in range(255):
        distances[state] = distance if distance < 128 else distance - 255
        bit = (state >> 7 ^ state >> 5 ^ state >> 4 ^ state >> 3) & 1
        state = (state << 1 | bit) & 0xFF
    return distances | {0: 0}  # which the game never shows
