"""A part of a table in the order of its keys, of which only the first are kept in memory."""

import heapq
from typing import Any

from stream_engine.core.partition.state import State
from stream_engine.core.records.tables import Table


class Window:
    """The keys of a table's entries in a range, ascending: those up to a horizon in a heap, the rest in the state."""

    def __init__(self, state: State, table: Table[Any], start: bytes, stop: bytes, size: int) -> None:
        """Take up the entries in ``start <= key < stop``; ``size`` is how many keys are read into memory at a time.

        With ``start`` equal to ``stop`` nothing is read, which is right where nothing is there yet.
        """
        self._state = state
        self._table = table
        self._stop = stop
        self._size = size
        self._near: list[bytes] = []
        self._horizon = start
        self._refill()

    @property
    def first(self) -> bytes | None:
        """The first key, or None if there is none; its entry may have been deleted meanwhile."""
        return self._near[0] if self._near else None

    def add(self, key: bytes) -> None:
        """Note an entry of the range that was put into the state."""
        if key < self._horizon:
            heapq.heappush(self._near, key)
            if len(self._near) > 2 * self._size:
                self._near.sort()
                self._horizon = self._near[self._size]
                del self._near[self._size :]

    def take(self) -> bytes:
        """Return the first key, which the caller knows to be there; it is not returned again."""
        key = heapq.heappop(self._near)
        if not self._near:
            self._refill()
        return key

    def _refill(self) -> None:
        if self._horizon >= self._stop:
            return
        for key, _ in self._state.scan(self._table, self._horizon, self._stop):
            if len(self._near) == self._size:
                self._horizon = key
                return
            self._near.append(key)
        self._horizon = self._stop
