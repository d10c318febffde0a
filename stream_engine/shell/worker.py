"""A worker: the threads that route and lead, and the event loop on which users' functions run."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from confluent_kafka import KafkaException

from stream_engine.core.callback_event import completions
from stream_engine.core.intake import leader_source
from stream_engine.core.pausing import PausedFunctions
from stream_engine.core.records import WRITES, encode
from stream_engine.core.requests import Command, Commands
from stream_engine.core.room import Room
from stream_engine.core.turn import Rules
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.execution import Executor
from stream_engine.sdk.slots import Capacity
from stream_engine.sdk.topics import Topics
from stream_engine.shell import clients, reusing, topics
from stream_engine.shell.avro_events import avro_decoder
from stream_engine.shell.backfill import Backfill
from stream_engine.shell.bearings import Bearings
from stream_engine.shell.checkpoints import PRODUCER, Checkpoints
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.commands_reader import CommandsReader
from stream_engine.shell.control import Control, ControlFollower, publish, write, write_format
from stream_engine.shell.dead_letters import Buried
from stream_engine.shell.deployment import Deployment, deploy, write_down
from stream_engine.shell.errors import UserError
from stream_engine.shell.folder import Folder
from stream_engine.shell.health import Health
from stream_engine.shell.history import schemas
from stream_engine.shell.lead import Process
from stream_engine.shell.leaders import Leaders
from stream_engine.shell.offers import Offers
from stream_engine.shell.pace import Pace
from stream_engine.shell.pauses import Follows
from stream_engine.shell.recovery import Recovery
from stream_engine.shell.replays import Replays, Tools
from stream_engine.shell.route import Route
from stream_engine.shell.routing import Routing
from stream_engine.shell.secret import make_secret, secret_of
from stream_engine.shell.settings import Settings
from stream_engine.shell.standbys import Standbys
from stream_engine.shell.term import Term
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Patience, why
from stream_engine.shell.watch import Watch

_log = logging.getLogger(__name__)
_SWITCH_SECONDS = 0.0005
# Runs come and go by the thousand, and hardly ever in cycles: collecting after every 700 objects costs a fifth of the time,
# and after 50,000 still a tenth.
_COLLECT_AFTER = (200_000, 20, 50)
_READY_POLL_SECONDS = 0.01
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


class Worker:
    """One process that serves an app; `serve` does all of it."""

    def __init__(self, engine: Engine, settings: Settings, limits: Limits, *, activate: bool = False) -> None:
        """Prepare; with ``activate``, events are routed by this worker's functions even if an earlier deploy had the same."""
        self.engine = engine
        self.settings = settings
        self.limits = limits
        self._activate = activate
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._asked = False
        self._failure: BaseException | None = None
        self._threads: _Threads | None = None
        self.loop = asyncio.get_running_loop()
        self.quiet = Patience(settings).properties
        self.name = f"{socket.gethostname()}/{os.getpid()}"

    @property
    def stopping(self) -> bool:
        """Whether it drains."""
        return self._asked or self._stopping.is_set()

    def health(self) -> Health:
        """Return how the worker is; may be called from any thread."""
        if self.stopping:
            return Health(live=True, ready=False, why="it is being stopped")
        if self._threads is None:
            return Health(live=True, ready=False, why="it is starting")
        return self._threads.health()

    def stop(self) -> None:
        """Begin to drain; `serve` returns when that is done. Asked again, do not wait for it. May be called from any thread."""
        again, self._asked = self.stopping, True
        self.loop.call_soon_threadsafe(self._hurry.set if again else self._stopping.set)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until `stop`; call ``ready`` once every assigned partition is routed and led.

        Raises:
            UserError: the app cannot be served; the message says what to do.
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.set_threshold(*_COLLECT_AFTER)
        settings = self.settings
        try:
            deployment, control = await asyncio.to_thread(self._deploy)
        except KafkaException as error:
            raise UserError(
                f"Kafka at {settings.bootstrap_servers} does not answer: {error.args[0].str()}; is it up, and the address right?"
            ) from error
        folder = Folder(settings.state_dir, self.engine.name)
        try:
            capacity = self.limits.capacity
            known = Topics(
                partial(topics.exists, settings), lambda topic: topics.partition_count(clients.admin(settings), topic)
            )
            async with Executor(self.engine, capacity=capacity, topics=known) as executor:
                await asyncio.to_thread(self._publish, deployment, control)
                executor.use_secret(secret_of(control.values) or b"")
                threads = self._threads = _Threads(self, deployment, folder, executor, control)
                await self._serve(threads, executor, ready)
        finally:
            folder.release()
        if self._failure is not None:
            raise UserError(f"the worker cannot go on: {why(self._failure)}") from self._failure

    async def _serve(self, threads: "_Threads", executor: Executor, ready: Callable[[], None]) -> None:
        threads.start()
        try:
            announced = False
            while not self._stopping.is_set():
                if not announced and threads.health().ready:
                    announced = True
                    ready()
                # Readiness is asked for a moment after the start; later only the end is awaited.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), None if announced else _READY_POLL_SECONDS)
            await asyncio.to_thread(threads.stop_routing)
            executor.begin_draining()
            await asyncio.to_thread(threads.hand_over)
            began = monotonic()
            if not await executor.drain(self.limits.drain, self._hurry):
                waited = monotonic() - began
                _log.warning("what had not ended after %.3g s is begun again by whoever leads now", waited)
        finally:
            await asyncio.to_thread(threads.stop)

    def failed(self, error: BaseException) -> None:
        """Stop, because a thread cannot go on; may be called from any thread."""
        self._failure = self._failure or error
        self.loop.call_soon_threadsafe(self._stopping.set)

    def _deploy(self) -> tuple[Deployment, Control]:
        settings = self.settings
        names = Names.of(self.engine.name, self.engine.events_topic)
        control = Control(clients.reader(settings, **self.quiet), names.control)
        return deploy(clients.admin(settings, **self.quiet), control, self.engine, settings), control

    def _publish(self, deployment: Deployment, control: Control) -> None:
        topic = deployment.names.control
        producer = clients.producer(self.settings, **self.quiet)
        write_down(producer, control, deployment)
        write_format(producer, topic, control)
        control.read_to_end()
        control.check_formats()
        missing = {key: value for key, value in schemas.to_publish().items() if control.value(key) != value}
        write(producer, topic, missing)
        make_secret(producer, topic, control)
        publish(producer, topic, control, self.engine.catalogue(), activate=self._activate, now=now_ms())
        control.read_to_end()


