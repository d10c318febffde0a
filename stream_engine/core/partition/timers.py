"""Timers in the order in which they are due."""

from stream_engine.core.partition.state import State
from stream_engine.core.partition.window import Window
from stream_engine.core.records.tables import TIMERS

_WINDOW = 1_000


class Timers:
    """The timers of a partition, of which only the nearest are kept in memory."""

    def __init__(self, state: State, window: int = _WINDOW) -> None:
        """Take up the timers that are there; ``window`` is how many are read into memory at a time."""
        self._near = Window(state, TIMERS, TIMERS.prefix, TIMERS.stop, window)

    def add(self, key: bytes) -> None:
        """Note a timer that was put into the state under ``key``."""
        self._near.add(key)

    def next_due(self) -> int | None:
        """Return when the next timer is due, in milliseconds since the epoch, or None if there is none.

        A timer that was deleted may still be named; taking it yields nothing.
        """
        first = self._near.first
        return None if first is None else int.from_bytes(first[1:9], "big")

    def take_due(self, now: int, limit: int) -> list[bytes]:
        """Return the keys of up to ``limit`` timers that are due, earliest first; they are not returned again."""
        due: list[bytes] = []
        latest = TIMERS.timed_key(now + 1)
        while len(due) < limit and (first := self._near.first) is not None and first < latest:
            due.append(self._near.take())
        return due

    def put_back(self, keys: list[bytes]) -> None:
        """Have timers returned again that `take_due` has returned, and that are still in the state."""
        for key in keys:
            self._near.add(key)
