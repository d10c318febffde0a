"""Reads the whole of `<app>.dead-letters`, for those who look what is in there, and sends letters again."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from stream_engine.core.dead_letter import Letter, parse, place_of
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_BATCH: Final = 1_000
_POLL_SECONDS: Final = 0.1
_DELIVERY_SECONDS: Final = 30


class LetterError(UserError):
    """A dead letter is not there, or cannot be sent again; the message says which and why."""


class Sent(msgspec.Struct, frozen=True):
    """Where a letter's message is now: once more at the end of the log that it came from."""

    id: str
    topic: str
    partition: int
    offset: int


def read(settings: Settings, app: str) -> Iterator[Letter]:
    """Give the letters that there are now, in order within a partition.

    Raises:
        LetterError: there is no such app.
        NoAnswerError: Kafka does not answer.
    """
    topic, trouble = Names.of(app).dead_letters, Trouble(settings)
    consumer = _consumer(settings, trouble)
    try:
        ends = {}
        for number in _partitions(consumer, app, topic, settings):
            there = clients.offsets(consumer, topic, number)
            if there:
                ends[number] = there.stop
                consumer.incremental_assign([TopicPartition(topic, number, there.start)])
        deadline = monotonic() + ANSWER_SECONDS
        while ends:
            for message in consumer.consume(_BATCH, _POLL_SECONDS):
                partition, offset = message.partition(), message.offset()
                if message.error() is not None or partition is None or partition not in ends or offset is None:
                    continue
                deadline = monotonic() + ANSWER_SECONDS
                if offset < ends[partition]:
                    yield _letter(message)
                if offset + 1 >= ends[partition]:
                    del ends[partition]
            if monotonic() > deadline:
                raise trouble.no_answer(consumer)
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()


def find(settings: Settings, app: str, letter: str) -> Letter:
    """Return the letter with an id.

    Raises:
        LetterError: there is no such app or letter.
        NoAnswerError: Kafka does not answer.
        ValueError: it is not the id of a letter.
    """
    (partition, offset), topic, trouble = place_of(letter), Names.of(app).dead_letters, Trouble(settings)
    consumer = _consumer(settings, trouble)
    try:
        there = range(0)
        if partition in _partitions(consumer, app, topic, settings):
            there = clients.offsets(consumer, topic, partition)
        if offset not in there:
            raise LetterError(
                f"there is no dead letter {letter!r} of {app}: `stream-engine dead-letters list` shows those that are kept"
            )
        consumer.assign([TopicPartition(topic, partition, offset)])
        deadline = monotonic() + ANSWER_SECONDS
        while monotonic() < deadline:
            message = consumer.poll(_POLL_SECONDS)
            if message is not None and message.error() is None:
                return _letter(message)
        raise trouble.no_answer(consumer)
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()


def retry(settings: Settings, letters: Iterable[Letter]) -> list[Sent]:
    """Produce the messages of letters again: the same key, value and headers, to the same partition of the topic they came from.

    Raises:
        LetterError: the topic of one is not there, or Kafka did not take it; the message says which were sent nevertheless.
        NoAnswerError: Kafka does not answer.
    """
    trouble, letters = Trouble(settings), list(letters)
    producer = clients.producer(settings, **trouble.properties)
    try:
        topics = producer.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise trouble.no_answer(producer, error) from error
    for letter in letters:
        _check(letter, {name: len(topic.partitions) for name, topic in topics.items()})
    sent: list[Sent] = []
    failed: list[str] = []

    def report(letter: Letter) -> Any:
        def delivered(error: object, message: Message) -> None:
            if error is None:
                sent.append(Sent(letter.id, letter.topic, letter.partition, message.offset() or 0))
            else:
                failed.append(f"{letter.id} ({error})")

        return delivered

    for letter in letters:
        # Kafka's clients leave a message without headers where there are none.
        headers: list[tuple[str, str | bytes | None]] | None = [*letter.headers] or None
        producer.produce(
            letter.topic, letter.value, letter.key, letter.partition, headers=headers, on_delivery=report(letter)
        )
        producer.poll(0)
    if producer.flush(_DELIVERY_SECONDS) or failed:
        done = ", ".join(letter.id for letter in sent) or "none"
        raise LetterError(
            f"Kafka did not take all of them: {', '.join(failed) or 'no answer'}; these were sent again: {done}"
        )
    return sent


def _check(letter: Letter, topics: dict[str, int]) -> None:
    if letter.partition not in range(topics.get(letter.topic, 0)):
        raise LetterError(
            f"dead letter {letter.id} came from partition {letter.partition} of {letter.topic!r}, which is not there. Nothing was sent"
        )


def _consumer(settings: Settings, trouble: Trouble) -> Consumer:
    # Retention may delete what was just about to be read.
    return clients.reader(settings, **trouble.properties, **{"auto.offset.reset": "earliest"})


def _partitions(consumer: Consumer, app: str, topic: str, settings: Settings) -> list[int]:
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error is not None or not found.partitions:
        raise LetterError(f"there is no app {app!r} on {settings.bootstrap_servers}: it has no topic {topic}")
    return sorted(found.partitions)


def _letter(message: Message) -> Letter:
    place = message.partition() or 0, message.offset() or 0
    return parse(place, message.timestamp()[1], message.key(), message.value(), clients.headers(message))
