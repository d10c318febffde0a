"""What became of an event, from history in any order."""

from itertools import permutations

from msgspec.structs import replace

from stream_engine.core.caused import Place
from stream_engine.core.explained import EventStory
from stream_engine.core.history import EventDisposed, HistoryRecord, RunEnded, RunStarted

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
