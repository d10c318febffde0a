"""Tells history what a term decided, and keeps account of how far the history topic has acknowledged it."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer

from stream_engine.core.partition.change import Told
from stream_engine.core.records.journal import Mark
from stream_engine.shell.clock import monotonic
from stream_engine.shell.history.codec import encode

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class _Group:
    """What one journal record tells."""

    __slots__ = ("failed_at", "mark", "remaining", "told")

    def __init__(self, told: Told) -> None:
        self.told = told
        self.mark = told.mark
        self.remaining = 0
        self.failed_at: float | None = None


class Teller:
    """The tellings of one term, in journal order; ``told`` is called with the mark up to which all have arrived.

    Attributes:
        untold: how many records the topic has not acknowledged.
    """

    def __init__(self, producer: Producer, topic: str, partition: int, told: Callable[[Mark], None]) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._told = told
        self._groups: deque[_Group] = deque()
        self.untold = 0

    def tell(self, told: Told) -> None:
        """Tell what a journal record says."""
        group = _Group(told)
        self._groups.append(group)
        self.untold += len(told.records)
        self._produce(group)
        if not told.records:
            self._settle()

    def retry(self) -> None:
        """Tell again what failed a while ago; repeats carry the same ids. Call it now and then."""
        for group in self._groups:
            if group.failed_at is not None and not group.remaining and monotonic() > group.failed_at + _RETRY_SECONDS:
                group.failed_at = None
                self._produce(group)

    def _produce(self, group: _Group) -> None:
        def delivered(error: Any, _: Any) -> None:
            group.remaining -= 1
            if error is not None:
                self._failed(group, error)
            elif not group.remaining:
                self._settle()

        produce, topic, partition = self._producer.produce, self._topic, self._partition
        for key, value in encode(group.told, partition):
            try:
                produce(topic, value, key, partition, on_delivery=delivered)
                group.remaining += 1
            except BufferError as error:
                self._failed(group, error)
                return

    def _failed(self, group: _Group, error: object) -> None:
        if group.failed_at is None:
            _log.warning("could not write to %s: %s; it will be written again", self._topic, error)
        group.failed_at = monotonic()

    def _settle(self) -> None:
        mark = None
        while self._groups and not self._groups[0].remaining and self._groups[0].failed_at is None:
            group = self._groups.popleft()
            self.untold -= len(group.told.records)
            mark = group.mark
        if mark is not None:
            self._told(mark)
