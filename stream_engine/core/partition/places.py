"""The places of runs that wait at gates: in the state, so that a long queue costs disk and no memory, but for the next few of each gate.

A gate that lets its runs through one after the other would look into the store each time for the one whose turn it is; so a few are read at once.
"""

from typing import Final

from stream_engine.core.partition.state import State
from stream_engine.core.partition.window import Window
from stream_engine.core.records.tables import PLACES, Waits

_WINDOW: Final = 10
_MOST_GATES: Final = 1_000


class Places:
    """The places at the gates of a partition; see `stream_engine.core.gates.keeper` for what they are."""

    def __init__(self, state: State, window: int = _WINDOW, most: int = _MOST_GATES) -> None:
        """``window`` is how many places of a gate are read into memory at a time, ``most`` of how many gates there are any."""
        self._state = state
        self._window = window
        self._most = most
        self._queues: dict[str, Window] = {}

    def add(self, gate_id: str, place: bytes, since: int) -> None:
        """Have somebody wait at a place since a time."""
        self._state.put(place, Waits(since))
        queue = self._queues.get(gate_id)
        if queue is not None:
            queue.add(place)

    def leave(self, gate_id: str, place: bytes) -> None:
        """Have nobody wait at a place any more."""
        self._state.delete(place)
        queue = self._queues.get(gate_id)
        if queue is not None and queue.first == place:
            queue.take()

    def first(self, gate_id: str, front: bytes) -> bytes | None:
        """Return the first place at a gate, or None; nobody waits before ``front``. Who was there may have left: then `pass_over` it."""
        queue = self._queues.get(gate_id)
        if queue is None:
            if len(self._queues) == self._most:
                self._queues.clear()
            stop = PLACES.key(gate_id) + b"\1"
            queue = self._queues[gate_id] = Window(self._state, PLACES, front, stop, self._window)
        return queue.first

    def pass_over(self, gate_id: str) -> None:
        """Have `first` not return again what it has returned."""
        self._queues[gate_id].take()
