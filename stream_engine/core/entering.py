"""Stage *admit*, for functions with flow control: an entry passes what decides before there is a run, and arrives at the run's home."""

from msgspec.structs import replace

from stream_engine.core import batch, debounce
from stream_engine.core.gates import BATCH, DEBOUNCE, IDEMPOTENCY
from stream_engine.core.identity import partition_of
from stream_engine.core.payload import gathered, keep
from stream_engine.core.records import Collect, Entry, Pass, Span
from stream_engine.core.run import at_gate, begin, disposed
from stream_engine.core.tables import BUFFERS, ENTRIES, GATHERED, KNOWN, Known, Run, Timer
from stream_engine.core.turn import Turn


def pass_on(turn: Turn, entry: Entry, span: Span | None = None) -> None:
    """Send an entry to where it is decided upon next; one whose time has not come waits here until then."""
    gate = entry.gates[0] if entry.gates else None
    if entry.event.ts > turn.now and not (gate is not None and gate.kind == IDEMPOTENCY):
        turn.state.put(ENTRIES.key(entry.run_id), entry)
        turn.set_timer(entry.event.ts, Timer("enter", entry.run_id))
        turn.history.append(disposed(turn, entry.run_id, entry, entry.event, "delayed", detail=str(entry.event.ts)))
    elif gate is not None and gate.kind in (IDEMPOTENCY, DEBOUNCE, BATCH):
        turn.command(gate.partition, Pass(entry))
    else:
        turn.command(partition_of(entry.run_id), Pass(entry, span))


def come_due(turn: Turn, run_id: str) -> None:
    """An entry's time has come."""
    key = ENTRIES.key(run_id)
    entry = turn.state.get(ENTRIES, key)
    if entry is not None:
        turn.state.delete(key)
        pass_on(turn, entry)


def enter(turn: Turn, command: Pass) -> None:
    """An entry has come to the gate that is next, or to its run's home."""
    entry = command.entry
    kind = entry.gates[0].kind if entry.gates else ""
    if kind == IDEMPOTENCY:
        _know(turn, entry)
    elif kind == DEBOUNCE:
        debounce.gather(turn, entry)
    elif kind == BATCH:
        batch.gather(turn, entry)
    else:
        _arrive(turn, entry, command.span)


def buffer_due(turn: Turn, gate_id: str, at: int) -> None:
    """A debounce or a batch has gathered for long enough."""
    buffer = turn.state.get(BUFFERS, BUFFERS.key(gate_id))
    if buffer is None or buffer.timer != at:
        return
    if buffer.due > turn.now:
        turn.set_timer(buffer.due, Timer("buffer", gate_id))
        turn.state.put(BUFFERS.key(gate_id), replace(buffer, timer=buffer.due))
    elif buffer.is_batch:
        batch.come_due(turn, gate_id, buffer)
    else:
        debounce.come_due(turn, gate_id, buffer)


def collect(turn: Turn, command: Collect) -> None:
    """Keep an event of a span."""
    turn.state.put(GATHERED.numbered_key(command.name, command.number), command.event)


def _know(turn: Turn, entry: Entry) -> None:
    gate = entry.gates[0]
    key = KNOWN.key(gate.id)
    known = turn.state.get(KNOWN, key)
    if known is not None:
        turn.history.append(at_gate(disposed(turn, known.run_id, entry, entry.event, "duplicate"), gate))
        return
    turn.state.put(key, Known(entry.run_id))
    turn.forget.append((turn.now + gate.per, key))
    pass_on(turn, replace(entry, gates=entry.gates[1:]))


def _arrive(turn: Turn, entry: Entry, span: Span | None) -> None:
    event = entry.event
    if span is not None and span.told:
        for other in gathered(turn, span):
            if (other.topic, other.partition, other.offset) != (event.topic, event.partition, event.offset):
                turn.history.append(disposed(turn, entry.run_id, entry, other, span.told))
    run = Run(
        entry.function,
        "",
        "queued",
        entry.root,
        entry.created_at,
        replay_id=entry.replay_id,
        gates=entry.gates,
        order=entry.order,
        span=span,
    )
    keep(turn, entry.run_id, event)
    begin(turn, entry.run_id, run, event)
