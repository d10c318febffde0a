"""Bugs of waits, cancels and timeouts, put back into the core, which the judges of `tests.simulation.waits` and `tests.simulation.endings` must notice."""

from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core.leading.decide import FIRED, HANDLERS
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Cancel, Entry, Seek
from stream_engine.core.records.tables import Run, Step, Timer
from stream_engine.core.records.wanted import Await, Canceller, Found, Offer
from stream_engine.core.stages import admit, awaiting, cancel, finish, handlers, invoking, replying, timeouts
from stream_engine.core.stages.commands import WaitForEvent
from stream_engine.core.waits import cancelling_events, fitting, offers
from stream_engine.core.waits.coverage import Coverage
from stream_engine.core.waits.interests import PLACE_BYTES, before
from tests.simulation.asking import Asking
from tests.simulation.bends import has_full_records, has_slow_lanes
from tests.simulation.mutant import Mutant

_wait = awaiting.wait
_fits = fitting.fits
_await = cancelling_events._await
_cancelled = handlers.cancelled
_mind_start = timeouts.mind_start
_mind_finish = timeouts.mind_finish
_offered = offers.offered
_cancel = cancel.cancel
_hand_over = finish._hand_over


def _puts_off(turn: Turn, offer: Offer) -> None:
    if turn.is_full:
        turn.later(offer)
    else:
        _offered(turn, offer)


def _for_half_as_long(turn: Turn, command: WaitForEvent) -> None:
    timeout = None if command.timeout is None else command.timeout // 2
    _wait(turn, replace(command, timeout=timeout))


def _looks_back_no_further(at: int) -> bytes:
    return before(at + 1_000_000_000)


def _without_condition(turn: Turn, asked: Await, found: Any) -> bool:
    return _fits(turn, replace(asked, wanted=replace(asked.wanted, if_="")), found)


def _cancels_by_its_trigger(entry: Entry, canceller: Canceller, number: int, until: int) -> Await:
    return replace(_await(entry, canceller, number, until), taken=())


def _compares_nothing(turn: Turn, command: Offer) -> None:
    with patch.object(offers, "_compare", lambda turn, key, start: None):
        _offered(turn, command)


def _is_lost(turn: Turn, command: Found) -> None:
    """The answer does not come; the wait is over without it."""


def _tells_twice(turn: Turn, run_id: str, run: Run | Entry, event: Any) -> None:
    _cancelled(turn, run_id, run, event)
    _cancelled(turn, run_id, replace(run, replay_id="again"), event)


def _only_what_is_here(turn: Turn, command: Cancel) -> None:
    _cancel(turn, replace(command, seek=False))


def _has_half_the_time(turn: Turn, run_id: str, run: Run) -> Run:
    begun = _mind_finish(turn, run_id, run)
    if not begun.finish_by:
        return begun
    turn.set_timer(turn.now + 1, Timer(timeouts.FINISH, run_id))
    return replace(begun, finish_by=turn.now + 1)


def _begins_at_once(turn: Turn, run_id: str, run: Run, event: Any) -> Run:
    minded = _mind_start(turn, run_id, run, event)
    if not minded.start_by or minded is run:
        return minded
    at = turn.now
    turn.set_timer(at, Timer(timeouts.START, run_id))
    return replace(minded, start_by=at)


def _gives_up_detached(turn: Turn, step: Step, reason: str) -> None:
    if step.child is not None:
        step = replace(step, child=replace(step.child, detached=False))
    _give_up(turn, step, reason)


def _times_out_as_cancelled(turn: Turn, run_id: str, run: Run, event: Any) -> None:
    _hand_over(turn, run_id, replace(run, ends_as=""), event)


_give_up = replying.give_up

COORDINATION_MUTANTS = (
    Mutant(
        "a wait ends although lanes are behind",
        [patch.object(Asking, "routed", lambda self, ends: True)],
        bend=has_slow_lanes,
    ),
    Mutant("an offer is put off", [patch.dict(HANDLERS, {Offer: _puts_off})], bend=has_full_records),
    Mutant("a wait looks back to nothing", [patch.object(awaiting, "before", _looks_back_no_further)]),
    Mutant("a wait looks back too far", [patch.object(awaiting, "before", lambda at: bytes(PLACE_BYTES))]),
    Mutant("a wait has another value's condition", [patch.object(offers, "fits", _without_condition)]),
    Mutant("what came first is not waited for", [patch.object(Coverage, "reach", property(lambda self: 0))]),
    Mutant("events wake nobody", [patch.dict(HANDLERS, {Offer: _compares_nothing})]),
    Mutant("an answer does not arrive", [patch.dict(HANDLERS, {Found: _is_lost})]),
    Mutant("a wait is over before its time", [patch.dict(HANDLERS, {WaitForEvent: _for_half_as_long})], noticed_by=9),
    Mutant(
        "a trigger cancels its run",
        [patch.object(cancelling_events, "_await", _cancels_by_its_trigger)],
        noticed_by=99,
    ),
    Mutant(
        "what came before a trigger cancels",
        [patch.object(cancelling_events, "place", lambda event: bytes(PLACE_BYTES))],
    ),
    Mutant("events cancel however late", [patch.object(cancelling_events, "_until", lambda *_: 0)], noticed_by=46),
    Mutant(
        "events cancel nothing",
        [patch.object(module, "register", lambda turn, entry: None) for module in (admit, invoking)],
        noticed_by=16,
    ),
    Mutant("a cancel is lost", [patch.dict(HANDLERS, {Cancel: lambda turn, command: None})]),
    Mutant("a cancel seeks nothing", [patch.dict(HANDLERS, {Cancel: _only_what_is_here})], noticed_by=63),
    Mutant("what is sought is not found", [patch.dict(HANDLERS, {Seek: lambda turn, command: None})], noticed_by=63),
    Mutant("nobody hears of a cancel", [patch.object(handlers, "cancelled", lambda *_: None)]),
    Mutant("a cancel is handled twice", [patch.object(handlers, "cancelled", _tells_twice)]),
    Mutant("what is detached is cancelled", [patch.object(replying, "give_up", _gives_up_detached)], noticed_by=38),
    Mutant(
        "a run takes as long as it likes",
        [patch.dict(FIRED, {timeouts.FINISH: lambda turn, timer, at: None})],
        noticed_by=18,
    ),
    Mutant(
        "a run waits as long as it likes",
        [patch.dict(FIRED, {timeouts.START: lambda turn, timer, at: None})],
        noticed_by=395,
    ),
    Mutant("a run has less time than it is given", [patch.object(timeouts, "mind_finish", _has_half_the_time)]),
    Mutant("a run is to begin at once", [patch.object(timeouts, "mind_start", _begins_at_once)]),
    Mutant("a run that timed out is called cancelled", [patch.object(finish, "_hand_over", _times_out_as_cancelled)]),
)
