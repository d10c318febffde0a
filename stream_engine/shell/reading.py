"""Reads parts of topics, from where or when they begin up to where they end."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.trouble import ANSWER_SECONDS

TO_THE_END: Final = {"enable.partition.eof": True}
"""The property that the consumer needs for `read`."""

_BATCH: Final = 1_000
_POLL_SECONDS: Final = 0.1


def spans_since(consumer: Consumer, topic: str, numbers: Collection[int], at: int) -> dict[int, range]:
    """Return the offsets of what partitions have from a time on (milliseconds since the epoch); those are left out that have nothing so young.

    Raises:
        KafkaException: Kafka does not answer.
    """
    times = [TopicPartition(topic, number, max(at, 0)) for number in numbers]
    # The ends are asked for first: that waits for partitions which nobody leads yet, as those of a new topic.
    ends = {number: clients.offsets(consumer, topic, number).stop for number in numbers}
    found = consumer.offsets_for_times(times, timeout=ANSWER_SECONDS)
    if wrong := [part.error for part in found if part.error is not None]:
        raise KafkaException(wrong[0])
    # Where nothing is that young, the offset is negative.
    spans = {part.partition: range(part.offset, ends[part.partition]) for part in found if part.offset >= 0}
    return {number: span for number, span in spans.items() if span}


def read(consumer: Consumer, topic: str, spans: Mapping[int, range], patience: float) -> Iterator[Message]:
    """Give the messages that partitions of a topic have at some offsets; the consumer is assigned these partitions.

    A partition is over where its end is reached, and not where its last message is: transactions leave marks that nobody is given.

    Raises:
        KafkaException: something is wrong that does not pass, such as a position that the log does not have any more.
        TimeoutError: nothing has come for as long as ``patience`` (seconds).
    """
    left = {number: span.stop for number, span in spans.items() if span}
    consumer.assign([TopicPartition(topic, number, spans[number].start) for number in left])
    answered = monotonic()
    while left:
        for message in consumer.consume(_BATCH, _POLL_SECONDS):
            number, offset, error = message.partition(), message.offset(), message.error()
            is_end = error is not None and error.name() == "_PARTITION_EOF"
            if error is not None and not is_end:
                if clients.passes(error):
                    continue
                raise KafkaException(error)
            if number not in left or offset is None:
                continue
            if not is_end and offset < left[number]:
                yield message
            if offset + (not is_end) >= left[number]:
                del left[number]
            # Whoever takes them may take long.
            answered = monotonic()
        if monotonic() > answered + patience:
            raise TimeoutError
