"""Election and recovery: what a candidate reads, writes, refuses, and finds untold."""

import zlib

import pytest
from msgspec.structs import replace

from stream_engine.core.leading.candidate import Candidate
from stream_engine.core.partition.change import DeposedError
from stream_engine.core.partition.snapshot import LostStateError
from stream_engine.core.partition.turn import Rules
from stream_engine.core.records.decoding import UnreadableError, decode_journal
from stream_engine.core.records.history import EventDisposed
from stream_engine.core.records.journal import WRITES, Decided, LeaderElected, Mark, encode
from stream_engine.core.records.origin import Logs, MismatchError, Origin, TornError, check_together
from stream_engine.core.records.tables import FOLDED_KEY, Folded
from stream_engine.core.records.tables import encode as encode_entry
from tests.golden.leader_bench import ORIGIN
from tests.simulation.store import SimStore

RULES = Rules("shop", {}, 1, "commands", "journal/J/0", 0)
TOLD = EventDisposed(5, "pay", "order/placed", "o-1", "events", 0, 3, "duplicate")


def _claim(name: str = "w") -> bytes:
    return encode(LeaderElected(name, 0))


def _decided(epoch: int, n: int, told: Mark = Mark(), *, key: bytes = b"k") -> bytes:  # noqa: B008 - a Mark is frozen
    return encode(Decided(epoch, n, n, 100 + n, told, [(key, b"%d" % n)], [], [TOLD]))


def _recover(store: SimStore, journal: list[bytes]) -> Candidate:
    """Claim the lead at the end of a journal, and read what is to be read."""
    candidate = Candidate("w", store, ORIGIN)
    journal.append(candidate.campaign(7))
    for offset in candidate.elected(len(journal) - 1):
        change = candidate.replay(offset, journal[offset])
        if change is not None:
            store.write(change)
    return candidate


def _at(mark: Mark, told: Mark = Mark()) -> SimStore:  # noqa: B008 - a Mark is frozen
    store = SimStore()
    store.data[FOLDED_KEY] = encode_entry(Folded("J", mark, 0, 0, told))
    return store


def _copy_of(origin: Origin) -> SimStore:
    store = SimStore()
    store.data[FOLDED_KEY] = encode_entry(Folded("J", Mark(4, 4, 0), told=Mark(4, 4, 0), origin=origin))
    return store


def test_the_claim_names_the_worker_and_the_time() -> None:
    claim = decode_journal(Candidate("w", SimStore(), ORIGIN).campaign(7))
    assert claim == LeaderElected("w", 7, WRITES)


def test_an_empty_store_reads_the_journal_from_its_start() -> None:
    assert Candidate("w", SimStore(), ORIGIN).elected(4) == range(5)


def test_a_store_reads_from_its_own_record_which_is_compared() -> None:
    candidate = Candidate("w", _at(Mark(6, 4, 2), told=Mark(6, 4, 2)), ORIGIN)
    assert candidate.elected(9) == range(6, 10)


def test_what_was_not_told_is_read_although_it_is_folded() -> None:
    candidate = Candidate("w", _at(Mark(6, 4, 2), told=Mark(5, 4, 1)), ORIGIN)
    assert candidate.elected(9) == range(6, 10)
    candidate = Candidate("w", _at(Mark(6, 4, 2), told=Mark(1, 0, 1)), ORIGIN)
    assert candidate.elected(9) == range(2, 10)


def test_a_claim_that_nobody_acknowledged_leads_to_nothing() -> None:
    candidate = Candidate("w", SimStore(), ORIGIN)
    with pytest.raises(DeposedError, match="not acknowledged"):
        candidate.elected(None)


def test_recovery_folds_what_counts_and_no_more() -> None:
    journal = [
        _claim(),
        _decided(0, 1, key=b"first"),
        _decided(0, 3, key=b"gap"),
        _claim("x"),
        _decided(0, 2, key=b"late"),
        _decided(3, 1, key=b"second"),
        _decided(3, 1, key=b"twice"),
    ]
    store = SimStore()
    leader = _recover(store, journal).lead(RULES)
    assert {key for key in store.data if key != FOLDED_KEY} == {b"first", b"second"}
    counted = sum(len(journal[offset]) for offset in (0, 1, 3, 5, 7))
    crc = zlib.crc32(journal[7])
    assert store.folded() == Folded("J", Mark(7, 7, 0), 1, 101, written=counted, crc=crc, origin=ORIGIN, format=WRITES)
    assert leader.epoch == 7
    assert leader.commands == 1


