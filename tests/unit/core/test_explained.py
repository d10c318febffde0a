"""What became of an event, from history in any order."""

from itertools import permutations

import pytest
from msgspec.structs import replace

from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.views.caused import Place
from stream_engine.core.views.explained import EventStory

AT = 1_790_000_000_000
QUEUED = EventDisposed(
    AT, "pay", "order/placed", "order-7", "events", 0, 9, "queued", "run-1", gate="throttle", gate_key="ada"
)
STARTED = RunStarted(AT + 5, "run-1", "pay", "1", AT, "order/placed", "order-7", "events", 0, 9)
DROPPED = replace(QUEUED, function="mail", disposition="rate-limited", gate="rate limit", run_id="")
AGAIN = replace(QUEUED, at=AT + 9, partition=1, offset=2, disposition="duplicate", gate="")


def told(*records: HistoryRecord) -> list[tuple[Place, list[tuple[str, str]]]]:
    story = EventStory("order-7")
    for record in records:
        story.add(record)
    return [(place, [(outcome.function, outcome.disposition) for outcome in found]) for place, _, found in story]


def test_each_function_has_its_newest_disposition_in_whatever_order_history_is_read() -> None:
    records: list[HistoryRecord] = [QUEUED, STARTED, DROPPED, AGAIN]
    for order in permutations(records):
        assert told(*order) == [
            (Place("events", 0, 9), [("mail", "rate-limited"), ("pay", "started")]),
            (Place("events", 1, 2), [("pay", "duplicate")]),
        ]


def test_a_replay_is_a_story_of_its_own() -> None:
    assert told(STARTED, replace(QUEUED, replay_id="r1")) == [
        (Place("events", 0, 9), [("pay", "started"), ("pay", "queued")])
    ]


def test_what_waits_says_where() -> None:
    story = EventStory("order-7")
    story.add(QUEUED)
    [(_, name, [outcome])] = story
    assert (name, outcome.gate, outcome.gate_key, outcome.run_id) == ("order/placed", "throttle", "ada", "run-1")


def test_other_events_and_handlers_are_passed_over() -> None:
    ended = RunEnded(AT, "run-1", "pay", "1", "completed", AT, 0)
    assert told(ended, replace(QUEUED, event_id="order-8"), replace(STARTED, of_run="run-0")) == []


def test_what_was_coalesced_went_with_the_last_of_those_that_replaced_each_other() -> None:
    """Of those between, there never was a run."""
    at_gate = replace(QUEUED, disposition="coalesced", gate="debounce", gate_id="6a7e")
    own, late, second, third = (
        replace(at_gate, at=AT + number, event_id=event, run_id=f"run-{number}", detail=f"with the event of run-{by}")
        for number, event, by in [(1, "order-7", 2), (5, "order-9", 4), (2, "order-8", 3), (3, "order-8", 4)]
    )
    before = replace(second, at=AT - 9, detail="with the event of run-0")
    elsewhere = replace(second, disposition="skipped", detail="")
    again = replace(third, at=AT + 4, run_id="run-4", detail="with the event of run-4")
    story = EventStory("order-7")
    story.add(own)
    assert story.unfinished == {"6a7e"}
    for record in (late, third, second, second, before, elsewhere, again, own):
        story.follow(record)
    for _ in range(2):
        [(_, _, [outcome])] = story
        assert outcome.detail == "with the event of run-4"


def test_a_story_without_coalesced_events_needs_no_more_of_history() -> None:
    story = EventStory("order-7")
    for record in (QUEUED, DROPPED, AGAIN, STARTED):
        story.add(record)
    assert story.unfinished == set()


def test_what_was_passed_over_is_told_beside_what_history_has() -> None:
    story = EventStory("order-7")
    assert not story
    story.pass_over(Place("events", 1, 3), AT)
    assert story
    assert list(story) == [(Place("events", 1, 3), "", [])]
    story.add(STARTED)
    assert [(place, name, len(found)) for place, name, found in story] == [
        (Place("events", 0, 9), "order/placed", 1),
        (Place("events", 1, 3), "", 0),
    ]
    assert [story.passed_over(Place("events", *place)) for place in ((0, 9), (1, 3))] == [None, AT]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("shop.events/0/17", Place("shop.events", 0, 17)),
        ("order-7", None),
        ("a/b/7", None),
        ("/1/7", None),
        ("a/1/2/3", None),
        ("a/1/-2", None),
    ],
)
def test_the_id_of_an_event_to_which_none_was_given_is_its_place(text: str, place: Place | None) -> None:
    assert Place.parse(text) == place
