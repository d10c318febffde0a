"""Which runs a listing shows, and keeping no more of them in memory than it shows."""

import heapq
from collections.abc import Collection

import msgspec

from stream_engine.core.history import HistoryRecord, RunEnded
from stream_engine.core.runs import FoldedRun, RunIndex


class Selection(msgspec.Struct, frozen=True):
    """Which runs are wanted; what is None asks nothing.

    ``since`` and ``until`` bound the time at which a run was created, in milliseconds since the epoch: ``[since, until)``.
    """

    function: str | None = None
    statuses: Collection[str] | None = None
    since: int | None = None
    until: int | None = None
    event_id: str | None = None

    def takes(self, run: FoldedRun) -> bool:
        """Whether a run, as it is now, is wanted; never one that was created before the history that was read begins."""
        return (
            run.created_at is not None
            and (self.since is None or run.created_at >= self.since)
            and (self.until is None or run.created_at < self.until)
            and (self.function is None or run.function == self.function)
            and (self.event_id is None or run.event_id == self.event_id)
            and (self.statuses is None or run.status in self.statuses)
        )


class Listing:
    """The newest runs of a selection, gathered from history as it is read.

    A run that has ended is dropped as soon as it is known not to be shown, so that memory holds ``limit`` runs that have
    ended, those that have not, and those that history begins in the midst of. Records of a dropped run that are told
    again lack its creation, or bring the whole of it, which is then dropped again.
    """

    def __init__(self, selection: Selection, limit: int | None = None) -> None:
        self._selection = selection
        self._limit = limit
        self._index = RunIndex()
        self._kept: list[tuple[int, str]] = []
        self._weighed: set[str] = set()
        self._left_out = False

    @property
    def left_out(self) -> bool:
        """Whether the selection has more runs than the limit."""
        return self._left_out or (self._limit is not None and len(self._found()) > self._limit)

    def add(self, record_id: str, record: HistoryRecord) -> None:
        """Take a record of the history topic and the id that names it."""
        self._index.add(record_id, record)
        if isinstance(record, RunEnded) and record.run_id not in self._weighed:
            self._weigh(record.run_id)

    def runs(self) -> list[FoldedRun]:
        """Return the newest ``limit`` runs of the selection, the newest first."""
        return sorted(self._found(), key=_age, reverse=True)[: self._limit]

    def _found(self) -> list[FoldedRun]:
        return [run for run_id in self._index if (run := self._index.get(run_id)) and self._selection.takes(run)]

    def _weigh(self, run_id: str) -> None:
        run = self._index.get(run_id)
        if run is None or run.created_at is None:
            return
        if not self._selection.takes(run):
            self._index.forget(run_id)
        elif self._limit is not None:
            self._weighed.add(run_id)
            heapq.heappush(self._kept, _age(run))
            if len(self._kept) > self._limit:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, oldest = heapq.heappop(self._kept)
        self._weighed.discard(oldest)
        self._index.forget(oldest)
        self._left_out = True


def _age(run: FoldedRun) -> tuple[int, str]:
    return run.created_at or 0, run.run_id
