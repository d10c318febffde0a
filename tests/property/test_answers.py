"""What those are told who started runs, read off history: each once, whatever is read first, and whatever run their events went to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.identity import partition_of, run_id, run_name
from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Cancel
from stream_engine.core.records.wanted import TakeOut
from stream_engine.core.stages.commands import FinishRun
from stream_engine.core.views.answers import Answer, Answers, name_of
from tests.unit.core.network import Network

HOME, OWNER, ARRIVAL = 0, 1, 2
_LIMIT = Gate("rate limit", "6a83", "pay", "", OWNER, limit=1, per=100_000)
GATES = {
    "none": (),
    "latest": (Gate("debounce", "6a7e", "pay", "", OWNER, per=500),),
    "all": (Gate("debounce", "6a7f", "pay", "", OWNER, per=500, mode="all"),),
    "batch": (Gate("batch", "6a80", "pay", "", OWNER, limit=3, per=500, most=1_000),),
    "limited": (Gate("batch", "6a80", "pay", "", OWNER, limit=3, per=500, most=1_000), _LIMIT),
}


def _run(number: int) -> str:
    return run_id(run_name("shop", "pay", f"id:{number}", None), HOME)


def _in_batch(network: Network, run: str) -> int:
    """Return how many events have come to a batch."""
    told = (record for record in network.told if isinstance(record, EventDisposed) and record.run_id == run)
    return sum(record.gate == "batch" and not record.detail for record in told)


def _asked(network: Network, kind: str, data: st.DataObject) -> None:
    """Have events come, late and early, repeats among them, and runs be cancelled, and events be taken out of batches."""
    for offset in range(data.draw(st.integers(1, 8))):
        network.now += data.draw(st.sampled_from([0, 200, 600]))
        of, ts = data.draw(st.integers(0, offset)), network.now + data.draw(st.sampled_from([-300, 0, 700]))
        event = Event("order", f"id:{of}", str(of), ts, ts, "shop.events", 0, offset, b"{}")
        network.give(ARRIVAL, Admit(event, [], None, (Asked("pay", GATES[kind], HOME),)))
        network.settle()
        if data.draw(st.booleans()):
            batch = _run(data.draw(st.integers(0, offset)))
            for number in range(data.draw(st.integers(0, _in_batch(network, batch)))):
                network.give(OWNER, TakeOut(batch, "6a80", batch, number, "taken out"))
        if data.draw(st.integers(0, 9)) == 0:
            network.give(HOME, Cancel(_run(data.draw(st.integers(0, offset))), "ada", seek=True))
        network.settle()
    while (due := network.next_due()) is not None and due < 20_000:
        network.now = max(due, network.now)
        network.settle()


def _first(records: Iterable[HistoryRecord]) -> tuple[dict[str, Answer], Answers]:
    """Return what those are told who wait, who hear the first answer only; and what is told to those who ask later."""
    answers, first = Answers("shop", "shop.events"), dict[str, Answer]()
    for record in records:
        for name, answer in answers.add(record):
            first.setdefault(name, answer)
    return first, answers


@pytest.mark.parametrize("kind", sorted(GATES))
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_everybody_is_told_of_his_run_or_why_there_is_none(kind: str, data: st.DataObject) -> None:
    network = Network(3, Function("pay", ("1",)))
    _asked(network, kind, data)
    executed = [effect for effect in network.effects if isinstance(effect, Execute)]
    for effect in executed:
        network.post(partition_of(effect.run_id), FinishRun(effect.run_id, b"1"))
    network.settle()
    run_with = {one.identity: effect.run_id for effect in executed for one in effect.events or (effect.event,)}
    ends = {record.run_id: record.status for record in network.told if isinstance(record, RunEnded)}
    by_partition: defaultdict[int, list[HistoryRecord]] = defaultdict(list)
    for partition, record in network.history:
        by_partition[partition].append(record)
    # A partition's history is in order; what another one told at the time comes before or behind it.
    order = data.draw(st.permutations([partition for partition, _ in network.history]))
    left = {partition: iter(records) for partition, records in by_partition.items()}
    first, live = _first(next(left[partition]) for partition in order)
    _, later = _first(data.draw(st.permutations(network.told * 2)))
    numbers = {int(record.event_id) for record in network.told if hasattr(record, "event_id")}
    for number in numbers:
        own, run = _run(number), run_with.get(f"id:{number}", "")
        expected = (ends[own], "") if own == run else ("cancelled", run)
        for answer in (first.get(name_of(own)), live.get(own), later.get(own)):
            assert answer is not None
            assert answer.is_final
            others = answer.run_of_others if run else ""
            assert (answer.status, others) == expected
            assert (answer.end is not None) == (own == run)
        assert later.holder(own) in (own, None), "all is over"
