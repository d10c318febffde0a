"""What a replay takes of the events that it reads again, and what it passes over.

An event that a run sent is passed over where that run is itself replayed: the new run sends it anew, under the replay's id, and then every
function that it triggers takes it. That a run is replayed follows from its event's place and its function (see `Cause`), however often
it was replayed before.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from stream_engine.core.functions.match import Matched
from stream_engine.core.functions.pausing import Missing
from stream_engine.core.records.history import (
    TAKEN_ALONG,
    CompletionDisposed,
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Unfit
from stream_engine.core.routing.cause import Cause
from stream_engine.core.stages.reuse import Taken, TakenOver, excess
from stream_engine.core.views.caused import INTERIM

_NOTHING: Final = Taken((), "")


class Extent(msgspec.Struct, frozen=True):
    """What belongs to a replay: events of some spans (``[start, stop)`` in offsets, by partition), of all functions or one.

    Of the events only those that are ``selected``, by partition and offset, if that is given. ``reused`` has what the runs of events
    take over, and ``new_keys`` gives them idempotency keys of their own. ``elsewhere`` has the spans of other topics that are replayed under the same
    id, by their names. ``ahead`` has more offsets that belong to it, by the names of their topics and by partition.
    """

    replay_id: str
    topic: str
    spans: Mapping[int, tuple[int, int]]
    function: str | None = None
    selected: frozenset[tuple[int, int]] | None = None
    reused: TakenOver = msgspec.field(default_factory=dict[tuple[int, int], Taken])
    new_keys: bool = False
    elsewhere: Mapping[str, Mapping[int, tuple[int, int]]] = msgspec.field(default_factory=dict)
    ahead: Mapping[str, Mapping[int, Collection[int]]] = msgspec.field(default_factory=dict)

    def is_ahead(self, topic: str, partition: int, offset: int) -> bool:
        """Return whether an event belongs to it that lies behind its span."""
        return offset in self.ahead.get(topic, {}).get(partition, ())

    def admit(self, event: Event, matched: Matched) -> Admit:
        """Return the command that admits an event once more."""
        starts = matched.functions or matched.asked
        taken = self._taken((event.partition, event.offset)) if starts else _NOTHING
        asked, unfit = tuple(matched.asked), tuple(matched.unfit)
        return Admit(
            *(event, matched.functions, self.replay_id, asked, unfit, taken.steps, self.new_keys, matched.paused),
            reused_of=taken.of,
        )

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
        wrong = excess(self._taken(place).steps)
        if wrong is None:
            return matched
        functions = [*matched.functions, *(one.function for one in matched.asked)]
        unfit = [*matched.unfit, *(Unfit(one, "steps-too-large", wrong) for one in functions)]
        return Matched([], [], unfit, matched.paused)

    def _taken(self, place: tuple[int, int]) -> Taken:
        return self.reused.get(place) or _NOTHING

    def replays(self, function: str, topic: str, partition: int, offset: int) -> bool:
        """Return whether the run of a function on account of an event at a place is replayed."""
        spans = self.spans if topic == self.topic else self.elsewhere.get(topic, {})
        is_there = _within(spans, partition, offset) or self.is_ahead(topic, partition, offset)
        if topic != self.topic:
            return is_there
        # A run that is replayed brings its handler along, whose id is the function's and a word.
        if not is_there or self.function not in {None, function.partition(":")[0]}:
            return False
        return self.selected is None or (partition, offset) in self.selected


class Replay(msgspec.Struct, frozen=True, omit_defaults=True):
    """A replay as the control topic has it: what was asked for, and whether it is to go on.

    ``since`` and ``until`` are milliseconds since the epoch, ``spans`` what they were in offsets (``[start, stop)``, by partition) when it
    was made. With ``chunks``, so many values of the control topic have the events that it is about. ``events`` is how
    many there are, ``per_second`` how many of them are begun a second at most; 0 where nobody has said so, and all such replays share `PER_SECOND`. ``state``: `ACTIVE`, `PAUSED`, `CANCELLED`, or `COMPLETED`, once somebody has found that it is;
    ``changed_at`` is when an operator last changed it, 0 for never. ``expired`` is how many of its events were not on the log any more when it came to them; it is known once it is completed.
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
    changed_at: int = 0
    expired: int = 0


class How(NamedTuple):
    """The options of a replay that say how its events are run (see `Replay`), and not which."""

    per_second: int = 0
    reuse_steps: bool = False
    new_keys: bool = False


