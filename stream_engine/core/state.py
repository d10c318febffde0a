"""The state of one partition as decisions see it: the store, and on top of it what is decided but not yet written."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from stream_engine.core.records import Record
from stream_engine.core.tables import Table, encode

T = TypeVar("T", bound=Record)

_DELETED = (None, b"")


class Store(Protocol):
    """Where acknowledged state lies; RocksDB in a worker. Keys are ordered as bytes are."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, ascending."""


class State:
    """Reads through to the store; keeps changes aside until they are sealed into a journal record and settled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fresh: dict[bytes, tuple[Any, bytes]] = {}
        self._sorted: dict[int, list[bytes]] = {}
        self._bytes = 0

    @property
    def size(self) -> int:
        """About how many bytes the changes since the last `settle` take."""
        return self._bytes

    def get(self, table: Table[T], key: bytes) -> T | None:
        """Return an entry, or None."""
        try:
            value: T | None = self._fresh[key][0]
        except KeyError:
            raw = self._store.get(key)
            return None if raw is None else table.decode(raw)
        return value

    def put(self, key: bytes, value: Record) -> None:
        """Create or replace an entry."""
        raw = encode(value)
        self._note(key)
        self._fresh[key] = (value, raw)
        self._bytes += len(key) + len(raw)

    def delete(self, key: bytes) -> None:
        """Remove an entry, if there is one."""
        self._note(key)
        self._fresh[key] = _DELETED
        self._bytes += len(key)

    def scan(self, table: Table[T], start: bytes, stop: bytes) -> Iterator[tuple[bytes, T]]:
        """Yield a table's entries in ``start <= key < stop``, ascending."""
        fresh = self._between(start, stop)
        for key, raw in self._store.scan(start, stop):
            while fresh and fresh[-1] < key:
                yield from self._changed(fresh.pop())
            if fresh and fresh[-1] == key:
                yield from self._changed(fresh.pop())
            else:
                yield key, table.decode(raw)
        while fresh:
            yield from self._changed(fresh.pop())

    def _changed(self, key: bytes) -> Iterator[tuple[bytes, Any]]:
        value, _ = self._fresh[key]
        if value is not None:
            yield key, value

    def _note(self, key: bytes) -> None:
        ordered = self._sorted.get(key[0])
        if ordered is not None and key not in self._fresh:
            insort(ordered, key)

    def _between(self, start: bytes, stop: bytes) -> list[bytes]:
        """Return the changed keys in ``start <= key < stop``, descending; of tables that are scanned, they are kept in order."""
        if start[:1] != stop[:1]:
            return sorted((key for key in self._fresh if start <= key < stop), reverse=True)
        ordered = self._sorted.get(start[0])
        if ordered is None:
            ordered = self._sorted[start[0]] = sorted(key for key in self._fresh if key[0] == start[0])
        return ordered[bisect_left(ordered, start) : bisect_left(ordered, stop)][::-1]

    def changes(self) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """Return what was put, encoded, and what was deleted since the last `settle`."""
        puts = [(key, raw) for key, (value, raw) in self._fresh.items() if value is not None]
        deletes = [key for key, (value, _) in self._fresh.items() if value is None]
        return puts, deletes

    def settle(self) -> None:
        """Forget the changes: they have been written to the store."""
        self._fresh.clear()
        self._sorted.clear()
        self._bytes = 0
