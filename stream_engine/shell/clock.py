"""The clocks: everything that asks what time it is asks here."""

import time


def now_ms() -> int:
    """Return the time in whole milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


monotonic = time.monotonic
"""Seconds on a clock that is never set: for leases and deadlines."""
