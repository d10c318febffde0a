"""Batch: a run gets so many events at once, or so many bytes of them, or what has come within a time.

An event whose ``cancel_on`` comes while the batch is open is taken out of it; of one that has started, nothing.
"""

from msgspec.structs import replace

from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Entry, Span
from stream_engine.core.records.tables import BUFFERS, HELD, Buffer
from stream_engine.core.records.wanted import TakeOut, Uncollect
from stream_engine.core.stages.gathering import add, go_on, now_of, open_buffer, told
from stream_engine.core.waits.cancelling_events import register_in_batch

BATCHED = "batched"
"""What history is told of all events of a batch but the oldest, which its run is of."""


def gather(turn: Turn, entry: Entry) -> None:
    """Take an event into the batch that is open, or into a new one where it does not fit into that."""
    gate = entry.gates[0]
    key = BUFFERS.key(gate.id)
    buffer = turn.state.get(BUFFERS, key)
    if buffer is not None and buffer.size + len(entry.event.data) > gate.most:
        come_due(turn, gate.id, buffer, now_of(turn, entry))
        buffer = None
    if buffer is None:
        buffer = open_buffer(turn, entry, gate)
    buffer = add(turn, buffer, entry)
    if buffer.count - len(buffer.removed) >= gate.limit or buffer.size >= gate.most:
        come_due(turn, gate.id, buffer, now_of(turn, entry))
        return
    told(turn, entry, gate, buffer)
    turn.state.put(key, buffer)
    if entry.cancellers:
        register_in_batch(turn, entry, gate, (buffer.name, buffer.count - 1), buffer.until or buffer.due)


def come_due(turn: Turn, gate_id: str, buffer: Buffer, at: int) -> None:
    """The batch is full, or has waited for long enough."""
    go_on(turn, gate_id, buffer, Span(buffer.name, buffer.count, BATCHED), at)


def take_out(turn: Turn, command: TakeOut) -> None:
    """Take an event out of a batch that has not started; without any event left, it is no batch any more."""
    key = BUFFERS.key(command.gate)
    buffer = turn.state.get(BUFFERS, key)
    if buffer is None or buffer.name != command.batch or command.number in buffer.removed:
        return
    buffer = replace(buffer, removed=(*buffer.removed, command.number))
    is_last = buffer.count == len(buffer.removed)
    entry = buffer.entry
    if is_last:
        turn.state.delete(key)
        turn.state.delete(HELD.key(entry.run_id))
    else:
        turn.state.put(key, buffer)
    run_id = entry.run_id if is_last else ""
    about = entry.function, buffer.name, command.number, command.reason, run_id, entry.replay_id
    turn.command(partition_of(buffer.name), Uncollect(*about))
