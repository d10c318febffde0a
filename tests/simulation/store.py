"""A simulated RocksDB: complete writes survive a crash, though perhaps not the newest of them."""

from collections.abc import Iterator
from random import Random

from stream_engine.core.partition.change import Change
from stream_engine.core.records.tables import FOLDED, FOLDED_KEY, Folded


class SimStore:
    """The store of one partition on one machine."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self._flushed: dict[bytes, bytes] = {}
        self._unflushed: list[Change] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.data.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, ascending, as they are now."""
        return iter([(key, self.data[key]) for key in sorted(self.data) if start <= key < stop])

    def write(self, change: Change) -> None:
        """Apply a change, whole."""
        _apply(self.data, change)
        self._unflushed.append(change)

    def folded(self) -> Folded | None:
        """Return how far the store has come."""
        raw = self.data.get(FOLDED_KEY)
        return None if raw is None else FOLDED.decode(raw)

    def flush(self, random: Random) -> None:
        """Make some of the writes so far survive any crash."""
        for _ in range(random.randrange(len(self._unflushed) + 1)):
            _apply(self._flushed, self._unflushed.pop(0))

    def lose_newest(self, random: Random) -> int:
        """Lose some of the writes that were not flushed, always the newest; return how many."""
        lost = random.randrange(len(self._unflushed) + 1)
        if lost:
            del self._unflushed[-lost:]
        self.data = dict(self._flushed)
        for change in self._unflushed:
            _apply(self.data, change)
        return lost

    def clear(self) -> None:
        """Lose everything."""
        self.data = {}
        self._flushed = {}
        self._unflushed = []


def _apply(data: dict[bytes, bytes], change: Change) -> None:
    data.update(change.puts)
    for key in change.deletes:
        data.pop(key, None)
