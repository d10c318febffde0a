"""What history says of a replay: how far it is, whether anything is still to come, and what it waits for."""

from __future__ import annotations

from itertools import permutations

import pytest
from msgspec.structs import replace

from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.routing.replay import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    PAUSED,
    Counts,
    Found,
    Replay,
    Tally,
    end_and_lag,
    seems_over,
    status,
    waits_for,
)

REPLAY = Replay("r", "pay", "shop.events", "E", 0, 9, {0: (0, 9)}, 10, 3)


def _disposed(disposition: str, offset: int, run: str = "", at: int = 1, function: str = "pay") -> EventDisposed:
    return EventDisposed(
        *(at, function, "order", f"e{offset}", "shop.events", 0, offset, disposition, run), replay_id="r"
    )


def _started(run: str, offset: int, function: str = "pay", topic: str = "shop.events") -> RunStarted:
    return RunStarted(3, run, function, "1", 1, "order", f"e{offset}", topic, 0, offset, replay_id="r")


def _ended(run: str, status: str = "completed") -> RunEnded:
    return RunEnded(4, run, "pay", "1", status, 3, 0, replay_id="r")


def _counted(*records: HistoryRecord) -> Counts:
    """Return the counts, which are the same in whatever order history is read."""
    found = list[Counts]()
    for order in list(permutations(records))[:200]:
        tally = Tally()
        for record in order * 2:
            tally.add(record)
        found.append(tally.of(REPLAY))
    assert all(one == found[0] for one in found)
    return found[0]


@pytest.mark.parametrize(
    ("records", "counts"),
    [
        ([], Counts(0, 0, 0, 0)),
        ([_disposed("queued", 0)], Counts(1, 1, 0, 0, 1, {"queued": 1})),
        ([_disposed("queued", 0), _disposed("delayed", 0, "a-0", 2)], Counts(1, 1, 0, 0, 1, {"delayed": 1})),
        ([_disposed("queued", 0), _started("a-0", 0)], Counts(1, 1, 0, 0, 0, {"started": 1})),
        ([_disposed("queued", 0), _started("a-0", 0), _ended("a-0", "failed")], Counts(1, 1, 1, 1, 0, {"started": 1})),
        *(
            ([_started("a-0", 0), _ended("a-0", end)], Counts(1, 1, 1, failed, 0, {"started": 1}))
            for end, failed in (("completed", 0), ("cancelled", 0), ("timed_out", 1))
        ),
        # Of a batch, the second event waited for its time first, under the name of the run that it did not get.
        (
            [
                *(
                    _disposed("queued", 0, "a-0", 2),
                    _disposed("delayed", 1, "b-0", 1),
                    _disposed("queued", 1, "a-0", 2),
                ),
                _disposed("batched", 1, "a-0", 3),
                _started("a-0", 0),
            ],
            Counts(2, 1, 0, 0, 0, {"batched": 1, "started": 1}),
        ),
        # The run of a debounce that keeps all is called by the first event, whose disposition is not that it started it.
        (
            [_disposed("coalesced", 0, "a-0", 3), _disposed("queued", 1, "a-0", 2)],
            Counts(2, 1, 0, 0, 1, {"coalesced": 1, "queued": 1}),
        ),
        (
            [_disposed("coalesced", 0, "a-0", 3), _started("a-0", 1), _ended("a-0")],
            Counts(2, 1, 1, 0, 0, {"coalesced": 1, "started": 1}),
        ),
        (
            [_disposed("rate-limited", 0, "a-0", 3), _disposed("queued", 0, "a-0", 2)],
            Counts(1, 0, 0, 0, 0, {"rate-limited": 1}),
        ),
        (
            [_disposed("skipped", 0), _disposed("skipped", 1), _started("a-0", 2)],
            Counts(3, 1, 0, 0, 0, {"skipped": 2, "started": 1}),
        ),
        ([_disposed("dead-lettered", 2)], Counts(1, 0, 0, 0, 0, {"dead-lettered": 1})),
        # The function was paused, and another one too, for which a run had sent something.
        (
            [_disposed("paused", 0), _started("a-0", 1), _disposed("paused", 2, function="ship")],
            Counts(2, 1, 0, 0, 0, {"paused": 1, "started": 1}),
        ),
        # What the runs have sent, and what they invoke, which has no place.
        ([_disposed("queued", 12, function="ship")], Counts(0, 1, 0, 0, 1)),
        ([_started("c-0", 0, "ship", ""), _started("d-0", 1, "ship", ""), _ended("d-0")], Counts(0, 2, 1, 0)),
    ],
)
def test_what_has_come_of_a_replay_is_counted_in_any_order(records: list[HistoryRecord], counts: Counts) -> None:
    assert _counted(*records) == counts


