"""When crons fire, against a clock on the wall that is looked at minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_engine.core.functions.cron import expression_problem, jitter_of, next_tick
from stream_engine.core.functions.flow import Cron

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Beirut",
]
MINUTE = 60_000
DAY = 24 * 60 * MINUTE
MINUTES = st.sampled_from(["*", "0", "30", "*/7", "15,45", "5-20/5", "59"])
HOURS = st.sampled_from(["*", "0", "1", "2", "3", "1-3", "23", "*/5"])
DAYS = st.sampled_from(["*", "*", "*", "1", "31", "*/2"])
WEEKDAYS = st.sampled_from(["*", "*", "*", "0", "mon-fri", "7"])
EXPRESSIONS = st.tuples(MINUTES, HOURS, DAYS, st.just("*"), WEEKDAYS).map(" ".join)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def ticks_between(cron: Cron, after: int, until: int, most: int) -> list[int]:
    ticks: list[int] = []
    while len(ticks) < most and (tick := next_tick(cron, after)) is not None and tick <= until:
        ticks.append(tick)
        after = tick
    return ticks


def shown(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at / 1_000, UTC).astimezone(ZoneInfo(zone))


def numbers(field: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in field.replace("mon-fri", "1-5").split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{lowest}-{highest}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Fields:
    """An expression, taken apart; where day and weekday are both restricted, either is enough."""

    def __init__(self, expression: str) -> None:
        minute, hour, day, _, weekday = expression.split()
        self.minutes, self.hours, self.days = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(day, 1, 31)
        self.weekdays = {number % 7 for number in numbers(weekday, 0, 6)}
        self.either = day != "*" and weekday != "*"

    def match(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        day, weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return day or weekday if self.either else day and weekday


def reference(cron: Cron, after: int, until: int) -> list[int]:
    """Walk through the minutes, with everything that the clock on the wall skips put at the moment of the change."""
    fields = Fields(cron.expression)
    seen: set[datetime] = set()
    ticks: list[int] = []
    start = after - after % MINUTE - DAY // 8
    wall = shown(start, cron.tz).replace(tzinfo=None)
    for at in range(start, until + 1, MINUTE):
        new = shown(at, cron.tz).replace(tzinfo=None)
        due = False
        while wall <= new:
            if wall not in seen:
                seen.add(wall)
                due = due or fields.match(wall)
            wall += timedelta(minutes=1)
        wall = new + timedelta(minutes=1)
        if due and after < at:
            ticks.append(at)
    return ticks


@settings(max_examples=25, deadline=None)
@given(
    expression=EXPRESSIONS,
    zone=st.sampled_from(ZONES),
    day=st.integers(0, 365 * 3),
    second=st.integers(0, 86_400_000),
)
@example("* * * * *", "Australia/Lord_Howe", 279, 14 * 60 * MINUTE)
@example("*/7 2 * * *", "Australia/Lord_Howe", 97, 14 * 60 * MINUTE)
@example("30 2 * * *", "Europe/Berlin", 89, 23 * 60 * MINUTE)
@example("*/7 1-3 * * *", "Europe/Berlin", 299, 23 * 60 * MINUTE + 1)
@example("30 2 * * *", "Africa/Casablanca", 69, 23 * 60 * MINUTE)
@example("15,45 * * * *", "America/St_Johns", 69, 4 * 60 * MINUTE)
@example("0 0 * * *", "America/Santiago", 251, 2 * 60 * MINUTE)
@example("30 0 * * *", "Asia/Beirut", 89, 20 * 60 * MINUTE)
def test_ticks_are_those_of_the_clock_on_the_wall(expression: str, zone: str, day: int, second: int) -> None:
    cron = Cron(expression, zone)
    after = ms("2024-01-01T00:00Z") + day * DAY + second
    until = after + DAY
    assert ticks_between(cron, after, until, 10_000) == reference(cron, after, until)


@given(after=st.integers(0, 2 * DAY), zone=st.sampled_from(ZONES))
def test_the_next_tick_is_the_first_of_those_that_follow(after: int, zone: str) -> None:
    cron = Cron("*/10 */5 * * * *", zone)
    at = ms("2024-10-26T12:00Z") + after
    ticks = ticks_between(cron, at, at + DAY, 3)
    assert next_tick(cron, at) == ticks[0]
    assert next_tick(cron, ticks[0]) == ticks[1]
    assert next_tick(cron, ticks[1] - 1) == ticks[1]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "ticks"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2024-03-30T12:00+01:00",
            ["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"],
        ),
        (
            "0,30 * * * *",
            "Europe/Berlin",
            "2024-03-31T01:00+01:00",
            ["2024-03-31T01:30:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T03:30:00+02:00"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2024-10-26T12:00+02:00",
            ["2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"],
        ),
        (
            "0 2 * * *",
            "Australia/Lord_Howe",
            "2024-10-05T12:00+10:30",
            ["2024-10-06T02:30:00+11:00", "2024-10-07T02:00:00+11:00"],
        ),
        ("*/20 * * * * *", "UTC", "2024-01-01T00:00:19Z", ["2024-01-01T00:00:20+00:00", "2024-01-01T00:00:40+00:00"]),
    ],
)
def test_changes_of_the_clock(expression: str, zone: str, after: str, ticks: list[str]) -> None:
    found = ticks_between(Cron(expression, zone), ms(after), ms(after) + 40 * DAY, len(ticks))
    assert [shown(at, zone).isoformat() for at in found] == ticks


def test_what_never_fires_has_no_next_tick() -> None:
    assert next_tick(Cron("0 0 30 2 *"), 0) is None
    assert expression_problem("0 0 30 2 *") == "there is no such day, so that it would never be due"


@given(jitter=st.integers(0, 60_000), tick=st.integers(0, 2**45))
def test_jitter_is_the_same_everywhere_and_bounded(jitter: int, tick: int) -> None:
    assert 0 <= jitter_of("f", 0, tick, jitter) <= jitter
    assert jitter_of("f", 0, tick, jitter) == jitter_of("f", 0, tick, jitter)


def test_jitter_spreads() -> None:
    delays = [jitter_of(function, 0, 0, 60_000) for function in map(str, range(200))]
    assert max(delays) > 55_000
    assert min(delays) < 5_000
    assert len(set(delays)) > 190
