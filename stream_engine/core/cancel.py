"""A run is cancelled: whatever it waits for is given up, and what is running of it stops before it ends."""

from msgspec.structs import replace

from stream_engine.core.commands import Stopped
from stream_engine.core.finish import end
from stream_engine.core.payload import event_of
from stream_engine.core.records import Cancel
from stream_engine.core.run import discard, disposed, recorded_steps
from stream_engine.core.tables import RUNS
from stream_engine.core.turn import Live, Stop, Turn


def cancel(turn: Turn, command: Cancel) -> None:
    """End a run, or have its execution stop first; one that has ended already is left alone."""
    run_id = command.run_id
    live = turn.live.get(run_id)
    if live is not None:
        if not live.run.cancelled:
            live.run = replace(live.run, cancelled=command.reason)
            turn.state.put(RUNS.key(run_id), live.run)
            turn.effects.append(Stop(run_id))
        return
    run = turn.state.get(RUNS, RUNS.key(run_id))
    event = None if run is None else event_of(turn, run_id, run)
    if run is None or event is None:
        return
    if run.started_at:
        end(turn, run_id, Live(run, event, set(recorded_steps(turn, run_id))), "cancelled", detail=command.reason)
    else:
        turn.history.append(disposed(turn, run_id, run, event, "cancelled", detail=command.reason))
        discard(turn, run_id, run)


def stopped(turn: Turn, command: Stopped) -> None:
    """Nothing of a cancelled run is running any more."""
    live = turn.live.get(command.run_id)
    if live is not None and live.run.cancelled:
        turn.unload(command.run_id)
        end(turn, command.run_id, live, "cancelled", detail=live.run.cancelled)
