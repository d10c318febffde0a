"""Reads the whole of `<app>.dead-letters`, for those who look what is in there, and sends letters again."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message

from stream_engine.core.routing.dead_letter import Letter, parse, place_of
from stream_engine.shell import clients, reading
from stream_engine.shell.control import Control, write
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_DELIVERY_SECONDS: Final = 30


RETRIED: Final = "retried/"
"""What the keys of the control topic begin with that say when a letter was last sent again, in milliseconds since the epoch."""


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
        numbers = _partitions(consumer, app, topic, settings)
        there = {number: clients.offsets(consumer, topic, number) for number in numbers}
        yield from map(_letter, reading.read(consumer, topic, there, ANSWER_SECONDS))
    except TimeoutError as error:
        raise trouble.no_answer(consumer) from error
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
        if partition in _partitions(consumer, app, topic, settings) and offset in clients.offsets(
            consumer, topic, partition
        ):
            span = {partition: range(offset, offset + 1)}
            for message in reading.read(consumer, topic, span, ANSWER_SECONDS):
                return _letter(message)
        raise LetterError(
            f"there is no dead letter {letter!r} of {app}: `stream-engine dead-letters list` shows those that are kept"
        )
    except TimeoutError as error:
        raise trouble.no_answer(consumer) from error
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()


def retried(control: Control) -> dict[str, int]:
    """Return when letters were last sent again, by their ids; times in milliseconds since the epoch."""
    return {letter: int(raw) for letter, raw in control.values(RETRIED).items()}


def note_retried(settings: Settings, app: str, letters: Iterable[str], control: Control, now: int) -> None:
    """Write down that letters were sent again, and forget it of those that have expired.

    Raises:
        UserError: Kafka does not take it, or does not answer.
    """
    topic, trouble = Names.of(app).dead_letters, Trouble(settings)
    consumer = _consumer(settings, trouble)
    try:
        numbers = _partitions(consumer, app, topic, settings)
        there = {number: clients.offsets(consumer, topic, number) for number in numbers}
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()
    places = {letter: place_of(letter) for letter in retried(control)}
    gone = {letter for letter, (number, offset) in places.items() if offset not in there.get(number, ())}
    noted = dict.fromkeys(letters, str(now).encode())
    values: dict[str, bytes | None] = {**dict.fromkeys(gone, None), **noted}
    write(clients.producer(settings), Names.of(app).control, {RETRIED + letter: raw for letter, raw in values.items()})


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
    if letter.left_out:
        raise LetterError(
            f"dead letter {letter.id} was too large to be kept whole: its message is offset {letter.offset} of {letter.topic}/{letter.partition}, "
            "for as long as that topic keeps it. Nothing was sent"
        )
    if letter.partition not in range(topics.get(letter.topic, 0)):
        raise LetterError(
            f"dead letter {letter.id} came from partition {letter.partition} of {letter.topic!r}, which is not there. Nothing was sent"
        )


def _consumer(settings: Settings, trouble: Trouble) -> Consumer:
    # Retention may delete what was just about to be read.
    return clients.reader(settings, **trouble.properties, **reading.TO_THE_END, **{"auto.offset.reset": "earliest"})


def _partitions(consumer: Consumer, app: str, topic: str, settings: Settings) -> list[int]:
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error is not None or not found.partitions:
        raise LetterError(f"there is no app {app!r} on {settings.bootstrap_servers}: it has no topic {topic}")
    return sorted(found.partitions)


def _letter(message: Message) -> Letter:
    place = message.partition() or 0, message.offset() or 0
    return parse(place, message.timestamp()[1], message.key(), message.value(), clients.headers(message))
