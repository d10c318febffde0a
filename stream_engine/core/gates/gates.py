"""Gates, where they are owned: runs ask to pass, pass or wait or are refused, and are let through when there is room.

A run stays at its home and asks each of its gates in their order; the gate's owner keeps who has passed and who waits, in tables of its
own, and answers. What a run has passed it frees when it ends, or when it gives its slots back while it waits for something else. Runs that are invoked by a holder
of a slot are let into that one, which is free once all of them have left it.

======================  ============================================  =======================================
kind                    a run that asks                               a run that waits is let through
======================  ============================================  =======================================
``concurrency``         passes while fewer than the limit hold it     when one frees it
``throttle``            passes while the window has room for it       when the oldest start leaves the window
``rate limit``          passes, or is refused: ``rate-limited``       none waits
``singleton`` (skip)    passes, or is refused: ``skipped``            replayed runs, when it is freed
``singleton`` (replace) passes, or has the one that holds it ended    when that has ended
======================  ============================================  =======================================
"""

from msgspec.structs import replace

from stream_engine.core.functions.flow import PLAIN
from stream_engine.core.gates.event_time import REMEMBERED, hold, lag
from stream_engine.core.gates.keeper import Keeper
from stream_engine.core.gates.tokens import clean_up, earliest, next_start
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.requests import Ask, Began, Free

IDEMPOTENCY = "idempotency"
DEBOUNCE = "debounce"
BATCH = "batch"
CONCURRENCY = "concurrency"
THROTTLE = "throttle"
RATE_LIMIT = "rate limit"
SINGLETON = "singleton"

_AT_ONCE = 50
"""How many runs one decision lets through at most; a limit that was raised may let in very many."""


def ask(turn: Turn, command: Ask) -> None:
    """A run asks to pass a gate."""
    if command.gate.kind == RATE_LIMIT:
        if command.replay_id is None:
            count(turn, command)
        else:
            function = turn.rules.functions.get(command.function)
            hold(turn, command.gate, command.moment, command, lag(PLAIN if function is None else function.flow))
        return
    keeper = Keeper.asked(turn, command)
    if _is_inside(keeper, command):
        pass
    elif _is_outdated(keeper, command):
        keeper.refuse(command.run_id, command.number, "skipped")
    elif keeper.now.waiting == 0 and _has_room(keeper):
        _grant(keeper, command.run_id, command.number)
    elif command.gate.kind == SINGLETON and command.replay_id is None:
        _contend(keeper, command)
    else:
        _queue(keeper, command)
    _look(keeper)


def count(turn: Turn, command: Ask) -> None:
    """A run asks to pass a rate limit; in a replay, by its moment, or that of the last start before it if that is later."""
    keeper = Keeper.asked(turn, command)
    if command.replay_id is not None:
        keeper.clock = max(command.moment, keeper.token(keeper.now.number - 1) or 0)
        keeper.now = replace(keeper.now, asked=turn.now)
    at = next_start(keeper)
    if at is None or at > keeper.clock:
        keeper.refuse(command.run_id, command.number, "rate-limited")
    else:
        keeper.spend()
        # Nothing is held: what counts is that it was let in.
        keeper.grant_freely(command.run_id, command.number)
    _look(keeper)


def free(turn: Turn, command: Free) -> None:
    """A run needs a gate no more."""
    keeper = _left(turn, command)
    if keeper is None:
        return
    now = keeper.now
    if command.run_id == now.successor:
        keeper.now = replace(now, successor="")
    elif command.run_id == now.holder:
        keeper.now = replace(now, holder="")
        if command.order is not None and now.successor:
            keeper.advance(now.successor, command.order)
    _let_through(keeper)
    _look(keeper)


def began(turn: Turn, command: Began) -> None:
    """A run that has passed a throttle begins: from now on it counts in the windows."""
    keeper = _left(turn, command)
    if keeper is None:
        return
    keeper.spend()
    _let_through(keeper)
    _look(keeper)


def look_again(turn: Turn, gate_id: str, at: int) -> None:
    """A gate's timer came due."""
    keeper = Keeper.of(turn, gate_id)
    if keeper is None or keeper.now.timer != at:
        return
    keeper.now = replace(keeper.now, timer=0)
    _let_through(keeper)
    _look(keeper)


