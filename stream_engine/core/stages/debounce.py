"""Debounce: of events that follow each other closely, one run, once it has been quiet for a while.

The latest event counts, by its ``ts`` and then by its place in the log. One that arrives late, behind a newer one, neither takes its place
nor prolongs the wait. With ``keep="all"`` the run gets every event.
"""

from msgspec.structs import replace

from stream_engine.core.partition.payload import age
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.history import TAKEN_ALONG
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Entry, Span
from stream_engine.core.records.tables import BUFFERS, HELD, Buffer, Held
from stream_engine.core.stages.gathering import add, at_the_latest, go_on, now_of, open_buffer, told
from stream_engine.core.stages.run import at_gate, disposed
from stream_engine.core.waits.withdrawal import withdraw_cancellers


def gather(turn: Turn, entry: Entry) -> None:
    """Take an event: it becomes the one that the run is about, or is coalesced with it."""
    gate = entry.gates[0]
    key = BUFFERS.key(gate.id)
    buffer = turn.state.get(BUFFERS, key)
    if buffer is None:
        buffer = open_buffer(turn, entry, gate)
        told(turn, entry, gate, buffer)
    elif _is_newer(entry.event, buffer.entry.event):
        buffer = _follow(turn, entry, gate, buffer)
    else:
        withdraw_cancellers(turn, entry.run_id, entry)
        _coalesce(turn, entry, gate, buffer.entry.run_id)
    turn.state.put(key, add(turn, buffer, entry) if gate.mode == "all" else buffer)


def come_due(turn: Turn, gate_id: str, buffer: Buffer) -> None:
    """It has been quiet for long enough."""
    go_on(turn, gate_id, buffer, Span(buffer.name, buffer.count) if buffer.count else None, buffer.due)


def _follow(turn: Turn, entry: Entry, gate: Gate, buffer: Buffer) -> Buffer:
    latest = replace(entry, gates=entry.gates[1:])
    if gate.mode == "all":
        latest = replace(buffer.entry, event=entry.event)
    before = buffer.entry
    # Where all are kept, the run is that of the first, and is cancelled by what it waits for.
    withdrawn = entry if gate.mode == "all" else before
    withdraw_cancellers(turn, withdrawn.run_id, withdrawn)
    turn.state.delete(HELD.key(before.run_id))
    turn.state.put(HELD.key(latest.run_id), Held(gate.id))
    due = now_of(turn, entry) + gate.per
    if gate.most:
        due = max(buffer.due, min(due, buffer.since + gate.most))
    _coalesce(turn, before, gate, latest.run_id)
    buffer = replace(buffer, entry=latest, due=due, until=at_the_latest(turn, entry, gate))
    told(turn, latest, gate, buffer)
    return buffer


def _coalesce(turn: Turn, entry: Entry, gate: Gate, taken_by: str) -> None:
    told = disposed(turn, entry.run_id, entry, entry.event, "coalesced", detail=TAKEN_ALONG + taken_by)
    turn.history.append(at_gate(told, gate))


def _is_newer(event: Event, than: Event) -> bool:
    return age(event) > age(than)
