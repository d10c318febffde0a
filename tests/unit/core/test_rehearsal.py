"""How a course of code differs from a run's past."""

from typing import Final

import pytest
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.records.history import HistoryRecord, RunEnded, RunStarted, StepRecorded
from stream_engine.core.views.rehearsal import Course, Past, SentEvent, canonical, cut, past

_RUN: Final = "mfrggzdfmztwq2lknnwg23tp-3"
_STARTED: Final = RunStarted(100, _RUN, "pay", "1", 90, "order/placed", "order-7", "shop.events", 0, 7)


def _step(
    name: str, start: int, end: int, result: str = "1", *, kind: str = "run", status: str = "completed"
) -> StepRecorded:
    return StepRecorded(end, _RUN, "pay", name, kind, status, 0, start, None, result)


def _ended(
    status: str = "completed", result: str | None = '{"a": 1, "b": 2}', error: Failure | None = None
) -> RunEnded:
    return RunEnded(200, _RUN, "pay", "1", status, 100, 0, result, error)


def _past(*records: HistoryRecord) -> Past:
    found = past([_STARTED, *records])
    assert found is not None
    return found


def _course(*records: HistoryRecord) -> Course:
    return Course(_past(*records))


def _walk(course: Course, *steps: str) -> None:
    for step in steps:
        course.asks(step, "run")
        course.answered(step)


_TWO: Final = (_step("load", 110, 120), _step("charge", 120, 130), _ended())


def test_the_same_steps_and_the_same_result_differ_in_nothing() -> None:
    course = _course(*_TWO)
    _walk(course, "load", "charge")
    course.ends(_ended(result='{"b":2,"a":1}'))
    assert (course.difference, course.over) == (None, True)


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (_ended(result='{"a":1,"b":2.0}'), 'result: was {"a": 1, "b": 2}, would be {"a":1,"b":2.0}'),
        (_ended("failed", None, Failure("KeyError", "'b'")), "status: was completed, would be failed, KeyError: 'b'"),
    ],
)
def test_another_end_differs(ended: RunEnded, told: str) -> None:
    course = _course(*_TWO)
    _walk(course, "load", "charge")
    course.ends(ended)
    assert str(course.difference) == told


def test_another_error_differs_and_the_same_does_not() -> None:
    failed = _ended("failed", None, Failure("KeyError", "'b'", "line 3"))
    for error, told in (
        (Failure("KeyError", "'b'", "line 9"), "None"),
        (Failure("KeyError", "'c'"), "error: was KeyError: 'b', would be KeyError: 'c'"),
    ):
        course = _course(failed)
        course.ends(replace(failed, error=error))
        assert str(course.difference) == told


def test_a_step_that_history_has_not_is_where_it_differs_once_nothing_else_goes_on() -> None:
    course = _course(*_TWO)
    _walk(course, "load")
    course.asks("charge-2", "run")
    assert course.difference is None
    course.waits()
    assert str(course.difference) == "new step charge-2 (run): was charge (run)"
    more = _course(*_TWO)
    _walk(more, "load", "charge")
    more.asks("ship", "invoke")
    more.waits()
    assert str(more.difference) == "new step ship (invoke): was its end"


def test_what_was_left_behind_without_an_outcome_may_be_left_behind_again() -> None:
    course = _course(_step("first", 110, 120), _ended())
    course.asks("first", "run")
    course.asks("second", "run")
    course.answered("first")
    course.ends(_ended())
    assert course.difference is None


def test_a_step_that_is_left_out_differs() -> None:
    course = _course(*_TWO)
    _walk(course, "load")
    course.ends(_ended())
    assert str(course.difference) == "step left out charge (run): was 1"


@pytest.mark.parametrize(
    ("records", "error", "told"),
    [
        (_TWO, "'b'", "status: was completed, would be failed, KeyError: 'b'"),
        (_TWO[:2], "'b'", "status: was running, would be failed, KeyError: 'b'"),
        ((*_TWO[:2], _ended("failed", None, Failure("KeyError", "'b'"))), "'b'", "step left out charge (run): was 1"),
        (
            (*_TWO[:2], _ended("failed", None, Failure("KeyError", "'b'"))),
            "'c'",
            "status: was failed, KeyError: 'b', would be failed, KeyError: 'c'",
        ),
    ],
)
def test_code_that_fails_before_a_step_differs_by_that(
    records: tuple[HistoryRecord, ...], error: str, told: str
) -> None:
    course = _course(*records)
    _walk(course, "load")
    course.ends(_ended("failed", None, Failure("KeyError", error)))
    assert str(course.difference) == told


def test_another_kind_of_step_differs() -> None:
    course = _course(*_TWO)
    course.asks("load", "")
    assert course.difference is None
    course.asks("load", "sleep", 5)
    assert str(course.difference) == "kind of step load: was run, would be sleep"


def test_steps_in_another_order_differ_and_side_by_side_do_not() -> None:
    swapped = _course(*_TWO)
    _walk(swapped, "charge", "load")
    assert str(swapped.difference) == "order of steps load (run): was before charge, would be after charge"
    beside = _course(*_TWO)
    for name in ("charge", "load"):
        beside.asks(name, "run")
    for name in ("load", "charge"):
        beside.answered(name)
    assert beside.difference is None
    # Steps that ran at the same time have no order.
    together = _course(_step("load", 110, 120), _step("charge", 110, 130), _ended())
    _walk(together, "charge", "load")
    assert together.difference is None


