"""The small parts of the protocol: fence, intake, outbox, identity, durations, keys."""

from datetime import timedelta
from typing import Any

import pytest

from stream_engine.core.duration import milliseconds
from stream_engine.core.identity import (
    digest,
    event_identity,
    home_partition,
    idempotency_key,
    partition_of,
    run_id,
    run_name,
)
from stream_engine.core.partition.fence import advance
from stream_engine.core.partition.intake import Receipt, leader_source, router_source
from stream_engine.core.partition.outbox import commands_queue, entry_key, entry_parts, next_number, topic_queue
from stream_engine.core.partition.state import State
from stream_engine.core.records.journal import Decided, JournalRecord, LeaderElected, Mark
from stream_engine.core.records.requests import Commands
from stream_engine.core.records.tables import RUNS, STEPS, TIMERS, Intake, parts, timed_parts
from tests.simulation.store import SimStore

ELECTED = LeaderElected("w", 0)


def _decided(epoch: int, n: int) -> Decided:
    return Decided(epoch, n, 0, 0, Mark(), [], [], [])


@pytest.mark.parametrize(
    ("mark", "offset", "record", "expected"),
    [
        (Mark(), 0, ELECTED, Mark(0, 0, 0)),
        (Mark(5, 3, 2), 6, _decided(3, 3), Mark(6, 3, 3)),
        (Mark(5, 3, 2), 9, _decided(3, 3), Mark(9, 3, 3)),
        (Mark(5, 3, 2), 6, ELECTED, Mark(6, 6, 0)),
        (Mark(5, 3, 2), 6, _decided(2, 3), None),
        (Mark(5, 3, 2), 6, _decided(4, 3), None),
        (Mark(5, 3, 2), 6, _decided(3, 2), None),
        (Mark(5, 3, 2), 6, _decided(3, 4), None),
        (Mark(5, 3, 2), 5, _decided(3, 3), None),
        (Mark(5, 3, 2), 4, ELECTED, None),
        (Mark(), 0, _decided(-1, 1), None),
        (Mark(), 0, _decided(0, 1), None),
    ],
)
def test_what_counts(mark: Mark, offset: int, record: JournalRecord, expected: Mark | None) -> None:
    assert advance(mark, offset, record) == expected


def test_a_leaders_commands_are_taken_in_order_without_gaps() -> None:
    receipt = Receipt(Intake(3), Commands("journal/J/0", None, []))
    assert [receipt.take(number) for number in (2, 4, 3, 5, 4, 4)] == [False, False, True, False, True, False]
    assert receipt.known() == Intake(5)


def test_a_routers_commands_are_taken_once_at_or_above_the_floor() -> None:
    receipt = Receipt(Intake(3, (4, 9)), Commands("events/E/0/", 5, []))
    assert [receipt.take(number) for number in (3, 4, 5, 9, 7, 7)] == [False, False, True, False, True, False]
    assert receipt.known() == Intake(5, (5, 7, 9))


def test_an_older_routers_floor_lowers_nothing() -> None:
    receipt = Receipt(Intake(8, (9,)), Commands("events/E/0/", 2, []))
    assert not receipt.take(5)
    assert receipt.known() == Intake(8, (9,))


def test_sources_name_the_topic_that_is_not_the_one_created_again() -> None:
    sources = {
        router_source("E", 0, None),
        router_source("F", 0, None),
        router_source("E", 1, None),
        router_source("E", 0, "r"),
        leader_source("E", 0),
    }
    assert len(sources) == 5


@pytest.mark.parametrize("queue", [commands_queue(12), topic_queue("shop.events"), topic_queue("ü")])
@pytest.mark.parametrize("number", [0, 1, 255, 256, 2**40])
def test_an_outbox_key_names_its_queue_and_number(queue: str, number: int) -> None:
    assert entry_parts(entry_key(queue, number)) == (queue, number)


def test_each_queue_counts_for_itself() -> None:
    state = State(SimStore())
    assert [next_number(state, queue) for queue in ("a", "a", "b", "a")] == [0, 1, 0, 2]


def test_an_identity_is_the_id_or_the_place() -> None:
    assert event_identity("7", "E", 1, 2) == "id:7"
    assert event_identity(None, "E", 1, 2) == "at:E/1/2"
    assert event_identity(None, "F", 1, 2) != event_identity(None, "E", 1, 2)


def test_a_home_is_one_of_the_partitions_and_stays() -> None:
    homes = {home_partition(f"id:{number}", 16) for number in range(1_000)}
    assert homes == set(range(16))
    assert home_partition("id:7", 16) == 15


def test_digests_tell_apart_how_a_text_is_split() -> None:
    assert digest("a", "bc") != digest("ab", "c")
    assert len(digest("a")) == 24
    assert idempotency_key("root", "step") == digest("root", "step")


def test_a_run_is_named_by_what_it_is_a_run_of() -> None:
    names = {
        run_name("shop", "pay", "id:7", None),
        run_name("shop", "pay", "id:7", "replay"),
        run_name("shop", "pay", "id:8", None),
        run_name("shop", "ship", "id:7", None),
        run_name("mall", "pay", "id:7", None),
    }
    assert len(names) == 5
    assert run_name("shop", "pay", "id:7", None) == run_name("shop", "pay", "id:7", None)


def test_a_run_id_ends_with_its_partition() -> None:
    assert partition_of(run_id("abc", 12)) == 12


@pytest.mark.parametrize("text", ["", "abc", "abc-", "-3", "abc-x", "abc--"])
def test_what_is_no_run_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a run id"):
        partition_of(text)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, 0),
        (1.5, 1_500),
        (0.0005, 0),
        (timedelta(minutes=2), 120_000),
        ("500ms", 500),
        ("5s", 5_000),
        ("1.5m", 90_000),
        (" 2 h ", 7_200_000),
        ("7d", 604_800_000),
    ],
)
def test_durations(duration: Any, expected: int) -> None:
    assert milliseconds(duration) == expected


@pytest.mark.parametrize(
    "duration",
    [
        -1,
        "-5s",
        "5",
        "5 weeks",
        "",
        "s",
        "1e3s",
        float("nan"),
        float("inf"),
        True,
        None,
        timedelta(seconds=-1),
        "9" * 400 + "d",
    ],
)
def test_what_is_no_duration_is_refused(duration: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        milliseconds(duration)


def test_keys_of_a_table_come_apart_again() -> None:
    assert parts(STEPS.key("run-0", "load:1")) == ["run-0", "load:1"]
    assert timed_parts(TIMERS.timed_key(7, "wake", "run-0", "nap")) == (7, ["wake", "run-0", "nap"])
    assert RUNS.prefix <= RUNS.key("x") < RUNS.stop


def test_timers_sort_by_time() -> None:
    times = [0, 1, 255, 256, 65_535, 65_536, 2**40]
    keys = [TIMERS.timed_key(at, "z" if at % 2 else "a") for at in times]
    assert sorted(keys) == keys
