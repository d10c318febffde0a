"""The time is up of a step that waits for an answer: a completion, or what came of what it invoked.

What lies on the commands topic by then still counts, even if the partition had no leader for as long as that, and nobody took it in time. So the end
of the wait is a command as well, which comes behind that. A completion may also be an event, so that all are routed first that came by then.
"""

from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import TimeUp
from stream_engine.core.records.tables import STEPS, Step, Timer
from stream_engine.core.stages import callbacks, invoking
from stream_engine.core.waits.offers import step_overdue


def come_due(turn: Turn, timer: Timer) -> None:
    """The timer of a step has come due."""
    step = _waiting(turn, timer.run, timer.step)
    if step is not None and step.kind == callbacks.KIND:
        step_overdue(turn, timer.run, timer.step, step.wake_at)
    elif step is not None:
        turn.later(TimeUp(timer.run, timer.step))


def time_up(turn: Turn, command: TimeUp) -> None:
    """All is taken that had come in time: a step that still waits has waited in vain."""
    step = _waiting(turn, command.run_id, command.step_id)
    if step is None:
        return
    if step.kind == callbacks.KIND:
        callbacks.time_out(turn, command.run_id, command.step_id, step)
    else:
        invoking.waited_in_vain(turn, command.run_id, command.step_id, step)


def _waiting(turn: Turn, run_id: str, step_id: str) -> Step | None:
    """Return a step, if it waits for an answer, and its time is over."""
    step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
    return step if step is not None and step.status == "waiting" and step.wake_at <= turn.now else None
