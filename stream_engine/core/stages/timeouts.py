"""How long a run may wait for its start, and how long it may take from there: timers, and what follows when one comes due."""

from msgspec.structs import replace

from stream_engine.core.functions.flow import ANY_TIME, Timeouts
from stream_engine.core.gates.event_time import most_held
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event
from stream_engine.core.records.tables import TIMERS, Run, Timer

START = "start timeout"
FINISH = "finish timeout"


def mind_start(turn: Turn, run_id: str, run: Run, event: Event, *, anew: bool = False) -> Run:
    """Have a run that has to wait before it begins wait no longer than its function says, from its event's arrival or time on, or ``anew`` from now.

    That the gates of a replay hold it, so that all come in order, is no waiting of its own, nor is that its replay is paused.
    """
    most = _declared(turn, run).start
    if most is None or run.started_at or run.start_by:
        return run
    known = turn.rules.functions.get(run.function) or turn.in_force.get(run.function)
    held = 0 if run.replay_id is None or known is None else most_held(known.flow)
    at = (turn.now if anew else max(run.created_at, event.ts)) + most + held
    turn.set_timer(at, Timer(START, run_id))
    return replace(run, start_by=at)


def mind_gathered(turn: Turn, run_id: str, run: Run, event: Event) -> Run:
    """Have a run that a debounce or a batch has made wait no longer from now on than its function says: while it was gathered, it waited for no gate."""
    known = turn.rules.functions.get(run.function) or turn.in_force.get(run.function)
    if known is None or (known.flow.debounce is None and known.flow.batch is None):
        return run
    return mind_start(turn, run_id, run, event, anew=True)


def mind_finish(turn: Turn, run_id: str, run: Run) -> Run:
    """Have a run that begins take no longer than its function says."""
    clear(turn, run_id, run)
    most = _declared(turn, run).finish
    if most is None:
        return replace(run, start_by=0) if run.start_by else run
    turn.set_timer(turn.now + most, Timer(FINISH, run_id))
    return replace(run, start_by=0, finish_by=turn.now + most)


def clear(turn: Turn, run_id: str, run: Run) -> None:
    """Take the timers away of a run that ends, or begins."""
    for kind, at in ((START, run.start_by), (FINISH, run.finish_by)):
        if at:
            turn.state.delete(TIMERS.timed_key(at, kind, run_id, ""))


def reason(run: Run, kind: str, at: int) -> str:
    """Return why a timer that came due at a time ends a run; empty where it does not."""
    if kind == START and at == run.start_by and not run.started_at:
        return f"it did not begin within {(at - run.created_at) / 1_000:g} s"
    if kind == FINISH and at == run.finish_by:
        return f"it took longer than {(at - run.started_at) / 1_000:g} s"
    return ""


def _declared(turn: Turn, run: Run) -> Timeouts:
    """Return what the function of a run declares: by the code that is here, else by the catalogue in force."""
    known = turn.rules.functions.get(run.function) or turn.in_force.get(run.function)
    return ANY_TIME if known is None else known.timeouts
