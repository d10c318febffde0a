"""The run index answers as the fold of history does, whatever is told again or late, and however it is cut into batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.views import run_index
from stream_engine.core.views.index_keys import LAYOUT, Head, found_by
from stream_engine.core.views.run_index import Batch, Where
from stream_engine.core.views.run_listing import Selection
from stream_engine.core.views.runs import STATUSES, FoldedRun, RunIndex
from tests.property.test_runs import Log, logs, told_again
from tests.simulation.store import SimStore

_BEGUN = Where(LAYOUT, "topic", "1", {}, {})

_SELECTIONS = st.builds(
    Selection,
    st.none() | st.sampled_from("fg"),
    st.none() | st.sets(st.sampled_from(STATUSES)),
    st.none() | st.integers(0, 1_000),
    st.none() | st.integers(0, 1_000),
    st.none() | st.sampled_from(["e0", "e1"]),
    st.none() | st.sampled_from(["r0", "r1"]),
)


class _Store(SimStore):
    """A store that is read backwards, too."""

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, descending."""
        return iter([*self.scan(start, stop)][::-1])


def _indexed(log: Log, batch_size: int) -> _Store:
    store = _Store()
    for start in range(0, len(log), batch_size):
        batch = Batch()
        for offset, (record_id, record) in enumerate(log[start : start + batch_size], start):
            batch.add(record_id, record, 0, offset)
        store.write(run_index.take(store, batch, _BEGUN))
    return store


def _folded(log: Log) -> list[FoldedRun]:
    index = RunIndex()
    for record_id, record in log:
        index.add(record_id, record)
    return [run for run_id in index if (run := index.get(run_id)) is not None]


@st.composite
def _read(draw: st.DrawFn) -> Log:
    log = draw(logs())
    read = draw(st.composite(told_again)(log))
    return draw(st.permutations(read)) if draw(st.booleans()) else read


@settings(deadline=None)
@given(_read(), st.integers(1, 9), _SELECTIONS, st.none() | st.integers(1, 3))
def test_a_listing_is_what_the_fold_of_all_history_has(
    log: Log, batch_size: int, selection: Selection, limit: int | None
) -> None:
    store = _indexed(log, batch_size)
    matching = [run for run in _folded(log) if selection.takes(run)]
    matching.sort(key=lambda run: (run.created_at or 0, run.run_id), reverse=True)
    listed = islice(run_index.newest(store, selection), limit)
    assert [run_index.load(store, run_id, whole=True) for run_id in listed] == matching[:limit]


def _length(run: FoldedRun) -> int:
    return max((run.waits_until or 0) - (run.created_at or 0), 0)


@settings(deadline=None)
@given(_read(), st.integers(1, 9))
def test_counts_and_keys_are_those_of_the_runs_and_no_others(log: Log, batch_size: int) -> None:
    store = _indexed(log, batch_size)
    runs = _folded(log)
    listed = Counter((run.function, run.status) for run in runs if run.created_at is not None)
    assert run_index.counts(store) == listed
    waits = [None if None in {r.waits_until, r.created_at} else _length(r) for r in runs]
    heads = [
        Head(r.function, r.status, r.created_at, r.event_id, 0, 0, r.replay_id, length)
        for r, length in zip(runs, waits, strict=True)
    ]
    wanted = {
        key for run, head in zip(runs, heads, strict=True) for key in found_by(run.run_id, head) if key[:1] != b"x"
    }
    assert {key for key in store.data if key[:1] in {b"s", b"f", b"e", b"p", b"l"}} == wanted
    assert len([key for key in store.data if key[:1] == b"x"]) == len(runs)
    longest = run_index.longest_wait(store)
    lengths = {run.run_id: length for run, length in zip(runs, waits, strict=True) if length is not None}
    assert lengths.get(longest or "") == max(lengths.values(), default=None)


@settings(deadline=None)
@given(_read(), st.integers(1, 9), st.integers(0, 60), st.integers(1, 4))
def test_what_expires_leaves_nothing_behind(log: Log, batch_size: int, start: int, limit: int) -> None:
    store = _indexed(log, batch_size)
    if not log:
        return
    before = {run.run_id for run in _folded(log)}
    newest_of = {key: raw for key, raw in store.data.items() if key[:1] == b"h"}
    kept = {run for run in before if run_index._head.decode(newest_of[b"h" + run.encode()]).last >= start}
    for _ in range(len(before) // limit + 1):
        known = run_index.where(store)
        assert known is not None
        store.write(run_index.expire(store, known, {0: start}, limit))
    fresh = _indexed([entry for entry in log if entry[1].run_id in kept], batch_size)
    assert run_index.counts(store) == run_index.counts(fresh)
    # But for the offsets, which are others in a log of other records.
    place_free = {key for key in store.data if key[:1] not in {b"x", b"w"}}
    assert place_free == {key for key in fresh.data if key[:1] not in {b"x", b"w"}}
    known = run_index.where(store)
    assert known is not None
    assert known.expired == {0: start}
