"""Which of the events that are to be replayed runs of earlier replays have sent, and what stands beside them.

A replay of a function takes whatever is on the log for it. Where another function was replayed before, that is what its first runs have sent and what its replayed
runs have sent, of which each had a run of its own.
"""

from collections import Counter

from stream_engine.core.routing.cause import Cause


class Copies:
    """Counts them. Feed it the causes of all events that are to be replayed."""

    def __init__(self) -> None:
        self._senders: dict[tuple[str, str, int, int], Counter[str | None]] = {}

    def add(self, cause: Cause) -> None:
        """Take the run that has sent an event."""
        about = cause.function, cause.topic, cause.partition, cause.offset
        self._senders.setdefault(about, Counter())[cause.replay] += 1

    @property
    def replays(self) -> Counter[str]:
        """How many events runs of earlier replays have sent, by the ids of these."""
        found = Counter[str]()
        for senders in self._senders.values():
            found.update({replay: count for replay, count in senders.items() if replay is not None})
        return found

    @property
    def beside(self) -> int:
        """How many of these stand beside what another run has sent on account of the same event: the first one, or that of another replay."""
        return sum(senders.total() - senders[None] for senders in self._senders.values() if len(senders) > 1)
