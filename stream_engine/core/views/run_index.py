"""The run index: history by run, so that a listing or a run is found without reading history again.

A copy of what `<app>.history` still has, in a store that is no more than a cache: what makes it doubtful has it built anew
(`Where.doubt`). Records may be taken in any order and as often as they come, as `stream_engine.core.views.runs` says; `take`,
`expire` and `Where` make the changes to the store, `newest`, `load` and `counts` read it, and `stream_engine.core.views.index_keys` has
its keys. Every change brings along how far the index has come with it, so that a crash leaves an older index and no other.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from stream_engine.core.partition.change import Change
from stream_engine.core.partition.state import Store
from stream_engine.core.records.history import HistoryRecord, RunEnded, StepRecorded
from stream_engine.core.records.journal import Record
from stream_engine.core.views import index_keys as keys
from stream_engine.core.views.index_keys import Count, Head
from stream_engine.core.views.run_listing import Selection
from stream_engine.core.views.runs import GONE, FoldedRun, Place, fold, is_about_a_run, place

LONG_RESULT: Final = 4_096
"""Characters above which a result is kept aside, so that a listing need not read it."""

_encode: Final = msgspec.msgpack.encode
_record: Final = msgspec.msgpack.Decoder(HistoryRecord)
_head: Final = msgspec.msgpack.Decoder(Head)
_count: Final = msgspec.msgpack.Decoder(Count)


class IndexStore(Store, Protocol):
    """Where the index lies: RocksDB."""

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, descending."""


class Where(Record, frozen=True):
    """Of what the index is a copy, and how far.

    ``topic`` is Kafka's id of the history topic, which no other topic ever has. By partition, ``next`` is the offset that is to be
    read next, and ``expired`` the one below which what has expired has left the index. ``passed_over`` is how many records the
    ``engine`` of that version could not read.
    """

    layout: int
    topic: str
    engine: str
    next: dict[int, int]
    expired: dict[int, int]
    passed_over: int = 0

    def doubt(self, topic: str, engine: str, start: Mapping[int, int], end: Mapping[int, int]) -> str | None:
        """Return, in words, why this index cannot be brought up to date with a topic that has these offsets; None if it can."""
        if self.layout != keys.LAYOUT:
            return f"it is of another version of stream-engine ({self.engine})"
        if self.topic != topic:
            return "the history is another topic than before: it was created again, or is on another cluster"
        if self.passed_over and self.engine != engine:
            return f"stream-engine {self.engine} could not read all of the history"
        if any(self.next.get(number, offset) < offset for number, offset in start.items()):
            return "some of the history has expired before it was read"
        if any(self.next.get(number, 0) > offset for number, offset in end.items()):
            return "the history has lost its end"
        return None


class Batch:
    """Records of history on their way into the index.

    Attributes:
        size: how many there are.
        next: the offset behind the last of them, by partition.
    """

    def __init__(self) -> None:
        self.size = 0
        self.next: dict[int, int] = {}
        self.runs: dict[str, tuple[int, int, dict[Place, HistoryRecord]]] = {}

    def add(self, record_id: str, record: HistoryRecord, partition: int, offset: int) -> None:
        """Take the record with this id, from its place on the topic; one partition's come in the order of their offsets."""
        self.size += 1
        self.next[partition] = offset + 1
        if is_about_a_run(record):
            known = self.runs.get(record.run_id)
            records = {} if known is None else known[2]
            records.setdefault(place(record_id, record), record)
            self.runs[record.run_id] = (partition, offset, records)


