"""Figures per function and version, made from history: how much was done, how fast, and how often it failed.

Each partition of history is counted by itself, in windows of a minute of journal time, and every window is one value: it
says up to which offset of its partition it has counted. So whoever counts again after a crash, from wherever, passes
over what a value already holds. Whether a record was told twice is another question: the engine may write one again
after a crash, with the same id, and late; `Ids` answers that.

Windows of all partitions are added up by `summaries`, live runs and replayed ones apart, which also says whether the version in
charge fails more than the one before it: by live runs, because a replay may be of those that failed.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

import msgspec

from stream_engine.core.instants import iso
from stream_engine.core.records.history import HistoryRecord, RunChanged, RunEnded, RunStarted
from stream_engine.core.records.journal import Record

WINDOW_MS: Final = 60_000
_FINE: Final = 16
# Sixteen buckets to the power of two above 16 ms: a quantile is at most 4.5 % above the truth; below, it is exact.
_BOUNDS: Final[list[int]] = [*range(_FINE), *(math.ceil(_FINE * 2 ** (n / _FINE)) for n in range(_FINE * 32))]
# One-sided, at the level of 1 in 1,000: an operator asks about many functions, again and again.
_SIGNIFICANT: Final = 3.09
_LEAST_FAILED: Final = 5

_Of = tuple[str, str, bool]
"""What is added up: a function, a version, and whether it is of replayed runs."""


class Times(msgspec.Struct, omit_defaults=True, gc=False):
    """How long something took, in milliseconds: ``buckets`` counts durations by the number of a bound; ``most`` is the longest."""

    buckets: dict[int, int] = {}
    total: int = 0
    most: int = 0

    def count(self, duration: int) -> None:
        """Count one; clocks of two machines may differ, so that a duration may be negative: it counts as none."""
        duration = max(duration, 0)
        bucket = min(bisect_left(_BOUNDS, duration), len(_BOUNDS) - 1)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.total += duration
        self.most = max(self.most, duration)

    def add(self, other: "Times") -> None:
        """Count what another has counted."""
        for bucket, number in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + number
        self.total += other.total
        self.most = max(self.most, other.most)

    def quantile(self, share: float) -> int | None:
        """Return what such a share of the durations did not exceed, or None if nothing was counted."""
        buckets = sorted(self.buckets)
        upto = list(accumulate(self.buckets[bucket] for bucket in buckets))
        if not upto:
            return None
        place = bisect_left(upto, share * upto[-1])
        bucket = buckets[min(place, len(buckets) - 1)]
        return min(_BOUNDS[bucket], self.most) if bucket < len(_BOUNDS) - 1 else self.most


class Figures(msgspec.Struct, omit_defaults=True, gc=False):
    """What was counted. ``retries`` are executions of the body that are tried again; ``delay`` is from admission to start."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0
    retries: int = 0
    delay: Times = msgspec.field(default_factory=Times)
    duration: Times = msgspec.field(default_factory=Times)

    @property
    def ended(self) -> int:
        """How many runs ended, in whatever way."""
        return self.completed + self.failed + self.cancelled + self.timed_out

    @property
    def bad(self) -> int:
        """How many runs failed or ran out of time."""
        return self.failed + self.timed_out

    def count(self, record: HistoryRecord) -> None:
        """Count a record that `place` has given a place."""
        match record:
            case RunStarted():
                self.started += 1
                self.delay.count(record.at - record.created_at)
            case RunEnded():
                self._count_end(record)
            case RunChanged():
                self.retries += 1
            case _:
                pass

    def add(self, other: "Figures") -> None:
        """Count what another has counted."""
        self.started += other.started
        self.completed += other.completed
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.timed_out += other.timed_out
        self.retries += other.retries
        self.delay.add(other.delay)
        self.duration.add(other.duration)

    def _count_end(self, record: RunEnded) -> None:
        self.duration.count(record.at - record.started_at)
        match record.status:
            case "completed":
                self.completed += 1
            case "failed":
                self.failed += 1
            case "cancelled":
                self.cancelled += 1
            case "timed_out":
                self.timed_out += 1
            case _:
                pass


class Window(Record, frozen=True):
    """Which minute of which function and version, of live runs or ``replayed`` ones, in one partition of history; ``start`` in milliseconds since the epoch."""

    start: int
    partition: int
    function: str
    version: str
    replayed: bool = False


class Counted(msgspec.Struct, omit_defaults=True, gc=False):
    """The value of a window: what was counted of records up to an offset, that one included."""

    offset: int = -1
    figures: Figures = msgspec.field(default_factory=Figures)


def place(record: HistoryRecord, partition: int) -> Window | None:
    """Return the window that a record is counted in, or None for one that is not counted."""
    match record:
        case RunStarted() | RunEnded() | RunChanged(change="retrying"):
            start, replayed = record.at - record.at % WINDOW_MS, record.replay_id is not None
            return Window(start, partition, record.function, record.version, replayed)
        case _:
            return None


