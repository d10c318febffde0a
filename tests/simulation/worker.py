"""A simulated worker: one life of a process, on a machine whose stores outlive it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from stream_engine.core.functions.match import Matched, Wish, match
from stream_engine.core.functions.pausing import hold_back
from stream_engine.core.partition.intake import leader_source
from stream_engine.core.partition.room import Room
from stream_engine.core.partition.turn import Function, Rules
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.offering import LaneOffers
from stream_engine.core.routing.route import Router
from tests.simulation.again import Plan, Times
from tests.simulation.asking import Asking
from tests.simulation.execution import Machine
from tests.simulation.groups import Group, Member
from tests.simulation.kafka import Producer, SimKafka, Topics
from tests.simulation.keeping import Keeper
from tests.simulation.leading import Leading, Site
from tests.simulation.operating import Board, Reader
from tests.simulation.outside import APP, Outside
from tests.simulation.programs import SimFunction
from tests.simulation.referee import Referee
from tests.simulation.routing import Depot, Routing
from tests.simulation.schedule import MILLISECOND, Faults, Host
from tests.simulation.store import SimStore


@dataclass
class Disk:
    """A machine's stores, by partition, and how wrong its clock is, in milliseconds."""

    name: str
    skew: int
    stores: dict[int, SimStore] = field(default_factory=dict)
    taken: bool = False


@dataclass(frozen=True)
class Parts:
    """What a worker is made of; a test of the tests puts a broken part in."""

    leading: type[Leading] = Leading
    router: type[Router] = Router
    lane: type[LaneOffers] = LaneOffers
    store: type[SimStore] = SimStore
    keeper: type[Keeper] = Keeper
    asking: type[Asking] = Asking


@dataclass(frozen=True)
class Cluster:
    """What all workers share."""

    kafka: SimKafka
    topics: Topics
    referee: Referee
    faults: Faults
    times: Times
    leaders: Group
    parts: Parts
    checkpoint_bytes: int
    places: int
    record_bytes: int
    outside: Outside
    board: Board


