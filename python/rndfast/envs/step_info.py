# SPDX-License-Identifier: MIT
"""``info`` of many environments, in Gymnasium's layout, whose entries are made when asked for.

Making all entries takes longer than all else that Python does in a step, and most are never looked
at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rndfast import _core

__all__ = ["StepInfo", "all_entries", "rows_of"]

Array = npt.NDArray[Any]

_FINAL_KEYS = ("final_obs", "_final_obs", "final_info", "_final_info")


def all_entries(
    results: _core.StepResults, keys: tuple[str, ...], *, is_same_step: bool
) -> dict[str, Any]:
    """Make an ``info`` with all its entries at once; arguments as of `StepInfo.of`."""
    entries: dict[str, Any] = results.entries(keys)
    if is_same_step and _ended(results).any():
        entries |= _final_entries(results, keys)
    return entries


def rows_of(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Each environment's part of a dict of arrays, as `gymnasium.make`'s environment has it."""
    keys = [
        key
        for key in info
        if f"_{key}" in info and key not in ("env_id", "final_obs", "final_info")
    ]
    # of bools, that environment makes Python's
    columns = (info[key].tolist() if info[key].dtype == np.bool_ else info[key] for key in keys)
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]


def _final_entries(results: _core.StepResults, keys: tuple[str, ...]) -> dict[str, Any]:
    """Make the entries of a step in which an episode has ended, in same-step mode."""
    ended = _ended(results)
    observations = np.full(len(ended), None, dtype=object)
    for row in np.flatnonzero(ended).tolist():
        observations[row] = results.final_observation(row)
    final: dict[str, Array] = {}
    for name in keys:
        final |= {name: results.final_column(name), f"_{name}": ended.copy()}
    return dict(zip(_FINAL_KEYS, (observations, ended, final, ended.copy()), strict=True))


def _ended(results: _core.StepResults) -> npt.NDArray[np.bool_]:
    ended: npt.NDArray[np.bool_] = results.column("terminated") | results.column("truncated")
    return ended


class StepInfo(dict[str, Any]):
    """A dict with an ``(n,)`` array and its mask ``_<key>`` for each key, and perhaps more.

    Looking up one key makes its entry alone; methods that see all entries make all of them first,
    and so do ``dict(info)``, ``**info`` and ``|``, since `__iter__` is not `dict`'s own. Made as a
    dict is, it has nothing left to make.
    """

    _results: _core.StepResults | None = None  # None once all entries are made
    _keys: tuple[str, ...] = ()
    _is_same_step = False

    @classmethod
    def of(
        cls, results: _core.StepResults, keys: tuple[str, ...], *, is_same_step: bool
    ) -> StepInfo:
        """Promise entries.

        Args:
            results: Where the arrays come from.
            keys: Columns of ``results`` that are entries.
            is_same_step: Whether there are final entries if any episode has ended.
        """
        info = cls()
        info._results, info._keys, info._is_same_step = results, keys, is_same_step
        return info

    def __missing__(self, key: str) -> Any:
        """Make the entry of a key, or raise KeyError."""
        if self._results is None or not self._promises(key):
            raise KeyError(key)
        if key in _FINAL_KEYS:
            self._add(_final_entries(self._results, self._keys))
        elif key in self._keys:
            self[key] = self._results.column(key)
        else:
            self[key] = np.ones(len(self._results.column("reward")), np.bool_)
        return self[key]

    def __contains__(self, key: object) -> bool:
        """Whether there is such an entry, made or not."""
        return super().__contains__(key) or self._promises(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The entry of a key, or ``default``."""
        try:
            return self[key]
        except KeyError:
            return default

    def __eq__(self, other: object) -> bool:
        """Whether all entries are equal, as of `dict`."""
        self._make_all()
        if isinstance(other, StepInfo):
            other._make_all()
        return super().__eq__(other)

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled and copied with all entries."""
        return StepInfo, (dict(self),)

    def clear(self) -> None:
        """Forget all entries, made or not."""
        self._results = None
        super().clear()

    def _promises(self, key: object) -> bool:
        if not isinstance(key, str) or self._results is None:
            return False
        if key in _FINAL_KEYS:
            return self._is_same_step and bool(_ended(self._results).any())
        return key in self._keys or (key[:1] == "_" and key[1:] in self._keys)

    def _add(self, entries: dict[str, Any]) -> None:
        for key, value in entries.items():
            if not super().__contains__(key):
                self[key] = value

    def _make_all(self) -> None:
        if self._results is None:
            return
        results, self._results = self._results, None
        self._add(all_entries(results, self._keys, is_same_step=self._is_same_step))


def _seeing_all(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def see_all(self: StepInfo, *arguments: Any) -> Any:
        self._make_all()
        return method(self, *arguments)

    see_all.__name__ = name
    see_all.__doc__ = method.__doc__
    return see_all


for _name in (
    *("__delitem__", "__iter__", "__len__", "__or__", "__repr__", "__reversed__", "__ror__"),
    *("copy", "items", "keys", "pop", "popitem", "setdefault", "values"),
):
    setattr(StepInfo, _name, _seeing_all(_name))
