"""A step waits for an event: it asks the partition where the event will be, and takes the answer, or waits in vain.

When its time is over, it asks that partition once more: an event that came before then is its answer, even if it is still to be routed, or the log has to be read to find it.

A run never gets one event twice. Who answers knows what it has given to the run's waits; where two partitions give the same, for waits for different values, the
second answer is in vain, and the wait asks again. How far back it looks is fixed when the step is first asked for: not behind the run's trigger, nor, unless it is replayed, further than
``lookback`` from then.
"""

from itertools import islice

from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.identity import home_partition
from stream_engine.core.partition.turn import Live, Turn
from stream_engine.core.records.tables import STEPS, Awaited, Step, Timer
from stream_engine.core.records.wanted import Await, Found, InVain, LastCall
from stream_engine.core.stages.commands import WaitForEvent
from stream_engine.core.stages.step import FOREVER, keep, open_step, settle
from stream_engine.core.stages.unloaded import load_unloaded
from stream_engine.core.waits.answers import NOTHING, result_of
from stream_engine.core.waits.interests import before, place, slot

_LEAST_KEPT = 60_000
"""For how many milliseconds an event is kept at least: one that comes first has to be there when the wait comes."""

TIMEOUT = "wait timeout"
"""The kind of timer that ends the wait of a step for an event."""

_HAD_BYTES = 4096
"""How much is said at once of what a run has had: some hundred events, or one after the other where their ids are long."""

_NOT_READ = Failure(
    "EventsNotReadYet",
    "its time is over; whether the event came is known once all events of that time are routed, or read again for it (if that takes long, doctor and the workers' logs say why)",
)
"""What history says of a wait that goes on beyond its time."""


def wait(turn: Turn, command: WaitForEvent) -> None:
    """A step waits for an event; executing the run again does not begin to wait anew."""
    live = open_step(turn, command.run_id, command.step_id)
    if live is None or command.step_id in live.pending:
        return
    event = live.event
    after = place(event)
    if live.run.replay_id is None:
        after = max(after, before(turn.now - command.lookback))
    wake_at = FOREVER if command.timeout is None else turn.now + command.timeout
    awaited = Awaited(command.wanted, after, max(command.lookback, _LEAST_KEPT))
    step = Step("wait", "waiting", len(live.recorded), 0, turn.now, turn.now, wake_at, awaited=awaited)
    live.pending.add(command.step_id)
    keep(turn, live, command.run_id, command.step_id, step)
    if command.timeout is not None:
        turn.set_timer(wake_at, Timer(TIMEOUT, command.run_id, command.step_id))
    _ask(turn, live, command.run_id, command.step_id, step)


def found(turn: Turn, command: Found) -> None:
    """An event that a step waits for is there."""
    run_id, step_id, event = command.run_id, command.step_id, command.event
    step = _waiting(turn, run_id, step_id)
    unloaded = run_id not in turn.live
    if step is None or (unloaded and not load_unloaded(turn, run_id)):
        return
    live = turn.live[run_id]
    goes_on = False
    if not live.run.cancelled and event.identity in live.taken:
        _ask(turn, live, run_id, step_id, step, had=_had_since(live, event.identity))
        if step.wake_at <= turn.now:
            _call_last(turn, run_id, step_id, step)
    elif not live.run.cancelled:
        live.taken[event.identity] = None
        settle(turn, live, run_id, step_id, _done(turn, live, step, result_of(event)))
        goes_on = True
    _leave(turn, run_id, unloaded=unloaded, goes_on=goes_on)


def waited_long(turn: Turn, run_id: str, step_id: str) -> None:
    """A step has waited for an event for as long as it was to."""
    step = _waiting(turn, run_id, step_id)
    if step is not None and step.wake_at <= turn.now:
        _call_last(turn, run_id, step_id, step)


def waited_in_vain(turn: Turn, command: InVain) -> None:
    """There was no event in time that a step waits for; or lanes have to offer more before that is known."""
    run_id, step_id = command.run_id, command.step_id
    step = _waiting(turn, run_id, step_id)
    unloaded = run_id not in turn.live
    if step is None or (unloaded and not load_unloaded(turn, run_id)):
        return
    live = turn.live[run_id]
    goes_on = command.known and not live.run.cancelled
    if goes_on:
        settle(turn, live, run_id, step_id, _done(turn, live, step, NOTHING))
    elif not live.run.cancelled:
        keep(turn, live, run_id, step_id, step, told=_NOT_READ)
    _leave(turn, run_id, unloaded=unloaded, goes_on=goes_on)


def _waiting(turn: Turn, run_id: str, step_id: str) -> Step | None:
    """Return a step, if it still waits for an event."""
    step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
    return step if step is not None and step.status == "waiting" and step.awaited is not None else None


def _had_since(live: Live, identity: str) -> tuple[str, ...]:
    """Return what a run has had since an event, as far as there is room for it: what would be the next answers in vain."""
    identities, size = [], 0
    for other in islice(live.taken, list(live.taken).index(identity) + 1, None):
        size += len(other.encode())
        if size > _HAD_BYTES:
            break
        identities.append(other)
    return tuple(identities)


def _ask(turn: Turn, live: Live, run_id: str, step_id: str, step: Step, *, had: tuple[str, ...] = ()) -> None:
    awaited = step.awaited
    assert awaited is not None
    wanted = awaited.wanted
    event = live.event if wanted.needs_event else None
    # Its trigger is nothing new to a run, however often it is on the log.
    taken = (live.event.identity,)
    until = 0 if step.wake_at == FOREVER else step.wake_at
    asked = Await(run_id, step_id, wanted, awaited.after, awaited.keep, live.run.replay_id, taken, event, until)
    asked = replace(asked, created_at=live.run.created_at, had=had)
    turn.command(home_partition(slot(wanted), turn.rules.partitions), asked)


def _call_last(turn: Turn, run_id: str, step_id: str, step: Step) -> None:
    assert step.awaited is not None
    where = slot(step.awaited.wanted)
    turn.command(home_partition(where, turn.rules.partitions), LastCall(run_id, step_id, where))


def _done(turn: Turn, live: Live, step: Step, result: bytes) -> Step:
    done = replace(step, status="completed", order=len(live.recorded), ended_at=turn.now, wake_at=0, result=result)
    return replace(done, awaited=None)


def _leave(turn: Turn, run_id: str, *, unloaded: bool, goes_on: bool) -> None:
    if unloaded:
        turn.unload_at_once(run_id)
        if goes_on:
            turn.resumes.append(run_id)
