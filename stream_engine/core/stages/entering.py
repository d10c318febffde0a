"""Stage *admit*, for functions with flow control: an entry passes what decides before there is a run, and arrives at the run's home."""

from msgspec.structs import replace

from stream_engine.core.gates import event_time
from stream_engine.core.gates.gates import BATCH, DEBOUNCE, IDEMPOTENCY
from stream_engine.core.identity import partition_of, run_name
from stream_engine.core.partition.payload import age, drop_span, gathered, keep
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Collect, Entry, Pass, Span
from stream_engine.core.records.tables import BUFFERS, ENTRIES, GATHERED, HELD, KNOWN, Buffer, Known, Run, Timer
from stream_engine.core.records.wanted import Uncollect
from stream_engine.core.stages import batch, debounce, handlers, timeouts
from stream_engine.core.stages.gathering import go_on
from stream_engine.core.stages.halting import why_dismissed
from stream_engine.core.stages.replying import tell_disposition
from stream_engine.core.stages.reuse import composition, take_over
from stream_engine.core.stages.run import at_gate, begin, disposed
from stream_engine.core.waits.withdrawal import slots, withdraw_cancellers

_TOLD_AT_ONCE = 1_000
"""Of how many events of a batch one record tells at most."""


def pass_on(turn: Turn, entry: Entry, span: Span | None = None) -> None:
    """Send an entry to where it is decided upon next; one whose time has not come waits here until then."""
    gate = entry.gates[0] if entry.gates else None
    if entry.event.ts > turn.now and not (gate is not None and gate.kind == IDEMPOTENCY):
        turn.state.put(ENTRIES.key(entry.run_id), entry)
        turn.set_timer(entry.event.ts, Timer("enter", entry.run_id))
        turn.history.append(disposed(turn, entry.run_id, entry, entry.event, "delayed", detail=str(entry.event.ts)))
    else:
        turn.command(next_stop(entry), Pass(entry, span))


def next_stop(entry: Entry) -> int:
    """Return the partition that decides upon an entry next: its gate's, where there is no run yet, or its run's home."""
    gate = entry.gates[0] if entry.gates else None
    if gate is not None and gate.kind in (IDEMPOTENCY, DEBOUNCE, BATCH):
        return gate.partition
    return partition_of(entry.run_id)


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
    gate = entry.gates[0] if entry.gates else None
    if entry.replay_id is not None and gate is not None and gate.kind in (IDEMPOTENCY, DEBOUNCE, BATCH):
        event_time.hold(turn, gate, entry.moment, command)
    else:
        take(turn, command)


def take(turn: Turn, command: Pass) -> None:
    """It is an entry's turn; in a replay, what its gate has gathered is over if its time is, when this one comes."""
    entry = command.entry
    reason = why_dismissed(turn, entry.run_id, entry)
    kind = entry.gates[0].kind if entry.gates else ""
    if entry.replay_id is not None and kind in (DEBOUNCE, BATCH):
        buffer = turn.state.get(BUFFERS, BUFFERS.key(entry.gates[0].id))
        if buffer is not None and buffer.due <= entry.moment:
            _complete(turn, entry.gates[0].id, buffer)
    if reason is not None:
        dismiss(turn, entry, reason, command.span)
    elif kind == IDEMPOTENCY:
        _know(turn, entry)
    elif kind == DEBOUNCE:
        debounce.gather(turn, entry)
    elif kind == BATCH:
        batch.gather(turn, entry)
    else:
        _arrive(turn, entry, command.span)


def take_out(turn: Turn, run_id: str, reason: str) -> None:
    """Take out what is here of a run that was cancelled before it arrived at its home; a buffer goes there, where its events are."""
    key = ENTRIES.key(run_id)
    entry = turn.state.get(ENTRIES, key)
    if entry is not None:
        turn.state.delete(key)
        dismiss(turn, entry, reason)
    held = turn.state.get(HELD, HELD.key(run_id))
    if held is not None:
        empty(turn, held.gate)


def empty(turn: Turn, gate_id: str) -> None:
    """Send what a debounce or a batch has gathered to its home, where it is known to be dismissed."""
    buffer = turn.state.get(BUFFERS, BUFFERS.key(gate_id))
    if buffer is not None:
        told = "cancelled" if buffer.is_batch else ""
        go_on(turn, gate_id, buffer, Span(buffer.name, buffer.count, told) if buffer.count else None, buffer.due)


def dismiss(turn: Turn, entry: Entry, reason: str, span: Span | None = None) -> None:
    """Let go of an entry whose run was cancelled."""
    if span is not None and not span.first:
        entry = _of_its_events(turn, entry, span)
    if span is not None and not _all_told(turn, entry, span, "cancelled", reason):
        return
    withdraw_cancellers(turn, entry.run_id, entry)
    turn.history.append(disposed(turn, entry.run_id, entry, entry.event, "cancelled", detail=reason))
    if span is not None:
        drop_span(turn, span)
    tell_disposition(turn, entry, "cancelled", reason)
    handlers.cancelled(turn, entry.run_id, entry, entry.event)


