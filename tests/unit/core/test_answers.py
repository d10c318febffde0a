"""What those who started runs are told, record by record."""

from typing import Any

import pytest
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.identity import run_name
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.views.answers import Answer, Answers

EVENTS = "shop.events"


def run_of(event: str, replay_id: str | None = None, home: int = 0) -> str:
    return f"{run_name('shop', 'pay', f'id:{event}', replay_id)}-{home}"


MINE, OTHERS = run_of("7"), run_of("8", home=3)


def disposed(disposition: str, run_id: str = "", **more: Any) -> EventDisposed:
    return EventDisposed(9, "pay", "order", "7", EVENTS, 0, 7, disposition, run_id, **more)


def started(run_id: str, event: str = "7") -> RunStarted:
    return RunStarted(9, run_id, "pay", "1", 5, "order", event, EVENTS, 0, 7)


def ended(run_id: str, status: str = "completed") -> RunEnded:
    error = Failure("TimeoutError", "late") if status == "timed_out" else None
    return RunEnded(9, run_id, "pay", "1", status, 5, 0, result="1", error=error)


def known(*records: HistoryRecord, run_id: str = MINE) -> Answer | None:
    answers = Answers("shop", EVENTS)
    for record in records:
        answers.add(record)
    return answers.get(run_id)


@pytest.mark.parametrize(
    ("record", "detail", "run_of_others"),
    [
        (disposed("batched", OTHERS), f"its event was batched: run {OTHERS} has it", OTHERS),
        (disposed("duplicate", OTHERS), f"its event was duplicate: run {OTHERS} has it", OTHERS),
        (disposed("queued", OTHERS, gate="debounce"), f"its event was coalesced: run {OTHERS} has it", OTHERS),
        (disposed("coalesced", MINE, detail="with the event of x-1"), "its event was coalesced with the event of x-1", "x-1"),
        (started(OTHERS), f"its event is one of several: run {OTHERS} has it", OTHERS),
        (disposed("cancelled", OTHERS, detail="ada"), "ada", ""),
        (disposed("cancelled", detail="event lost"), "event lost", ""),
        (disposed("rate-limited", OTHERS), "its event was rate-limited", ""),
        (disposed("dead-lettered", detail="no field"), "its event was dead-lettered: no field", ""),
        (disposed("skipped", MINE), "its event was skipped", ""),
    ],
)  # fmt: skip
def test_why_there_is_no_run(record: HistoryRecord, detail: str, run_of_others: str) -> None:
    answer = known(record)
    assert answer is not None
    assert (answer.is_final, answer.status, answer.detail, answer.run_of_others) == (True, "cancelled", detail, run_of_others)  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        disposed("batched", MINE),
        disposed("duplicate", MINE),
        disposed("coalesced", MINE, detail=f"with the event of {MINE}"),
        disposed("queued", MINE, gate="debounce"),
        disposed("queued", OTHERS, gate="throttle"),
        disposed("delayed", MINE),
        started(MINE),
        replace(started(OTHERS), rerun_of=MINE),
        replace(started(OTHERS), of_run=MINE),
        replace(started(OTHERS), topic="partners"),
        disposed("batched", OTHERS, replay_id="r1"),
        ended(OTHERS),
    ],
)
def test_what_says_nothing_of_a_run(record: HistoryRecord) -> None:
    assert known(record) is None


def test_what_a_batch_may_still_let_go_is_not_final() -> None:
    waits = disposed("queued", OTHERS, gate="batch")
    answer = known(waits)
    assert answer is not None
    assert (answer.status, answer.run_of_others, answer.is_final) == ("queued", OTHERS, False)
    assert known(disposed("cancelled", detail="event lost"), waits) == known(disposed("cancelled", detail="event lost"))


def test_an_event_of_a_replay_is_that_of_the_replays_run() -> None:
    answer = known(disposed("batched", OTHERS, replay_id="r1"), run_id=run_of("7", "r1"))
    assert answer is not None
    assert answer.run_of_others == OTHERS


def test_a_run_that_timed_out_before_it_began_is_not_merely_cancelled() -> None:
    records = ended(MINE, "timed_out"), disposed("cancelled", MINE, detail="late")
    for answer in (known(*records), known(*reversed(records))):
        assert answer is not None
        assert (answer.status, answer.end) == ("timed_out", records[0])


def test_an_answer_is_given_once() -> None:
    answers, record = Answers("shop", EVENTS), disposed("cancelled", MINE)
    assert [name for name, _ in answers.add(record)] == [MINE.rpartition("-")[0]]
    assert answers.add(record) == []


def test_a_run_that_has_the_id_of_one_of_yesterday_is_the_one_that_is_told_of() -> None:
    today = replace(ended(MINE, "failed"), at=86_400_009)
    for answer in (known(ended(MINE), today), known(today, ended(MINE))):
        assert answer is not None
        assert answer.status == "failed"
    answers = Answers("shop", EVENTS)
    answers.add(ended(MINE))
    assert answers.holder(MINE) == MINE


def test_an_event_without_an_id_has_nobody_who_waits() -> None:
    assert Answers("shop", EVENTS).add(replace(disposed("batched", OTHERS), event_id=f"{EVENTS}/0/7")) == []


def test_who_holds_an_event_that_went_from_run_to_run() -> None:
    answers, third = Answers("shop", EVENTS), run_of("9")
    assert answers.holder(MINE) == MINE
    answers.add(disposed("coalesced", MINE, detail=f"with the event of {OTHERS}"))
    assert answers.holder(MINE) == OTHERS
    answers.add(replace(disposed("coalesced", OTHERS, detail=f"with the event of {third}"), event_id="8"))
    assert answers.holder(MINE) == third
    answers.add(ended(third))
    assert answers.holder(MINE) is None


def test_a_batch_goes_on_without_the_event_that_it_is_called_by() -> None:
    answers = Answers("shop", EVENTS)
    answers.add(disposed("batched", OTHERS))
    answers.add(replace(disposed("cancelled"), event_id="8"))
    assert (answers.holder(MINE), answers.holder(OTHERS)) == (OTHERS, None)
    answers.add(ended(OTHERS))
    assert answers.holder(MINE) is None
    mine = answers.get(OTHERS)
    assert mine is not None
    assert (mine.status, mine.end) == ("cancelled", None)


def test_the_oldest_answers_are_forgotten() -> None:
    answers = Answers("shop", EVENTS, most=2)
    forgotten = []
    for event in "123":
        answers.add(ended(run_of(event)))
        forgotten.append(answers.has_forgotten)
    assert forgotten == [False, False, True]
    assert [answers.get(run_of(event)) is None for event in "123"] == [True, False, False]
