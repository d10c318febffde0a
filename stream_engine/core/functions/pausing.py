"""A paused function begins no new runs: what comes for it meanwhile gets the final disposition ``paused``, and stays on the log.

Theory of operation. That a function is paused stands in the control topic. Two decide by it. For an event, live or replayed, it is the router, which
sorts the paused functions out of what the event matches; they travel in the `Admit` command, and the event's first arrival
at its home decides, for all functions of it at once. So a crash's repeat changes nothing, whatever its router knows by then. For a call, which is no event on the
log, it is the leader that decides where its run would live. Either way the journal has what was decided, and nobody decides it again.

What is on its way already goes on: who waits for its time, at a gate or in a batch, begins when it may. Handlers of failed and cancelled runs do too.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from stream_engine.core.functions.match import INVALID_CONDITION, Matched
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunStarted
from stream_engine.core.records.requests import Asked

PAUSED: Final = "paused"
"""The disposition."""


class Pause(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the control topic says of a function that is, or was, paused; times are milliseconds since the epoch.

    ``at`` is when this was written. ``since`` is when events began to be missed that have not been run since.
    """

    paused: bool
    at: int
    since: int


class PausedFunctions:
    """The functions that are paused, by all that is known; leaders look at it, and somebody else keeps it true."""

    __slots__ = ("ids",)

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.ids = frozenset(ids)

    def __contains__(self, function: object) -> bool:
        return function in self.ids

    def follow(self, pauses: Mapping[str, Pause]) -> None:
        """Take what the control topic says, by function."""
        self.ids = frozenset(function for function, pause in pauses.items() if pause.paused)


def hold_back(matched: Matched, paused: Collection[str]) -> Matched:
    """Return what an event starts while functions are paused.

    What is given may be shared, and is left as it is. Whether an event is for a function is asked before: where that has no answer, it is a dead letter, paused or not.
    """
    if not paused:
        return matched
    unfit = [one for one in matched.unfit if one.reason != INVALID_CONDITION and one.function in paused]
    held = [
        *(Asked(function, ()) for function in matched.functions if function in paused),
        *(Asked(one.function, (), one.home) for one in matched.asked if one.function in paused),
        *(Asked(one.function, ()) for one in unfit),
    ]
    if not held:
        return matched
    return Matched(
        [function for function in matched.functions if function not in paused],
        [one for one in matched.asked if one.function not in paused],
        [one for one in matched.unfit if one not in unfit],
        tuple(held),
    )


Missing = dict[tuple[str, str | None], set[tuple[int, int]]]
"""Places of events, partition and offset, by the topic and the replay that they were missed in, which is None for live."""


class Missed:
    """Which events a function has missed: those of which the last that history tells is that they were paused. Feed it in any order."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._last: dict[tuple[str, int, int], tuple[int, bool, str]] = {}

    def add(self, record: HistoryRecord) -> None:
        """Take a record of the history topic."""
        if not isinstance(record, EventDisposed | RunStarted) or record.function != self._function or not record.topic:
            return
        place = record.topic, record.partition, record.offset
        is_paused = isinstance(record, EventDisposed) and record.disposition == PAUSED
        last = record.at, is_paused, record.replay_id or ""
        self._last[place] = max(self._last.get(place, last), last)

    def places(self) -> Missing:
        """Return their places."""
        found: Missing = {}
        for (topic, partition, offset), (_, is_paused, replay) in self._last.items():
            if is_paused:
                found.setdefault((topic, replay or None), set()).add((partition, offset))
        return found
