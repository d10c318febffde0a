"""Election and recovery: what a candidate reads, writes, refuses, and finds untold."""

import pytest

from stream_engine.core.candidate import Candidate, MismatchError
from stream_engine.core.change import DeposedError
from stream_engine.core.history import EventDisposed
from stream_engine.core.records import Decided, LeaderElected, Mark, UnreadableError, decode_journal, encode
from stream_engine.core.tables import FOLDED_KEY, Folded
from stream_engine.core.tables import encode as encode_entry
from stream_engine.core.turn import Rules
from tests.simulation.store import SimStore

RULES = Rules("shop", {}, 1, "commands", "journal/J/0", 0)
TOLD = EventDisposed(5, "pay", "order/placed", "o-1", "events", 0, 3, "duplicate")


def _claim(name: str = "w") -> bytes:
    return encode(LeaderElected(name, 0))


def _decided(epoch: int, n: int, told: Mark = Mark(), *, key: bytes = b"k") -> bytes:  # noqa: B008 - a Mark is frozen
    return encode(Decided(epoch, n, n, 100 + n, told, [(key, b"%d" % n)], [], [TOLD]))


def _recover(store: SimStore, journal: list[bytes]) -> Candidate:
    """Claim the lead at the end of a journal, and read what is to be read."""
    candidate = Candidate("w", store, "J")
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


def test_the_claim_names_the_worker_and_the_time() -> None:
    claim = decode_journal(Candidate("w", SimStore(), "J").campaign(7))
    assert claim == LeaderElected("w", 7)


def test_an_empty_store_reads_the_journal_from_its_start() -> None:
    assert Candidate("w", SimStore(), "J").elected(4) == range(5)


def test_a_store_reads_from_its_own_record_which_is_compared() -> None:
    candidate = Candidate("w", _at(Mark(6, 4, 2), told=Mark(6, 4, 2)), "J")
    assert candidate.elected(9) == range(6, 10)


def test_what_was_not_told_is_read_although_it_is_folded() -> None:
    candidate = Candidate("w", _at(Mark(6, 4, 2), told=Mark(5, 4, 1)), "J")
    assert candidate.elected(9) == range(6, 10)
    candidate = Candidate("w", _at(Mark(6, 4, 2), told=Mark(1, 0, 1)), "J")
    assert candidate.elected(9) == range(2, 10)


def test_a_claim_that_nobody_acknowledged_leads_to_nothing() -> None:
    candidate = Candidate("w", SimStore(), "J")
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
    assert store.folded() == Folded("J", Mark(7, 7, 0), 1, 101, written=counted)
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
        candidate = Candidate("w", store, "J")
        candidate.elected(len(journal))
        for offset in range(written):
            change = candidate.replay(offset, journal[offset])
            assert change is not None
            store.write(change)
        _recover(store, list(journal))
        assert store.data == whole.data


def test_another_claim_behind_this_one_ends_the_attempt() -> None:
    candidate = Candidate("w", SimStore(), "J")
    candidate.elected(0)
    candidate.replay(0, candidate.campaign(7))
    candidate.replay(1, _claim("x"))
    with pytest.raises(DeposedError, match="not to the claim at 0"):
        candidate.lead(RULES)


def test_a_range_that_was_not_read_to_its_end_leads_to_nothing() -> None:
    candidate = Candidate("w", SimStore(), "J")
    candidate.elected(1)
    candidate.replay(0, _claim("x"))
    with pytest.raises(DeposedError):
        candidate.lead(RULES)


def test_the_store_of_a_topic_that_was_created_again_is_refused() -> None:
    with pytest.raises(MismatchError, match="the topic is now K"):
        Candidate("w", _at(Mark(0, 0, 0)), "K")


def test_a_journal_that_ends_before_the_store_is_refused() -> None:
    with pytest.raises(MismatchError, match="the journal ends at 6"):
        Candidate("w", _at(Mark(6, 4, 2)), "J").elected(6)


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
    candidate = Candidate("w", _at(mark, told=mark), "J")
    candidate.elected(9)
    with pytest.raises(MismatchError, match="another record at this offset"):
        candidate.replay(6, raw)


@pytest.mark.parametrize(("mark", "raw"), [(Mark(6, 4, 2), _decided(4, 2)), (Mark(6, 6, 0), _claim())])
def test_a_store_whose_newest_record_is_in_the_log_is_taken(mark: Mark, raw: bytes) -> None:
    candidate = Candidate("w", _at(mark, told=mark), "J")
    candidate.elected(9)
    assert candidate.replay(6, raw) is None


@pytest.mark.parametrize("raw", [b"", b"hello", b"\xc1", b"\x93\x01\x02\x03", b"\x90"])
def test_what_no_engine_wrote_does_not_count(raw: bytes) -> None:
    candidate = Candidate("w", SimStore(), "J")
    claim = candidate.campaign(7)
    candidate.elected(1)
    assert candidate.replay(0, raw) is None
    assert candidate.replay(1, claim) is not None
    assert candidate.lead(RULES).epoch == 1


def test_what_a_newer_engine_wrote_stops_an_older_one() -> None:
    candidate = Candidate("w", SimStore(), "J")
    candidate.campaign(7)
    candidate.elected(1)
    with pytest.raises(UnreadableError, match="newer"):
        candidate.replay(0, encode(["promised", 1, 2]))
