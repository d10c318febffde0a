"""Kafka's topics as anybody can read them: with a client and the schemas in ``schemas/``, and none of the engine's code."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import fastavro
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from fastavro.schema import fingerprint, to_parsing_canonical_form

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
_PATIENCE = 60.0
_BATCH = 2_000
_HEADER_BYTES = 10


class Record(NamedTuple):
    """A record of a topic; ``timestamp`` is in milliseconds since the epoch."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


Told = dict[str, Any]
"""A record of a history topic: its fields, and as ``schema`` the name of its schema."""


class Follower:
    """Reads all partitions of a topic from its beginning on, and keeps the records. It belongs to one thread."""

    def __init__(self, servers: str, topic: str) -> None:
        self.topic = topic
        self.records: list[Record] = []
        config = {"bootstrap.servers": servers, "group.id": "tests.raw", "enable.auto.commit": False}
        # Behind the last record of a transaction is a mark, which is not given to anybody.
        self._consumer = Consumer(config | {"enable.partition.eof": True})
        partitions = self._consumer.list_topics(topic, timeout=_PATIENCE).topics[topic].partitions
        assert partitions, f"there is no topic {topic}"
        self._ends = dict.fromkeys(sorted(partitions), 0)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in self._ends])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.close()

    @property
    def partitions(self) -> list[int]:
        """The numbers of the topic's partitions."""
        return list(self._ends)

    def more(self, timeout: float = 0.1) -> list[Record]:
        """Return what came since the last call, waiting a little for it."""
        found = []
        for message in self._consumer.consume(_BATCH, timeout):
            error = message.error()
            if error is not None and error.name() == "_PARTITION_EOF":
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                self._ends[partition] = offset
                continue
            assert error is None, f"reading {self.topic}: {error}"
            record = _record(message)
            self._ends[record.partition] = record.offset + 1
            found.append(record)
        self.records.extend(found)
        return found

    def to_end(self) -> list[Record]:
        """Read up to where the topic ends now; return everything."""
        ends = {partition: self._end(partition) for partition in self._ends}
        self.until(lambda _: all(self._ends[partition] >= end for partition, end in ends.items()))
        return self.records

    def _end(self, partition: int) -> int:
        """Return where a partition ends now; a broker that has been late is waited for, which leads nothing for a moment then."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), _PATIENCE)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                self._consumer.list_topics(self.topic, timeout=_PATIENCE)
            else:
                return int(end)

    def until(self, enough: Callable[[list[Record]], object], timeout: float = _PATIENCE) -> list[Record]:
        """Read on until what there is is enough; return everything."""
        deadline = time.monotonic() + timeout
        while not enough(self.records):
            assert time.monotonic() < deadline, f"{self.topic}: after {timeout:g} s, {len(self.records)} are not enough"
            self.more()
        return self.records


def read(servers: str, topic: str) -> list[Record]:
    """Return the records of a topic, up to where it ends now; of each partition in order."""
    with Follower(servers, topic) as follower:
        return follower.to_end()


def produce(servers: str, topic: str, value: bytes | None, **properties: Any) -> tuple[int, int]:
    """Produce one message; return its partition and offset."""
    places: list[tuple[int, int]] = []

    def delivered(error: Any, message: Any) -> None:
        assert error is None, error
        places.append((message.partition(), message.offset()))

    producer = Producer({"bootstrap.servers": servers, "acks": "all", "message.max.bytes": 4 * 1024 * 1024})
    producer.produce(topic, value, on_delivery=delivered, **properties)
    assert producer.flush(_PATIENCE) == 0
    return places[0]


def create_topic(servers: str, topic: str, partitions: int) -> None:
    """Create a topic as a user does."""
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "604800000"}
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(30)


def forget(servers: str, name: str) -> None:
    """Delete the topics whose names begin so. Each client that asks for all topics waits for each that is there, and so does the broker."""
    admin = AdminClient({"bootstrap.servers": servers})
    # A test that has failed because its broker is gone is to say that, and not this.
    with suppress(KafkaException):
        mine = [topic for topic in admin.list_topics(timeout=_PATIENCE).topics if topic.startswith(name)]
        for deleted in admin.delete_topics(mine).values() if mine else ():
            deleted.result(_PATIENCE)


def told(value: bytes | None) -> Told:
    """Return a record of a history topic: Avro's single-object encoding by one of the schemas in ``schemas/``."""
    assert value is not None
    assert value[:2] == b"\xc3\x01", value[:20]
    schema = _SCHEMAS[value[2:_HEADER_BYTES]]
    body = fastavro.schemaless_reader(BytesIO(value[_HEADER_BYTES:]), schema, None)
    assert isinstance(body, dict)
    return {"schema": schema["name"].rpartition(".")[2], **body}


def without_repeats(history: list[Told]) -> list[Told]:
    """Return the records of a history in the order of each partition's journal; of those with one id, the first."""
    by_id = {record["id"]: record for record in reversed(history)}
    return sorted(by_id.values(), key=lambda record: [int(part) for part in record["id"].split(".")])


def _record(message: Any) -> Record:
    headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}
    at = message.timestamp()[1]
    return Record(message.partition(), message.offset(), at, message.key(), message.value(), headers)


def _plain(schema: Any) -> Any:
    """Return a schema whose times are whole numbers of milliseconds."""
    if isinstance(schema, dict):
        return schema["type"] if "logicalType" in schema else {name: _plain(part) for name, part in schema.items()}
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema


def _schemas() -> Iterator[tuple[bytes, dict[str, Any]]]:
    for path in SCHEMAS.glob("*.avsc"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        parsed = fastavro.parse_schema(_plain(schema))
        assert isinstance(parsed, dict)
        yield bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")), parsed


_SCHEMAS = dict(_schemas())