class Left(NamedTuple):
    """Events of a topic that a paused function has left out, how they are to be run, and since when history has to be read for that, in milliseconds since the epoch."""

    topic: str
    how: How
    since: int
    places: frozenset[tuple[int, int]]


def left_out(function: str, missing: Missing, since: int, known: Mapping[str, Replay]) -> list[Left]:
    """Return what a paused function has left out, by how it is to be run; ``since`` is when that began, ``known`` has the replays by their ids.

    What a replay has left out is run as that would have run it: steps that were to be reused must not run after all. Live events, those of a rewind and those that
    runs of a replay have sent have nothing to take over.
    """
    found: dict[tuple[str, How], Left] = {}
    for (topic, replay_id), places in missing.items():
        one = known.get(replay_id or "")
        how, begins = How(), since
        if one is not None and (one.function, one.topic) == (function, topic):
            how, begins = How(one.per_second, one.reuse_steps, one.new_keys), min(since, one.since)
        before = found.get((topic, how), Left(topic, how, begins, frozenset()))
        found[topic, how] = Left(topic, how, min(before.since, begins), before.places | places)
    return [found[key] for key in sorted(found)]


ACTIVE: Final = "active"
PAUSED: Final = "paused"
CANCELLED: Final = "cancelled"
COMPLETED: Final = "completed"

PER_SECOND: Final = 100
"""How many events a second are begun by all replays together for which nobody says how many."""


_KEPT: Final = 11
"""Of how many parts of a pace one is what may be kept for later, so that the other ten come in each second: what a tenth of a second brings. Who routes looks twice as often."""

_FAILED: Final = frozenset({"failed", "timed_out"})
_LAST: Final = 2**63
"""What is later than all that is interim."""


class Allowance:
    """How many events a worker may replay at a time, so that no second, wherever it begins, has more of all workers together than so many; times in seconds.

    What may go out comes in evenly, and little of it is kept for later: it makes up for a thread that was late, and not for what a replay has waited for. In less than a
    second no more can go out than was there when that began and has come in since, which are less than one event above the pace, and so are whole events not above
    it. It begins with nothing, and with nothing more when the share grows: whoever had that part before may have sent a moment ago what it had kept. Only of a share
    of which less than one event would be kept, one is: then a second may have one more for each worker but the first, or each replay that has the pace with others.
    """

    def __init__(self, per_second: int) -> None:
        self._kept = max(1.0, (per_second + 1) / _KEPT)
        self._rate = per_second + 1 - self._kept
        self._left = 0.0
        self._share = 0.0
        self._at = 0.0

    def most(self, now: float, share: float) -> int:
        """Return how many events may be routed now by who has a share of the whole: of the partitions, and of what replays have together."""
        self._left += (now - self._at) * self._rate * min(share, self._share)
        self._left = min(self._left, max(1.0, self._kept * share) if share else 0.0)
        self._share, self._at = share, now
        return max(0, int(self._left))

    def spend(self, events: int) -> None:
        """Note that events have been routed."""
        self._left -= events


_Event = tuple[str, str, int, int, str]
"""A function, the place of an event, and the event's id."""


class Counts(msgspec.Struct, frozen=True):
    """How many events of a replay have come to something, and how many runs there are (queued ones included), have ended, and have failed or timed out.

    ``pending`` events have come to something that is not final: those that the replay's runs have sent are among them. ``dispositions`` has what became
    of those that have come to something, by the contract's words, and of how many each, the most first; of a rewind, for each function by itself, and of what
    its runs have sent as well.
    """

    routed: int
    runs: int
    ended: int
    failed: int
    pending: int = 0
    dispositions: Mapping[str, int] = {}


