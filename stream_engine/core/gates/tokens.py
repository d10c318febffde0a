"""Windows that hold no more than so many starts, wherever they begin: what throttles and rate limits count by.

Starts are numbered. The next one is allowed once the one that lies ``limit`` numbers before it is a window old, so each decision looks at
one token, however many there are. A token that is not there any more was deleted when the start ``limit`` behind it was allowed, and
so is a window old.
"""

from itertools import islice

from msgspec.structs import replace

from stream_engine.core.gates.event_time import REMEMBERED
from stream_engine.core.gates.keeper import Keeper
from stream_engine.core.records.tables import TOKENS

_AT_ONCE = 1_000
"""How many tokens one decision forgets at most; a window may have held a million."""


def next_start(keeper: Keeper, ahead: int = 0) -> int | None:
    """Return when another run may pass behind ``ahead`` that wait; 0 for at once, None if that depends on runs that have not begun."""
    now = keeper.now
    number = now.number + now.held + ahead - keeper.limit
    if number >= now.number:
        return None
    at = keeper.token(number)
    return 0 if at is None else at + keeper.window


def earliest(keeper: Keeper) -> int:
    """Return when a run that is the last to wait can pass at the earliest, whatever those before it do."""
    limit, window, now = keeper.limit, keeper.window, keeper.now
    number = now.number + now.held + now.waiting - limit
    rounds = max(0, (number - now.number) // limit + 1)
    at = keeper.token(number - rounds * limit)
    return keeper.turn.now + rounds * window if at is None else at + (rounds + 1) * window


def clean_up(keeper: Keeper) -> None:
    """Forget all tokens of a gate where nobody waits, once none of them counts; look again when that may be so."""
    now = keeper.now
    if now.held or now.waiting or not now.number:
        return
    at = keeper.token(now.number - 1)
    if now.asked:
        # How long ago a start was on the clock says nothing of what is still to come again.
        at = now.asked + max(0, REMEMBERED - keeper.window)
    if at is not None and at + keeper.window > keeper.turn.now:
        keeper.set_timer(at + keeper.window)
        return
    start = TOKENS.numbered_key(keeper.gate.id, 0)
    old = [key for key, _ in islice(keeper.turn.state.scan(TOKENS, start, start[:-9] + b"\1"), _AT_ONCE)]
    for key in old:
        keeper.turn.state.delete(key)
    if len(old) == _AT_ONCE:
        keeper.set_timer(keeper.turn.now)
    else:
        keeper.now = replace(now, number=0)
