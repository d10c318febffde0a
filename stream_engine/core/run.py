"""Stage *run*: a run begins, is taken over, is put to sleep, and is tried again.

::

    delayed ──due──► running ◄──due── sleeping | retrying
                     │  ▲  │
             no code │  │  └── suspend ──► sleeping      the body failed ──► retrying
                     ▼  │ code is back
                    parked
"""

from msgspec.structs import replace

from stream_engine.core.commands import Resume, RetryRun, Suspend
from stream_engine.core.history import EventDisposed, RunChanged, RunStarted
from stream_engine.core.payload import event_of
from stream_engine.core.records import Event
from stream_engine.core.step import wake_due_steps
from stream_engine.core.tables import RUNS, STEPS, Run, Step, Timer
from stream_engine.core.turn import Execute, Live, Release, Turn


def begin(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    """Start a run, or park it if the app has no such function here."""
    function = turn.rules.functions.get(run.function)
    if function is None:
        if run.status != "parked":
            turn.history.append(disposed(turn, run_id, run, event, "queued", detail="no code"))
            _change(turn, run_id, run, "parked")
        return
    run = replace(run, status="running", version=run.version or function.versions[0], started_at=turn.now)
    turn.state.put(RUNS.key(run_id), run)
    turn.history.append(_started(turn.now, run_id, run, event))
    turn.live[run_id] = Live(run, event)
    turn.effects.append(Execute(run_id, run, event, {}))


def resume(turn: Turn, command: Resume) -> None:
    """Execute a run from the top, with what is recorded of it: after a takeover, or when its timer came due."""
    run_id = command.run_id
    run = turn.state.get(RUNS, RUNS.key(run_id))
    event = None if run is None else event_of(turn, run_id, run)
    if run is None or event is None or run_id in turn.live:
        return
    if run.wake_at > turn.now:
        # The body waits to be tried again; a step of its last attempt that came due meanwhile is woken then.
        return
    if not run.started_at:
        begin(turn, run_id, run, event)
        return
    function = turn.rules.functions.get(run.function)
    if function is None:
        if run.status != "parked":
            _change(turn, run_id, run, "parked")
        return
    if run.version not in function.versions:
        run = replace(run, version=function.versions[0])
        turn.history.append(_changed(turn, run_id, run, "moved"))
    if run.status != "running":
        run = replace(run, status="running", wake_at=0)
        turn.history.append(_changed(turn, run_id, run, "running"))
    turn.state.put(RUNS.key(run_id), run)
    steps = load(turn, run_id, run, event)
    turn.effects.append(Execute(run_id, run, event, steps))
    wake_due_steps(turn, run_id, steps)


def load(turn: Turn, run_id: str, run: Run, event: Event) -> dict[str, Step]:
    """Make a run one that is being executed, as far as decisions can see; return its steps by their ids."""
    steps = recorded_steps(turn, run_id)
    turn.live[run_id] = Live(
        run,
        event,
        set(steps),
        {name for name, step in steps.items() if not step.wake_at},
        {name for name, step in steps.items() if step.wake_at},
    )
    return steps


def suspend(turn: Turn, command: Suspend) -> None:
    """Unload a run that only waits for timers, unless one has come due since it said so."""
    live = turn.live.get(command.run_id)
    if live is None or live.signals != command.signals or not live.pending:
        return
    del turn.live[command.run_id]
    _change(turn, command.run_id, live.run, "sleeping")
    turn.effects.append(Release(command.run_id))


def retry_run(turn: Turn, command: RetryRun) -> None:
    """The body failed outside its steps: execute it again later."""
    live = turn.live.pop(command.run_id, None)
    if live is None:
        return
    at = turn.now + command.delay
    run = replace(live.run, attempt=live.run.attempt + 1, status="retrying", wake_at=at)
    turn.state.put(RUNS.key(command.run_id), run)
    turn.set_timer(at, Timer("retry", command.run_id))
    turn.history.append(
        RunChanged(
            turn.now, command.run_id, run.function, run.version, "retrying", run.attempt, at, error=command.error
        )
    )
    turn.effects.append(Release(command.run_id))


def recorded_steps(turn: Turn, run_id: str) -> dict[str, Step]:
    """Return the steps of a run by their ids."""
    start = STEPS.key(run_id, "")
    return {key[len(start) :].decode(): step for key, step in turn.state.scan(STEPS, start, start[:-1] + b"\1")}


def _change(turn: Turn, run_id: str, run: Run, status: str) -> None:
    run = replace(run, status=status)
    turn.state.put(RUNS.key(run_id), run)
    turn.history.append(_changed(turn, run_id, run, status))


def _changed(turn: Turn, run_id: str, run: Run, change: str) -> RunChanged:
    return RunChanged(turn.now, run_id, run.function, run.version, change, run.attempt)


def _started(now: int, run_id: str, run: Run, event: Event) -> RunStarted:
    key = None if event.key is None else event.key.decode(errors="backslashreplace")
    return RunStarted(
        now,
        run_id,
        run.function,
        run.version,
        run.created_at,
        event.name,
        event.id,
        event.topic,
        event.partition,
        event.offset,
        key,
        run.replay_id,
        run.of_run,
    )


def disposed(turn: Turn, run_id: str, run: Run, event: Event, disposition: str, *, detail: str = "") -> EventDisposed:
    """Return what history tells of an event that did not start its run (yet)."""
    return EventDisposed(
        turn.now,
        run.function,
        event.name,
        event.id,
        event.topic,
        event.partition,
        event.offset,
        disposition,
        run_id,
        detail,
        run.replay_id,
    )
