# SPDX-License-Identifier: MIT
"""Names against ale-py's registry; ROM files against damaged copies of an ale-py package."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import ale_py.registration
import ale_py.roms
import gymnasium
import pytest

from rndfast.envs.games import GAMES, env_id, parse_game, rom_path


def test_games_are_those_that_ale_py_registers_as_v5() -> None:
    gymnasium.register_envs(ale_py)
    registered = {
        spec.kwargs["game"]: spec.id
        for spec in gymnasium.registry.values()
        if spec.namespace == "ALE" and spec.version == 5
    }
    assert len(registered) == 104
    assert {game: env_id(game).replace("rndfast/", "ALE/") for game in GAMES} == registered
    assert len(GAMES) == 104
    assert list(GAMES) == sorted(GAMES)


@pytest.mark.parametrize("game", GAMES)
def test_every_name_of_a_game_is_understood(game: str) -> None:
    pascal = ale_py.registration.rom_id_to_name(game)
    assert parse_game(game) == game
    assert parse_game(pascal) == game
    assert parse_game(f"rndfast/{pascal}-v5") == game
    assert env_id(game) == env_id(pascal) == f"rndfast/{pascal}-v5"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("montezuma_revenge_", "'montezuma_revenge'"),
        ("montezumas_revenge", "'montezuma_revenge'"),
        ("MontezumaRevnge", "'montezuma_revenge'"),
        ("ALE/MsPacman-v5", "'rndfast/MsPacman-v5'"),
        ("rndfast/Pong-v4", "'rndfast/Pong-v5'"),
        ("PONG", "'pong'"),
        (" pong", "'pong'"),
        ("", "rndfast.envs.games.GAMES"),
        ("zzzzzzzzzz", "rndfast.envs.games.GAMES"),
        ("combat", "unknown game 'combat'"),  # ships with ale-py, but is for two players only
    ],
)
def test_an_unknown_game_is_refused_with_similar_names(name: str, suggestion: str) -> None:
    with pytest.raises(ValueError, match="unknown game") as caught:
        parse_game(name)
    assert repr(name) in str(caught.value)
    assert suggestion in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, b"pong", ["pong"]])
def test_a_game_that_is_no_string_is_a_type_error(name: object) -> None:
    for function in (parse_game, env_id, rom_path):
        with pytest.raises(TypeError, match="game must be a str, got"):
            function(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("game", GAMES)
def test_rom_path_is_ale_pys_own(game: str) -> None:
    assert rom_path(game) == ale_py.roms.get_rom_path(game)


@pytest.fixture
def roms_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for ale-py first on the path, with one sound ROM and a bomb as its code."""
    roms = tmp_path / "ale_py" / "roms"
    roms.mkdir(parents=True)
    (tmp_path / "ale_py" / "__init__.py").write_text("raise AssertionError('ale_py was imported')")
    rom = rom_path("pong").read_bytes()
    (roms / "pong.bin").write_bytes(rom)
    monkeypatch.delitem(sys.modules, "ale_py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rom_path("pong") == roms / "pong.bin"
    return roms


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda roms: (roms / "pong.bin").unlink(), FileNotFoundError, "lacks the file .*pong.bin"),
        (
            lambda roms: (roms / "pong.bin").unlink() or (roms / "pong.bin").mkdir(),
            FileNotFoundError,
            "lacks the file .*pong.bin",
        ),
        (lambda roms: (roms / "pong.bin").write_bytes(b""), ValueError, "got 0 bytes"),
        (lambda roms: (roms / "pong.bin").write_bytes(b"\0"), ValueError, "got 1 bytes"),
        (lambda roms: _flip_a_bit(roms / "pong.bin"), ValueError, "got 2048 bytes"),
    ],
)
def test_a_damaged_ale_py_is_named_with_what_to_do(
    roms_dir: Path, damage: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    damage(roms_dir)
    with pytest.raises(error, match=message) as caught:
        rom_path("pong")
    assert "pip install --force-reinstall ale-py" in str(caught.value)


def test_a_wrong_rom_is_reported_with_both_checksums(roms_dir: Path) -> None:
    expected = hashlib.md5((roms_dir / "pong.bin").read_bytes()).hexdigest()
    (roms_dir / "pong.bin").write_bytes(b"no rom")
    with pytest.raises(ValueError, match="must have 2048 bytes with MD5") as caught:
        rom_path("pong")
    assert f"MD5 {expected}, got 6 bytes with MD5 {hashlib.md5(b'no rom').hexdigest()}" in str(
        caught.value
    )


def test_a_missing_ale_py_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    assert importlib.util.find_spec("ale_py") is None
    with pytest.raises(FileNotFoundError, match="install it with `pip install ale-py`"):
        rom_path("pong")
