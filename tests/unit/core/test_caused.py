"""What one event causes: which functions have answered, and with what."""

import pytest
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted, StepRecorded
from stream_engine.core.views.caused import Caused, Place

PLACE = Place("shop.events", 3, 7)
PAY, SHIP = "a" * 24 + "-1", "b" * 24 + "-1"
FAILURE = Failure("GatewayError", "503", "")


def caused(*records: HistoryRecord) -> Caused:
    found = Caused(PLACE, {"pay": PAY, "ship": SHIP})
    for number, record in enumerate(records):
        found.add(f"1.0.{number}.0", record)
    return found


def started(run: str, function: str) -> RunStarted:
    return RunStarted(10, run, function, "1", 10, "order/placed", "shop.events/3/7", *PLACE)


def ended(run: str, function: str, status: str = "completed") -> RunEnded:
    return RunEnded(20, run, function, "1", status, 10, 0, error=FAILURE if status == "failed" else None)


def disposed(disposition: str, run: str = "", place: Place = PLACE) -> EventDisposed:
    return EventDisposed(10, "pay", "order/placed", "o1", *place, disposition, run, "15")


def test_every_function_is_waited_for() -> None:
    assert caused().pending() == ["pay", "ship"]
    assert not list(caused().says())
    half = caused(started(PAY, "pay"), ended(PAY, "pay"), started(SHIP, "ship"))
    assert half.pending() == ["ship"]
    assert not half.succeeded
    assert dict(half.says()) == {"pay": "completed", "ship": "running"}
    assert [run.status for run in half.runs()] == ["completed", "running"]


@pytest.mark.parametrize(("status", "succeeded"), [("completed", True), ("failed", False), ("cancelled", False)])
def test_only_completed_runs_are_a_success(status: str, succeeded: bool) -> None:
    found = caused(ended(PAY, "pay", status), ended(SHIP, "ship"))
    assert found.pending() == []
    assert found.succeeded is succeeded


def test_what_a_run_waits_for_is_said() -> None:
    sleeping = StepRecorded(12, PAY, "pay", "nap", "sleep", "sleeping", 0, 11, 5_000)
    assert dict(caused(started(PAY, "pay"), sleeping).says()) == {
        "pay": "sleeping, step nap until 1970-01-01T00:00:05.000Z"
    }


def test_a_delayed_event_has_not_answered() -> None:
    found = caused(disposed("delayed", PAY))
    assert found.pending() == ["pay", "ship"]
    assert dict(found.says()) == {"pay": "queued, its time, 1970-01-01T00:00:00.015Z"}


def test_a_disposition_without_a_run_is_an_answer() -> None:
    found = caused(disposed("rate-limited"), ended(SHIP, "ship"))
    assert found.pending() == []
    assert found.succeeded
    assert dict(found.says())["pay"] == "rate-limited: it gets no run"


def test_a_duplicate_waits_for_the_run_of_the_earlier_event() -> None:
    other = "c" * 24 + "-5"
    found = caused(disposed("duplicate", other), ended(SHIP, "ship"))
    assert found.missing() == [other]
    assert found.pending() == ["pay"]
    found.add("5.0.1.0", started(other, "pay"))
    assert found.missing() == []
    assert found.pending() == ["pay"]
    found.add("5.0.2.0", ended(other, "pay"))
    assert found.succeeded
    assert dict(found.says())["pay"] == "completed, a duplicate: an earlier event started this run"


def test_a_duplicate_whose_run_history_has_forgotten_is_an_answer() -> None:
    found = caused(replace(disposed("duplicate", PAY), detail=""), ended(SHIP, "ship"))
    found.give_up(PAY)
    assert (found.missing(), found.pending()) == ([], [])
    assert dict(found.says())["pay"] == "a duplicate"


def test_a_duplicate_of_an_event_that_another_run_has_says_of_which() -> None:
    found = caused(replace(disposed("duplicate", PAY), detail="of event order-6"))
    found.give_up(PAY)
    assert dict(found.says())["pay"] == "a duplicate of event order-6"


def test_what_became_of_other_events_is_passed_over() -> None:
    found = caused(disposed("rate-limited", place=Place("shop.events", 3, 8)), ended("d" * 24 + "-1", "pay"))
    assert found.pending() == ["pay", "ship"]
    assert found.runs() == []


def test_an_event_that_another_run_took_has_an_answer_although_it_waited_before() -> None:
    found = caused(disposed("queued", PAY), disposed("batched", "c" * 24 + "-5"), ended(SHIP, "ship"))
    assert found.pending() == []
    assert found.succeeded
    assert [run.function for run in found.runs()] == ["ship"]
    assert dict(found.says())["pay"] == f"batched: the run {'c' * 24}-5 has it"


def test_the_run_of_several_events_may_have_the_name_that_another_one_gave_it() -> None:
    other = "c" * 24 + "-5"
    found = caused(disposed("queued", other), started(other, "pay"), ended(SHIP, "ship"))
    assert found.pending() == ["pay"]
    found.add("1.0.9.0", ended(other, "pay"))
    assert found.succeeded
    assert [run.run_id for run in found.runs()] == [other, SHIP]


def test_a_dead_letter_of_a_function_is_an_answer_and_no_success() -> None:
    told = replace(disposed("dead-lettered"), detail="concurrency: there is no field 'x'")
    found = caused(ended(SHIP, "ship"), told, replace(told, function="somebody", detail="else's"))
    assert found.pending() == []
    assert not found.succeeded
    assert dict(found.says())["pay"] == "dead-lettered: concurrency: there is no field 'x'"


def test_an_event_that_was_taken_out_of_a_batch_is_no_success_of_that() -> None:
    taken_out = replace(disposed("cancelled"), detail="event lost")
    found = caused(taken_out, started(SHIP, "ship"), ended(SHIP, "ship"), ended(PAY, "pay"))
    assert found.pending() == []
    assert [run.run_id for run in found.runs()] == [SHIP]
    assert not found.succeeded
    assert dict(found.says())["pay"] == "cancelled: event lost"


def test_an_event_of_a_batch_that_is_cancelled_says_why() -> None:
    found = caused(replace(disposed("cancelled", "c" * 24 + "-5"), detail="ada"), ended(SHIP, "ship"))
    assert (found.pending(), found.succeeded) == ([], False)
    assert dict(found.says())["pay"] == "cancelled: ada"
