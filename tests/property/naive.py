"""What gates that gather or drop should make of the events of one key: references of a list and a clock, written for the tests only.

Times are milliseconds. A `Run` says when it would start, by which event, and with which. All of these take what comes in the order in which it comes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stream_engine.core.records.journal import Event


class Run(NamedTuple):
    """What is to become a run: at a time, by an event, with all of its events in the order in which they came."""

    at: int
    event: Event
    events: tuple[Event, ...]


def age(event: Event) -> tuple[int, int, int, int]:
    """Return what says which of two events is newer, and in which order a run has its own."""
    return event.ts, event.timestamp, event.partition, event.offset


def alone(events: Sequence[Event]) -> list[Run]:
    """Return a run of each event, at the time at which it was on the log."""
    return [Run(event.timestamp, event, (event,)) for event in events]


def delayed(runs: Sequence[Run]) -> list[Run]:
    """Have each wait until the time that its producer has given it, if that is to come."""
    waited = [Run(max(run.at, run.event.ts), run.event, run.events) for run in runs]
    return sorted(waited, key=lambda run: run.at)


def idempotent(runs: Sequence[Run], per: int) -> list[Run]:
    """Let through what comes ``per`` after the last that was let through, or later."""
    passed: list[Run] = []
    for run in runs:
        if not passed or run.at - passed[-1].at >= per:
            passed.append(run)
    return passed


def limited(runs: Sequence[Run], limit: int, per: int) -> list[Run]:
    """Let through what fits into all windows of ``per``."""
    passed: list[Run] = []
    for run in runs:
        if sum(run.at - other.at < per for other in passed) < limit:
            passed.append(run)
    return passed


def debounced(runs: Sequence[Run], period: int, most: int, mode: str) -> list[Run]:
    """Gather until nothing newer has come for ``period``, or for ``most`` since the first if that is not 0."""
    done: list[Run] = []
    events: list[Event] = []
    since = due = 0
    latest: Event | None = None
    for run in runs:
        if latest is not None and due <= run.at:
            done.append(_debounced(due, latest, events, mode))
            latest = None
        event = run.event
        if latest is None:
            since, due, latest, events = run.at, run.at + period, event, [event]
            continue
        events.append(event)
        if age(event) > age(latest):
            latest = event
            due = min(run.at + period, since + most) if most else run.at + period
    return done if latest is None else [*done, _debounced(due, latest, events, mode)]


def _debounced(at: int, latest: Event, events: list[Event], mode: str) -> Run:
    return Run(at, latest, tuple(events) if mode == "all" else (latest,))


def batched(
    runs: Sequence[Run], size: int, timeout: int, most_bytes: int, wanted: Callable[[Event], bool]
) -> list[Run]:
    """Gather so many, or so many bytes, or what comes within ``timeout`` of the first; what is not wanted goes alone."""
    done: list[Run] = []
    events: list[Event] = []
    since = 0

    def complete(at: int) -> None:
        done.append(Run(at, events[0], tuple(events)))
        events.clear()

    for run in runs:
        if events and since + timeout <= run.at:
            complete(since + timeout)
        if not wanted(run.event):
            done.append(run)
            continue
        if events and sum(len(event.data) for event in events) + len(run.event.data) > most_bytes:
            complete(run.at)
        if not events:
            since = run.at
        events.append(run.event)
        if len(events) == size:
            complete(run.at)
    if events:
        complete(since + timeout)
    return done
