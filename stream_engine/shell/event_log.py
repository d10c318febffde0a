"""Reads a part of an events topic, as it was when its offsets were looked up."""

from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import TopicPartition

from stream_engine.core.receive import Message
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.route import message_of
from stream_engine.shell.settings import Settings

_BATCH: Final = 1_000
_STALLED_SECONDS: Final = 30.0

Spans = Mapping[int, tuple[int, int]]
"""``[start, stop)`` in offsets, by partition."""


def messages(settings: Settings, topic: str, topic_id: str, spans: Spans) -> Iterator[Message]:
    """Give the messages of a part of a topic, each partition's in their order.

    Raises:
        UserError: Kafka does not answer.
    """
    left = {number: span for number, span in spans.items() if span[0] < span[1]}
    consumer = clients.reader(settings, **{"enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, number, start) for number, (start, _) in left.items()])
        answered = monotonic()
        while left:
            for raw in consumer.consume(_BATCH, 0.1):
                number, offset = raw.partition() or 0, raw.offset() or 0
                if number in left and raw.error() is None and offset < left[number][1]:
                    yield message_of(raw, topic, topic_id)
                if number in left and offset + (raw.error() is None) >= left[number][1]:
                    del left[number]
                # Whoever takes them may take long.
                answered = monotonic()
            if monotonic() > answered + _STALLED_SECONDS:
                raise UserError(f"{settings.bootstrap_servers} has not answered for half a minute")
    finally:
        consumer.close()
