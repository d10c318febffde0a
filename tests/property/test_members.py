"""The events of runs, read off history: whatever is told twice, or in another order."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Collect, Entry, Pass, Span
from stream_engine.core.stages.batch import BATCHED
from stream_engine.core.views.members import Members
from stream_engine.core.views.runs import RunIndex
from tests.unit.core.network import Network

OWNER, ARRIVAL = 1, 2
GATES = {
    "none": (),
    "latest": (Gate("debounce", "6a7e", "pay", "", OWNER, per=500),),
    "all": (Gate("debounce", "6a7f", "pay", "", OWNER, per=500, mode="all"),),
    "batch": (Gate("batch", "6a80", "pay", "", OWNER, limit=3, per=500, most=1_000),),
}


def _event(offset: int, ts: int, identity: str) -> Event:
    return Event("order", identity, identity, ts, ts, "shop.events", 0, offset, b"{}")


def _members(network: Network, records: list[HistoryRecord], *, keeps_all: bool) -> dict[str, list[int]]:
    members = Members("pay", "shop.events", keeps_all=keeps_all)
    for record in records:
        members.add(record)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for (_, offset), run in members:
        found[run].append(offset)
    return {run: sorted(offsets) for run, offsets in found.items()}


@pytest.mark.parametrize("kind", sorted(GATES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_run_has_the_events_that_its_execution_gets(kind: str, data: st.DataObject) -> None:
    """Some come late, some are repeats of earlier ones, and some wait for their time; history is read in any order, and twice."""
    network, home = Network(3, Function("pay", ("1",))), data.draw(st.sampled_from([0, -1]))
    for offset in range(data.draw(st.integers(1, 8))):
        network.now += data.draw(st.sampled_from([0, 200, 600]))
        of = data.draw(st.integers(0, offset))
        placed = _event(offset, network.now + data.draw(st.sampled_from([-300, 0, 700])), f"id:{of}")
        network.give(ARRIVAL, Admit(placed, [], None, (Asked("pay", GATES[kind], home),)))
        network.settle()
        while (due := network.next_due()) is not None and due <= network.now + 100:
            network.now = max(due, network.now)
            network.settle()
    while (due := network.next_due()) is not None and due < 20_000:
        network.now = max(due, network.now)
        network.settle()
    executed = [effect for effect in network.effects if isinstance(effect, Execute)]
    expected = {effect.run_id: sorted(one.offset for one in effect.events or (effect.event,)) for effect in executed}
    read = data.draw(st.permutations(network.told * 2))
    assert _members(network, read, keeps_all=kind == "all") == expected
    # Nothing is left that seems to wait: what an event was told to become while it waited for its time, another run may have taken.
    told = data.draw(st.permutations(list(enumerate(network.history))))
    index = RunIndex()
    for number, (partition, record) in told:
        index.add(f"{partition}.0.{number}.0", record)
    statuses = {run_id: run.status for run_id in index if (run := index.get(run_id)) is not None}
    assert statuses == dict.fromkeys(expected, "running")


@pytest.mark.parametrize("kind", ["none", "batch"])
def test_neither_a_rerun_nor_a_run_of_a_replay_is_the_original_one(kind: str) -> None:
    network = Network(3, Function("pay", ("1",)))
    events = [_event(offset, 0, f"id:{offset}") for offset in range(3)]
    for replay in (None, "r"):
        for placed in events:
            network.give(ARRIVAL, Admit(placed, [], replay, (Asked("pay", GATES[kind], 0),)))
        network.now += 600
        network.settle()
        network.now += 20_000
        network.settle()
    span = Span("again-0", 3, BATCHED) if kind == "batch" else None
    for number, placed in enumerate(events):
        network.give(0, Collect("again-0", number, placed))
    network.give(0, Pass(Entry("again-0", "pay", "root", 1, 1, (), events[0], rerun_of="first-0"), span))
    network.settle()
    executed = [effect for effect in network.effects if isinstance(effect, Execute)]
    originals = {one.run_id for one in executed if one.run.replay_id is None and not one.run.rerun_of}
    assert len(executed) == (3 if kind == "batch" else 7)
    found = _members(network, network.told[::-1], keeps_all=False)
    assert found.keys() == originals
    assert sorted(offset for offsets in found.values() for offset in offsets) == [0, 1, 2]


def test_what_waits_belongs_to_the_run_that_it_waits_for() -> None:
    network = Network(3, Function("pay", ("1",)))
    for offset in range(2):
        network.give(ARRIVAL, Admit(_event(offset, 0, f"id:{offset}"), [], None, (Asked("pay", GATES["batch"], 0),)))
    network.settle()
    [(run, offsets)] = _members(network, network.told, keeps_all=False).items()
    assert (run.endswith("-0"), offsets) == (True, [0, 1])
