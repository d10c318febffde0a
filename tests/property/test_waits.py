"""Waits for events, whatever happens in which order to lanes, partitions and runs: none misses an event, and no run has one twice."""

from collections import defaultdict
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stream_engine.core.identity import event_identity, home_partition, partition_of
from stream_engine.core.partition.turn import Execute, Function, Release, Stop
from stream_engine.core.records.history import RunEnded, RunStarted, StepRecorded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Cancel, Command, Commands
from stream_engine.core.records.wait_tables import WAITERS
from stream_engine.core.records.wanted import CaughtUp, Sender, Wanted
from stream_engine.core.routing.offering import LaneOffers, Scan
from stream_engine.core.stages.commands import FinishRun, Stopped, WaitForEvent
from stream_engine.core.waits.interests import INTEREST, Interests, place
from tests.unit.core.network import Network

PARTITIONS = 3
LANES = 2
VALUES = st.integers(0, 1)
ANY = -1
AWAITED = st.sampled_from([0, 0, 1, 1, ANY])
"""Values that are waited for; whoever waits for any has his events from elsewhere than who waits for one."""

LANE = st.integers(0, LANES - 1)
PARTITION = st.integers(0, PARTITIONS - 1)
DAY = 86_400_000
TIMEOUT = st.sampled_from([None, None, 0, 2, 50_000])
LOOKBACK = st.sampled_from([0, 2, 100_000, DAY, DAY])
NAMES = st.sampled_from(["paid", "paid", "go"])
LATER = st.sampled_from([0, 0, 1, 2, 90_000])
"""Events are kept for a minute, and another one, where nobody looks back further."""

CONDITIONS: dict[str, Callable[[int, int], bool]] = {
    "": lambda own, n: True,
    "async_event.data.n == 1": lambda own, n: n == 1,
    "async_event.data.n > event.data.n": lambda own, n: n > own,
}
"""Conditions, and what they mean for the number in the run's own event, and in the other one."""

SENDERS = st.sampled_from([None, None, None, "live", "live again", "replay"])


def sender(kind: str | None) -> Sender | None:
    """Return who has sent an event: nobody of the app, a live run that a replay runs again or does not, or a replayed run."""
    if kind is None:
        return None
    return Sender("f", "shop.events", 0, int(kind == "live again"), "r" if kind == "replay" else None)


def is_run_again(_: str, sent_by: Sender) -> bool:
    return sent_by.offset == 1


def is_seen(by: Sender | None, replay_id: str | None) -> bool:
    """Return whether a run, of a replay or a live one, sees what was sent so."""
    if by is None:
        return True
    if replay_id is None or by.replay_id is not None:
        return by.replay_id == replay_id
    return not is_run_again(replay_id, by)


class Wait(NamedTuple):
    """What a step waits for: a value, a condition, how far back, and for how long."""

    value: int
    if_: str
    lookback: int
    timeout: int | None = None


