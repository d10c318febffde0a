"""The thread that reads the events topic, routes what it reads, and commits behind what Kafka has acknowledged."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from stream_engine.core.routing.passage import Passage
from stream_engine.core.routing.receive import Message
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress
from stream_engine.shell.clients import Callbacks, Haste, fenced, insist, is_fatal, is_misplaced
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.routing.avro_events import UnavailableError
from stream_engine.shell.routing.burial import Burial, Undertaker
from stream_engine.shell.routing.offers import Offers
from stream_engine.shell.routing.route import Route, message_of

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_BATCH = 1_000
_IN_FLIGHT = 8
_COMMIT_SECONDS = 0.5
_REFUSED_SECONDS = 1.0
_UNAVAILABLE_SECONDS = 1.0
_LEAVE_SECONDS = 5.0


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

    def most(self, lanes: int, assigned: Collection[int]) -> int:
        """Return how many messages may be taken now, of so many partitions that are not over among those that are assigned."""

    def took(self, events: int) -> None:
        """Note how many events have been routed."""

    def over(self, consumer: Consumer) -> None:
        """Note that all assigned partitions are over, and committed."""


class _Lane:
    """One assigned partition of the events topic.

    ``joined`` once its beginning is committed; ``failed`` once a message of it could not be produced; it is routed again at ``again_at``.
    ``burial`` takes its dead letters.
    """

    def __init__(self, passage: Passage, burial: Burial) -> None:
        self.passage = passage
        self.burial = burial
        self.committed: Progress | None = None
        self.joined = False
        self.paused = False
        self.failed = False
        self.again_at = 0.0

    @property
    def is_full(self) -> bool:
        """Whether enough of it is on its way for now; what has failed is not."""
        return not self.failed and self.passage.in_flight > _IN_FLIGHT


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
        self._callbacks = Callbacks()
        self._undertaker = Undertaker(failed)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have everything acknowledged and committed that is under way, leave the group, and end the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Route, until told to stop."""
        if self._offers is not None:
            self._offers.begin()
        self._undertaker.start()
        try:
            assign, revoke, lost = map(self._callbacks.of, (self._on_assign, self._on_revoke, self._on_lost))
            self._consumer.subscribe([self._route.events], on_assign=assign, on_revoke=revoke, on_lost=lost)
            while not self._stopping.is_set():
                self._cycle()
            self._undertaker.stop()
            self._producer.flush()
            self._commit(asynchronous=False)
        except UserError as error:
            self._failed(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the routing thread failed")
            self._failed(error)
        finally:
            self._undertaker.stop()
            self._consumer.close()
            if not self._producer.flush(_LEAVE_SECONDS):
                self._route.matching.leave(self)
            if self._offers is not None:
                self._offers.end()

    def _cycle(self) -> None:
        if not self._route.matching.follow(self, partial(self._producer.flush, _POLL_SECONDS)):
            return
        self._look()
        left = sum(not lane.passage.over for lane in self._lanes.values())
        most = min(self._plan.most(left, self._lanes.keys()), _BATCH)
        if not most or any(lane.is_full for lane in self._lanes.values()):
            self._producer.poll(_POLL_SECONDS)
        else:
            first = self._consumer.poll(_POLL_SECONDS)
            more = self._consumer.consume(most - 1, 0) if first is not None and most > 1 else []
            self._callbacks.check()
            if first is not None:
                self._take([first, *more])
        self._haste.make()
        self._producer.poll(0)
        self._undertaker.report()
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
        ends: dict[int, int] = {}
        topic, topic_id = self._route.events, self._route.events_id
        for raw in batch:
            error = raw.error()
            if error is not None and error.name() == "_PARTITION_EOF":
                # Behind the last event there may be a transaction's mark, which nobody is to wait for.
                ends[raw.partition() or 0] = raw.offset() or 0
                continue
            if error is not None:
                _complain(f"{topic}/{raw.partition()}", error)
                continue
            message = message_of(raw, topic, topic_id)
            lanes.setdefault(message.partition, []).append(message)
            ends[message.partition] = message.offset + 1
        for partition, end in ends.items():
            lane = self._lanes.get(partition)
            if lane is not None and lane.joined and not lane.failed:
                self._send(lane, lanes.get(partition, []), end)

    def _send(self, lane: _Lane, messages: list[Message], end: int) -> None:
        take = self._route.receive
        try:
            received = [(message, take(message)) for message in messages]
        except UnavailableError as error:
            lane.failed = True
            _log.warning("routing waits: %s", error)
            self._producer.poll(_UNAVAILABLE_SECONDS)
            return
        for router, routed in lane.passage.route(received, end, self._route.match):
            acknowledged = partial(router.acknowledged, routed.ticket)
            self._plan.took(routed.events)
            self._produce(lane, routed.commands, acknowledged)
            if routed.dead_letters:
                buried = partial(_buried, lane, acknowledged, len(routed.dead_letters))
                self._undertaker.bury(lane.burial, routed.dead_letters, buried)

    def _produce(self, lane: _Lane, commands: list[tuple[int, bytes]], acknowledged: Callable[[], None]) -> None:
        def delivered(error: Any, _: Any) -> None:
            if error is None:
                acknowledged()
            else:
                lane.failed = True
                _log.warning("routing: %s; this partition is routed again from its last acknowledged event", error)

        try:
            for partition, value in commands:
                self._producer.produce(self._route.commands, value, None, partition, on_delivery=delivered)
        except BufferError:
            lane.failed = True

    def _mend(self) -> None:
        """Route partitions again whose messages could not be produced; the leaders pass over what did arrive."""
        self._join()
        for partition, lane in self._lanes.items():
            if lane.passage.over and not lane.paused:
                lane.paused = True
                self._consumer.pause([TopicPartition(self._route.events, partition)])
            if lane.failed and monotonic() >= lane.again_at and not self._producer.flush(_POLL_SECONDS):
                self._lanes[partition] = again = self._lane(partition, lane.passage.progress())
                again.joined, again.committed = lane.joined, lane.committed
                again.failed = not _seek(self._consumer, self._route.events, partition, again)

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
            if still and _commit_offsets(self._consumer, self._route, still, asynchronous=asynchronous):
                for partition, progress in still.items():
                    lanes[partition].committed = progress

        self._plan.note(due, noted)
        if not asynchronous:
            self._producer.flush()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._offers is not None:
            self._offers.catch_up(self._stopping)
        what, numbers = f"where {self._route.events} is routed from", [part.partition for part in partitions]
        begins = insist(lambda: self._plan.begin(consumer, numbers), self._stopping, what)
        if begins is None:
            consumer.incremental_assign([])
            return
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
        if not new or not _commit_offsets(self._consumer, self._route, new, asynchronous=False):
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
                lane.failed = not _seek(self._consumer, self._route.events, partition, lane)

    def _lane(self, partition: int, progress: Progress) -> _Lane:
        extent = self._plan.extent(self._route.events, progress)
        offers = None if self._offers is None else self._offers.lane(partition, progress.interests)
        passage = self._route.passage(partition, progress, extent, offers)
        return _Lane(
            passage, Burial(self._route.graveyard, self._route.events, partition, stamped=self._route.source is None)
        )

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


def _buried(lane: _Lane, acknowledged: Callable[[], None], letters: int, done: bool) -> None:  # noqa: FBT001 - a callback
    if not done:
        lane.failed, lane.again_at = True, monotonic() + _REFUSED_SECONDS
    else:
        for _ in range(letters):
            acknowledged()


def _seek(consumer: Consumer, topic: str, partition: int, lane: _Lane) -> bool:
    """Return whether the client reads on from where a lane is; it does not while the group is taking the partition away."""
    offset = lane.passage.progress().offset
    try:
        consumer.seek(TopicPartition(topic, partition, offset))
    except KafkaException as error:
        _log.debug("%s/%d is not read from %d yet: %s", topic, partition, offset, error)
        return False
    return True


def _commit_offsets(consumer: Consumer, route: Route, due: Mapping[int, Progress], *, asynchronous: bool) -> bool:
    """Commit how far partitions are routed, each with its mark; return whether Kafka has not refused it."""
    topic, topic_id = route.events, route.events_id
    marked = [TopicPartition(topic, number, one.offset, one.mark(topic_id)) for number, one in due.items()]
    try:
        if asynchronous:
            consumer.commit(offsets=marked)
        else:
            consumer.commit(offsets=marked, asynchronous=False)
    except KafkaException as error:
        _log.warning("could not commit how far %s is routed: %s", topic, error)
        return False
    return True


def _complain(place: str, error: Any) -> None:
    """Tell of an error that came instead of events of a partition, whose topic and number are its ``place``."""
    topic, _, number = place.rpartition("/")
    if is_misplaced(error):
        raise UserError(
            f"the events of {place} that are to be routed next are not there: {error.str()}. If the topic was created again, start the worker "
            "again; if they expired before they were routed, `stream-engine groups reset APP.router "
            f"--topic {topic}:{number} --to-earliest` goes on with what is left"
        )
    if is_fatal(error):
        raise UserError(fenced(topic, error))
    _log.warning("reading %s: %s", place, error)
