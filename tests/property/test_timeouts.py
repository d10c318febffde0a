"""Runs that may wait and take only so long, whoever leads their partition and whatever they do, against what their times alone say."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream_engine.core.failure import Failure
from stream_engine.core.functions.flow import Concurrency, Flow, Timeouts
from stream_engine.core.functions.match import Wish, match
from stream_engine.core.identity import home_partition, partition_of
from stream_engine.core.partition.turn import Deliver, Execute, Function, Stop
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Cancel
from stream_engine.core.stages.commands import FailRun, FinishRun, Input, RetryRun, Sleep, Stopped, Suspend
from tests.unit.core.network import Network

PARTITIONS = 2
NUMBER = st.integers(0, 20)


class World(RuleBasedStateMachine):
    """One run at a time may go on; time passes by the millisecond, so that everything happens at its time."""

    def __init__(self) -> None:
        super().__init__()
        self.due: dict[str, int] = {}
        self.loaded: set[str] = set()
        self.asleep: set[str] = set()
        self.steps = 0

    @initialize(
        start=st.sampled_from([None, 5, 20]), finish=st.sampled_from([None, 5, 20]), limit=st.sampled_from([1, 2])
    )
    def declare(self, start: int | None, finish: int | None, limit: int) -> None:
        self.most = Timeouts(start, finish)
        self.limit = limit
        self.flow = Flow((Concurrency(limit),))
        pay = Function("pay", ("1",), "sorry", self.flow, on_cancel="undo", timeouts=self.most)
        self.network = Network(PARTITIONS, pay, Function("sorry", ("1",)), Function("undo", ("1",)))

    @rule(later=st.integers(0, 8))
    def arrive(self, later: int) -> None:
        """Have an event arrive, whose time may be yet to come."""
        now, number = self.network.now, len(self.due)
        event = Event("order", f"id:{number}", str(number), now + later, now, "shop.events", 0, number, b"{}")
        home = home_partition(event.identity, PARTITIONS)
        matched = match([Wish("pay", None, self.flow, ())], event, PARTITIONS, None)
        self.network.give(home, Admit(event, matched.functions, None, tuple(matched.asked)))
        self.due[event.id] = now + later
        self.go_on()

    @rule(milliseconds=st.integers(1, 12))
    def pass_time(self, milliseconds: int) -> None:
        for _ in range(milliseconds):
            self.network.now += 1
            self.go_on()

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def take_over(self, partition: int) -> None:
        """Whatever is running there is executed anew, from the top."""
        self.loaded = {run for run in self.loaded if partition_of(run) != partition}
        self.network.take_over(partition)
        self.go_on()

    @precondition(lambda self: self.loaded)
    @rule(
        number=NUMBER,
        how=st.sampled_from(["finish", "fail", "sleep", "sleep", "retry", "cancel"]),
        delay=st.integers(1, 30),
    )
    def report(self, number: int, how: str, delay: int) -> None:
        """Have a run do something."""
        run = sorted(self.loaded)[number % len(self.loaded)]
        home = partition_of(run)
        if how == "sleep":
            self.steps += 1
            self.network.post(home, Sleep(run, f"s{self.steps}", delay))
            self.network.post(home, Suspend(run, 0))
        elif how == "cancel":
            self.network.give(home, Cancel(run, "ada"))
        else:
            commands: dict[str, Input] = {
                "finish": FinishRun(run, b"null"),
                "fail": FailRun(run, Failure("E", "no")),
                "retry": RetryRun(run, delay, Failure("E", "no")),
            }
            self.network.post(home, commands[how])
        self.go_on()

    def go_on(self) -> None:
        """Have everything decided upon that is due, and what is stopped stop."""
        self.network.settle()
        while self.network.effects:
            effects, self.network.effects = self.network.effects, []
            for effect in effects:
                if isinstance(effect, Execute) and effect.run.function == "pay":
                    self.loaded.add(effect.run_id)
                elif isinstance(effect, Execute):
                    self.network.post(partition_of(effect.run_id), FinishRun(effect.run_id, b"null"))
                elif isinstance(effect, Stop):
                    self.network.post(partition_of(effect.run_id), Stopped(effect.run_id))
                elif not isinstance(effect, Deliver):
                    self.loaded.discard(effect.run_id)
            self.network.settle()

    @invariant()
    def everything_is_in_time(self) -> None:
        if not self.due:
            return
        told, now = self.network.told, self.network.now
        began = {
            record.event_id: record for record in told if isinstance(record, RunStarted) and record.function == "pay"
        }
        ended = {record.run_id: record for record in told if isinstance(record, RunEnded) and record.function == "pay"}
        never = {
            record.event_id: record.run_id
            for record in told
            if isinstance(record, EventDisposed) and record.disposition == "cancelled"
        }
        waits = []
        for event_id, due in self.due.items():
            begun = began.get(event_id)
            run = never.get(event_id, "") if begun is None else begun.run_id
            end = ended.get(run)
            if begun is None:
                self.judge_wait(due, end)
                if end is None and due <= now:
                    waits.append(event_id)
            else:
                assert begun.at <= due + (now if self.most.start is None else self.most.start), "it began too late"
                self.judge_run(begun, end)
        running = [record for record in began.values() if record.run_id not in ended]
        assert len(running) == min(self.limit, len(running) + len(waits)), f"{running} run, and {waits} wait"
        self.judge_handlers(ended)

    def judge_wait(self, due: int, end: RunEnded | None) -> None:
        if end is not None:
            assert self.most.start is not None
            assert (end.status, end.at) == ("timed_out", due + self.most.start)
        elif self.most.start is not None:
            assert self.network.now < due + self.most.start, "it waits for too long"

    def judge_run(self, begun: RunStarted, end: RunEnded | None) -> None:
        most = self.most.finish
        if end is None:
            assert most is None or self.network.now < begun.at + most, "it takes too long"
        elif end.status == "timed_out":
            assert most is not None
            assert end.at == begun.at + most, "it did not end at its time"
        else:
            assert most is None or end.at <= begun.at + most, "it ended too late"

    def judge_handlers(self, ended: dict[str, RunEnded]) -> None:
        handlers = {"timed_out": "sorry", "failed": "sorry", "cancelled": "undo"}
        expected = Counter((run, handlers[end.status]) for run, end in ended.items() if end.status in handlers)
        handled = Counter(
            (record.of_run, record.function)
            for record in self.network.told
            if isinstance(record, RunStarted) and record.function != "pay"
        )
        assert handled == expected


World.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestTimeouts = World.TestCase
