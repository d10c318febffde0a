"""One partition of the events topic that a group has assigned to a simulated worker: received, routed, committed."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from stream_engine.core.routing.callback_event import completions
from stream_engine.core.routing.offering import LaneOffers
from stream_engine.core.routing.passage import Passage
from stream_engine.core.routing.receive import receive
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress
from stream_engine.core.routing.route import Live, Match, Routed, Router
from tests.simulation.again import Plan
from tests.simulation.kafka import Draft, Producer, Report, SimKafka, Stored, Topics, message_of
from tests.simulation.outside import APP, SECRET
from tests.simulation.scanning import Scanning
from tests.simulation.schedule import MILLISECOND, Body, Host, Thread


@dataclass(frozen=True)
class Depot:
    """What a router finds around it in its process."""

    host: Host
    kafka: SimKafka
    topics: Topics
    producer: Callable[[], Producer]
    plan: Plan
    match: Match
    router: type[Router]
    lane: type[LaneOffers]


@dataclass
class _Term:
    """The way through a partition from its first offset on, until something failed; ``stop`` is where a replay ends."""

    passage: Passage
    producer: Producer
    position: int
    stop: int | None
    scanning: Scanning | None
    committed: Progress
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
        self._depot.host.hear(self.thread.wake)

    def _run(self) -> Body:
        while True:
            yield from self._term()
            self._depot.host.at(self._random.randrange(1, 10 * MILLISECOND), self.thread.wake)
            yield None

    def _term(self) -> Body:
        begun = yield from self._begin()
        if begun is None:
            return
        term = self._enter(begun)
        if term.scanning is not None:
            # What was asked for before has to be known before anything is routed.
            term.scanning.learn(term.passage.position)
            yield "router caught up"
        while not term.failed:
            yield from self._go_on(term)

    def _go_on(self, term: _Term) -> Body:
        progress, scanning = term.passage.progress(), term.scanning
        behind = scanning is not None and scanning.behind
        if scanning is not None and behind and self._random.random() < 0.3:
            scanning.learn(term.passage.position)
            yield "router learnt"
        elif term.position < self._end(term) and term.passage.in_flight < 3:
            yield from self._route(term)
        elif progress != term.committed and self._random.random() < 0.7:
            self._depot.plan.note(self._partition, progress)
            yield "progress written"
            term.committed = progress
            # Refused: another member has the partition, or had it. Whatever it did, the committed offset says so.
            if not self._commit(progress):
                term.failed = True
            yield "router commit"
        elif progress == term.committed and not behind:
            yield None
        else:
            yield "router idle"

    def _begin(self) -> Generator[str | None, None, Progress | None]:
        """Find out from where the partition is routed, and write that down; return None if it cannot be committed."""
        plan, partition = self._depot.plan, self._partition
        found = plan.course(partition)
        if found is not None and found.opens is not None:
            plan.open(found.opens)
            yield "rewind written"
        progress = Progress(0, 0, 0) if found is None else found.progress
        if not self._commit(progress):
            return None
        plan.joined(partition, progress)
        yield "beginning committed"
        plan.note(partition, progress)
        yield "beginning written"
        return progress

    def _enter(self, begun: Progress) -> _Term:
        depot, plan = self._depot, self._depot.plan
        if self._scanning is not None:
            self._scanning.thread.end()
            self._scanning = None
        lane = None
        if plan.goes_on:
            lane = depot.lane(depot.topics.events, self._partition, begun.interests)
            self._scanning = Scanning(depot.host, depot.kafka, depot.topics, depot.producer(), lane)
        partitions = depot.kafka.partitions(depot.topics.commands)

        def router(start: int, extent: Extent | None) -> Router:
            topic_id = self._log.topic_id
            live = Live(completions(APP, SECRET, depot.topics.dead_letters), lane)
            return depot.router(topic_id, self._partition, start, partitions, extent, live=live)

        passage = Passage(begun, plan.extent(begun), router, goes_on=plan.goes_on, offers=lane)
        stop = None if plan.goes_on else begun.live
        return _Term(passage, depot.producer(), begun.offset, stop, self._scanning, passage.progress())

    def _commit(self, progress: Progress) -> bool:
        mark = progress.mark(self._log.topic_id)
        return self._depot.plan.group.commit(self._depot.host, self._partition, progress.offset, mark)

    def _end(self, term: _Term) -> int:
        return self._log.end if term.stop is None else min(self._log.end, term.stop)

    def _route(self, term: _Term) -> Body:
        end = min(self._end(term), term.position + self._random.randrange(1, 5))
        records = self._log.records[term.position : end]
        batch = [message_of(self._depot.topics.events, self._log, self._partition, stored) for stored in records]
        received = [(message, receive(message, {})) for message in batch]
        found = term.passage.route(received, end, self._depot.match)
        term.position = end
        yield "routed"
        for router, routed in found:
            yield from self._send(term, router, routed)

    def _send(self, term: _Term, router: Router, routed: Routed) -> Body:
        depot = self._depot

        def produce(place: tuple[str, int], draft: Draft) -> None:
            self._produce(term, lambda: router.acknowledged(routed.ticket), place, draft)

        for partition, raw in routed.commands:
            produce((depot.topics.commands, partition), Draft(raw))
            yield "route produced"
        for dead in routed.dead_letters:
            message, reason = dead.message, dead.rejection.reason
            headers = (("reason", reason.encode()), ("origin", f"{message.partition}/{message.offset}".encode()))
            produce((depot.topics.dead_letters, 0), Draft(message.value, message.key, headers))
            yield "dead letter produced"

    def _produce(self, term: _Term, acknowledged: Callable[[], None], place: tuple[str, int], draft: Draft) -> None:
        def reported(report: Report) -> None:
            if term.failed:
                return
            if report.ok:
                acknowledged()
            else:
                term.failed = True
            self.thread.wake()

        term.producer.append(*place, draft, reported)