class _Threads:
    """The threads of a worker, and how they are joined together."""

    def __init__(
        self, worker: Worker, deployment: Deployment, folder: Folder, executor: Executor, control: Control
    ) -> None:
        settings, names, quiet = worker.settings, deployment.names, worker.quiet
        room = Room(worker.limits.runs)
        self._loop = worker.loop
        self._executor = executor
        self._lease = int((worker.limits.drain + _RETURN_SECONDS) * 1_000)
        self._leaders = Leaders(folder.path, room, Pace(worker.loop, executor.perform_all), worker.failed)
        serves = {"client.id": clients.CATALOGUE_MARK + worker.engine.catalogue().digest}
        commands = clients.member(settings, names.leader_group, **quiet | serves)
        self._reader = CommandsReader(commands, names.commands, self._leaders, worker.failed)
        follows = Follows(names.control, partial(clients.producer, settings, **quiet), self._reader.member)
        self._control = ControlFollower(control, worker.failed, follows.tell)
        admin = clients.admin(settings, **quiet)
        logs = partial(topics.logs, admin, names, deployment.logs.cluster)
        self._watch = Watch(admin, deployment, worker.failed)
        self._recovery = Recovery(clients.reader(settings, **quiet), logs, self._leaders.call, worker.failed)
        snapshots = clients.producer(settings, **quiet | PRODUCER)
        self._checkpoints = Checkpoints(snapshots, clients.admin(settings, **quiet), names, self._leaders.call)
        self._standbys = Standbys(
            clients.admin(settings, **quiet),
            names.leader_group,
            deployment.logs.partitions,
            settings.standbys,
            member=self._reader.member,
            follow=self._leaders.follow,
        )
        routes = _routes(worker, deployment, self._control)
        self._routing = [_routing(worker, deployment, self._control, route) for route in routes]
        self._replays = Replays(_tools(worker, deployment, self._control, routes, room))
        self._process = Process(
            worker.name,
            clients.producer(settings, **quiet),
            clients.producer(settings, **quiet, **{"linger.ms": 2}),
            names,
            deployment.logs,
            _rules(worker, deployment, room, self._control.paused),
            self._recovery,
            self._checkpoints,
            self._reader.take_from,
            self._reader.hold,
            self._leaders.note_report,
            self._leaders.wake,
            self._leaders.collect,
            self._lend,
            self._end_term,
            self._give_back,
        )

    def start(self) -> None:
        """Start all threads."""
        self._control.start()
        self._watch.start()
        self._recovery.start()
        self._checkpoints.start()
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
        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                _log.warning(
                    "%s/%d: what was lent could not be returned, and is begun again: %s", topic, partition, error
                )

        topic, value = self._process.names.commands, encode(Commands("", None, [(0, command)], WRITES))
        self._process.outgoing.produce(topic, value, None, partition, on_delivery=delivered)

    def _end_term(self, term: Term) -> None:
        self._loop.call_soon_threadsafe(self._executor.end_term, term)


