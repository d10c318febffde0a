"""What a partition's store has in memory before RocksDB gets it: many acknowledged groups, written at once.

A group is small where many partitions are busy with a few runs each, and most of what it puts is replaced or deleted by one of the next:
a step is kept until its run ends, a claim until it is freed. RocksDB keeps no log of its own (ADR 8), so a write that it has taken is in memory
as well, and after a crash comes from the journal again; gathering them here costs nothing but that a little more is read then.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from stream_engine.core.partition.change import Change
from stream_engine.core.partition.overlay import Overlay
from stream_engine.shell.store import DamagedError, RocksStore, StoreError, View

_MOST_ENTRIES: Final = 1_000
"""So few that writing them takes a millisecond or two, in which the other partitions wait."""
_MOST_BYTES: Final = 1024 * 1024
_NOTHING: Final = b""
"""What stands for a deleted entry: a record is never empty."""


class WriteBehind:
    """A `stream_engine.core.partition.state.Store`: a `RocksStore`, and what it is to be given. For one thread, but for its views.

    All methods raise what those of `RocksStore` do.
    """

    def __init__(self, store: RocksStore, most: int = _MOST_ENTRIES) -> None:
        """``most`` is how many changed entries are gathered."""
        self._store = store
        self._most = most
        self._changes = Overlay[bytes]()
        self._changed = self._changes.entries
        self._bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        value = self._changed.get(key)
        return self._store.get(key) if value is None else value or None

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, ascending, as they are now."""
        changed = {key: self._changed[key] for key in self._changes.between(start, stop)}
        if not changed:
            yield from self._store.scan(start, stop)
            return
        fresh = iter(changed.items())
        following = next(fresh, None)
        for key, value in self._store.scan(start, stop):
            while following is not None and following[0] < key:
                if following[1]:
                    yield following
                following = next(fresh, None)
            if key not in changed:
                yield key, value
        while following is not None:
            if following[1]:
                yield following
            following = next(fresh, None)

    def write(self, change: Change) -> None:
        """Take a change, whole; it reaches RocksDB with others, whole or not at all."""
        put = self._changes.put
        for key, value in change.puts:
            put(key, value)
            self._bytes += len(key) + len(value)
        for key in change.deletes:
            put(key, _NOTHING)
            self._bytes += len(key)
        if len(self._changed) > self._most or self._bytes > _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Give RocksDB what has been gathered."""
        puts = [(key, value) for key, value in self._changed.items() if value]
        deletes = [key for key, value in self._changed.items() if not value]
        self._forget()
        if puts or deletes:
            self._store.write(Change(puts, deletes))

    def view(self, *, without: bytes) -> View:
        """Return a view of the store as it is now, but for one key; see `RocksStore.view`."""
        self.flush()
        return self._store.view(without=without)

    def close(self) -> None:
        """Close the store; it can be opened again. What it cannot write any more, it gets from Kafka then."""
        # What it does not take any more, it has said before, or says when it is closed.
        with suppress(StoreError, DamagedError):
            self.flush()
        self._store.close()

    def empty(self) -> None:
        """Delete everything."""
        self._forget()
        self._store.empty()

    def _forget(self) -> None:
        self._changes.clear()
        self._bytes = 0
