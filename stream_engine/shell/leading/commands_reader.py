"""The thread that reads the commands topic, and through its group learns which partitions this worker is to lead."""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream_engine.core.partition.change import Take
from stream_engine.core.records.decoding import ForeignError, UnreadableError, decode_commands
from stream_engine.shell.clients import Callbacks, Haste, fenced, is_fatal, is_misplaced
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.leading.leaders import Leaders

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_BATCH = 1_000
_HAND_OVER_SECONDS = 3.0


class CommandsReader(threading.Thread):
    """Feeds `Leaders`. The group's offsets mean nothing: each partition is read from where its state says."""

    def __init__(
        self, consumer: Consumer, topic: str, leaders: Leaders, failed: Callable[[BaseException], None]
    ) -> None:
        super().__init__(name="commands", daemon=True)
        self._consumer = consumer
        self._topic = topic
        self._leaders = leaders
        self._failed = failed
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._beginnings: dict[int, int] = {}
        self._partitions: set[int] = set()
        self._reading: set[int] = set()
        self._joined = False
        self._haste = Haste(consumer, topic)
        self._callbacks = Callbacks()
        self._member: str | None = None
        self._stopping = threading.Event()
        self.beat_at = monotonic()
        """When the thread last did its round; by the monotonic clock, in seconds."""

    def take_from(self, partition: int, offset: int) -> None:
        """Begin to read a partition at an offset; may be called from any thread."""
        self._requests.put(lambda: self._beginnings.update({partition: offset}))

    def hold(self, partition: int, held: bool) -> None:  # noqa: FBT001 - the one thing that it says
        """Stop reading a partition for a while, or go on; may be called from any thread."""
        self._requests.put(lambda: self._hold(partition, held=held))

    def assigned(self) -> set[int] | None:
        """Return the partitions that the group wants this worker to lead; None while it has not joined."""
        return set(self._partitions) if self._joined else None

    def member(self) -> str | None:
        """Return the name by which the group knows this worker; None while it has not joined."""
        return self._member

    def stop(self) -> None:
        """Leave the group and end the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Read, until told to stop."""
        try:
            assign, revoke, lost = map(self._callbacks.of, (self._assign, self._revoke, self._lost))
            self._consumer.subscribe([self._topic], on_assign=assign, on_revoke=revoke, on_lost=lost)
            while not self._stopping.is_set():
                self.beat_at = monotonic()
                self._serve()
                self._begin()
                first = self._consumer.poll(_POLL_SECONDS)
                more = self._consumer.consume(_BATCH, 0) if first is not None else []
                self._callbacks.check()
                self._haste.make()
                if first is not None:
                    self._hand_over([first, *more])
        except UserError as error:
            self._failed(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that reads commands failed")
            self._failed(error)
        finally:
            self._consumer.close()

    def _serve(self) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except Empty:
                return
            request()

    def _hand_over(self, messages: list[Message]) -> None:
        batches: dict[int, list[Take]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._complain(message.partition(), error)
                continue
            partition = message.partition()
            assert partition is not None
            batches.setdefault(partition, []).append(_take(message))
        for partition, takes in batches.items():
            self._leaders.arrived(partition, takes)

    def _complain(self, partition: int | None, error: KafkaError) -> None:
        if partition in self._reading and is_misplaced(error):
            self._leaders.misplaced(partition)
        elif is_fatal(error):
            raise UserError(fenced(self._topic, error))
        else:
            _log.warning("reading %s: %s", self._topic, error)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is read before the leader knows from where. To read from anywhere and seek then loses partitions: a seek
        # that comes while the client still looks for the first position is accepted, and nothing is ever fetched.
        consumer.incremental_assign([])
        for part in partitions:
            self._partitions.add(part.partition)
            self._leaders.assign(part.partition)
        self._joined = True
        self._member = consumer.memberid()
        self._haste.note()

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The next leader is named once this returns.
        until = monotonic() + _HAND_OVER_SECONDS
        for left in [self._leaders.hand_over(part.partition) for part in partitions]:
            left.wait(max(0.0, until - monotonic()))
        self._haste.note()
        self._lose(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The group has gone on without this member, which has to join again before it is to lead anything.
        self._joined = False
        self._lose(consumer, partitions)

    def _lose(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign([part for part in partitions if part.partition in self._reading])
        for part in partitions:
            self._reading.discard(part.partition)
            self._partitions.discard(part.partition)
            self._beginnings.pop(part.partition, None)
            self._leaders.revoke(part.partition)

    def _begin(self) -> None:
        """Begin to read where that is wanted; what the client cannot do yet is tried again in the next cycle."""
        for partition, offset in list(self._beginnings.items()):
            if partition not in self._partitions:
                # Revoked since the leader asked.
                del self._beginnings[partition]
                continue
            part = TopicPartition(self._topic, partition, offset)
            try:
                if partition in self._reading:
                    self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
                    self._reading.discard(partition)
                self._consumer.incremental_assign([part])
                self._reading.add(partition)
                # It may have been held by the leader of an earlier term, and that outlives the assignment.
                self._consumer.resume([part])
            except KafkaException as error:
                _log.debug("partition %d cannot be read from %d yet: %s", partition, offset, error)
            else:
                del self._beginnings[partition]

    def _hold(self, partition: int, *, held: bool) -> None:
        part = TopicPartition(self._topic, partition)
        if partition in self._reading and partition not in self._beginnings:
            (self._consumer.pause if held else self._consumer.resume)([part])


def _take(message: Message) -> Take:
    offset, value = message.offset(), message.value() or b""
    assert offset is not None
    try:
        return Take(offset, decode_commands(value), len(value))
    except ForeignError as error:
        _log.error("%s/%s: offset %d is passed over: %s", message.topic(), message.partition(), offset, error)
        return Take(offset, None)
    except UnreadableError as error:
        raise UserError(f"{message.topic()}/{message.partition()}, offset {offset}: {error}") from error
