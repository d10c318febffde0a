"""Stage *run*: a run begins, is taken over, is put to sleep, and is tried again.

::

    delayed ──due──► running ◄──due── sleeping | retrying
                     │  ▲  │
             no code │  │  └── suspend ──► sleeping      the body failed ──► retrying
                     ▼  │ code is back
                    parked

Whatever is to be running while there is no room for it is ``queued`` until there is. What is to begin while its replay is paused is ``halted`` until that goes on.
"""

from msgspec.structs import replace

from stream_engine.core.gates.passing import begun, free_all, give_back
from stream_engine.core.partition.halted import HALTED
from stream_engine.core.partition.payload import age, drop, event_of, gathered
from stream_engine.core.partition.turn import Execute, Function, Live, Release, Turn
from stream_engine.core.records.history import EventDisposed, RunChanged, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Answer, Ask, Cancel, Entry
from stream_engine.core.records.tables import RUNS, STEPS, Run, Step, Timer
from stream_engine.core.stages import handlers, reuse, timeouts
from stream_engine.core.stages.commands import Interrupted, Resume, RetryRun, Suspend
from stream_engine.core.stages.halting import come_to_nothing, hold
from stream_engine.core.stages.replying import tell_disposition
from stream_engine.core.stages.step import tell_interrupted, wake_due_steps
from stream_engine.core.waits.answers import taken_by
from stream_engine.core.waits.withdrawal import withdraw_cancellers

NO_ROOM = "room in a worker (--max-runs)"
"""What history says of a run that is ``queued`` because as many runs are being executed as may be."""


