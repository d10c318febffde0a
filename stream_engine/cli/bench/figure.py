"""A line of the report, and what several figures are made with."""

import os
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


def tick() -> int:
    """Return the time: nanoseconds of the machine's monotonic clock, which all processes of a machine share."""
    return time.monotonic_ns()


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    name: str
    value: float
    unit: str


def latency(name: str, nanoseconds: Iterable[int]) -> Iterator[Figure]:
    """Yield the median of times, and what all but a hundredth of them stay below."""
    times = sorted(time / 1e6 for time in nanoseconds)
    yield Figure(f"{name}, p50", statistics.median(times), "ms")
    yield Figure(f"{name}, p99", times[len(times) * 99 // 100], "ms")


def rss_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of processes together."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


def most_rss_bytes(pids: Iterable[int]) -> int:
    """Return the most resident memory that each of some processes ever had, together."""
    lines = (line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
