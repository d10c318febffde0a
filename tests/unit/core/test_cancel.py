"""A run is cancelled once, wherever it is on its way, and the request may be ahead of it."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_engine.core.identity import run_id, run_name
from stream_engine.core.partition.turn import Execute, Function, Stop
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Cancel
from stream_engine.core.records.wanted import TakeOut
from stream_engine.core.stages.commands import Stopped
from tests.unit.core.network import Network

HOME, OWNER, ARRIVAL = 0, 1, 2
PAY = Function("pay", ("1",), on_cancel="undo")
UNDO = Function("undo", ("1",))
GATES = {
    "debounce": Gate("debounce", "6a7e", "pay", "", OWNER, per=500),
    "all": Gate("debounce", "6a7f", "pay", "", OWNER, per=500, mode="all"),
    "batch": Gate("batch", "6a80", "pay", "", OWNER, limit=3, per=500, most=1_000),
    "idempotency": Gate("idempotency", "6a81", "pay", "", OWNER, per=500),
    "concurrency": Gate("concurrency", "6a82", "pay", "", OWNER, limit=0),
}


def event(offset: int, ts: int = 0) -> Event:
    return Event("order", f"id:{offset}", str(offset), ts, ts, "shop.events", 0, offset, b"{}")


def run_of(placed: Event) -> str:
    return run_id(run_name("shop", "pay", placed.identity, None), HOME)


def cancelled(network: Network) -> list[int]:
    """Return the offsets of the events that were cancelled, sorted."""
    return sorted(
        record.offset
        for record in network.told
        if isinstance(record, EventDisposed) and record.disposition == "cancelled"
    )


def handled(network: Network) -> int:
    return sum(isinstance(record, RunStarted) and record.function == "undo" for record in network.told)


@given(st.sampled_from(sorted(GATES)), st.booleans(), st.integers(0, 40), st.lists(st.integers(0, 2), max_size=60))
def test_a_run_is_cancelled_once_wherever_it_is(kind: str, delayed: bool, ahead: int, order: list[int]) -> None:
    """Partitions decide in any order, and the request comes at any moment from the event's arrival on; here, the run's code does nothing."""
    network = Network(3, PAY, UNDO)
    placed = event(7, 2_000 if delayed else 0)
    network.give(ARRIVAL, Admit(placed, [], None, (Asked("pay", (GATES[kind],), HOME),)))
    for number, choice in enumerate([*order, *[0] * 50]):
        if number == ahead:
            network.give(HOME, Cancel(run_of(placed), "ada", seek=True))
        waiting = network.waiting()
        if waiting:
            network.decide(waiting[choice % len(waiting)])
    for now in (1_600, 2_000, 2_600, 10_000):
        network.now = now
        network.settle()
    begun = [record for record in network.told if isinstance(record, RunStarted) and record.function == "pay"]
    stops = [effect for effect in network.effects if isinstance(effect, Stop)]
    assert (len(stops), [] if begun else [7]) == (len(begun), cancelled(network))
    for stop in stops:
        network.post(HOME, Stopped(stop.run_id))
    network.settle()
    ended = [record.status for record in network.told if isinstance(record, RunEnded)]
    assert (ended, handled(network)) == (["cancelled"] * len(begun), 1)


def test_all_events_of_a_batch_that_is_gathered_are_cancelled_with_its_run() -> None:
    network = Network(3, PAY, UNDO)
    for offset in (7, 8):
        network.give(ARRIVAL, Admit(event(offset), [], None, (Asked("pay", (GATES["batch"],), HOME),)))
    network.settle()
    network.give(HOME, Cancel(run_of(event(7)), "ada", seek=True))
    network.settle()
    assert (cancelled(network), handled(network)) == ([7, 8], 1)
    network.give(ARRIVAL, Admit(event(9), [], None, (Asked("pay", (GATES["batch"],), HOME),)))
    network.settle()
    network.now = 10_000
    network.settle()
    [execute] = [effect for effect in network.effects if isinstance(effect, Execute) and effect.run.function == "pay"]
    assert [placed.offset for placed in execute.events] == [9]


def test_an_event_that_was_taken_out_of_a_batch_is_not_cancelled_with_it_once_more() -> None:
    """Whichever came first: its run is named by that, and is of the oldest event that is left."""
    network = Network(3, PAY, UNDO)
    for offset in (7, 8, 9):
        batch = replace(GATES["batch"], limit=9)
        network.give(ARRIVAL, Admit(event(offset), [], None, (Asked("pay", (batch,), HOME),)))
    network.settle()
    network.give(OWNER, TakeOut(run_of(event(7)), "6a80", run_of(event(7)), 0, "event order/gone"))
    network.settle()
    assert (cancelled(network), handled(network)) == ([7], 0)
    network.give(HOME, Cancel(run_of(event(7)), "ada", seek=True))
    network.settle()
    assert cancelled(network) == [7, 8, 9]
    assert [one.offset for one in network.told if isinstance(one, RunStarted) and one.function == "undo"] == [8]


def test_a_repeat_of_what_was_cancelled_before_it_came_is_a_duplicate() -> None:
    network = Network(1, PAY, UNDO)
    placed = event(7)
    network.give(0, Cancel(run_of(placed), "ada", seek=True), Admit(placed, ["pay"]))
    network.settle()
    network.give(0, Admit(event(7), ["pay"]))
    network.settle()
    dispositions = [record.disposition for record in network.told if isinstance(record, EventDisposed)]
    assert dispositions == ["cancelled", "duplicate"]
    assert handled(network) == 1


def test_an_event_that_was_taken_out_of_a_batch_is_not_cancelled_once_more_with_it() -> None:
    network = Network(3, PAY, UNDO)
    for offset in (7, 8, 9):
        network.give(ARRIVAL, Admit(event(offset), [], None, (Asked("pay", (GATES["batch"],), HOME),)))
        if offset == 8:
            network.settle()
            network.give(OWNER, TakeOut(run_of(event(7)), "6a80", run_of(event(7)), 0, "event lost"))
    network.settle()
    network.give(HOME, Cancel(run_of(event(7)), "ada", seek=True))
    network.settle()
    assert (cancelled(network), handled(network)) == ([7, 8, 9], 1)
    [undo] = [effect for effect in network.effects if isinstance(effect, Execute)]
    assert undo.event.offset == 8


def test_what_is_remembered_is_forgotten_after_a_day() -> None:
    network = Network(1, PAY, UNDO)
    network.give(0, Cancel(run_of(event(7)), "ada", seek=True))
    network.settle()
    network.take_over(0)
    network.now += 24 * 3_600_000
    network.settle()
    network.give(0, Admit(event(7), ["pay"]))
    network.settle()
    assert cancelled(network) == []
    assert [effect.run.function for effect in network.effects if isinstance(effect, Execute)] == ["pay"]


def test_a_run_that_was_being_stopped_when_its_leader_went_is_cancelled_by_the_next() -> None:
    network = Network(1, PAY, UNDO)
    placed = event(7)
    network.give(0, Admit(placed, ["pay"]))
    network.settle()
    network.give(0, Cancel(run_of(placed), "ada"))
    network.settle()
    assert not any(isinstance(record, RunEnded) for record in network.told)
    network.take_over(0)
    network.settle()
    [ended] = [record for record in network.told if isinstance(record, RunEnded)]
    assert (ended.run_id, ended.status, ended.detail) == (run_of(placed), "cancelled", "ada")
    assert handled(network) == 1
