"""Runs that wait for room: in the state, so that a burst costs disk and no memory, and by function, so that none waits for another.

Within a function the run that was admitted first comes first, less its head start, and of those that were admitted together the one whose
event has the lower offset. A run that had begun, and slept or was taken over, keeps the place of its admission.
"""

from stream_engine.core.partition.room import Room
from stream_engine.core.partition.state import State
from stream_engine.core.partition.window import Window
from stream_engine.core.records.journal import Event
from stream_engine.core.records.tables import WAITING, Run, Waits

_WINDOW = 1_000
_PLACE_BYTES = 20


class Waiting:
    """The runs of a partition that wait for room."""

    def __init__(self, state: State, window: int = _WINDOW) -> None:
        """Take up the runs that wait; ``window`` is how many of each function are read into memory at a time."""
        self._state = state
        self._window = window
        self._queues: dict[str, Window] = {}
        # The functions with runs that wait; whichever has its turn goes to the end.
        self._turns: dict[str, None] = {}
        start = WAITING.prefix
        while (entry := next(state.scan(WAITING, start, WAITING.stop), None)) is not None:
            function = entry[0][1 : entry[0].index(b"\0")].decode()
            first, start = _range(function)
            self._queues[function] = Window(state, WAITING, first, start, window)
            self._turns[function] = None

    def has(self, function: str) -> bool:
        """Return whether a run of a function waits."""
        return function in self._turns

    def add(self, run_id: str, run: Run, event: Event, now: int) -> None:
        """Have a run wait from ``now`` on, which does not yet."""
        key = _key(run_id, run, event)
        self._state.put(key, Waits(now))
        queue = self._queues.get(run.function)
        if queue is None:
            _, stop = _range(run.function)
            queue = self._queues[run.function] = Window(self._state, WAITING, stop, stop, self._window)
        queue.add(key)
        self._turns[run.function] = None

    def drop(self, run_id: str, run: Run, event: Event) -> None:
        """Have a run wait no longer, if it does."""
        self._state.delete(_key(run_id, run, event))

    def ready(self, room: Room) -> bool:
        """Return whether `take` has something to return, unless that was deleted meanwhile."""
        return bool(self._turns) and any(room.lets_in(function) for function in self._turns)

    def take(self, room: Room) -> str | None:
        """Return the run whose turn it is, of those that there is room for; it waits no longer."""
        while (function := next((name for name in self._turns if room.lets_in(name)), None)) is not None:
            queue = self._queues[function]
            key = queue.take()
            del self._turns[function]
            if queue.first is not None:
                self._turns[function] = None
            if self._state.get(WAITING, key) is not None:
                self._state.delete(key)
                return key[key.index(b"\0") + 1 + _PLACE_BYTES :].decode()
        return None


def _range(function: str) -> tuple[bytes, bytes]:
    start = WAITING.key(function, "")
    return start, start[:-1] + b"\1"


def _key(run_id: str, run: Run, event: Event) -> bytes:
    place = (
        (run.order or run.created_at).to_bytes(8, "big")
        + event.partition.to_bytes(4, "big")
        + event.offset.to_bytes(8, "big")
    )
    return WAITING.key(run.function, "") + place + run_id.encode()
