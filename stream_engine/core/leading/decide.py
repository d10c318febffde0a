"""The one table of transitions: which handler decides upon which input."""

from collections.abc import Callable
from typing import Any

from stream_engine.core.gates import event_time, gates
from stream_engine.core.leading import crons
from stream_engine.core.partition import intake
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import (
    Admit,
    Answer,
    Ask,
    Began,
    Call,
    Cancel,
    Collect,
    CompleteCallback,
    Free,
    Handle,
    Pass,
    Reply,
    ReturnRun,
    ReturnStep,
    Seek,
    TimeUp,
)
from stream_engine.core.records.tables import TIMERS, Timer, timed_parts
from stream_engine.core.records.wanted import (
    Await,
    Behind,
    CaughtUp,
    Compare,
    Found,
    InVain,
    LastCall,
    Offer,
    Offering,
    Release,
    Search,
    TakeOut,
    Uncollect,
    Withdraw,
)
from stream_engine.core.stages import (
    admit,
    awaiting,
    batch,
    callbacks,
    cancel,
    entering,
    finish,
    invoking,
    lend,
    refusing,
    run,
    step,
    time_up,
    timeouts,
)
from stream_engine.core.stages.commands import (
    AwaitCallback,
    CallsRefused,
    FailRun,
    FailStep,
    FinishRun,
    Input,
    Interrupted,
    Invoke,
    LendRun,
    LendStep,
    RecordStep,
    Resume,
    RetryRun,
    Sleep,
    Stopped,
    Suspend,
    WaitForEvent,
)
from stream_engine.core.waits import coverage, offers

EXPIRE = "expire"
"""The kind of timer that drops the events and waits that it lists, if their time is over."""

HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    Admit: admit.admit,
    Handle: finish.handle,
    Resume: run.resume,
    Suspend: run.suspend,
    RetryRun: run.retry_run,
    RecordStep: step.record_step,
    FailStep: step.fail_step,
    Sleep: step.sleep,
    Interrupted: run.interrupted,
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
    CallsRefused: refusing.refused,
    Reply: invoking.replied,
    WaitForEvent: awaiting.wait,
    Found: awaiting.found,
    InVain: awaiting.waited_in_vain,
    Await: offers.await_event,
    Withdraw: offers.withdraw,
    LastCall: offers.last_call,
    CaughtUp: offers.caught_up,
    Behind: offers.behind,
    Offer: offers.offered,
    Offering: offers.offering,
    Search: offers.search,
    Compare: offers.compare,
    Release: offers.release,
    TakeOut: batch.take_out,
    Uncollect: entering.uncollect,
    AwaitCallback: callbacks.await_callback,
    CompleteCallback: callbacks.complete,
    TimeUp: time_up.time_up,
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
    FIRED[timer.kind](turn, timer, timed_parts(key)[0])
    follow_up(turn)


def _forget(turn: Turn, timer: Timer, _: int) -> None:
    for key in timer.keys:
        turn.state.delete(key)


def _let_in_order(turn: Turn, timer: Timer, _: int) -> None:
    for command in event_time.in_order(turn, timer.run):
        if isinstance(command, Pass):
            entering.take(turn, command)
        else:
            gates.count(turn, command)


FIRED: dict[str, Callable[[Turn, Timer, int], None]] = {
    "forget": _forget,
    EXPIRE: lambda turn, timer, _: offers.expire(turn, timer.keys),
    "wake": lambda turn, timer, _: step.wake_step(turn, timer.run, timer.step),
    invoking.TIMEOUT: lambda turn, timer, _: time_up.come_due(turn, timer),
    awaiting.TIMEOUT: lambda turn, timer, _: awaiting.waited_long(turn, timer.run, timer.step),
    callbacks.TIMEOUT: lambda turn, timer, _: time_up.come_due(turn, timer),
    coverage.INTEREST: lambda turn, timer, _: coverage.look(turn, timer.run),
    intake.FORGET: lambda turn, timer, _: intake.forget(turn, timer.run),
    event_time.TIMER: _let_in_order,
    "gate": lambda turn, timer, at: gates.look_again(turn, timer.run, at),
    "buffer": lambda turn, timer, at: entering.buffer_due(turn, timer.run, at),
    "cron": lambda turn, timer, _: crons.fire(turn, timer.run, int(timer.step)),
    "enter": lambda turn, timer, _: entering.come_due(turn, timer.run),
    timeouts.START: lambda turn, timer, at: cancel.time_out(turn, timer.run, timer.kind, at),
    timeouts.FINISH: lambda turn, timer, at: cancel.time_out(turn, timer.run, timer.kind, at),
    "start": lambda turn, timer, _: run.resume(turn, Resume(timer.run)),
    "retry": lambda turn, timer, _: run.resume(turn, Resume(timer.run)),
}
