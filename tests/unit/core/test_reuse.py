"""Steps that a run of several events takes over: those of a run of the very same events, or none."""

from __future__ import annotations

import pytest

from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Reused
from stream_engine.core.stages.reuse import composition
from tests.unit.core.network import Network

OWNER, ARRIVAL = 1, 2
GATES = {
    "batch": Gate("batch", "6a80", "pay", "", OWNER, limit=3, per=500, most=1_000),
    "debounce": Gate("debounce", "6a7f", "pay", "", OWNER, per=500, mode="all"),
}
STEPS = (Reused("load", "run", 0, 1, 2, b"1"),)


def _event(offset: int) -> Event:
    return Event("order", f"id:{offset}", str(offset), offset, offset, "shop.events", 0, offset, b"{}")


@pytest.mark.parametrize("kind", sorted(GATES))
@pytest.mark.parametrize(("of", "again"), [((0, 1, 2), True), ((0, 1), False), ((0, 1, 2, 3), False)])
@pytest.mark.parametrize("brought_by", [0, 2])
def test_steps_are_taken_over_by_a_run_of_the_same_events(
    kind: str, of: tuple[int, ...], again: bool, brought_by: int
) -> None:
    """Whichever of the events brings them."""
    network = Network(3, Function("pay", ("1",)))
    stands_for = composition(("shop.events", 0, offset) for offset in of)
    for offset in (2, 0, 1):
        steps = STEPS if offset == brought_by else ()
        asked = (Asked("pay", (GATES[kind],), 0),)
        network.give(ARRIVAL, Admit(_event(offset), [], "r1", asked, reused=steps, reused_of=stands_for))
    network.settle()
    while (due := network.next_due()) is not None and due < 100_000:
        network.now = max(due, network.now)
        network.settle()
    [execute] = [effect for effect in network.effects if isinstance(effect, Execute)]
    assert sorted(event.offset for event in execute.events) == [0, 1, 2]
    assert sorted(execute.steps) == (["load"] if again else [])


@pytest.mark.parametrize(("kind", "about"), [("batch", 0), ("debounce", 2)])
def test_idempotency_keys_are_those_of_the_events_whichever_was_the_first_to_come(kind: str, about: int) -> None:
    """The order in which they come to their gate is another one in each replay."""
    runs = [
        _gathered(kind, order, replay, new_keys=new_keys)
        for order, replay, new_keys in (
            ((0, 1, 2), None, False),
            ((2, 0, 1), None, False),
            ((1, 2, 0), "r1", False),
            ((1, 2, 0), "r2", True),
        )
    ]
    assert [run.event.offset for run in runs] == [about] * 4
    assert len({run.run.root for run in runs[:3]}) == 1
    assert runs[3].run.root not in {run.run.root for run in runs[:3]}


def _gathered(kind: str, order: tuple[int, ...], replay: str | None, *, new_keys: bool) -> Execute:
    network = Network(3, Function("pay", ("1",)))
    for offset in order:
        asked = (Asked("pay", (GATES[kind],), 0),)
        network.give(ARRIVAL, Admit(_event(offset), [], replay, asked, new_keys=new_keys))
        network.settle()
    while (due := network.next_due()) is not None and due < 100_000:
        network.now = max(due, network.now)
        network.settle()
    [execute] = [effect for effect in network.effects if isinstance(effect, Execute)]
    return execute
