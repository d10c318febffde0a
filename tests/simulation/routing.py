"""One partition of the events topic that a group has assigned to a simulated worker: received, routed, committed."""

from collections.abc import Callable
from dataclasses import dataclass

from stream_engine.core.offering import LaneOffers
from stream_engine.core.receive import receive
from stream_engine.core.route import Live, Match, Routed, Router
from tests.simulation.groups import Group
from tests.simulation.kafka import Draft, Producer, Report, SimKafka, Stored, Topics, message_of
from tests.simulation.scanning import Scanning
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
    router: type[Router]
    lane: type[LaneOffers]


@dataclass
class _Term:
    """One router from its first offset on, until something failed."""

    router: Router
    producer: Producer
    position: int
    lane: LaneOffers
    scanning: Scanning
    committed: tuple[int, str]
    failed: bool = False


class Routing:
    """Routes one partition, from the committed offset on, again after every failure."""

    def __init__(self, depot: Depot, partition: int) -> None:
        self._depot = depot
        self._partition = partition
        self._random = depot.kafka.schedule.random
        self._log = depot.kafka.log(depot.topics.events, partition)
        self._control = depot.kafka.log(depot.topics.control, 0)
        self._scanning: Scanning | None = None
        for log in (self._log, self._control):
            log.watch(self._arrived)
        self.thread = Thread(depot.host, self._run())

    def stop(self) -> None:
        """Give up the partition."""
        for log in (self._log, self._control):
            log.unwatch(self._arrived)
        self.thread.end()
        if self._scanning is not None:
            self._scanning.thread.end()

    def _arrived(self, _: Stored) -> None:
        self._depot.host.do(self.thread.wake)

    def _run(self) -> Body:
        while True:
            yield from self._term()
            self._depot.host.at(self._random.randrange(1, 10 * MILLISECOND), self.thread.wake)
            yield None

    def _term(self) -> Body:
        depot, partition = self._depot, self._partition
        start, done = depot.group.committed.get(partition, (0, ""))
        partitions = depot.kafka.partitions(depot.topics.commands)
        lane = depot.lane(depot.topics.events, partition, int(done or 0))
        if self._scanning is not None:
            self._scanning.thread.end()
        self._scanning = Scanning(depot.host, depot.kafka, depot.topics, depot.producer(), lane)
        router = depot.router(self._log.topic_id, partition, start, partitions, live=Live(offers=lane))
        term = _Term(router, depot.producer(), start, lane, self._scanning, (start, done))
        # What was asked for before has to be known before anything is routed.
        term.scanning.learn(router.position)
        yield "router caught up"
        while not term.failed:
            if term.scanning.behind and self._random.random() < 0.3:
                term.scanning.learn(router.position)
                yield "router learnt"
            elif term.position < self._log.end and router.in_flight < 3:
                yield from self._route(term)
            elif self._progress(term) != term.committed and self._random.random() < 0.7:
                term.committed = self._progress(term)
                # Refused: another member has the partition, or had it. Whatever it did, the committed offset says so.
                term.failed = not depot.group.commit(depot.host, partition, *term.committed)
                yield "router commit"
            elif self._progress(term) == term.committed and not term.scanning.behind:
                yield None
            else:
                yield "router idle"

    def _progress(self, term: _Term) -> tuple[int, str]:
        return term.router.floor, str(term.lane.done)

    def _route(self, term: _Term) -> Body:
        depot = self._depot
        end = min(self._log.end, term.position + self._random.randrange(1, 5))
        records = self._log.records[term.position : end]
        batch = [message_of(depot.topics.events, self._log, self._partition, stored) for stored in records]
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
