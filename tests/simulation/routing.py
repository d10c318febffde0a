"""One partition of the events topic that a group has assigned to a simulated worker: received, routed, committed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from stream_engine.core.receive import Message, receive
from stream_engine.core.route import Match, Routed, Router
from tests.simulation.groups import Group
from tests.simulation.kafka import Draft, Producer, Report, SimKafka, Stored, Topics
from tests.simulation.schedule import MILLISECOND, Body, Host, Thread


@dataclass(frozen=True)
class Depot:
    """What a router finds around it in its process."""

    host: Host
    kafka: SimKafka
    topics: Topics
    producer: Callable[[], Producer]
    group: Group
    match: Match
    router: Callable[[str, int, int, int], Router]


@dataclass
class _Term:
    """One router from its first offset on, until something failed."""

    router: Router
    producer: Producer
    position: int
    failed: bool = False
    committed: int = field(default=-1)


class Routing:
    """Routes one partition, from the committed offset on, again after every failure."""

    def __init__(self, depot: Depot, partition: int) -> None:
        self._depot = depot
        self._partition = partition
        self._random = depot.kafka.schedule.random
        self._log = depot.kafka.log(depot.topics.events, partition)
        self._log.watch(self._arrived)
        self.thread = Thread(depot.host, self._run())

    def stop(self) -> None:
        """Give up the partition."""
        self._log.unwatch(self._arrived)
        self.thread.end()

    def _arrived(self, _: Stored) -> None:
        self._depot.host.do(self.thread.wake)

    def _run(self) -> Body:
        while True:
            yield from self._term()
            self._depot.host.at(self._random.randrange(1, 10 * MILLISECOND), self.thread.wake)
            yield None

    def _term(self) -> Body:
        depot, partition = self._depot, self._partition
        start = depot.group.committed.get(partition, (0, ""))[0]
        partitions = depot.kafka.partitions(depot.topics.commands)
        router = depot.router(self._log.topic_id, partition, start, partitions)
        term = _Term(router, depot.producer(), start, committed=start)
        while not term.failed:
            if term.position < self._log.end and router.in_flight < 3:
                yield from self._route(term)
            elif router.floor > term.committed and self._random.random() < 0.7:
                term.committed = router.floor
                # Refused: another member has the partition, or had it. Whatever it did, the committed offset says so.
                term.failed = not depot.group.commit(depot.host, partition, router.floor)
                yield "router commit"
            elif router.floor == term.committed:
                yield None
            else:
                yield "router idle"

    def _route(self, term: _Term) -> Body:
        depot = self._depot
        end = min(self._log.end, term.position + self._random.randrange(1, 5))
        batch = [self._message(stored) for stored in self._log.records[term.position : end]]
        received = [(message, receive(message, {})) for message in batch]
        routed = term.router.route(received, end, depot.match)
        term.position = end
        yield "routed"
        for partition, raw in routed.commands:
            self._produce(term, routed, (depot.topics.commands, partition), Draft(raw))
            yield "route produced"
        for dead in routed.dead_letters:
            message, reason = dead.message, dead.rejection.reason
            headers = (("reason", reason.encode()), ("origin", f"{message.partition}/{message.offset}".encode()))
            self._produce(term, routed, (depot.topics.dead_letters, 0), Draft(message.value, message.key, headers))
            yield "dead letter produced"

    def _produce(self, term: _Term, routed: Routed, place: tuple[str, int], draft: Draft) -> None:
        def reported(report: Report) -> None:
            if term.failed:
                return
            if report.ok:
                term.router.acknowledged(routed.ticket)
            else:
                term.failed = True
            self.thread.wake()

        term.producer.append(*place, draft, reported)

    def _message(self, stored: Stored) -> Message:
        return Message(
            self._depot.topics.events,
            self._log.topic_id,
            self._partition,
            stored.offset,
            stored.timestamp,
            stored.key,
            stored.value,
            stored.headers,
        )
