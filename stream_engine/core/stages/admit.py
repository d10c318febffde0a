"""Stage *admit*: an event that arrived at its home partition becomes a run of each function that it matches."""

from msgspec.structs import replace

from stream_engine.core.functions.pausing import PAUSED
from stream_engine.core.gates import event_time
from stream_engine.core.gates.gates import IDEMPOTENCY
from stream_engine.core.identity import digest, run_id, run_name
from stream_engine.core.partition.payload import keep, share
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.history import EventDisposed
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Asked, Entry, Unfit
from stream_engine.core.records.tables import ENDED, KNOWN, RUNS, Ended, Known, Run, Timer
from stream_engine.core.stages import handlers
from stream_engine.core.stages.entering import dismiss, pass_on
from stream_engine.core.stages.halting import why_dismissed
from stream_engine.core.stages.reuse import take_over
from stream_engine.core.stages.run import begin, disposed
from stream_engine.core.waits.cancelling_events import register

ON_ITS_WAY = "on its way to its gates"
"""What history says of an event of a replay that has not come to its gates."""


def admit(turn: Turn, command: Admit) -> None:
    """Give the event its disposition for each function."""
    event = command.event
    new: list[tuple[str, Run]] = []
    for function in command.functions:
        run, header = _identify(turn, function, command)
        if event.identity.startswith("id:") and _is_known(turn, run):
            turn.history.append(disposed(turn, run, header, event, "duplicate"))
        elif (reason := why_dismissed(turn, run, header)) is not None:
            _dismiss(turn, run, header, event, reason)
        else:
            _note_moment(turn, function, run, command)
            take_over(turn, run, command.reused)
            new.append((run, header))
    if len(new) == 1:
        [(run, header)] = new
        keep(turn, run, event)
        _start(turn, run, header, event)
    elif new:
        shared = digest(event.identity, command.replay_id or "")
        share(turn, shared, event, len(new))
        for run, header in new:
            _start(turn, run, replace(header, shared=shared), event)
    for number, asked in enumerate(command.asked):
        if number and turn.is_full:
            # Each has a copy of the event, which may be large.
            turn.later(replace(command, functions=[], asked=command.asked[number:]))
            return
        _enter(turn, asked, command)
    turn.history += _without_runs(turn, command)


def _without_runs(turn: Turn, command: Admit) -> list[EventDisposed]:
    """Return what history tells of the functions that get no run."""
    held = [_paused(turn, held, command) for held in command.paused]
    return held + [_dead_lettered(turn, unfit, command.event, command.replay_id) for unfit in command.unfit]


def _dismiss(turn: Turn, run: str, header: Run, event: Event, reason: str) -> None:
    """Make no run of an event that was cancelled before it came."""
    turn.history.append(disposed(turn, run, header, event, "cancelled", detail=reason))
    if event.identity.startswith("id:"):
        _note(turn, run, "cancelled")
    handlers.cancelled(turn, run, header, event)


def _dead_lettered(turn: Turn, unfit: Unfit, event: Event, replay_id: str | None) -> EventDisposed:
    return EventDisposed(
        turn.now,
        unfit.function,
        event.name,
        event.id,
        event.topic,
        event.partition,
        event.offset,
        "dead-lettered",
        detail=f"{unfit.reason}: {unfit.detail}",
        replay_id=replay_id,
    )


def _paused(turn: Turn, held: Asked, command: Admit) -> EventDisposed:
    """Return what history tells of a function that is paused, with the run that it would have got: somebody may wait for that."""
    name, root = _names(turn, held.function, command)
    run = run_id(name, turn.rules.partition if held.home < 0 else held.home)
    header = Run(held.function, "", PAUSED, root, turn.now, replay_id=command.replay_id)
    return disposed(turn, run, header, command.event, PAUSED, detail="the function is paused")


def _note(turn: Turn, run: str, status: str) -> None:
    key = ENDED.key(run)
    turn.state.put(key, Ended(turn.now, status))
    turn.forget.append((turn.now + turn.rules.deduplicate_for, key))


