"""When the run index is not to be trusted, what it keeps aside, and what a record of history may become."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

import msgspec
import pytest

from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunChanged, RunEnded, RunStarted
from stream_engine.core.views import run_index
from stream_engine.core.views.index_keys import LAYOUT
from stream_engine.core.views.run_index import LONG_RESULT, Batch, Where
from stream_engine.core.views.run_listing import Selection
from stream_engine.core.views.runs import STATUSES
from tests.simulation.store import SimStore

_RUN = "a-0"
_EVENT = ("order/placed", "order-1", "t", 0, 1)
_START = RunStarted(5, _RUN, "f", "1", 4, *_EVENT)
_KNOWN = Where(LAYOUT, "topic", "1.0", {0: 10, 1: 20}, {0: 0, 1: 0})


def _store(*records: HistoryRecord) -> SimStore:
    store, batch = SimStore(), Batch()
    for n, record in enumerate(records):
        batch.add(f"0.0.{n}.0", record, 0, n)
    store.write(run_index.take(store, batch, _KNOWN))
    return store


@pytest.mark.parametrize(
    ("known", "topic", "start", "end", "words"),
    [
        (_KNOWN, "topic", {0: 10, 1: 0}, {0: 10, 1: 30}, None),
        (_KNOWN, "topic", {0: 0, 1: 0, 2: 7}, {0: 10, 1: 20, 2: 9}, None),
        (msgspec.structs.replace(_KNOWN, layout=LAYOUT + 1), "topic", {0: 0}, {0: 10}, "another version"),
        (_KNOWN, "other", {0: 0, 1: 0}, {0: 10, 1: 20}, "another topic"),
        (_KNOWN, "topic", {0: 11, 1: 0}, {0: 12, 1: 20}, "expired before it was read"),
        (_KNOWN, "topic", {0: 0, 1: 0}, {0: 9, 1: 20}, "lost its end"),
        (msgspec.structs.replace(_KNOWN, passed_over=1), "topic", {0: 0}, {0: 10}, "could not read all"),
    ],
)
def test_doubts_are_told_in_words(
    known: Where, topic: str, start: dict[int, int], end: dict[int, int], words: str | None
) -> None:
    doubt = known.doubt(topic, "1.1", start, end)
    assert words is doubt if doubt is None else (words is not None and words in doubt)


def test_what_was_passed_over_is_no_doubt_for_the_same_engine() -> None:
    known = msgspec.structs.replace(_KNOWN, passed_over=1)
    assert known.doubt("topic", "1.0", {0: 0}, {0: 10}) is None


def test_how_far_it_has_come_is_kept_with_what_was_taken() -> None:
    store = _store(_START)
    assert run_index.where(store) == _KNOWN
    store.data[b"w"] = b"nonsense"
    assert run_index.where(store) is None


def test_a_long_result_is_kept_aside() -> None:
    long, short = '"' + "x" * LONG_RESULT + '"', '"y"'
    store = _store(_START, RunEnded(9, _RUN, "f", "1", "completed", 5, 0, long))
    whole, listed = (run_index.load(store, _RUN, whole=whole) for whole in (True, False))
    assert whole is not None
    assert listed is not None
    assert (whole.result, listed.result) == (long, None)
    assert msgspec.structs.replace(whole, result=None) == listed
    store = _store(_START, RunEnded(9, _RUN, "f", "1", "completed", 5, 0, short))
    kept = run_index.load(store, _RUN, whole=False)
    assert kept is not None
    assert kept.result == short


def test_a_run_of_whose_creation_nothing_is_known_is_found_by_its_id_alone() -> None:
    store = _store(RunEnded(9, _RUN, "f", "1", "completed", 5, 0))
    assert run_index.counts(store) == {}
    assert [key[:1] for key in sorted(store.data)] == [b"h", b"r", b"w", b"x"]
    run = run_index.load(store, _RUN, whole=True)
    assert run is not None
    assert run.status == "completed"


def test_events_that_get_no_run_leave_nothing_but_the_place() -> None:
    store = _store(EventDisposed(5, "f", *_EVENT, "paused"), EventDisposed(5, "f", *_EVENT, "duplicate", _RUN))
    assert list(store.data) == [b"w"]


def test_a_status_that_changes_moves_the_run() -> None:
    store = _store(_START)
    batch = Batch()
    batch.add("0.0.7.0", RunChanged(6, _RUN, "f", "1", "parked", 0), 0, 7)
    store.write(run_index.take(store, batch, _KNOWN))
    assert run_index.counts(store) == {("f", "waiting"): 1}
    assert run_index.load(store, _RUN, whole=False) is not None
    assert len([key for key in store.data if key[:1] in {b"s", b"f"}]) == 2


def test_a_run_that_its_event_did_not_get_is_not_found() -> None:
    queued = EventDisposed(5, "f", *_EVENT, "queued", _RUN)
    store = _store(queued)
    assert run_index.counts(store) == {("f", "queued"): 1}
    store = _store(queued, EventDisposed(6, "f", *_EVENT, "skipped", _RUN))
    assert run_index.counts(store) == {}
    assert run_index.load(store, _RUN, whole=True) is None
    assert not [key for key in store.data if key[:1] in {b"s", b"f", b"e"}]


def test_a_field_that_a_record_gets_is_no_other_layout() -> None:
    """What an older engine has kept is read with the new field's default, and a newer one's without it."""
    older = msgspec.msgpack.encode(["run_changed", 6, _RUN, "f", "1", "parked", 0])
    newer = msgspec.msgpack.encode([*msgspec.to_builtins(RunChanged(6, _RUN, "f", "1", "parked", 0)), "new", "new"])
    decoded = [msgspec.msgpack.decode(raw, type=HistoryRecord) for raw in (older, newer)]
    assert {type(record) for record in decoded} == {RunChanged}


class _Counting(SimStore):
    """A store that is read backwards, and counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self._ordered: list[tuple[bytes, bytes]] = []

    def settle(self) -> None:
        """Nothing more is written."""
        self._ordered = sorted(self.data.items(), reverse=True)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        self.reads += 1
        return super().get(key)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, descending."""
        for key, value in self._ordered:
            if start <= key < stop:
                self.reads += 1
                yield key, value


_RUNS, _PAGE = 2_000, 50


def _busy() -> _Counting:
    """Return an index of runs of 4 functions, half of each in a replay, one of each event, in five statuses of which one is rare."""
    store, batch = _Counting(), Batch()
    for number in range(_RUNS):
        run, function, replay = f"{number:04}-0", f"f{number % 4}", "r1" if number % 8 < 4 else None
        event = "order/placed", f"order-{number}", "t", 0, number
        batch.add(
            f"0.0.{number}.0", RunStarted(number, run, function, "1", number, *event, replay_id=replay), 0, number
        )
        status = ("completed", "completed", "failed", "running")[number // 8 % 4] if number % 500 else "parked"
        if status == "parked":
            batch.add(f"0.1.{number}.0", RunChanged(number, run, function, "1", status, 0), 0, number)
        elif status != "running":
            ended = RunEnded(number, run, function, "1", status, number, 0, replay_id=replay)
            batch.add(f"0.1.{number}.0", ended, 0, number)
    store.write(run_index.take(store, batch, _KNOWN))
    store.settle()
    return store


def test_a_page_of_any_filters_costs_no_more_than_its_length_however_many_runs_there_are() -> None:
    store = _busy()
    found = 0
    for function, statuses, since, until, event, replay in product(
        (None, "f1", "f9"),
        (None, ("waiting",), ("failed", "completed"), ("queued", "sleeping", "waiting")),
        (None, _RUNS // 2),
        (None, _RUNS // 4, _RUNS * 3 // 4),
        (None, "order-1001"),
        (None, "r1", "r9"),
    ):
        selection = Selection(function, statuses, since, until, event, replay)
        store.reads = 0
        page = list(islice(run_index.newest(store, selection), _PAGE))
        assert store.reads <= _PAGE + len(STATUSES), selection
        found += len(page)
    assert found > _PAGE
