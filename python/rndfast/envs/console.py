# SPDX-License-Identifier: MIT
"""One Atari 2600 with one game in it."""

from __future__ import annotations

from typing import Any

from rndfast import _core
from rndfast.envs.games import parse_game, rom_path

__all__ = ["Console"]


class Console(_core.Console):
    """An emulated console, played frame by frame, with the semantics of ``ale_py.ALEInterface``.

    It gives the same RAM, screens, rewards, lives and frame numbers as ale-py 0.12.1, byte for
    byte (``docs/emulator.md``). Making one is ale-py's ``loadROM``, which resets once; `reset` is
    its ``reset_game``; actions are its numbers 0 to 17. Every array that a property returns is new.

    Args:
        game: Rom id, name or id: ``"pong"``, ``"Pong"`` or ``"rndfast/Pong-v5"``.
        random_seed: Seed of the random stream of sticky actions, 0 to 2**32 - 1.
        repeat_action_probability: Chance, in each frame, that the previous action is repeated.
        max_num_frames_per_episode: Frames after which the game counts as over; 0: no limit.
        mode: One of the game's modes; None: its first.
        difficulty: One of the game's difficulties: bit 0 is the left switch, bit 1 the right one,
            1 is A. None: both at B.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, the game unknown, or its ROM file damaged.
        FileNotFoundError: If ale-py or its ROM file is missing.

    Example:
        >>> console = Console("montezuma_revenge", random_seed=0)
        >>> console.act(3)
        0
        >>> console.screen.shape, console.room
        ((210, 160), 1)
    """

    def __init__(
        self,
        game: str,
        *,
        random_seed: int = 0,
        repeat_action_probability: float = 0.25,
        max_num_frames_per_episode: int = 0,
        mode: int | None = None,
        difficulty: int | None = None,
    ) -> None:
        """Switch the console on and start an episode. See the class for the arguments."""
        super().__init__(
            parse_game(game),
            rom_path(game).read_bytes(),
            random_seed=random_seed,
            repeat_action_probability=repeat_action_probability,
            max_num_frames_per_episode=max_num_frames_per_episode,
            mode=mode,
            difficulty=difficulty,
        )

    def clone(self) -> Console:
        """Return another console in the same state, random stream included."""
        twin = Console(self.game)
        twin.restore(self.snapshot())
        return twin

    __copy__ = clone

    def __deepcopy__(self, memo: dict[int, Any]) -> Console:
        """Return a `clone`: nothing in a console is shared."""
        return self.clone()

    def __reduce__(self) -> str:
        """Refuse to be pickled: `snapshot` gives bytes that can be."""
        raise TypeError(
            "Console cannot be pickled: store what snapshot() returns, "
            f"and restore() it into Console({self.game!r})"
        )
