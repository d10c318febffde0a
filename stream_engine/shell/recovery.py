"""The thread that reads journals for partitions that are being taken over."""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from confluent_kafka import Consumer, Message, TopicPartition

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_BATCH = 1_000

Replay = Callable[[int, bytes], None]


class Recovery(threading.Thread):
    """Reads ranges of the journal, and hands each record over on the leaders' thread, in order."""

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        call: Callable[[Callable[[], None]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="recovery", daemon=True)
        self._consumer = consumer
        self._topic = topic
        self._call = call
        self._failed = failed
        self._requests: SimpleQueue[tuple[int, range, Replay]] = SimpleQueue()
        self._reading: dict[int, tuple[int, Replay]] = {}
        self._stopping = threading.Event()

    def read(self, partition: int, offsets: range, replay: Replay) -> None:
        """Read a range of a partition's journal; may be called from any thread. A later request replaces an earlier one."""
        self._requests.put((partition, offsets, replay))

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Read what is asked for, until told to stop."""
        try:
            while not self._stopping.is_set():
                self._accept(block=not self._reading)
                if self._reading:
                    first = self._consumer.poll(_POLL_SECONDS)
                    if first is not None:
                        self._hand_over([first, *self._consumer.consume(_BATCH, 0)])
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that reads journals failed")
            self._failed(error)
        finally:
            self._consumer.close()

    def _accept(self, *, block: bool) -> None:
        try:
            partition, offsets, replay = self._requests.get(block, _POLL_SECONDS)
        except Empty:
            return
        if partition in self._reading:
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
        self._reading[partition] = (offsets[-1], replay)
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, offsets[0])])

    def _hand_over(self, messages: list[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                _log.warning("reading %s: %s", self._topic, error)
                continue
            partition, offset, value = message.partition(), message.offset(), message.value()
            assert partition is not None
            assert offset is not None
            last, replay = self._reading.get(partition, (-1, None))
            if replay is None or offset > last:
                continue
            self._replay(replay, offset, value or b"")
            if offset == last:
                del self._reading[partition]
                self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def _replay(self, replay: Replay, offset: int, value: bytes) -> None:
        self._call(lambda: replay(offset, value))
