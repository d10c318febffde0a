"""What history's records come to: statuses, what a run waits for, and the document that ``--json`` prints."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.instants import iso
from stream_engine.core.records.history import (
    EventDisposed,
    HistoryRecord,
    RunChanged,
    RunEnded,
    RunStarted,
    StepRecorded,
)
from stream_engine.core.views.run_document import document
from stream_engine.core.views.runs import STATUSES, RunIndex, fold, journal_place

RUN = "abc-3"
T = 1_790_000_000_000
FAILURE = Failure("GatewayError", "503", "Traceback ...")

DELAYED = EventDisposed(T, "f", "e", "id-1", "shop.events", 0, 7, "delayed", RUN, f"{T + 1}", "r1")
STARTED = RunStarted(T + 1, RUN, "f", "1", T, "e", "id-1", "shop.events", 0, 7, "k", "r1")
ENDED = RunEnded(T + 99, RUN, "f", "2", "completed", T + 1, 1, '{"total":1.0}', None, "r1")


def _step(name: str, status: str, attempt: int = 0, at: int = 10, wake_at: int | None = None) -> StepRecorded:
    error = FAILURE if status in {"failed", "retrying"} else None
    kind = "sleep" if status == "sleeping" else "run"
    return StepRecorded(T + at, RUN, "f", name, kind, status, attempt, T + at - 5, wake_at, None, error)


def _change(change: str, version: str = "1", attempt: int = 0, wake_at: int | None = None) -> RunChanged:
    error = FAILURE if change == "retrying" else None
    return RunChanged(T + 50, RUN, "f", version, change, attempt, wake_at, "", error)


def _disposed(disposition: str, detail: str = "") -> EventDisposed:
    return EventDisposed(T, "f", "e", "id-1", "shop.events", 0, 7, disposition, RUN, detail)


@pytest.mark.parametrize(
    ("records", "status", "waiting_on"),
    [
        ([DELAYED], "queued", "its time, 2026-09-21T14:13:20.001Z"),
        ([_disposed("delayed")], "queued", "its time"),
        ([_disposed("queued")], "queued", "its turn"),
        ([_disposed("queued", "concurrency of 10")], "queued", "concurrency of 10"),
        ([_disposed("cancelled")], "cancelled", None),
        ([DELAYED, STARTED], "running", None),
        ([STARTED, _step("a", "completed")], "running", None),
        ([STARTED, _step("a", "failed")], "running", None),
        ([STARTED, _step("a", "sleeping", wake_at=T + 60)], "sleeping", "step a until 2026-09-21T14:13:20.060Z"),
        ([STARTED, _step("a", "sleeping", wake_at=T + 60), _step("a", "completed")], "running", None),
        ([STARTED, _step("a", "retrying", wake_at=T + 60)], "waiting", "retry 1 of step a at 2026-09-21T14:13:20.060Z"),
        ([STARTED, _step("a", "retrying", wake_at=T + 60), _step("a", "completed", 1)], "running", None),
        (
            [STARTED, _step("a", "sleeping", wake_at=T + 90), _step("b", "retrying", 1, wake_at=T + 60)],
            "sleeping",
            "retry 2 of step b at 2026-09-21T14:13:20.060Z",
        ),
        ([STARTED, _change("queued"), _change("running")], "running", None),
        ([STARTED, _change("retrying", attempt=1, wake_at=T + 60)], "waiting", "retry 1 of its function at 2026-09-21T14:13:20.060Z"),
        ([STARTED, _change("retrying", attempt=1), _change("running", attempt=1)], "running", None),
        ([_change("parked", version="")], "waiting", "no code"),
        ([STARTED, _step("a", "sleeping", wake_at=T + 60), _change("queued")], "queued", "its turn"),
        ([STARTED, _change("parked"), _change("moved", version="2")], "waiting", "no code"),
        ([STARTED, _change("parked"), _change("moved", version="2"), _change("running", version="2")], "running", None),
        ([STARTED, _step("a", "sleeping"), ENDED], "completed", None),
        ([STARTED, _step("a", "interrupted"), replace(_change("stopping"), detail="ada")], "running", "its code to stop: ada"),
        ([STARTED, _step("a", "interrupted"), replace(_change("stopping"), detail="ada"), ENDED], "completed", None),
    ],
)  # fmt: skip
def test_status(records: list[HistoryRecord], status: str, waiting_on: str | None) -> None:
    run = fold(RUN, records)
    assert (run.status, run.waiting_on) == (status, waiting_on)
    assert run.status in STATUSES


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "timed_out"])
def test_an_end_is_a_status(status: str) -> None:
    assert fold(RUN, [STARTED, msgspec.structs.replace(ENDED, status=status)]).status == status


def test_the_document_of_a_run() -> None:
    failed = _step("a", "retrying", at=20, wake_at=T + 60)
    done = msgspec.structs.replace(_step("a", "completed", 1, at=70), result="[1, 2]")
    late = _step("z", "completed", at=8)
    run = document(fold(RUN, [DELAYED, STARTED, failed, done, late, ENDED]))
    assert msgspec.json.decode(msgspec.json.encode(run)) == {
        "run_id": RUN,
        "function": "f",
        "version": "2",
        "status": "completed",
        "event_id": "id-1",
        "event_name": "e",
        "key": "k",
        "replay_id": "r1",
        "created_at": "2026-09-21T14:13:20.000Z",
        "started_at": "2026-09-21T14:13:20.001Z",
        "ended_at": "2026-09-21T14:13:20.099Z",
        "attempt": 1,
        "result": {"total": 1.0},
        "error": None,
        "waiting_on": None,
        "steps": [
            {
                "id": "z",
                "kind": "run",
                "status": "completed",
                "attempt": 0,
                "started_at": "2026-09-21T14:13:20.003Z",
                "ended_at": "2026-09-21T14:13:20.008Z",
                "result": None,
                "error": None,
            },
            {
                "id": "a",
                "kind": "run",
                "status": "completed",
                "attempt": 1,
                "started_at": "2026-09-21T14:13:20.015Z",
                "ended_at": "2026-09-21T14:13:20.070Z",
                "result": [1, 2],
                "error": None,
            },
        ],
    }


def test_a_step_that_is_not_settled_has_not_ended_and_tells_its_error() -> None:
    run = document(fold(RUN, [STARTED, _step("a", "retrying"), _step("nap", "sleeping")]))
    ends = {step["id"]: (step["status"], step["ended_at"], step["error"]) for step in run["steps"]}
    error = {"type": "GatewayError", "message": "503", "traceback": "Traceback ..."}
    assert ends == {"a": ("retrying", None, error), "nap": ("sleeping", None, None)}


def test_an_error_is_shown_until_the_next_attempt() -> None:
    retrying = fold(RUN, [STARTED, _change("retrying", attempt=1)])
    assert retrying.error == FAILURE
    assert fold(RUN, [STARTED, _change("retrying", attempt=1), _change("running", attempt=1)]).error is None


def test_what_was_parked_at_birth_was_created_then() -> None:
    assert fold(RUN, [_change("parked", version="")]).created_at == T + 50


def test_without_its_start_a_run_tells_what_it_can() -> None:
    run = document(fold(RUN, [ENDED]))
    assert (run["created_at"], run["event_id"], run["function"]) == (None, None, "f")
    assert run["started_at"] == "2026-09-21T14:13:20.001Z"


@pytest.mark.parametrize("disposition", ["duplicate", "skipped", "paused", "rate-limited", "coalesced"])
def test_a_disposition_that_makes_no_run_makes_none(disposition: str) -> None:
    index = RunIndex()
    index.add("3.1.1.0", _disposed(disposition))
    assert index.get(RUN) is None


@pytest.mark.parametrize("disposition", ["skipped", "rate-limited", "coalesced", "paused"])
def test_a_run_that_waited_is_gone_once_its_event_has_another_disposition(disposition: str) -> None:
    index = RunIndex()
    index.add("3.1.1.0", replace(_disposed("queued"), gate="debounce", gate_key="7", gate_id="6a7e", earliest=T + 9))
    waiting = index.get(RUN)
    assert waiting is not None
    assert (waiting.status, waiting.waiting_on) == (
        "queued",
        "debounce of 7, since 2026-09-21T14:13:20.000Z, not before 2026-09-21T14:13:20.009Z",
    )
    index.add("3.1.2.0", _disposed(disposition))
    assert index.get(RUN) is None


def test_a_run_that_gave_its_slot_back_waits_at_its_gate_again() -> None:
    queued = replace(_change("queued"), gate="concurrency", wake_at=None, gate_id="6a7e", order=7)
    run = fold(RUN, [STARTED, queued])
    assert (run.status, run.waiting_on) == ("queued", "concurrency, since 2026-09-21T14:13:20.050Z")
    assert fold(RUN, [STARTED, queued, _change("running")]).gate is None


def test_the_index_orders_places_as_numbers() -> None:
    index = RunIndex()
    index.add("3.9.1.0", STARTED)
    index.add("3.10.1.0", ENDED)
    run = index.get(RUN)
    assert run is not None
    assert run.status == "completed"
    assert journal_place("3.10.1.0") > journal_place("3.9.12.4")


def test_where_a_run_waited_before_it_came_home_says_nothing_of_it_afterwards_whichever_terms_the_partitions_have() -> (
    None
):
    here, home = ("4", "5"), RUN.rpartition("-")[2]
    told: dict[str, HistoryRecord] = {
        f"{here[0]}.1.7.0": replace(_disposed("delayed"), detail=str(T + 5)),
        f"{here[1]}.900.1.0": replace(
            _disposed("queued"), gate="debounce", gate_key="7", gate_id="6a7e", earliest=T + 9
        ),
        f"{home}.3.1.0": STARTED,
        f"{home}.3.2.0": ENDED,
    }
    for seen, status in ((1, "queued"), (2, "queued"), (3, "running"), (4, "completed")):
        for order in permutations(list(told.items())[:seen]):
            index = RunIndex()
            for record_id, record in order:
                index.add(record_id, record)
            run = index.get(RUN)
            assert run is not None
            assert run.status == status


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (T + 123, "2026-09-21T14:13:20.123Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (2**53, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_iso(at: int, text: str) -> None:
    assert iso(at) == text
