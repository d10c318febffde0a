"""The thread that reads the events topic, routes what it reads, and commits behind what Kafka has acknowledged."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from stream_engine.core.caused import Place
from stream_engine.core.dead_letter import headers_of
from stream_engine.core.passage import Passage
from stream_engine.core.receive import Message
from stream_engine.core.replay import Extent
from stream_engine.core.rewind import Progress
from stream_engine.core.route import DeadLetter, Routed
from stream_engine.shell.avro_events import UnavailableError
from stream_engine.shell.clients import Haste, fenced, is_fatal
from stream_engine.shell.clock import monotonic
from stream_engine.shell.dead_letters import Grave
from stream_engine.shell.errors import UserError
from stream_engine.shell.offers import Offers
from stream_engine.shell.route import Route, message_of

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_BATCH = 1_000
_IN_FLIGHT = 8
_COMMIT_SECONDS = 0.5
_UNAVAILABLE_SECONDS = 1.0


class Plan(Protocol):
    """Where partitions are routed from, at which pace, and who is to know how far they have come; for the routing thread."""

    def begin(self, consumer: Consumer, partitions: Iterable[int]) -> dict[int, Progress]:
        """Return from where partitions are routed that the group assigns."""

    def extent(self, topic: str, progress: Progress) -> Extent | None:
        """Return what belongs to the replay that a partition is in, if it is in one."""

    def note(self, progress: Mapping[int, Progress], noted: Callable[[], None]) -> None:
        """Have it written down how far partitions are routed, and call ``noted`` then; only then the offsets are committed."""

    def joined(self, progress: Mapping[int, Progress]) -> None:
        """Note that the first commit of partitions is done, and written down."""

    def most(self, lanes: int) -> int:
        """Return how many messages may be taken now, of so many partitions that are not over."""

    def took(self, events: int) -> None:
        """Note how many events have been routed."""

    def over(self, consumer: Consumer) -> None:
        """Note that all assigned partitions are over, and committed."""


class _Lane:
    """One assigned partition of the events topic.

    ``joined`` once its beginning is committed; ``failed`` once a message of it could not be produced; ``buried`` says what had been buried
    when it first mattered.
    """

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.buried: frozenset[Grave] | None = None
        self.committed: Progress | None = None
        self.joined = False
        self.paused = False
        self.failed = False


class Routing(threading.Thread):
    """Routes the partitions of the events topic that the group assigns; with ``offers``, also to those who wait for events."""

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        route: Route,
        plan: Plan,
        failed: Callable[[BaseException], None],
        *,
        offers: Offers | None = None,
    ) -> None:
        super().__init__(name=f"routing {route.events}", daemon=True)
        self.assigned = threading.Event()
        self._consumer = consumer
        self._producer = producer
        self._route = route
        self._plan = plan
        self._failed = failed
        self._offers = offers
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
        if self._offers is not None:
            self._offers.begin()
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
            if self._offers is not None:
                self._offers.end()

    def _cycle(self) -> None:
        self._look()
        most = min(self._plan.most(sum(not lane.passage.over for lane in self._lanes.values())), _BATCH)
        if not most or any(lane.passage.in_flight > _IN_FLIGHT for lane in self._lanes.values()):
            self._producer.poll(_POLL_SECONDS)
        else:
            first = self._consumer.poll(_POLL_SECONDS)
            if first is not None:
                self._take([first, *(self._consumer.consume(most - 1, 0) if most > 1 else ())])
        self._haste.make()
        self._producer.poll(0)
        self._mend()
        if monotonic() > self._commit_at:
            self._commit_at = monotonic() + _COMMIT_SECONDS
            self._commit(asynchronous=True)
            if self._lanes and all(lane.passage.over for lane in self._lanes.values()):
                self._plan.over(self._consumer)

    def _look(self) -> None:
        if self._offers is not None:
            self._offers.look({partition: lane.passage.position for partition, lane in self._lanes.items()})

    def _take(self, batch: list[KafkaMessage]) -> None:
        self._look()  # some may be of a partition that came with them
        lanes: dict[int, list[Message]] = {}
        topic, topic_id = self._route.events, self._route.events_id
        for raw in batch:
            error = raw.error()
            if error is not None:
                _complain(topic, error)
                continue
            message = message_of(raw, topic, topic_id)
            lanes.setdefault(message.partition, []).append(message)
        for partition, messages in lanes.items():
            lane = self._lanes.get(partition)
            if lane is not None and lane.joined and not lane.failed:
                self._send(lane, messages)

    def _send(self, lane: _Lane, messages: list[Message]) -> None:
        take = self._route.receive
        try:
            received = [(message, take(message)) for message in messages]
        except UnavailableError as error:
            lane.failed = True
            _log.warning("routing waits: %s", error)
            self._producer.poll(_UNAVAILABLE_SECONDS)
            return
        for router, routed in lane.passage.route(received, messages[-1].offset + 1, self._route.match):
            self._plan.took(routed.events)
            self._produce(lane, routed, partial(router.acknowledged, routed.ticket))

    def _produce(self, lane: _Lane, routed: Routed, acknowledged: Callable[[], None]) -> None:
        def delivered(error: Any, _: Any) -> None:
            if error is None:
                acknowledged()
            else:
                lane.failed = True
                _log.warning("routing: %s; this partition is routed again from its last acknowledged event", error)

        try:
            for partition, value in routed.commands:
                self._producer.produce(self._route.commands, value, None, partition, on_delivery=delivered)
            for letter in routed.dead_letters:
                if self._is_buried(lane, letter):
                    acknowledged()
                else:
                    self._bury(letter, delivered)
        except BufferError:
            lane.failed = True

    def _is_buried(self, lane: _Lane, letter: DeadLetter) -> bool:
        message = letter.message
        if lane.buried is None:
            lane.buried = self._route.buried.since(message.timestamp)
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
        self._join()
        for partition, lane in self._lanes.items():
            if lane.passage.over and not lane.paused:
                lane.paused = True
                self._consumer.pause([TopicPartition(self._route.events, partition)])
            if lane.failed and not self._producer.flush(_POLL_SECONDS):
                self._lanes[partition] = self._lane(partition, lane.passage.progress())
                self._lanes[partition].joined = lane.joined
                self._seek(partition)

    def _seek(self, partition: int) -> None:
        offset = self._lanes[partition].passage.progress().offset
        self._consumer.seek(TopicPartition(self._route.events, partition, offset))

    def _commit(self, *, asynchronous: bool) -> None:
        lanes = {partition: lane for partition, lane in self._lanes.items() if lane.joined}
        due = {
            partition: progress
            for partition, lane in lanes.items()
            if (progress := lane.passage.progress()) != lane.committed
        }
        if not due:
            return

        def noted() -> None:
            still = {partition: due[partition] for partition in due if self._lanes.get(partition) is lanes[partition]}
            if still and self._commit_offsets(still, asynchronous=asynchronous):
                for partition, progress in still.items():
                    lanes[partition].committed = progress

        self._plan.note(due, noted)
        if not asynchronous:
            self._producer.flush()

    def _commit_offsets(self, due: dict[int, Progress], *, asynchronous: bool) -> bool:
        topic, topic_id = self._route.events, self._route.events_id
        marked = [TopicPartition(topic, number, one.offset, one.mark(topic_id)) for number, one in due.items()]
        try:
            if asynchronous:
                self._consumer.commit(offsets=marked)
            else:
                self._consumer.commit(offsets=marked, asynchronous=False)
        except KafkaException as error:
            _log.warning("could not commit how far %s is routed: %s", topic, error)
            return False
        return True

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._offers is not None:
            self._offers.catch_up(self._stopping)
        begins = self._plan.begin(consumer, [part.partition for part in partitions])
        for partition, progress in begins.items():
            self._lanes[partition] = self._lane(partition, progress)
        consumer.incremental_assign(
            [TopicPartition(part.topic, part.partition, begins[part.partition].offset) for part in partitions]
        )
        self._join(seek=False)
        self._haste.note()
        self.assigned.set()

    def _join(self, *, seek: bool = True) -> None:
        """Commit where partitions begin before anything of them is routed: so that a group that began at the end does not begin there again
        after a restart, and a rewind that an operator made is the engine's from here on."""
        new = {partition: lane.passage.progress() for partition, lane in self._lanes.items() if not lane.joined}
        if not new or not self._commit_offsets(new, asynchronous=False):
            return
        done = False

        def noted() -> None:
            nonlocal done
            done = True

        self._plan.note(new, noted)
        self._producer.flush()
        if not done:
            return
        self._plan.joined(new)
        for partition, progress in new.items():
            lane = self._lanes[partition]
            lane.joined, lane.committed = True, progress
            if seek:
                self._seek(partition)

    def _lane(self, partition: int, progress: Progress) -> _Lane:
        extent = self._plan.extent(self._route.events, progress)
        offers = None if self._offers is None else self._offers.lane(partition, progress.interests)
        return _Lane(self._route.passage(partition, progress, extent, offers))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._producer.flush()
        self._commit(asynchronous=False)
        self._haste.note()
        self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for part in partitions:
            self._lanes.pop(part.partition, None)
            if self._offers is not None:
                self._offers.drop(part.partition)
        consumer.incremental_unassign(partitions)


def _complain(topic: str, error: Any) -> None:
    if error.name() in {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"}:
        raise UserError(
            f"the events of {topic} that are to be routed next are not there: {error.str()}. If the topic was created "
            "again, start the worker again; if they expired before they were routed, have its group begin where the topic does"
        )
    if is_fatal(error):
        raise UserError(fenced(topic, error))
    _log.warning("reading %s: %s", topic, error)
