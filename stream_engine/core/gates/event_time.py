"""Event time: the gates of a replay let events through, or not, by when they were on the log, not by when they come again.

A replay routes in minutes what took days, so idempotency, debounces, batches and rate limits that went by the clock would take for close together
what was far apart. Each replay has such gates for itself, and there the time of an event, its *moment*, is its log timestamp, or its
``ts`` once it has waited for that. What a debounce or batch makes of several events has the moment at which it was complete, and what a replayed run
sends or invokes has the moment of that run.

Events of different partitions, or homes, overtake each other on their way, so what comes to such a gate is *held* for a while, and is let in by
moments. What is later than that counts as if it came just then, as what is late does live. No more events will tell a debounce or a batch
that its time is over when they were the last: then it goes on by the clock, after its own time and not before `PATIENCE`.
"""

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from stream_engine.core.functions.flow import Flow
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Ask, Entry, Pass
from stream_engine.core.records.tables import ARRIVALS, Arrival, Timer

TIMER = "in order"
"""The kind of timer at which what is held before a gate is let in."""

HOLD = 3_000
"""How long an arrival is held at least, in milliseconds on the clock, so that earlier ones go before it."""

PATIENCE = 10_000
"""How long a debounce or batch waits at least for what may follow, in milliseconds on the clock; a replay may have to stop and go."""

REMEMBERED = 3_600_000
"""How long a rate limit remembers its starts at least after the last run has asked, in milliseconds on the clock."""

_AT_ONCE = 100


def moment_of(event: Event, sent_at: int) -> int:
    """Return the moment of a replayed event; ``sent_at`` is that of the replayed run which sent it, or 0."""
    return sent_at or max(0, event.timestamp)


def delayed(event: Event, moment: int) -> int:
    """Return the moment of a replayed event once it has waited for its ``ts``."""
    return moment + max(0, event.ts - event.timestamp)


def due(entry: Entry) -> Entry:
    """Return an entry of a replay whose event has waited for its ``ts``, or one that is not of a replay as it is."""
    return entry if entry.replay_id is None else replace(entry, moment=delayed(entry.event, entry.moment))


def patience(per: int) -> int:
    """Return how long on the clock a debounce or batch of so long a period waits for what may follow."""
    return max(per, PATIENCE)


def lag(flow: Flow) -> int:
    """Return by how much on the clock runs of a function may overtake each other that a debounce or batch makes, and others that pass it by."""
    if flow.debounce is not None:
        return HOLD + patience(flow.debounce.period)
    return 0 if flow.batch is None else HOLD + patience(flow.batch.timeout)


def most_held(flow: Flow) -> int:
    """Return how long on the clock the gates of a function may hold a run of a replay that a live run would have passed at once."""
    rate_limit = 0 if flow.rate_limit is None else HOLD + lag(flow)
    return (0 if flow.idempotency is None else HOLD) + lag(flow) + rate_limit


def hold(turn: Turn, gate: Gate, moment: int, command: Pass | Ask, lag: int = 0) -> None:
    """Hold what comes to a gate of a replay; so much longer than `HOLD`, where what comes lags behind by as much."""
    if isinstance(command, Pass):
        event = command.entry.event
        run_id, partition, offset = command.entry.run_id, event.partition, event.offset
    else:
        run_id, partition, offset = command.run_id, command.partition, command.offset
    place = moment.to_bytes(8, "big") + partition.to_bytes(4, "big") + offset.to_bytes(8, "big")
    until = turn.now + HOLD + lag
    if not holds_any(turn, gate.id):
        turn.set_timer(until, Timer(TIMER, gate.id))
    turn.state.put(ARRIVALS.key(gate.id, "") + place + run_id.encode(), Arrival(until, command))


def holds_any(turn: Turn, gate_id: str) -> bool:
    """Return whether something is held before a gate."""
    return next(_held(turn, gate_id), None) is not None


def in_order(turn: Turn, gate_id: str) -> Iterator[Pass | Ask]:
    """Yield what has been held before a gate for long enough, by moments; look again when there will be more."""
    found = list(islice(_held(turn, gate_id), _AT_ONCE + 1))
    for key, arrival in found[:_AT_ONCE]:
        if arrival.until > turn.now or turn.is_full:
            turn.set_timer(max(arrival.until, turn.now), Timer(TIMER, gate_id))
            return
        turn.state.delete(key)
        yield arrival.command
    if len(found) > _AT_ONCE:
        turn.set_timer(turn.now, Timer(TIMER, gate_id))


def _held(turn: Turn, gate_id: str) -> Iterator[tuple[bytes, Arrival]]:
    start = ARRIVALS.key(gate_id, "")
    return turn.state.scan(ARRIVALS, start, start[:-1] + b"\1")