def begin(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    """Have a run ask for the gates that it has not passed; then execute it, or have it wait for room, or park it without its code."""
    if run.cancelled:
        turn.command(turn.rules.partition, Cancel(run_id, run.cancelled))
        return
    if _is_kept_back(turn, run_id, run, event):
        return
    if run.status == HALTED:
        run = replace(timeouts.mind_start(turn, run_id, run, event, anew=True), status="queued")
    function = run.function
    if run.passed < len(run.gates) and function in turn.rules.functions:
        _ask(turn, run_id, run, event)
        return
    # One that has begun already goes before those that have not.
    in_turn = bool(run.started_at) or not turn.waiting.has(function)
    if function not in turn.rules.functions or (in_turn and turn.rules.room.has(function)):
        _execute(turn, run_id, run, event)
    else:
        _wait(turn, run_id, run, event)


def answered(turn: Turn, command: Answer) -> None:
    """A gate has let a run pass, or refused it; an answer to one that has ended, or has asked for another gate since, says nothing."""
    run_id = command.run_id
    run, event = _unloaded(turn, run_id)
    if run is None or event is None or run.passed == len(run.gates) or run.gates[run.passed].id != command.gate:
        return
    if command.number != run.asks:
        return
    if command.waits:
        turn.history.append(_waits(turn, run_id, run, event, command))
        return
    if command.refused:
        turn.history.append(at_gate(disposed(turn, run_id, run, event, command.refused), run.gates[run.passed]))
        discard(turn, run_id, run)
        tell_disposition(turn, run, command.refused)
        if command.refused == "cancelled":
            handlers.cancelled(turn, run_id, run, event)
        return
    order = run.order if command.order is None else command.order
    begin(turn, run_id, replace(run, passed=run.passed + 1, order=order), event)


def discard(turn: Turn, run_id: str, run: Run) -> None:
    """Let go of a run that never began."""
    free_all(turn, run_id, run)
    withdraw_cancellers(turn, run_id, run)
    timeouts.clear(turn, run_id, run)
    turn.state.delete(RUNS.key(run_id))
    for step in recorded_steps(turn, run_id) if run.reused else ():
        turn.state.delete(STEPS.key(run_id, step))
    drop(turn, run_id, run)


def _ask(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    gate = run.gates[run.passed]
    run = timeouts.mind_start(turn, run_id, run, event)
    turn.state.put(RUNS.key(run_id), replace(run, status="queued", wake_at=0))
    moment = max(event.timestamp, event.ts, 0) if run.replay_id is None else run.moment
    about = run.order, event.partition, event.offset, run.replay_id, moment, run.asks, _holder(turn, run, gate)
    turn.command(gate.partition, Ask(run_id, run.function, gate, *about, back=bool(run.started_at)))


def _holder(turn: Turn, run: Run, gate: Gate) -> str:
    """Return which of those that a run was invoked by, or under, has a slot of a gate that it may share; empty if none has."""
    caller = run.caller
    if caller is None or caller.topic != turn.rules.commands_topic:
        return ""
    return dict(zip(caller.held, caller.holders, strict=False)).get(gate.id, "")


def _waits(turn: Turn, run_id: str, run: Run, event: Event, answer: Answer) -> EventDisposed | RunChanged:
    gate = run.gates[run.passed]
    if run.started_at:
        changed = replace(_changed(turn, run_id, run, "queued"), gate=gate.kind, gate_key=gate.key, gate_id=gate.id)
        return replace(changed, wake_at=answer.earliest, order=run.order, place=answer.place)
    waits = at_gate(disposed(turn, run_id, run, event, "queued"), gate, answer.earliest)
    return replace(waits, order=run.order, place=answer.place)


def resume(turn: Turn, command: Resume) -> None:
    """Execute a run from the top, with what is recorded of it: after a takeover, or when its timer came due."""
    run_id = command.run_id
    run, event = _unloaded(turn, run_id)
    # Where the body waits to be tried again, or for room, a step that came due meanwhile is woken then.
    if run is not None and event is not None and run.wake_at <= turn.now and run.status != "queued":
        begin(turn, run_id, run, event)


def let_in(turn: Turn, most: int) -> None:
    """Execute runs that waited for room, as many as there is room for now."""
    for _ in range(most):
        run_id = turn.waiting.take(turn.rules.room)
        if run_id is None:
            return
        run, event = _unloaded(turn, run_id)
        if run is not None and event is not None and not _is_kept_back(turn, run_id, run, event):
            _execute(turn, run_id, run, event)


def hold_back(turn: Turn, run_id: str, run: Run, event: Event, *, asked: bool = False) -> None:
    """Have a run wait until its replay is resumed; see `stream_engine.core.stages.halting.hold`."""
    run = hold(turn, run_id, run, event, asked=asked)
    turn.history.append(disposed(turn, run_id, run, event, "queued", detail=f"replay {run.replay_id} is paused"))


def _is_kept_back(turn: Turn, run_id: str, run: Run, event: Event) -> bool:
    """Return whether a run is not to begin because its replay is halted; it is held then, or cancelled."""
    verdict = turn.halts.verdict(run)
    if verdict == "cancel":
        come_to_nothing(turn, run_id, run)
    elif verdict == "hold" and run.status != HALTED:
        hold_back(turn, run_id, run, event)
    return verdict is not None


def _unloaded(turn: Turn, run_id: str) -> tuple[Run | None, Event | None]:
    run = None if run_id in turn.live else turn.state.get(RUNS, RUNS.key(run_id))
    return run, None if run is None else event_of(turn, run_id, run)


def _execute(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    function = turn.rules.functions.get(run.function)
    if function is None:
        _park(turn, run_id, run, event)
    elif run.started_at:
        _go_on(turn, run_id, run, event, function)
    else:
        run = begun(turn, run_id, run)
        version, declared = run.version or function.versions[0], handlers.declared(turn, run.function)
        run = replace(run, status="running", version=version, started_at=turn.now, handlers=declared)
        run = timeouts.mind_finish(turn, run_id, run)
        turn.state.put(RUNS.key(run_id), run)
        turn.history.append(_started(turn.now, run_id, run, event))
        steps = load(turn, run_id, run, event) if run.reused else {}
        if steps:
            reuse.told(turn, run_id, run.function, steps)
        else:
            turn.load(run_id, Live(run, event))
        turn.effects.append(Execute(run_id, run, event, steps, _events(turn, run)))


def _wait(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    turn.waiting.add(run_id, run, event, turn.now)
    if run.started_at:
        _change(turn, run_id, run, "queued", NO_ROOM)
    else:
        run = timeouts.mind_start(turn, run_id, run, event)
        turn.state.put(RUNS.key(run_id), replace(run, status="queued"))
        turn.history.append(disposed(turn, run_id, run, event, "queued", detail=NO_ROOM))


def _park(turn: Turn, run_id: str, run: Run, event: Event) -> None:
    if run.status == "parked":
        return
    if not run.started_at:
        run = timeouts.mind_start(turn, run_id, run, event)
        turn.history.append(disposed(turn, run_id, run, event, "queued", detail="no code"))
    _change(turn, run_id, give_back(turn, run_id, run, parked=True), "parked")


def _go_on(turn: Turn, run_id: str, run: Run, event: Event, function: Function) -> None:
    if run.version not in function.versions:
        run = replace(run, version=function.versions[0])
        turn.history.append(_changed(turn, run_id, run, "moved"))
    if run.status != "running":
        # That a run slept, its steps tell.
        told = run.status == "sleeping"
        run = replace(run, status="running", wake_at=0)
        if not told:
            turn.history.append(_changed(turn, run_id, run, "running"))
    turn.state.put(RUNS.key(run_id), run)
    steps = load(turn, run_id, run, event)
    turn.effects.append(Execute(run_id, run, event, steps, _events(turn, run)))
    wake_due_steps(turn, run_id, steps)


def load(turn: Turn, run_id: str, run: Run, event: Event) -> dict[str, Step]:
    """Make a run one that is being executed, as far as decisions can see; return its steps by their ids."""
    steps = recorded_steps(turn, run_id)
    live = Live(
        run,
        event,
        set(steps),
        {name for name, step in steps.items() if not step.wake_at},
        {name for name, step in steps.items() if step.wake_at},
        taken={taken: None for step in steps.values() if (taken := taken_by(step))},
    )
    turn.load(run_id, live)
    return steps


def suspend(turn: Turn, command: Suspend) -> None:
    """Unload a run that only waits for timers, unless one has come due since it said so."""
    live = turn.live.get(command.run_id)
    if live is None or live.run.cancelled or live.signals != command.signals or not live.pending:
        return
    turn.unload(command.run_id)
    run = live.run
    if run.gates and _only_waits(turn, command.run_id, live):
        run = give_back(turn, command.run_id, run)
    turn.state.put(RUNS.key(command.run_id), replace(run, status="sleeping"))
    turn.effects.append(Release(command.run_id))


def retry_run(turn: Turn, command: RetryRun) -> None:
    """The body failed outside its steps: execute it again later."""
    live = turn.unload(command.run_id)
    if live is None:
        return
    at = turn.now + (0 if live.run.cancelled else command.delay)
    run = replace(live.run, attempt=live.run.attempt + 1, status="retrying", wake_at=at)
    turn.state.put(RUNS.key(command.run_id), run)
    turn.set_timer(at, Timer("retry", command.run_id))
    retrying = _changed(turn, command.run_id, run, "retrying")
    turn.history.append(replace(retrying, wake_at=at, error=command.error))
    turn.effects.append(Release(command.run_id))


def interrupted(turn: Turn, command: Interrupted) -> None:
    """Bodies of steps come to nothing, because their run is left: that is told, and nothing of it is kept."""
    run_id, live = command.run_id, turn.live.get(command.run_id)
    if live is None:
        return
    for step_id, attempt, started_at in command.bodies:
        if step_id not in live.recorded:
            tell_interrupted(turn, live.run, run_id, step_id, Step("run", "", 0, attempt, started_at, 0))
    if live.run.cancelled:
        turn.history.append(_changed(turn, run_id, live.run, "stopping", live.run.cancelled))


def recorded_steps(turn: Turn, run_id: str) -> dict[str, Step]:
    """Return the steps of a run by their ids."""
    start = STEPS.key(run_id, "")
    return {key[len(start) :].decode(): step for key, step in turn.state.scan(STEPS, start, start[:-1] + b"\1")}


def _events(turn: Turn, run: Run) -> tuple[Event, ...]:
    return () if run.span is None else tuple(sorted(gathered(turn, run.span), key=age))


def _only_waits(turn: Turn, run_id: str, live: Live) -> bool:
    """Return whether none of the steps is to be tried again: a slot is held through that."""
    steps = (turn.state.get(STEPS, STEPS.key(run_id, step)) for step in live.pending)
    return all(step is not None and step.status in ("sleeping", "waiting") for step in steps)


def _change(turn: Turn, run_id: str, run: Run, status: str, detail: str = "") -> None:
    run = replace(run, status=status)
    turn.state.put(RUNS.key(run_id), run)
    turn.history.append(_changed(turn, run_id, run, status, detail))


def _changed(turn: Turn, run_id: str, run: Run, change: str, detail: str = "") -> RunChanged:
    of = run_id, run.function, run.version
    return RunChanged(turn.now, *of, change, run.attempt, detail=detail, replay_id=run.replay_id)


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
        run.rerun_of or None,
    )


def disposed(
    turn: Turn, run_id: str, run: Run | Entry, event: Event, disposition: str, *, detail: str = ""
) -> EventDisposed:
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


def at_gate(told: EventDisposed, gate: Gate, earliest: int | None = None) -> EventDisposed:
    """Return what history tells of an event, with the gate that decided or where it waits."""
    return replace(told, gate=gate.kind, gate_key=gate.key, gate_id=gate.id, earliest=earliest)
