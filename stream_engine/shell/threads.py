"""The threads of a worker: what each is given, and in which order they begin and end."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from confluent_kafka import Consumer, Producer

from stream_engine.core.partition.room import Room
from stream_engine.core.records.journal import WRITES, encode
from stream_engine.core.records.requests import Command, Commands
from stream_engine.core.routing.callback_event import completions
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.execution import Executor
from stream_engine.sdk.slots import Capacity
from stream_engine.shell import clients
from stream_engine.shell.clock import monotonic
from stream_engine.shell.control import Control, ControlFollower, write
from stream_engine.shell.deployment import Deployment
from stream_engine.shell.folder import Folder
from stream_engine.shell.health import Health
from stream_engine.shell.leading.checkpoints import PRODUCER, Checkpoints
from stream_engine.shell.leading.commands_reader import CommandsReader
from stream_engine.shell.leading.horizon import Horizon
from stream_engine.shell.leading.lead import Process
from stream_engine.shell.leading.leaders import Leaders
from stream_engine.shell.leading.pace import Pace
from stream_engine.shell.leading.recovery import Recovery
from stream_engine.shell.leading.rules import leading_by
from stream_engine.shell.leading.standbys import Standbys
from stream_engine.shell.leading.term import Term
from stream_engine.shell.pauses import Follows
from stream_engine.shell.routing.avro_events import avro_decoder
from stream_engine.shell.routing.backfill import Backfill
from stream_engine.shell.routing.bearings import Bearings
from stream_engine.shell.routing.burial import Graveyard
from stream_engine.shell.routing.offers import Offers
from stream_engine.shell.routing.replays import Replays, Tools
from stream_engine.shell.routing.reusing import OfEvents
from stream_engine.shell.routing.route import Route
from stream_engine.shell.routing.router import Routing
from stream_engine.shell.secret import secret_of
from stream_engine.shell.settings import Settings
from stream_engine.shell.stranded import Stranded
from stream_engine.shell.watch import Watch

_log = logging.getLogger(__name__)
_STOP_SECONDS = 10.0
_RETURN_SECONDS = 5.0
_STUCK_SECONDS = 30.0
_UNANSWERED_SECONDS = 20.0


@dataclass(frozen=True)
class Limits:
    """How much a worker takes on. ``drain`` is how long, in seconds, steps in flight may take to end when it stops."""

    runs: int = 10_000
    capacity: Capacity = field(default_factory=Capacity)
    drain: float = 30.0


@dataclass(frozen=True)
class Serving:
    """What a worker's threads serve, and how.

    Attributes:
        name: the process, in the words of history.
        quiet: properties of Kafka clients, by which what troubles them is told once.
        stranded: whom the statistics of clients that are at work all the time are told.
        loop: where the functions of users run.
        failed: called from any thread that cannot go on.
    """

    name: str
    engine: Engine
    settings: Settings
    limits: Limits
    quiet: dict[str, Any]
    stranded: Stranded
    loop: asyncio.AbstractEventLoop
    failed: Callable[[BaseException], None]


class Threads:
    """The threads of a worker, and how they are joined together."""

    def __init__(
        self, serving: Serving, deployment: Deployment, folder: Folder, executor: Executor, control: Control
    ) -> None:
        settings, names, quiet = serving.settings, deployment.names, serving.quiet
        watched, room = serving.stranded.watched, Room(serving.limits.runs)
        self._loop, self._executor = serving.loop, executor
        self._lease = int((serving.limits.drain + _RETURN_SECONDS) * 1_000)
        self._leaders = Leaders(folder.path, room, Pace(serving.loop, executor.perform_all), serving.failed)
        serves = {"client.id": clients.CATALOGUE_MARK + serving.engine.catalogue().digest, **watched(names.commands)}
        commands = clients.member(settings, names.leader_group, **quiet | serves)
        self._reader = CommandsReader(commands, names.commands, self._leaders, serving.failed)
        follows = Follows(names.control, partial(clients.producer, settings, **quiet), self._reader.member)
        self._control = ControlFollower(control, serving.failed, follows.tell)
        connect = partial(clients.admin, settings, **quiet)
        self._watch = Watch(connect, deployment, serving.stranded, serving.failed)
        of_journals = (names.journal, f"where {names.journal} ends")
        reader, asker = (clients.reader(settings, **quiet, **watched(what)) for what in of_journals)
        self._recovery = Recovery(reader, asker, self._watch.logs, self._leaders.call, serving.failed)
        snapshots = partial(clients.producer, settings, **quiet | PRODUCER)
        self._checkpoints = Checkpoints(snapshots, connect, names, self._leaders.call)
        self._standbys = Standbys(
            *(connect, names.leader_group, deployment.logs.partitions, settings.standbys),
            member=self._reader.member,
            follow=self._leaders.follow,
        )
        routes = _routes(serving, deployment, self._control)
        self._routing = [_routing(serving, deployment, self._control, route) for route in routes]
        of_events = OfEvents(settings, names.app, folder.path, self._control.keeps_all)
        self._replays = Replays(_tools(serving, deployment, self._control, routes, room), of_events)
        self._horizon = Horizon(connect, names.router_group, dict(deployment.routed), self._send, serving.failed)
        self._process = Process(
            serving.name,
            clients.producer(settings, **quiet, **watched(f"what goes to {names.journal}")),
            clients.producer(settings, **quiet, **{"linger.ms": 2}, **watched(f"what goes to {names.commands}")),
            names,
            deployment.logs,
            leading_by(serving.engine.rules_functions(), settings.checkpoint_bytes, deployment, room, self._control),
            lambda call: self._control.when_caught_up(lambda: self._leaders.call(call)),
            self._control.deciding,
            self._recovery,
            self._checkpoints,
            self._reader.take_from,
            self._reader.hold,
            self._leaders.note_report,
            self._leaders.wake,
            self._leaders.collect,
            *(self._lend, self._end_term, self._give_back, self._horizon.ask),
        )

    def start(self) -> None:
        """Start all threads."""
        self._control.start()
        self._watch.start()
        self._recovery.start()
        self._checkpoints.start()
        self._horizon.start()
        self._leaders.begin(self._process)
        self._reader.start()
        self._standbys.start()
        for routing in self._routing:
            routing.start()
        self._replays.start()

    def health(self) -> Health:
        """Return whether the threads do their rounds, and whether all that they are to do can be done."""
        for name, beat_at in (("leaders", self._leaders.beat_at), ("commands", self._reader.beat_at)):
            if monotonic() > beat_at + _STUCK_SECONDS:
                stuck = f"its thread {name} has not done a round for {_STUCK_SECONDS:g} s"
                return Health(live=False, ready=False, why=stuck)
        return Health(live=True, ready=not (lacks := self._lacks()), why=lacks)

    def _lacks(self) -> str:
        assigned = self._reader.assigned()
        if assigned is None or not all(routing.assigned.is_set() for routing in self._routing):
            return "it joins the groups of its app"
        recovering = sorted(assigned - self._leaders.leading())
        if recovering:
            return f"{len(recovering)} of its {len(assigned)} partitions are being recovered: {', '.join(map(str, recovering))}"
        if not self._standbys.settled.is_set():
            return "partitions are on their way to it"
        if self._watch.unanswered > _UNANSWERED_SECONDS:
            return f"Kafka has not answered for {_UNANSWERED_SECONDS:g} s"
        return ""

    def stop_routing(self) -> None:
        """Route no more events."""
        self._replays.stop()
        for routing in self._routing:
            routing.stop()

    def hand_over(self) -> None:
        """Give up all partitions, and leave their group."""
        self._standbys.stop()
        self._reader.stop()

    def stop(self) -> None:
        """End all threads, the ones that others feed on last."""
        self.stop_routing()
        self.hand_over()
        self._leaders.stop(_STOP_SECONDS)
        self._horizon.stop()
        self._process.outgoing.flush(_STOP_SECONDS)
        self._recovery.stop()
        self._checkpoints.stop()
        self._watch.stop()
        self._control.stop()

    def _lend(self, term: Term) -> None:
        def lend() -> None:
            self._executor.lend(term, self._lease)
            term.all_lent()

        self._loop.call_soon_threadsafe(lend)

    def _give_back(self, partition: int, command: Command) -> None:
        what = f"partition {partition}: what was lent could not be returned, and is begun again: %s"
        self._send(partition, command, partial(_log.warning, what))

    def _send(self, partition: int, command: Command, failed: Callable[[Any], None]) -> None:
        """Have a command arrive at a partition; ``failed`` is called with the reason if it does not."""

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failed(error)

        topic, value = self._process.names.commands, encode(Commands("", None, [(0, command)], WRITES))
        try:
            self._process.outgoing.produce(topic, value, None, partition, on_delivery=delivered)
        except BufferError as error:
            failed(error)

    def _end_term(self, term: Term) -> None:
        self._loop.call_soon_threadsafe(self._executor.end_term, term)


def _routes(serving: Serving, deployment: Deployment, control: ControlFollower) -> list[Route]:
    """Return how events are routed: the app's own first, and then those of its sources."""
    settings, names, quiet = serving.settings, deployment.names, serving.quiet
    read, produce = partial(clients.reader, settings, **quiet), partial(clients.producer, settings, **quiet)
    own = Route(
        names.events,
        deployment.events_id,
        names.commands,
        deployment.logs.partitions,
        Graveyard(names.dead_letters, names.router_group, read, produce),
        control.match,
        control.matching,
        serving.engine.checks(),
        avro_decoder(settings.schemas),
        completions(names.app, secret_of(control.values) or b"", names.dead_letters),
        routed=tuple(topic for topic, _ in deployment.routed),
    )
    sources = serving.engine.sources
    return [
        own,
        *(replace(own, events=one.topic, events_id=deployment.sources[one.topic], source=one) for one in sources),
    ]


