"""The one table of transitions: which handler decides upon which input."""

from collections.abc import Callable
from typing import Any

from stream_engine.core import admit, finish, lend, run, step
from stream_engine.core.commands import (
    FailRun,
    FailStep,
    FinishRun,
    Input,
    LendRun,
    LendStep,
    RecordStep,
    Resume,
    RetryRun,
    Sleep,
    Suspend,
)
from stream_engine.core.records import Admit, Handle, ReturnRun, ReturnStep
from stream_engine.core.tables import TIMERS, Timer
from stream_engine.core.turn import Turn

HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    Admit: admit.admit,
    Handle: finish.handle,
    Resume: run.resume,
    Suspend: run.suspend,
    RetryRun: run.retry_run,
    RecordStep: step.record_step,
    FailStep: step.fail_step,
    Sleep: step.sleep,
    FinishRun: finish.finish_run,
    FailRun: finish.fail_run,
    LendStep: lend.lend_step,
    LendRun: lend.lend_run,
    ReturnStep: lend.return_step,
    ReturnRun: lend.return_run,
}


def decide(turn: Turn, command: Input) -> None:
    """Decide upon one input: change the state, and say what follows."""
    HANDLERS[type(command)](turn, command)
    while turn.resumes:
        run.resume(turn, Resume(turn.resumes.pop()))


def fire(turn: Turn, key: bytes) -> None:
    """Decide upon a timer that came due; one that was deleted meanwhile is passed over."""
    timer = turn.state.get(TIMERS, key)
    if timer is None:
        return
    turn.state.delete(key)
    _fire(turn, timer)
    while turn.resumes:
        run.resume(turn, Resume(turn.resumes.pop()))


def _fire(turn: Turn, timer: Timer) -> None:
    if timer.kind == "forget":
        for key in timer.keys:
            turn.state.delete(key)
    elif timer.kind == "wake":
        step.wake_step(turn, timer.run, timer.step)
    else:
        run.resume(turn, Resume(timer.run))
