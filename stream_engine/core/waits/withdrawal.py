"""Waits for events that nobody needs any more are withdrawn from where they are answered."""

from stream_engine.core.identity import home_partition
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Entry
from stream_engine.core.records.tables import Run, Step
from stream_engine.core.records.wanted import Withdraw
from stream_engine.core.waits.interests import slot

BATCH = "batch"


def withdraw_step(turn: Turn, run_id: str, step_id: str, step: Step) -> None:
    """Withdraw what a step waits for, if it waits for an event."""
    if step.awaited is not None:
        where = slot(step.awaited.wanted)
        turn.command(home_partition(where, turn.rules.partitions), Withdraw(run_id, step_id, where))


def withdraw_cancellers(turn: Turn, run_id: str, what: Run | Entry) -> None:
    """Withdraw the waits for events that cancel a run; it has ended, or will never be."""
    for number, where in enumerate(slots(what) if isinstance(what, Entry) else what.cancellers):
        turn.command(home_partition(where, turn.rules.partitions), Withdraw(run_id, str(number), where, cancels=True))


def slots(entry: Entry) -> tuple[str, ...]:
    """Return where an entry waits for events that cancel it; one that is on its way into a batch does not yet."""
    if any(gate.kind == BATCH for gate in entry.gates):
        return ()
    return tuple(slot(canceller.wanted) for canceller in entry.cancellers)
