"""What debounces and batches have in common: entries gather in a buffer, until it is complete and goes on as one."""

from msgspec.structs import replace

from stream_engine.core.gates import BATCH
from stream_engine.core.identity import partition_of
from stream_engine.core.records import Gate
from stream_engine.core.requests import Collect, Entry, Pass, Span
from stream_engine.core.run import at_gate, disposed
from stream_engine.core.tables import BUFFERS, HELD, Buffer, Held, Timer
from stream_engine.core.turn import Turn


def open_buffer(turn: Turn, entry: Entry, gate: Gate) -> Buffer:
    """Begin to gather, with a first entry."""
    due = turn.now + gate.per
    turn.set_timer(due, Timer("buffer", gate.id))
    turn.state.put(HELD.key(entry.run_id), Held(gate.id))
    is_batch = gate.kind == BATCH
    rest = replace(entry, gates=entry.gates[1:], cancellers=() if is_batch else entry.cancellers)
    return Buffer(rest, entry.run_id, turn.now, due, due, is_batch=is_batch)


def add(turn: Turn, buffer: Buffer, entry: Entry) -> Buffer:
    """Keep an event of the entry that the buffer will be, at the home of its run."""
    home = partition_of(buffer.name)
    turn.command(home, Collect(buffer.name, buffer.count, entry.event))
    return replace(buffer, count=buffer.count + 1, size=buffer.size + len(entry.event.data))


def told(turn: Turn, entry: Entry, gate: Gate, buffer: Buffer) -> None:
    """Tell history that an event waits in the buffer."""
    turn.history.append(at_gate(disposed(turn, buffer.entry.run_id, entry, entry.event, "queued"), gate, buffer.due))


def go_on(turn: Turn, gate_id: str, buffer: Buffer, span: Span | None) -> None:
    """Send what has been gathered to the home of its run."""
    turn.state.delete(BUFFERS.key(gate_id))
    turn.state.delete(HELD.key(buffer.entry.run_id))
    turn.command(partition_of(buffer.entry.run_id), Pass(buffer.entry, span))
