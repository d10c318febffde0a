"""Cancelling runs from outside of their workers: the requests, and what history says of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from confluent_kafka import Producer

from stream_engine.core.identity import partition_of
from stream_engine.core.records.history import EventDisposed, RunEnded
from stream_engine.core.records.journal import WRITES, encode
from stream_engine.core.records.requests import Cancel, Commands
from stream_engine.core.views.answers import NEVER_BEGAN, ended
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import prefix
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_MARKS = tuple(word.encode() for word in sorted(NEVER_BEGAN))
_FLUSH_SECONDS = 30.0


def request(run_id: str, reason: str) -> bytes:
    """Return the record that asks the home of a run to cancel it. It may be there twice: the state says what is still to be done."""
    return encode(Commands("", None, [(0, Cancel(run_id, reason, seek=True))], WRITES))


def is_end(_: bytes, value: bytes) -> bool:
    """Return whether a record of the history topic may be one that says that a run has ended (see `stream_engine.core.views.answers.ended`)."""
    return value.startswith(prefix(RunEnded)) or (
        value.startswith(prefix(EventDisposed)) and any(mark in value for mark in _MARKS)
    )


def send(settings: Settings, app: str, runs: Sequence[str], reason: str) -> None:
    """Ask for runs to be cancelled; return once Kafka has all requests.

    Raises:
        UserError: Kafka did not take one.
    """
    topic, failures = Names.of(app).commands, []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(error.str())

    producer: Producer = clients.producer(settings)
    for run_id in runs:
        while True:
            try:
                producer.produce(topic, request(run_id, reason), None, partition_of(run_id), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(_FLUSH_SECONDS)
    if left or failures:
        why = failures[0] if failures else "no answer"
        raise UserError(f"Kafka did not take {left + len(failures)} of {len(runs)} requests to {topic}: {why}")


def follow(settings: Settings, app: str, start: Mapping[int, int], seconds: float) -> Iterator[dict[str, str]]:
    """Give the runs that end, with their status, as history tells it from some offsets on, for so many seconds."""
    with closing(HistoryReader(settings, app)) as reader:
        for batch in reader.follow(start, is_end, seconds):
            # Of a run that timed out before it began, its event's disposition follows.
            yield dict(end for entry in reversed(batch) if (end := ended(entry.record)) is not None)
