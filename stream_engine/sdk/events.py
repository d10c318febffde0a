"""Events: what users send, and what their functions receive."""

from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple

import msgspec
from typing_extensions import TypeVar

from stream_engine.core.records.journal import Event as EventRecord
from stream_engine.core.routing.receive import MAX_BYTES, MAX_NAME, event_name_problem, is_event_id
from stream_engine.sdk.codec import DECODE_ERRORS, Decode, decode_plain, encode, try_encode
from stream_engine.sdk.errors import NonRetriableError, epoch_ms

T = TypeVar("T", default=dict[str, Any])

_UNREAD: Any = object()


class Message(NamedTuple):
    """An event as a Kafka message."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class _Wire(msgspec.Struct, omit_defaults=True):
    name: str
    data: msgspec.Raw
    id: str | None = None
    ts: int | None = None


class Event(Generic[T]):
    """Something that happened: sent by `Engine.send` or in a step, and received by the functions that it triggers.

    Attributes:
        name: what happened, such as ``order/placed``.
        data: a dict, a pydantic model, a dataclass or a msgspec struct; JSON makes an object of it.
        id: events with one id are taken for one within 24 hours; without one, the place in the log is the id.
        ts: when it happened, with a time zone; a time to come starts its runs then. Given as ``datetime`` or in
            milliseconds since the epoch.
        key: Kafka's key: events of one key keep their order. Text or bytes when sent, text when received.
        topic, partition, offset: the place in the log; None in an event that was not received.

    Raises:
        ValueError: the name or the time is not allowed.
    """

    __slots__ = ("_data", "_decode", "_raw", "id", "key", "name", "offset", "partition", "topic", "ts")

    def __init__(
        self,
        name: str,
        data: T | None = None,
        id: str | None = None,
        ts: datetime | int | None = None,
        key: str | bytes | int | None = None,
    ) -> None:
        problem = event_name_problem(name)
        if problem is not None:
            raise ValueError(f"Event: name={name!r}: {problem}")
        self.name: str = name
        self.id: str | None = None if id is None else _id(name, id)
        self.ts: datetime | None = None if ts is None else _time(name, ts)
        self.key: str | bytes | int | None = key
        self.topic: str | None = None
        self.partition: int | None = None
        self.offset: int | None = None
        self._data: Any = {} if data is None else data
        self._raw = b""
        self._decode: Decode = decode_plain

    @property
    def data(self) -> T:
        """The event's data: as the function's ``Context[Model]`` says, or a dict.

        Raises:
            NonRetriableError: the data is not what ``Context[Model]`` says.
        """
        if self._data is _UNREAD:
            try:
                self._data = self._decode(self._raw)
            except DECODE_ERRORS as error:
                place = f"{self.topic}/{self.partition}/{self.offset}"
                message = f"the data of event {self.name!r} ({place}) is not what the function's Context says: {error}"
                raise NonRetriableError(message) from error
        data: T = self._data
        return data

    @data.setter
    def data(self, data: T) -> None:
        self._data = data

    def __repr__(self) -> str:
        data = self._raw.decode(errors="replace") if self._data is _UNREAD else repr(self._data)
        return f"Event({self.name!r}, {data}, id={self.id!r}, ts={self.ts}, key={self.key!r})"


class ReceivedEvent(Event[T]):
    """An event of the log; its data is read when it is first asked for, by ``decode``."""

    __slots__ = ()

    def __init__(self, record: EventRecord, decode: Decode) -> None:
        self.name = record.name
        self.id = record.id
        self.ts = datetime.fromtimestamp(record.ts / 1_000, UTC)
        self.key = None if record.key is None else record.key.decode(errors="backslashreplace")
        self.topic = record.topic
        self.partition = record.partition
        self.offset = record.offset
        self._data = _UNREAD
        self._raw = record.data
        self._decode = decode


def data_json(event: Event[Any]) -> bytes:
    """Return an event's data as JSON.

    Raises:
        ValueError: it is not something that JSON makes an object of.
    """
    data = try_encode(event.data)
    if not data.startswith(b"{"):
        raise ValueError(f"event {event.name!r}: its data is {data[:40]!r}; give a dict or a model")
    return data


def message(event: Event[Any], data: bytes, key: str | bytes | int | None, id: str | None) -> Message:
    """Return an event as a message for the events topic, with this data (JSON), key and id.

    Raises:
        ValueError: the message is larger than the limit.
    """
    ts = None if event.ts is None else epoch_ms(event.ts)
    value = encode(_Wire(event.name, msgspec.Raw(data), id, ts))
    check_size(event.name, value)
    return Message(key_bytes(key), value, [])


def check_size(name: str, value: bytes) -> None:
    """Raise ValueError if an event has more bytes of JSON than one may have."""
    if len(value) > MAX_BYTES:
        raise ValueError(
            f"event {name!r} has {len(value):,} bytes of JSON; the limit is {MAX_BYTES:,}: "
            "store what is large elsewhere and send where it is"
        )


def key_bytes(key: str | bytes | int | None) -> bytes | None:
    """Return a key as Kafka takes it."""
    return key if key is None or isinstance(key, bytes) else str(key).encode()


def _id(name: str, id: object) -> str:
    if isinstance(id, str) and is_event_id(id):
        return id
    raise ValueError(f"Event {name!r}: id={id!r}: give 1 to {MAX_NAME} printable characters, or leave it out")


def _time(name: str, ts: object) -> datetime:
    if isinstance(ts, datetime):
        epoch_ms(ts)
        return ts
    if isinstance(ts, int) and not isinstance(ts, bool):
        try:
            return datetime.fromtimestamp(ts / 1_000, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    raise ValueError(f"Event {name!r}: ts={ts!r}: give a datetime with a time zone, or milliseconds since the epoch")
