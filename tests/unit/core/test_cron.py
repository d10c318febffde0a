"""Cron expressions on walls whose clocks are put forward and back."""

from datetime import UTC, datetime

import pytest

from stream_engine.core.functions.cron import jitter_of, next_tick
from stream_engine.core.functions.flow import Cron


def ticks(expression: str, tz: str, after: str, count: int) -> list[str]:
    """Return the next ticks, in UTC, as text to the second."""
    cron, at, found = Cron(expression, tz), _ms(after), []
    for _ in range(count):
        following = next_tick(cron, at)
        assert following is not None
        assert following > at
        at = following
        found.append(datetime.fromtimestamp(at / 1_000, UTC).strftime("%m-%d %H:%M:%S"))
    return found


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def test_five_fields_and_six_with_the_seconds_first() -> None:
    assert ticks("30 6 * * *", "UTC", "2026-11-28 06:30:00", 2) == ["11-29 06:30:00", "11-30 06:30:00"]
    assert ticks("15 30 6 * * *", "UTC", "2026-11-28 06:30:00", 2) == ["11-28 06:30:15", "11-29 06:30:15"]


def test_the_zone_is_the_walls() -> None:
    assert ticks("0 6 * * *", "Europe/Berlin", "2026-03-27 12:00:00", 2) == ["03-28 05:00:00", "03-29 04:00:00"]


def test_a_time_that_is_left_out_is_due_when_the_clock_is_put_forward() -> None:
    """Berlin's clocks go from 02:00 to 03:00 on March 29."""
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00:00", 2) == ["03-29 01:00:00", "03-30 00:30:00"]


def test_several_times_that_are_left_out_are_one() -> None:
    assert ticks("*/20 * * * *", "Europe/Berlin", "2026-03-29 00:30:00", 3) == [
        "03-29 00:40:00",
        "03-29 01:00:00",
        "03-29 01:20:00",
    ]


def test_a_time_that_is_repeated_is_due_once() -> None:
    """Berlin's clocks go from 03:00 back to 02:00 on October 25."""
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00:00", 2) == ["10-25 00:30:00", "10-26 01:30:00"]


def test_a_search_that_begins_in_the_second_pass_finds_none_of_the_first() -> None:
    assert ticks("40 * * * *", "Europe/Berlin", "2026-10-25 01:10:00", 1) == ["10-25 02:40:00"]


def test_half_an_hour_counts_too() -> None:
    """Lord Howe's clocks go from 02:00 to 02:30 on October 4, and from 02:00 back to 01:30 on April 5."""
    assert ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00:00", 1) == ["10-03 15:30:00"]
    assert ticks("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 00:00:00", 2) == ["04-04 14:45:00", "04-05 15:15:00"]


def test_what_is_never_due_says_so() -> None:
    assert next_tick(Cron("0 0 30 2 *"), 0) is None


@pytest.mark.parametrize("most", [0, 1, 5_000])
def test_jitter_is_the_same_for_everybody_and_within_its_bounds(most: int) -> None:
    delays = [jitter_of("report", 0, tick, most) for tick in range(200)]
    assert delays == [jitter_of("report", 0, tick, most) for tick in range(200)]
    assert 0 <= min(delays) <= max(delays) <= most
    assert len(set(delays)) > min(most, 100)
