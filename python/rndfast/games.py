# SPDX-License-Identifier: MIT
"""The supported games: their names, and their ROM files in the installed ale-py.

One idea: a game has one rom id (``montezuma_revenge``), from which every other name follows by
ale-py's rule. Neither ale-py nor Gymnasium is imported here, so that looking up a name is cheap,
and a bad ROM file is found before ale-py opens it: ale-py ends the whole process on one.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
from pathlib import Path

__all__ = ["GAMES", "env_id", "parse_game", "rom_path"]

# the roms ale-py 0.12.1 registers as ALE/<Game>-v5: all it ships but the four for two players
GAMES: tuple[str, ...] = (
    "adventure",
    "air_raid",
    "alien",
    "amidar",
    "assault",
    "asterix",
    "asteroids",
    "atlantis",
    "atlantis2",
    "backgammon",
    "bank_heist",
    "basic_math",
    "battle_zone",
    "beam_rider",
    "berzerk",
    "blackjack",
    "bowling",
    "boxing",
    "breakout",
    "carnival",
    "casino",
    "centipede",
    "chopper_command",
    "crazy_climber",
    "crossbow",
    "darkchambers",
    "defender",
    "demon_attack",
    "donkey_kong",
    "double_dunk",
    "earthworld",
    "elevator_action",
    "enduro",
    "entombed",
    "et",
    "fishing_derby",
    "flag_capture",
    "freeway",
    "frogger",
    "frostbite",
    "galaxian",
    "gopher",
    "gravitar",
    "hangman",
    "haunted_house",
    "hero",
    "human_cannonball",
    "ice_hockey",
    "jamesbond",
    "journey_escape",
    "kaboom",
    "kangaroo",
    "keystone_kapers",
    "king_kong",
    "klax",
    "koolaid",
    "krull",
    "kung_fu_master",
    "laser_gates",
    "lost_luggage",
    "mario_bros",
    "miniature_golf",
    "montezuma_revenge",
    "mr_do",
    "ms_pacman",
    "name_this_game",
    "othello",
    "pacman",
    "phoenix",
    "pitfall",
    "pitfall2",
    "pong",
    "pooyan",
    "private_eye",
    "qbert",
    "riverraid",
    "road_runner",
    "robotank",
    "seaquest",
    "sir_lancelot",
    "skiing",
    "solaris",
    "space_invaders",
    "space_war",
    "star_gunner",
    "superman",
    "surround",
    "tennis",
    "tetris",
    "tic_tac_toe_3d",
    "time_pilot",
    "trondead",
    "turmoil",
    "tutankham",
    "up_n_down",
    "venture",
    "video_checkers",
    "video_chess",
    "video_cube",
    "video_pinball",
    "wizard_of_wor",
    "word_zapper",
    "yars_revenge",
    "zaxxon",
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
        # compare without namespace, version, underscores and case: "ALE/MsPacman-v5" -> "mspacman"
        plain = name.rpartition("/")[2].partition("-")[0].replace("_", "").lower()
        rom_id_of = {rom_id.replace("_", ""): rom_id for rom_id in GAMES}
        close = [repr(rom_id_of[match]) for match in difflib.get_close_matches(plain, rom_id_of)]
        hint = f"did you mean {' or '.join(close)}?" if close else "see rndfast.games.GAMES"
        raise ValueError(f"unknown game {name!r}: {hint}")
    return game


_ROM_ID_OF: dict[str, str] = {
    name: game
    for game in GAMES
    for name in (game, _pascal_name(game), f"rndfast/{_pascal_name(game)}-v5")
}


def rom_path(game: str) -> Path:
    """Return the ROM file of a game in the installed ale-py, after checking its MD5.

    ale-py is found without importing it, and the checksum is compared with ale-py's own list.

    Args:
        game: Any name `parse_game` accepts.

    Returns:
        The path of a file whose content is the ROM that ale-py expects.

    Raises:
        TypeError: If ``game`` is not a string.
        FileNotFoundError: If ale-py, its list of checksums, or the ROM file is missing.
        ValueError: If the game is unknown, the list unreadable, or the ROM not the expected one.
    """
    game = parse_game(game)
    package = importlib.util.find_spec("ale_py")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(
            "ale-py is not installed, and rndfast takes the ROM files from it: "
            "install it with `pip install ale-py`"
        )
    roms_dir = Path(package.submodule_search_locations[0]) / "roms"
    rom, checksums = roms_dir / f"{game}.bin", roms_dir / "md5.json"
    for file in (checksums, rom):
        if not file.is_file():
            raise FileNotFoundError(f"ale-py lacks the file {file}: {_REINSTALL}")
    try:
        expected = json.loads(checksums.read_bytes())[rom.name]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{checksums} must be a JSON object with an entry {rom.name!r}, "
            f"got {type(error).__name__}: {error}: {_REINSTALL}"
        ) from error
    content = rom.read_bytes()
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if got != expected:
        raise ValueError(
            f"{rom} must have MD5 {expected}, got {got} ({len(content)} bytes): {_REINSTALL}"
        )
    return rom
