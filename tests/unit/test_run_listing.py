"""What a listing keeps in memory, and what it says it left out."""

from __future__ import annotations

from stream_engine.core.history import HistoryRecord, RunEnded, RunStarted
from stream_engine.core.run_listing import Listing, Selection


def _run(number: int) -> list[tuple[str, HistoryRecord]]:
    run = f"run{number}-0"
    return [
        (f"0.1.{number}.0", RunStarted(number, run, "f", "1", number, "e", f"e{number}", "t", 0, number)),
        (f"0.1.{number}.1", RunEnded(number + 1, run, "f", "1", "completed", number, 0)),
    ]


def _shown(listing: Listing) -> list[str]:
    return [run.run_id for run in listing.runs()]


def test_runs_that_have_ended_do_not_pile_up() -> None:
    listing = Listing(Selection(), limit=2)
    for number in range(100):
        for record_id, record in _run(number):
            listing.add(record_id, record)
    assert _shown(listing) == ["run99-0", "run98-0"]
    assert listing.left_out
    assert len(listing._index) == 2


def test_an_end_that_is_read_before_its_start_counts() -> None:
    listing = Listing(Selection(statuses={"running"}), limit=1)
    (started_id, started), (ended_id, ended) = _run(1)
    listing.add(ended_id, ended)
    listing.add(started_id, started)
    assert _shown(listing) == []


def test_a_run_from_before_the_history_that_was_read_is_in_no_listing() -> None:
    listing = Listing(Selection())
    listing.add(*_run(1)[1])
    assert _shown(listing) == []
    assert not listing.left_out
