"""Whether what was on its way to leaders has been decided upon, and told: read off the journals, which say both.

A journal's newest decision names the next command to take, and up to where the history topic has everything.
"""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from stream_engine.core.decoding import ForeignError, decode_journal
from stream_engine.core.records import Decided
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_BATCH: Final = 1_000
_LOOK_SECONDS: Final = 0.1
_TAIL: Final = 100


class _Journal:
    """What is known of a partition: whether its leader has come to a place of its commands, and has told what it decided by then."""

    def __init__(self, wanted: int) -> None:
        self.newest: Decided | None = None
        self._wanted = wanted
        self._told = -1
        self._reached = False

    def take(self, offset: int, decided: Decided) -> None:
        self.newest = decided
        if decided.history and not self._reached:
            self._told = offset
        self._reached = self._reached or decided.commands >= self._wanted

    @property
    def settled(self) -> bool:
        return self._reached and self.newest is not None and self.newest.told.offset >= self._told


def settle(settings: Settings, names: Names, seconds: float) -> bool:
    """Wait until all commands that are there now are decided upon, and history has been told of it; return False if that takes longer.

    Raises:
        KafkaException: Kafka does not answer.
    """
    consumer = clients.reader(settings)
    try:
        numbers = sorted(consumer.list_topics(names.commands, timeout=_BATCH).topics[names.commands].partitions)
        wanted = {number: clients.offsets(consumer, names.commands, number).stop for number in numbers}
        journals = {number: _Journal(end) for number, end in wanted.items() if end}
        starts = {number: _where_told_begins(consumer, names.journal, number) for number in journals}
        consumer.assign([TopicPartition(names.journal, number, offset) for number, offset in starts.items()])
        return _follow(consumer, journals, monotonic() + seconds)
    finally:
        consumer.close()


def newest(consumer: Consumer, topic: str, partition: int) -> tuple[int, Decided | None]:
    """Return where a journal ends, and its newest decision, if there is one."""
    there = clients.offsets(consumer, topic, partition)
    for first in (max(there.start, there.stop - _TAIL), there.start):
        found = None
        for _, decided in _read(consumer, topic, partition, range(first, there.stop)):
            found = decided
        if found is not None or first == there.start:
            return there.stop, found
    return there.stop, None


def _where_told_begins(consumer: Consumer, topic: str, partition: int) -> int:
    """Return from where a journal has to be read to know what has not been told yet."""
    there = clients.offsets(consumer, topic, partition)
    _, decided = newest(consumer, topic, partition)
    return there.start if decided is None else max(there.start, min(decided.told.offset + 1, there.stop - _TAIL))


def _read(consumer: Consumer, topic: str, partition: int, offsets: range) -> list[tuple[int, Decided]]:
    found: list[tuple[int, Decided]] = []
    if not offsets:
        return found
    consumer.assign([TopicPartition(topic, partition, offsets.start)])
    deadline = monotonic() + _TAIL
    while monotonic() < deadline:
        for message in consumer.consume(_BATCH, _LOOK_SECONDS):
            offset, value = message.offset(), message.value()
            if message.error() is not None or offset is None or value is None:
                continue
            decided = _decided(value)
            if decided is not None:
                found.append((offset, decided))
            if offset >= offsets.stop - 1:
                return found
    return found


def _follow(consumer: Consumer, journals: Mapping[int, _Journal], deadline: float) -> bool:
    while not all(journal.settled for journal in journals.values()):
        if monotonic() > deadline:
            return False
        for message in consumer.consume(_BATCH, _LOOK_SECONDS):
            offset, value = message.offset(), message.value()
            if message.error() is None and offset is not None and value is not None:
                decided = _decided(value)
                if decided is not None:
                    journals[message.partition() or 0].take(offset, decided)
    return True


def _decided(value: bytes) -> Decided | None:
    try:
        record = decode_journal(value)
    except ForeignError:
        return None
    return record if isinstance(record, Decided) else None
