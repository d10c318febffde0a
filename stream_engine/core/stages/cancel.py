"""A run is cancelled, or times out: whatever it waits for is given up, and what is running of it stops before it ends.

A run may be cancelled before it has come to its home: its event is yet to be routed, waits for its time, lies in a debounce or a batch, or is
under way between two of these. Then its home *seeks* it. Every partition that is told so takes out what it has of the run, and
remembers for as long as event ids are remembered to take out what comes by. What is under way from one partition to the next has
either left before the first one was told, and is met in the next, or is taken out in the first: so it is met once, wherever it is.

What is lent of a run (see `stream_engine.core.stages.lend`) cannot be stopped from here. The run ends when that has been returned, or at the end of the lease.
"""

from msgspec.structs import replace

from stream_engine.core.partition.payload import event_of
from stream_engine.core.partition.turn import Live, Release, Stop, Turn
from stream_engine.core.records.requests import Cancel, Seek
from stream_engine.core.records.tables import ENDED, RUNS, STEPS, Timer
from stream_engine.core.stages import timeouts
from stream_engine.core.stages.commands import Stopped
from stream_engine.core.stages.entering import take_out
from stream_engine.core.stages.finish import end_stopped, end_unstarted
from stream_engine.core.stages.run import recorded_steps


def cancel(turn: Turn, command: Cancel) -> None:
    """End a run, or have its execution stop first; one that has ended already is left alone."""
    if not _stop(turn, command.run_id, command.reason) and command.seek:
        _seek(turn, command)


def time_out(turn: Turn, run_id: str, kind: str, at: int) -> None:
    """A run has waited for its start, or taken, for as long as its function lets it."""
    live = turn.live.get(run_id)
    run = turn.state.get(RUNS, RUNS.key(run_id)) if live is None else live.run
    reason = "" if run is None else timeouts.reason(run, kind, at)
    if reason:
        _stop(turn, run_id, reason, "timed_out")


def stopped(turn: Turn, command: Stopped) -> None:
    """Nothing of a cancelled run is running any more."""
    live = turn.live.get(command.run_id)
    if live is not None and live.run.cancelled:
        turn.unload(command.run_id)
        _end(turn, command.run_id, live)


def seek(turn: Turn, command: Seek) -> None:
    """Take out what is here of a run that is cancelled, or what comes by."""
    key = turn.dismissed.add(command.run_id, command.reason)
    turn.forget.append((turn.now + turn.rules.deduplicate_for, key))
    take_out(turn, command.run_id, command.reason)


def _stop(turn: Turn, run_id: str, reason: str, ends_as: str = "") -> bool:
    """End a run that is not being executed, or else have it stop; return whether there is such a run. The first reason to end counts."""
    live = turn.live.get(run_id)
    if live is not None:
        if not live.run.cancelled:
            live.run = replace(live.run, cancelled=reason, ends_as=ends_as)
            turn.state.put(RUNS.key(run_id), live.run)
            turn.effects.append(Stop(run_id))
        return True
    run = turn.state.get(RUNS, RUNS.key(run_id))
    event = None if run is None else event_of(turn, run_id, run)
    if run is None or event is None:
        return False
    if not run.cancelled:
        run = replace(run, cancelled=reason, ends_as=ends_as)
    if run.status == "lent" and run.wake_at > turn.now:
        turn.state.put(RUNS.key(run_id), run)
    elif run.started_at:
        steps = recorded_steps(turn, run_id)
        pending = {name for name, step in steps.items() if step.wake_at}
        _end(turn, run_id, Live(run, event, set(steps), pending=pending))
    else:
        end_unstarted(turn, run_id, run, event)
    return True


def _end(turn: Turn, run_id: str, live: Live) -> None:
    """End a run that is not being executed here, once nothing of it is lent any more."""
    steps = [turn.state.get(STEPS, STEPS.key(run_id, name)) for name in live.pending]
    until = max((step.wake_at for step in steps if step is not None and step.status == "lent"), default=0)
    if until <= turn.now:
        end_stopped(turn, run_id, live)
        return
    turn.state.put(RUNS.key(run_id), replace(live.run, status="running", wake_at=0))
    turn.set_timer(until, Timer("retry", run_id))
    turn.effects.append(Release(run_id))


def _seek(turn: Turn, command: Cancel) -> None:
    if turn.state.get(ENDED, ENDED.key(command.run_id)) is not None:
        return
    for partition in range(turn.rules.partitions):
        turn.command(partition, Seek(command.run_id, command.reason))
