"""Reads a part of an events topic, as it was when its offsets were looked up."""

from collections.abc import Iterator, Mapping
from typing import Final

from stream_engine.core.routing.receive import Message
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.reading import TO_THE_END, read
from stream_engine.shell.routing.route import message_of
from stream_engine.shell.settings import Settings

_STALLED_SECONDS: Final = 30.0

Spans = Mapping[int, tuple[int, int]]
"""``[start, stop)`` in offsets, by partition."""


def messages(settings: Settings, topic: str, topic_id: str, spans: Spans) -> Iterator[Message]:
    """Give the messages of a part of a topic, each partition's in their order.

    Raises:
        UserError: Kafka does not answer.
    """
    consumer = clients.reader(settings, **TO_THE_END)
    try:
        for raw in read(consumer, topic, {number: range(*span) for number, span in spans.items()}, _STALLED_SECONDS):
            yield message_of(raw, topic, topic_id)
    except TimeoutError as error:
        raise UserError(f"{settings.bootstrap_servers} has not answered for half a minute") from error
    finally:
        consumer.close()