class Tally:
    """What history says of replays: which events have come to something, and what became of the runs. Feed it in any order, as often as it comes.

    Each event has one final disposition for each function, so it is by the places of events that one can tell whether anything is still to come:
    the run that an event waits to become may be another one in the end.
    """

    def __init__(self) -> None:
        self._events: dict[str, dict[_Event, tuple[int, str, str]]] = {}
        self._runs: dict[str, dict[str, str]] = {}
        # Most events come to the same few ends, so these are kept once.
        self._ends: dict[str, tuple[int, str, str]] = {}

    def add(self, record: HistoryRecord) -> None:
        """Take a record of the history topic."""
        if isinstance(record, StepRecorded | RunChanged | CompletionDisposed) or record.replay_id is None:
            return
        runs = self._runs.setdefault(record.replay_id, {})
        if isinstance(record, RunEnded):
            runs[record.run_id] = record.status
            return
        if isinstance(record, RunStarted):
            runs.setdefault(record.run_id, "")
        # An event that invokes has no place of its own.
        event = record.function, record.topic, record.partition, record.offset, record.event_id
        events = self._events.setdefault(record.replay_id, {})
        told = self._told(record)
        events[event] = max(events.get(event, told), told)

    def of(self, replay: Replay) -> Counts:
        """Return the counts of a replay."""
        events, runs = self._events.get(replay.id, {}), self._runs.get(replay.id, {})
        own = replay.function, replay.topic
        waiting = {event: run for event, (at, run, _) in events.items() if at < _LAST}
        queued = {run or event for event, run in waiting.items()} - runs.keys()
        ended = sum(map(bool, runs.values()))
        failed = sum(state in _FAILED for state in runs.values())
        # A rewind is of all functions, and its events may be in several topics; a handler has no event of its own, and what is invoked has none on a log.
        told = Counter(
            disposition
            for event, (_, _, disposition) in events.items()
            if (event[:2] == own and _within(replay.spans, *event[2:4]))
            or (not replay.function and event[1] and ":" not in event[0])
        )
        # Most first, and in one order wherever they are as many.
        dispositions = dict(sorted(told.items(), key=lambda one: (-one[1], one[0])))
        return Counts(told.total(), len(runs) + len(queued), ended, failed, len(waiting), dispositions)

    def _told(self, record: EventDisposed | RunStarted) -> tuple[int, str, str]:
        disposition = "started" if isinstance(record, RunStarted) else record.disposition
        if isinstance(record, EventDisposed) and disposition in INTERIM:
            return record.at, "" if record.detail.startswith(TAKEN_ALONG) else record.run_id, disposition
        return self._ends.setdefault(disposition, (_LAST, "", disposition))


def status(replay: Replay) -> str:
    """Return ``running``, ``paused``, ``cancelled`` or ``completed``; it is completed once every run of it has ended, those of events that its runs have sent too."""
    return "running" if replay.state == ACTIVE else replay.state


def end_and_lag(replay: Replay, partition: int, offset: int | None) -> tuple[int, int | None]:
    """Return where a replay ends in a partition of its topic, and how far that is from an offset; None where it has none there, or goes on no more."""
    _, stop = replay.spans.get(partition, (0, 0))
    is_over = replay.state in {COMPLETED, CANCELLED}
    return stop, None if offset is None or is_over else max(stop - offset, 0)


def seems_over(replay: Replay, counts: Counts, *, routed: bool) -> bool:
    """Return whether all events of a replay have come to something, and all runs have ended that history tells of.

    ``routed`` says that all of them have been routed. That of some nothing came is no wonder then: the function may have been deployed with another
    trigger meanwhile, and events expire.
    """
    has_all = routed or counts.routed >= replay.events
    return has_all and counts.runs == counts.ended and not counts.pending


def completed(replay: Replay, counts: Counts, gone: int) -> Replay:
    """Return a replay as it is once it is completed; ``gone`` are the places on the log that had expired when it came to them.

    Not all of these had events of the function, and what came to nothing need not have expired: the function may have been deployed with another trigger.
    """
    return msgspec.structs.replace(replay, state=COMPLETED, expired=max(0, min(replay.events - counts.routed, gone)))


class Found(NamedTuple):
    """What is found of a replay that goes on: whether all of its events have been routed, how many workers serve the app, how many carry the replay
    out, and whether its topic is another one than when it was made."""

    routed: bool
    workers: int
    members: int
    is_gone: bool


def waits_for(replay: Replay, counts: Counts, found: Found, on_the_way: str | None) -> str:
    """Return in words what a replay that goes on waits for; ``on_the_way`` is what has been seen not to have come yet, once all seemed to be over."""
    if not found.workers:
        return "a worker: none serves the app"
    if not found.routed and counts.routed < replay.events:
        if found.is_gone:
            return f"nothing: {replay.topic} was created again since it was made, and its events are gone; cancel it"
        if not found.members:
            return f"a worker that carries it out: {found.workers} serve the app, and their logs say why none has begun"
        together = "" if replay.per_second else ", together with those of other replays without --per-second,"
        pace = f"they come {replay.per_second or PER_SECOND} a second at most{together} and while half of a worker's room (--max-runs) is free"
        return f"{replay.events - counts.routed} events that have not come to anything yet; {pace}"
    left = max(counts.runs - counts.ended, counts.pending)
    return f"{left} runs that have not ended" if left else (on_the_way or "what its runs have sent")


def _within(spans: Mapping[int, tuple[int, int]], partition: int, offset: int) -> bool:
    start, stop = spans.get(partition, (0, 0))
    return start <= offset < stop
