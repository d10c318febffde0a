"""In which passes events are read from the log."""

from __future__ import annotations

import pytest

from stream_engine.shell.operating.log_events import NEAR, next_pass


@pytest.mark.parametrize(
    ("wanted", "read"),
    [
        ([7], range(7, 8)),
        ([7, 8, 9], range(7, 10)),
        ([7, 7 + NEAR, 7 + 2 * NEAR], range(7, 8 + 2 * NEAR)),
        ([7, 8 + NEAR], range(7, 8)),
        ([7, 9, 10 + NEAR, 11 + NEAR], range(7, 10)),
    ],
)
def test_what_is_near_is_read_in_one_pass(wanted: list[int], read: range) -> None:
    assert next_pass({0: wanted, 3: [1]}) == {0: read, 3: range(1, 2)}
