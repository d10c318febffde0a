"""`<app>.dead-letters`: the messages that nothing could be made of, each with its reason and where it came from."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from stream_engine.core.caused import Place
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_log = logging.getLogger(__name__)
_BATCH = 1_000
_POLL_SECONDS = 0.1
# The broker that stored a message and the worker that buried it may differ by as much in what time it is.
_SKEW_MS = 60_000


class DeadLetter(NamedTuple):
    """A message that cannot be used: a stable code, a sentence for people, and where it came from.

    ``function`` is the one whose part it is, where others could use the message.
    """

    reason: str
    detail: str
    origin: Place
    function: str = ""


class Grave(NamedTuple):
    """What has been buried: a message, or a function's part of it."""

    origin: Place
    function: str = ""


class DeadLetterReader:
    """Takes what is buried from the moment on at which it was made. Close it, or use it in a ``with``."""

    def __init__(self, settings: Settings, app: str) -> None:
        """Begin at the end of the topic.

        Raises:
            NoAnswerError: Kafka does not answer.
        """
        topic = Names.of(app).dead_letters
        trouble = Trouble(settings)
        self._consumer = clients.reader(settings, **trouble.properties)
        try:
            partitions = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions
            self._consumer.assign(
                [TopicPartition(topic, p, clients.offsets(self._consumer, topic, p).stop) for p in partitions]
            )
        except KafkaException as error:
            failure = trouble.no_answer(self._consumer, error)
            self.close()
            raise failure from error

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the reader."""
        self.close()

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def take(self) -> list[DeadLetter]:
        """Return what has arrived since it was last asked for, without waiting."""
        return [_letter(message) for message in self._consumer.consume(_BATCH, 0) if message.error() is None]


class Buried:
    """Tells which messages are dead letters already, so that a router that routes again makes none of them twice."""

    def __init__(self, connect: Callable[[], Consumer], topic: str) -> None:
        """``connect`` makes a consumer; it is called, and its consumer closed again, each time that something is asked."""
        self._connect = connect
        self._topic = topic

    def since(self, at: int) -> frozenset[Grave]:
        """Return what has been buried since a time (milliseconds since the epoch)."""
        graves: set[Grave] = set()
        consumer = self._connect()
        try:
            ends = self._begin(consumer, at)
            deadline = monotonic() + ANSWER_SECONDS
            while ends and monotonic() < deadline:
                for message in consumer.consume(_BATCH, _POLL_SECONDS):
                    partition, offset = message.partition(), message.offset()
                    if message.error() is not None or partition is None or offset is None:
                        continue
                    deadline = monotonic() + ANSWER_SECONDS
                    letter = _letter(message)
                    graves.add(Grave(letter.origin, letter.function))
                    if offset + 1 >= ends.get(partition, 0):
                        ends.pop(partition, None)
        except KafkaException as error:
            _log.warning("cannot read %s, so that a message may be buried twice: %s", self._topic, error)
        finally:
            consumer.close()
        return frozenset(graves)

    def _begin(self, consumer: Consumer, at: int) -> dict[int, int]:
        """Begin to read at a time; return where each partition ends that has something so young."""
        topic = self._topic
        numbers = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions
        times = [TopicPartition(topic, number, max(at - _SKEW_MS, 0)) for number in numbers]
        # Where nothing is that young, the offset is negative.
        starts = [part for part in consumer.offsets_for_times(times, timeout=ANSWER_SECONDS) if part.offset >= 0]
        ends = {part.partition: clients.offsets(consumer, topic, part.partition).stop for part in starts}
        consumer.assign(starts)
        return {part.partition: ends[part.partition] for part in starts if part.offset < ends[part.partition]}


def _letter(message: Message) -> DeadLetter:
    texts = {name: (value or b"").decode(errors="replace") for name, value in clients.headers(message)}

    def number(name: str) -> int:
        text = texts.get(name, "")
        return int(text) if text.isdecimal() else -1

    origin = Place(texts.get("topic", ""), number("partition"), number("offset"))
    return DeadLetter(texts.get("reason", ""), texts.get("detail", ""), origin, texts.get("function", ""))