class Ids:
    """The ids of the last records of one partition of history, to know repeats by.

    A record that failed to be written may come behind later ones, so the highest id is not enough: the last ``limit`` are kept,
    and what is older than all of these is taken for a repeat.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[tuple[int, ...], None] = {}
        self._forgotten: tuple[int, ...] = ()

    def is_new(self, id: str) -> bool:
        """Note an id, ``<partition>.<epoch>.<n>.<index>``; return whether it was not there before."""
        order = tuple(map(int, id.split(".")[1:]))
        if order in self._seen or order <= self._forgotten:
            return False
        self._seen[order] = None
        if len(self._seen) > self._limit:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._forgotten = max(self._forgotten, oldest)
        return True


class Summary(Record, frozen=True):
    """A function's version over a time: of its live runs, or its ``replayed`` ones.

    ``first`` and ``last``: the starts of the first and last window in which anything happened, in milliseconds since the
    epoch. ``before`` is the version that this one came after, if both are in the figures; ``fails_more`` says whether this one
    fails more often than that, beyond what chance explains. Only the live runs of a function's newest version have these two.
    """

    function: str
    version: str
    first: int
    last: int
    figures: Figures
    before: str | None = None
    fails_more: bool = False
    replayed: bool = False


class Shown(msgspec.Struct, frozen=True):
    """A summary as listings show it.

    ``since`` and ``until`` bound the minutes in which anything happened, as ISO 8601. Delays and durations are in milliseconds, None where
    nothing was counted.
    """

    version: str
    replayed: bool
    since: str
    until: str
    started: int
    completed: int
    failed: int
    cancelled: int
    timed_out: int
    retries: int
    delay_p50: int | None
    delay_p99: int | None
    duration_p50: int | None
    duration_p99: int | None
    before: str | None
    fails_more: bool

    @classmethod
    def of(cls, summary: Summary) -> "Shown":
        """Return what is shown of a summary."""
        figures = summary.figures
        return cls(
            version=summary.version,
            replayed=summary.replayed,
            since=iso(summary.first),
            until=iso(summary.last + WINDOW_MS),
            started=figures.started,
            completed=figures.completed,
            failed=figures.failed,
            cancelled=figures.cancelled,
            timed_out=figures.timed_out,
            retries=figures.retries,
            delay_p50=figures.delay.quantile(0.5),
            delay_p99=figures.delay.quantile(0.99),
            duration_p50=figures.duration.quantile(0.5),
            duration_p99=figures.duration.quantile(0.99),
            before=summary.before,
            fails_more=summary.fails_more,
        )


def summaries(windows: Iterable[tuple[Window, Figures]]) -> list[Summary]:
    """Add windows up, for each function and version, live and replayed apart; of each function in the order in which they first appeared."""
    sums: dict[_Of, tuple[list[int], Figures]] = {}
    for window, figures in windows:
        of = window.function, window.version, window.replayed
        starts, total = sums.setdefault(of, ([window.start, window.start], Figures()))
        starts[:] = min(starts[0], window.start), max(starts[1], window.start)
        total.add(figures)
    functions: dict[str, list[Summary]] = {}
    for (function, version, replayed), ((first, last), total) in sorted(sums.items(), key=_order):
        summary = Summary(function, version, first, last, total, replayed=replayed)
        functions.setdefault(function, []).append(summary)
    return [summary for versions in functions.values() for summary in _compared(versions)]


def fails_more(now: Figures, before: Figures) -> bool:
    """Say whether of two versions the first fails more often, beyond chance.

    Two shares are compared as is usual (a pooled z test, one-sided, at 1 in 1,000), and from 5 failures on, so that a lone
    failure of a new version's first runs is no alarm.
    """
    if now.bad < _LEAST_FAILED or not before.ended:
        return False
    share, other = now.bad / now.ended, before.bad / before.ended
    pooled = (now.bad + before.bad) / (now.ended + before.ended)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / now.ended + 1 / before.ended))
    return share > other and share - other >= _SIGNIFICANT * spread


def _order(item: tuple[_Of, tuple[list[int], Figures]]) -> tuple[str, int, str, bool]:
    (function, version, replayed), ((first, _), _) = item
    return function, first, version, replayed


def _compared(summaries: list[Summary]) -> list[Summary]:
    live = [summary for summary in summaries if not summary.replayed]
    if len(live) < 2:
        return summaries
    before, newest = live[-2:]
    worse = fails_more(newest.figures, before.figures)
    judged = msgspec.structs.replace(newest, before=before.version, fails_more=worse)
    return [judged if summary is newest else summary for summary in summaries]
