"""When a cron expression is due, in a time zone with daylight saving.

Expressions are matched against the clock on the wall. What that shows twice, when it is put back, is due the first time. What it never shows,
when it is put forward, is due at the moment at which it is put forward: several such times are one.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

from stream_engine.core.functions.flow import Cron
from stream_engine.core.identity import digest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_FIELDS = "five fields (minute, hour, day, month, weekday), or six with the seconds first"
# The library knows more letters: H and R are drawn at random, and names such as @daily hide which fields there are.
_WORDS = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"} | {
    "sun", "mon", "tue", "wed", "thu", "fri", "sat", "l",
}  # fmt: skip


def expression_problem(expression: str) -> str | None:
    """Return what is wrong with a cron expression, or None."""
    if len(expression.split()) not in (5, 6):
        return f"give {_FIELDS}, such as '0 9 * * mon-fri'"
    for word in re.findall(r"[^\W\d]+|@", expression):
        if word.lower() not in _WORDS:
            return f"{word!r} is no name of a month or a weekday; give {_FIELDS}"
    try:
        never = next_tick(Cron(expression), 0) is None
    except (ValueError, KeyError) as error:
        return f"{error}; give {_FIELDS}"
    return "there is no such day, so that it would never be due" if never else None


def zone_problem(name: str) -> str | None:
    """Return what is wrong with the name of a time zone, or None."""
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "there is no such time zone; give a name such as 'UTC' or 'Europe/Berlin'"
    return None


def next_tick(cron: Cron, after: int) -> int | None:
    """Return the first time behind ``after`` at which a trigger is due, or None for never; both are milliseconds since the epoch.

    Raises:
        ValueError: it is no cron expression.
        ZoneInfoNotFoundError: there is no such zone.
    """
    zone = _zone(cron.tz)
    moment = _EPOCH + timedelta(milliseconds=after)
    # Read as UTC, which has every time once.
    wall = moment.astimezone(zone).replace(tzinfo=UTC)
    ticks = croniter(cron.expression, wall, ret_type=datetime, second_at_beginning=len(cron.expression.split()) == 6)
    try:
        # Behind the second pass of a repeated hour, ticks of the first one are past.
        while (tick := _moment(ticks.get_next(datetime).replace(tzinfo=None), zone)) <= moment:
            pass
    except CroniterBadDateError:
        return None
    return round((tick - _EPOCH).total_seconds() * 1_000)


def jitter_of(function: str, index: int, tick: int, most: int) -> int:
    """Return by how much a tick of a function's trigger is delayed: the same for everybody, from 0 to ``most`` milliseconds."""
    return int(digest(function, str(index), str(tick)), 16) % (most + 1)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock on the wall shows a time first, or is put forward past it."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    return _transition(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment, zone)


def _transition(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment, to the second, at which a zone has the offset that it has at ``after``."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
