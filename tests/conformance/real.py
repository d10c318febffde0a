"""A real Kafka, as the conformance suite sees it."""

import random
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream_engine.shell.settings import Settings
from tests.simulation.kafka import Report, UnknownTopicError

_PATIENCE = 30.0
_SESSION_MS = 3_000
_HEARTBEAT_MS = 300
"""Without one a session has a heartbeat every 3 s, and a shorter session ends again and again, however often it is polled."""


class RealCluster:
    """A `tests.conformance.cluster.Cluster` behind a socket."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._admin = AdminClient(settings.client_config())

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; one of that name is deleted first."""
        if topic in self._admin.list_topics(timeout=_PATIENCE).topics:
            self._admin.delete_topics([topic])[topic].result(_PATIENCE)
            _until(lambda: topic not in self._admin.list_topics(timeout=_PATIENCE).topics)
        self._admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(_PATIENCE)
        _until(lambda: len(self._partitions(topic)) == partitions)

    def topic_id(self, topic: str) -> str:
        """Return the identity of a topic."""
        described = self._admin.describe_topics(TopicCollection([topic]))[topic].result(_PATIENCE)
        return str(described.topic_id)

    def end(self, topic: str, partition: int) -> int:
        """Return the offset that the next record of a partition gets."""
        consumer = self.consumer()
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(topic, partition), _PATIENCE)[1])
        finally:
            consumer.close()

    def read(self, topic: str, partition: int, offsets: range) -> list[tuple[int, bytes]]:
        """Return the records at some offsets."""
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, partition, offsets.start)])
        found: list[tuple[int, bytes]] = []
        deadline = time.monotonic() + _PATIENCE
        try:
            while (not found or found[-1][0] < offsets.stop - 1) and time.monotonic() < deadline:
                for message in consumer.consume(100, 0.1):
                    assert message.error() is None, message.error()
                    offset = message.offset()
                    assert offset is not None
                    found.append((offset, message.value() or b""))
        finally:
            consumer.close()
        return [(offset, value) for offset, value in found if offset in offsets]

    def writer(self) -> "RealWriter":
        """Return a new producer."""
        return RealWriter(self)

    def member(self, group: str, topic: str) -> "RealMember":
        """Join a group."""
        return RealMember(self, group, topic)

    def consumer(self, **properties: Any) -> Consumer:
        """Return a consumer."""
        own = {"group.id": "conformance", "enable.auto.commit": False, "auto.offset.reset": "error"}
        return Consumer(self.settings.client_config(**(own | properties)))

    def producer(self) -> Producer:
        """Return an idempotent producer."""
        return Producer(self.settings.client_config(**{"enable.idempotence": True, "acks": "all", "linger.ms": 0}))

    def check(self, topic: str, partition: int) -> None:
        """Object to a partition that does not exist."""
        if partition not in self._partitions(topic):
            raise UnknownTopicError(f"{topic}/{partition}")

    def _partitions(self, topic: str) -> set[int]:
        found = self._admin.list_topics(topic, timeout=_PATIENCE).topics[topic]
        return set() if found.error is not None else set(found.partitions)


class RealWriter:
    """A producer."""

    def __init__(self, cluster: RealCluster) -> None:
        self._cluster = cluster
        self._producer = cluster.producer()
        self._reports: dict[int, Report] = {}
        self._appends = 0

    def append(self, topic: str, partition: int, value: bytes) -> None:
        """Begin an append."""
        self._cluster.check(topic, partition)
        self._append(self._producer, topic, partition, value)

    def reports(self) -> list[Report]:
        """Wait for the reports of the appends so far."""
        assert self._producer.flush(_PATIENCE) == 0
        return self._collected()

    def give_up(self, topic: str, partition: int, value: bytes) -> Report:
        """Append with a producer that is told to forget what it is doing, at a random moment."""
        producer = self._cluster.producer()
        # Its first append takes the producer's id and connections with it; the second is then a matter of a millisecond.
        producer.produce(topic, b"first", partition=partition)
        producer.flush(_PATIENCE)
        self._append(producer, topic, partition, value)
        time.sleep(random.uniform(0.0, 0.002))
        producer.purge()
        producer.flush(_PATIENCE)
        return self._collected()[0]

    def _append(self, producer: Producer, topic: str, partition: int, value: bytes) -> None:
        number = self._appends
        self._appends += 1

        def delivered(error: Any, message: Any) -> None:
            self._reports[number] = Report(error is None, None if error is not None else message.offset())

        producer.produce(topic, value, partition=partition, on_delivery=delivered)

    def _collected(self) -> list[Report]:
        reports, self._reports, self._appends = self._reports, {}, 0
        return [report for _, report in sorted(reports.items())]


class RealMember:
    """A consumer in a group."""

    def __init__(self, cluster: RealCluster, group: str, topic: str) -> None:
        self._topic = topic
        self._silent = False
        self._consumer = cluster.consumer(
            **{
                "group.id": group,
                "session.timeout.ms": _SESSION_MS,
                "heartbeat.interval.ms": _HEARTBEAT_MS,
                "max.poll.interval.ms": _SESSION_MS,
            }
        )
        self._consumer.subscribe([topic])

    def assignment(self) -> set[int]:
        """Poll for a moment."""
        self._consumer.poll(0.1)
        return {assigned.partition for assigned in self._consumer.assignment()}

    def commit(self, partition: int, offset: int, metadata: str) -> bool:
        """Commit an offset."""
        wanted = TopicPartition(self._topic, partition, offset, metadata)
        try:
            answers = self._consumer.commit(offsets=[wanted], asynchronous=False)
        except KafkaException:
            return False
        return all(answer.error is None for answer in answers or [])

    def committed(self, partition: int) -> tuple[int, str] | None:
        """Return what is committed."""
        found = self._consumer.committed([TopicPartition(self._topic, partition)], _PATIENCE)[0]
        return None if found.offset < 0 else (found.offset, found.metadata or "")

    def fall_silent(self) -> None:
        """Poll no more: the client itself leaves the group once its time between two polls is up."""

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the broker does not get there"
        time.sleep(0.02)
