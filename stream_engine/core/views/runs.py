"""Runs as history tells them: the fold that the command line, the dashboard and clients look at.

A partition's history is in the order of its journal but for what was told again after a failure, so a record's place is
in its id, not in the order of reading; and a run that has waited at a gate was told of by several partitions (see `place`). `fold` takes the records of one run in the order of their places; `RunIndex` puts
them there, each once, however often and in whatever order they are read.

How a status follows::

    queued       admitted, but not begun: it waits for its event's time, for a gate or for room; or begun, and waits for room
    running      begun, and nothing of it waits for a time
    sleeping     a step of it sleeps
    waiting      a step of it or its body waits for the next attempt, or the app has no code for it
    completed | failed | cancelled | timed_out      it ended so
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final

import msgspec

from stream_engine.core.failure import Failure
from stream_engine.core.instants import LAST_MS, iso
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

STATUSES: Final = ("queued", "running", "sleeping", "waiting", "completed", "failed", "cancelled", "timed_out")
GONE: Final = "gone"
"""The phase of a run that waited, and that its event got not in the end: it was coalesced with another, skipped or the like."""
ENDED: Final = frozenset({"completed", "failed", "cancelled", "timed_out"})

_SETTLED: Final = frozenset({"completed", "failed", "interrupted"})
_PHASES: Final = {"queued": "queued", "delayed": "queued", "cancelled": "cancelled"}

Place = tuple[int, int, int, int, int]

_ELSEWHERE: Final = {"delayed": 0, "queued": 1}
_AT_HOME: Final = 3


class StepAttempt(msgspec.Struct):
    """One execution of a step; times in milliseconds since the epoch. ``wake_at`` is when the next follows, if one does."""

    number: int
    status: str
    started_at: int
    ended_at: int | None
    wake_at: int | None
    error: Failure | None


class RunStep(msgspec.Struct):
    """A step of a run. ``result`` is JSON text; ``waits_for`` is an event, in words; ``attempts`` are in order, the last one tells the step's status."""

    id: str
    kind: str
    result: str | None = None
    waits_for: str | None = None
    attempts: list[StepAttempt] = msgspec.field(default_factory=list)

    @property
    def last(self) -> StepAttempt:
        """The newest attempt."""
        return self.attempts[-1]

    @property
    def started_at(self) -> int:
        """When the first attempt began, in milliseconds since the epoch."""
        return self.attempts[0].started_at

    @property
    def settled(self) -> bool:
        """Whether the step has its outcome, or has come to nothing."""
        return self.last.status in _SETTLED


def until_text(kind: str, at: int | None) -> str:
    """Return until when one waits at a gate of a kind, as far as that is known: a batch may be full before its time."""
    if at is None:
        return ""
    return f"until {iso(at)} at the latest" if kind == "batch" else f"not before {iso(at)}"


class AtGate(msgspec.Struct, frozen=True):
    """Where a queued run waits; times in milliseconds since the epoch. Of those with one ``id``, the lowest ``order`` comes first.

    ``place`` is how many waited when it came, itself included: where it stands by now would take a look at all of them.
    """

    kind: str
    key: str
    id: str
    since: int
    order: int | None = None
    earliest: int | None = None
    place: int | None = None

    def __str__(self) -> str:
        of = f" of {self.key}" if self.key else ""
        place = "" if self.place is None else f", {self.place} waited when it came"
        until = until_text(self.kind, self.earliest)
        return f"{self.kind}{of}{place}, since {iso(self.since)}{until and f', {until}'}"