def _enter(turn: Turn, asked: Asked, command: Admit) -> None:
    """Send an event on its way through the gates of a function, unless that function has had it."""
    rules, event, replay_id = turn.rules, command.event, command.replay_id
    name, root = _names(turn, asked.function, command)
    run = run_id(name, rules.partition if asked.home < 0 else asked.home)
    # Who comes first is who stands first in the log, whichever partition was faster; a replay queues up behind.
    arrived = max(event.timestamp if replay_id is None else turn.now, event.ts)
    entry = Entry(
        run,
        asked.function,
        root,
        turn.now,
        max(0, arrived - asked.head_start),
        asked.gates,
        event,
        replay_id,
        reused=command.reused,
        cancellers=asked.cancellers,
        moment=_moment(command),
        reused_of=command.reused_of,
        handlers=handlers.declared(turn, asked.function),
    )
    if not (asked.gates and asked.gates[0].kind == IDEMPOTENCY):
        entry = event_time.due(entry)
    if event.identity.startswith("id:"):
        key = KNOWN.key(name)
        known = turn.state.get(KNOWN, key)
        here = run_id(name, rules.partition)
        if known is not None or _is_known(turn, here):
            turn.history.append(disposed(turn, here if known is None else known.run_id, entry, event, "duplicate"))
            return
        # The run lives elsewhere, or is yet to be; so what is remembered of the id is put down now. By the run's name, because another
        # event with this id may have another key, and so another home.
        turn.state.put(key, Known(run, entry.moment))
        turn.forget.append((turn.now + rules.deduplicate_for, key))
        _note_moment(turn, asked.function, run, command)
    reason = why_dismissed(turn, run, entry)
    if reason is None:
        if replay_id is not None:
            # Gates of a replay hold it for seconds, and whoever asks whether the replay is over has to know that it is there. Which run will have it is not known yet.
            turn.history.append(disposed(turn, "", entry, event, "queued", detail=ON_ITS_WAY))
        register(turn, entry)
        pass_on(turn, entry)
    else:
        dismiss(turn, entry, reason)


def _names(turn: Turn, function: str, command: Admit) -> tuple[str, str]:
    """Return the name of the run of a function, and what its idempotency keys derive from."""
    app, identity, replay_id = turn.rules.app, command.event.identity, command.replay_id
    name = run_name(app, function, identity, replay_id)
    if replay_id is None:
        return name, name
    known = turn.state.get(KNOWN, KNOWN.key(name)) if identity.startswith("id:") else None
    if known is not None:
        # The run of an id that was there within a day, or another run, for the id is a new one by then.
        moment = _moment(command)
        is_new = moment - known.moment >= turn.rules.deduplicate_for
        name = run_name(app, function, f"{identity}@{moment}", replay_id) if is_new else known.run_id.rpartition("-")[0]
    return name, name if command.new_keys else run_name(app, function, identity, None)


def _note_moment(turn: Turn, function: str, run: str, command: Admit) -> None:
    """Remember the run that an event's id has in a replay, and when that was."""
    identity, replay_id = command.event.identity, command.replay_id
    if replay_id is not None and identity.startswith("id:"):
        key = KNOWN.key(run_name(turn.rules.app, function, identity, replay_id))
        turn.state.put(key, Known(run, _moment(command)))
        turn.forget.append((turn.now + turn.rules.deduplicate_for, key))


def _moment(command: Admit) -> int:
    return 0 if command.replay_id is None else event_time.moment_of(command.event, command.sent_at)


def _identify(turn: Turn, function: str, command: Admit) -> tuple[str, Run]:
    name, root = _names(turn, function, command)
    header = Run(
        function,
        "",
        "delayed",
        root,
        turn.now,
        replay_id=command.replay_id,
        reused=bool(command.reused),
        moment=0 if command.replay_id is None else event_time.delayed(command.event, _moment(command)),
        handlers=handlers.declared(turn, function),
    )
    return run_id(name, turn.rules.partition), header


def _is_known(turn: Turn, run: str) -> bool:
    state = turn.state
    return (
        run in turn.live
        or state.get(RUNS, RUNS.key(run)) is not None
        or state.get(ENDED, ENDED.key(run)) is not None
        or state.get(KNOWN, KNOWN.key(run.rpartition("-")[0])) is not None
    )


def _start(turn: Turn, run: str, header: Run, event: Event) -> None:
    if event.ts > turn.now:
        turn.state.put(RUNS.key(run), header)
        turn.set_timer(event.ts, Timer("start", run))
        turn.history.append(disposed(turn, run, header, event, "delayed", detail=str(event.ts)))
    else:
        begin(turn, run, header, event)
