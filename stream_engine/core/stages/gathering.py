"""What debounces and batches have in common: entries gather in a buffer, until it is complete and goes on as one."""

from msgspec.structs import replace

from stream_engine.core.gates.event_time import patience
from stream_engine.core.gates.gates import BATCH
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.history import TAKEN_ALONG
from stream_engine.core.records.journal import Gate
from stream_engine.core.records.requests import Collect, Entry, Pass, Span
from stream_engine.core.records.tables import BUFFERS, HELD, Buffer, Held, Timer
from stream_engine.core.stages.run import at_gate, disposed


def open_buffer(turn: Turn, entry: Entry, gate: Gate) -> Buffer:
    """Begin to gather, with a first entry."""
    since = now_of(turn, entry)
    due, until = since + gate.per, at_the_latest(turn, entry, gate)
    timer = until or due
    turn.set_timer(timer, Timer("buffer", gate.id))
    turn.state.put(HELD.key(entry.run_id), Held(gate.id))
    is_batch = gate.kind == BATCH
    rest = replace(entry, gates=entry.gates[1:], cancellers=() if is_batch else entry.cancellers)
    return Buffer(rest, entry.run_id, since, due, timer, is_batch=is_batch, until=until)


def now_of(turn: Turn, entry: Entry) -> int:
    """Return what time it is for an entry that has come to a gate: its moment in a replay, else journal time."""
    return turn.now if entry.replay_id is None else entry.moment


def at_the_latest(turn: Turn, entry: Entry, gate: Gate) -> int:
    """Return until when on the clock a buffer of a replay waits for what may follow an entry; 0 outside of a replay."""
    return 0 if entry.replay_id is None else turn.now + patience(gate.per)


def add(turn: Turn, buffer: Buffer, entry: Entry) -> Buffer:
    """Keep an event of the entry that the buffer will be, at the home of its run.

    The event that brings the steps to take over need not be the first to come.
    """
    home = partition_of(buffer.name)
    turn.command(home, Collect(buffer.name, buffer.count, entry.event))
    if entry.run_id != buffer.entry.run_id and entry.event.ts > entry.created_at:
        # While it waited for its time, history told of a run that it will not have.
        detail = TAKEN_ALONG + buffer.entry.run_id
        turn.history.append(
            at_gate(disposed(turn, entry.run_id, entry, entry.event, "queued", detail=detail), entry.gates[0])
        )
    if entry.reused and not buffer.entry.reused:
        buffer = replace(buffer, entry=replace(buffer.entry, reused=entry.reused, reused_of=entry.reused_of))
    return replace(buffer, count=buffer.count + 1, size=buffer.size + len(entry.event.data))


def told(turn: Turn, entry: Entry, gate: Gate, buffer: Buffer) -> None:
    """Tell history that an event waits in the buffer."""
    turn.history.append(
        at_gate(disposed(turn, buffer.entry.run_id, entry, entry.event, "queued"), gate, buffer.until or buffer.due)
    )


def go_on(turn: Turn, gate_id: str, buffer: Buffer, span: Span | None, at: int) -> None:
    """Send what has been gathered to the home of its run; ``at`` is when it was complete."""
    turn.state.delete(BUFFERS.key(gate_id))
    turn.state.delete(HELD.key(buffer.entry.run_id))
    entry = buffer.entry if buffer.entry.replay_id is None else replace(buffer.entry, moment=at)
    turn.command(partition_of(entry.run_id), Pass(entry, span))
