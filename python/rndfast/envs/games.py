# SPDX-License-Identifier: MIT
"""The supported games: their names, and their ROM files in the installed ale-py.

A game has one rom id (``montezuma_revenge``), from which every other name follows by ale-py's rule.
Neither ale-py nor Gymnasium is imported here, so that looking up a name is cheap. ROM files are
checked here too, because ale-py ends the whole process where it opens a damaged one.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from rndfast import _core

__all__ = ["ACTION_MEANINGS", "GAMES", "env_id", "has_rooms", "parse_game", "rom_path"]

_FACTS: dict[str, dict[str, Any]] = {facts["name"]: facts for facts in _core.games()}

# the games that ale-py 0.12.1 registers as ALE/<Game>-v5: all ROMs in it but the four games that
# need two players
GAMES: tuple[str, ...] = tuple(_FACTS)

# what the consoles' actions 0 to 17 do, in ale-py's words
ACTION_MEANINGS: tuple[str, ...] = (
    "NOOP",
    "FIRE",
    *("UP", "RIGHT", "LEFT", "DOWN"),
    *("UPRIGHT", "UPLEFT", "DOWNRIGHT", "DOWNLEFT"),
    *("UPFIRE", "RIGHTFIRE", "LEFTFIRE", "DOWNFIRE"),
    *("UPRIGHTFIRE", "UPLEFTFIRE", "DOWNRIGHTFIRE", "DOWNLEFTFIRE"),
)

_REINSTALL = "reinstall it with `pip install --force-reinstall ale-py`"


def _pascal_name(game: str) -> str:
    return game.title().replace("_", "")


def env_id(game: str) -> str:
    """Return the Gymnasium id of a game.

    Args:
        game: Any name `parse_game` accepts.

    Returns:
        The id, such as ``"rndfast/MontezumaRevenge-v5"``.

    Raises:
        TypeError: If ``game`` is not a string.
        ValueError: If the game is unknown.
    """
    return f"rndfast/{_pascal_name(parse_game(game))}-v5"


def parse_game(name: str) -> str:
    """Return the rom id of a game given by any of its names.

    Args:
        name: ``"montezuma_revenge"``, ``"MontezumaRevenge"`` or ``"rndfast/MontezumaRevenge-v5"``;
            upper and lower case count.

    Returns:
        The rom id, one of `GAMES`.

    Raises:
        TypeError: If ``name`` is not a string.
        ValueError: If the game is unknown; the message lists games of similar name.
    """
    if not isinstance(name, str):
        raise TypeError(f"game must be a str, got {type(name).__name__} {name!r}")
    game = _ROM_ID_OF.get(name)
    if game is None:
        # names are compared without namespace, version, underscores and case, so that
        # "ALE/MsPacman-v5" is "mspacman"
        plain = name.rpartition("/")[2].partition("-")[0].replace("_", "").lower()
        rom_id_of = {rom_id.replace("_", ""): rom_id for rom_id in GAMES}
        close = [rom_id_of[match] for match in difflib.get_close_matches(plain, rom_id_of)]
        # in the form that was given: a command takes ids alone
        shown = [f"rndfast/{_pascal_name(game)}-v5" if "/" in name else game for game in close]
        hint = (
            f"did you mean {' or '.join(map(repr, shown))}?"
            if close
            else "see rndfast.envs.games.GAMES"
        )
        raise ValueError(f"unknown game {name!r}: {hint}")
    return game


def has_rooms(game: str) -> bool:
    """Return whether the number of the present room is known, from the RAM.

    Args:
        game: Any name `parse_game` accepts.

    Raises:
        TypeError: If ``game`` is not a string.
        ValueError: If the game is unknown.
    """
    return bool(_FACTS[parse_game(game)]["has_rooms"])


_ROM_ID_OF: dict[str, str] = {
    name: game
    for game in GAMES
    for name in (game, _pascal_name(game), f"rndfast/{_pascal_name(game)}-v5")
}


def rom_path(game: str) -> Path:
    """Return the ROM file of a game in the installed ale-py, after checking its size and MD5.

    Args:
        game: Any name `parse_game` accepts.

    Returns:
        The path of a file whose content is the ROM that the game's facts are about.

    Raises:
        TypeError: If ``game`` is not a string.
        FileNotFoundError: If ale-py or the ROM file is missing.
        ValueError: If the game is unknown, or the ROM not the expected one.
    """
    game = parse_game(game)
    package = importlib.util.find_spec("ale_py")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(
            "ale-py is not installed, and rndfast takes the ROM files from it: "
            "install it with `pip install ale-py`"
        )
    rom = Path(package.submodule_search_locations[0]) / "roms" / f"{game}.bin"
    if not rom.is_file():
        raise FileNotFoundError(f"ale-py lacks the file {rom}: {_REINSTALL}")
    content = rom.read_bytes()
    size, md5 = _FACTS[game]["rom_size"], _FACTS[game]["md5"]
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if len(content) != size or got != md5:
        raise ValueError(
            f"{rom} must have {size} bytes with MD5 {md5}, "
            f"got {len(content)} bytes with MD5 {got}: {_REINSTALL}"
        )
    return rom
