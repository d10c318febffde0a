"""What became of an event, function by function: the fold behind ``runs show --event``.

An event's id may stand on the log several times, as when a producer repeats itself; each place has its own dispositions.

What a debounce coalesces goes with the event that is the newest then, which a newer one may replace in its turn, so that there never is a run of it. History is read
once more for these: a story says with which event the last of them went.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from stream_engine.core.records.history import TAKEN_ALONG, EventDisposed, HistoryRecord, RunStarted
from stream_engine.core.views.caused import INTERIM, Place

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
    gate_id: str = ""


class EventStory:
    """Everything that history tells of the events with one id. Feed it history in any order, as often as it comes."""

    def __init__(self, event_id: str) -> None:
        self._event_id = event_id
        self._names: dict[Place, str] = {}
        self._outcomes: dict[tuple[Place, str, str | None], Outcome] = {}
        self._taken: dict[str, list[tuple[int, str]]] = {}
        self._passed_over: dict[Place, int] = {}

    @property
    def unfinished(self) -> set[str]:
        """The ids of the gates of which `follow` has to be told, so that the story says where coalesced events have gone in the end."""
        return {outcome.gate_id for outcome in self._outcomes.values() if _is_taken(outcome)}

    def follow(self, record: HistoryRecord) -> None:
        """Take a record that may tell what was coalesced at a gate of these, in any order."""
        if isinstance(record, EventDisposed) and _is_taken(record):
            taken_by = record.detail.removeprefix(TAKEN_ALONG)
            if taken_by != record.run_id:
                self._taken.setdefault(record.run_id, []).append((record.at, taken_by))

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

    def pass_over(self, place: Place, at: int) -> None:
        """Note that an operator moved the group that routes past a place of the event, and when a worker found so, in milliseconds since the epoch."""
        self._passed_over[place] = at

    def passed_over(self, place: Place) -> int | None:
        """Return when a worker found that a place was passed over, in milliseconds since the epoch; None where it was not."""
        return self._passed_over.get(place)

    def __bool__(self) -> bool:
        """Whether anything is known of the event."""
        return bool(self._names or self._passed_over)

    def __iter__(self) -> Iterator[tuple[Place, str, list[Outcome]]]:
        """Give each place of the event on the log, with its name and what became of it there, in the order of places; the name of what was passed over is empty."""
        for place in sorted(self._names.keys() | self._passed_over):
            found = [self._finished(outcome) for (at, _, _), outcome in self._outcomes.items() if at == place]
            yield (
                place,
                self._names.get(place, ""),
                sorted(found, key=lambda outcome: (outcome.function, outcome.replay_id or "")),
            )

    def _finished(self, outcome: Outcome) -> Outcome:
        if not _is_taken(outcome):
            return outcome
        at, run_id = outcome.at, outcome.detail.removeprefix(TAKEN_ALONG)
        seen = {run_id}
        # An id that comes again a day later has the same run, so what was before says nothing.
        while later := [taken for taken in self._taken.get(run_id, ()) if taken[0] >= at and taken[1] not in seen]:
            at, run_id = min(later)
            seen.add(run_id)
        return msgspec.structs.replace(outcome, detail=TAKEN_ALONG + run_id)


def _is_taken(told: EventDisposed | Outcome) -> bool:
    return told.disposition == "coalesced" and told.detail.startswith(TAKEN_ALONG)


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
        record.gate_id,
    )


def _rank(outcome: Outcome) -> tuple[bool, int]:
    """A final disposition stands, whatever interim one is read later."""
    return outcome.disposition not in INTERIM, outcome.at
