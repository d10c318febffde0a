"""Changes on top of a store that does not have them yet: found by their keys, and in the keys' order where a table is scanned."""

from bisect import bisect_left, insort
from typing import Generic, TypeVar

V = TypeVar("V")


class Overlay(Generic[V]):
    """The changed entries of a store.

    Attributes:
        entries: what has been put for each key; it is changed by `put` and `clear` alone.
    """

    __slots__ = ("_sorted", "entries")

    def __init__(self) -> None:
        self.entries: dict[bytes, V] = {}
        # The changed keys of tables that have been scanned meanwhile, by the tables' prefixes, ascending.
        self._sorted: dict[int, list[bytes]] = {}

    def put(self, key: bytes, value: V) -> None:
        """Change the entry of a key."""
        ordered = self._sorted.get(key[0])
        if ordered is not None and key not in self.entries:
            insort(ordered, key)
        self.entries[key] = value

    def between(self, start: bytes, stop: bytes) -> list[bytes]:
        """Return the changed keys in ``start <= key < stop``, ascending."""
        if start[:1] != stop[:1]:
            return sorted(key for key in self.entries if start <= key < stop)
        ordered = self._sorted.get(start[0])
        if ordered is None:
            ordered = self._sorted[start[0]] = sorted(key for key in self.entries if key[0] == start[0])
        return ordered[bisect_left(ordered, start) : bisect_left(ordered, stop)]

    def clear(self) -> None:
        """Forget all of them: the store has them."""
        self.entries.clear()
        self._sorted.clear()
