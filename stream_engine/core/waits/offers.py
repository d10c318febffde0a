"""Events that are waited for, in the partition where they come together with the waits: that of the value that both have.

Theory of operation. Lanes *offer* events, and runs *await* them; both are kept, so it does not matter which comes first. A wait that comes is compared with
the events that are here, in their order, beginning behind its run's trigger; an event that comes is compared with the waits that are here. A wait has one
answer, and is forgotten with it. A search always begins at the trigger, so that an event that arrives late, behind a newer one, is not passed over; what the run has
had from here is (see `stream_engine.core.waits.had`), so that of waits of one run that an event fits, one is answered. The run asks anew if it had it from elsewhere.

An answer is the earliest of what has been offered. As long as lanes have not offered all that a wait is about (see `stream_engine.core.waits.coverage`), it is *held*:
nothing is answered. Waits that cancel a run are not: any event will do.

A wait whose end has come and that is not held is *overdue*: the partition *asks* up to when all events are routed, and it is in vain once that is behind its end, unless it is answered before.

What is too much for one record is gone on with in a later one: a search through many events, an event that very many wait for, and what is released.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Cancel, TimeUp
from stream_engine.core.records.tables import STEPS
from stream_engine.core.records.wait_tables import (
    HELD_BACK,
    OFFERED,
    OVERDUE,
    WAITERS,
    HeldBack,
    Offered,
    Overdue,
    Waiter,
)
from stream_engine.core.records.wanted import (
    Await,
    Behind,
    CaughtUp,
    Compare,
    Found,
    InVain,
    LastCall,
    Offer,
    Offering,
    Release,
    Search,
    TakeOut,
    Withdraw,
)
from stream_engine.core.waits.coverage import ON_ITS_WAY, Coverage
from stream_engine.core.waits.fitting import fits
from stream_engine.core.waits.had import had_up_to, has_had, remember, start_of_search
from stream_engine.core.waits.interests import interest_of, moment, place, slot

_AT_ONCE = 200
"""How many events or waits one decision compares at most, before others have their turn."""

_WITHDRAWN_FOR = 3_600_000
"""How long it is remembered that a wait was withdrawn before it came: they come by different ways."""


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
    for identity in command.had:
        remember(turn, command, identity, turn.now + command.keep + ON_ITS_WAY)
    turn.state.put(key, Waiter(replace(command, had=()) if command.had else command, is_held))
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
        _forget(turn, key, waiter)
    elif command.cancels:
        until = turn.now + _WITHDRAWN_FOR
        turn.state.put(key, Waiter(None, until=until))
        turn.expire.append((until, key))


def last_call(turn: Turn, command: LastCall) -> None:
    """A wait's time is over. One that is not here has been answered before it heard of that."""
    key = _key(command.slot, command.run_id, command.step_id, cancels=False)
    waiter = turn.state.get(WAITERS, key)
    if waiter is None or waiter.asked is None:
        return
    asked = waiter.asked
    turn.state.put(key, replace(waiter, called=True))
    if waiter.held:
        turn.command(partition_of(asked.run_id), InVain(asked.run_id, asked.step_id, known=False))
    else:
        _be_overdue(turn, key, asked)


def caught_up(turn: Turn, command: CaughtUp) -> None:
    """All events are here that came before a time: waits whose end is before that have an event now, or none."""
    overdue = turn.state.scan(OVERDUE, OVERDUE.prefix, OVERDUE.stop)
    for number, (key, entry) in enumerate(overdue):
        if int.from_bytes(key[1:9], "big") >= command.before:
            turn.asks = True
            return
        if number == _AT_ONCE or turn.is_full:
            turn.later(command)
            return
        turn.state.delete(key)
        if entry.run_id:
            turn.command(partition_of(entry.run_id), TimeUp(entry.run_id, entry.step_id))
            continue
        waiter = turn.state.get(WAITERS, entry.waiter)
        if waiter is not None and waiter.asked is not None:
            turn.state.put(entry.waiter, replace(waiter, last=True))
            # From its beginning: what has been offered just now may not have been compared with it yet.
            _search(turn, entry.waiter, waiter.asked.after)


def step_overdue(turn: Turn, run_id: str, step_id: str, until: int) -> None:
    """A step has waited until a time for somebody to complete it; that is known when all events are routed that came by then."""
    key = OVERDUE.timed_key(until) + STEPS.key(run_id, step_id)
    turn.state.put(key, Overdue(b"", run_id, step_id))
    turn.asks = True


def behind(turn: Turn, command: Behind) -> None:
    """Whoever waits beyond its end because lanes are behind is told so."""
    start = max(command.key + b"\0", OVERDUE.prefix)
    for number, (key, entry) in enumerate(turn.state.scan(OVERDUE, start, OVERDUE.timed_key(command.before))):
        if number == _AT_ONCE or turn.is_full:
            turn.later(command)
            return
        command = replace(command, key=key)
        waiter = turn.state.get(WAITERS, entry.waiter)
        if waiter is not None and waiter.asked is not None:
            asked = waiter.asked
            turn.command(partition_of(asked.run_id), InVain(asked.run_id, asked.step_id, known=False))


def offered(turn: Turn, command: Offer) -> None:
    """A lane has an event that may be waited for."""
    key = OFFERED.key(command.slot, "") + place(command.event)
    known = turn.state.get(OFFERED, key)
    until = turn.now + command.keep + ON_ITS_WAY
    if known is None or known.until < until:
        turn.state.put(key, Offered(command.event, until, command.sender))
        turn.expire.append((until, key))
    if known is None:
        turn.reached.came(command.slot, place(command.event))
        _compare(turn, key, WAITERS.key(command.slot, ""))


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
            if waiter.called:
                _be_overdue(turn, entry.waiter, waiter.asked)
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
    _compare(turn, command.key, command.behind + b"\0", command.interest)


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
            _forget(turn, key, waiter)


