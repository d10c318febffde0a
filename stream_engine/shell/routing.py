"""The thread that reads the events topic, routes what it reads, and commits behind what Kafka has acknowledged."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from stream_engine.core.caused import Place
from stream_engine.core.dead_letter import headers_of
from stream_engine.core.envelope import Avro, Headers
from stream_engine.core.receive import Check, Message, receive
from stream_engine.core.route import DeadLetter, Match, Router
from stream_engine.shell.avro_events import UnavailableError
from stream_engine.shell.clients import Haste, offsets
from stream_engine.shell.clock import monotonic
from stream_engine.shell.dead_letters import Buried, Grave
from stream_engine.shell.errors import UserError

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_BATCH = 1_000
_IN_FLIGHT = 8
_COMMIT_SECONDS = 0.5
_UNAVAILABLE_SECONDS = 1.0


@dataclass(frozen=True)
class Route:
    """Where events come from and go to, and what they are judged by. ``earliest``: where a group without offsets begins."""

    events: str
    events_id: str
    commands: str
    partitions: int
    dead_letters: str
    earliest: bool
    match: Match
    checks: dict[str, Check]
    avro: Avro | None = None

    def mark(self) -> str:
        """Return what is committed beside an offset: that it is the engine's, and of which topic of the name it is one."""
        return msgspec.json.encode({"by": "stream-engine", "topic": self.events_id}).decode()

    def is_of_another(self, mark: str | None) -> bool:
        """Return whether an offset with this beside it belongs to a topic that had the name before."""
        try:
            marked = msgspec.json.decode(mark or "", type=_Mark)
        except msgspec.DecodeError:
            return False
        return marked.topic not in {None, self.events_id}


class _Mark(msgspec.Struct):
    """What is committed beside an offset, as far as it is read; the first engines did not name the topic."""

    topic: str | None = None


class _Lane:
    """One assigned partition of the events topic.

    ``failed`` once a message of it could not be produced; ``buried`` says what had been buried when it first mattered.
    """

    def __init__(self, router: Router) -> None:
        self.router = router
        self.buried: frozenset[Grave] | None = None
        self.committed = -1
        self.failed = False


