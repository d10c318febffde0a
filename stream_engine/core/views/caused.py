"""What one event causes, function by function: the fold that whoever sent it waits with.

A function has *answered* once its run has ended, or once history tells that the event gets no run of it: that it was dropped, or
taken by the run of another event. An event that repeats an earlier one is a duplicate: its answer is the run that the earlier one started.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Self

from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunStarted
from stream_engine.core.views.runs import ENDED, FoldedRun, RunIndex

INTERIM: Final = frozenset({"delayed", "queued"})
DUPLICATE: Final = "duplicate"
DEAD_LETTERED: Final = "dead-lettered"
_CANCELLED: Final = "cancelled"
_HAS_IT: Final = frozenset({"batched", "coalesced"})


class Place(NamedTuple):
    """Where an event is on the log."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that a text names, as an event's id does to which its producer gave none; None if it names none."""
        match text.split("/"):
            case [topic, partition, offset] if topic and partition.isdecimal() and offset.isdecimal():
                return cls(topic, int(partition), int(offset))
        return None


class Caused:
    """What became of one event for each function that it matches.

    Feed it history, in any order and as often as it comes; what is about something else is passed over.
    """

    def __init__(self, place: Place, expected: Mapping[str, str]) -> None:
        """Begin to wait.

        Args:
            place: the event's.
            expected: the functions that the event matches, with the ids of the runs that they would get.
        """
        self._place = place
        self._runs = dict(expected)
        self._index = RunIndex()
        self._dispositions: dict[str, str] = {}
        self._details: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._taken_out: set[str] = set()

    def add(self, record_id: str, record: HistoryRecord) -> None:
        """Take a record of the history topic and the id that names it."""
        if isinstance(record, EventDisposed) and self._is_final(record):
            self._dispositions[record.function] = record.disposition
            if record.disposition in (DEAD_LETTERED, DUPLICATE) or (record.disposition == _CANCELLED and record.detail):
                self._details[record.function] = record.detail
            if record.run_id and record.disposition == DUPLICATE:
                self._runs[record.function] = record.run_id
            elif record.disposition in _HAS_IT and record.run_id not in ("", self._runs[record.function]):
                self._details[record.function] = f"the run {record.run_id} has it"
            elif record.disposition == _CANCELLED and not record.run_id:
                # A batch may go on without the event, under the name of the run that this would have been.
                self._taken_out.add(record.function)
        elif isinstance(record, RunStarted) and self._is_about(record):
            # A run that got several events has the name that the first of them gave it.
            self._runs[record.function] = record.run_id
        self._index.add(record_id, record)

    @property
    def functions(self) -> list[str]:
        """The functions that the event matches."""
        return list(self._runs)

    def missing(self) -> list[str]:
        """Return the ids of runs that earlier events have started, and of which history has not been read yet."""
        return [
            self._runs[function]
            for function, disposition in self._dispositions.items()
            if disposition == DUPLICATE and function not in self._unknown and self._run(function) is None
        ]

    def give_up(self, run_id: str) -> None:
        """Note that history no longer knows a run that is `missing`."""
        self._unknown.update(function for function, run in self._runs.items() if run == run_id)

    def pending(self) -> list[str]:
        """Return the functions that have not answered."""
        return [function for function in self._runs if not self._has_answered(function)]

    def says(self) -> Iterator[tuple[str, str]]:
        """Give each function of which something is known, with that in words."""
        for function in self._runs:
            run, disposition = self._run(function), self._dispositions.get(function)
            if self._has_no_run(function):
                yield function, f"{disposition}: {self._details.get(function, 'it gets no run')}"
                continue
            said = [] if run is None else [run.status]
            if run is not None and run.waiting_on is not None:
                said.append(run.waiting_on)
            if disposition == DUPLICATE:
                said.append(
                    "a duplicate: an earlier event started this run" if run is not None else self._unknown_run(function)
                )
            if said:
                yield function, ", ".join(said)

    def runs(self) -> list[FoldedRun]:
        """Return the runs that are known, in the order in which their functions were given."""
        return [
            run
            for function in self._runs
            if function not in self._taken_out
            and (run := self._run(function)) is not None
            and (run.status in ENDED or not self._has_no_run(function))
        ]

    @property
    def succeeded(self) -> bool:
        """Whether every function has answered, none could not use the event or had it cancelled, and no run ended otherwise than completed."""
        return (
            not self.pending()
            and not {DEAD_LETTERED, _CANCELLED} & set(self._dispositions.values())
            and all(run.status == "completed" for run in self.runs())
        )

    def _unknown_run(self, function: str) -> str:
        """Return what is said of a duplicate whose run history does not tell of: it has expired, or the earlier event went to the run of yet another one."""
        return " ".join(("a duplicate", self._details[function])).rstrip()

    def _is_final(self, record: EventDisposed) -> bool:
        return record.disposition not in INTERIM and self._is_about(record)

    def _is_about(self, record: EventDisposed | RunStarted) -> bool:
        return record.function in self._runs and (record.topic, record.partition, record.offset) == self._place

    def _run(self, function: str) -> FoldedRun | None:
        return self._index.get(self._runs[function])

    def _has_answered(self, function: str) -> bool:
        if self._has_no_run(function) or function in self._unknown:
            return True
        run = self._run(function)
        return run is not None and run.status in ENDED

    def _has_no_run(self, function: str) -> bool:
        """Return whether the event has no run of its own of a function; history may have told before that one would wait."""
        return self._dispositions.get(function, DUPLICATE) != DUPLICATE
