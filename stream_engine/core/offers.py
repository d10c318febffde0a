"""Events that are waited for, in the partition where they come together with the waits: that of the value that both have.

Theory of operation. Lanes *offer* events, and runs *await* them; both are kept, so it does not matter which comes first. A wait that comes is compared with
the events that are here, in their order, beginning behind its run's trigger; an event that comes is compared with the waits that are here. A wait has one
answer, and is forgotten with it; the run asks anew if it has had the event from another of its waits. So a search always begins at the trigger, and an
event that arrives late, behind a newer one, is not passed over. Of waits of one run that an event fits, one is answered; if it is over by then, the run
asks anew for the others.

An answer is the earliest of what has been offered. As long as lanes have not offered all that a wait is about (see `stream_engine.core.coverage`), it is *held*:
nothing is answered. Waits that cancel a run are not: any event will do.

What is too much for one record is gone on with in a later one: a search through many events, an event that very many wait for, and what is released.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from stream_engine.core.coverage import Coverage
from stream_engine.core.expression import ASYNC, EvaluationError, ExpressionError, compile_expression
from stream_engine.core.identity import partition_of
from stream_engine.core.interests import interest_of, moment, place, slot
from stream_engine.core.records import Event
from stream_engine.core.requests import Cancel
from stream_engine.core.scope import Scope
from stream_engine.core.turn import Turn
from stream_engine.core.wait_tables import HELD_BACK, OFFERED, WAITERS, HeldBack, Offered, Waiter
from stream_engine.core.wanted import Await, Compare, Found, Offer, Offering, Release, Search, TakeOut, Withdraw

_AT_ONCE = 200
"""How many events or waits one decision compares at most, before others have their turn."""

_WITHDRAWN_FOR = 3_600_000
"""How long it is remembered that a wait was withdrawn before it came: they come by different ways."""

_ON_ITS_WAY = 60_000
"""How much longer an event is kept than anybody may look back, in milliseconds: who asks for it in time is still on its way."""


def await_event(turn: Turn, command: Await) -> None:
    """Somebody waits for an event."""
    key = _key(slot(command.wanted), command.run_id, command.step_id, cancels=command.cancels)
    known = turn.state.get(WAITERS, key)
    if known is not None and known.asked is None:
        turn.state.delete(key)
        return
    coverage = Coverage.used(turn, command.wanted.name, command.wanted.path)
    if known is None:
        coverage.count(1)
    since = moment(command.after)
    is_held = coverage.reach > since
    turn.state.put(key, Waiter(command, is_held))
    if is_held:
        turn.state.put(_held_key(coverage.interest, since, key), HeldBack(key))
    coverage.need(since, command.keep)
    coverage.save()
    if command.batch:
        # In a replay the batch's time is that of its events, which may be long ago.
        turn.expire.append((max(command.until, turn.now) + _WITHDRAWN_FOR, key))
    if not is_held or command.cancels:
        _search(turn, key, command.after)


def withdraw(turn: Turn, command: Withdraw) -> None:
    """Nobody waits any more."""
    key = _key(command.slot, command.run_id, command.step_id, cancels=command.cancels)
    waiter = turn.state.get(WAITERS, key)
    if waiter is not None and waiter.asked is not None:
        _forget(turn, key, waiter.asked)
    elif command.cancels:
        until = turn.now + _WITHDRAWN_FOR
        turn.state.put(key, Waiter(None, until=until))
        turn.expire.append((until, key))


def offered(turn: Turn, command: Offer) -> None:
    """A lane has an event that may be waited for."""
    at = place(command.event)
    for number, (name, keep) in enumerate(command.slots):
        if number and turn.is_full:
            turn.later(replace(command, slots=command.slots[number:]))
            return
        key = OFFERED.key(name, "") + at
        known = turn.state.get(OFFERED, key)
        until = turn.now + keep + _ON_ITS_WAY
        if known is None or known.until < until:
            turn.state.put(key, Offered(command.event, until, command.replay_id))
            turn.expire.append((until, key))
        if known is None:
            _compare(turn, key, WAITERS.key(name, ""))


def offering(turn: Turn, command: Offering) -> None:
    """A lane has offered what it was asked for."""
    coverage = Coverage.of(turn, command.interest)
    if coverage is not None:
        coverage.told(command)
        coverage.save()
        release(turn, Release(command.interest))


def release(turn: Turn, command: Release) -> None:
    """Answer waits that were held until everything was here."""
    coverage = Coverage.of(turn, command.interest)
    if coverage is None:
        return
    start, stop = HELD_BACK.key(command.interest, ""), HELD_BACK.key(command.interest) + b"\1"
    held = turn.state.scan(HELD_BACK, HELD_BACK.numbered_key(command.interest, coverage.reach), stop)
    for number, (key, entry) in enumerate(held):
        if number == _AT_ONCE or turn.is_full:
            turn.later(command)
            return
        turn.state.delete(key)
        waiter = turn.state.get(WAITERS, entry.waiter)
        if waiter is not None and waiter.asked is not None:
            turn.state.put(entry.waiter, replace(waiter, held=False))
            _search(turn, entry.waiter, waiter.asked.after)
    left = next(turn.state.scan(HELD_BACK, start, stop), None)
    waiter = None if left is None else turn.state.get(WAITERS, left[1].waiter)
    coverage = Coverage.of(turn, command.interest)
    if coverage is not None and waiter is not None and waiter.asked is not None:
        coverage.need(moment(waiter.asked.after), waiter.asked.keep)
        coverage.save()


def search(turn: Turn, command: Search) -> None:
    """Go on with a search."""
    waiter = turn.state.get(WAITERS, command.key)
    if waiter is not None and waiter.searched:
        _search(turn, command.key, waiter.searched)


def compare(turn: Turn, command: Compare) -> None:
    """Go on with the waits for an event."""
    _compare(turn, command.key, command.behind + b"\0")


def expire(turn: Turn, keys: Iterable[bytes]) -> None:
    """Drop events, and what is left of waits, whose time is over."""
    for key in keys:
        if key.startswith(OFFERED.prefix):
            known = turn.state.get(OFFERED, key)
            if known is not None and known.until <= turn.now:
                turn.state.delete(key)
            continue
        waiter = turn.state.get(WAITERS, key)
        if waiter is None:
            continue
        if waiter.asked is None:
            turn.state.delete(key)
        elif waiter.asked.batch:
            _forget(turn, key, waiter.asked)


def _search(turn: Turn, key: bytes, behind: bytes) -> None:
    """Compare a wait with the events that are here, behind a place."""
    waiter = turn.state.get(WAITERS, key)
    assert waiter is not None
    asked = waiter.asked
    assert asked is not None
    start = OFFERED.key(slot(asked.wanted), "")
    events = turn.state.scan(OFFERED, start + behind + b"\0", start[:-1] + b"\1")
    for number, (where, found) in enumerate(events):
        if number == _AT_ONCE or turn.is_full:
            turn.state.put(key, replace(waiter, searched=behind))
            turn.later(Search(key))
            return
        behind = where[len(start) :]
        if _fits(asked, found):
            _answer(turn, key, asked, found.event)
            return
    if waiter.searched:
        turn.state.put(key, replace(waiter, searched=b""))


def _compare(turn: Turn, key: bytes, start: bytes) -> None:
    """Compare an event with the waits that are here."""
    found = turn.state.get(OFFERED, key)
    if found is None:
        return
    head = key[: -len(place(found.event))]
    at = key[len(head) :]
    waiters = turn.state.scan(WAITERS, start, WAITERS.prefix + head[1:-1] + b"\1")
    last = b""
    answered = ""
    for number, (where, waiter) in enumerate(waiters):
        if number == _AT_ONCE or (number and turn.is_full):
            turn.later(Compare(key, last))
            return
        last = where
        asked = waiter.asked
        if asked is None or (waiter.held and not asked.cancels) or at <= asked.after:
            continue
        if not asked.cancels and asked.run_id == answered:
            continue
        # What a search has not come to yet, it will find, or something earlier.
        if not (waiter.searched and at > waiter.searched) and _fits(asked, found):
            _answer(turn, where, asked, found.event)
            answered = answered if asked.cancels else asked.run_id


def _fits(asked: Await, found: Offered) -> bool:
    event = found.event
    if found.replay_id not in (None, asked.replay_id) or event.identity in asked.taken:
        return False
    if asked.until and event.timestamp > asked.until:
        return False
    condition = asked.wanted.if_
    if not condition:
        return True
    names = frozenset({"async_event"}) if asked.event is None else ASYNC
    try:
        return compile_expression(condition, names).condition(Scope(asked.event or event, event))
    except (EvaluationError, ExpressionError):
        # It says nothing about this event, which is none of the waiting run's making.
        return False


def _answer(turn: Turn, key: bytes, asked: Await, event: Event) -> None:
    _forget(turn, key, asked)
    reason = f"event {event.name} ({event.id})"
    if asked.gate is not None:
        out = TakeOut(asked.run_id, asked.gate.id, asked.batch, asked.number, reason)
        turn.command(asked.gate.partition, out)
    elif asked.cancels:
        home, cancel = partition_of(asked.run_id), Cancel(asked.run_id, reason, seek=True)
        if home == turn.rules.partition:
            # One event may cancel very many runs, and a record has no room for what follows from all of them.
            turn.later(cancel)
        else:
            turn.command(home, cancel)
    else:
        home = partition_of(asked.run_id)
        if home == turn.rules.partition:
            # The result of the step, and what history is told of it.
            turn.owed += 2 * len(event.data)
        turn.command(home, Found(asked.run_id, asked.step_id, event))


def _forget(turn: Turn, key: bytes, asked: Await) -> None:
    turn.state.delete(key)
    interest = interest_of(asked.wanted.name, asked.wanted.path)
    turn.state.delete(_held_key(interest, moment(asked.after), key))
    coverage = Coverage.of(turn, interest)
    if coverage is not None:
        coverage.count(-1)
        coverage.save()


def _key(slot_id: str, run_id: str, step_id: str, *, cancels: bool) -> bytes:
    return WAITERS.key(slot_id, run_id, "c" if cancels else "w", step_id)


def _held_key(interest: str, since: int, waiter: bytes) -> bytes:
    return HELD_BACK.numbered_key(interest, since) + waiter[1:]
