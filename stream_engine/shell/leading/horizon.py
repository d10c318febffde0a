"""The thread that finds out up to when all events are routed, for partitions where waits have come to their ends.

A question looks where the logs of all events end, once for all partitions that ask meanwhile, and is answered when the group that routes has committed as far; see
`stream_engine.core.routing.rewind.routed_to`. Several may be open, because events keep coming.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_engine.core.records.requests import Command
from stream_engine.core.records.wanted import Behind, CaughtUp
from stream_engine.core.routing.rewind import Committed, routed_to
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.coordinators import coordinated
from stream_engine.shell.trouble import ANSWER_SECONDS

_log = logging.getLogger(__name__)
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's
_UNANSWERED: Final = frozenset({"_TIMED_OUT", "_TRANSPORT"})
_LOOK_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 3.0
_REPEAT_SECONDS: Final = 60.0
"""How long nobody is told that lanes are behind, and how often it is logged then."""

_Lane = tuple[str, int]
"""A topic of events and the number of a partition."""


@dataclass
class _Question:
    """What partitions ask: whether all is routed that came before a time, which is known by the ends once they could be looked up."""

    partitions: set[int]
    before: int
    asked_at: float
    ends: dict[_Lane, int] | None = None
    told: bool = False


class Horizon(threading.Thread):
    """Answers partitions that ask up to when all events are routed."""

    def __init__(
        self,
        connect: Callable[[], AdminClient],
        group: str,
        topics: Mapping[str, str],
        tell: Callable[[int, Command, Callable[[object], None]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """``topics`` has the ids of those that the ``group`` routes. ``tell`` sends a command to a partition, and calls what it is given, with the reason, if that fails."""
        super().__init__(name="horizon", daemon=True)
        self._connect = connect
        self._admin = connect()
        self._group = group
        self._topics = topics
        self._tell = tell
        self._failed = failed
        self._asked: SimpleQueue[int | None] = SimpleQueue()
        self._open: list[_Question] = []
        self._log_at = 0.0
        self._stopping = threading.Event()

    def ask(self, partition: int) -> None:
        """Have a partition be told when all is routed that came up to now. From any thread."""
        self._asked.put(partition)

    def stop(self) -> None:
        """End the thread; whoever leads next asks again."""
        self._stopping.set()
        self._asked.put(None)
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Answer, until told to stop."""
        try:
            while not self._stopping.is_set():
                self._take()
                try:
                    self._look()
                except KafkaException as error:
                    self._complain(f"Kafka does not say how far: {error.args[0].str()}")
                    if error.args[0].name() in _UNANSWERED:
                        self._admin = self._connect()
                    self._stopping.wait(_RETRY_SECONDS)
                is_late = bool(self._open) and all(one.told for one in self._open)
                self._stopping.wait(_RETRY_SECONDS if is_late else _LOOK_SECONDS)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that finds out how far events are routed failed")
            self._failed(error)

    def _take(self) -> None:
        """Take who asks; wait for that where no question is open."""
        asking = set() if self._open else {self._asked.get()}
        while True:
            try:
                asking.add(self._asked.get_nowait())
            except Empty:
                break
        asking.discard(None)
        if asking:
            self._open.append(_Question({one for one in asking if one is not None}, now_ms(), monotonic()))

    def _look(self) -> None:
        for question in self._open:
            if question.ends is None:
                question.ends = self._ends()
        if not self._open:
            return
        routed = self._routed()
        for question in list(self._open):
            left = next((lane for lane, end in (question.ends or {}).items() if routed.get(lane, 0) < end), None)
            if left is None:
                self._open.remove(question)
                self._send(question, CaughtUp(question.before))
            else:
                end = (question.ends or {})[left]
                self._complain(f"{left[0]}/{left[1]} is routed up to {routed.get(left, 0)} of {end}")

    def _complain(self, why: str) -> None:
        """Say why questions are open that have been for long."""
        late = [one for one in self._open if monotonic() > one.asked_at + _PATIENCE_SECONDS]
        if late and monotonic() > self._log_at:
            self._log_at = monotonic() + _REPEAT_SECONDS
            _log.warning("waits for events go on beyond their timeouts, until all that came before is routed: %s", why)
        for question in late:
            if not question.told:
                question.told = True
                self._send(question, Behind(question.before))

    def _send(self, question: _Question, command: Command) -> None:
        for partition in question.partitions:
            self._tell(partition, command, partial(self._again, partition))

    def _again(self, partition: int, why: object) -> None:
        _log.debug("partition %d is to be told again how far events are routed: %s", partition, why)
        self.ask(partition)

    def _ends(self) -> dict[_Lane, int]:
        asked: dict[TopicPartition, OffsetSpec] = {}
        for topic in self._topics:
            found = self._admin.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            asked |= {TopicPartition(topic, number): _LATEST for number in found.partitions}
        futures = self._admin.list_offsets(asked, request_timeout=ANSWER_SECONDS)
        return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}

    def _routed(self) -> dict[_Lane, int]:
        found = coordinated(self._admin.list_consumer_group_offsets, [ConsumerGroupTopicPartitions(self._group)])
        return {
            (part.topic, part.partition): routed_to(
                Committed(part.offset, part.metadata or ""), self._topics[part.topic]
            )
            for part in found.topic_partitions
            if part.topic in self._topics and part.error is None
        }
