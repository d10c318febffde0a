"""Commands of one partition that have been read, and not been taken yet."""

from collections import deque
from collections.abc import Callable

from stream_engine.core.partition.change import Take

_MOST_BYTES = 2 * 1024 * 1024


class Backlog:
    """A queue whose topic is not read on while it is long."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        """Call ``hold`` with whether the reading is to stop."""
        self._hold = hold
        self._takes: deque[Take] = deque()
        self._bytes = 0
        self._held = False

    def add(self, takes: list[Take]) -> None:
        """Take records in that have been read."""
        self._takes.extend(takes)
        self._bytes += sum(take.size for take in takes)
        if not self._held and self._bytes > _MOST_BYTES:
            self._held = True
            self._hold(self._held)

    def __len__(self) -> int:
        return len(self._takes)

    def take(self, most: int) -> list[Take]:
        """Return the first so many records."""
        if not self._takes:
            return []
        taken = [self._takes.popleft() for _ in range(min(most, len(self._takes)))]
        self._bytes -= sum(take.size for take in taken)
        if self._held and self._bytes < _MOST_BYTES // 2:
            self._held = False
            self._hold(self._held)
        return taken

    def begin_anew(self) -> None:
        """Forget everything: the topic is read from another place on."""
        self._takes.clear()
        self._bytes = 0
        self._held = False