class Worker:
    """One life of a worker process."""

    def __init__(self, name: str, cluster: Cluster, disk: Disk, functions: dict[str, SimFunction]) -> None:
        self.disk = disk
        self.host = Host(cluster.kafka.schedule, name, cluster.faults)
        self.functions = functions
        self.on_gone: Callable[[], None] = lambda: None
        self._cluster = cluster
        self._room = Room(cluster.places)
        self._leading: dict[int, Leading] = {}
        self._leaving: dict[int, Leading] = {}
        self._routing: dict[tuple[str, int], Routing] = {}
        logs, routers = (cluster.kafka, cluster.topics), cluster.times.live.group
        self._asking = cluster.parts.asking(self.host, logs, routers, self._producer(), self.clock)
        disk.taken = True
        self._reader = Reader(self.host, cluster.board, self._follow)
        self._takes_part: set[str] = set()
        self.host.on_silence = self._fall_silent
        self.host.on_crash = self._crashed
        cluster.leaders.join(Member(self.host, self._lead))
        self.take_part()

    def take_part(self) -> None:
        """Take part in routing, live and for the replays that go on, as far as it is known which these are."""
        paused, cancelled = self._reader.halted.now
        for plan in self._cluster.times.plans:
            name = plan.group.name
            goes_on = name not in paused | cancelled
            if goes_on and name not in self._takes_part:
                self._takes_part.add(name)
                plan.group.join(Member(self.host, partial(self._route, plan)))
            elif not goes_on and name in self._takes_part:
                self._takes_part.discard(name)
                self._route(plan, frozenset())
                plan.group.leave(self.host)

    def clock(self) -> int:
        """The machine's clock, which differs from the broker's."""
        return self._cluster.kafka.clock_ms + self.disk.skew

    def _fall_silent(self) -> None:
        self._cluster.leaders.look_at(self.host)
        for plan in self._cluster.times.plans:
            plan.group.look_at(self.host)

    def _crashed(self) -> None:
        self.disk.taken = False
        for routing in self._routing.values():
            routing.stop()
        for leading in [*self._leading.values(), *self._leaving.values()]:
            leading.stop()
        random = self._cluster.kafka.schedule.random
        kind = random.choice(("kept", "newest lost", "disk lost"))
        self._cluster.kafka.schedule.happened(f"store {kind}", self.host.name)
        for store in self.disk.stores.values():
            if kind == "newest lost":
                lost = store.lose_newest(random)
                self._cluster.kafka.schedule.counts["store writes lost"] += lost
            elif kind == "disk lost":
                store.clear()
        self.on_gone()

    def _lead(self, partitions: frozenset[int]) -> None:
        random = self._cluster.kafka.schedule.random
        for partition in sorted(self._leading.keys() - partitions):
            leading = self._leading.pop(partition)
            if random.random() < 0.5:
                leading.stop()
            else:
                self._leaving[partition] = leading
                leading.hand_over(leading.stop)
        for partition in sorted(partitions - self._leading.keys()):
            if partition in self._leaving:
                # Whoever asks for it back finds it as it is; two leaders of one process have one store.
                self._leaving.pop(partition).stop()
            store = self.disk.stores.setdefault(partition, self._cluster.parts.store())
            self._leading[partition] = self._cluster.parts.leading(self._site(), partition, store)

    def _route(self, plan: Plan, partitions: frozenset[int]) -> None:
        name = plan.group.name
        had = {partition for group, partition in self._routing if group == name}
        for partition in had - partitions:
            self._routing.pop((name, partition)).stop()
        for partition in sorted(partitions - had):
            self._routing[name, partition] = Routing(self._depot(plan), partition)

    def _site(self) -> Site:
        cluster = self._cluster
        events = cluster.topics.events
        machine = Machine(
            self.functions, cluster.referee, self.clock, events, cluster.kafka.partitions(events), cluster.outside
        )
        return Site(
            self.host,
            cluster.kafka,
            cluster.topics,
            self._producer,
            cluster.referee,
            machine,
            self._rules,
            cluster.parts.keeper,
            self._room_changed,
            self._reader,
            self._asking.ask,
        )

    def _room_changed(self) -> None:
        """See to it that what is executed stays within the limit, and that all partitions look for room again."""
        running = sum(leading.leader.running for leading in self._leading.values() if leading.leader is not None)
        self._cluster.referee.executes(self.host, running, self._cluster.places)
        random = self._cluster.kafka.schedule.random
        if random.random() < 0.2:
            self._room.busy = True
            self.host.at(random.randrange(1, 20 * MILLISECOND), self._catch_up)
        self._look_for_room()

    def _catch_up(self) -> None:
        self._room.busy = False
        self._look_for_room()

    def _follow(self) -> None:
        self.take_part()
        self._look_for_room()

    def _look_for_room(self) -> None:
        for leading in self._leading.values():
            leading.thread.wake()

    def _depot(self, plan: Plan) -> Depot:
        cluster = self._cluster
        parts = cluster.parts
        shared = cluster.kafka, cluster.topics, self._producer
        return Depot(self.host, *shared, plan, self._match, parts.router, parts.lane)

    def _producer(self) -> Producer:
        return Producer(self._cluster.kafka, self.host, self._cluster.faults.appends)

    def _match(self, event: Event, partitions: int, replay_id: str | None) -> Matched:
        wishes = [
            Wish(function.id, None, function.flow, ())
            for function in self.functions.values()
            if event.name in function.triggers
        ]
        return hold_back(match(wishes, event, partitions, replay_id), self._reader.paused.ids)

    def _rules(self, partition: int) -> Rules:
        kafka, topics = self._cluster.kafka, self._cluster.topics
        functions = {
            function.id: Function(
                function.id,
                function.versions,
                function.on_failure,
                function.flow,
                on_cancel=function.on_cancel,
                timeouts=function.timeouts,
            )
            for function in self.functions.values()
        }
        source = leader_source(kafka.log(topics.journal, partition).topic_id, partition)
        return Rules(
            APP,
            functions,
            kafka.partitions(topics.commands),
            topics.commands,
            source,
            partition,
            control_topic=topics.control,
            checkpoint_bytes=self._cluster.checkpoint_bytes,
            record_bytes=self._cluster.record_bytes,
            room=self._room,
            runs_again=self._cluster.times.runs_again,
            halted=self._reader.halted,
            paused=self._reader.paused,
        )