def test_what_was_not_told_is_told_again_behind_the_newest_mark() -> None:
    journal = [_claim(), _decided(0, 1), _decided(0, 2), _decided(0, 3, told=Mark(1, 0, 1))]
    recovered = _recover(SimStore(), journal).lead(RULES).recovered()
    assert [told.mark for told in recovered.told] == [Mark(2, 0, 2), Mark(3, 0, 3)]


def test_recovery_is_the_same_from_any_earlier_store() -> None:
    journal = [_claim(), *(_decided(0, n, key=b"%d" % n) for n in range(1, 5)), _claim("x"), _decided(5, 1)]
    whole = SimStore()
    _recover(whole, list(journal))
    for written in range(len(journal)):
        store = SimStore()
        candidate = Candidate("w", store, ORIGIN)
        candidate.elected(len(journal))
        for offset in range(written):
            change = candidate.replay(offset, journal[offset])
            assert change is not None
            store.write(change)
        _recover(store, list(journal))
        assert store.data == whole.data


def test_another_claim_behind_this_one_ends_the_attempt() -> None:
    candidate = Candidate("w", SimStore(), ORIGIN)
    candidate.elected(0)
    candidate.replay(0, candidate.campaign(7))
    candidate.replay(1, _claim("x"))
    with pytest.raises(DeposedError, match="not to the claim at 0"):
        candidate.lead(RULES)


def test_a_range_that_was_not_read_to_its_end_leads_to_nothing() -> None:
    candidate = Candidate("w", SimStore(), ORIGIN)
    candidate.elected(1)
    candidate.replay(0, _claim("x"))
    with pytest.raises(DeposedError):
        candidate.lead(RULES)


def test_the_store_of_another_journal_is_refused_also_if_an_older_engine_wrote_it() -> None:
    elsewhere = Origin(Logs("C", "other", "other", 2), 0)
    with pytest.raises(MismatchError, match="the topic is now other"):
        Candidate("w", _at(Mark(0, 0, 0)), elsewhere)
    with pytest.raises(MismatchError, match="is a copy of partition 0 of the journal J on the cluster C, and not of"):
        Candidate("w", _copy_of(ORIGIN), elsewhere)


@pytest.mark.parametrize("other", [replace(ORIGIN, partition=1), replace(ORIGIN, logs=Logs("D", "J", "K", 2))])
def test_the_store_of_another_partition_or_cluster_is_refused(other: Origin) -> None:
    with pytest.raises(MismatchError, match="is a copy of partition 0"):
        Candidate("w", _copy_of(ORIGIN), other)


@pytest.mark.parametrize(
    ("logs", "what"),
    [
        (
            Logs("C", "J", "other", 2),
            "the commands topic is another one .its id was K, and is other.: what no worker had taken",
        ),
        (
            Logs("C", "other", "K", 2),
            "the journal is another topic .its id was J, and is other.: what was decided is gone",
        ),
        (Logs("C", "J", "K", 3), "the commands topic had 2 partitions, and has 3"),
        (Logs("D", "J", "other", 3), "what no worker had taken .*; the commands topic had 2 partitions, and has 3"),
    ],
)
def test_logs_of_which_some_were_replaced_are_not_led(logs: Logs, what: str) -> None:
    """Neither by a worker that knows from elsewhere what they were, nor by one of which only the store knows it."""
    with pytest.raises(TornError, match=what):
        check_together(ORIGIN.logs, logs)
    with pytest.raises(TornError, match=what):
        Candidate("w", _copy_of(ORIGIN), Origin(logs, 0))


def test_logs_that_are_the_same_are_led_also_if_the_cluster_has_another_name() -> None:
    check_together(ORIGIN.logs, ORIGIN.logs)
    check_together(ORIGIN.logs, Logs("D", "J", "K", 2))
    assert Candidate("w", _copy_of(ORIGIN), ORIGIN).reads_from == 4


