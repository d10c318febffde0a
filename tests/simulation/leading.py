"""One partition that a group has assigned to a simulated worker, led in the order of calls that the core's seam prescribes.

Between any two calls of the seam the process may die or be stopped: every ``yield`` is such a point.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from random import Random

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader, Recovered
from stream_engine.core.partition.change import Change, Committed, DeposedError, Take
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.journal import encode
from stream_engine.core.records.origin import MismatchError
from stream_engine.core.records.requests import Commands, ReturnStep
from stream_engine.core.stages.commands import Input
from tests.simulation.execution import Executor, Machine
from tests.simulation.kafka import Draft, Log, Producer, Report, SimKafka, Stored, Topics, TrimmedError
from tests.simulation.keeping import Keeper
from tests.simulation.operating import Reader
from tests.simulation.referee import Referee
from tests.simulation.schedule import MILLISECOND, Body, Host, Thread
from tests.simulation.sending import Channel, Sender, Teller
from tests.simulation.store import SimStore
from tests.simulation.term import Term

Commit = Generator[str | None, None, Committed]

_IDLE = 10 * MILLISECOND


@dataclass
class Site:
    """What a partition's leader finds around it in its process."""

    host: Host
    kafka: SimKafka
    topics: Topics
    producer: Callable[[], Producer]
    referee: Referee
    machine: Machine
    rules: Callable[[int], Rules]
    keeper: type[Keeper]
    room_changed: Callable[[], None]
    reader: Reader
    ask: Callable[[int], None]


@dataclass(frozen=True)
class Desk:
    """What a term acts with."""

    sender: Sender
    teller: Teller
    executor: Executor


