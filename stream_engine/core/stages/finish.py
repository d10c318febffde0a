"""Stage *finish*: a run ends, history is told, and what it leaves behind is cleaned up."""

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.gates.passing import free_all
from stream_engine.core.identity import run_id
from stream_engine.core.partition.payload import drop, keep, remember
from stream_engine.core.partition.turn import Live, Release, Turn
from stream_engine.core.records.history import RunEnded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Handle
from stream_engine.core.records.tables import RUNS, STEPS, Run
from stream_engine.core.stages import handlers, timeouts
from stream_engine.core.stages.commands import FailRun, FinishRun
from stream_engine.core.stages.replying import give_up_all, tell_end
from stream_engine.core.stages.run import begin, discard, disposed
from stream_engine.core.waits.withdrawal import withdraw_cancellers


def finish_run(turn: Turn, command: FinishRun) -> None:
    """The body returned: the run is completed."""
    live = turn.unload(command.run_id)
    if live is not None and not _was_stopped(turn, command.run_id, live):
        _end(
            turn, live, replace(_ended(turn.now, command.run_id, live.run, "completed"), result=command.result.decode())
        )


def fail_run(turn: Turn, command: FailRun) -> None:
    """The body raised for the last time: the run is failed, and its handler, if it has one, gets a run of its own."""
    live = turn.unload(command.run_id)
    if live is None or _was_stopped(turn, command.run_id, live):
        return
    _end(turn, live, replace(_ended(turn.now, command.run_id, live.run, "failed"), error=command.error))
    handlers.failed(turn, command.run_id, live.run, live.event, command.error)


def handle(turn: Turn, command: Handle) -> None:
    """Start the run of a handler."""
    run = run_id(command.run_name, turn.rules.partition)
    header = Run(
        command.function,
        "",
        "delayed",
        command.run_name,
        turn.now,
        replay_id=command.replay_id,
        of_run=command.of_run,
        error=command.error,
    )
    keep(turn, run, command.event)
    begin(turn, run, header, command.event)


def end_stopped(turn: Turn, run_id: str, live: Live) -> None:
    """End a run that is not being executed (any more), because it was cancelled or has timed out."""
    _end(turn, live, stopped(turn, run_id, live.run))
    _hand_over(turn, run_id, live.run, live.event)


def end_unstarted(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    """End a run that never began, because it was cancelled or has timed out; its event's disposition is ``cancelled`` then."""
    if run.ends_as:
        turn.history.append(stopped(turn, run_id, run))
    turn.history.append(disposed(turn, run_id, run, event, "cancelled", detail=run.cancelled))
    discard(turn, run_id, run)
    remember(turn, run_id, run, event, run.ends_as or "cancelled")
    tell_end(turn, run, stopped(turn, run_id, run))
    _hand_over(turn, run_id, run, event)


def stopped(turn: Turn, run_id: str, run: Run) -> RunEnded:
    """Return what history tells of a run that was cancelled or has timed out."""
    error = Failure("TimeoutError", run.cancelled) if run.ends_as == "timed_out" else None
    return replace(_ended(turn.now, run_id, run, run.ends_as or "cancelled"), error=error, detail=run.cancelled)


def _hand_over(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    if run.ends_as == "timed_out":
        handlers.failed(turn, run_id, run, event, Failure("TimeoutError", run.cancelled))
    else:
        handlers.cancelled(turn, run_id, run, event)


def _was_stopped(turn: Turn, run_id: str, live: Live) -> bool:
    """End a run as cancelled, or timed out, that came to its end before it could be stopped."""
    if not live.run.cancelled:
        return False
    end_stopped(turn, run_id, live)
    return True


def _end(turn: Turn, live: Live, ended: RunEnded) -> None:
    run_id = ended.run_id
    free_all(turn, run_id, live.run)
    withdraw_cancellers(turn, run_id, live.run)
    timeouts.clear(turn, run_id, live.run)
    turn.state.delete(RUNS.key(run_id))
    drop(turn, run_id, live.run)
    give_up_all(turn, run_id, live)
    for step in live.kept:
        turn.state.delete(STEPS.key(run_id, step))
    remember(turn, run_id, live.run, live.event, ended.status)
    turn.history.append(ended)
    tell_end(turn, live.run, ended)
    turn.effects.append(Release(run_id))


def _ended(now: int, run_id: str, run: Run, status: str) -> RunEnded:
    return RunEnded(
        now, run_id, run.function, run.version, status, run.started_at, run.attempt, replay_id=run.replay_id
    )
