"""The thread that writes snapshots of the state to the state topic, and deletes what nobody needs any more."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream_engine.core.partition.change import Trim
from stream_engine.core.partition.snapshot import Snapshot
from stream_engine.core.records.journal import Checkpoint
from stream_engine.shell.store import DamagedError, StoreError, View, ViewClosedError
from stream_engine.shell.topics import Names

_log = logging.getLogger(__name__)
_ROOM_SECONDS = 0.05
_ANSWER_SECONDS = 30

PRODUCER = {"linger.ms": 5, "compression.type": "lz4", "queue.buffering.max.kbytes": 16 * 1024}
"""What the producer of snapshots has besides the properties of all: nobody waits for it, and it must not fill the memory."""

Done = Callable[[Checkpoint | None], None]


class Checkpoints(threading.Thread):
    """Works for the leaders' thread, on which it has ``done`` called; its own methods may be called from any thread."""

    def __init__(
        self,
        produce: Callable[[], Producer],
        connect: Callable[[], AdminClient],
        names: Names,
        call: Callable[[Callable[[], None]], None],
    ) -> None:
        """``produce`` and ``connect`` make clients: the first ones, and others after these have failed."""
        super().__init__(name="checkpoints", daemon=True)
        self._produce, self._connect = produce, connect
        self._producer, self._admin = produce(), connect()
        self._names = names
        self._call = call
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._stopping = False

    def write(self, partition: int, snapshot: Snapshot, view: View, done: Done) -> None:
        """Write a snapshot; ``done`` gets what names it, or None if any part of it may not have arrived."""
        self._jobs.put(lambda: self._write(partition, snapshot, view, done))

    def trim(self, partition: int, trim: Trim) -> None:
        """Delete what a trim allows to; what fails is made up for by the next one."""
        self._jobs.put(lambda: self._trim(partition, trim))

    def stop(self) -> None:
        """End the thread; a snapshot that is being written is left incomplete."""
        self._stopping = True
        self._jobs.put(None)
        self.join()

    def run(self) -> None:
        """Work, until told to stop."""
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001 - whatever it is, what is said below holds
                # Without checkpoints the logs grow, and that is all: no reason to end a worker that serves.
                _log.exception("a checkpoint failed")

    def _write(self, partition: int, snapshot: Snapshot, view: View, done: Done) -> None:
        offsets: list[int] = []
        troubles: list[str] = []

        def delivered(error: Any, message: Any) -> None:
            offset = None if error is not None else message.offset()
            if error is not None:
                troubles.append(error.str())
            elif offset is None or (offsets and offset <= offsets[-1]):
                troubles.append(f"it was acknowledged at offset {offset}, out of order")
            else:
                offsets.append(offset)

        try:
            count = 0
            for raw in snapshot.records(view.entries()):
                self._put(partition, raw, delivered)
                count += 1
                if troubles or self._stopping:
                    break
            while len(offsets) + len(troubles) < count:
                self._producer.poll(_ROOM_SECONDS)
        except (ViewClosedError, StoreError, DamagedError, KafkaException) as error:
            troubles.append(str(error))
        finally:
            view.close()
        if troubles:
            self._producer = self._produce()
        if troubles or self._stopping:
            _log.info("partition %d: a snapshot is left incomplete: %s", partition, "; ".join(troubles[:1]))
            self._call(lambda: done(None))
            return
        checkpoint = snapshot.named(offsets[0])
        _log.info("partition %d: a snapshot of %d bytes is written", partition, checkpoint.size)
        self._call(lambda: done(checkpoint))

    def _put(self, partition: int, raw: bytes, delivered: Callable[[Any, Any], None]) -> None:
        while True:
            try:
                self._producer.produce(self._names.state, raw, None, partition, on_delivery=delivered)
            except BufferError:
                self._producer.poll(_ROOM_SECONDS)
            else:
                self._producer.poll(0)
                return

    def _trim(self, partition: int, trim: Trim) -> None:
        names = self._names
        starts = {names.journal: trim.journal, names.commands: trim.commands, names.state: trim.state}
        failed = False
        orders = [TopicPartition(topic, partition, start) for topic, start in starts.items() if start > 0]
        for order, future in self._admin.delete_records(orders).items() if orders else ():
            try:
                future.result(_ANSWER_SECONDS)
            except (KafkaException, TimeoutError) as error:
                _log.warning("%s/%d could not be trimmed to offset %d: %s", order.topic, partition, order.offset, error)
                failed = True
        if failed:
            self._admin = self._connect()