def _search(turn: Turn, key: bytes, behind: bytes) -> bytes | None:
    """Compare a wait with the events that are here, behind a place; return the place of its answer, or None."""
    waiter = turn.state.get(WAITERS, key)
    assert waiter is not None
    asked = waiter.asked
    assert asked is not None
    start = OFFERED.key(slot(asked.wanted), "")
    begun = behind = start_of_search(turn, asked, behind)
    has_had_all = True
    events = turn.state.scan(OFFERED, start + behind + b"\0", start[:-1] + b"\1")
    for number, (where, found) in enumerate(events):
        if number == _AT_ONCE or turn.is_full:
            turn.state.put(key, replace(waiter, searched=behind))
            turn.later(Search(key))
            return None
        behind = where[len(start) :]
        if has_had(turn, asked, found.event.identity):
            if has_had_all:
                had_up_to(turn, asked, begun, behind)
            continue
        has_had_all = False
        if fits(turn, asked, found):
            _answer(turn, key, waiter, found)
            return behind
    if waiter.last:
        _forget(turn, key, waiter)
        turn.command(partition_of(asked.run_id), InVain(asked.run_id, asked.step_id, known=True))
    elif waiter.searched:
        turn.state.put(key, replace(waiter, searched=b""))
    return None


def _compare(turn: Turn, key: bytes, start: bytes, interest: str = "") -> None:
    """Compare an event with the waits that are here; the ``interest`` is given where this goes on, and not begins."""
    left = _compare_some(turn, key, start, int(interest != ""))
    if left is not None:
        turn.later(left)
    if (left is None) != (interest == ""):
        coverage = Coverage.of(turn, interest if left is None else left.interest)
        if coverage is not None:
            coverage.comparing(-1 if left is None else 1)
            coverage.save()


def _compare_some(turn: Turn, key: bytes, start: bytes, own: int) -> Compare | None:
    """Compare an event with as many waits as one decision may; return what is left. This is one of ``own`` that are not done with.

    While there are others, a wait that the event fits is answered by a search: an earlier event may not have been compared with it yet.
    """
    found = turn.state.get(OFFERED, key)
    if found is None:
        return None
    head = key[: -len(place(found.event))]
    at = key[len(head) :]
    stop = WAITERS.prefix + head[1:-1] + b"\1"
    waiters = turn.state.scan(WAITERS, start, stop)
    last, number, interest, is_earliest, passed = b"", -1, "", True, None
    while (entry := next(waiters, None)) is not None:
        where, waiter = entry
        number += 1
        # What goes on later is counted by its interest, which no wait that was withdrawn in advance tells.
        if interest and (number >= _AT_ONCE or turn.is_full):
            return Compare(key, last, interest)
        last = where
        asked = waiter.asked
        if passed is not None and where.startswith(passed):
            # The run has had it, so its other waits are passed over, however many these are.
            waiters = turn.state.scan(WAITERS, passed[:-1] + b"\1", stop)
            continue
        if asked is not None and not interest:
            interest = interest_of(asked.wanted.name, asked.wanted.path)
            is_earliest = Coverage.open_comparisons(turn, interest) <= own
        if asked is None or not _is_open(waiter, asked, at) or not _is_new(turn, asked, found):
            continue
        if asked.cancels:
            _answer(turn, where, waiter, found)
            continue
        if is_earliest:
            _answer(turn, where, waiter, found)
        elif _search(turn, where, asked.after) != at:
            continue
        passed = where[: -len(asked.step_id.encode())]
    return None


def _is_open(waiter: Waiter, asked: Await, at: bytes) -> bool:
    """Return whether a wait may be answered with what is at a place. What a search has not come to yet, it will find, or something earlier."""
    is_held = waiter.held and not asked.cancels
    return not is_held and at > asked.after and not (waiter.searched and at > waiter.searched)


def _is_new(turn: Turn, asked: Await, found: Offered) -> bool:
    """Return whether an event is what a wait is for, and the run has not had it."""
    return not has_had(turn, asked, found.event.identity) and fits(turn, asked, found)


def _answer(turn: Turn, key: bytes, waiter: Waiter, found: Offered) -> None:
    asked, event = _forget(turn, key, waiter), found.event
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
        remember(turn, asked, event.identity, found.until)
        home = partition_of(asked.run_id)
        if home == turn.rules.partition:
            # The result of the step, and what history is told of it.
            turn.owed += 2 * len(event.data)
        turn.command(home, Found(asked.run_id, asked.step_id, event))


def _forget(turn: Turn, key: bytes, waiter: Waiter) -> Await:
    asked = waiter.asked
    assert asked is not None
    turn.state.delete(key)
    interest = interest_of(asked.wanted.name, asked.wanted.path)
    turn.state.delete(_held_key(interest, moment(asked.after), key))
    if waiter.called:
        turn.state.delete(_overdue_key(asked.until, key))
    coverage = Coverage.of(turn, interest)
    if coverage is not None:
        coverage.count(-1)
        coverage.save()
    return asked


def _be_overdue(turn: Turn, key: bytes, asked: Await) -> None:
    turn.state.put(_overdue_key(asked.until, key), Overdue(key))
    turn.asks = True


def _key(slot_id: str, run_id: str, step_id: str, *, cancels: bool) -> bytes:
    return WAITERS.key(slot_id, run_id, "c" if cancels else "w", step_id)


def _held_key(interest: str, since: int, waiter: bytes) -> bytes:
    return HELD_BACK.numbered_key(interest, since) + waiter[1:]


def _overdue_key(until: int, waiter: bytes) -> bytes:
    return OVERDUE.timed_key(until) + waiter[1:]
