"""The one table of transitions: which handler decides upon which input."""

from collections.abc import Callable
from typing import Any

from stream_engine.core import admit, cancel, crons, entering, finish, gates, invoking, lend, run, step, timeouts
from stream_engine.core.commands import (
    FailRun,
    FailStep,
    FinishRun,
    Input,
    Invoke,
    LendRun,
    LendStep,
    RecordStep,
    Resume,
    RetryRun,
    Sleep,
    Stopped,
    Suspend,
)
from stream_engine.core.requests import (
    Admit,
    Answer,
    Ask,
    Began,
    Call,
    Cancel,
    Collect,
    Free,
    Handle,
    Pass,
    Reply,
    ReturnRun,
    ReturnStep,
    Seek,
)
from stream_engine.core.tables import TIMERS, Timer, timed_parts
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
    Pass: entering.enter,
    Collect: entering.collect,
    Ask: gates.ask,
    Answer: run.answered,
    Free: gates.free,
    Began: gates.began,
    Cancel: cancel.cancel,
    Seek: cancel.seek,
    Stopped: cancel.stopped,
    Invoke: invoking.invoke,
    Call: invoking.called,
    Reply: invoking.replied,
}


def decide(turn: Turn, command: Input) -> None:
    """Decide upon one input: change the state, and say what follows."""
    HANDLERS[type(command)](turn, command)
    follow_up(turn)


def follow_up(turn: Turn) -> None:
    """Decide upon what the decisions so far have left to do in this partition."""
    while turn.resumes or turn.local:
        if turn.local:
            command = turn.local.popleft()
            HANDLERS[type(command)](turn, command)
        else:
            run.resume(turn, Resume(turn.resumes.pop()))


def fire(turn: Turn, key: bytes) -> None:
    """Decide upon a timer that came due; one that was deleted meanwhile is passed over."""
    timer = turn.state.get(TIMERS, key)
    if timer is None:
        return
    turn.state.delete(key)
    _fire(turn, timer, timed_parts(key)[0])
    follow_up(turn)


def _fire(turn: Turn, timer: Timer, at: int) -> None:
    if timer.kind == "forget":
        for key in timer.keys:
            turn.state.delete(key)
    elif timer.kind == "wake":
        step.wake_step(turn, timer.run, timer.step)
    elif timer.kind == invoking.TIMEOUT:
        invoking.waited_in_vain(turn, timer.run, timer.step)
    elif timer.kind == "gate":
        gates.look_again(turn, timer.run, at)
    elif timer.kind == "buffer":
        entering.buffer_due(turn, timer.run, at)
    elif timer.kind == "cron":
        crons.fire(turn, timer.run, int(timer.step))
    elif timer.kind == "enter":
        entering.come_due(turn, timer.run)
    elif timer.kind in (timeouts.START, timeouts.FINISH):
        cancel.time_out(turn, timer.run, timer.kind, at)
    else:
        run.resume(turn, Resume(timer.run))