def test_a_replay_seems_over_when_nothing_is_known_to_be_left() -> None:
    assert not seems_over(REPLAY, Counts(2, 2, 2, 0), routed=False)
    assert seems_over(REPLAY, Counts(2, 2, 2, 0), routed=True)
    assert seems_over(REPLAY, Counts(3, 2, 2, 0), routed=False)
    assert not seems_over(REPLAY, Counts(3, 2, 1, 0), routed=True)
    assert not seems_over(REPLAY, Counts(3, 2, 2, 0, 1), routed=True)
    assert [status(REPLAY), status(replace(REPLAY, state=CANCELLED))] == ["running", "cancelled"]


@pytest.mark.parametrize(
    ("counts", "found", "words"),
    [
        (Counts(1, 1, 1, 0), Found(routed=False, workers=0, members=0, is_gone=True), "none serves the app"),
        (Counts(1, 1, 1, 0), Found(routed=False, workers=2, members=0, is_gone=True), "cancel it"),
        (Counts(1, 1, 1, 0), Found(routed=False, workers=2, members=0, is_gone=False), "why none has begun"),
        (
            Counts(1, 1, 1, 0),
            Found(routed=False, workers=2, members=2, is_gone=False),
            "2 events that have not come to anything yet; they come",
        ),
        (Counts(1, 1, 0, 0), Found(routed=True, workers=2, members=0, is_gone=False), "1 runs that have not ended"),
        (Counts(3, 1, 1, 0, 4), Found(routed=False, workers=2, members=2, is_gone=False), "4 runs"),
        (Counts(3, 1, 1, 0), Found(routed=True, workers=2, members=0, is_gone=False), "they are not routed"),
    ],
)
def test_what_a_replay_waits_for_is_said(counts: Counts, found: Found, words: str) -> None:
    assert words in waits_for(REPLAY, counts, found, "they are not routed")


def test_of_a_rewind_it_is_counted_what_became_of_the_events_of_all_functions() -> None:
    tally = Tally()
    for record in (_disposed("paused", 0), _disposed("paused", 0, function="ship"), _disposed("coalesced", 1)):
        tally.add(record)
    tally.add(_disposed("dead-lettered", 2, function="ship"))
    tally.add(_started("a-0", 2, "ship:on_failure"))
    tally.add(_started("b-0", 2, "invoked", topic=""))
    counts = tally.of(replace(REPLAY, function=""))
    assert list(counts.dispositions.items()) == [("paused", 2), ("coalesced", 1), ("dead-lettered", 1)]


@pytest.mark.parametrize(
    ("state", "offset", "lag"),
    [
        *(
            (state, offset, lag)
            for state in (ACTIVE, PAUSED)
            for offset, lag in ((None, None), (2, 7), (9, 0), (12, 0))
        ),
        *((state, offset, None) for state in (COMPLETED, CANCELLED) for offset in (None, 2, 9)),
    ],
)
def test_a_replay_lags_behind_the_end_of_its_range_while_it_goes_on(
    state: str, offset: int | None, lag: int | None
) -> None:
    made = replace(REPLAY, state=state)
    assert end_and_lag(made, 0, offset) == (9, lag)
    assert end_and_lag(made, 1, None) == (0, None)