class FoldedRun(msgspec.Struct):
    """A run, as far as the records read so far tell.

    ``phase`` is ``queued``, ``running``, ``retrying``, ``parked``, `GONE` or one of `ENDED`; `status` adds what the steps say. Times
    are milliseconds since the epoch, ``result`` is JSON text. What no record told is None or empty; ``changes`` are the
    records of what happened to the run between its start and its end. ``stopping`` says why it is to end once its steps in flight have.
    ``event_at`` is where the run's event is on the log: its topic, partition and offset; None of one that was invoked.
    """

    run_id: str
    function: str = ""
    version: str = ""
    phase: str = "running"
    event_id: str | None = None
    event_name: str | None = None
    event_at: tuple[str, int, int] | None = None
    key: str | None = None
    replay_id: str | None = None
    of_run: str | None = None
    rerun_of: str | None = None
    created_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    wake_at: int | None = None
    attempt: int = 0
    result: str | None = None
    error: Failure | None = None
    detail: str = ""
    stopping: str = ""
    gate: AtGate | None = None
    steps: dict[str, RunStep] = msgspec.field(default_factory=dict)
    changes: list[RunChanged] = msgspec.field(default_factory=list)

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        if self.phase in ENDED or self.phase == "queued":
            return self.phase
        if self.phase in {"parked", "retrying"}:
            return "waiting"
        pending = {step.last.status for step in self._pending()}
        if "sleeping" in pending:
            return "sleeping"
        return "waiting" if pending else "running"

    @property
    def waiting_on(self) -> str | None:
        """What the run waits for, in words; None where it does not wait."""
        match self.phase:
            case "queued":
                return str(self.gate or self.detail or "its turn")
            case "parked":
                return "no code"
            case "retrying":
                return f"retry {self.attempt} of its function{_at(self.wake_at)}"
            case "running" if self.stopping:
                return f"its code to stop: {self.stopping}"
            case "running":
                pending = min(self._pending(), key=_wakes_at, default=None)
                return None if pending is None else _what_is_pending(pending)
            case _:
                return None

    @property
    def waits_until(self) -> int | None:
        """When all that the run waits for is over at the latest, in milliseconds since the epoch; None where it waits for no time."""
        if self.phase in ENDED:
            return None
        ends = [step.last.wake_at for step in self._pending()]
        ends += [self.wake_at, None if self.gate is None else self.gate.earliest]
        return max((end for end in ends if end is not None and end <= LAST_MS), default=None)

    def ordered_steps(self) -> list[RunStep]:
        """Return the steps in the order in which they began."""
        return sorted(self.steps.values(), key=attrgetter("started_at"))

    def _pending(self) -> Iterator[RunStep]:
        return (step for step in self.steps.values() if not step.settled)


class RunIndex:
    """The records of runs by run, each once, whatever is read how often and in which order."""

    def __init__(self) -> None:
        self._records: dict[str, dict[Place, HistoryRecord]] = {}

    def add(self, record_id: str, record: HistoryRecord) -> None:
        """Take a record of the history topic and the id that names it."""
        if is_about_a_run(record):
            self._records.setdefault(record.run_id, {}).setdefault(place(record_id, record), record)

    def get(self, run_id: str) -> FoldedRun | None:
        """Return a run, or None if nothing was told of it, or its event got none in the end."""
        records = self._records.get(run_id)
        run = None if records is None else fold(run_id, (records[at] for at in sorted(records)))
        return None if run is None or run.phase == GONE else run

    def forget(self, run_id: str) -> None:
        """Drop what is known of a run."""
        self._records.pop(run_id, None)

    def __iter__(self) -> Iterator[str]:
        """The ids of the runs."""
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def place(record_id: str, record: HistoryRecord) -> Place:
    """Return the place of the record with this id among those of its run: its stage, its partition, and its place there.

    Of several partitions, the numbers say nothing about each other. But what is told elsewhere than at the run's home comes before anything that
    happens there: that its event is delayed, and then that it waits in a debounce or a batch, or has come to nothing.

    Raises:
        ValueError: it is not the id of a history record.
    """
    partition, epoch, n, index = record_id.split(".")
    stage = _AT_HOME
    if isinstance(record, EventDisposed):
        is_elsewhere = record.run_id.rpartition("-")[2] != partition
        if is_elsewhere or record.disposition == "delayed":
            stage = _ELSEWHERE.get(record.disposition, _AT_HOME - 1)
    return stage, int(partition), int(epoch), int(n), int(index)


def journal_place(record_id: str) -> tuple[int, int, int]:
    """Return the place in its partition's journal (epoch, n, index) of the record with this id.

    Raises:
        ValueError: it is not the id of a history record.
    """
    _, epoch, n, index = record_id.split(".")
    return int(epoch), int(n), int(index)


def fold(run_id: str, records: Iterable[HistoryRecord]) -> FoldedRun:
    """Return what the records of one run, each once and in the order of their places, come to."""
    run = FoldedRun(run_id)
    for record in records:
        if isinstance(record, CompletionDisposed):
            continue
        run.function = record.function
        match record:
            case EventDisposed():
                _dispose(run, record)
            case RunStarted():
                _start(run, record)
            case StepRecorded():
                _step(run, record)
            case RunChanged():
                _change(run, record)
            case RunEnded():
                _end(run, record)
    return run


