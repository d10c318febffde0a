"""Calls and their answers between partitions, in any order, with leaders that go: each is answered once."""

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.commands import OWN, FailRun, FinishRun, Invoke, Stopped, Suspend
from stream_engine.core.failure import Failure
from stream_engine.core.flow import Concurrency, Flow
from stream_engine.core.history import EventDisposed, RunEnded, RunStarted, StepRecorded
from stream_engine.core.identity import partition_of
from stream_engine.core.records import Event
from stream_engine.core.requests import Admit, Cancel, Reply
from stream_engine.core.turn import Execute, Function, Stop
from tests.unit.core.network import Network

ORDER, CHECK = Function("order", ("1",)), Function("check", ("1",), flow=Flow((Concurrency(2),)))
PARTITIONS = 3
EVENT = Event("order", "id:7", "7", 0, 0, "shop.events", 0, 7, b"{}")


def begun() -> tuple[Network, str]:
    network = Network(PARTITIONS, ORDER, CHECK)
    network.give(0, Admit(EVENT, ["order"]))
    network.settle()
    [execute] = network.effects
    assert isinstance(execute, Execute)
    return network, execute.run_id


def invoke(parent: str, step: str, timeout: int | None = None, *, detached: bool = False) -> Invoke:
    return Invoke(parent, step, "shop", "check", OWN, b"{}", timeout, detached)


def children(network: Network) -> list[str]:
    """Return the runs of `check` that have been executed, in their order."""
    found = [
        effect.run_id for effect in network.effects if isinstance(effect, Execute) and effect.run.function == "check"
    ]
    return list(dict.fromkeys(found))


def outcomes(network: Network) -> list[tuple[str, str, str]]:
    """Return what history tells of the steps' ends."""
    return [
        (record.step_id, record.status, "" if record.error is None else record.error.message)
        for record in network.told
        if isinstance(record, StepRecorded) and record.status != "waiting"
    ]


@given(
    st.lists(st.sampled_from(["complete", "fail"]), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60),
    st.booleans(),
)
def test_every_call_is_answered_once(ends: list[str], order: list[tuple[int, bool]], unloads: bool) -> None:
    """Partitions decide in any order, and now and then another leader takes one over, which executes its runs anew."""
    network, parent = begun()
    for number in range(len(ends)):
        network.post(0, invoke(parent, f"call-{number}"))
    if unloads:
        network.post(0, Suspend(parent, 0))
    ended: set[str] = set()
    for choice, taken_over in [*order, *[(0, False)] * 200]:
        for child in children(network):
            if child not in ended:
                ended.add(child)
                last = ends[len(ended) - 1]
                home = partition_of(child)
                network.post(home, FinishRun(child, b"7") if last == "complete" else FailRun(child, Failure("E", "no")))
        waiting = network.waiting()
        if waiting:
            network.decide(waiting[choice % len(waiting)])
        elif taken_over:
            network.take_over(choice % PARTITIONS)
    network.settle()
    assert sorted(step for step, _, _ in outcomes(network)) == [f"call-{number}" for number in range(len(ends))]
    assert sorted(status for _, status, _ in outcomes(network)) == sorted(
        {"complete": "completed", "fail": "failed"}[end] for end in ends
    )
    started = [
        record.run_id for record in network.told if isinstance(record, RunStarted) and record.function == "check"
    ]
    assert sorted(started) == sorted(ended)
    assert all(
        record.of_run == parent
        for record in network.told
        if isinstance(record, RunStarted) and record.function == "check"
    )


def test_an_answer_that_comes_twice_or_late_says_nothing() -> None:
    network, parent = begun()
    network.post(0, invoke(parent, "call", timeout=100))
    network.settle()
    [child] = children(network)
    network.now = 1_100
    network.settle()
    assert outcomes(network) == [("call", "failed", f"run {child} had no result within 0.1 s")]
    stops = [effect.run_id for effect in network.effects if isinstance(effect, Stop)]
    assert stops == [child]
    network.post(partition_of(child), Stopped(child))
    network.settle()
    network.give(0, Reply(parent, "call", b"7"), Reply(parent, "never", b"7"))
    network.settle()
    assert len(outcomes(network)) == 1


def test_a_run_that_ends_gives_up_what_it_waits_for_but_not_what_is_detached() -> None:
    network, parent = begun()
    network.post(0, invoke(parent, "kept", detached=True))
    network.post(0, invoke(parent, "given up"))
    network.settle()
    assert len(children(network)) == 2
    network.give(0, Cancel(parent, "ada"))
    network.settle()
    network.post(0, Stopped(parent))
    network.settle()
    [stopped] = [effect.run_id for effect in network.effects if isinstance(effect, Stop) and effect.run_id != parent]
    network.post(partition_of(stopped), Stopped(stopped))
    network.settle()
    ends = {record.run_id: record.detail for record in network.told if isinstance(record, RunEnded)}
    assert ends == {parent: "ada", stopped: f"run {parent}, which invoked it, has ended"}


def test_a_call_is_answered_when_its_run_is_cancelled_before_it_begins() -> None:
    network, parent = begun()
    for number in range(3):
        network.post(0, invoke(parent, f"call-{number}"))
    network.settle()
    assert len(children(network)) == 2
    [queued] = {record.run_id for record in network.told if isinstance(record, EventDisposed)}
    network.give(partition_of(queued), Cancel(queued, "ada"))
    network.settle()
    [(_, status, message)] = outcomes(network)
    assert (status, message) == ("failed", f"run {queued} was cancelled: ada")
    assert len(children(network)) == 2
