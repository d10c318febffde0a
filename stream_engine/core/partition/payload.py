"""The events that runs were started by, kept once however many functions wanted one; and what stays of a run once it has ended."""

from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Span
from stream_engine.core.records.tables import ENDED, EVENTS, GATHERED, USES, Ended, Run, Uses


def keep(turn: Turn, run_id: str, event: Event) -> None:
    """Keep the event of a run that has it for itself."""
    turn.state.put(EVENTS.key(run_id), event)


def share(turn: Turn, name: str, event: Event, runs: int) -> None:
    """Keep an event under a name of its own for so many runs; each of them has the name in ``shared``."""
    turn.state.put(EVENTS.key(name), event)
    turn.state.put(USES.key(name), Uses(runs))


def event_of(turn: Turn, run_id: str, run: Run) -> Event | None:
    """Return the event of a run, or None if there is no such run."""
    return turn.state.get(EVENTS, EVENTS.key(run.shared or run_id))


def age(event: Event) -> tuple[int, int, str, int, int]:
    """Return by what events are in their order: their ``ts``, and then the log's."""
    return event.ts, event.timestamp, event.topic, event.partition, event.offset


def gathered(turn: Turn, span: Span, most: int | None = None) -> tuple[Event, ...]:
    """Return the events of a span, or up to so many of those that history has not been told of."""
    first, last = (0, span.count) if most is None else (span.first, min(span.first + most, span.count))
    start = GATHERED.numbered_key(span.name, first)
    stop = GATHERED.numbered_key(span.name, last)
    return tuple(event for _, event in turn.state.scan(GATHERED, start, stop))


def drop_span(turn: Turn, span: Span) -> None:
    """Let go of the events of a span."""
    for number in range(span.count):
        turn.state.delete(GATHERED.numbered_key(span.name, number))


def drop(turn: Turn, run_id: str, run: Run) -> None:
    """Let go of the events of a run that ends."""
    if run.span is not None:
        drop_span(turn, run.span)
    if not run.shared:
        turn.state.delete(EVENTS.key(run_id))
        return
    key = USES.key(run.shared)
    uses = turn.state.get(USES, key)
    if uses is not None and uses.left > 1:
        turn.state.put(key, Uses(uses.left - 1))
    else:
        turn.state.delete(key)
        turn.state.delete(EVENTS.key(run.shared))


def remember(turn: Turn, run_id: str, run: Run, event: Event, status: str) -> None:
    """Keep that a run was, so that its event's id, if it has one, is recognised for as long as the contract says."""
    until = run.created_at + turn.rules.deduplicate_for
    if event.identity.startswith("id:") and until > turn.now:
        key = ENDED.key(run_id)
        turn.state.put(key, Ended(turn.now, status))
        turn.forget.append((until, key))
