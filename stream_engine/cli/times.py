"""Times as users write them."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from stream_engine.core.duration import milliseconds
from stream_engine.shell.clock import now_ms

FORMS: Final = (
    "ISO 8601 (2026-01-31T13:00:00Z; UTC where no zone is given), how long ago ('2h', '30m ago'), or epoch milliseconds"
)

# Fewer digits are a date in ISO 8601's short form, or a slip: as milliseconds they would lie in the first days of 1970.
_EPOCH_MS: Final = re.compile(r"0|\d{9,15}")
_AGO: Final = re.compile(r"\s*ago$")


def parse_time(text: str, now: int) -> int:
    """Return the time that a text means, in milliseconds since the epoch; ``now`` is the same.

    Raises:
        ValueError: it has none of the `FORMS`.
    """
    given = text.strip()
    if given == "now":
        return now
    if _EPOCH_MS.fullmatch(given):
        return int(given)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        return _ago(given, now)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000)


def _ago(text: str, now: int) -> int:
    try:
        return now - milliseconds(_AGO.sub("", text))
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write {FORMS}") from None


class _Time(click.ParamType):
    """A time, as milliseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds since the epoch."""
        if isinstance(value, int):
            return value
        try:
            return parse_time(str(value), now_ms())
        except ValueError as error:
            self.fail(str(error), param, ctx)


TIME: Final = _Time()
