"""What tests wait for, and how far the clock may be moved on for it."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field


@dataclass(eq=False)
class Wait:
    """Something that a test waits for.

    Attributes:
        until: the time (milliseconds since the epoch) at which it gives up; None for as long as anything can happen.
        over: whether what it waits for has come about.
        future: done then, or when it gives up.
    """

    until: int | None
    over: Callable[[], bool]
    future: "Future[None]" = field(default_factory=Future)


class Waits:
    """Everything that is waited for at a time."""

    def __init__(self) -> None:
        self._waits: list[Wait] = []

    def add(self, wait: Wait) -> None:
        """Wait for something."""
        self._waits.append(wait)

    def end_those_over(self) -> None:
        """End the waits for what has come about."""
        self._end([wait for wait in self._waits if wait.over()])

    def end_those_due(self, now: int) -> None:
        """End the waits that give up by now."""
        self._end([wait for wait in self._waits if wait.until is not None and wait.until <= now])

    def end_all(self) -> None:
        """End all waits: nothing more will happen."""
        self._end(list(self._waits))

    def fail(self, error: BaseException) -> None:
        """End all waits by an error."""
        while self._waits:
            self._waits.pop().future.set_exception(error)

    def next_time(self, due: int | None) -> int | None:
        """Return when something happens next: a timer that is ``due``, or a wait that gives up; None for never."""
        if not self._waits:
            return None
        ends = [wait.until for wait in self._waits if wait.until is not None]
        return min([*ends, due] if due is not None else ends, default=None)

    def _end(self, waits: list[Wait]) -> None:
        for wait in waits:
            self._waits.remove(wait)
            if not wait.future.done():
                wait.future.set_result(None)
