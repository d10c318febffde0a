"""Sends the outbox of a term: every queue in order, again from its first message after a failure."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer

from stream_engine.core.outbox import entry_parts
from stream_engine.core.tables import Outgoing
from stream_engine.shell.clock import monotonic

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class _Queue:
    """The unacknowledged messages to one destination, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: deque[tuple[bytes, Outgoing]] = deque()
        self.acknowledged: set[bytes] = set()
        self.in_flight = 0
        self.broken_at: float | None = None


class Outbox:
    """The messages of one term; ``sent`` is called with each key once it and all before it are acknowledged."""

    def __init__(self, producer: Producer, sent: Callable[[bytes], None]) -> None:
        self._producer = producer
        self._sent = sent
        self._queues: dict[str, _Queue] = {}

    def send(self, key: bytes, message: Outgoing) -> None:
        """Send a message behind those of its queue."""
        name = entry_parts(key)[0]
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name)
        queue.entries.append((key, message))
        if queue.broken_at is None:
            self._produce(queue, key, message)

    def retry(self) -> None:
        """Send the queues again that failed a while ago; call it now and then."""
        for queue in self._queues.values():
            if queue.broken_at is not None and not queue.in_flight and monotonic() > queue.broken_at + _RETRY_SECONDS:
                queue.broken_at = None
                # A receiver of commands ignores what came behind a gap, so what arrived out of order is sent again too.
                queue.acknowledged.clear()
                for key, message in queue.entries:
                    self._produce(queue, key, message)

    def _produce(self, queue: _Queue, key: bytes, message: Outgoing) -> None:
        def delivered(error: Any, _: Any) -> None:
            queue.in_flight -= 1
            self._delivered(queue, key, error)

        try:
            self._producer.produce(
                message.topic,
                message.value,
                message.key,
                -1 if message.partition is None else message.partition,
                on_delivery=delivered,
                headers=list(message.headers),
            )
            queue.in_flight += 1
        except BufferError as error:
            self._broken(queue, error)

    def _delivered(self, queue: _Queue, key: bytes, error: Any) -> None:
        if error is not None:
            self._broken(queue, error)
            return
        queue.acknowledged.add(key)
        while queue.broken_at is None and queue.entries and queue.entries[0][0] in queue.acknowledged:
            first, _ = queue.entries.popleft()
            queue.acknowledged.discard(first)
            self._sent(first)

    def _broken(self, queue: _Queue, error: object) -> None:
        if queue.broken_at is None:
            waiting = len(queue.entries)
            _log.warning("could not send to %s: %s; its %d messages will be sent again", queue.name, error, waiting)
        queue.broken_at = monotonic()
