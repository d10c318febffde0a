"""The thread that reads events again, over a client whose broker does not know the end of its log yet, or that is of no use any more."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_engine.core.functions.match import Matched
from stream_engine.core.records.journal import Record
from stream_engine.core.records.requests import Commands
from stream_engine.core.records.wanted import Offer, Offering
from stream_engine.core.routing.offering import Scan
from stream_engine.core.waits.interests import Interests, Request, interest_of
from stream_engine.shell.pauses import Matching
from stream_engine.shell.routing.backfill import Backfill
from stream_engine.shell.routing.route import Route

_EVENTS = "shop.events"
_Delivered = Callable[[None, None], None]


class _Message:
    """An event at an offset, or the end of what the broker has."""

    def __init__(self, offset: int, *, is_end: bool = False) -> None:
        self._offset = offset
        self._is_end = is_end

    def error(self) -> SimpleNamespace | None:
        return SimpleNamespace(name=lambda: "_PARTITION_EOF") if self._is_end else None

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_000

    def key(self) -> None:
        return None

    def headers(self) -> None:
        return None

    def value(self) -> bytes:
        return b'{"name": "paid", "data": {"x": 1}}'


class _Consumer:
    """Gives what the test says, one message at a time."""

    def __init__(self, messages: Iterable[_Message]) -> None:
        self._messages = deque(messages)
        self._position = 0

    def offsets_for_times(self, parts: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        return [TopicPartition(part.topic, part.partition, 0) for part in parts]

    def assign(self, parts: list[TopicPartition]) -> None:
        assert [part.offset for part in parts] == [0]

    def consume(self, most: int, timeout: float) -> list[_Message]:
        assert most > 0 < timeout
        if not self._messages:
            return []
        message = self._messages.popleft()
        if message.error() is None:
            self._position = message.offset() + 1
        return [message]

    def position(self, parts: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(part.topic, part.partition, self._position) for part in parts]

    def unassign(self) -> None:
        """Read nothing more."""

    def close(self) -> None:
        """Be gone."""


class _Producer:
    """Takes everything, unless it is of no use any more."""

    def __init__(self, *, fails: bool = False) -> None:
        self.commands: list[Record] = []
        self._fails = fails

    def list_topics(self, topic: str, timeout: float) -> Any:
        assert timeout > 0
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None})})

    def produce(self, topic: str, value: bytes, key: None, partition: int, *, on_delivery: _Delivered) -> None:
        assert (topic, key, partition) == ("shop.commands", None, 0)
        if self._fails:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        self.commands += [command for _, command in msgspec.msgpack.decode(value, type=Commands).items]
        on_delivery(None, None)

    def flush(self, timeout: float) -> int:
        assert timeout > 0
        return 0


def _scan(stop: int, *messages: _Message, of_no_use: int = 0) -> list[Record]:
    """Perform a scan, with producers of which the first so many are of no use any more; return what the others were given."""
    route = Route(
        _EVENTS,
        "T",
        "shop.commands",
        1,
        cast("Any", None),
        lambda *_: Matched([], [], []),
        Matching({}),
        {},
        routed=(_EVENTS,),
    )
    producers, done, failed = list[_Producer](), threading.Event(), list[BaseException]()

    def produce() -> Producer:
        producers.append(_Producer(fails=len(producers) < of_no_use))
        return cast("Producer", producers[-1])

    thread = Backfill(route, lambda: cast("Consumer", _Consumer(messages)), produce, failed.append)
    thread.start()
    asked = {(interest_of("paid", "data.x"), 0): (3, Request("paid", "data.x", 500, 60_000, 2_000))}
    thread.submit(Scan(_EVENTS, 0, 500, stop, 4, Interests(asked)), lambda: True, done.set)
    assert done.wait(10)
    thread.stop()
    assert failed == []
    return [command for producer in producers for command in producer.commands]


def _offsets(commands: list[Record]) -> list[int]:
    assert isinstance(commands[-1], Offering)
    return [command.event.offset for command in commands if isinstance(command, Offer)]


def test_an_end_before_what_is_to_be_read_is_not_the_end_of_a_scan() -> None:
    found = _scan(4, _Message(0), _Message(1), _Message(2, is_end=True), _Message(2), _Message(3), _Message(4))
    assert _offsets(found) == [0, 1, 2, 3]


def test_what_is_no_message_is_passed_over_at_the_end_of_a_scan() -> None:
    found = _scan(4, _Message(0), _Message(1), _Message(5, is_end=True))
    assert _offsets(found) == [0, 1]


def test_a_scan_whose_client_is_of_no_use_any_more_is_made_with_another_one() -> None:
    found = _scan(2, _Message(0), _Message(1), of_no_use=1)
    assert _offsets(found) == [0, 1]
