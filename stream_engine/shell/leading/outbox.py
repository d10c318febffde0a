"""Sends the outbox of a term: every queue in order, again from its first message after a failure."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stream_engine.core.partition.outbox import entry_parts, is_foreign
from stream_engine.core.records.tables import Outgoing
from stream_engine.shell.clock import monotonic

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_SAY_EVERY_SECONDS = 30.0
_REFUSED_SECONDS = 3.0
"""For how long Kafka has to refuse what goes to another app, before that counts: rights that are given reach all brokers a little later."""

_NOT_ALLOWED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


class _Queue:
    """The unacknowledged messages to one destination, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Taking the first out of a plain dict takes as long as there were others before it.
        self.entries: OrderedDict[bytes, Outgoing] = OrderedDict()
        self.acknowledged: set[bytes] = set()
        self.in_flight = 0
        self.broken_at: float | None = None
        self.silent_until = 0.0
        self.refused_since: float | None = None
        self.has_news = True


class Outbox:
    """The messages of one term; ``sent`` is called with each key once it and all before it are acknowledged.

    ``refused`` is called with the name of a queue to another app, and with Kafka's words, when Kafka has not let this one send there for a while, and
    again for what is sent there after that.
    """

    def __init__(
        self,
        producer: Producer,
        sent: Callable[[bytes], None],
        refused: Callable[[str, str], None],
    ) -> None:
        self._producer = producer
        self._sent = sent
        self._refused = refused
        self._queues: dict[str, _Queue] = {}

    def send(self, key: bytes, message: Outgoing) -> None:
        """Send a message behind those of its queue, or in the place of the one that was to be sent under its key.

        What has arrived meanwhile, before others that wait, has no place to be taken.
        """
        name = entry_parts(key)[0]
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name)
        queue.has_news = True
        if key in queue.entries:
            queue.entries[key] = message
        elif not queue.entries or key > next(reversed(queue.entries)):
            queue.entries[key] = message
            if queue.broken_at is None:
                self._produce(queue, key, message)

    def retry(self) -> None:
        """Send the queues again that failed a while ago; call it now and then."""
        for queue in self._queues.values():
            if queue.broken_at is not None and not queue.in_flight and monotonic() > queue.broken_at + _RETRY_SECONDS:
                queue.broken_at = None
                # A receiver of commands ignores what came behind a gap, so what arrived out of order is sent again too.
                queue.acknowledged.clear()
                for key, message in queue.entries.items():
                    if not self._produce(queue, key, message):
                        break

    def _produce(self, queue: _Queue, key: bytes, message: Outgoing) -> bool:
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
        except (BufferError, KafkaException) as error:
            # A topic that is not there, for one: it may be created any day, and other queues must not suffer meanwhile.
            self._broken(queue, error)
            return False
        queue.in_flight += 1
        return True

    def _delivered(self, queue: _Queue, key: bytes, error: Any) -> None:
        if error is not None:
            self._broken(queue, error)
            return
        queue.refused_since = None
        queue.acknowledged.add(key)
        while queue.broken_at is None and queue.entries and (first := next(iter(queue.entries))) in queue.acknowledged:
            del queue.entries[first]
            queue.acknowledged.discard(first)
            self._sent(first)

    def _broken(self, queue: _Queue, error: object) -> None:
        queue.broken_at = monotonic()
        cause = error.args[0] if isinstance(error, KafkaException) else error
        if isinstance(cause, KafkaError) and cause.code() in _NOT_ALLOWED and is_foreign(queue.name):
            queue.refused_since = queue.refused_since or queue.broken_at
            if queue.has_news and queue.broken_at >= queue.refused_since + _REFUSED_SECONDS:
                queue.has_news = False
                self._refused(queue.name, cause.str())
        if queue.broken_at > queue.silent_until:
            queue.silent_until = queue.broken_at + _SAY_EVERY_SECONDS
            waiting = len(queue.entries)
            _log.warning(
                "cannot send to %s: %s; the messages that wait for it (%d now) are tried again until it takes them",
                queue.name,
                error,
                waiting,
            )
