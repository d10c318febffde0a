"""What steps of live runs came to, by the events of the runs: kept on disk, and asked for by event."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunStarted, StepRecorded
from stream_engine.core.stages.reuse import Taken, composition
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry
from stream_engine.shell.history.steps import Steps


def _started(run: str, offset: int, topic: str = "shop.events", **more: str) -> RunStarted:
    return RunStarted(1, run, "pay", "1", 1, "order/placed", f"e{offset}", topic, 0, offset, **more)


def _disposed(disposition: str, offset: int, run: str, detail: str = "") -> EventDisposed:
    return EventDisposed(1, "pay", "order/placed", f"e{offset}", "shop.events", 0, offset, disposition, run, detail)


def _step(run: str, step: str, status: str = "completed", function: str = "pay") -> StepRecorded:
    return StepRecorded(2, run, function, step, "run", status, 0, 1, None, f'"{run}/{step}"')


def _entries(*records: HistoryRecord) -> list[Entry]:
    return [Entry(f"0.1.{number}.0", record, 0, number) for number, record in enumerate(records, 1)]


def _of(*offsets: int) -> str:
    return composition(("shop.events", 0, offset) for offset in offsets)


def _results(taken: Taken | None) -> list[bytes]:
    assert taken is not None
    return [one.result for one in taken.steps]


@pytest.mark.parametrize("keeps_all", [False, True])
def test_a_run_s_steps_are_found_by_the_event_that_it_is_called_by(tmp_path: Path, keeps_all: bool) -> None:
    steps = Steps(tmp_path, "pay", lambda started: started.topic == "shop.events", keeps_all=keeps_all)
    records = _entries(
        _started("a-0", 7),
        _step("a-0", "z"),
        _step("a-0", "failed", "failed"),
        _step("a-0", "b"),
        _started("again-0", 7, rerun_of="a-0"),
        _step("again-0", "z"),
        _started("replayed-0", 7, replay_id="r"),
        _step("replayed-0", "z"),
        _started("elsewhere-0", 8, "orders"),
        _step("elsewhere-0", "z"),
        _disposed("coalesced", 1, "late-0", "with the event of a-0"),
        _disposed("queued", 2, "a-0"),
        _started("batch-0", 11),
        _disposed("batched", 10, "batch-0"),
        _disposed("batched", 12, "batch-0"),
        _disposed("duplicate", 13, "batch-0"),
        _step("batch-0", "z"),
        _step("other-0", "z", function="ship"),
    )
    steps.take(records)
    steps.take(records)
    assert list(tmp_path.iterdir()) == []
    alone = steps.get((0, 7))
    assert _results(alone) == [b'"a-0/z"', b'"a-0/b"']
    assert alone is not None
    assert alone.of == (_of(1, 7) if keeps_all else _of(7))
    of_many = steps.get((0, 11))
    assert _results(of_many) == [b'"batch-0/z"']
    assert of_many is not None
    assert of_many.of == _of(10, 11, 12)
    assert [steps.get((0, offset)) for offset in (8, 10, 13)] == [None, None, None]
    steps.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone"):
        Steps(tmp_path / "gone", "pay", lambda _: True, keeps_all=False)