def is_about_a_run(record: HistoryRecord) -> bool:
    """Return whether a record is one of `fold`'s.

    A duplicate, and an event of a batch, name a run that another event has; a completion that was refused changes no run, and of one that was
    not, the step tells.
    """
    if isinstance(record, EventDisposed):
        return bool(record.run_id) and record.disposition not in {"duplicate", "batched"}
    return not isinstance(record, CompletionDisposed)


def _dispose(run: FoldedRun, record: EventDisposed) -> None:
    run.event_at = _event_at(record)
    if run.phase == "timed_out":  # before it began; the disposition of its event follows
        run.event_id, run.event_name, run.created_at = record.event_id, record.event_name, run.created_at or record.at
        return
    is_taken = record.detail.startswith(TAKEN_ALONG)
    run.phase = GONE if is_taken else _PHASES.get(record.disposition, GONE)
    run.gate = _gate(record, record.earliest) if run.phase == "queued" else None
    run.event_id, run.event_name, run.replay_id = record.event_id, record.event_name, record.replay_id
    if run.created_at is None:
        run.created_at = record.at
    if run.phase == "cancelled":
        run.ended_at, run.detail = record.at, record.detail
    elif record.disposition == "delayed":
        run.detail = f"its time{_at(int(record.detail) if record.detail.isdecimal() else None, ', ')}"
    else:
        run.detail = record.detail


def _start(run: FoldedRun, record: RunStarted) -> None:
    run.phase, run.gate = "running", None
    run.version = record.version
    run.event_id, run.event_name, run.key = record.event_id, record.event_name, record.key
    run.event_at = _event_at(record)
    run.replay_id, run.of_run, run.rerun_of = record.replay_id, record.of_run, record.rerun_of
    run.created_at, run.started_at = record.created_at, record.at


def _step(run: FoldedRun, record: StepRecorded) -> None:
    step = run.steps.setdefault(record.step_id, RunStep(record.step_id, record.kind))
    attempt = StepAttempt(record.attempt, record.status, record.started_at, record.at, record.wake_at, record.error)
    if record.status in {"sleeping", "waiting"}:
        attempt.ended_at = None
    if step.attempts and step.last.number == record.attempt:
        step.attempts.pop()
    step.attempts.append(attempt)
    step.result = record.result
    step.waits_for = record.waits_for


def _change(run: FoldedRun, record: RunChanged) -> None:
    if record.change == "stopping":
        run.stopping = record.detail
        return
    if run.created_at is None and not record.version:
        # Parked before it began, which is the first that history hears of it.
        run.created_at = record.at
    if record.change in {"parked", "retrying", "running", "queued"}:
        run.phase, run.detail = record.change, record.detail
        run.gate = _gate(record, record.wake_at) if record.change == "queued" else None
    run.version, run.attempt = record.version, record.attempt
    run.wake_at, run.error = record.wake_at, record.error
    run.changes.append(record)


def _end(run: FoldedRun, record: RunEnded) -> None:
    run.phase, run.version, run.replay_id = record.status, record.version, record.replay_id
    run.detail, run.gate = record.detail, None
    run.started_at, run.ended_at = record.started_at or None, record.at
    run.attempt, run.result, run.error = record.attempt, record.result, record.error
    run.detail = record.detail
    for step in run.steps.values():
        if not step.settled:
            step.last.status, step.last.wake_at = "interrupted", None
            step.last.ended_at = step.last.ended_at or record.at


def _event_at(record: EventDisposed | RunStarted) -> tuple[str, int, int] | None:
    return (record.topic, record.partition, record.offset) if record.topic else None


def _gate(record: EventDisposed | RunChanged, earliest: int | None) -> AtGate | None:
    if not record.gate:
        return None
    return AtGate(record.gate, record.gate_key, record.gate_id, record.at, record.order, earliest, record.place)


def _wakes_at(step: RunStep) -> int:
    return step.last.wake_at or LAST_MS


def _what_is_pending(step: RunStep) -> str:
    if step.last.status == "retrying":
        return f"retry {step.last.number + 1} of step {step.id}{_at(step.last.wake_at)}"
    if step.waits_for is not None:
        beyond = "" if step.last.error is None else f": {step.last.error.message}"
        return f"event {step.waits_for}{_at(step.last.wake_at, ', until ')}{beyond}"
    if step.last.status == "waiting":
        what = f"callback {step.id}" if step.kind == "callback" else f"what step {step.id} has invoked"
        return f"{what}{_at(step.last.wake_at, ', until ')}"
    return f"step {step.id}{_at(step.last.wake_at, ' until ')}"


def _at(at: int | None, before: str = " at ") -> str:
    return "" if at is None else before + iso(at)
