"""Durations as users write them: seconds, ``timedelta``, or "500ms", "5s", "10m", "1h", "7d"."""

import re
from datetime import timedelta

FORMS = "a number of seconds, a timedelta, or text such as '500ms', '5s', '10m', '1h', '7d'"

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")

Duration = float | timedelta | str


def milliseconds(duration: Duration) -> int:
    """Return a duration in whole milliseconds, rounded half to even.

    Raises:
        ValueError: it is negative, not finite, or text of another form.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds() * 1_000
    elif isinstance(duration, str):
        match = _TEXT.fullmatch(duration.strip())
        if match is None:
            raise ValueError(f"{duration!r} is not a duration; write {FORMS}")
        value = float(match[1]) * _UNITS[match[2]]
    elif isinstance(duration, bool) or not isinstance(duration, int | float):
        raise ValueError(f"{duration!r} is not a duration; write {FORMS}")
    else:
        value = duration * 1_000
    if not 0 <= value < 2**53:
        raise ValueError(f"{duration!r} is not a duration; it must be at least 0 and finite")
    return round(value)
