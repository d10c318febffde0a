"""Reads `<app>.insights`: the figures of the last hours, per function and version."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from stream_engine.core.insights import Counted, Summary, Window, summaries
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.group_offsets import committed, members, partitions
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_BATCH: Final = 2_000
_POLL_SECONDS: Final = 0.1
# The machines that count and those that decide may differ by as much in what time it is.
_SKEW_MS: Final = 60_000
_KEY: Final = msgspec.json.Decoder(tuple[int, int, str, str])
_VALUE: Final = msgspec.json.Decoder(Counted)


class Last(NamedTuple):
    """Figures; ``behind`` is how many records of history are not in them for certain, ``counting`` whether anybody goes on counting."""

    figures: list[Summary]
    behind: int
    counting: bool


def read_last(settings: Settings, app: str, since: int) -> Last | None:
    """Return the figures of all windows that began at a time or later, and how far they go; see `read_insights`.

    Raises:
        NoAnswerError: Kafka does not answer.
    """
    figures = read_insights(settings, app, since)
    if figures is None:
        return None
    names = Names.of(app)
    trouble = Trouble(settings)
    consumer = clients.reader(settings, **trouble.properties, **{"group.id": names.insights})
    try:
        done = committed(consumer, names.history)
        there = {
            number: clients.offsets(consumer, names.history, number) for number in partitions(consumer, names.history)
        }
        behind = sum(log.stop - max(log.start, done.get(number, 0)) for number, log in there.items())
        # The object is kept: a client that is let go ends while it is being asked.
        admin = clients.admin(settings)
        return Last(figures, max(behind, 0), members(admin, names.insights) > 0)
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()


def read_insights(settings: Settings, app: str, since: int) -> list[Summary] | None:
    """Return the figures of all windows that began at a time or later (milliseconds since the epoch).

    None where nothing counts: there is no such topic, so no worker has been started with ``--topology insights``.

    Raises:
        NoAnswerError: Kafka does not answer.
    """
    topic = Names.of(app).insights
    trouble = Trouble(settings)
    consumer = clients.reader(settings, **trouble.properties)
    try:
        numbers = consumer.list_topics(timeout=ANSWER_SECONDS).topics
        if topic not in numbers:
            return None
        windows: dict[Window, Counted] = {}
        for message in _records(consumer, topic, list(numbers[topic].partitions), since):
            _take(message, since, windows)
        return summaries((window, counted.figures) for window, counted in windows.items())
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()


def _records(consumer: Consumer, topic: str, numbers: list[int], since: int) -> Iterator[Message]:
    times = [TopicPartition(topic, number, max(since - _SKEW_MS, 0)) for number in numbers]
    # The ends are asked for first: that waits for partitions which nobody leads yet, as those of a new topic.
    ends = {number: clients.offsets(consumer, topic, number).stop for number in numbers}
    # Where nothing is that young, the offset is negative.
    starts = [part for part in consumer.offsets_for_times(times, timeout=ANSWER_SECONDS) if part.offset >= 0]
    left = {part.partition for part in starts if part.offset < ends[part.partition]}
    consumer.assign(starts)
    deadline = monotonic() + ANSWER_SECONDS
    while left and monotonic() < deadline:
        for message in consumer.consume(_BATCH, _POLL_SECONDS):
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None or partition is None or offset is None:
                continue
            deadline = monotonic() + ANSWER_SECONDS
            yield message
            # The last records of a compacted log may be gone, so its position counts, not what it gives.
            if offset + 1 >= ends[partition]:
                left.discard(partition)
        left -= {part.partition for part in consumer.position(starts) if part.offset >= ends[part.partition]}


def _take(message: Message, since: int, windows: dict[Window, Counted]) -> None:
    """Note what a record says; bytes of others are passed over.

    Who was paused while its partition went to another may write an older value behind a newer one.
    """
    key, value = message.key(), message.value()
    try:
        window = Window(*_KEY.decode(key or b""))
        if value is None:
            windows.pop(window, None)
        elif window.start >= since:
            counted = _VALUE.decode(value)
            if window not in windows or counted.offset >= windows[window].offset:
                windows[window] = counted
    except msgspec.DecodeError:
        return
