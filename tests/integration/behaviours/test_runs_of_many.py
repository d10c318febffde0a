"""Whoever started one of several that make one run is told of it, on a real broker, whichever of them the run is called by or is of."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from stream_engine import RunCancelled, SharedRunError
from tests.integration.behaviours.served import Here
from tests.workers import until

_NOW = datetime.now(UTC)


def start(served: Here, *numbers: int, ts: datetime | None = None) -> list[Any]:
    """Start so many, one after the other, once the one before has come to the batch; return their handles."""
    handles = []
    for number in numbers:
        id = uuid4().hex
        handles.append(served.app.together.start_sync({"i": number}, id=id, ts=ts))
        served.told("EventDisposed", event_id=id)
    return handles


def told(handles: list[Any]) -> list[Any]:
    """Return what handles are told: a result, or why there is none. Those that ask once more hear the same."""

    def one(handle: Any) -> Any:
        try:
            return handle.result(timeout="60s")
        except RunCancelled as error:
            assert handle.status() == "cancelled"
            return error.reason

    answers = [one(handle) for handle in handles]
    assert [one(handle) for handle in handles] == answers
    return answers


def cannot_be_cancelled(handle: Any) -> bool:
    """Return whether that is known by now."""
    try:
        handle.cancel()
    except SharedRunError:
        return True
    return False


def test_a_batch_that_is_cancelled_is_cancelled_for_all_who_started_it(served: Here) -> None:
    handles = start(served, 1, 2, 3)
    handles[0].cancel("never mind")
    assert [why.endswith("never mind") for why in told(handles)] == [True] * 3


def test_who_is_taken_out_of_a_batch_is_told_so_and_not_what_became_of_that(served: Here) -> None:
    handles = start(served, 11, 12, 13)
    for number in (11, 12):
        served.send({"name": "lost", "data": {"i": number}})
    assert ["event lost" in why for why in told(handles[:2])] == [True, True]
    handles += start(served, 14, 15, 16)
    has_it = f"run {handles[0].run_id} has it"
    answers = told(handles)
    assert answers[2] == f"its event is one of several: {has_it}"
    assert answers[3:] == [f"its event was batched: {has_it}"] * 3
    assert served.result(handles[0].run_id) == [13, 14, 15, 16]


def test_the_oldest_event_may_be_of_a_batch_that_another_one_began(served: Here) -> None:
    first, oldest = start(served, 21, ts=_NOW) + start(served, 22, ts=_NOW - timedelta(days=1))
    until(lambda: cannot_be_cancelled(oldest), "history has told that the event is in a batch")
    others = [served.app.together.start_sync({"i": number}) for number in (23, 24)]
    answers = told([first, oldest, *others])
    assert sorted(answers[0]) == [21, 22, 23, 24]
    assert answers[0][0] == 22
    assert [f"run {first.run_id} has it" in why for why in answers[1:]] == [True] * 3


def test_whoever_comes_first_of_many_at_once_everybody_is_told(served: Here) -> None:
    numbers = range(100, 112)
    for function, most in ((served.app.together, 4), (served.app.kept, len(numbers))):
        handles = [function.start_sync({"i": number}) for number in numbers]
        runs = {
            handle.run_id: answer
            for handle, answer in zip(handles, told(handles), strict=True)
            if isinstance(answer, list)
        }
        assert sorted(number for result in runs.values() for number in result) == [*numbers]
        assert max(map(len, runs.values())) <= most
        whys = [answer for answer in told(handles) if isinstance(answer, str)]
        assert [any(run in why for run in runs) for why in whys] == [True] * len(whys)
