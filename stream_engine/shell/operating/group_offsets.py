"""Offsets of consumer groups: where a time lies, and setting them as Kafka's own tool does, where nobody is a member."""

from typing import NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from stream_engine.core.instants import iso
from stream_engine.shell import clients
from stream_engine.shell.clients import offsets
from stream_engine.shell.clock import monotonic
from stream_engine.shell.coordinators import coordinated
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import ANSWER_SECONDS

_LATEST = -1


class Move(NamedTuple):
    """What a reset does to a partition: where the group is (None for nowhere), where it goes, and where the log begins and ends."""

    topic: str
    partition: int
    now: int | None
    to: int
    start: int
    end: int


class Found(NamedTuple):
    """Where a time lies in a partition, and ``since`` when (milliseconds since the epoch): all after that is there, and of that millisecond what has not expired."""

    offset: int
    since: int


def members(admin: AdminClient, group: str) -> int:
    """Return how many members a group has; none if there is no such group."""
    return len(member_names(admin, group))


def member_names(admin: AdminClient, group: str) -> list[str]:
    """Return the names by which a group knows its members; none if there is no such group."""
    try:
        described = coordinated(admin.describe_consumer_groups, [group])
    except KafkaException as error:
        if error.args[0].name() in {"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"}:
            return []
        raise
    return [str(member.member_id) for member in described.members]


def committed(consumer: Consumer, topic: str) -> dict[int, int]:
    """Return the offsets that the consumer's group has for the partitions of a topic.

    Raises:
        UserError: there is no such topic.
    """
    numbers = partitions(consumer, topic)
    parts = consumer.committed([TopicPartition(topic, number) for number in numbers], timeout=ANSWER_SECONDS)
    return {part.partition: part.offset for part in parts if part.offset >= 0}


def partitions(consumer: Consumer, topic: str) -> list[int]:
    """Return the numbers of a topic's partitions.

    Raises:
        UserError: there is no such topic.
    """
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error is not None or not found.partitions:
        raise UserError(f"there is no topic {topic}")
    return sorted(found.partitions)


def kept_since(admin: AdminClient, topic: str, now: int) -> int:
    """Return since when all records of a topic are there still for certain, by its retention; times in milliseconds since the epoch."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    if "delete" not in config["cleanup.policy"].value:
        return 0
    by_time = int(config["retention.ms"].value)
    if int(config["retention.bytes"].value) >= 0:
        return now
    return 0 if by_time < 0 else now - by_time


def at(consumer: Consumer, topic: str, time: int, kept: int) -> dict[int, Found]:
    """Return where the first event of a time (milliseconds since the epoch) or later is in each partition, or the partition's end.

    Where a partition has lost its first events, it reaches back to the first that is left, whose time is a beginning that leaves out none of them; an empty one to ``kept``, since
    when all records are there by the topic's retention.
    """
    parts = [TopicPartition(topic, number, time) for number in partitions(consumer, topic)]
    found = {}
    for part in consumer.offsets_for_times(parts, timeout=ANSWER_SECONDS):
        there = offsets(consumer, topic, part.partition)
        offset = part.offset if part.offset >= 0 else there.stop
        since = 0
        if there.start and offset == there.start:
            since = kept if there.start == there.stop else _first(consumer, topic, part.partition, there.start)
        found[part.partition] = Found(offset, since)
    return found


def check_reach(topic: str, time: int, found: dict[int, Found]) -> None:
    """Look at whether a topic has all events since a time.

    Raises:
        UserError: some have expired, or may have.
    """
    short = {number: one.since for number, one in found.items() if one.since > time}
    if short:
        numbers = ", ".join(map(str, short))
        raise UserError(
            f"{topic} does not reach back to {iso(time)} in partition {numbers}: events of that time have expired, or may have. "
            f"All after {iso(max(short.values()))} is there; begin then"
        )


def time_at(consumer: Consumer, topic: str, partition: int, offset: int) -> int | None:
    """Return the time of the record at an offset, in milliseconds since the epoch, or None where it has expired.

    Raises:
        UserError: Kafka does not answer.
    """
    return _first(consumer, topic, partition, offset) if offset in offsets(consumer, topic, partition) else None


def _first(consumer: Consumer, topic: str, partition: int, offset: int) -> int:
    """Return the time of the first record that is left of a partition."""
    consumer.assign([TopicPartition(topic, partition, offset)])
    deadline = monotonic() + ANSWER_SECONDS
    while monotonic() < deadline:
        raw = consumer.poll(0.1)
        if raw is not None and raw.error() is None:
            return int(raw.timestamp()[1])
    raise UserError(f"{topic}/{partition} cannot be read: Kafka does not answer")


def moves(settings: Settings, group: str, topic: str, to: dict[int, int]) -> list[Move]:
    """Return what setting a group's offsets for a topic would do."""
    consumer = clients.reader(settings, **{"group.id": group})
    try:
        now = committed(consumer, topic)
        return [
            Move(topic, number, now.get(number), offset, there.start, there.stop)
            for number, offset in sorted(to.items())
            for there in [offsets(consumer, topic, number)]
        ]
    finally:
        consumer.close()


def set_offsets(admin: AdminClient, group: str, topic: str, to: dict[int, int], metadata: str = "") -> None:
    """Set a group's offsets.

    Raises:
        UserError: it has members, or Kafka refuses for another reason.
    """
    parts = [TopicPartition(topic, number, offset, metadata) for number, offset in to.items()]
    request = [ConsumerGroupTopicPartitions(group, parts)]
    try:
        done = coordinated(admin.alter_consumer_group_offsets, request)
    except KafkaException as error:
        raise UserError(f"Kafka did not set the offsets of {group}: {error.args[0].str()}") from error
    for part in done.topic_partitions:
        if part.error is not None:
            raise UserError(f"Kafka did not set the offset of {topic}/{part.partition} for {group}: {part.error.str()}")
