"""Trees of runs that invoke each other, cancelled anywhere at any time, on partitions that decide in any order: everything ends, once."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.failure import Failure
from stream_engine.core.functions.flow import Concurrency, Flow
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Deliver, Execute, Function, Release, Stop
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted, StepRecorded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Cancel
from stream_engine.core.records.tables import CLAIMS, GATES
from stream_engine.core.stages.commands import OWN, FailRun, FinishRun, Invoke, Stopped
from tests.unit.core.network import Network

PARTITIONS = 3
NEXT = {"root": "middle", "middle": "leaf"}
POOL = Flow((Concurrency(1, pool="pool"),))
FUNCTIONS = [
    Function("root", ("1",), on_cancel="undo"),
    Function("middle", ("1",), on_cancel="undo", flow=POOL),
    Function("leaf", ("1",), on_cancel="undo", flow=POOL),
    Function("undo", ("1",)),
]
EVENT = Event("root", "id:7", "7", 0, 0, "shop.events", 0, 7, b"{}")


class Executions:
    """What executes the runs of all partitions: each invokes two of the next function, and ends when both have answered."""

    def __init__(self, network: Network, failing: set[int]) -> None:
        self._network = network
        self._failing = failing
        self._open: dict[str, set[str]] = {}
        self._done = 0
        self.cancelled: set[str] = set()

    def perform(self) -> None:
        """Do what was decided, and report it."""
        effects, self._network.effects = self._network.effects, []
        for effect in effects:
            home = partition_of(effect.run_id)
            if isinstance(effect, Execute):
                self._execute(effect, home)
            elif isinstance(effect, Deliver) and effect.run_id in self._open:
                self._open[effect.run_id].discard(effect.step_id)
                self._end_if_answered(effect.run_id, home)
            elif isinstance(effect, Stop):
                self._open.pop(effect.run_id, None)
                self._network.post(home, Stopped(effect.run_id))
            elif isinstance(effect, Release):
                self._open.pop(effect.run_id, None)

    def _execute(self, effect: Execute, home: int) -> None:
        callee = NEXT.get(effect.run.function)
        known = {step for step, record in effect.steps.items() if not record.wake_at}
        calls = set() if callee is None else {"left", "right"} - known
        self._open[effect.run_id] = set(calls)
        for step in sorted(calls):
            self._network.post(home, Invoke(effect.run_id, step, "shop", callee or "", OWN, b"{}"))
        self._end_if_answered(effect.run_id, home)

    def _end_if_answered(self, run: str, home: int) -> None:
        if not self._open[run]:
            del self._open[run]
            self._done += 1
            failed = self._done in self._failing
            self._network.post(home, FailRun(run, Failure("E", "no")) if failed else FinishRun(run, b"1"))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=120),
    st.dictionaries(st.integers(3, 25), st.integers(0, 9), max_size=2),
    st.sets(st.integers(1, 7), max_size=2),
)
def test_everything_ends_once(order: list[tuple[int, bool]], cancels: dict[int, int], failing: set[int]) -> None:
    network = Network(PARTITIONS, *FUNCTIONS)
    executions = Executions(network, failing)
    network.give(0, Admit(EVENT, ["root"]))
    for turn, (choice, taken_over) in enumerate([*order, *[(0, False)] * 1_000]):
        executions.perform()
        begun = {record.run_id for record in network.told if isinstance(record, RunStarted)}
        # Those that wait first: there are few of them, and only for a while.
        told = {record.run_id for record in network.told if record.function != "undo"}
        seen = sorted(told, key=lambda run: (run in begun, run))
        if turn in cancels and seen:
            run = seen[cancels[turn] % len(seen)]
            network.give(partition_of(run), Cancel(run, "ada", seek=True))
        waiting = network.waiting()
        if waiting:
            network.decide(waiting[choice % len(waiting)])
        elif taken_over:
            network.take_over(choice % PARTITIONS)
    assert network.waiting() == []
    _check(network)


def _check(network: Network) -> None:
    started = Counter(record.run_id for record in network.told if isinstance(record, RunStarted))
    ended = Counter(record.run_id for record in network.told if isinstance(record, RunEnded))
    assert started == ended
    assert set(started.values()) == {1}
    waiting = {(r.run_id, r.step_id) for r in network.told if isinstance(r, StepRecorded) and r.status == "waiting"}
    settled = Counter(
        (r.run_id, r.step_id)
        for r in network.told
        if isinstance(r, StepRecorded) and r.status in {"completed", "failed"}
    )
    assert all(count == 1 for count in settled.values())
    gone = {record.run_id for record in network.told if isinstance(record, RunEnded) and record.status == "cancelled"}
    assert all(run in gone for run, step in waiting if (run, step) not in settled)
    unstarted = [r.run_id for r in network.told if isinstance(r, EventDisposed) and r.disposition == "cancelled"]
    handled = Counter(r.of_run for r in network.told if isinstance(r, RunStarted) and r.function == "undo")
    assert handled == Counter([*gone, *unstarted])
    gates = (GATES.prefix, CLAIMS.prefix)
    assert [key for store in network.stores() for key in store.data if key.startswith(gates)] == []
