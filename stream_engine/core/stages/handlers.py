"""The handlers that functions declare for runs of theirs that failed or were cancelled: each is a function, and gets a run of its own.

Whoever leads a run's partition need not have its code, or the newest: while a deploy is rolled out, or after one that was taken back or has the function no more. So what
handlers a function has is said by the catalogue in force, which all workers follow, and whose code is there or on its way. Of a function that it does not have, the code says it
that is here; where neither knows the function, what it declared when the run was admitted or began is in the run. The handler's run then waits for code, as other
runs do, and is shown so, until it has it or is cancelled.
"""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.identity import digest, home_partition
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Entry, Handle, Handlers
from stream_engine.core.records.tables import Run


def declared(turn: Turn, function: str) -> Handlers | None:
    """Return the handlers of a function as it is known here; None if it has none, or is not known."""
    known = turn.in_force.get(function) or turn.rules.functions.get(function)
    if known is None or not (known.on_failure or known.on_cancel):
        return None
    return Handlers(known.on_failure or "", known.on_cancel or "")


def failed(turn: Turn, run_id: str, run: Run, event: Event, error: Failure) -> None:
    """Hand a run that failed to the handler of its function, if that has one."""
    found = _handlers(turn, run)
    if found is not None and found.on_failure:
        _hand_over(turn, Handle(found.on_failure, "", run_id, event, error, run.replay_id))


def cancelled(turn: Turn, run_id: str, run: Run | Entry, event: Event) -> None:
    """Hand a run that was cancelled, begun or not, to the handler of its function, if that has one.

    What never began because its replay was cancelled has nothing to undo, and a handler of it would be a run more of that replay.
    """
    if turn.halts.cancels(run):
        return
    found = _handlers(turn, run)
    if found is not None and found.on_cancel:
        _hand_over(turn, Handle(found.on_cancel, "", run_id, event, None, run.replay_id))


def _handlers(turn: Turn, run: Run | Entry) -> Handlers | None:
    is_known = run.function in turn.rules.functions or run.function in turn.in_force
    return declared(turn, run.function) if is_known else run.handlers


def _hand_over(turn: Turn, handle: Handle) -> None:
    name = digest(handle.of_run, handle.function)
    turn.command(home_partition(name, turn.rules.partitions), replace(handle, run_name=name))
