"""Which records of history say that a run has ended, or never begins; those who wait for it decode no others."""

import pytest

from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.records.journal import Mark
from stream_engine.core.views.answers import ended
from stream_engine.shell.history.codec import encode
from stream_engine.shell.operating.cancelling import is_end

RUN = "f00d-0"


def disposed(disposition: str, run_id: str = RUN) -> EventDisposed:
    return EventDisposed(9, "pay", "order", "7", "shop.events", 0, 7, disposition, run_id)


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (RunEnded(9, RUN, "pay", "1", "completed", 5, 0), "completed"),
        (RunEnded(9, RUN, "pay", "1", "timed_out", 5, 0), "timed_out"),
        (disposed("cancelled"), "cancelled"),
        (disposed("skipped"), "cancelled"),
        (disposed("rate-limited"), "cancelled"),
        (disposed("queued"), None),
        (disposed("duplicate"), None),
        (RunStarted(9, RUN, "pay", "1", 5, "order", "7", "shop.events", 0, 7), None),
    ],
)
def test_what_says_that_a_run_has_ended(record: HistoryRecord, status: str | None) -> None:
    [(key, value)] = encode(Told(Mark(1, 1, 1), [record]), 0)
    assert ended(record) == (None if status is None else (RUN, status))
    assert is_end(key, value) == (status is not None)
