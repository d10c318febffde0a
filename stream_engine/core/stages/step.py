"""Stage *step*: what became of a step is recorded, and handed to the execution that waits for it."""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.instants import LAST_MS
from stream_engine.core.partition.turn import Attempt, Deliver, Live, Turn
from stream_engine.core.records.history import StepRecorded
from stream_engine.core.records.tables import STEPS, Run, Step, Timer
from stream_engine.core.stages.commands import FailStep, RecordStep, Sleep

FOREVER = LAST_MS
"""When a step wakes that no timer wakes: the end of the year 9999."""


def record_step(turn: Turn, command: RecordStep) -> None:
    """A step is done: its result is kept, what it sends goes to the outbox, and both take effect together."""
    live = open_step(turn, command.run_id, command.step_id)
    if live is None:
        _tell_unused(turn, command)
        return
    for queue, message in command.sends:
        turn.send(queue, message)
    step = Step(
        command.kind,
        "completed",
        len(live.recorded),
        command.attempt,
        command.started_at,
        turn.now,
        result=command.result,
    )
    settle(turn, live, command.run_id, command.step_id, step)


def fail_step(turn: Turn, command: FailStep) -> None:
    """A step failed: it is tried again at its time, or its failure is its outcome."""
    live = open_step(turn, command.run_id, command.step_id)
    if live is None:
        _tell_unused(turn, command)
        return
    order = len(live.recorded)
    if command.retry_in is None:
        step = Step(command.kind, "failed", order, command.attempt, command.started_at, turn.now, error=command.error)
        settle(turn, live, command.run_id, command.step_id, step)
        return
    at = turn.now + command.retry_in
    step = Step(command.kind, "retrying", order, command.attempt, command.started_at, turn.now, at, error=command.error)
    await_timer(turn, live, command.run_id, command.step_id, step)


def sleep(turn: Turn, command: Sleep) -> None:
    """A step sleeps until its time; executing the run again does not begin the sleep anew."""
    live = open_step(turn, command.run_id, command.step_id)
    if live is None or command.step_id in live.pending:
        return
    at = turn.now + command.delay if command.until is None else command.until
    step = Step("sleep", "sleeping", len(live.recorded), 0, turn.now, turn.now, max(at, turn.now))
    await_timer(turn, live, command.run_id, command.step_id, step)


def wake_step(turn: Turn, run_id: str, step_id: str) -> None:
    """A step's timer came due: its sleep is over, or it is tried again; a run that is unloaded is resumed for it."""
    live = turn.live.get(run_id)
    if live is None:
        turn.resumes.append(run_id)
        return
    if live.run.cancelled:
        return
    step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
    if step is None or step_id not in live.pending or step.wake_at > turn.now:
        return
    if step.status == "waiting":  # for a run, an event or a completion; its timer, if it has one, is told elsewhere
        return
    if step.status != "sleeping":
        live.pending.discard(step_id)
        live.signals += 1
        attempt = step.attempt if step.status == "lent" else step.attempt + 1
        if step.status == "lent":
            # What is returned from now on is refused: the step is begun again.
            turn.state.put(STEPS.key(run_id, step_id), replace(step, status="retrying", attempt=attempt - 1))
        turn.effects.append(Attempt(run_id, step_id, attempt))
        return
    done = Step(step.kind, "completed", len(live.recorded), 0, step.started_at, turn.now, result=b"null")
    settle(turn, live, run_id, step_id, done)


def wake_due_steps(turn: Turn, run_id: str, steps: dict[str, Step]) -> None:
    """Wake the steps of a resumed run whose timers came due while it was not being executed."""
    for step_id, step in steps.items():
        if step.wake_at and step.wake_at <= turn.now:
            wake_step(turn, run_id, step_id)


def open_step(turn: Turn, run_id: str, step_id: str) -> Live | None:
    """Return what is known of a run that is being executed, if a step of it has no outcome yet."""
    live = turn.live.get(run_id)
    return None if live is None or live.run.cancelled or step_id in live.recorded else live


def settle(turn: Turn, live: Live, run_id: str, step_id: str, step: Step, *, told: Failure | None = None) -> None:
    """Record the outcome of a step, and have it delivered; ``told`` is as in `keep`."""
    live.recorded.add(step_id)
    live.pending.discard(step_id)
    live.signals += 1
    keep(turn, live, run_id, step_id, step, told=told)
    turn.effects.append(Deliver(run_id, step_id, step))


def await_timer(turn: Turn, live: Live, run_id: str, step_id: str, step: Step) -> None:
    """Record that a step waits until its ``wake_at``."""
    live.pending.add(step_id)
    keep(turn, live, run_id, step_id, step)
    turn.set_timer(step.wake_at, Timer("wake", run_id, step_id))


def keep(turn: Turn, live: Live, run_id: str, step_id: str, step: Step, *, told: Failure | None = None) -> None:
    """Keep what is known of a step, and tell history: with ``told``, of a failure that the function is not to see."""
    live.kept.add(step_id)
    turn.state.put(STEPS.key(run_id, step_id), step)
    _tell(turn, live.run, run_id, step_id, step if told is None else replace(step, error=told))


def tell_interrupted(turn: Turn, run: Run, run_id: str, step_id: str, step: Step) -> None:
    """Tell history that a step comes to nothing, because its run is left, or has been."""
    over = replace(step, status="interrupted", ended_at=turn.now, wake_at=0)
    _tell(turn, run, run_id, step_id, over)


def _tell_unused(turn: Turn, command: RecordStep | FailStep) -> None:
    """A step came to its end when its run was cancelled already, so that nothing comes of it."""
    live = turn.live.get(command.run_id)
    if live is not None and live.run.cancelled and command.step_id not in live.recorded:
        error = command.error if isinstance(command, FailStep) else None
        step = Step(command.kind, "", 0, command.attempt, command.started_at, 0, error=error)
        tell_interrupted(turn, live.run, command.run_id, command.step_id, step)


def _tell(turn: Turn, run: Run, run_id: str, step_id: str, step: Step) -> None:
    turn.history.append(
        StepRecorded(
            turn.now,
            run_id,
            run.function,
            step_id,
            step.kind,
            step.status,
            step.attempt,
            step.started_at,
            None if step.wake_at in (0, FOREVER) else step.wake_at,
            None if step.result is None else step.result.decode(),
            step.error,
            None if step.awaited is None else str(step.awaited.wanted),
            step.reason or None,
        )
    )
