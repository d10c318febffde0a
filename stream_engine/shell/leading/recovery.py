"""The thread that reads journals and snapshots for partitions that are being taken over."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from stream_engine.core.records.origin import Logs
from stream_engine.shell.clients import offsets
from stream_engine.shell.inbox import Inbox
from stream_engine.shell.topics import TopicError

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_BATCH = 1_000
_AHEAD_BYTES = 32 * 1024 * 1024
"""How much may be read and not taken yet: stores are slower to write than logs are to read."""
_ANSWER_SECONDS = 5.0

Place = tuple[str, int]
"""A topic and a partition of it."""

Answered = Callable[[Logs, list[range]], None]


@dataclass(frozen=True)
class Reading:
    """A range of a topic's partition that is to be read: ``take`` gets each offset and value, in order.

    ``failed`` is called instead of going on where the log has been trimmed meanwhile, or Kafka refuses.
    """

    place: Place
    offsets: range
    take: Callable[[int, bytes], None]
    failed: Callable[[str], None]


class Recovery(threading.Thread):
    """Reads for the leaders' thread, on which it has everything called; its own methods may be called from any thread."""

    def __init__(
        self,
        consumer: Consumer,
        asker: Consumer,
        logs: Callable[[], Logs],
        call: Callable[[Callable[[], None]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """``consumer`` reads; while it does, ``asker`` is asked which offsets there are, so that nobody waits for a fetch."""
        super().__init__(name="recovery", daemon=True)
        self._consumer = consumer
        self._asker = asker
        self._logs = logs
        self._call = call
        self._failed = failed
        self._requests = Inbox()
        self._readings: dict[Place, Reading] = {}
        self._stopping = threading.Event()
        # Each is changed by one thread only.
        self._handed = 0
        self._taken = 0

    def ask(self, places: list[Place], answered: Answered, failed: Callable[[str], None]) -> None:
        """Ask which logs of the app there are now, and which offsets each place holds."""
        self._requests.put(lambda: self._ask(places, answered, failed))

    def read(self, reading: Reading) -> None:
        """Read a range that is not empty; a later one of the same place replaces it."""
        self._requests.put(lambda: self._begin(reading))

    def leave(self, place: Place) -> None:
        """Read no more of a place; what has been read already is still handed over."""
        self._requests.put(lambda: self._end(place))

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Do what is asked for, until told to stop."""
        try:
            while not self._stopping.is_set():
                self._accept()
                self._listen()
                if self._readings and not self._is_ahead():
                    first = self._consumer.poll(_POLL_SECONDS)
                    if first is not None:
                        self._hand_over([first, *self._consumer.consume(_BATCH, 0)])
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that reads journals failed")
            self._failed(error)
        finally:
            self._consumer.close()
            self._asker.close()

    def _accept(self) -> None:
        block = not self._readings or self._is_ahead()
        while True:
            try:
                request = self._requests.get(block, _POLL_SECONDS)
            except Empty:
                return
            request()
            block = False

    def _listen(self) -> None:
        """Have the clients tell their news, which only those hear who poll; a client that reads nothing has nothing else to give."""
        self._asker.poll(0)
        if not self._readings:
            self._consumer.poll(0)

    def _ask(self, places: list[Place], answered: Answered, failed: Callable[[str], None]) -> None:
        try:
            logs = self._logs()
            # A client that has been asked has its connection by the time it is to read.
            asked = self._asker if self._readings else self._consumer
            found = [offsets(asked, *place, patience=_ANSWER_SECONDS) for place in places]
        except (KafkaException, TopicError) as error:
            why = str(error) if isinstance(error, TopicError) else error.args[0].str()
            self._call(lambda: failed(f"where the logs begin is not known: {why}"))
        else:
            self._call(lambda: answered(logs, found))

    def _begin(self, reading: Reading) -> None:
        topic, partition = reading.place
        self._end(reading.place)
        self._readings[reading.place] = reading
        self._consumer.incremental_assign([TopicPartition(topic, partition, reading.offsets[0])])

    def _end(self, place: Place) -> None:
        if self._readings.pop(place, None) is not None:
            self._consumer.incremental_unassign([TopicPartition(*place)])

    def _hand_over(self, messages: list[Message]) -> None:
        for message in messages:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            reading = self._readings.get((topic, partition))
            if reading is None:
                continue
            error = message.error()
            if error is not None:
                self._end(reading.place)
                self._fail(reading, f"{topic}/{partition}: {error.str()}")
                continue
            assert offset is not None
            if offset <= reading.offsets[-1]:
                self._take(reading, offset, message.value() or b"")
            if offset >= reading.offsets[-1]:
                self._end(reading.place)

    def _is_ahead(self) -> bool:
        return self._handed - self._taken > _AHEAD_BYTES

    def _take(self, reading: Reading, offset: int, value: bytes) -> None:
        def take() -> None:
            self._taken += len(value)
            reading.take(offset, value)

        self._handed += len(value)
        self._call(take)

    def _fail(self, reading: Reading, why: str) -> None:
        self._call(lambda: reading.failed(why))
