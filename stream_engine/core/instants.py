"""Points in time: milliseconds since the epoch, and how they are written for people."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, where `datetime` ends."""


def iso(at: int) -> str:
    """Return a time, in milliseconds since the epoch, as ISO 8601 in UTC; what lies after the year 9999 as its end."""
    return (_EPOCH + timedelta(milliseconds=min(at, LAST_MS))).isoformat(timespec="milliseconds").replace("+00:00", "Z")