class _Changes:
    """Gathers what is to be written; each run once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.puts: list[tuple[bytes, bytes]] = []
        self.deletes: list[bytes] = []
        self._more: Counter[tuple[str, str]] = Counter()

    def find(self, run_id: str, before: Head | None, after: Head | None) -> None:
        """Have a run found by what it is after, and no more by what it was before."""
        old = set() if before is None else keys.found_by(run_id, before)
        new = set() if after is None else keys.found_by(run_id, after)
        self.puts.extend((key, b"") for key in new - old)
        self.deletes.extend(old - new)
        for head, more in ((before, -1), (after, 1)):
            if head is not None and head.created_at is not None:
                self._more[head.function, head.status] += more
        if after is None:
            self.deletes.append(keys.head_key(run_id))
        elif after != before:
            self.puts.append((keys.head_key(run_id), _encode(after)))

    def seal(self, where: Where) -> Change:
        """Return everything, and with it how far the index has come."""
        for (function, status), more in self._more.items():
            if more:
                key = keys.count_key(function, status)
                raw = self._store.get(key)
                number = more + (0 if raw is None else _count.decode(raw).number)
                if number:
                    self.puts.append((key, _encode(Count(function, status, number))))
                else:
                    self.deletes.append(key)
        self.puts.append((keys.WHERE, _encode(where)))
        return Change(self.puts, self.deletes)


def where(store: Store) -> Where | None:
    """Return how far the index has come, or None if there is none that this engine can read."""
    raw = store.get(keys.WHERE)
    try:
        return None if raw is None else msgspec.msgpack.decode(raw, type=Where)
    except msgspec.DecodeError:
        return None


def take(store: Store, batch: Batch, then: Where) -> Change:
    """Return the change that takes a batch into the index; ``then`` is how far the index has come with it."""
    changes = _Changes(store)
    for run_id, (partition, offset, told) in batch.runs.items():
        raw = store.get(keys.head_key(run_id))
        before = None if raw is None else _head.decode(raw)
        known = {} if before is None else dict(_records(store, run_id))
        new = {at: record for at, record in told.items() if at not in known}
        if not new:
            continue
        changes.puts.extend(_kept(run_id, new))
        every = known | new
        run = fold(run_id, (every[at] for at in sorted(every)))
        # What came to nothing may be told of again, but is not to be found.
        created_at = None if run.phase == GONE else run.created_at
        until = run.waits_until
        waits = None if created_at is None or until is None else until - created_at
        of = run.function, run.status, created_at, run.event_id
        changes.find(run_id, before, Head(*of, partition, offset, run.replay_id, waits))
    return changes.seal(then)


def expire(store: Store, then: Where, start: Mapping[int, int], limit: int) -> Change:
    """Return the change by which runs leave whose newest record lies before the ``start`` of its partition.

    So do those that have not ended: who looks for them has the same answer from an index that was built anew.
    No more than ``limit`` runs leave; the next time, the others do.
    """
    changes = _Changes(store)
    done = dict(then.expired)
    for partition, offset in start.items():
        first, behind = keys.expiring(partition, done.get(partition, 0)), keys.expiring(partition, offset)
        # A key that is deleted still has to be passed over, so what has been done is not looked at again.
        done[partition] = max(offset, done.get(partition, 0))
        for key, _ in islice(store.scan(first, behind), limit):
            run_id, last = keys.run_expiring(key)
            _drop(store, changes, run_id)
            limit -= 1
            if not limit:
                done[partition] = last
                return changes.seal(replace(then, expired=done))
    return changes.seal(replace(then, expired=done))


def newest(store: IndexStore, selection: Selection) -> Iterator[str]:
    """Give the ids of the runs of a selection, the newest first."""
    ages = heapq.merge(*(_ages(store, *found) for found in keys.ranges(selection)), reverse=True)
    for run_id in map(keys.run_in, ages):
        if selection.event_id is None or selection.takes(_head.decode(store.get(keys.head_key(run_id)) or b"")):
            yield run_id


def longest_wait(store: IndexStore) -> str | None:
    """Return the id of the run whose wait ends longest after the run was created, of all that wait for a time."""
    found = next(store.scan_back(keys.WAITS, keys.behind(keys.WAITS)), None)
    return None if found is None else keys.run_waiting(found[0])


def load(store: Store, run_id: str, *, whole: bool) -> FoldedRun | None:
    """Return a run, or None if the index has none, or its event got none in the end; long results are None unless it is wanted ``whole``."""
    records = dict(_records(store, run_id))
    if whole:
        prefix = keys.results_of(run_id)
        for key, raw in store.scan(prefix, keys.behind(prefix)):
            at = keys.place_in(key)
            records[at] = replace(records[at], result=raw.decode())
    run = fold(run_id, records.values()) if records else None
    return None if run is None or run.phase == GONE else run


def counts(store: Store) -> dict[tuple[str, str], int]:
    """Return how many runs there are by function and status."""
    found = (_count.decode(raw) for _, raw in store.scan(keys.COUNTS, keys.behind(keys.COUNTS)))
    return {(count.function, count.status): count.number for count in found}


def _ages(store: IndexStore, prefix: bytes, start: bytes, stop: bytes) -> Iterator[bytes]:
    return (key[len(prefix) :] for key, _ in store.scan_back(start, stop))


def _records(store: Store, run_id: str) -> Iterator[tuple[Place, HistoryRecord]]:
    """Give what is kept of a run, in the order of the places."""
    prefix = keys.records_of(run_id)
    return ((keys.place_in(key), _record.decode(raw)) for key, raw in store.scan(prefix, keys.behind(prefix)))


def _kept(run_id: str, records: Mapping[Place, HistoryRecord]) -> Iterable[tuple[bytes, bytes]]:
    """Give the keys and values that keep records of a run."""
    prefix, aside = keys.records_of(run_id), keys.results_of(run_id)
    for at, record in records.items():
        ending = keys.place_bytes(at)
        kept = record
        if (
            isinstance(record, StepRecorded | RunEnded)
            and record.result is not None
            and len(record.result) > LONG_RESULT
        ):
            yield aside + ending, record.result.encode()
            kept = replace(record, result=None)
        yield prefix + ending, _encode(kept)


def _drop(store: Store, changes: _Changes, run_id: str) -> None:
    raw = store.get(keys.head_key(run_id))
    if raw is not None:
        changes.find(run_id, _head.decode(raw), None)
    for prefix in (keys.records_of(run_id), keys.results_of(run_id)):
        changes.deletes.extend(key for key, _ in store.scan(prefix, keys.behind(prefix)))
