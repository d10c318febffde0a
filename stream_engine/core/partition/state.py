"""The state of one partition as decisions see it: the store, and on top of it what is decided but not yet written."""

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from stream_engine.core.partition.overlay import Overlay
from stream_engine.core.records.journal import Record
from stream_engine.core.records.tables import Table, encode

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
        self._changes = Overlay[tuple[Any, bytes]]()
        self._fresh = self._changes.entries
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
        self._changes.put(key, (value, raw))
        self._bytes += len(key) + len(raw)

    def delete(self, key: bytes) -> None:
        """Remove an entry, if there is one."""
        self._changes.put(key, _DELETED)
        self._bytes += len(key)

    def scan(self, table: Table[T], start: bytes, stop: bytes) -> Iterator[tuple[bytes, T]]:
        """Yield a table's entries in ``start <= key < stop``, ascending."""
        fresh = self._changes.between(start, stop)[::-1]
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

    def changes(self) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """Return what was put, encoded, and what was deleted since the last `settle`."""
        puts = [(key, raw) for key, (value, raw) in self._fresh.items() if value is not None]
        deletes = [key for key, (value, _) in self._fresh.items() if value is None]
        return puts, deletes

    def settle(self) -> None:
        """Forget the changes: they have been written to the store."""
        self._changes.clear()
        self._bytes = 0