def test_the_order_begins_anew_with_each_execution() -> None:
    course = _course(*_TWO)
    _walk(course, "load", "charge")
    course.begin()
    _walk(course, "load", "charge")
    assert course.difference is None


def test_a_sleep_differs_by_how_long_it_was_to_be() -> None:
    asleep = replace(_step("nap", 110, 110, kind="sleep", status="sleeping"), result=None, wake_at=3_600_110)
    awake = _step("nap", 110, 9_999_999, "null", kind="sleep")
    for delay, told in ((3_600_000, "None"), (None, "None"), (7_200_000, "sleep nap: was 3600 s, would be 7200 s")):
        course = _course(asleep, awake, _ended())
        course.asks("nap", "sleep", delay)
        assert str(course.difference) == told


def test_an_invoke_differs_by_the_function() -> None:
    known = replace(_past(_step("ask", 110, 120, kind="invoke"), _ended()), invoked={"ask": "check_fraud"})
    for function, told in (
        ("check_fraud", "None"),
        (None, "None"),
        ("other", "invoked function ask: was check_fraud, would be other"),
    ):
        course = Course(known)
        course.asks("ask", "invoke", function)
        assert str(course.difference) == told


_PAID: Final = SentEvent("k-0", "order/paid", b"7", b'{"id": 7, "total": 10}')


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([_PAID._replace(data=b'{"total":10,"id":7}')], "None"),
        ([_PAID._replace(data=b'{"id":7,"total":11}')], 'sent event tell: was order/paid {"id": 7, "total": 10}, would be order/paid {"id":7,"total":11}'),
        ([_PAID._replace(name="order/settled")], 'sent event tell: was order/paid {"id": 7, "total": 10}, would be order/settled {"id": 7, "total": 10}'),
        ([_PAID._replace(key=b"8")], "sent event tell: was order/paid"),
        ([_PAID._replace(id="x")], "sent event tell: was id k-0, would be id x"),
        ([], 'sent event tell: was order/paid {"id": 7, "total": 10}, would be none'),
        ([_PAID, _PAID._replace(id="k-1")], "sent event tell: was none, would be order/paid"),
    ],
)  # fmt: skip
def test_sent_events_differ(events: list[SentEvent], told: str) -> None:
    known = replace(_past(_step("tell", 110, 120, '["k-0"]', kind="send_event"), _ended()), sent={"k-0": _PAID})
    course = Course(known)
    course.sends("tell", events)
    assert str(course.difference).startswith(told)


def test_of_a_run_that_goes_on_the_beginning_is_compared() -> None:
    waiting = replace(_step("nap", 130, 130, kind="sleep", status="sleeping"), result=None, wake_at=9_000)
    here = _course(_step("load", 110, 120), waiting)
    _walk(here, "load")
    here.asks("nap", "sleep", 8_870)
    here.waits()
    assert here.difference is None
    beyond = _course(_step("load", 110, 120))
    _walk(beyond, "load")
    beyond.asks("charge", "run")
    beyond.waits()
    assert beyond.difference is None
    elsewhere = _course(_step("load", 110, 120), waiting)
    elsewhere.asks("fetch", "run")
    elsewhere.waits()
    assert str(elsewhere.difference) == "new step fetch (run): was load (run)"
    gone = _course(_step("load", 110, 120), waiting)
    _walk(gone, "load")
    gone.ends(_ended())
    assert str(gone.difference) == "step left out nap (sleep)"


def test_how_somebody_else_ended_a_run_is_not_compared() -> None:
    course = _course(_step("load", 110, 120), _ended("cancelled", None))
    _walk(course, "load")
    course.ends(_ended())
    assert course.difference is None


def test_code_that_never_ends_differs() -> None:
    course = _course(*_TWO)
    course.never_ends(10)
    assert str(course.difference) == "no end: was completed, would be nothing in 10 s outside of steps"


def test_the_first_difference_is_told() -> None:
    course = _course(*_TWO)
    course.asks("load", "sleep", 5)
    course.ends(_ended("failed", None, Failure("KeyError", "'b'")))
    assert course.difference is not None
    assert course.difference.what == "kind of step"


def test_attempts_of_a_step_are_one() -> None:
    tried = replace(_step("load", 110, 115, status="retrying"), error=Failure("OSError", "away"), wake_at=300)
    again = replace(_step("load", 300, 310), attempt=1)
    step = _past(tried, again).steps["load"]
    assert (step.started_at, step.at, step.attempt, step.status) == (110, 310, 1, "completed")
    assert past([_ended()]) is None


def test_values_are_compared_as_values_and_shown_cut_short() -> None:
    assert canonical('{"a":1,"b":[1,2]}') == canonical(b'{ "b": [1, 2], "a": 1 }')
    assert canonical("1") != canonical("1.0")
    assert canonical(None) is None
    assert cut("x" * 5_000) == "x" * 120 + "... (5,000 characters)"
