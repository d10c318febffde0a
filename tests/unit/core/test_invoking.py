"""Calls and their answers between partitions, in any order, with leaders that go: each is answered once."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.functions.flow import Concurrency, Flow
from stream_engine.core.functions.match import Wish, match
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.outbox import entry_key, foreign_queue
from stream_engine.core.partition.turn import Execute, Function, Stop
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.history import EventDisposed, RunChanged, RunEnded, RunStarted, StepRecorded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Cancel, Reply
from stream_engine.core.records.tables import CLAIMS
from stream_engine.core.stages.commands import OWN, CallsRefused, FailRun, FinishRun, Invoke, Stopped, Suspend
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


def test_an_answer_that_had_come_in_time_counts_however_late_it_is_taken() -> None:
    network, parent = begun()
    network.post(0, invoke(parent, "call", timeout=100))
    network.settle()
    network.give(0, Reply(parent, "call", b"7"))
    network.now = 1_100
    network.settle()
    [(step, status, _)] = outcomes(network)
    assert (step, status) == ("call", "completed")


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


def test_a_function_of_a_newer_deploy_is_called_once_a_leader_has_its_code() -> None:
    network = Network(PARTITIONS, ORDER)
    network.publish(ORDER, CHECK)
    network.give(0, Admit(EVENT, ["order"]))
    network.settle()
    [execute] = network.effects
    assert isinstance(execute, Execute)
    for number in range(3):
        network.post(0, invoke(execute.run_id, f"call-{number}"))
    network.settle()
    assert (outcomes(network), children(network)) == ([], [])
    parked = [record for record in network.told if isinstance(record, RunChanged) and record.change == "parked"]
    assert len(parked) == 3
    network.deploy()
    network.settle()
    assert len(children(network)) == 2  # its concurrency stands before it all the same
    for child in children(network):
        network.post(partition_of(child), FinishRun(child, b"7"))
        network.settle()
    network.post(partition_of(children(network)[-1]), FinishRun(children(network)[-1], b"7"))
    network.settle()
    assert sorted(outcomes(network)) == [(f"call-{number}", "completed", "") for number in range(3)]


def test_a_function_that_no_deploy_has_is_refused() -> None:
    network, parent = begun()
    network.post(0, Invoke(parent, "call", "shop", "nobody", OWN, b"{}", None, detached=False))
    network.settle()
    assert outcomes(network) == [("call", "failed", "app 'shop' has no function 'nobody'")]


def test_calls_that_kafka_does_not_let_through_fail_and_the_numbers_go_on() -> None:
    network, parent = begun()
    network.refuses = True
    for number in range(3):
        network.post(0, Invoke(parent, f"far-{number}", "other", "check", 1, b"{}", None, detached=False))
    network.post(0, invoke(parent, "near"))
    network.settle()
    before = [decode_commands(message.value or b"") for message in network.produced]
    assert [number for sent in before for number, _ in sent.items] == [0, 1, 2]
    network.produced.clear()
    network.post(0, CallsRefused("app/other.commands/0", "Topic authorization failed"))
    network.settle()
    why = "Kafka refuses the call of other/check: Topic authorization failed; workers of app 'shop' need the right to write to other.commands"
    assert outcomes(network) == [(f"far-{number}", "failed", why) for number in range(3)]
    again = [decode_commands(message.value or b"") for message in network.produced]
    assert [number for sent in again for number, _ in sent.items] == [0, 1, 2]
    assert all(isinstance(item, Cancel) and not item.seek for sent in again for _, item in sent.items)
    network.post(0, CallsRefused("app/other.commands/0", "Topic authorization failed"))
    network.settle()
    assert len(outcomes(network)) == 3


def test_a_call_that_kafka_took_at_last_is_not_taken_back() -> None:
    network, parent = begun()
    network.refuses = True
    for number in range(3):
        network.post(0, Invoke(parent, f"far-{number}", "other", "check", 1, b"{}", None, detached=False))
    network.settle()
    network.produced.clear()
    queue = foreign_queue("other.commands", 0)
    # The right is given while an append is slow: what Kafka says of the calls comes before what it said of the queue is decided upon.
    network.acknowledge(0, entry_key(queue, 0))
    network.post(0, CallsRefused(queue, "Topic authorization failed"))
    network.settle()
    assert [(step, status) for step, status, _ in outcomes(network)] == [("far-1", "failed"), ("far-2", "failed")]
    again = [decode_commands(message.value or b"") for message in network.produced]
    assert [(number, type(item)) for sent in again for number, item in sent.items] == [(1, Cancel), (2, Cancel)]
    network.give(0, Reply(parent, "far-0", b"7"))
    network.settle()
    assert outcomes(network)[-1] == ("far-0", "completed", "")


def test_a_run_that_outlives_its_caller_stays_in_the_slot_that_they_shared() -> None:
    network, [parent, other] = _pooled("order/0", "order/1")
    network.post(partition_of(parent), invoke(parent, "call", timeout=100, detached=True))
    network.settle()
    [child] = children(network)
    network.post(partition_of(child), invoke(child, "call"))
    network.settle()
    [_, grandchild] = children(network)
    network.now += 100
    network.settle()
    for ended in (parent, child):
        network.post(partition_of(ended), FinishRun(ended, b"7"))
        network.settle()
        assert _begun(network) == {parent, child, grandchild}
    network.post(partition_of(grandchild), Stopped(grandchild))
    network.settle()
    assert _begun(network) == {parent, child, grandchild, other}


def test_a_slot_is_not_free_before_what_its_holder_has_given_up_has_stopped() -> None:
    network, [parent, other] = _pooled("order/0", "order/1")
    network.post(partition_of(parent), invoke(parent, "call"))
    network.settle()
    network.post(partition_of(parent), FinishRun(parent, b"7"))
    network.settle()
    [child] = children(network)
    assert _begun(network) == {parent, child}
    network.post(partition_of(child), Stopped(child))
    network.settle()
    assert _begun(network) == {parent, child, other}


def test_who_has_left_a_slot_to_others_comes_back_into_it() -> None:
    """A caller is parked, because its worker has no code for it, and goes on before what it has invoked has ended."""
    network, [parent, other] = _pooled("order/0", "order/1")
    network.post(partition_of(parent), invoke(parent, "call"))
    network.settle()
    [child] = children(network)
    network.lead_with(Function("check", ("1",), flow=POOL))
    network.settle()
    network.lead_with(Function("order", ("1",), flow=POOL), Function("check", ("1",), flow=POOL))
    network.settle()
    executed = [effect.run_id for effect in network.effects if isinstance(effect, Execute)]
    assert executed.count(parent) == 2
    assert _begun(network) == {parent, child}
    for ended in (child, parent):
        assert _begun(network) == {parent, child}
        network.post(partition_of(ended), FinishRun(ended, b"7"))
        network.settle()
    assert _begun(network) == {parent, child, other}
    network.post(partition_of(other), FinishRun(other, b"7"))
    network.settle()
    assert [key for store in network.stores() for key in store.data if key.startswith(CLAIMS.prefix)] == []


POOL = Flow((Concurrency(1, pool="pool"),))


def _pooled(*identities: str) -> tuple[Network, list[str]]:
    """Return a network where runs of `order` and `check` share one slot, with a run of `order` for each event: the first has begun, others wait."""
    order = Function("order", ("1",), flow=POOL)
    network = Network(PARTITIONS, order, Function("check", ("1",), flow=POOL))
    for offset, identity in enumerate(identities):
        event = replace(EVENT, identity=identity, offset=offset)
        matched = match([Wish("order", None, POOL, ())], event, PARTITIONS, None)
        network.give(offset % PARTITIONS, Admit(event, [], None, tuple(matched.asked)))
        network.settle()
    runs = {record.offset: record.run_id for record in network.told if isinstance(record, EventDisposed | RunStarted)}
    return network, [runs[offset] for offset in range(len(identities))]


def _begun(network: Network) -> set[str]:
    return {record.run_id for record in network.told if isinstance(record, RunStarted)}
