"""What became of an event, function by function: the fold behind ``runs show --event``.

An event's id may stand on the log several times, as when a producer repeats itself; each place has its own dispositions.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from stream_engine.core.caused import INTERIM, Place
from stream_engine.core.history import EventDisposed, HistoryRecord, RunStarted

STARTED: Final = "started"


class Outcome(msgspec.Struct, frozen=True):
    """The newest disposition of an event for a function: final, or ``queued`` or ``delayed``; times in milliseconds since the epoch.

    ``run_id`` names the run that it started, waits for, or is taken by. ``gate`` and ``gate_key`` say where it was decided, or waits.
    """

    function: str
    disposition: str
    at: int
    run_id: str = ""
    replay_id: str | None = None
    gate: str = ""
    gate_key: str = ""
    earliest: int | None = None
    detail: str = ""


class EventStory:
    """Everything that history tells of the events with one id. Feed it history in any order, as often as it comes."""

    def __init__(self, event_id: str) -> None:
        self._event_id = event_id
        self._names: dict[Place, str] = {}
        self._outcomes: dict[tuple[Place, str, str | None], Outcome] = {}

    def add(self, record: HistoryRecord) -> None:
        """Take a record of the history topic; what is about something else is passed over."""
        if not isinstance(record, EventDisposed | RunStarted) or record.event_id != self._event_id:
            return
        if isinstance(record, RunStarted) and record.of_run is not None:
            return  # a handler's run has its event from another run
        place = Place(record.topic, record.partition, record.offset)
        self._names[place] = record.event_name
        outcome = _outcome(record)
        key = place, record.function, record.replay_id
        known = self._outcomes.get(key)
        if known is None or _rank(outcome) >= _rank(known):
            self._outcomes[key] = outcome

    def __bool__(self) -> bool:
        """Whether history tells anything of the event."""
        return bool(self._names)

    def __iter__(self) -> Iterator[tuple[Place, str, list[Outcome]]]:
        """Give each place of the event on the log, with its name and what became of it there, in the order of places."""
        for place in sorted(self._names):
            found = [outcome for (at, _, _), outcome in self._outcomes.items() if at == place]
            yield (
                place,
                self._names[place],
                sorted(found, key=lambda outcome: (outcome.function, outcome.replay_id or "")),
            )


def _outcome(record: EventDisposed | RunStarted) -> Outcome:
    if isinstance(record, RunStarted):
        return Outcome(record.function, STARTED, record.at, record.run_id, record.replay_id)
    return Outcome(
        record.function,
        record.disposition,
        record.at,
        record.run_id,
        record.replay_id,
        record.gate,
        record.gate_key,
        record.earliest,
        record.detail,
    )


def _rank(outcome: Outcome) -> tuple[bool, int]:
    """A final disposition stands, whatever interim one is read later."""
    return outcome.disposition not in INTERIM, outcome.at
