"""Which events the original runs of a function have, as history tells it: one each, or all that a batch or a debounce has gathered.

The original run of an event is the live one: neither that of a replay nor one that an operator has had run again.

Nothing tells it in one place. A run's start names one of its events; of each of the others the final disposition says who has it, and of those that still
wait the newest interim one.
"""

from collections.abc import Iterator

from stream_engine.core.records.history import TAKEN_ALONG, EventDisposed, HistoryRecord, RunStarted
from stream_engine.core.views.caused import DUPLICATE, INTERIM

Place = tuple[int, int]
"""The partition and the offset of an event."""


def run_of(record: EventDisposed | RunStarted, *, keeps_all: bool) -> str:
    """Return the run that has an event for good, by its final disposition, or nothing where none has.

    ``keeps_all`` says whether the function has a debounce that hands over every event.
    """
    if isinstance(record, RunStarted) or record.disposition not in {DUPLICATE, "coalesced"}:
        return record.run_id
    taken_by = record.detail.rpartition(" ")[2]
    # Where a debounce keeps all, its run is called by its first event; of one that came late, as of every one where only the
    # latest counts, history tells the run that it would have had.
    is_kept = record.disposition == "coalesced" and (keeps_all or taken_by == record.run_id)
    return taken_by if is_kept else ""


class Members:
    """The events of a topic that original runs of a function have. Feed it history, in any order and as often as it comes."""

    def __init__(self, function: str, topic: str, *, keeps_all: bool) -> None:
        """Begin; ``keeps_all`` says whether the function has a debounce that hands over every event."""
        self._function = function
        self._topic = topic
        self._keeps_all = keeps_all
        self._final: dict[Place, set[str]] = {}
        self._interim: dict[Place, tuple[int, str]] = {}
        self._reruns: set[str] = set()

    def add(self, record: HistoryRecord) -> None:
        """Take a record of the history topic."""
        if not isinstance(record, EventDisposed | RunStarted) or record.function != self._function:
            return
        if record.topic != self._topic or record.replay_id is not None:
            return
        place = record.partition, record.offset
        if isinstance(record, RunStarted) and record.rerun_of is not None:
            self._reruns.add(record.run_id)
        elif isinstance(record, EventDisposed) and record.disposition in INTERIM:
            if record.detail.startswith(TAKEN_ALONG):
                return  # the run that it is taken along by is told of as well
            told = record.at, record.run_id
            self._interim[place] = max(self._interim.get(place, told), told)
        else:
            self._final.setdefault(place, set()).add(run_of(record, keeps_all=self._keeps_all))

    def __iter__(self) -> Iterator[tuple[Place, str]]:
        """The places of the events, each with the id of the run that has it."""
        for place, runs in self._final.items():
            yield from ((place, run) for run in runs - self._reruns if run)
        for place, (_, run) in self._interim.items():
            if place not in self._final:
                yield place, run
