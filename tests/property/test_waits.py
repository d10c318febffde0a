"""Waits for events, whatever happens in which order to lanes, partitions and runs: none misses an event, and no run has one twice."""

from collections import defaultdict

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from stream_engine.core.commands import FinishRun, WaitForEvent
from stream_engine.core.history import RunEnded, StepRecorded
from stream_engine.core.identity import event_identity, home_partition, partition_of
from stream_engine.core.interests import INTEREST, Interests, place
from stream_engine.core.offering import LaneOffers, Scan
from stream_engine.core.records import Event
from stream_engine.core.requests import Admit, Command, Commands
from stream_engine.core.turn import Execute, Function, Release
from stream_engine.core.wanted import Wanted
from tests.unit.core.network import Network

PARTITIONS = 3
LANES = 2
VALUES = st.integers(0, 1)
LANE = st.integers(0, LANES - 1)
PARTITION = st.integers(0, PARTITIONS - 1)
DAY = 86_400_000


class Lane:
    """The router of one partition of the events topic, and that partition."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.log: list[Event] = []
        self.position = 0
        self.committed = (0, 0)
        self.offers = LaneOffers("events", number, 0)
        self.scan: Scan | None = None


class World(RuleBasedStateMachine):
    """Lanes that hear of interests late, scan, crash and go on; runs that wait; partitions that are taken over."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(PARTITIONS, Function("f", ("1",)), slow=True)
        self.lanes = [Lane(number) for number in range(LANES)]
        self.triggers: dict[str, Event] = {}
        self.loaded: set[str] = set()
        self.waits: dict[tuple[str, str], int] = {}
        self.seen = 0

    @rule(lane=LANE, value=VALUES, name=st.sampled_from(["paid", "paid", "go"]), later=st.integers(0, 2))
    def append(self, lane: int, value: int, name: str, later: int) -> None:
        self.network.now += later
        log = self.lanes[lane].log
        offset, now = len(log), self.network.now
        identity = event_identity(None, "T", lane, offset)
        data = msgspec.json.encode({"x": value})
        event = Event(name, identity, f"{lane}/{offset}", now, now, "shop.events", lane, offset, data)
        log.append(event)
        if name == "go":
            self.network.give(home_partition(identity, PARTITIONS), Admit(event, ["f"]))

    @rule(lane=LANE, most=st.integers(1, 3))
    def route(self, lane: int, most: int) -> None:
        one = self.lanes[lane]
        for event in one.log[one.position : one.position + most]:
            self.offer(event, one.offers.interests)
            one.position += 1

    def offer(self, event: Event, interests: Interests) -> None:
        for owner, offer in interests.offers(event, PARTITIONS, None):
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

    @rule(partition=PARTITION)
    def decide(self, partition: int) -> None:
        self.network.decide(partition)
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
    @rule(number=st.integers(0, 20), value=VALUES, timeout=st.sampled_from([None, None, 2]))
    def wait(self, number: int, value: int, timeout: int | None) -> None:
        run = sorted(self.loaded)[number % len(self.loaded)]
        step = f"s{len(self.waits)}"
        self.waits[run, step] = value
        wanted = Wanted("paid", "data.x", str(value))
        self.network.post(partition_of(run), WaitForEvent(run, step, wanted, timeout, DAY))

    @precondition(lambda self: self.loaded)
    @rule(number=st.integers(0, 20))
    def finish(self, number: int) -> None:
        run = sorted(self.loaded)[number % len(self.loaded)]
        self.network.post(partition_of(run), FinishRun(run, b"null"))

    def note(self) -> None:
        effects, self.network.effects = self.network.effects, []
        for effect in effects:
            if isinstance(effect, Execute):
                self.loaded.add(effect.run_id)
                self.triggers[effect.run_id] = effect.event
            elif isinstance(effect, Release):
                self.loaded.discard(effect.run_id)

    def teardown(self) -> None:
        for _ in range(4):
            for lane in range(LANES):
                self.follow(lane)
                while self.lanes[lane].scan is not None:
                    self.perform(lane, is_answered=True)
                self.route(lane, 1_000)
            self.network.settle()
            self.note()
        self.judge()

    def judge(self) -> None:
        told = self.network.told
        ended = {record.run_id for record in told if isinstance(record, RunEnded)}
        events = {event.identity: event for lane in self.lanes for event in lane.log}
        open_steps: dict[str, set[str]] = defaultdict(set)
        got: dict[str, list[str]] = defaultdict(list)
        for record in told:
            if isinstance(record, StepRecorded) and record.status == "waiting":
                open_steps[record.run_id].add(record.step_id)
            elif isinstance(record, StepRecorded):
                assert record.result is not None
                open_steps[record.run_id].discard(record.step_id)
                if record.result == "null":
                    continue
                identity = msgspec.json.decode(record.result)["identity"]
                got[record.run_id].append(identity)
                event, trigger = events[identity], self.triggers[record.run_id]
                assert place(event) > place(trigger), "an event from before the run's trigger"
                assert self.fits(event, self.waits[record.run_id, record.step_id]), "another event than was waited for"
        for identities in got.values():
            assert len(identities) == len(set(identities)), "a run had an event twice"
        for run in open_steps.keys() - ended:
            left = [
                event
                for event in events.values()
                if place(event) > place(self.triggers[run]) and event.identity not in got[run]
            ]
            for step in open_steps[run]:
                missed = [event for event in left if self.fits(event, self.waits[run, step])]
                assert not missed, f"{step} of {run} waits, and missed {missed}"

    @staticmethod
    def fits(event: Event, value: int) -> bool:
        return event.name == "paid" and msgspec.json.decode(event.data) == {"x": value}


World.TestCase.settings = settings(deadline=None, stateful_step_count=60)
TestWaits = World.TestCase
