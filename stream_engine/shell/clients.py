"""Kafka clients, each configured for what it is used for; the reasons stand beside the properties."""

import time
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_engine.shell.clock import monotonic
from stream_engine.shell.settings import Settings

MAX_RECORD_BYTES = 4 * 1024 * 1024
CATALOGUE_MARK = "stream-engine-"
"""What the client id of a worker begins with; its catalogue's digest follows, so that `doctor` can tell what it serves."""

_ANSWER_SECONDS = 30
_LOOK_SECONDS = 0.1
_HASTE_SECONDS = 1.0
_LEADERLESS = frozenset({"_UNKNOWN_PARTITION", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE"})

_LATENCY = {
    # A small request must not wait for the acknowledgement of the last one's packet.
    "socket.nagle.disable": True,
    "log.connection.close": False,
}

_PRODUCING = {
    **_LATENCY,
    "linger.ms": 0,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 256 * 1024,
    "delivery.timeout.ms": 30_000,
}

_FETCHING = {
    **_LATENCY,
    "queued.max.messages.kbytes": 32 * 1024,
    # After an empty fetch the next one is sent at once: latency is worth more than a request.
    "fetch.queue.backoff.ms": 5,
    # A partition that is newly assigned is asked for by the next request, so the one under way must not wait for long.
    "fetch.wait.max.ms": 100,
}

_CONSUMING = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "fetch.message.max.bytes": MAX_RECORD_BYTES,
}

_JOINING = {
    "session.timeout.ms": 10_000,
    # By a heartbeat a member learns that the group changes: nobody leads a partition that is on its way.
    "heartbeat.interval.ms": 100,
}


def producer(settings: Settings, **properties: Any) -> Producer:
    """Return a producer that is idempotent, and that the broker acknowledges with all replicas."""
    own = {"enable.idempotence": True, "acks": "all", "message.max.bytes": MAX_RECORD_BYTES}
    return Producer(settings.client_config(_PRODUCING, **own | properties))


def member(settings: Settings, group: str, **properties: Any) -> Consumer:
    """Return a consumer that joins a group and commits nothing by itself.

    A position that the log no longer has is an error, never a silent jump.
    """
    own = {"group.id": group, "partition.assignment.strategy": "cooperative-sticky"}
    return Consumer(settings.client_config(_FETCHING | _JOINING, **_CONSUMING | own | properties))


def is_fatal(error: KafkaError) -> bool:
    """Return whether a client is of no use any more after an error."""
    return bool(error.fatal()) or error.name() == "_FATAL"


def fenced(topic: str, error: KafkaError) -> str:
    """Return what to say of a member that the group has put out for good."""
    return (
        f"the group that reads {topic} has put this worker out for good: {error.str()}; if group.instance.id is set, it has to be another one "
        "for each process"
    )


def reader(settings: Settings, **properties: Any) -> Consumer:
    """Return a consumer that is assigned its partitions by hand and belongs to no group."""
    own = {"group.id": "stream-engine.reader"}
    return Consumer(settings.client_config(_FETCHING, **_CONSUMING | own | properties))


def admin(settings: Settings, **properties: Any) -> AdminClient:
    """Return an administration client."""
    # Its notices are about its own queues; what fails is told by the call that failed.
    return AdminClient(settings.client_config(_LATENCY | {"log_level": 4}, **properties))


def offsets(consumer: Consumer, topic: str, partition: int, patience: float = 10.0) -> range:
    """Return the offsets that a partition has now; wait for as long as ``patience`` (seconds) until somebody leads it.

    The end is asked for after the start, so that what was written behind a start that is seen is seen too.

    Raises:
        KafkaException: there is no such partition, or Kafka does not answer.
    """
    part, deadline = TopicPartition(topic, partition), monotonic() + patience
    while True:
        try:
            start, _ = consumer.get_watermark_offsets(part, _ANSWER_SECONDS)
            _, end = consumer.get_watermark_offsets(part, _ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].name() not in _LEADERLESS or monotonic() > deadline:
                raise
            # A client that was made while a partition had no leader goes on saying so until it is told to look.
            consumer.list_topics(topic, timeout=_ANSWER_SECONDS)
            time.sleep(_LOOK_SECONDS)
        else:
            return range(start, end)


def headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers of a message, in their order; a client gives them in several forms."""
    given = message.headers()
    if not given:
        return ()
    pairs = given.items() if isinstance(given, dict) else given
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)


class Haste:
    """Lets a member of a group join again at once, after it has been given or deprived of partitions.

    Who gives up a partition joins a second time, and so does everybody else, before it goes to another; until then nobody has
    it. The client joins once a second at most, unless it has heard of a topic meanwhile (librdkafka 2.16). So the group's topic is
    asked for a few times; but not in a callback, where the client, which keeps one call at a time in mind, would end the process.
    """

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._until = 0.0

    def note(self) -> None:
        """Note that the group changes; for its callbacks."""
        self._until = monotonic() + _HASTE_SECONDS

    def make(self) -> None:
        """Ask for the topic, if the group has just changed; call it in each round of the consumer's thread."""
        if monotonic() < self._until:
            with suppress(KafkaException):
                self._consumer.list_topics(self._topic, timeout=_HASTE_SECONDS)
