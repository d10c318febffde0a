"""Stage *receive*: the bytes of an events topic become an `Event`, or a `Rejection` that says what is wrong with them."""

from collections.abc import Callable
from datetime import UTC, datetime

from stream_engine.core.functions.catalogue import WILDCARD
from stream_engine.core.functions.sources import Source
from stream_engine.core.identity import event_identity
from stream_engine.core.records.journal import Event, Record
from stream_engine.core.routing.envelope import Avro, CloudEnvelope, Envelope, Headers, Rejection, unwrap, unwrap_source

__all__ = ["Check", "Headers", "Message", "Rejection", "event_name_problem", "is_event_id", "receive"]

MAX_BYTES = 512 * 1024
MAX_DELAY = 366 * 86_400_000
MAX_NAME = 256
SENDER_HEADER = "stream-engine-sender"

Check = Callable[[bytes], str | None]
"""Judges the JSON text of an event's data: None if it is right, else what is wrong."""


class Message(Record, frozen=True):
    """A record of an events topic as Kafka delivers it; ``timestamp`` is in milliseconds since the epoch."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def is_event_id(text: str) -> bool:
    """Say whether a text may be an event's id: printable, because ids are lines of listings and parts of keys."""
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def event_name_problem(name: object) -> str | None:
    """Return what is wrong with the name of an event, or None."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        return f"give text of 1 to {MAX_NAME} characters, such as 'order/placed'"
    if not name.isprintable() or name != name.strip():
        return "control characters, and blanks at its ends, are not allowed"
    if WILDCARD in name:
        return f"an event's name has no {WILDCARD}; only triggers do"
    return None


def receive(
    message: Message,
    checks: dict[str, Check],
    avro: Avro | None = None,
    max_bytes: int = MAX_BYTES,
    source: Source | None = None,
) -> Event | Rejection:
    """Return the event that a message is, or why it is none.

    ``checks`` has, by event name, the judges of data that the app declared models for. ``avro`` decodes values in
    Confluent's wire format. ``source`` is what the topic is declared to be, if it is not one of events.
    """
    value = message.value
    if not value:
        return Rejection("empty", "the value is empty; an event is a JSON object with a name")
    if len(value) > max_bytes:
        return Rejection("too-large", f"the value has {len(value)} bytes; at most {max_bytes} are allowed")
    if source is None:
        unwrapped = unwrap(value, message.headers, avro)
    else:
        unwrapped = unwrap_source(value, message.headers, avro, source)
    if isinstance(unwrapped, Rejection):
        return unwrapped
    if isinstance(unwrapped, CloudEnvelope):
        # Two sources may give one id to different events.
        return _judge(message, unwrapped.envelope, checks, unwrapped.source)
    return _judge(message, unwrapped, checks)


def _judge(
    message: Message, envelope: Envelope, checks: dict[str, Check], source: str | None = None
) -> Event | Rejection:
    data = bytes(envelope.data)
    wrong = _wrong_form(envelope, data)
    if wrong is not None:
        return Rejection("invalid-event", wrong)
    try:
        # A topic of others may have records without a time.
        ts = max(message.timestamp, 0) if envelope.ts is None else _epoch_ms(envelope.ts)
    except ValueError as error:
        return Rejection("invalid-event", str(error))
    if ts - message.timestamp > MAX_DELAY:
        ahead = (ts - message.timestamp) // 86_400_000
        return Rejection("too-far", f"ts lies {ahead} days ahead; at most 366 are allowed")
    check = checks.get(envelope.name) if checks else None
    wrong = None if check is None else check(data)
    event = _event(message, envelope, data, ts, source)
    if wrong is not None:
        return Rejection("invalid-data", f"the data of {envelope.name} is not valid: {wrong}", event)
    return event


def _wrong_form(envelope: Envelope, data: bytes) -> str | None:
    wrong = event_name_problem(envelope.name)
    if wrong is not None:
        return f"the name {envelope.name[:64]!a} will not do: {wrong}"
    if envelope.id is not None and not is_event_id(envelope.id):
        size = len(envelope.id)
        return f"the id {envelope.id[:64]!a} has {size} characters; 1 to {MAX_NAME} printable ones are allowed"
    return None if data.startswith(b"{") else "data is not a JSON object"


def _event(message: Message, envelope: Envelope, data: bytes, ts: int, source: str | None) -> Event:
    topic, partition, offset = message.topic, message.partition, message.offset
    sender = None
    for header, value in message.headers:
        if header == SENDER_HEADER and value:
            sender = value.decode(errors="replace")
    known_by = envelope.id if source is None or envelope.id is None else f"{source} {envelope.id}"
    return Event(
        envelope.name,
        event_identity(known_by, message.topic_id, partition, offset),
        envelope.id or f"{topic}/{partition}/{offset}",
        ts,
        message.timestamp,
        topic,
        partition,
        offset,
        data,
        message.key,
        sender,
    )


def _epoch_ms(ts: float | str) -> int:
    """Return a time in milliseconds since the epoch; ISO 8601 without a zone is UTC."""
    if isinstance(ts, str):
        try:
            at = datetime.fromisoformat(ts)
        except ValueError:
            raise ValueError(f"ts is neither ISO 8601 nor milliseconds since the epoch: {ts!r}") from None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        ts = at.timestamp() * 1_000
    if not 0 <= ts < 2**53:
        raise ValueError(f"ts is out of range: {ts}")
    return int(ts)
