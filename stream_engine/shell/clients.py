"""Kafka clients, each configured for what it is used for; the reasons stand beside the properties."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_engine.shell.clock import monotonic
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import NoAnswerError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
MAX_RECORD_BYTES = 4 * 1024 * 1024
CATALOGUE_MARK = "stream-engine-"
"""What the client id of a worker begins with; its catalogue's digest follows, so that `doctor` can tell what it serves."""

_ANSWER_SECONDS = 30
_LEADER_SECONDS = 5
"""How long a question waits for the leader that a client knows of; it may be gone for good."""
_LOOK_SECONDS = 0.1
_HASTE_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_LEADERLESS = frozenset({"_UNKNOWN_PARTITION", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE"})
_MISPLACED = frozenset({"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"})
_PASSING = _LEADERLESS | {
    *(
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_MSG_TIMED_OUT",
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_WAIT_COORD",
        "_WAIT_CACHE",
    ),
    *("NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "UNSTABLE_OFFSET_COMMIT"),
    *("BROKER_NOT_AVAILABLE", "REPLICA_NOT_AVAILABLE", "NETWORK_EXCEPTION", "REQUEST_TIMED_OUT"),
}

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


def is_misplaced(error: KafkaError) -> bool:
    """Return whether a position was asked for that the log does not have, or not any more."""
    return error.name() in _MISPLACED


def passes(error: KafkaError) -> bool:
    """Return whether an error is one of a broker that is slow, away or has just come back, so that the same call may succeed later."""
    return error.name() in _PASSING


def why_not_now(error: KafkaException | NoAnswerError) -> str:
    """Return in words why Kafka does not answer now; an error that waiting does not help is raised again."""
    if isinstance(error, NoAnswerError):
        return str(error)
    if not passes(error.args[0]):
        raise error
    return str(error.args[0].str())


def insist(ask: Callable[[], _T], given_up: threading.Event, what: str) -> _T | None:
    """Ask Kafka until it answers, however long it is away; return None if that is ``given_up`` first. ``what`` is said to be unknown meanwhile.

    Raises:
        KafkaException: it fails in a way that waiting does not help.
    """
    while not given_up.is_set():
        try:
            return ask()
        except (KafkaException, NoAnswerError) as error:
            _log.warning("%s is not known yet: %s", what, why_not_now(error))
            given_up.wait(_AGAIN_SECONDS)
    return None


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


def offsets(consumer: Consumer, topic: str, partition: int, patience: float = _ANSWER_SECONDS) -> range:
    """Return the offsets that a partition has now; wait for as long as ``patience`` (seconds) until somebody leads it.

    The end is asked for after the start, so that what was written behind a start that is seen is seen too.

    A client asks the leader that it knows of until its time is over, even if that broker has been killed and another one leads (librdkafka#2535). So it is
    asked for a short time, and told to look who leads. A broker answers a client's questions one after the other: one that reads at the end of a log is answered
    only when its fetch has come back, which takes up to ``fetch.wait.max.ms``; whoever must not wait for that asks by a client of its own.

    Raises:
        KafkaException: there is no such partition, or Kafka does not answer.
    """
    part, deadline = TopicPartition(topic, partition), monotonic() + patience
    while True:
        try:
            start, _ = consumer.get_watermark_offsets(part, _LEADER_SECONDS)
            _, end = consumer.get_watermark_offsets(part, _LEADER_SECONDS)
        except KafkaException as error:
            if error.args[0].name() not in _LEADERLESS | {"_TIMED_OUT"}:
                raise
            # A client that was made while a partition had no leader goes on saying so, too.
            consumer.list_topics(topic, timeout=_ANSWER_SECONDS)
            if monotonic() > deadline:
                raise
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


class Callbacks:
    """Keeps what a consumer's callbacks raise, for the consumer's thread to raise again once the client has returned.

    On its way through the client an exception that the client itself has made loses its class (confluent-kafka 2.16): no ``except`` knows it any
    more, not even that of `BaseException`, and the thread ends without anybody's noticing.
    """

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def of(self, callback: Callable[[Consumer, list[TopicPartition]], None]) -> Callable[..., None]:
        """Return the callback to give to the client."""

        def guarded(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            try:
                callback(consumer, partitions)
            except BaseException as error:  # noqa: BLE001 - it is raised again by `check`
                self._error = self._error or error

        return guarded

    def check(self) -> None:
        """Raise what a callback has raised; call it after each call of the client that calls back."""
        if self._error is not None:
            raise self._error


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