class Routing(threading.Thread):
    """Routes the partitions of the events topic that the group assigns."""

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        route: Route,
        buried: Buried,
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="routing", daemon=True)
        self.assigned = threading.Event()
        self._consumer = consumer
        self._producer = producer
        self._route = route
        self._buried = buried
        self._failed = failed
        self._lanes: dict[int, _Lane] = {}
        self._commit_at = 0.0
        self._haste = Haste(consumer, route.events)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have everything acknowledged and committed that is under way, leave the group, and end the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Route, until told to stop."""
        try:
            self._consumer.subscribe(
                [self._route.events], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stopping.is_set():
                self._cycle()
            self._producer.flush()
            self._commit(asynchronous=False)
        except UserError as error:
            self._failed(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the routing thread failed")
            self._failed(error)
        finally:
            self._consumer.close()

    def _cycle(self) -> None:
        if any(lane.router.in_flight > _IN_FLIGHT for lane in self._lanes.values()):
            self._producer.poll(_POLL_SECONDS)
        else:
            first = self._consumer.poll(_POLL_SECONDS)
            if first is not None:
                self._take([first, *self._consumer.consume(_BATCH, 0)])
        self._haste.make()
        self._producer.poll(0)
        self._mend()
        if monotonic() > self._commit_at:
            self._commit_at = monotonic() + _COMMIT_SECONDS
            self._commit(asynchronous=True)

    def _take(self, batch: list[KafkaMessage]) -> None:
        lanes: dict[int, list[Message]] = {}
        topic, topic_id = self._route.events, self._route.events_id
        for raw in batch:
            error = raw.error()
            if error is not None:
                self._complain(error)
                continue
            message = Message(
                topic,
                topic_id,
                raw.partition() or 0,
                raw.offset() or 0,
                raw.timestamp()[1],
                raw.key(),
                raw.value(),
                _headers(raw),
            )
            lanes.setdefault(message.partition, []).append(message)
        for partition, messages in lanes.items():
            lane = self._lanes.get(partition)
            if lane is not None and not lane.failed:
                self._send(lane, messages)

    def _complain(self, error: Any) -> None:
        if error.name() in {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"}:
            raise UserError(
                f"the events of {self._route.events} that are to be routed next are not there: {error.str()}. If the topic was created "
                "again, start the worker again; if they expired before they were routed, have its group begin where the topic does"
            )
        _log.warning("reading %s: %s", self._route.events, error)

    def _send(self, lane: _Lane, messages: list[Message]) -> None:
        checks, avro = self._route.checks, self._route.avro
        try:
            received = [(message, receive(message, checks, avro)) for message in messages]
        except UnavailableError as error:
            lane.failed = True
            _log.warning("routing waits: %s", error)
            self._producer.poll(_UNAVAILABLE_SECONDS)
            return
        routed = lane.router.route(received, messages[-1].offset + 1, self._route.match)

        def delivered(error: Any, _: Any) -> None:
            if error is None:
                lane.router.acknowledged(routed.ticket)
            else:
                lane.failed = True
                _log.warning("routing: %s; this partition is routed again from its last acknowledged event", error)

        try:
            for partition, value in routed.commands:
                self._producer.produce(self._route.commands, value, None, partition, on_delivery=delivered)
            for letter in routed.dead_letters:
                if self._is_buried(lane, letter):
                    lane.router.acknowledged(routed.ticket)
                else:
                    self._bury(letter, delivered)
        except BufferError:
            lane.failed = True

    def _is_buried(self, lane: _Lane, letter: DeadLetter) -> bool:
        message = letter.message
        if lane.buried is None:
            lane.buried = self._buried.since(message.timestamp)
        return Grave(Place(message.topic, message.partition, message.offset), letter.function) in lane.buried

    def _bury(self, letter: DeadLetter, delivered: Callable[[Any, Any], None]) -> None:
        message, rejection = letter.message, letter.rejection
        _log.warning(
            "%s/%d: offset %d %s and goes to %s: %s",
            message.topic,
            message.partition,
            message.offset,
            f"is of no use to {letter.function}" if letter.function else "is no event",
            self._route.dead_letters,
            rejection.detail,
        )
        self._producer.produce(
            self._route.dead_letters,
            message.value,
            message.key,
            headers=headers_of(message, rejection, letter.function),
            on_delivery=delivered,
        )

    def _mend(self) -> None:
        """Route partitions again whose messages could not be produced; the leaders pass over what did arrive."""
        for partition, lane in self._lanes.items():
            if lane.failed and not self._producer.flush(_POLL_SECONDS):
                start = lane.router.floor
                self._consumer.seek(TopicPartition(self._route.events, partition, start))
                self._lanes[partition] = _Lane(self._router(partition, start))

    def _commit(self, *, asynchronous: bool) -> None:
        due = {
            partition: lane.router.floor
            for partition, lane in self._lanes.items()
            if lane.router.floor != lane.committed
        }
        if not due:
            return
        mark = self._route.mark()
        marked = [TopicPartition(self._route.events, partition, offset, mark) for partition, offset in due.items()]
        try:
            if asynchronous:
                self._consumer.commit(offsets=marked)
            else:
                self._consumer.commit(offsets=marked, asynchronous=False)
        except KafkaException as error:
            _log.warning("could not commit how far %s is routed: %s", self._route.events, error)
            return
        for partition, offset in due.items():
            self._lanes[partition].committed = offset

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = [TopicPartition(part.topic, part.partition, self._start(consumer, part)) for part in partitions]
        for part in starts:
            self._lanes[part.partition] = _Lane(self._router(part.partition, part.offset))
        consumer.incremental_assign(starts)
        # Committed at once, so that a group that began at the end does not begin there again after a restart.
        self._commit(asynchronous=True)
        self._haste.note()
        self.assigned.set()

    def _start(self, consumer: Consumer, part: TopicPartition) -> int:
        committed = consumer.committed([part], timeout=30)[0]
        other = self._route.is_of_another(committed.metadata)
        if committed.offset >= 0 and not other:
            return int(committed.offset)
        there = offsets(consumer, part.topic, part.partition)
        if other:
            _log.warning("%s was created again; it is routed from its first event on", part.topic)
        return there.start if other or self._route.earliest else there.stop

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._producer.flush()
        self._commit(asynchronous=False)
        self._haste.note()
        self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for part in partitions:
            self._lanes.pop(part.partition, None)
        consumer.incremental_unassign(partitions)

    def _router(self, partition: int, start: int) -> Router:
        return Router(self._route.events_id, partition, start, self._route.partitions)


def _headers(raw: KafkaMessage) -> Headers:
    headers = raw.headers()
    if not headers:
        return ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in pairs)
