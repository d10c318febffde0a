"""Cron triggers as a leader keeps them: scheduled once, sent once, made up for as far as they say."""

import json
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from stream_engine.core.functions.flow import Cron
from stream_engine.core.leading.crons import fire, schedule
from stream_engine.core.partition.dismissed import Dismissed
from stream_engine.core.partition.places import Places
from stream_engine.core.partition.state import State
from stream_engine.core.partition.timers import Timers
from stream_engine.core.partition.turn import Function, Rules, Turn
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.tables import CRONS, OUTBOX, TIMERS, Outgoing, timed_parts
from tests.simulation.store import SimStore

START = int(datetime(2026, 11, 28, 8, 30, tzinfo=UTC).timestamp()) * 1_000
HOUR = 3_600_000
HOURLY = Cron("0 * * * *")


class Partition:
    """The only partition of an app with one function, at a time that the test moves."""

    def __init__(self, *crons: Cron) -> None:
        self.state = State(SimStore())
        self.now = START
        self.crons = crons

    def term(self) -> None:
        """Begin a term."""
        schedule(self._turn())

    def wait(self, until: int) -> None:
        """Let the timers fire that are due until a time, each at its own."""
        while (due := min((key for key, _ in self._timers()), default=None)) is not None and timed_parts(due)[
            0
        ] <= until:
            self.now = max(self.now, timed_parts(due)[0])
            timer = self.state.get(TIMERS, due)
            assert timer is not None
            self.state.delete(due)
            fire(self._turn(), timer.run, int(timer.step))
        self.now = until

    def sent(self) -> list[tuple[str, int]]:
        """Return the ids and times of the events that were sent."""
        found = [message for _, message in self.state.scan(OUTBOX, OUTBOX.prefix, OUTBOX.stop)]
        return [_event(message) for message in found]

    def keys(self) -> list[bytes | None]:
        """Return Kafka's keys of the events that were sent."""
        return [message.key for _, message in self.state.scan(OUTBOX, OUTBOX.prefix, OUTBOX.stop)]

    def _timers(self) -> list[tuple[bytes, object]]:
        return list(self.state.scan(TIMERS, TIMERS.prefix, TIMERS.stop))

    def _turn(self) -> Turn:
        function = Function("report", ("1",), crons=self.crons)
        rules = Rules("shop", {"report": function}, 1, "commands", "journal/0", 0, events_topic="shop.events")
        return Turn(
            self.state,
            Timers(self.state),
            Waiting(self.state),
            Dismissed(self.state),
            Places(self.state),
            {},
            rules,
            self.now,
        )


def _event(message: Outgoing) -> tuple[str, int]:
    assert message.topic == "shop.events"
    event = json.loads(message.value or b"")
    assert event["name"] == "engine/cron/report"
    return event["id"], event["ts"]


def test_each_tick_is_sent_once_however_many_terms_there_are() -> None:
    partition = Partition(HOURLY)
    for hour in range(1, 4):
        partition.term()
        partition.term()
        partition.wait(START + hour * HOUR)
    ticks = [START + HOUR // 2 + hour * HOUR for hour in range(3)]
    assert partition.sent() == [(f"cron/report/0/{tick}", tick) for tick in ticks]


def test_ticks_of_a_trigger_are_in_one_partition_because_those_made_up_for_come_at_the_same_moment() -> None:
    partition = Partition(Cron("0 * * * *", catch_up=10 * HOUR), Cron("30 * * * *", catch_up=10 * HOUR))
    partition.term()
    partition.now += 5 * HOUR
    partition.wait(partition.now)
    assert sorted(partition.keys(), key=str) == [b"cron/report/0"] * 5 + [b"cron/report/1"] * 5


def test_ticks_that_were_missed_are_made_up_for_as_far_back_as_it_says() -> None:
    for catch_up, expected in ((0, 0), (HOUR, 1), (10 * HOUR, 5)):
        partition = Partition(replace(HOURLY, catch_up=catch_up))
        partition.term()
        partition.now = START + 5 * HOUR
        partition.wait(partition.now)
        assert len(partition.sent()) == expected, catch_up
        partition.wait(partition.now + HOUR)
        assert len(partition.sent()) == expected + 1


def test_a_tick_is_in_time_while_another_worker_takes_over() -> None:
    partition = Partition(HOURLY)
    partition.term()
    partition.now = START + HOUR // 2 + 59_000
    partition.wait(partition.now)
    assert len(partition.sent()) == 1


def test_what_is_never_due_again_has_no_timer() -> None:
    partition = Partition(replace(HOURLY, expression="0 0 30 2 *"))
    partition.term()
    partition.term()
    partition.wait(START + 1_000 * HOUR)
    assert partition.sent() == []


def test_another_expression_is_scheduled_anew() -> None:
    partition = Partition(HOURLY)
    partition.term()
    partition.crons = (Cron("15 9 * * *"),)
    partition.term()
    partition.wait(START + HOUR)
    assert [at for _, at in partition.sent()] == [START + 45 * 60_000]


def test_a_trigger_that_is_gone_is_dropped() -> None:
    partition = Partition(HOURLY)
    partition.term()
    partition.crons = ()
    partition.wait(START + 3 * HOUR)
    assert partition.sent() == []
    assert list(partition.state.scan(CRONS, CRONS.prefix, CRONS.stop)) == []


def test_jitter_delays_the_event_and_not_its_name() -> None:
    partition = Partition(replace(HOURLY, jitter=60_000))
    partition.term()
    partition.wait(START + HOUR)
    [(name, at)] = partition.sent()
    tick = START + HOUR // 2
    assert name == f"cron/report/0/{tick}"
    assert tick <= at <= tick + 60_000


def test_what_is_sent_says_which_tick_it_is() -> None:
    partition = Partition(HOURLY)
    partition.term()
    partition.wait(START + HOUR)
    [(_, message)] = partition.state.scan(OUTBOX, OUTBOX.prefix, OUTBOX.stop)
    data = msgspec.json.decode(message.value or b"")["data"]
    assert data == {"cron": "0 * * * *", "index": 0, "tick": "2026-11-28T09:00:00.000Z"}