class Lane:
    """The router of one partition of the events topic, and that partition."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.log: list[Event] = []
        self.position = 0
        self.committed = (0, 0)
        self.offers = LaneOffers("events", number, 0)
        self.scan: Scan | None = None


class Question(NamedTuple):
    """Partitions that ask up to when all events are routed: it was looked then where the logs of all lanes end."""

    partitions: tuple[int, ...]
    before: int
    ends: tuple[int, ...]


class Lanes(RuleBasedStateMachine):
    """Lanes that hear of interests late, scan, crash and go on, and what is asked of all of them."""

    FUNCTIONS: ClassVar[tuple[Function, ...]] = (Function("f", ("1",)),)

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(PARTITIONS, *self.FUNCTIONS, slow=True, runs_again=is_run_again)
        self.lanes = [Lane(number) for number in range(LANES)]
        self.questions: list[Question] = []
        self.senders: dict[str, Sender | None] = {}

    @rule(lane=LANE, events=st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=3), later=LATER, by=SENDERS)
    def append(self, lane: int, events: list[tuple[str, int]], later: int, by: str | None) -> None:
        self.network.now += later
        for name, value in events:
            self.land(lane, name, value, by)

    def land(self, lane: int, name: str, value: int, by: str | None) -> None:
        log = self.lanes[lane].log
        offset, now = len(log), self.network.now
        identity = event_identity(None, "T", lane, offset)
        data = msgspec.json.encode({"x": value, "n": offset % 2})
        event = Event(name, identity, f"{lane}/{offset}", now, now, "shop.events", lane, offset, data)
        log.append(event)
        self.senders[identity] = sender(by)
        if name == "go":
            self.network.give(home_partition(identity, PARTITIONS), self.admitted(event))

    def admitted(self, event: Event, replay_id: str | None = None) -> Admit:
        """Return what a router makes of an event."""
        return Admit(event, ["f"], replay_id)

    @rule(lane=LANE, most=st.integers(1, 3))
    def route(self, lane: int, most: int) -> None:
        one = self.lanes[lane]
        for event in one.log[one.position : one.position + most]:
            self.offer(event, one.offers.interests)
            one.position += 1

    def offer(self, event: Event, interests: Interests) -> None:
        for owner, offer in interests.offers(event, PARTITIONS, self.senders[event.identity]):
            self.arrive(owner, offer)

    def arrive(self, partition: int, command: Command) -> None:
        self.network.arrive(partition, Commands("", None, [(0, command)]))

    @rule(lane=LANE)
    def follow(self, lane: int) -> None:
        one = self.lanes[lane]
        values: dict[str, tuple[int, bytes]] = {}
        for offset, message in enumerate(self.network.produced):
            assert message.key is not None
            key = message.key.decode().removeprefix(INTEREST)
            if message.value is None:
                values.pop(key, None)
            else:
                values[key] = (offset, message.value)
        one.scan = one.offers.learn(Interests.of(values), one.position) or one.scan

    @precondition(lambda self: any(lane.scan is not None for lane in self.lanes))
    @rule(lane=LANE, is_answered=st.booleans())
    def perform(self, lane: int, is_answered: bool) -> None:
        one, scan = self.lanes[lane], self.lanes[lane].scan
        if scan is None:
            return
        for event in one.log[: scan.stop]:
            if event.timestamp >= scan.since:
                self.offer(event, scan.asking)
        if is_answered:
            for owner, answer in scan.answers((("events", LANES),)):
                self.arrive(owner, answer)
            one.scan = one.offers.finished(scan)

    @rule(lane=LANE)
    def commit(self, lane: int) -> None:
        one = self.lanes[lane]
        one.committed = (one.position, one.offers.done)

    @rule(lane=LANE)
    def crash(self, lane: int) -> None:
        one = self.lanes[lane]
        one.position, done = one.committed
        one.offers, one.scan = LaneOffers("events", lane, done), None
        self.follow(lane)

    @precondition(lambda self: self.network.asking)
    @rule()
    def ask(self) -> None:
        """Look where the logs end, for all partitions that ask."""
        ends = tuple(len(lane.log) for lane in self.lanes)
        self.questions.append(Question(tuple(sorted(self.network.asking)), self.network.now, ends))
        self.network.asking.clear()

    @precondition(lambda self: self.questions)
    @rule()
    def answer(self) -> None:
        """Answer the questions up to whose ends all lanes have committed."""
        for question in list(self.questions):
            if all(lane.committed[0] >= end for lane, end in zip(self.lanes, question.ends, strict=True)):
                self.questions.remove(question)
                for partition in question.partitions:
                    self.arrive(partition, CaughtUp(question.before))


class World(Lanes):
    """Runs that wait, and partitions that are taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: dict[str, Event] = {}
        self.loaded: set[str] = set()
        self.waits: dict[tuple[str, str], Wait] = {}
        self.replayed: set[str] = set()
        self.replays: dict[str, str | None] = {}

    @initialize(values=st.lists(VALUES, max_size=2))
    def begin(self, values: list[int]) -> None:
        """Have a run, and what may be events for it, before lanes hear of anything."""
        for name, value in (("go", 0), *(("paid", value) for value in values)):
            self.land(0, name, value, None)
        self.route(0, 3)
        self.rest(0)

    @rule(partition=PARTITION)
    def decide(self, partition: int) -> None:
        self.network.decide(partition)
        self.note()

    @rule(later=LATER)
    def rest(self, later: int) -> None:
        """Let partitions decide upon all that they have, while lanes do nothing."""
        self.network.now += later
        self.network.settle()
        self.note()

    @rule(partition=PARTITION)
    def take_over(self, partition: int) -> None:
        self.loaded = {run for run in self.loaded if partition_of(run) != partition}
        self.network.take_over(partition)

    @precondition(lambda self: self.network.under_way())
    @rule(number=st.integers(0, 20))
    def deliver(self, number: int) -> None:
        links = self.network.under_way()
        self.network.deliver(*links[number % len(links)])

    @precondition(lambda self: self.loaded)
    @rule(
        number=st.integers(0, 20),
        whats=st.lists(
            st.builds(Wait, AWAITED, st.sampled_from(list(CONDITIONS)), LOOKBACK, TIMEOUT), min_size=1, max_size=3
        ),
    )
    def wait(self, number: int, whats: list[Wait]) -> None:
        run = sorted(self.loaded)[number % len(self.loaded)]
        for what in whats:
            step = f"s{len(self.waits)}"
            self.waits[run, step] = what
            path, value = ("", "") if what.value == ANY else ("data.x", str(what.value))
            wanted = Wanted("paid", path, value, what.if_, " event." in what.if_)
            self.network.post(partition_of(run), WaitForEvent(run, step, wanted, what.timeout, what.lookback))

    @rule(number=st.integers(0, 20))
    def replay(self, number: int) -> None:
        """Have an event that made a run begin do so once more."""
        triggers = [event for lane in self.lanes for event in lane.log if event.name == "go"]
        event = triggers[number % len(triggers)]
        if event.identity not in self.replayed:
            self.replayed.add(event.identity)
            self.network.give(home_partition(event.identity, PARTITIONS), self.admitted(event, "r"))

    @precondition(lambda self: len(self.loaded) > 1)
    @rule(number=st.integers(0, 20), is_cancelled=st.booleans())
    def end(self, number: int, *, is_cancelled: bool) -> None:
        run = sorted(self.loaded)[number % len(self.loaded)]
        if is_cancelled:
            self.arrive(partition_of(run), Cancel(run, "ada"))
        else:
            self.network.post(partition_of(run), FinishRun(run, b"null"))

    def note(self) -> None:
        effects, self.network.effects = self.network.effects, []
        for effect in effects:
            if isinstance(effect, Execute):
                self.loaded.add(effect.run_id)
                self.triggers[effect.run_id] = effect.event
            elif isinstance(effect, Release):
                self.loaded.discard(effect.run_id)
            elif isinstance(effect, Stop):
                self.loaded.discard(effect.run_id)
                self.network.post(partition_of(effect.run_id), Stopped(effect.run_id))

    def teardown(self) -> None:
        for _ in range(6):
            for lane in range(LANES):
                self.follow(lane)
                while self.lanes[lane].scan is not None:
                    self.perform(lane, is_answered=True)
                self.route(lane, 1_000)
                self.commit(lane)
            self.network.settle()
            self.note()
            self.network.now += 1
            self.ask()
            self.answer()
        self.judge()

    def judge(self) -> None:
        told = self.network.told
        self.replays = {record.run_id: record.replay_id for record in told if isinstance(record, RunStarted)}
        ended = {record.run_id for record in told if isinstance(record, RunEnded)}
        events = {event.identity: event for lane in self.lanes for event in lane.log}
        steps = [record for record in told if isinstance(record, StepRecorded)]
        begun: dict[tuple[str, str], StepRecorded] = {}
        for record in steps:
            if record.status == "waiting":
                begun.setdefault((record.run_id, record.step_id), record)
        results = {(r.run_id, r.step_id): r for r in steps if r.status == "completed"}
        got: dict[str, list[str]] = defaultdict(list)
        for step, record in results.items():
            if record.result != "null":
                identity = msgspec.json.decode(record.result or "")["identity"]
                got[record.run_id].append(identity)
                assert self.is_for(events[identity], step, begun[step]), "another event than was waited for"
        for identities in got.values():
            assert len(identities) == len(set(identities)), "a run had an event twice"
        for step, record in results.items():
            if record.result == "null":
                self.judge_in_vain(step, begun[step], record, got)
        for step, waited in begun.items():
            # Where a run has ended, its waits are given up.
            if step not in results and step[0] not in ended:
                assert waited.wake_at is None or waited.wake_at > self.network.now - 4, (
                    "a wait that did not end in time"
                )
                self.nothing_missed(step, waited, list(events.values()), got)
        assert not ended & self.waiting(), "who has ended waits for ever"

    def judge_in_vain(
        self, step: tuple[str, str], waited: StepRecorded, record: StepRecorded, got: dict[str, list[str]]
    ) -> None:
        timeout = self.waits[step].timeout
        assert timeout is not None, "a wait that had no end"
        until = waited.started_at + timeout
        assert record.at >= until, "a wait that ended before its time"
        early = [event for lane in self.lanes for event in lane.log if event.timestamp <= until]
        self.nothing_missed(step, waited, early, got)

    def waiting(self) -> set[str]:
        """Return the runs that wait for an event somewhere, or are waited for to be cancelled."""
        kept = [raw for store in self.network.stores() for _, raw in store.scan(WAITERS.prefix, WAITERS.stop)]
        return {waiter.asked.run_id for waiter in map(WAITERS.decode, kept) if waiter.asked is not None}

    def nothing_missed(
        self, step: tuple[str, str], waited: StepRecorded, events: list[Event], got: dict[str, list[str]]
    ) -> None:
        left = [event for event in events if event.identity not in got[step[0]]]
        missed = [event for event in left if self.is_for(event, step, waited)]
        assert not missed, f"{step} waited for {self.waits[step]}, and missed {missed}"

    def is_for(self, event: Event, step: tuple[str, str], waited: StepRecorded) -> bool:
        """Return whether a wait is for an event: one behind its run's trigger, no older than it looks back, that fits, and that its run sees."""
        what, run = self.waits[step], step[0]
        replay_id = self.replays[run]
        oldest = 0 if replay_id is not None else waited.started_at - what.lookback
        is_meant = event.name == "paid" and what.value in (ANY, msgspec.json.decode(event.data)["x"])
        return is_meant and event.timestamp >= oldest and self.is_behind(event, run, what.if_)

    def is_behind(self, event: Event, run: str, if_: str) -> bool:
        """Return whether an event is behind the trigger of a run, fits its condition, and is one that the run sees."""
        trigger, replay_id, by = self.triggers[run], self.replays[run], self.senders[event.identity]
        data, own = msgspec.json.decode(event.data), msgspec.json.decode(trigger.data)
        return is_seen(by, replay_id) and CONDITIONS[if_](own["n"], data["n"]) and place(event) > place(trigger)


World.TestCase.settings = settings(deadline=None, stateful_step_count=60)
TestWaits = World.TestCase
