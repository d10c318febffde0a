"""Whether what was on its way to leaders has been decided upon, and told: read off the journals, which say both.

A journal's newest decision names the next command to take, and up to where the history topic has everything. What it puts into the outbox has been sent
when a later one takes it out.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from stream_engine.core.partition.outbox import commands_queue, entry_parts, topic_queue
from stream_engine.core.records.decoding import ForeignError, decode_journal
from stream_engine.core.records.journal import Decided
from stream_engine.core.records.tables import OUTBOX
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS

_BATCH: Final = 1_000
_LOOK_SECONDS: Final = 0.1
_TAIL: Final = 100


class _Journal:
    """What is known of a partition: whether its leader has come to a place of its commands, and has told, and sent, what it decided by then."""

    def __init__(self, wanted: int, end: int, queues: frozenset[str]) -> None:
        """``end`` is where the journal ends now: what is posted after that, and after the place was reached, is not waited for."""
        self.newest: Decided | None = None
        self._wanted = wanted
        self._end = end
        self._queues = queues
        self._told = -1
        self._next = 0
        self._reached = False
        self._to_send: set[bytes] = set()

    def take(self, offset: int, decided: Decided | None) -> None:
        """Take a record; one that is no decision says that the journal has been read so far."""
        self._next = offset + 1
        if decided is None:
            return
        self.newest = decided
        self._to_send.difference_update(decided.deletes)
        if decided.history and not self._reached:
            self._told = offset
        if offset < self._end or not self._reached:
            posted = (key for key, _ in decided.puts if key.startswith(OUTBOX.prefix))
            self._to_send.update(key for key in posted if entry_parts(key)[0] in self._queues)
        self._reached = self._reached or decided.commands >= self._wanted

    @property
    def settled(self) -> bool:
        told = self._reached and self.newest is not None and self.newest.told.offset >= self._told
        return told and self._next >= self._end and not self._to_send


def settle(settings: Settings, names: Names, seconds: float, sent_to: Collection[str] = ()) -> bool:
    """Wait until all commands that are there now are decided upon, and history has been told of it; return False if that takes longer.

    With ``sent_to``, until what was decided by then has been sent to these topics, and to other partitions, too.

    Raises:
        KafkaException: Kafka does not answer.
    """
    consumer = clients.reader(settings)
    try:
        numbers = sorted(consumer.list_topics(names.commands, timeout=ANSWER_SECONDS).topics[names.commands].partitions)
        wanted = {number: clients.offsets(consumer, names.commands, number).stop for number in numbers}
        queues = [*map(commands_queue, numbers), *map(topic_queue, sent_to)] if sent_to else []
        ends = {number: clients.offsets(consumer, names.journal, number).stop for number in numbers}
        journals = {number: _Journal(end, ends[number], frozenset(queues)) for number, end in wanted.items() if end}
        starts = _where_told_begins(consumer, names.journal, journals)
        consumer.assign([TopicPartition(names.journal, number, offset) for number, offset in starts.items()])
        return _follow(consumer, journals, monotonic() + seconds)
    finally:
        consumer.close()


def newest(consumer: Consumer, topic: str, numbers: Iterable[int]) -> dict[int, Decided | None]:
    """Return the newest decision of journals, by their partitions; None where there is none.

    Raises:
        KafkaException: Kafka does not answer.
    """
    there = {number: clients.offsets(consumer, topic, number) for number in numbers}
    tails = {number: range(max(one.start, one.stop - _TAIL), one.stop) for number, one in there.items()}
    found = _last(consumer, topic, tails)
    # Claims may be all that the tail has, where workers came and went and nothing was to be decided.
    whole = {number: one for number, one in there.items() if number not in found and one != tails[number]}
    found |= _last(consumer, topic, whole)
    return {number: found.get(number) for number in there}


def _where_told_begins(consumer: Consumer, topic: str, numbers: Iterable[int]) -> dict[int, int]:
    """Return from where journals have to be read to know what has not been told yet."""
    starts = {}
    for number, decided in newest(consumer, topic, numbers).items():
        there = clients.offsets(consumer, topic, number)
        told = -1 if decided is None else min(decided.told.offset, there.stop - _TAIL)
        starts[number] = max(there.start, told + 1)
    return starts


def _last(consumer: Consumer, topic: str, spans: Mapping[int, range]) -> dict[int, Decided]:
    """Return the last decision within some offsets, by partition."""
    left = {number: span.stop for number, span in spans.items() if span}
    found: dict[int, Decided] = {}
    consumer.assign([TopicPartition(topic, number, spans[number].start) for number in left])
    deadline = monotonic() + ANSWER_SECONDS
    while left and monotonic() < deadline:
        for message in consumer.consume(_BATCH, _LOOK_SECONDS):
            number, offset, value = message.partition() or 0, message.offset(), message.value()
            if message.error() is not None or number not in left or offset is None or value is None:
                continue
            deadline = monotonic() + ANSWER_SECONDS
            decided = _decided(value)
            if decided is not None and offset < left[number]:
                found[number] = decided
            if offset + 1 >= left[number]:
                del left[number]
    return found


def _follow(consumer: Consumer, journals: Mapping[int, _Journal], deadline: float) -> bool:
    while not all(journal.settled for journal in journals.values()):
        if monotonic() > deadline:
            return False
        for message in consumer.consume(_BATCH, _LOOK_SECONDS):
            offset, value = message.offset(), message.value()
            if message.error() is None and offset is not None and value is not None:
                journals[message.partition() or 0].take(offset, _decided(value))
    return True


def _decided(value: bytes) -> Decided | None:
    try:
        record = decode_journal(value)
    except ForeignError:
        return None
    return record if isinstance(record, Decided) else None
