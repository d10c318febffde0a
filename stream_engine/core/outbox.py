"""Messages that decisions send, kept in the state until their destination has acknowledged them.

There is one queue for each destination (a partition of the commands topic, or a user's topic), with dense numbers given by
the decision. A queue is sent in order; after a failure or a takeover it is sent again from the first message that is not
known to be acknowledged. The receiver of commands passes over repeats (see `stream_engine.core.intake`); readers of other
topics are at-least-once, and recognise a repeat by the message's id.
"""

from stream_engine.core.state import State
from stream_engine.core.tables import OUTBOX, SEQUENCES, Outgoing, Sequence


def commands_queue(partition: int) -> str:
    """Return the queue of commands to a partition."""
    return f"commands/{partition}"


def foreign_queue(topic: str, partition: int) -> str:
    """Return the queue of commands to a partition of another app; ``topic`` is the one that it takes them from."""
    return f"app/{topic}/{partition}"


def topic_queue(topic: str) -> str:
    """Return the queue of messages to a user's topic."""
    return f"topic/{topic}"


def entry_key(queue: str, number: int) -> bytes:
    """Return the key of a message in a queue."""
    return OUTBOX.key(queue) + b"\0" + number.to_bytes(8, "big")


def entry_parts(key: bytes) -> tuple[str, int]:
    """Return the queue and the number of a message's key."""
    return key[1:-9].decode(), int.from_bytes(key[-8:], "big")


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
