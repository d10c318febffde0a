"""Whether the event loop keeps up with what the leaders hand over to it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from stream_engine.core.partition.turn import Effect
from stream_engine.shell.clock import monotonic
from stream_engine.shell.leading.term import Term

Decided = Sequence[tuple[Term, Sequence[Effect]]]

_BEHIND_SECONDS = 0.05


class Pace:
    """Hands over what is to be performed, and notices how long that lies before the loop comes to it.

    A loop that is behind has work enough: whatever it is given in addition makes everything on it wait longer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, perform: Callable[[Decided], None]) -> None:
        self._loop = loop
        self._perform = perform
        self._handed: deque[float] = deque()
        self._lag = 0.0
        self._taken_at = 0.0

    def hand_over(self, decided: Decided) -> None:
        """Have something performed on the loop; for the leaders' thread."""
        self._handed.append(monotonic())
        self._loop.call_soon_threadsafe(self._take, decided)

    @property
    def behind(self) -> bool:
        """Whether what was handed over lies for long now, or did just now; for any thread."""
        now = monotonic()
        try:
            lies_for = now - self._handed[0]
        except IndexError:
            lies_for = 0.0
        return lies_for > _BEHIND_SECONDS or self._lag > _BEHIND_SECONDS > now - self._taken_at

    def _take(self, decided: Decided) -> None:
        self._taken_at = monotonic()
        self._lag = self._taken_at - self._handed.popleft()
        self._perform(decided)