def _routes(worker: Worker, deployment: Deployment, control: ControlFollower) -> list[Route]:
    """Return how events are routed: the app's own first, and then those of its sources."""
    settings, names, quiet = worker.settings, deployment.names, worker.quiet
    own = Route(
        names.events,
        deployment.events_id,
        names.commands,
        deployment.logs.partitions,
        names.dead_letters,
        Buried(partial(clients.reader, settings, **quiet), names.dead_letters),
        control.match,
        worker.engine.checks(),
        avro_decoder(settings.schemas),
        completions(names.app, secret_of(control.values) or b"", names.dead_letters),
        routed=tuple(topic for topic, _ in deployment.routed),
    )
    sources = worker.engine.sources
    return [
        own,
        *(replace(own, events=one.topic, events_id=deployment.sources[one.topic], source=one) for one in sources),
    ]


def _routing(worker: Worker, deployment: Deployment, control: ControlFollower, route: Route) -> Routing:
    """Return the thread that routes one topic. All of them are members of one group, so that its offsets are all that there is to rewind."""
    settings, names, quiet = worker.settings, deployment.names, worker.quiet
    read, produce = partial(clients.reader, settings, **quiet), partial(clients.producer, settings, **quiet)
    producer, own = produce(), (route.events, route.events_id)
    topics_routed = [own, *(topic for topic in deployment.routed if topic != own)]
    earliest = settings.start == "earliest"
    bearings = Bearings(topics_routed, names.control, read, producer, control.values, earliest=earliest)
    known_by = settings.kafka.get("group.instance.id")
    if route.source is not None and known_by is not None:
        quiet = quiet | {"group.instance.id": f"{known_by}/{route.events}"}
    offers = Offers(
        route.events, control, Backfill(route, partial(read, **{"enable.partition.eof": True}), produce, worker.failed)
    )
    consumer = clients.member(settings, names.router_group, **quiet)
    return Routing(consumer, producer, route, bearings, worker.failed, offers=offers)


def _tools(worker: Worker, deployment: Deployment, control: ControlFollower, routes: list[Route], room: Room) -> Tools:
    settings, names, quiet = worker.settings, deployment.names, worker.quiet
    produce = partial(clients.producer, settings, **quiet)
    return Tools(
        {route.events_id: route for route in routes},
        lambda replay_id: clients.member(settings, names.replay_group(replay_id), **quiet),
        produce,
        control.values,
        lambda values: write(produce(), names.control, values),
        partial(reusing.of_events, settings, names.app),
        # Half of the room is for what is live.
        lambda: room.free > worker.limits.runs // 2,
        worker.failed,
    )


def _rules(worker: Worker, deployment: Deployment, room: Room, paused: PausedFunctions) -> Callable[[int], Rules]:
    functions, names = worker.engine.rules_functions(), deployment.names

    def rules(partition: int) -> Rules:
        source = leader_source(deployment.logs.journal, partition)
        return Rules(
            names.app,
            functions,
            deployment.logs.partitions,
            names.commands,
            source,
            partition,
            checkpoint_bytes=worker.settings.checkpoint_bytes,
            events_topic=names.events,
            control_topic=names.control,
            state_id=deployment.state_id,
            room=room,
            paused=paused,
        )

    return rules