class Leading:
    """Leads one partition, term after term, until it is taken away."""

    def __init__(self, site: Site, partition: int, store: SimStore) -> None:
        self.site = site
        self.partition = partition
        self.store = store
        self.term: Term | None = None
        self.leader: Leader | None = None
        self._random = site.kafka.schedule.random
        self._journal = site.kafka.log(site.topics.journal, partition)
        self._commands = site.kafka.log(site.topics.commands, partition)
        self._commands.watch(self._arrived)
        self._journal_producer = site.producer()
        self.keeper = site.keeper(site.host, partition, site.kafka, site.topics, site.referee)
        self._alarm = 0
        self._idle_since: int | None = None
        self._leaving: Callable[[], None] | None = None
        self._reported: Callable[[], None] | None = None
        self.thread = Thread(site.host, self._run())

    def stop(self) -> None:
        """Give up the partition."""
        self._commands.unwatch(self._arrived)
        self.thread.end()
        if self._reported is not None:
            # What was decided, and is not on its way, never will be.
            self._reported()
            self._reported = None
        self._end_term()

    def hand_over(self, left: Callable[[], None]) -> None:
        """Give up the partition on purpose: lend what is running, then ``left``."""
        self._leaving = left
        self.thread.wake()

    def _arrived(self, _: Stored) -> None:
        self.site.host.do(self.thread.wake)

    def _end_term(self) -> None:
        if self.term is not None:
            self.term.end()
            self.term = None
        if self.leader is not None:
            self.leader.close()
            self.leader = None
            self.site.room_changed()

    def _run(self) -> Body:
        site = self.site
        while True:
            try:
                leader = yield from self._elect()
                yield from self._lead(leader)
                if self._leaving is not None:
                    self._leaving()
                    return
            except DeposedError as error:
                site.kafka.schedule.happened("deposed", site.host.name, self.partition, error)
            except TrimmedError as error:
                site.kafka.schedule.happened("read what was trimmed", site.host.name, self.partition, error)
            except MismatchError as error:
                if self.store.folded() is not None:
                    site.referee.mismatch(error)
                site.kafka.schedule.happened("restoration interrupted", site.host.name, self.partition)
                self.store.clear()
            self._end_term()
            again = site.kafka.schedule.now + self._random.randrange(1, 20 * MILLISECOND)
            while site.kafka.schedule.now < again:
                self._wake_at(again)
                yield None

    def _elect(self) -> Generator[str | None, None, Leader]:
        site = self.site
        site.referee.opened(site.host, self.partition, self.store)
        origin = site.kafka.origin(site.topics, self.partition)
        candidate = Candidate(site.host.name, self.store, origin)
        if candidate.must_restore(self._journal.start):
            yield from self.keeper.restore(self.store)
            candidate = Candidate(site.host.name, self.store, origin, restored=True)
        yield from self.keeper.follow(candidate, partial(self._replay, candidate), self._wake_at)
        self.look_around()
        offset = yield from self.append(candidate.campaign(site.machine.clock()), "claim")
        for at in candidate.elected(offset):
            self._replay(candidate, at)
            yield "replay"
        leader = candidate.lead(site.rules(self.partition))
        site.kafka.schedule.note("leads", site.host.name, self.partition, "epoch", leader.epoch)
        return leader

    def look_around(self) -> None:
        """Learn what operators have written down: nobody has waited for a worker whose group took it for gone."""
        self.site.reader.catch_up()

    def _replay(self, candidate: Candidate, at: int) -> None:
        change = candidate.replay(at, self._journal.read(at))
        if change is not None:
            self.write(change)

    def _lead(self, leader: Leader) -> Body:
        schedule = self.site.kafka.schedule
        self.leader = leader
        term = self.term = Term(self.site.host, self.partition, leader.epoch, schedule.now)
        term.wake = self.thread.wake
        channel = Channel(term, self.site.producer(), self.site.referee, self.site.topics.history)
        desk = Desk(Sender(channel, leader.sent), Teller(channel, leader.told), Executor(term, self.site.machine))
        yield from self.take_up(leader, term, desk)
        while True:
            if self._leaving is not None:
                yield from self._lend(leader, term, desk)
                return
            raw = self._decide(leader, term)
            if raw is None:
                yield None
                continue
            appended_at = schedule.now
            committed = yield from self.commit(leader, raw, desk)
            term.renew(appended_at)
            yield "acknowledged"
            self.write(committed.change)
            yield "written"
            if leader.checkpoint_due:
                self.keeper.begin(leader, self.store, self.site.producer(), self.thread.wake)
            yield from self.act(committed, desk)
            _follow_up(self, committed)

    def _lend(self, leader: Leader, term: Term, desk: Desk) -> Body:
        lease = self._random.choice((5, 50, 500))
        inputs: list[Take | Input] = [
            *term.inbox,
            *desk.executor.lend(lease, partial(_give_back, self.site, self.partition)),
        ]
        term.inbox.clear()
        self.site.reader.deciding.begin()
        while (raw := leader.decide(inputs, self.site.machine.clock())) is not None:
            committed = yield from self.commit(leader, raw, desk)
            yield "lent"
            self.write(committed.change)
            if not inputs:
                return
            self.site.reader.deciding.begin()

    def take_up(self, leader: Leader, term: Term, desk: Desk) -> Body:
        """Begin a term with what an earlier one left to do."""
        recovered = leader.recovered()
        for key, message in recovered.sends:
            desk.sender.send(key, message)
            yield "resend"
        for told in recovered.told:
            desk.teller.tell(told)
            yield "retell"
        _follow_up(self, recovered)

    def commit(self, leader: Leader, raw: bytes, desk: Desk) -> Commit:
        """Append a record; return what takes effect."""
        offset = yield from self.append(raw, "record")
        committed = leader.acknowledged(offset)
        self.site.room_changed()
        return committed

    def write(self, change: Change) -> None:
        """Write a change to the store, whole."""
        self.store.write(change)
        self.site.referee.wrote(self.site.host, self.partition, self.store)
        if self._random.random() < 0.2:
            self.store.flush(self._random)

    def act(self, committed: Committed, desk: Desk) -> Body:
        """Let a record take effect; the three kinds of effects in any order."""
        site = self.site
        kinds = ["send", "tell", "effect"]
        self._random.shuffle(kinds)
        for kind in kinds:
            if kind == "send":
                for key, message in committed.sends:
                    desk.sender.send(key, message)
                    yield kind
            elif kind == "tell":
                desk.teller.tell(committed.told)
                yield kind
            else:
                for effect in committed.effects:
                    site.referee.acts(site.host, self.partition, committed.told.mark.offset, effect)
                    desk.executor.perform(effect)
                    yield kind

    def append(self, raw: bytes, label: str) -> Generator[str | None, None, int | None]:
        """Append to the journal; return the offset that Kafka acknowledged, or None for anything else."""

        reports: list[Report] = []
        settled = self._reported = self.site.reader.deciding.appended()

        def reported(report: Report) -> None:
            settled()
            reports.append(report)
            self.thread.wake()

        yield f"{label} decided"
        self._reported = None
        self._journal_producer.append(self.site.topics.journal, self.partition, Draft(raw), reported)
        yield f"{label} appended"
        while not reports:
            yield None
        yield f"{label} reported"
        return reports[0].offset if reports[0].ok else None

    def _decide(self, leader: Leader, term: Term) -> bytes | None:
        now, schedule = self.site.machine.clock(), self.site.kafka.schedule
        self.site.reader.deciding.begin()
        inputs = self._inputs(leader, term)
        while inputs or ((due := leader.due()) is not None and due <= now):
            self._idle_since = None
            raw = leader.decide(inputs, now)
            _put_back(self.site, self.partition, inputs, term)
            if raw is not None:
                return raw
        if term.wants_lease:
            return leader.renew(now)
        if leader.unmarked:
            if self._idle_since is None:
                self._idle_since = schedule.now
            if schedule.now >= self._idle_since + _IDLE:
                self._idle_since = None
                return leader.decide([], now)
            self._wake_at(self._idle_since + _IDLE)
        if due is not None:
            self._wake_at(schedule.now + (due - now) * MILLISECOND)
        return None

    def _inputs(self, leader: Leader, term: Term) -> list[Take | Input]:
        most = self._random.choice((1, 2, 5, 50))
        inputs: list[Take | Input] = [term.inbox.popleft() for _ in range(min(most, len(term.inbox)))]
        start = leader.commands
        if start < self._commands.start:
            if leader.epoch == self.site.referee.folds[self.partition].epoch:
                self.site.referee.object(
                    1, f"partition {self.partition}: commands from {start} on are trimmed, and not taken"
                )
            raise DeposedError("the commands to take next are trimmed, so somebody else has taken them")
        return inputs + _takes(self._commands, start, most, self._random)

    def _wake_at(self, at: int) -> None:
        now = self.site.kafka.schedule.now
        if now < self._alarm <= at:
            return
        self._alarm = at
        self.site.host.at(at - now, self.thread.wake)


def _put_back(site: Site, partition: int, inputs: list[Take | Input], term: Term) -> None:
    """Keep what a full record has left; commands are read again."""
    if inputs:
        site.kafka.schedule.happened("record full", partition)
    term.inbox.extendleft(reversed([left for left in inputs if not isinstance(left, Take)]))
    inputs.clear()


def _takes(log: Log, start: int, most: int, random: Random) -> list[Take | Input]:
    """Return commands as a reader hands them over, who may do so again with what was taken before; the leader passes over it."""
    begin = max(log.start, start - 2) if start < log.end and random.random() < 0.1 else start
    stop = start + random.randrange(1, most + 1)
    return [Take(one.offset, decode_commands(one.value or b"")) for one in log.records[begin:stop]]


def _follow_up(leading: Leading, found: Recovered | Committed) -> None:
    if found.trim is not None:
        leading.keeper.trim(found.trim)
    if found.asks:
        leading.site.ask(leading.partition)


def _give_back(site: Site, partition: int, command: ReturnStep) -> None:
    site.kafka.schedule.happened("step returned", partition)
    draft = Draft(encode(Commands("", None, [(0, command)])))
    site.producer().append(site.topics.commands, partition, draft, lambda _: None)