def revisit(turn: Turn, gate_id: str) -> None:
    """A new term begins, maybe with other code: where a limit was raised, who waits is let through, and need not wait for others to come or go."""
    keeper = Keeper.of(turn, gate_id)
    if keeper is not None and (keeper.limit, keeper.window) != (keeper.gate.limit, keeper.gate.per):
        _let_through(keeper)
        _look(keeper)


def _left(turn: Turn, command: Free | Began) -> Keeper | None:
    """Forget the claim of a run; return the keeper of the gate, or None where the run has none."""
    keeper = Keeper.of(turn, command.gate.id)
    claim = None if keeper is None else keeper.claim(command.run_id)
    if keeper is None or claim is None or claim.left:
        return None
    keeper.leave(command.run_id, claim)
    return keeper


def _is_inside(keeper: Keeper, command: Ask) -> bool:
    """Let a run pass that shares a slot which is taken already: its own, which it gave back while others were in it, or that of who invoked it."""
    claim = keeper.claim(command.run_id) if command.back else None
    if claim is not None and claim.left:
        keeper.come_back(command.run_id, claim, command.number)
        return True
    return bool(command.holder) and keeper.share(command.run_id, command.number, command.holder)


def _has_room(keeper: Keeper) -> bool:
    kind, held = keeper.gate.kind, keeper.now.held
    if kind == THROTTLE:
        at = next_start(keeper)
        return at is not None and at <= keeper.turn.now
    return held < (1 if kind == SINGLETON else keeper.limit)


def _is_outdated(keeper: Keeper, command: Ask) -> bool:
    """Return whether a newer run than this has asked for a singleton that replaces: this one has been on its way for longer, and comes too late."""
    if keeper.gate.kind != SINGLETON or keeper.gate.mode == "skip" or command.replay_id is not None:
        return False
    place = b"".join(
        (command.moment.to_bytes(8, "big"), command.partition.to_bytes(4, "big"), command.offset.to_bytes(8, "big"))
    )
    if place < keeper.now.newest:
        return True
    keeper.now = replace(keeper.now, newest=place, asked=keeper.turn.now)
    return False


def _contend(keeper: Keeper, command: Ask) -> None:
    if keeper.gate.mode == "skip":
        keeper.refuse(command.run_id, command.number, "skipped")
        return
    now = keeper.now
    waiting = keeper.claim(now.successor) if now.successor else None
    if waiting is not None:
        keeper.leave(now.successor, waiting)
        keeper.refuse(now.successor, waiting.number, "cancelled")
        command = replace(command, order=min(command.order, keeper.order(waiting)))
    elif now.holder:
        keeper.cancel(now.holder, f"replaced by {command.run_id}")
    keeper.now = replace(keeper.now, successor=command.run_id)
    _queue(keeper, command)


def _queue(keeper: Keeper, command: Ask) -> None:
    keeper.queue(command, earliest(keeper) if keeper.gate.kind == THROTTLE else None)


def _grant(keeper: Keeper, run_id: str, number: int, order: int | None = None) -> None:
    keeper.grant(run_id, number, order)
    if keeper.gate.kind == SINGLETON:
        successor = "" if keeper.now.successor == run_id else keeper.now.successor
        keeper.now = replace(keeper.now, holder=run_id, successor=successor)


def _let_through(keeper: Keeper) -> None:
    for _ in range(_AT_ONCE):
        if not (keeper.now.waiting and _has_room(keeper)):
            return
        run_id, claim = keeper.first()
        # Who replaces another run may wait at the place of that one, and keeps it at the gates behind.
        order = keeper.order(claim) if run_id == keeper.now.successor else None
        keeper.leave(run_id, claim)
        _grant(keeper, run_id, claim.number, order)


def _look(keeper: Keeper) -> None:
    """Set the timer at which there is something to do or to forget, and save."""
    if keeper.gate.kind in (THROTTLE, RATE_LIMIT):
        at = next_start(keeper) if keeper.now.waiting else None
        if at is not None:
            keeper.set_timer(at)
        clean_up(keeper)
    elif keeper.now.waiting and _has_room(keeper):
        keeper.set_timer(keeper.turn.now)
    elif keeper.now.newest:
        _remember_newest(keeper)
    keeper.save()


def _remember_newest(keeper: Keeper) -> None:
    """Forget who was the newest, some time after the gate has become free."""
    until = keeper.now.asked + REMEMBERED
    if keeper.now.held or keeper.now.waiting:
        return
    if until > keeper.turn.now:
        keeper.set_timer(until)
    else:
        keeper.now = replace(keeper.now, newest=b"", asked=0)
