"""How much a worker does at a time, shared among its functions.

Without a share for each, a burst on a slow function takes all places, and whatever else the app does waits for the burst. So
a function may take a place only while enough are free for others: more than a sixteenth of those that it holds itself.
A function alone gets all places up to 16 and 16 of 17 beyond, two that want all of them 16 of 33 each, and one that
comes new finds a place at once unless very many functions are busy. Nothing is set aside by name: where few functions
are at work, few places stay free.
"""

from collections import Counter
from typing import Final

UNLIMITED: Final = 1 << 62
"""As many places as nobody will ever hold."""

_RESERVE: Final = 16


class Room:
    """So many places, of which functions hold some. For one thread.

    Attributes:
        busy: whether those who hold places already give more work than can be done at once, as whoever does it finds out.
    """

    def __init__(self, places: int) -> None:
        self.busy = False
        self._free = places
        self._held: Counter[str] = Counter()

    @property
    def free(self) -> int:
        """How many places nobody holds."""
        return self._free

    def has(self, function: str) -> bool:
        """Return whether a function may take another place."""
        return self._free > self._held[function] // _RESERVE

    def lets_in(self, function: str) -> bool:
        """Return whether a function that waited for it may take another place: while it is busy, only one that holds few."""
        return self.has(function) and not (self.busy and self._held[function] >= _RESERVE)

    def take(self, function: str) -> None:
        """Take a place for a function, which `has` one."""
        self._free -= 1
        self._held[function] += 1

    def give(self, function: str) -> None:
        """Give back a place of a function."""
        self._free += 1
        self._held[function] -= 1
