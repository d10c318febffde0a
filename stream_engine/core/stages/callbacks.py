"""A step waits for somebody outside to complete it, by its token.

That it waits is recorded when the function asks for the token, with the timer that ends the wait. A completion is a command to the run's
partition, so the journal says which one came first, whoever leads. It counts as soon as the run has not ended, whether or not the run
awaits it yet, is being executed, or is about to be executed anew: even before the step itself is recorded, because the token may have been handed
out by a worker that was gone before it could report anything. What becomes of each completion is told to history, where whoever sent it looks;
an event that was refused becomes a dead letter as well.
"""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.partition.outbox import topic_queue
from stream_engine.core.partition.turn import Live, Turn
from stream_engine.core.records.history import CompletionDisposed
from stream_engine.core.records.requests import CompleteCallback
from stream_engine.core.records.tables import RUNS, STEPS, Outgoing, Run, Step, Timer
from stream_engine.core.stages.commands import AwaitCallback
from stream_engine.core.stages.step import FOREVER, keep, open_step, settle
from stream_engine.core.stages.unloaded import with_loaded

KIND = "callback"
TIMEOUT = "callback timeout"
"""The kind of timer that ends the wait for a completion."""

COMPLETED = "completed"
REFUSALS = {
    "already-completed": "the callback has been completed already",
    "timed-out": "the callback has timed out: nobody completed it in time",
    "run-ended": "the run that the callback belongs to has ended",
    "not-a-callback": "the run has a step of another kind by the callback's name",
}
"""Why a completion may be refused whose token is genuine: a stable code, and a sentence."""


def await_callback(turn: Turn, command: AwaitCallback) -> None:
    """A step waits for its completion; executing the run again does not begin the wait anew."""
    live = open_step(turn, command.run_id, command.step_id)
    if live is None or command.step_id in live.pending:
        return
    wake_at = FOREVER if command.timeout is None else turn.now + command.timeout
    step = Step(KIND, "waiting", len(live.recorded), 0, turn.now, turn.now, wake_at)
    live.pending.add(command.step_id)
    keep(turn, live, command.run_id, command.step_id, step)
    if command.timeout is not None:
        turn.set_timer(wake_at, Timer(TIMEOUT, command.run_id, command.step_id))


def complete(turn: Turn, command: CompleteCallback) -> None:
    """Somebody completes a callback: the first one does, all others are refused."""
    run_id = command.run_id
    run = turn.live[run_id].run if run_id in turn.live else turn.state.get(RUNS, RUNS.key(run_id))
    step = turn.state.get(STEPS, STEPS.key(run_id, command.step_id))
    refused = _refusal(run, step, command.at)
    if not refused and not _settle(turn, run_id, command.step_id, _completed(turn, step, command.result)):
        refused = "run-ended"
    function = "" if run is None else run.function
    detail = REFUSALS.get(refused, "")
    disposition = refused or COMPLETED
    turn.history.append(
        CompletionDisposed(
            turn.now, run_id, function, command.step_id, command.completion_id, disposition, command.by, detail
        )
    )
    letter = command.letter
    if refused and letter is not None:
        headers = (("reason", f"callback-{refused}".encode()), ("detail", detail.encode()), *letter.headers)
        turn.send(topic_queue(letter.topic), Outgoing(letter.topic, None, letter.key, letter.value, headers))


def time_out(turn: Turn, run_id: str, step_id: str, step: Step) -> None:
    """A step has waited for its completion for as long as it was to."""
    took = (step.wake_at - step.started_at) / 1_000
    over = replace(_completed(turn, step, b"null"), reason="timeout")
    _settle(turn, run_id, step_id, over, Failure("TimeoutError", f"nobody completed it within {took:g} s"))


def _completed(turn: Turn, step: Step | None, result: bytes) -> Step:
    return Step(KIND, "completed", 0, 0, turn.now if step is None else step.started_at, turn.now, result=result)


def _refusal(run: Run | None, step: Step | None, at: int) -> str:
    if run is None or run.cancelled:
        return "run-ended"
    if step is None or (step.kind, step.status) == (KIND, "waiting"):
        return "timed-out" if step is not None and at > step.wake_at else ""
    if step.kind != KIND:
        return "not-a-callback"
    return "timed-out" if step.reason else "already-completed"


def _settle(turn: Turn, run_id: str, step_id: str, step: Step, told: Failure | None = None) -> bool:
    """Record the outcome of a step, whether its run is being executed or not; return whether there is such a run."""

    def conclude(live: Live) -> None:
        if not live.run.cancelled:
            settle(turn, live, run_id, step_id, replace(step, order=len(live.recorded)), told=told)

    return with_loaded(turn, run_id, conclude)
