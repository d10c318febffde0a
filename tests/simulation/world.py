"""A simulated world, drawn from a seed: its app, its workers, its faults, and its end."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from tests.simulation.again import Live, Times
from tests.simulation.audit import audit
from tests.simulation.endings import audit_endings
from tests.simulation.flows import draw_flow
from tests.simulation.graphs import CALLEES, Weaver, given_up
from tests.simulation.groups import Group
from tests.simulation.kafka import FATES, Draft, SimKafka, Topics
from tests.simulation.operating import Board, Operators
from tests.simulation.outside import Outside
from tests.simulation.programs import Author, SimFunction, Stumble, Work
from tests.simulation.referee import Referee, ViolationError
from tests.simulation.schedule import MILLISECOND, SKEW, Faults, Schedule
from tests.simulation.sent import Sendings
from tests.simulation.waits import audit_waits
from tests.simulation.worker import Cluster, Disk, Parts, Worker

EPOCH_MS = 1_700_000_000_000
_MOST_CALLS = 150_000
_NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Config:
    """What a seed decides about its world before anything happens. With ``slots``, so many are all that functions declare of flow control; operators that are
    ``hesitant`` cancel no replay."""

    workers: int
    partitions: int
    events_partitions: int
    events: int
    lasts_ms: int
    faults: Faults
    rolling: bool
    checkpoint_bytes: int
    places: int
    flows: bool
    record_bytes: int
    waits: bool
    graphs: bool = False
    cancels: float = 0.0
    replays: int = 0
    rewinds: int = 0
    halts: int = 0
    pauses: int = 0
    hasty: bool = False
    slots: int = 0
    hesitant: bool = False
    clocks_agree: bool = False


def draw(random: Random) -> Config:
    """Draw a world: some are quiet, some are stormy, most have a few kinds of faults."""
    kinds = [fate for fate in FATES if random.random() < 0.5]
    appends = {fate: random.choice((0.01, 0.05, 0.2)) for fate in kinds}
    return Config(
        workers=random.choice((1, 2, 2, 3)),
        partitions=random.choice((1, 2, 2, 3)),
        events_partitions=random.choice((1, 2)),
        events=random.randrange(2, 10),
        lasts_ms=random.choice((150, 300, 600)),
        faults=Faults(
            appends,
            crash=random.choice((0.0, 0.0, 0.002, 0.01)),
            pause=random.choice((0.0, 0.002, 0.01)),
            kills=random.choice((0.0, 2.0, 10.0)),
            rebalances=random.choice((0.0, 5.0, 20.0)),
        ),
        rolling=random.random() < 0.3,
        checkpoint_bytes=random.choice((200, 1_000, 5_000, 1_000_000)),
        places=random.choice((1, 2, 5, 1_000, 1_000)),
        flows=random.random() < 0.4,
        record_bytes=random.choice((200, 2_000, 1_000_000)),
        waits=random.random() < 0.4,
    )


def _of_kind(seed: int, config: Config) -> Config:
    """Have some worlds be of graphs of runs, and some have events run again."""
    random = Random(f"graphs {seed}")
    if random.random() < 0.3:
        # Gates and waits are judged in worlds of their own, where all runs are made by events.
        cancels = random.choice((0.0, 5.0, 20.0))
        return replace(config, flows=False, waits=False, graphs=True, cancels=cancels)
    if random.random() >= 0.4:
        return config
    replays, rewinds, waits = random.choice((0, 1, 2)), random.choice((0, 1, 2, 3)), random.random() < 0.5
    flows, halts, pauses = random.random() < 0.5, random.choice((0, 1, 3, 6)), random.choice((0, 0, 1, 2))
    # Gates of replays hold what comes to them for seconds.
    lasts = random.choice((config.lasts_ms, config.lasts_ms, 6_000)) if flows else config.lasts_ms
    return replace(
        config,
        flows=flows,
        waits=waits,
        replays=replays,
        rewinds=rewinds,
        halts=halts if replays else 0,
        pauses=pauses,
        lasts_ms=lasts,
        hasty=bool(replays and halts) and Random(f"hasty {seed}").random() < 0.3,
    )


def _in_time(seed: int, config: Config) -> Config:
    """Have clocks agree in some worlds, where it is known to the millisecond what should have been, and lanes be slow in some."""
    random = Random(f"time {seed}")
    agree, lag = random.random() < 0.5, random.choice((0, 0, 300))
    return replace(config, clocks_agree=agree, faults=replace(config.faults, lag=lag))


def as_drawn(config: Config) -> Config:
    """Leave a world as its seed draws it."""
    return config


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, parts: Parts | None = None, bend: Callable[[Config], Config] = as_drawn) -> None:
        """``parts`` are what workers are built of, and ``bend`` makes what the seed draws into a world in which something rare happens often."""
        self.seed = seed
        self.schedule = Schedule(seed)
        self.config = bend(_in_time(seed, _of_kind(seed, draw(self.schedule.random))))
        self.topics = Topics()
        self.kafka = self._kafka()
        self.referee = Referee(self.schedule, self.kafka, self.topics)
        routers = Group(self.schedule, "routers", self.config.events_partitions)
        self.times = Times(Live(routers, self.topics, self.kafka))
        self.outside = Outside(self.schedule, self.kafka, self.topics)
        leaders = Group(self.schedule, "leaders", self.config.partitions)
        faults, board = self.config.faults, Board()
        self._cluster = Cluster(
            self.kafka,
            self.topics,
            self.referee,
            faults,
            self.times,
            leaders,
            parts or Parts(),
            self.config.checkpoint_bytes,
            self.config.places,
            self.config.record_bytes,
            self.outside,
            board,
        )
        self._operators = Operators(self.referee, self.kafka, leaders, self.times, board)
        self.catalogues = self._catalogues()
        self.referee.watch_gates(self.catalogues[-1])
        if self.config.clocks_agree:
            self.schedule.skew = 0
        skews = [self.schedule.random.randrange(-SKEW, SKEW) for _ in range(self.config.workers + 1)]
        self._disks = [
            Disk(f"disk{index}", 0 if self.config.clocks_agree else skew) for index, skew in enumerate(skews)
        ]
        self._haste, self._lives = Random(f"haste {seed}"), 0
        self._workers: list[Worker] = []

    def run(self) -> None:
        """Live through the faults, then on until nothing is left to do, and judge the end.

        Raises:
            ViolationError: an invariant does not hold.
        """
        for _ in range(self.config.workers):
            self._start()
        self._produce()
        lasts = self.config.lasts_ms * MILLISECOND
        self._plan(self.config.faults.kills, self._strike)
        self._plan(self.config.faults.rebalances, self._rebalance)
        self._plan(self.config.cancels, self._cancel)
        for act, count in ((self._replay, self.config.replays), (self._rewind, self.config.rewinds)):
            for _ in range(count):
                self.schedule.at(self.schedule.random.randrange(lasts), act)
        self._operators.cancels = not self.config.hesitant
        self._operators.plan(Random(f"operators {self.seed}"), lasts, self.config.halts, self.config.pauses)
        if not self.schedule.run(lasts, _MOST_CALLS):
            raise ViolationError("invariant 6: the world does not come to its end")
        self._calm_down()
        if not self.schedule.run(None, _MOST_CALLS):
            raise ViolationError("invariant 6: the world does not come to rest")
        audit(self.referee, self.kafka, self.topics, self.catalogues, outside=self.outside, times=self.times)
        sendings = Sendings(self.referee, self.kafka, self.topics, self.times.live.group)
        audit_waits(self.referee, sendings, self.catalogues[-1], self.times)
        unwanted = given_up(self.referee, self.config.partitions, self.catalogues[-1]) if self.config.graphs else None
        audit_endings(self.referee, sendings, self.catalogues[-1], self.times, outside=self.outside, given_up=unwanted)
        for partition in range(self.config.events_partitions):
            self._check_committed(self.times.live.group, partition, self.kafka.log(self.topics.events, partition).end)
            for again in (one for one in self.times.replays if not one.cancelled):
                self._check_committed(again.group, partition, again.whole.spans.get(partition, (0, 0))[1])

    def _check_committed(self, group: Group, partition: int, end: int) -> None:
        if end and partition not in group.overridden and group.committed.get(partition, (0, ""))[0] != end:
            raise ViolationError(f"invariant 6: {group.name} has not committed events partition {partition} to its end")

    def counts(self) -> Counter[str]:
        """Return what went wrong in this world, and what was done in it."""
        counts = self.schedule.counts
        for fold in self.referee.folds.values():
            for why, number in fold.passed_over.items():
                counts[f"record {why}"] += number
            counts["records counted"] += len(fold.counted)
        for disposed in self.referee.disposed:
            counts[f"event {disposed.disposition}"] += 1
            waits = disposed.disposition == "queued" and disposed.gate
            counts[f"waits at {disposed.gate}"] += bool(waits)
            if waits and disposed.replay_id is not None:
                gathers = disposed.gate in ("batch", "debounce")
                counts["replayed run gathered" if gathers else "replayed run waits at a gate"] += 1
        counts["run stopped"] = sum(ended.status == "cancelled" for _, ended in self.referee.ended.values())
        counts["runs of handlers"] += sum(started.of_run is not None for started in self.referee.started.values())
        counts["runs"] += len(self.referee.started)
        counts["step bodies"] += len(self.referee.ledger)
        counts["runs of replays"] += sum(started.replay_id is not None for started in self.referee.started.values())
        counts["rewinds cut short"] += len(self.times.live.cut)
        return counts

    def _kafka(self) -> SimKafka:
        kafka = SimKafka(self.schedule, EPOCH_MS)
        kafka.create(self.topics.events, self.config.events_partitions)
        for topic in (self.topics.commands, self.topics.journal, self.topics.state, self.topics.history):
            kafka.create(topic, self.config.partitions)
        kafka.create(self.topics.dead_letters, 1)
        kafka.create(self.topics.control, 1)
        return kafka

    def _catalogues(self) -> list[dict[str, SimFunction]]:
        """Return the app's functions, oldest deployment first; the last one has a function more, and a newer version."""
        random = self.schedule.random
        expects = ("b", "c") if self.config.waits else ()
        author = Author(random, ("c",), expects)
        quiet = Author(random, (), expects)
        functions = {
            "f": SimFunction("f", ("1",), ("a",), author.program(), on_failure="handler"),
            "g": SimFunction("g", ("1",), ("a", "b"), author.program(), on_failure="handler"),
            "h": SimFunction("h", ("1",), ("c",), quiet.program(), on_failure="handler"),
            "handler": SimFunction("handler", ("1",), (), quiet.program()),
            "mourner": SimFunction("mourner", ("1",), (), (Work("m"),)),
        }
        for number in range(random.choice((0, 0, 1, 5))):
            # Runs that fail together have commands to one other partition under way together.
            doomed = f"doomed{number}"
            functions[doomed] = SimFunction(doomed, ("1",), ("a", "b"), (Stumble(1, 0),), on_failure="mourner")
        if self.config.flows:
            for id in ("f", "g", "h"):
                functions[id] = replace(functions[id], flow=draw_flow(random, self.config.slots))
        if self.config.graphs:
            functions |= self._woven(functions, quiet)
        if not self.config.rolling:
            return [functions]
        versions = ("2", "1") if random.random() < 0.5 else ("2",)
        newer = replace(functions["f"], versions=versions)
        return [functions, functions | {"f": newer, "late": SimFunction("late", ("1",), ("b",), quiet.program())}]

    def _woven(self, functions: dict[str, SimFunction], author: Author) -> dict[str, SimFunction]:
        """Return functions that invoke others, and these; those that are invoked invoke only later ones, so that it comes to an end."""
        weaver = Weaver(self.schedule.random)

        def woven(function: SimFunction, callees: tuple[str, ...]) -> SimFunction:
            program, flow, timeouts = weaver.weave(function.program, callees), weaver.flow(), weaver.timeouts()
            return replace(function, program=program, flow=flow, timeouts=timeouts, on_cancel="undo")

        found = {id: woven(functions[id], CALLEES) for id in ("f", "g", "h")}
        for number, id in enumerate(CALLEES):
            callee = SimFunction(id, ("1",), (), author.program(), on_failure="handler")
            found[id] = woven(callee, CALLEES[number + 1 :])
        return found | {"undo": SimFunction("undo", ("1",), (), weaver.weave((Work("u"),), ()))}

    def _start(self) -> None:
        """Start a worker on a free machine: the one that was there before, or another."""
        free = [disk for disk in self._disks if not disk.taken]
        functions = self.catalogues[-1] if self.schedule.calm else self.schedule.random.choice(self.catalogues)
        self._lives += 1
        worker = Worker(f"w{self._lives}", self._cluster, self.schedule.random.choice(free), functions)
        worker.on_gone = self._crashed
        self.schedule.note("started", worker.host.name, worker.disk.name)
        self._workers.append(worker)

    def _produce(self) -> None:
        random = self.schedule.random
        bursts = [random.randrange(self.config.lasts_ms * MILLISECOND) for _ in range(3)]
        for number in range(self.config.events):
            event: dict[str, object] = {
                "name": random.choice(_NAMES),
                "data": {"number": number, "k": random.randrange(2)},
            }
            if random.random() < 0.4:
                event["id"] = f"e{random.randrange(4)}"
            if random.random() < 0.2:
                event["ts"] = EPOCH_MS + random.randrange(0, 2_000)
            value = json.dumps(event).encode() if random.random() < 0.9 else b"{"
            partition = random.randrange(self.config.events_partitions)
            # In bursts, so that several records for one destination are under way at once.
            at = random.choice(bursts) + random.randrange(5 * MILLISECOND)
            self.schedule.at(at, partial(self._land, partition, value))

    def _land(self, partition: int, value: bytes) -> None:
        self.kafka.land(self.topics.events, partition, Draft(value))

    def _plan(self, per_second: float, strike: Callable[[], None]) -> None:
        """Have something strike at random moments, until the faults are over."""
        if per_second == 0:
            return

        def again() -> None:
            if not self.schedule.calm:
                strike()
                self._plan(per_second, strike)

        self.schedule.at(int(self.schedule.random.expovariate(per_second) * 1_000 * MILLISECOND), again)

    def _strike(self) -> None:
        random = self.schedule.random
        alive = [worker.host for worker in self._workers if worker.host.alive and not worker.host.paused]
        if not alive:
            return
        host = random.choice(alive)
        if random.random() < 0.5:
            host.crash("anywhere")
        else:
            host.pause("anywhere", random.randrange(1, 300) * MILLISECOND)

    def _rebalance(self) -> None:
        routing = [plan.group for plan in self.times.plans]
        group = self.schedule.random.choice((self._cluster.leaders, *routing))
        self.schedule.happened("rebalance", group.name)
        group.rebalance()

    def _cancel(self) -> None:
        waiting = [told for told in self.referee.disposed if told.disposition == "queued"]
        # A handler that was cancelled before it began would not tell whose it was.
        runs = [told.run_id for told in self.referee.started.values() if told.function != "undo"]
        runs += [told.run_id for told in waiting if told.function != "undo"]
        if runs:
            self.outside.cancel(self.schedule.random.choice(runs))

    def _replay(self) -> None:
        """Start a replay, which the workers that there are take part in."""
        again = self.times.start(self.schedule, self.kafka, self.topics, (None, "f", "g", "h"))
        if again is not None:
            self.schedule.happened("replay", again.whole)
            for worker in self._workers:
                if worker.host.alive:
                    worker.take_part()
            if self.config.hasty:
                self._operators.replay_started(self._haste)

    def _rewind(self) -> None:
        """Stop all workers, and do what Kafka's own tool does to the offsets; workers are started again."""
        for worker in self._workers:
            worker.host.crash("for a rewind")
        self.times.live.group.empty()
        self.times.live.reset(self.schedule.random)
        self.schedule.happened("rewind", self.times.live.group.committed)

    def _crashed(self) -> None:
        self.schedule.at(self.schedule.random.randrange(1, 100 * MILLISECOND), self._start)

    def _calm_down(self) -> None:
        """End the faults: everybody goes on, with the newest code."""
        self.schedule.note("calm")
        self.schedule.calm = True
        for worker in self._workers:
            worker.host.resume()
            if worker.host.alive and worker.functions is not self.catalogues[-1]:
                worker.host.crash("for the new deployment")