def buffer_due(turn: Turn, gate_id: str, at: int) -> None:
    """A debounce or a batch has gathered for long enough."""
    buffer = turn.state.get(BUFFERS, BUFFERS.key(gate_id))
    if buffer is None or buffer.timer != at:
        return
    due = buffer.until or buffer.due
    if buffer.until and event_time.holds_any(turn, gate_id):
        due = max(due, turn.now + event_time.HOLD)
    if due > turn.now:
        turn.set_timer(due, Timer("buffer", gate_id))
        turn.state.put(BUFFERS.key(gate_id), replace(buffer, timer=due))
    else:
        _complete(turn, gate_id, buffer)


def _complete(turn: Turn, gate_id: str, buffer: Buffer) -> None:
    if buffer.is_batch:
        batch.come_due(turn, gate_id, buffer, buffer.due)
    else:
        debounce.come_due(turn, gate_id, buffer)


def collect(turn: Turn, command: Collect) -> None:
    """Keep an event of a span."""
    turn.state.put(GATHERED.numbered_key(command.name, command.number), command.event)


def uncollect(turn: Turn, command: Uncollect) -> None:
    """Drop an event of a span: it was taken out of a batch before that has started."""
    key = GATHERED.numbered_key(command.name, command.number)
    event = turn.state.get(GATHERED, key)
    if event is None:
        return
    turn.state.delete(key)
    about = Entry("", command.function, "", turn.now, 0, (), event, command.replay_id)
    turn.history.append(disposed(turn, command.run_id, about, event, "cancelled", detail=command.reason))


def _know(turn: Turn, entry: Entry) -> None:
    gate = entry.gates[0]
    key = KNOWN.key(gate.id)
    known = turn.state.get(KNOWN, key)
    if known is not None and (entry.replay_id is None or entry.moment - known.moment < gate.per):
        withdraw_cancellers(turn, entry.run_id, entry)
        told = disposed(turn, known.run_id, entry, entry.event, "duplicate", detail=f"of event {known.event}")
        turn.history.append(at_gate(told, gate))
        tell_disposition(turn, entry, "duplicate", f"of run {known.run_id}, by its idempotency key")
        return
    turn.state.put(key, Known(entry.run_id, entry.moment, entry.event.id))
    turn.forget.append((turn.now + gate.per, key))
    pass_on(turn, event_time.due(replace(entry, gates=entry.gates[1:])))


def _arrive(turn: Turn, entry: Entry, span: Span | None) -> None:
    if span is not None and not span.first:
        entry = _of_its_events(turn, entry, span)
    event = entry.event
    if span is not None and not _all_told(turn, entry, span, span.told):
        return
    if span is not None and entry.reused and composition(map(_place, gathered(turn, span))) != entry.reused_of:
        # Steps that were about other events are not this run's.
        entry = replace(entry, reused=())
    run = Run(
        entry.function,
        entry.version,
        "queued",
        entry.root,
        entry.created_at,
        replay_id=entry.replay_id,
        gates=entry.gates,
        order=entry.order,
        span=span,
        of_run=None if entry.caller is None else entry.caller.run_id,
        caller=entry.caller,
        reused=bool(entry.reused),
        rerun_of=entry.rerun_of,
        cancellers=slots(entry),
        moment=entry.moment,
        handlers=entry.handlers,
    )
    take_over(turn, entry.run_id, entry.reused)
    keep(turn, entry.run_id, event)
    begin(turn, entry.run_id, timeouts.mind_gathered(turn, entry.run_id, run, event), event)


def _of_its_events(turn: Turn, entry: Entry, span: Span) -> Entry:
    """Return what has gathered as a run of its events, whichever of them was the first to come: that is another one in each replay.

    A batch is of its oldest event, a debounce of its newest, and idempotency keys derive from that one, unless the replay is to have new ones. The first to come may have been
    taken out of a batch.
    """
    event = entry.event
    if span.told:
        event = min(gathered(turn, span), key=age, default=event)
    has_new_keys = entry.replay_id is not None and entry.root == entry.run_id.rpartition("-")[0]
    root = entry.root if has_new_keys else run_name(turn.rules.app, entry.function, event.identity, None)
    return replace(entry, event=event, root=root)


def _all_told(turn: Turn, entry: Entry, span: Span, disposition: str, detail: str = "") -> bool:
    """Tell history of the events of a span besides the entry's own; return False if that takes more records, and comes back with the next."""
    if not span.told:
        return True
    own = _place(entry.event)
    for other in gathered(turn, span, _TOLD_AT_ONCE):
        if _place(other) != own:
            turn.history.append(disposed(turn, entry.run_id, entry, other, disposition, detail=detail))
    first = span.first + _TOLD_AT_ONCE
    if first < span.count:
        turn.later(Pass(entry, replace(span, first=first)))
        return False
    return True


def _place(event: Event) -> tuple[str, int, int]:
    return event.topic, event.partition, event.offset
