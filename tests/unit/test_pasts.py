"""What history tells of runs, by run and on disk: whatever is read, in whatever order and how often."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted, StepRecorded
from stream_engine.core.views.rehearsal import SentEvent
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry
from stream_engine.shell.history.past import Pasts


def _started(run: str, offset: int, topic: str = "shop.events", **more: str) -> RunStarted:
    return RunStarted(1, run, "pay", "1", 1, "order/placed", f"e{offset}", topic, 0, offset, **more)


def _disposed(disposition: str, offset: int, run: str, detail: str = "", topic: str = "shop.events") -> EventDisposed:
    return EventDisposed(1, "pay", "order/placed", f"e{offset}", topic, 0, offset, disposition, run, detail)


def _entries(*records: HistoryRecord) -> list[Entry]:
    return [Entry(f"0.1.{number}.0", record) for number, record in enumerate(records, 1)]


def test_a_run_is_told_of_once_however_it_is_read(tmp_path: Path) -> None:
    records = _entries(
        _started("a-0", 7),
        StepRecorded(2, "a-0", "pay", "charge", "run", "completed", 0, 1, None, "1"),
        RunEnded(3, "a-0", "pay", "1", "completed", 1, 0, "2"),
        _started("b-0", 8, replay_id="r"),
        _started("c-0", 7, rerun_of="a-0"),
        replace(_disposed("batched", 9, "b-0"), replay_id="r"),
        replace(_disposed("batched", 9, "b-0", topic="others"), replay_id="r"),
    )
    with Pasts(tmp_path / "app", ["shop.events"]) as pasts:
        pasts.take(reversed(records))
        pasts.take(records)
        assert pasts.begun(("shop.events", 0, 7)) == [("pay", "a-0")]
        assert pasts.begun(("shop.events", 0, 8)) == []
        assert pasts.again(("shop.events", 0, 7), "pay") == ["c-0"]
        assert pasts.again(("shop.events", 0, 8), "pay") == ["b-0"]
        assert pasts.again(("shop.events", 0, 9), "pay") == [""]
        assert pasts.disposed(("shop.events", 0, 9)) == set()
        found = pasts.of("a-0")
        assert found is not None
        assert (found.status, list(found.steps), found.steps["charge"].result) == ("completed", ["charge"], "1")
        assert pasts.of("nobody-0") is None
        pasts.sent("a-0", SentEvent("k", "order/paid", None, b"{}"))
        again = pasts.of("a-0")
        assert again is not None
        assert list(again.sent) == ["k"]
        assert pasts.before(("shop.events", 0, 8)) == ["a-0"]
        assert pasts.before(("shop.events", 0, 7)) == []
    assert list((tmp_path / "app").iterdir()) == []


def test_runs_without_an_event_of_the_topic_are_given_once(tmp_path: Path) -> None:
    records = _entries(_started("a-0", 0, ""), _started("b-0", 7, "orders"), _started("c-0", 8))
    with Pasts(tmp_path, ["shop.events"]) as pasts:
        pasts.take(records)
        pasts.take(records)
        assert list(pasts.apart(invoked=True)) == ["a-0"]
        assert list(pasts.apart(invoked=False)) == ["b-0"]


def test_the_events_of_a_batch_are_in_the_order_in_which_they_were_taken(tmp_path: Path) -> None:
    records = _entries(_disposed("batched", 9, "a-0"), _disposed("batched", 8, "a-0"), _started("a-0", 7))
    with Pasts(tmp_path, ["shop.events"]) as pasts:
        pasts.take(records)
        for offset, value in ((7, b"own"), (8, b"second"), (9, b"first")):
            for run, told in pasts.members(("shop.events", 0, offset)) or [("a-0", -1)]:
                pasts.gather(run, told, ("shop.events", 0, offset), value)
        assert pasts.taken("a-0") == 2
        assert pasts.gathered("a-0") == [b"own", b"first", b"second"]
        assert pasts.disposed(("shop.events", 0, 8)) == {"pay"}


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_handler_has_the_error_of_a_run_that_timed_out(tmp_path: Path, *, has_begun: bool) -> None:
    late = Failure("TimeoutError", "it did not begin within 5 s")
    ended = RunEnded(2, "a-0", "pay", "1", "timed_out", 0, 0, error=late)
    first = _started("a-0", 7) if has_begun else _disposed("cancelled", 7, "a-0", late.message)
    handler = replace(_started("h-0", 7, of_run="a-0"), function="pay.on_failure")
    with Pasts(tmp_path, ["shop.events"]) as pasts:
        pasts.take(_entries(first, ended, handler))
        found = pasts.of("h-0")
        assert found is not None
        assert found.error == late


def test_a_coalesced_event_belongs_to_the_run_that_it_was_coalesced_with(tmp_path: Path) -> None:
    with Pasts(tmp_path, ["shop.events"]) as pasts:
        pasts.take(_entries(_disposed("coalesced", 7, "a-0", "with the event of b-0")))
        assert [run for run, _ in pasts.members(("shop.events", 0, 7))] == ["b-0"]


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="STREAM_ENGINE_STATE_DIR"), Pasts(tmp_path / "file", ["shop.events"]):
        pass
