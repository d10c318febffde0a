"""Telling the step that invoked a run how that ended: once, whatever became of the run; and a run that nobody waits for any more."""

from stream_engine.core.failure import Failure
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Live, Turn
from stream_engine.core.records.history import RunEnded
from stream_engine.core.records.requests import Caller, Cancel, Entry, Reply
from stream_engine.core.records.tables import STEPS, Run, Step
from stream_engine.core.stages.step import tell_interrupted
from stream_engine.core.waits.withdrawal import withdraw_step

_REASONS = {
    "cancelled": "cancelled",
    "skipped": "skipped",
    "rate-limited": "rate_limited",
    "duplicate": "skipped",
    "paused": "paused",
}


def tell_end(turn: Turn, run: Run, ended: RunEnded) -> None:
    """Tell whoever invoked a run that it has ended."""
    caller = run.caller
    if caller is None:
        return
    if ended.status == "completed":
        result = (ended.result or "null").encode()
        turn.command_to(caller.topic, partition_of(caller.run_id), Reply(caller.run_id, caller.step_id, result))
    else:
        reason = "timeout" if ended.status == "timed_out" else ended.status
        refuse(
            turn,
            caller,
            reason,
            ended.error or Failure("InvokeError", f"run {ended.run_id} was {ended.status}: {ended.detail}"),
        )


def tell_disposition(turn: Turn, run: Run | Entry, disposition: str, detail: str = "") -> None:
    """Tell whoever invoked a run that it will not begin."""
    if run.caller is not None:
        because = f": {detail}" if detail else ""
        error = Failure("InvokeError", f"the run of {run.function!r} was {disposition}{because}")
        refuse(turn, run.caller, _REASONS[disposition], error)


def refuse(turn: Turn, caller: Caller, reason: str, error: Failure) -> None:
    """Tell a step why there is no result."""
    turn.command_to(
        caller.topic, partition_of(caller.run_id), Reply(caller.run_id, caller.step_id, None, reason, error)
    )


def give_up_all(turn: Turn, run: str, live: Live) -> None:
    """Cancel what a run that ends has invoked and waits for, wait for no event any more, and for nothing that is lent."""
    for step_id in sorted(live.pending):
        step = turn.state.get(STEPS, STEPS.key(run, step_id))
        if step is not None and step.status == "waiting":
            give_up(turn, step, f"run {run}, which invoked it, has ended")
            withdraw_step(turn, run, step_id, step)
        elif step is not None and step.status == "lent":
            tell_interrupted(turn, live.run, run, step_id, step)


def give_up(turn: Turn, step: Step, reason: str) -> None:
    """Cancel the run that a step waits for, unless it is to go on."""
    child = step.child
    if child is not None and not child.detached:
        turn.command_to(child.topic, partition_of(child.run_id), Cancel(child.run_id, reason, seek=True))
