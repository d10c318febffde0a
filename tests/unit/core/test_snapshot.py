"""Snapshots: what is written of the state, when, what it allows to delete, and how it is read again."""

import pytest
from msgspec.structs import replace

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.leading.leader import Leader
from stream_engine.core.partition.change import Change, Trim
from stream_engine.core.partition.snapshot import CHUNK_BYTES, LostStateError, Restore, Snapshot, SpoiledError
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.decoding import decode_journal, decode_state
from stream_engine.core.records.journal import Checkpoint, Decided, Mark
from stream_engine.core.records.tables import FOLDED_KEY, Folded
from tests.golden.leader_bench import ORIGIN
from tests.simulation.store import SimStore

FOLDED = Folded("J", Mark(9, 4, 5), 3, 100, Mark(7, 4, 3), 5_000)
SMALL = [(b"a", b"1"), (b"b", b"2")]
LARGE = [(b"k%d" % number, bytes(CHUNK_BYTES // 2)) for number in range(5)]


def _written(entries: list[tuple[bytes, bytes]], *, serial: int = 1, folded: Folded = FOLDED) -> list[bytes]:
    return list(Snapshot(4, serial, folded).records(entries))


def _restored(topic: list[bytes], restore: Restore) -> SimStore:
    """Read the topic as the seam says."""
    while True:
        store = SimStore()
        try:
            for raw in topic:
                change = restore.take(raw)
                if change is not None:
                    store.write(change)
                if restore.complete:
                    return store
            restore.ended()
        except SpoiledError:
            restore = restore.again()


@pytest.mark.parametrize("entries", [[], SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_was_written_is_restored(entries: list[tuple[bytes, bytes]]) -> None:
    store = _restored(_written(entries), Restore("J", 8))
    assert store.folded() == FOLDED
    assert {key: value for key, value in store.data.items() if key != FOLDED_KEY} == dict(entries)


def test_a_chunk_is_closed_when_it_is_full() -> None:
    assert [len(raw) > CHUNK_BYTES for raw in _written(LARGE)] == [True, True, False, False]


def test_a_restored_store_goes_on_where_the_snapshot_says() -> None:
    candidate = Candidate("w", _restored(_written(SMALL), Restore("J", 8)), ORIGIN)
    assert candidate.reads_from == 8
    assert not candidate.must_restore(8)
    assert candidate.must_restore(9)


def test_a_chunk_that_landed_twice_does_no_harm() -> None:
    first, second, third, end = _written(LARGE)
    assert len(_restored([first, second, first, second, third, end], Restore("J", 0)).data) == 6


def test_a_snapshot_without_its_end_is_passed_over() -> None:
    cut = _written(LARGE)[:-1]
    whole = _written(SMALL, serial=2)
    assert len(_restored([*cut, *whole], Restore("J", 0)).data) == 3


def test_a_snapshot_that_lacks_a_chunk_is_passed_over() -> None:
    first, _, third, end = _written(LARGE)
    whole = _written(SMALL, serial=2)
    assert len(_restored([first, third, end, *whole], Restore("J", 0)).data) == 3
    assert len(_restored([first, end, *whole], Restore("J", 0)).data) == 3


def test_the_beginning_of_one_may_have_been_trimmed() -> None:
    assert len(_restored([*_written(LARGE)[1:], *_written(SMALL, serial=2)], Restore("J", 0)).data) == 3


def test_two_writers_may_write_at_once() -> None:
    mine, other = _written(LARGE), _written(SMALL, serial=2)
    mixed = [mine[0], other[0], mine[1], other[1], *mine[2:]]
    assert len(_restored(mixed, Restore("J", 0)).data) == 6


def test_a_snapshot_of_another_journal_or_of_too_early_a_place_is_none() -> None:
    foreign = _written(SMALL, folded=Folded("K", Mark(90, 4, 5), 3, 100, Mark(90, 4, 5)))
    with pytest.raises(LostStateError, match="begins at offset 8"):
        _restored([b"rubbish", *foreign], Restore("J", 8))
    with pytest.raises(LostStateError, match="begins at offset 9"):
        _restored(_written(SMALL), Restore("J", 9))
    with pytest.raises(LostStateError, match="begins at offset 9"):
        _restored(_written([]), Restore("J", 9))


def _leader(store: SimStore, checkpoint_bytes: int) -> Leader:
    candidate = Candidate("w", store, ORIGIN)
    claim = candidate.campaign(0)
    for offset in candidate.elected(0):
        change = candidate.replay(offset, claim)
        assert change is not None
        store.write(change)
    return candidate.lead(Rules("shop", {}, 1, "commands", "journal/J/0", 0, checkpoint_bytes=checkpoint_bytes))


def test_a_checkpoint_is_due_when_the_journal_has_grown_and_named_once_it_is_written() -> None:
    store = SimStore()
    leader = _leader(store, checkpoint_bytes=50)
    assert not leader.checkpoint_due
    store.write(_acknowledged(leader, leader.renew(1)))
    store.write(_acknowledged(leader, leader.renew(2)))
    assert _is_due(leader)
    snapshot = leader.snapshot()
    assert not _is_due(leader)
    complete = decode_state(list(snapshot.records([]))[-1])
    assert store.folded() is not None
    assert complete.id.epoch == 0
    store.write(_acknowledged(leader, leader.renew(3)))
    named = snapshot.named(70)
    assert named.mark == Mark(2, 0, 2)
    leader.written(named)
    raw = leader.decide([], 4)
    assert raw is not None
    record = decode_journal(raw)
    assert isinstance(record, Decided)
    assert record.checkpoint == named
    committed = leader.acknowledged(4)
    assert committed.trim == Trim(journal=0, commands=0, state=70)
    store.write(committed.change)
    folded = store.folded()
    assert folded is not None
    assert folded.checkpoint == named
    assert _recovered_trim(store) == committed.trim


@pytest.mark.parametrize(("state_id", "is_due"), [("S", False), ("T", True)])
def test_where_the_state_topic_is_another_one_a_snapshot_is_due_at_once(state_id: str, is_due: bool) -> None:
    folded = replace(FOLDED, checkpoint=Checkpoint(Mark(8, 4, 4), Mark(7, 4, 3), 3, 0, 10, FOLDED.written, "S"))
    rules = Rules("shop", {}, 1, "commands", "journal/J/0", 0, state_id=state_id)
    leader = Leader(folded, SimStore(), rules, [])
    assert leader.checkpoint_due is is_due
    if is_due:
        leader.written(leader.snapshot().named(0))
        raw = leader.decide([], 4)
        record = None if raw is None else decode_journal(raw)
        assert isinstance(record, Decided)
        assert record.checkpoint is not None
        assert record.checkpoint.topic == state_id
        leader.acknowledged(folded.mark.offset + 1)
        assert not leader.checkpoint_due


def test_an_abandoned_snapshot_leaves_another_one_due_with_a_name_of_its_own() -> None:
    leader = _leader(SimStore(), checkpoint_bytes=1)
    first = list(leader.snapshot().records([]))
    leader.abandoned()
    assert leader.checkpoint_due
    assert list(leader.snapshot().records([])) != first


def test_the_next_one_is_due_when_the_journal_has_grown_by_the_size_of_the_last() -> None:
    leader = _leader(SimStore(), checkpoint_bytes=1)
    snapshot = leader.snapshot()
    list(snapshot.records([(b"k", bytes(300))]))
    leader.written(snapshot.named(0))
    sizes = []
    while not leader.checkpoint_due:
        raw = leader.renew(1)
        sizes.append(len(raw))
        _acknowledged(leader, raw)
    # The record that names it counts already: it lies behind the place that the snapshot is of.
    assert sum(sizes) >= snapshot.named(0).size > sum(sizes[:-1])


def test_history_that_was_not_told_is_not_trimmed() -> None:
    assert Snapshot(4, 1, FOLDED).named(7).journal == 8
    told = Folded("J", Mark(9, 4, 5), 3, 100, Mark(9, 4, 5))
    assert Snapshot(4, 1, told).named(7).journal == 9  # the record at the mark itself is compared by whoever restores
    assert Checkpoint(Mark(), Mark(), 0, 0, 0, 0).journal == 0


def _is_due(leader: Leader) -> bool:
    return leader.checkpoint_due  # behind a function, because mypy takes what a property said for lasting


def _acknowledged(leader: Leader, raw: bytes) -> Change:
    record = decode_journal(raw)
    assert isinstance(record, Decided)
    return leader.acknowledged(record.epoch + record.n).change


def _recovered_trim(store: SimStore) -> Trim | None:
    candidate = Candidate("w", store, ORIGIN)
    claim = candidate.campaign(0)
    for offset in candidate.elected(5):
        if offset == 5:
            change = candidate.replay(offset, claim)
            assert change is not None
            store.write(change)
    return candidate.lead(Rules("shop", {}, 1, "commands", "journal/J/0", 0)).recovered().trim