def _routing(serving: Serving, deployment: Deployment, control: ControlFollower, route: Route) -> Routing:
    """Return the thread that routes one topic. All of them are members of one group, so that its offsets are all that there is to rewind."""
    settings, names, quiet = serving.settings, deployment.names, serving.quiet
    read, produce = partial(clients.reader, settings, **quiet), partial(clients.producer, settings, **quiet)
    producer = produce(**serving.stranded.watched(f"what is routed from {route.events}"))
    own = route.events, route.events_id
    topics_routed = [own, *(topic for topic in deployment.routed if topic != own)]
    earliest = settings.start == "earliest"
    bearings = Bearings(topics_routed, names, read, producer, control.values, earliest=earliest)
    known_by = settings.kafka.get("group.instance.id")
    if route.source is not None and known_by is not None:
        quiet = quiet | {"group.instance.id": f"{known_by}/{route.events}"}
    offers = Offers(
        route.events, control, Backfill(route, partial(read, **{"enable.partition.eof": True}), produce, serving.failed)
    )
    to_the_end = {"enable.partition.eof": True}
    consumer = clients.member(
        settings, names.router_group, **quiet, **to_the_end, **serving.stranded.watched(route.events)
    )
    return Routing(consumer, producer, route, bearings, serving.failed, offers=offers)


def _tools(
    serving: Serving, deployment: Deployment, control: ControlFollower, routes: list[Route], room: Room
) -> Tools:
    settings, names, quiet = serving.settings, deployment.names, serving.quiet
    produce = partial(clients.producer, settings, **quiet)

    def connect(replay_id: str) -> tuple[Consumer, Producer]:
        reads, writes = (
            serving.stranded.watched(f"{what} replay {replay_id}") for what in ("the events of", "what is routed by")
        )
        return clients.member(settings, names.replay_group(replay_id), **quiet, **reads), produce(**writes)

    return Tools(
        {route.events_id: route for route in routes},
        connect,
        control.values,
        lambda values: write(produce(), names.control, values),
        lambda: room.free > serving.limits.runs // 2,  # Half of the room is for what is live.
        serving.failed,
    )
