"""Runs that are not being executed, while something is decided upon that concerns them."""

from collections.abc import Callable

from stream_engine.core.partition.payload import event_of
from stream_engine.core.partition.turn import Live, Turn
from stream_engine.core.records.tables import RUNS
from stream_engine.core.stages.run import load


def load_unloaded(turn: Turn, run_id: str) -> bool:
    """Make a run, if there is such a one, for this turn one that is being executed."""
    run = turn.state.get(RUNS, RUNS.key(run_id))
    event = None if run is None else event_of(turn, run_id, run)
    if run is None or event is None:
        return False
    load(turn, run_id, run, event)
    return True


def with_loaded(turn: Turn, run_id: str, then: Callable[[Live], None]) -> bool:
    """Decide upon what is known of a run, whether it is being executed or not; one that is not is executed afterwards. Return whether there is such a run."""
    unloaded = run_id not in turn.live
    if unloaded and not load_unloaded(turn, run_id):
        return False
    then(turn.live[run_id])
    if unloaded:
        turn.unload_at_once(run_id)
        turn.resumes.append(run_id)
    return True
