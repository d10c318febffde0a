"""Kafka and RocksDB, as far as one partition in memory needs them."""

import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import count
from typing import TypeVar

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Change
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.origin import Logs, Origin
from stream_engine.core.routing.receive import Message as ReceivedMessage
from stream_engine.sdk.client import Clock
from stream_engine.sdk.events import Message
from stream_engine.sdk.transport import Outcome

T = TypeVar("T")

TOPIC_ID = "memory"


class MemoryStore:
    """A store whose keys are in order; see `stream_engine.core.partition.state.Store`."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self._values.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, ascending."""
        for key in self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]:
            yield key, self._values[key]

    def write(self, change: Change) -> None:
        """Apply one change."""
        for key, value in change.puts:
            if key not in self._values:
                insort(self._keys, key)
            self._values[key] = value
        for key in change.deletes:
            if self._values.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]


def lead(store: MemoryStore, now: int, rules: Rules) -> Leader:
    """Begin to lead a partition that nobody has led; its first record is the claim."""
    candidate = Candidate("test", store, Origin(Logs("memory", TOPIC_ID, TOPIC_ID, 1), 0))
    claim = candidate.campaign(now)
    for offset in candidate.elected(0):
        change = candidate.replay(offset, claim)
        assert change is not None
        store.write(change)
    return candidate.lead(rules)


class MemoryTopic:
    """The events topic: one partition, from which every message is taken once. May be used from any thread."""

    def __init__(self, name: str, clock: Clock, arrived: Callable[[], None]) -> None:
        """Call ``arrived`` whenever a message was appended."""
        self.name = name
        self._clock = clock
        self._arrived = arrived
        self._offsets = count()
        self._messages: deque[ReceivedMessage] = deque()
        # Messages have to be appended in the order of their offsets.
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def append(self, message: Message) -> str:
        """Append a message; return its place, ``topic/partition/offset``."""
        key, value, headers = message
        with self._lock:
            offset = next(self._offsets)
            self._messages.append(
                ReceivedMessage(self.name, TOPIC_ID, 0, offset, self._clock(), key, value, tuple(headers))
            )
        self._arrived()
        return f"{self.name}/0/{offset}"

    def take(self) -> ReceivedMessage:
        """Return the next message, and be done with it."""
        return self._messages.popleft()


class MemoryTransport:
    """What engines send with in tests; see `stream_engine.sdk.transport.Transport`."""

    def __init__(
        self,
        topic: MemoryTopic,
        outcome: Callable[[str, float | None], Future[Outcome]],
        cancel: Callable[[str, str], Future[None]],
    ) -> None:
        self._topic = topic
        self._outcome = outcome
        self._cancel = cancel

    def send(self, messages: Sequence[Message]) -> Future[list[str]]:
        """Append messages to the events topic."""
        return _done([self._topic.append(message) for message in messages])

    def run_outcome(self, run_id: str, timeout: float | None) -> Future[Outcome]:
        """Return the outcome of a run; the seconds of ``timeout`` pass on the test's clock."""
        return self._outcome(run_id, timeout)

    def cancel(self, run_id: str, reason: str) -> Future[None]:
        """Have a run cancelled."""
        return self._cancel(run_id, reason)

    def partitions(self) -> Future[int]:
        """Return 1."""
        return _done(1)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
