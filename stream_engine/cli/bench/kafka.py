"""What the benchmark does on Kafka beside the engine: sending load, counting what ends, and the same without an engine."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_engine.core.records.history import HistoryRecord, RunEnded
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Decoder, prefix
from stream_engine.shell.settings import Settings

_STALLED_SECONDS = 60.0
_BATCH = 1_000
_ROOM_SECONDS = 0.05
_IN_BULK = {"fetch.min.bytes": 256 * 1024}


class Tail:
    """Reads what history tells of one kind, from where it ends when this is made."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        partitions: int,
        kind: type[HistoryRecord] = RunEnded,
        *,
        in_bulk: bool = False,
    ) -> None:
        """With ``in_bulk`` it hears of things later, by the time that a client's fetch waits at most; the broker, and so what is measured, has less to do with it."""
        self._consumer = clients.reader(settings, **(_IN_BULK if in_bulk else {}))
        parts = [TopicPartition(topic, number) for number in range(partitions)]
        for part in parts:
            part.offset = clients.offsets(self._consumer, topic, part.partition).stop
        self._consumer.assign(parts)
        self._decode = Decoder().decode
        self._begin = prefix(kind)
        self._values = self._read()

    def take(self, count: int) -> list[bytes]:
        """Return at least so many records, as soon as they are there.

        Raises:
            UserError: none has come for a minute.
        """
        taken: list[bytes] = []
        while len(taken) < count:
            taken += next(self._values)
        return taken

    def _read(self) -> Iterator[list[bytes]]:
        arrived = time.monotonic()
        while True:
            first = self._consumer.poll(0.5)
            if first is None:
                if time.monotonic() > arrived + _STALLED_SECONDS:
                    raise UserError(f"history has told nothing for {_STALLED_SECONDS:g} s; see the worker's log")
                continue
            arrived = time.monotonic()
            values = [message.value() for message in (first, *self._consumer.consume(_BATCH, 0))]
            yield [value for value in values if value is not None and value.startswith(self._begin)]

    def record(self, value: bytes) -> HistoryRecord:
        """Return what a record tells."""
        entry = self._decode(value)
        assert entry is not None
        return entry.record

    def times(self, value: bytes) -> list[int]:
        """Return what a run returned that ended, where that is a list of times."""
        entry = self._decode(value)
        assert entry is not None
        assert isinstance(entry.record, RunEnded)
        return msgspec.json.decode(entry.record.result or "[]", type=list[int])

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()


def flood(producer: Producer, topic: str, name: str, count: int) -> None:
    """Send events as fast as the client can, and wait until Kafka has them."""
    send_all(producer, topic, name, repeat({"order_id": "o-12345", "email": "someone@example.com"}, count))


def send_all(producer: Producer, topic: str, name: str, data: Iterable[object]) -> None:
    """Send an event with each of some data, and wait until Kafka has them."""
    values = (msgspec.json.encode({"name": name, "data": item}) for item in data)
    while batch := [{"value": value} for value in islice(values, _BATCH)]:
        _produce(producer, topic, batch)
    producer.flush()


def _produce(producer: Producer, topic: str, batch: list[dict[str, Any]]) -> None:
    """Hand a batch to the client, which marks those for which it has no room; they are handed over again when it has."""
    while batch:
        producer.produce_batch(topic, batch)
        producer.poll(0)
        batch = [message for message in batch if message.pop("_error", None) is not None]
        if batch:
            producer.poll(_ROOM_SECONDS)


def throughput(producer: Producer, topic: str, name: str, count: int, ends: Tail) -> float:
    """Return how many runs of an event's function are done in a second.

    From the first event sent to the last end seen, so that nothing that the engine still owes is left out.
    """
    began = time.monotonic()
    flood(producer, topic, name, count)
    ends.take(count)
    return count / (time.monotonic() - began)


@dataclass(frozen=True)
class Raw:
    """What Kafka itself does with the messages of so many runs: seconds to produce them, and to consume them."""

    produce: float
    consume: float


def raw_loop(settings: Settings, admin: AdminClient, topic: str, sizes: list[int], runs: int) -> Raw:
    """Produce messages of some sizes (bytes, for each run) to a topic of their own, and consume them: no engine, no work.

    The topic is deleted again.
    """
    admin.create_topics([NewTopic(topic, num_partitions=16, replication_factor=1)])[topic].result()
    try:
        producer = clients.producer(settings)
        began = time.monotonic()
        messages = [{"value": b"x" * size} for _ in range(_BATCH) for size in sizes]
        for _ in range(0, runs, _BATCH):
            _produce(producer, topic, messages)
        producer.flush()
        produced = time.monotonic()
        _consume(clients.reader(settings), topic, len(sizes) * (-(-runs // _BATCH) * _BATCH))
        return Raw(produced - began, time.monotonic() - produced)
    finally:
        admin.delete_topics([topic])[topic].result()


def _consume(consumer: Consumer, topic: str, count: int) -> None:
    consumer.assign([TopicPartition(topic, number, 0) for number in range(16)])
    while count > 0:
        count -= len([message for message in consumer.consume(_BATCH, 0.1) if message.error() is None])
    consumer.close()
