"""When a cron expression is due, in a time zone with daylight saving.

Expressions are matched against the clock on the wall. What that shows twice, when it is put back, is due the first time. What it never shows,
when it is put forward, is due at the moment at which it is put forward: several such times are one.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from stream_engine.core.flow import Cron
from stream_engine.core.identity import digest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


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
