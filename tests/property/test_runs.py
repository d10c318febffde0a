"""Reading history again, in part, and late, changes nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.views.run_document import document
from stream_engine.core.views.runs import STATUSES, FoldedRun, RunIndex

Log = list[tuple[str, HistoryRecord]]

_TIMES = st.integers(0, 1_000)
_ERRORS = st.none() | st.just(Failure("E", "no", ""))


@st.composite
def run_histories(draw: st.DrawFn, number: int) -> list[HistoryRecord]:
    """What may be told of one run, in order."""
    run, function = f"run{number}-0", draw(st.sampled_from("fg"))
    created = draw(_TIMES)
    replay = draw(st.sampled_from([None, "r0", "r1"]))
    told: list[HistoryRecord] = []
    if draw(st.booleans()):
        disposition = draw(st.sampled_from(["delayed", "queued"]))
        told.append(
            EventDisposed(created, function, "e", f"e{number % 3}", "t", 0, number, disposition, run, "", replay)
        )
    event = "e", f"e{number % 3}", "t", 0, number
    told.append(RunStarted(created + 1, run, function, "1", created, *event, None, replay))
    told.extend(draw(st.lists(_steps(run, function) | _changes(run, function), max_size=5)))
    if draw(st.booleans()):
        status = draw(st.sampled_from(["completed", "failed", "cancelled", "timed_out"]))
        ended = RunEnded(created + 9, run, function, "1", status, created + 1, 0, None, draw(_ERRORS), replay_id=replay)
        told.append(ended)
    return told


def _steps(run: str, function: str) -> st.SearchStrategy[HistoryRecord]:
    status = st.sampled_from(["completed", "failed", "retrying", "sleeping"])
    step, wake_at = st.sampled_from("abc"), st.none() | _TIMES
    return st.builds(
        lambda name, status, attempt, at, wake_at, error: StepRecorded(
            at, run, function, name, "run", status, attempt, at, wake_at, None, error
        ),
        *(step, status, st.integers(0, 3), _TIMES, wake_at, _ERRORS),
    )


def _changes(run: str, function: str) -> st.SearchStrategy[HistoryRecord]:
    change = st.sampled_from(["retrying", "running", "queued", "parked", "moved"])
    return st.builds(
        lambda change, attempt, at, wake_at, error: RunChanged(
            at, run, function, "1", change, attempt, wake_at, "", error
        ),
        *(change, st.integers(0, 3), _TIMES, st.none() | _TIMES, _ERRORS),
    )


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A partition's history: the runs' records interleaved, each run's in order, with ids in the order of the log."""
    queues = [draw(run_histories(number)) for number in range(draw(st.integers(0, 5)))]
    merged: list[HistoryRecord] = []
    while queues:
        queue = draw(st.sampled_from(queues))
        merged.append(queue.pop(0))
        queues = [rest for rest in queues if rest]
    return [(f"0.{1 + place // 7}.{place % 7}.0", record) for place, record in enumerate(merged)]


def told_again(draw: st.DrawFn, log: Log) -> Log:
    """The log as it may really be: after a failure it goes on at an earlier place, up to its end."""
    read: Log = []
    for place, entry in enumerate(log):
        read.append(entry)
        if draw(st.integers(0, 4)) == 0:
            read.extend(log[draw(st.integers(0, place)) : place + 1])
    return read


def _index(log: Log) -> list[FoldedRun | None]:
    index = RunIndex()
    for record_id, record in log:
        index.add(record_id, record)
    return [index.get(run) for run in sorted(index)]


@settings(deadline=None)
@given(logs(), st.data())
def test_what_is_told_again_changes_nothing(log: Log, data: st.DataObject) -> None:
    assert _index(data.draw(st.composite(told_again)(log))) == _index(log)


@settings(deadline=None)
@given(logs(), st.data())
def test_nor_does_the_order_of_reading(log: Log, data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(log)) if log else st.just(log))
    assert _index(data.draw(st.permutations([*log, *again]))) == _index(log)


@settings(deadline=None)
@given(logs())
def test_every_run_has_a_status_and_a_document(log: Log) -> None:
    for run in _index(log):
        assert run is not None
        assert run.status in STATUSES
        assert (run.ended_at is not None) == (run.status in {"completed", "failed", "cancelled", "timed_out"})
        assert len(document(run)) == 16
