"""What `check` is asked for, and what it says of runs that it could not look at."""

from __future__ import annotations

from typing import Any

import pytest

from stream_engine.cli.checking import Gone, Wanted, gone
from stream_engine.core.records.history import RunEnded, RunStarted
from stream_engine.core.views.rehearsal import Past

_SINCE, _UNTIL = 100, 200


def _past(created_at: int, status: str = "completed") -> Past:
    started = RunStarted(created_at, "a-0", "pay", "1", created_at, "order/placed", "e-1", "shop.events", 0, 7)
    return Past(started, {}, RunEnded(created_at, "a-0", "pay", "1", status, created_at, 0), "1")


@pytest.mark.parametrize(
    ("filters", "is_wanted"),
    [
        ({}, True),
        ({"function": "pay", "statuses": ("failed", "completed"), "event": "e-1"}, True),
        ({"function": "ship"}, False),
        ({"statuses": ("failed",)}, False),
        ({"event": "e-2"}, False),
    ],
)
def test_a_run_that_was_not_looked_at_is_told_of_if_the_filters_take_it(
    filters: dict[str, Any], is_wanted: bool
) -> None:
    wanted = Wanted(_SINCE, _UNTIL, **filters)
    assert wanted.means(_past(150)) is is_wanted
    assert [wanted.means_apart(_past(at)) for at in (99, 100, 199, 200)] == [False, is_wanted, is_wanted, False]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({0: 0, 1: 100}, None),
        ({0: 0, 1: 101, 2: 150}, Gone("shop.events", [1, 2], 150)),
        # There is no time to begin at instead.
        ({0: 101, 1: 200}, Gone("shop.events", [0, 1], None)),
    ],
)
def test_it_is_said_what_is_gone_of_the_time(there: dict[int, int], expected: Gone | None) -> None:
    assert gone("shop.events", there, Wanted(_SINCE, _UNTIL)) == expected