def test_a_store_that_does_not_tell_how_far_it_has_come_is_refused() -> None:
    store = SimStore()
    store.data[FOLDED_KEY] = b"\x93what"
    with pytest.raises(MismatchError, match="the store does not tell how far it has come"):
        Candidate("w", store, ORIGIN)


def test_what_an_older_engine_wrote_is_marked_with_its_origin_by_the_next_write() -> None:
    store, journal = SimStore(), [_claim(), _decided(0, 1)]
    _recover(store, journal)
    folded = store.folded()
    assert folded is not None
    store.data[FOLDED_KEY] = encode_entry(replace(folded, crc=None, origin=None))
    _recover(store, journal)
    folded = store.folded()
    assert folded is not None
    assert (folded.origin, folded.crc) == (ORIGIN, zlib.crc32(journal[-1]))


def test_a_journal_that_ends_before_the_store_is_refused() -> None:
    with pytest.raises(MismatchError, match="the journal ends at 6"):
        Candidate("w", _at(Mark(6, 4, 2)), ORIGIN).elected(6)


@pytest.mark.parametrize(
    ("mark", "raw"),
    [
        (Mark(6, 4, 2), _decided(4, 3)),
        (Mark(6, 4, 2), _decided(5, 2)),
        (Mark(6, 4, 2), _claim()),
        (Mark(6, 6, 0), _decided(4, 2)),
    ],
)
def test_a_store_whose_newest_record_is_another_in_the_log_is_refused(mark: Mark, raw: bytes) -> None:
    candidate = Candidate("w", _at(mark, told=mark), ORIGIN)
    candidate.elected(9)
    with pytest.raises(MismatchError, match="another record at this offset"):
        candidate.replay(6, raw)


@pytest.mark.parametrize(("mark", "raw"), [(Mark(6, 4, 2), _decided(4, 2)), (Mark(6, 6, 0), _claim())])
def test_a_store_whose_newest_record_is_in_the_log_is_taken(mark: Mark, raw: bytes) -> None:
    candidate = Candidate("w", _at(mark, told=mark), ORIGIN)
    candidate.elected(9)
    assert candidate.replay(6, raw) is None


@pytest.mark.parametrize("lost", [_claim("x"), _decided(0, 1, key=b"other")])
def test_another_record_of_the_same_epoch_and_number_is_noticed(lost: bytes) -> None:
    """The end of the log was lost, and whoever led next came to the same place by other decisions."""
    store, journal = SimStore(), [_claim(), _decided(0, 1), _decided(0, 2, Mark(1, 0, 1))]
    candidate = Candidate("w", store, ORIGIN)
    candidate.elected(9)
    written = 1 if lost == _claim("x") else 2
    for offset, raw in enumerate([*journal[: written - 1], lost]):
        change = candidate.replay(offset, raw)
        assert change is not None
        store.write(change)
    with pytest.raises(MismatchError, match="another record at this offset"):
        _recover(store, journal)


def test_what_was_just_restored_and_does_not_fit_is_not_restored_again() -> None:
    store = _at(Mark(6, 4, 2), told=Mark(6, 4, 2))
    with pytest.raises(LostStateError, match=r"restored from the state topic does not fit: .* the journal ends at 6"):
        Candidate("w", store, ORIGIN, restored=True).elected(6)
    candidate = Candidate("w", store, ORIGIN, restored=True)
    candidate.elected(9)
    with pytest.raises(LostStateError, match=r"restored from the state topic does not fit: .* another record"):
        candidate.replay(6, _claim())


@pytest.mark.parametrize("raw", [b"", b"hello", b"\xc1", b"\x93\x01\x02\x03", b"\x90"])
def test_what_no_engine_wrote_does_not_count(raw: bytes) -> None:
    candidate = Candidate("w", SimStore(), ORIGIN)
    claim = candidate.campaign(7)
    candidate.elected(1)
    assert candidate.replay(0, raw) is None
    assert candidate.replay(1, claim) is not None
    assert candidate.lead(RULES).epoch == 1


def test_what_a_newer_engine_wrote_stops_an_older_one() -> None:
    candidate = Candidate("w", SimStore(), ORIGIN)
    candidate.campaign(7)
    candidate.elected(1)
    with pytest.raises(UnreadableError, match="newer"):
        candidate.replay(0, encode(["promised", 1, 2]))
