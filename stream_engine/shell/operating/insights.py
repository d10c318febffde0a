"""Reads `<app>.insights`: the figures of the last hours, per function and version."""

from typing import Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Message

from stream_engine.core.views.insights import Counted, Summary, Window, summaries
from stream_engine.shell import clients
from stream_engine.shell.operating.group_offsets import committed, members, partitions
from stream_engine.shell.reading import TO_THE_END, read, spans_since
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

# The machines that count and those that decide may differ by as much in what time it is.
_SKEW_MS: Final = 60_000
_KEY: Final = msgspec.json.Decoder(Window)
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
    # What was just about to be read may be deleted meanwhile.
    consumer = clients.reader(settings, **trouble.properties, **TO_THE_END, **{"auto.offset.reset": "earliest"})
    try:
        numbers = consumer.list_topics(timeout=ANSWER_SECONDS).topics
        if topic not in numbers:
            return None
        windows: dict[Window, Counted] = {}
        spans = spans_since(consumer, topic, numbers[topic].partitions, since - _SKEW_MS)
        for message in read(consumer, topic, spans, ANSWER_SECONDS):
            _take(message, since, windows)
        return summaries((window, counted.figures) for window, counted in windows.items())
    except TimeoutError as error:
        raise trouble.no_answer(consumer) from error
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()


def _take(message: Message, since: int, windows: dict[Window, Counted]) -> None:
    """Note what a record says; bytes of others are passed over.

    Who was paused while its partition went to another may write an older value behind a newer one.
    """
    key, value = message.key(), message.value()
    try:
        window = _KEY.decode(key or b"")
        if value is None:
            windows.pop(window, None)
        elif window.start >= since:
            counted = _VALUE.decode(value)
            if window not in windows or counted.offset >= windows[window].offset:
                windows[window] = counted
    except msgspec.DecodeError:
        return
