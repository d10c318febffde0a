"""Timers in the order in which they are due, of which only the nearest are kept in memory."""

import heapq

from stream_engine.core.state import State
from stream_engine.core.tables import TIMERS

_WINDOW = 10_000


class Timers:
    """The timers of a partition: those up to a horizon in a heap, the rest in the store until the heap is empty."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._near: list[bytes] = []
        self._horizon = TIMERS.prefix
        self._refill()

    def add(self, key: bytes) -> None:
        """Note a timer that was put into the state under ``key``."""
        if key < self._horizon:
            heapq.heappush(self._near, key)

    def next_due(self) -> int | None:
        """Return when the next timer is due, in milliseconds since the epoch, or None if there is none.

        A timer that was deleted may still be named; taking it yields nothing.
        """
        return int.from_bytes(self._near[0][1:9], "big") if self._near else None

    def take_due(self, now: int, limit: int) -> list[bytes]:
        """Return the keys of up to ``limit`` timers that are due, earliest first; they are not returned again."""
        due: list[bytes] = []
        latest = TIMERS.timed_key(now + 1)
        while self._near and self._near[0] < latest and len(due) < limit:
            due.append(heapq.heappop(self._near))
            if not self._near:
                self._refill()
        return due

    def _refill(self) -> None:
        for key, _ in self._state.scan(TIMERS, self._horizon, TIMERS.stop):
            if len(self._near) == _WINDOW:
                self._horizon = key
                return
            self._near.append(key)
        self._horizon = TIMERS.stop
