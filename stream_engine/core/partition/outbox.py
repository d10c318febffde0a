"""Messages that decisions send, kept in the state until their destination has acknowledged them.

There is one queue for each destination (a partition of the commands topic, or a user's topic), with dense numbers given by
the decision. A queue is sent in order; after a failure or a takeover it is sent again from the first message that is not
known to be acknowledged. The receiver of commands passes over repeats (see `stream_engine.core.partition.intake`); readers of other
topics are at-least-once, and recognise a repeat by the message's id.

Commands that one journal record sends to the same partition travel in one message, as far as it does not become too large: what a message costs by
itself, on both sides, is more than what a command in it does. Each has a number of its own all the same; the message has that of its first.
"""

from typing import Any

from msgspec import Raw

from stream_engine.core.partition.state import State
from stream_engine.core.records.journal import encode
from stream_engine.core.records.requests import Command, Commands
from stream_engine.core.records.tables import OUTBOX, SEQUENCES, Outgoing, Sequence

PARCEL_BYTES = 128 * 1024
"""When the commands in a message have this much, the next one begins another."""

_MESSAGE_BYTES = 200


_FOREIGN = "app/"


def commands_queue(partition: int) -> str:
    """Return the queue of commands to a partition."""
    return f"commands/{partition}"


def foreign_queue(topic: str, partition: int) -> str:
    """Return the queue of commands to a partition of another app; ``topic`` is the one that it takes them from."""
    return f"{_FOREIGN}{topic}/{partition}"


def topic_queue(topic: str) -> str:
    """Return the queue of messages to a user's topic."""
    return f"topic/{topic}"


def entry_key(queue: str, number: int) -> bytes:
    """Return the key of a message in a queue."""
    return OUTBOX.key(queue) + b"\0" + number.to_bytes(8, "big")


def entry_parts(key: bytes) -> tuple[str, int]:
    """Return the queue and the number of a message's key."""
    return key[1:-9].decode(), int.from_bytes(key[-8:], "big")


def queue_bounds(queue: str) -> tuple[bytes, bytes]:
    """Return between which keys the messages of a queue are."""
    return OUTBOX.key(queue) + b"\0", OUTBOX.key(queue) + b"\1"


def is_foreign(queue: str) -> bool:
    """Return whether a queue has commands to another app."""
    return queue.startswith(_FOREIGN)


def next_number(state: State, queue: str) -> int:
    """Return the number that the next message of a queue gets, counting from 0, and take it."""
    key = SEQUENCES.key(queue)
    last = state.get(SEQUENCES, key)
    number = last.next if last else 0
    state.put(key, Sequence(number + 1))
    return number


def post(state: State, queue: str, number: int, message: Outgoing) -> bytes:
    """Put a message into its queue; return its key."""
    key = entry_key(queue, number)
    state.put(key, message)
    return key


class _Open:
    """The commands for one queue that have no message yet, encoded with their numbers."""

    def __init__(self, topic: str, partition: int, first: int) -> None:
        self.topic = topic
        self.partition = partition
        self.first = first
        self.items: list[Raw] = []
        self.size = 0


class Parcels:
    """The commands that one turn sends to other partitions.

    Attributes:
        size: about how many bytes they add to the journal record.
    """

    def __init__(self, state: State) -> None:
        self.size = 0
        self._state = state
        self._open: dict[str, _Open] = {}
        self._full: list[tuple[str, _Open]] = []

    def add(self, queue: str, topic: str, partition: int, command: Command) -> None:
        """Add a command to those of a queue, which go to a partition of a commands topic."""
        parcel = self._open.get(queue)
        if parcel is None or parcel.size > PARCEL_BYTES:
            parcel = self._another(queue, topic, partition, parcel)
        raw = Raw(encode((parcel.first + len(parcel.items), command)))
        parcel.items.append(raw)
        parcel.size += len(raw)
        self.size += len(raw)

    def post(self, source: str, format: int) -> list[bytes]:  # noqa: A002 - the field's name
        """Put the messages into their queues, in order; return their keys."""
        keys = []
        for queue, parcel in (*self._full, *self._open.items()):
            items: list[Any] = parcel.items
            value = encode(Commands(source, None, items, format))
            keys.append(post(self._state, queue, parcel.first, Outgoing(parcel.topic, parcel.partition, None, value)))
        for queue, parcel in self._open.items():
            self._state.put(SEQUENCES.key(queue), Sequence(parcel.first + len(parcel.items)))
        self._open, self._full, self.size = {}, [], 0
        return keys

    def _another(self, queue: str, topic: str, partition: int, full: _Open | None) -> _Open:
        if full is None:
            last = self._state.get(SEQUENCES, SEQUENCES.key(queue))
            first = last.next if last else 0
        else:
            self._full.append((queue, full))
            first = full.first + len(full.items)
        parcel = self._open[queue] = _Open(topic, partition, first)
        self.size += _MESSAGE_BYTES
        return parcel
