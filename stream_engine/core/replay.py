"""What a replay takes of the events that it reads again, and what it passes over.

An event that a run sent is passed over where that run is itself replayed: the new run sends it anew, under the replay's id, and then every
function that it triggers takes it. That a run is replayed follows from its event's place and its function (see `Cause`), however often
it was replayed before.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from stream_engine.core.cause import Cause
from stream_engine.core.caused import INTERIM
from stream_engine.core.history import CompletionDisposed, HistoryRecord, RunChanged, RunEnded, RunStarted, StepRecorded
from stream_engine.core.match import Matched
from stream_engine.core.records import Event
from stream_engine.core.requests import Admit, Reused, Unfit
from stream_engine.core.reuse import excess


class Extent(msgspec.Struct, frozen=True):
    """What belongs to a replay: events of some spans (``[start, stop)`` in offsets, by partition), of all functions or one.

    Of the events only those that are ``selected``, by partition and offset, if that is given. ``reused`` has the steps that the runs of events
    take over, and ``new_keys`` gives them idempotency keys of their own. ``elsewhere`` has the spans of other topics that are replayed under the same
    id, by their names.
    """

    replay_id: str
    topic: str
    spans: Mapping[int, tuple[int, int]]
    function: str | None = None
    selected: frozenset[tuple[int, int]] | None = None
    reused: Mapping[tuple[int, int], tuple[Reused, ...]] = msgspec.field(default_factory=dict)
    new_keys: bool = False
    elsewhere: Mapping[str, Mapping[int, tuple[int, int]]] = msgspec.field(default_factory=dict)

    def admit(self, event: Event, matched: Matched) -> Admit:
        """Return the command that admits an event once more."""
        starts = matched.functions or matched.asked
        steps = self.reused.get((event.partition, event.offset), ()) if starts else ()
        asked, unfit = tuple(matched.asked), tuple(matched.unfit)
        return Admit(event, matched.functions, self.replay_id, asked, unfit, steps, self.new_keys, matched.paused)

    def passes_over(self, cause: Cause | None) -> bool:
        """Return whether an event was sent by a run that is itself replayed."""
        return cause is not None and self.replays(cause.function, cause.topic, cause.partition, cause.offset)

    def part_of(self, matched: Matched, event: Event) -> Matched:
        """Return what an event that is read again starts."""
        place = (event.partition, event.offset)
        if self.selected is not None and place not in self.selected:
            return Matched([], [], [])
        if self.function is not None:
            matched = Matched(
                [one for one in matched.functions if one == self.function],
                [one for one in matched.asked if one.function == self.function],
                [one for one in matched.unfit if one.function == self.function],
                tuple(one for one in matched.paused if one.function == self.function),
            )
        wrong = excess(self.reused.get(place, ()))
        if wrong is None:
            return matched
        functions = [*matched.functions, *(one.function for one in matched.asked)]
        unfit = [*matched.unfit, *(Unfit(one, "steps-too-large", wrong) for one in functions)]
        return Matched([], [], unfit, matched.paused)

    def replays(self, function: str, topic: str, partition: int, offset: int) -> bool:
        """Return whether the run of a function on account of an event at a place is replayed."""
        if topic != self.topic:
            return _within(self.elsewhere.get(topic, {}), partition, offset)
        # A run that is replayed brings its handler along, whose id is the function's and a word.
        if not _within(self.spans, partition, offset) or self.function not in {None, function.partition(":")[0]}:
            return False
        return self.selected is None or (partition, offset) in self.selected


class Replay(msgspec.Struct, frozen=True, omit_defaults=True):
    """A replay as the control topic has it: what was asked for, and whether it is to go on.

    ``since`` and ``until`` are milliseconds since the epoch, ``spans`` what they were in offsets (``[start, stop)``, by partition) when it
    was made. With ``chunks``, so many values of the control topic have the events that it is about. ``events`` is how
    many there are. ``state``: `ACTIVE`, `PAUSED` or `CANCELLED`.
    """

    id: str
    function: str
    topic: str
    topic_id: str
    since: int
    until: int
    spans: dict[int, tuple[int, int]]
    created_at: int
    events: int
    state: str = "active"
    per_second: int = 0
    condition: str | None = None
    statuses: tuple[str, ...] = ()
    chunks: int = 0
    reuse_steps: bool = False
    new_keys: bool = False


ACTIVE: Final = "active"
PAUSED: Final = "paused"
CANCELLED: Final = "cancelled"

PER_SECOND: Final = 1_000
"""How many events a second are replayed where nobody says how many."""


_NONE: Final = "none"
"""What waited to become a run, and got none in the end; or never was to be one."""

_OF_ANOTHER: Final = frozenset({"duplicate", "batched"})
"""Dispositions that name a run which another event has."""


class Allowance:
    """How many events a worker may replay at a time, so that all together stay below so many a second; times in seconds."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._left = 1.0
        self._at: float | None = None

    def most(self, now: float, share: float) -> int:
        """Return how many events may be routed now by a worker that has a share of the partitions."""
        rate = self._per_second * share
        if self._at is not None:
            self._left = min(self._left + (now - self._at) * rate, max(rate, 1.0))
        self._at = now
        return max(0, int(self._left))

    def spend(self, events: int) -> None:
        """Note that events have been routed."""
        self._left -= events


class Counts(msgspec.Struct, frozen=True):
    """How many events of a replay have come to something, and how many runs there are, have ended, and have ended badly."""

    routed: int
    runs: int
    ended: int
    failed: int


class Tally:
    """What history says of replays: which events have come to something, and what became of the runs. Feed it in any order, as often as it comes."""

    def __init__(self) -> None:
        self._seen: dict[str, set[tuple[str, str, int, int]]] = {}
        self._runs: dict[str, dict[str, str]] = {}

    def add(self, record: HistoryRecord) -> None:
        """Take a record of the history topic."""
        if isinstance(record, StepRecorded | RunChanged | CompletionDisposed) or record.replay_id is None:
            return
        runs = self._runs.setdefault(record.replay_id, {})
        if isinstance(record, RunEnded):
            runs[record.run_id] = record.status
            return
        place = record.function, record.topic, record.partition, record.offset
        self._seen.setdefault(record.replay_id, set()).add(place)
        state = runs.get(record.run_id, "")
        if isinstance(record, RunStarted):
            runs[record.run_id] = "" if state == _NONE else state
        elif record.disposition in INTERIM:
            # What is read later may have been told earlier: the partitions of history are in no order.
            runs[record.run_id] = state
        elif not state and record.disposition not in _OF_ANOTHER:
            runs[record.run_id] = _NONE

    def of(self, replay: Replay) -> Counts:
        """Return the counts of a replay."""
        seen = self._seen.get(replay.id, set())
        routed = sum(one[:2] == (replay.function, replay.topic) and _within(replay.spans, *one[2:]) for one in seen)
        states = [state for state in self._runs.get(replay.id, {}).values() if state != _NONE]
        ended = sum(bool(state) for state in states)
        return Counts(routed, len(states), ended, sum(state not in {"", "completed"} for state in states))


def status(replay: Replay, counts: Counts) -> str:
    """Return ``running``, ``paused``, ``cancelled`` or ``completed``; it is completed once every run of it has ended."""
    if replay.state == CANCELLED:
        return replay.state
    if counts.routed >= replay.events and counts.runs == counts.ended:
        return "completed"
    return "paused" if replay.state == PAUSED else "running"


def _within(spans: Mapping[int, tuple[int, int]], partition: int, offset: int) -> bool:
    start, stop = spans.get(partition, (0, 0))
    return start <= offset < stop
