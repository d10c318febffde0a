"""Batch: a run gets so many events at once, or so many bytes of them, or what has come within a time."""

from stream_engine.core.gathering import add, go_on, open_buffer, told
from stream_engine.core.requests import Entry, Span
from stream_engine.core.tables import BUFFERS, Buffer
from stream_engine.core.turn import Turn


def gather(turn: Turn, entry: Entry) -> None:
    """Take an event into the batch that is open, or into a new one where it does not fit into that."""
    gate = entry.gates[0]
    key = BUFFERS.key(gate.id)
    buffer = turn.state.get(BUFFERS, key)
    if buffer is not None and buffer.size + len(entry.event.data) > gate.most:
        come_due(turn, gate.id, buffer)
        buffer = None
    if buffer is None:
        buffer = open_buffer(turn, entry, gate)
    buffer = add(turn, buffer, entry)
    if buffer.count >= gate.limit:
        come_due(turn, gate.id, buffer)
        return
    told(turn, entry, gate, buffer)
    turn.state.put(key, buffer)


def come_due(turn: Turn, gate_id: str, buffer: Buffer) -> None:
    """The batch is full, or has waited for long enough."""
    go_on(turn, gate_id, buffer, Span(buffer.name, buffer.count, "batched"))
