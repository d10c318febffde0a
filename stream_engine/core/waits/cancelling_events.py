"""Events that cancel runs (``cancel_on``): waits that begin when the trigger is admitted, before any gate, and whose answer cancels the run.

They are answered with any event behind the trigger, also with one that came before there was a run. What is in a batch has waits of its own, from when it
is in the batch until that starts, whose answer takes the event out.
"""

from msgspec.structs import replace

from stream_engine.core.identity import home_partition
from stream_engine.core.partition.turn import Turn
from stream_engine.core.records.journal import Gate
from stream_engine.core.records.requests import Entry
from stream_engine.core.records.wanted import Await, Canceller
from stream_engine.core.waits.interests import place, slot
from stream_engine.core.waits.withdrawal import slots

KEEP = 600_000
"""For how many milliseconds events that cancel are kept: a run asks for them from its admission on, which is late only where routers are behind."""


def register(turn: Turn, entry: Entry) -> None:
    """Begin to wait for what cancels the run of an entry, unless that goes into a batch first."""
    for number, _ in enumerate(slots(entry)):
        canceller = entry.cancellers[number]
        _ask(turn, _await(entry, canceller, number, _until(turn, entry, canceller)))


def register_in_batch(turn: Turn, entry: Entry, gate: Gate, place_in: tuple[str, int], due: int) -> None:
    """Begin to wait for what takes an event out of a batch, where it has a place (the buffer's name, and its number) until that is due."""
    name, index = place_in
    for number, canceller in enumerate(entry.cancellers):
        until = min(due, _until(turn, entry, canceller) or due)
        _ask(turn, replace(_await(entry, canceller, number, until), gate=gate, batch=name, number=index))


def _await(entry: Entry, canceller: Canceller, number: int, until: int) -> Await:
    event = entry.event if canceller.wanted.needs_event else None
    return Await(
        entry.run_id,
        str(number),
        canceller.wanted,
        place(entry.event),
        KEEP,
        entry.replay_id,
        # The trigger, however often it is on the log.
        (entry.event.identity,),
        event=event,
        until=until,
        cancels=True,
    )


def _until(turn: Turn, entry: Entry, canceller: Canceller) -> int:
    """Return until when an event cancels, 0 for ever; in a replay from the time of the run's own event on."""
    begun = turn.now if entry.replay_id is None else entry.event.timestamp
    return 0 if canceller.timeout is None else begun + canceller.timeout


def _ask(turn: Turn, asked: Await) -> None:
    turn.command(home_partition(slot(asked.wanted), turn.rules.partitions), asked)
