"""A step waits for an event: it asks the partition where the event will be, and takes the answer, or waits in vain.

A run never gets one event twice. What its waits have got is told with each question; where two waits of it ask at once and get the same, the second one asks
again. How far back it looks is fixed when the step is first asked for: not behind the run's trigger, nor, unless it is replayed, further than
``lookback`` from then.
"""

from msgspec.structs import replace

from stream_engine.core.answers import NOTHING, result_of
from stream_engine.core.commands import WaitForEvent
from stream_engine.core.identity import home_partition
from stream_engine.core.interests import before, place, slot
from stream_engine.core.lend import load_unloaded
from stream_engine.core.step import FOREVER, keep, open_step, settle
from stream_engine.core.tables import STEPS, Awaited, Step, Timer
from stream_engine.core.turn import Live, Turn
from stream_engine.core.wanted import Await, Found
from stream_engine.core.withdrawal import withdraw_step

_LEAST_KEPT = 60_000
"""For how many milliseconds an event is kept at least: one that comes first has to be there when the wait comes."""

TIMEOUT = "wait timeout"
"""The kind of timer that ends the wait of a step for an event."""


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
    _ask(turn, live, command.run_id, command.step_id, awaited)


def found(turn: Turn, command: Found) -> None:
    """An event that a step waits for is there."""
    run_id, step_id, event = command.run_id, command.step_id, command.event
    unloaded = run_id not in turn.live
    if unloaded and not load_unloaded(turn, run_id):
        return
    live = turn.live[run_id]
    step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
    goes_on = False
    if step is None or step.status != "waiting" or step.awaited is None:
        _ask_for_others(turn, live, run_id)
    elif not live.run.cancelled and event.identity in live.taken:
        _ask(turn, live, run_id, step_id, step.awaited)
    elif not live.run.cancelled:
        live.taken.add(event.identity)
        settle(turn, live, run_id, step_id, _done(turn, live, step, result_of(event)))
        goes_on = True
    _leave(turn, run_id, unloaded=unloaded, goes_on=goes_on)


def waited_in_vain(turn: Turn, run_id: str, step_id: str) -> None:
    """A step has waited for an event for as long as it was to."""
    step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
    if step is None or step.status != "waiting" or step.awaited is None or step.wake_at > turn.now:
        return
    unloaded = run_id not in turn.live
    if unloaded and not load_unloaded(turn, run_id):
        return
    live = turn.live[run_id]
    goes_on = not live.run.cancelled
    if goes_on:
        withdraw_step(turn, run_id, step_id, step)
        settle(turn, live, run_id, step_id, _done(turn, live, step, NOTHING))
    _leave(turn, run_id, unloaded=unloaded, goes_on=goes_on)


def _ask(turn: Turn, live: Live, run_id: str, step_id: str, awaited: Awaited) -> None:
    wanted = awaited.wanted
    event = live.event if wanted.needs_event else None
    taken = tuple(sorted(live.taken))
    asked = Await(run_id, step_id, wanted, awaited.after, awaited.keep, live.run.replay_id, taken, event)
    turn.command(home_partition(slot(wanted), turn.rules.partitions), asked)


def _ask_for_others(turn: Turn, live: Live, run_id: str) -> None:
    """Ask anew for all waits of a run, because the one that has been answered is over, and another one may want the event."""
    for step_id in sorted(live.pending):
        step = turn.state.get(STEPS, STEPS.key(run_id, step_id))
        if step is not None and step.status == "waiting" and step.awaited is not None and not live.run.cancelled:
            _ask(turn, live, run_id, step_id, step.awaited)


def _done(turn: Turn, live: Live, step: Step, result: bytes) -> Step:
    done = replace(step, status="completed", order=len(live.recorded), ended_at=turn.now, wake_at=0, result=result)
    return replace(done, awaited=None)


def _leave(turn: Turn, run_id: str, *, unloaded: bool, goes_on: bool) -> None:
    if unloaded:
        turn.unload_at_once(run_id)
        if goes_on:
            turn.resumes.append(run_id)
