"""One lane's part in waits: it offers what it routes, and what it had routed before it heard that somebody waits.

Theory of operation. A lane offers the events behind the place where it heard of a request, and *scans* those before it, back to the time that the
request names, with a reader of its own. Once all that the scan has offered is acknowledged, the partitions that asked are told; so each knows, when all
lanes have told it, that nothing is missing. Requests that come meanwhile wait for the next scan, and are answered by one together.

What a lane commits beside its offset is ``done``: the offset of the control topic below which requests have been answered. A lane that is taken over
begins there, so it repeats no scan, and misses none. Whoever takes it over reads the control topic to its end before it routes: what it does not offer, it
has not heard of, and will scan. Offers are taken by partitions as often as they come, so that repeats do no harm.

The seam: ``learn`` whenever the control topic has something new, before what follows is routed; PERFORM the scan that it returns: OFFER the events that it is about, and once
all of that is acknowledged, SEND its ``answers``; once these are acknowledged, call ``finished``, which may return another. Only then ``done`` has moved.
"""

from stream_engine.core.records.journal import Record
from stream_engine.core.records.wanted import Offering
from stream_engine.core.waits.interests import NO_INTERESTS, Interests, Request


class Scan(Record, frozen=True):
    """Events of a topic's partition since a time, and before an offset, are to be offered to those who ask.

    ``answered`` is what `LaneOffers.done` will be.
    """

    topic: str
    partition: int
    since: int
    stop: int
    answered: int
    asking: Interests

    def answers(self, lanes: tuple[tuple[str, int], ...]) -> list[tuple[int, Offering]]:
        """Return what those who asked are told once all has been offered; ``lanes`` says how many partitions each topic of events has."""
        lane = self.topic, self.partition, lanes
        return [
            (owner, Offering(interest, *lane, request.since, request.keep, request.at))
            for (interest, owner), (_, request) in self.asking.requests.items()
        ]


class LaneOffers:
    """What is offered of one partition of a topic of events.

    Attributes:
        done: the offset of the control topic below which all requests have been answered.
        interests: what the lane offers by.
    """

    def __init__(self, topic: str, partition: int, done: int) -> None:
        self._topic = topic
        self.done = done
        self.interests = NO_INTERESTS
        self._partition = partition
        self._position = 0
        self._scan: Scan | None = None

    def learn(self, interests: Interests, position: int) -> Scan | None:
        """Take what is asked for; events from ``position`` on are offered by it. Return what is to be scanned, if that is due now."""
        self.interests = interests
        self._position = position
        return None if self._scan is not None else self._next()

    def finished(self, scan: Scan) -> Scan | None:
        """Note that a scan is done, and who asked has been told; return the next one, if there is one."""
        if scan is not self._scan:
            return None
        self._scan = None
        self.done = scan.answered
        return self._next()

    def _next(self) -> Scan | None:
        asking = {key: one for key, one in self.interests.requests.items() if one[0] >= self.done}
        if not asking:
            self.done = max(self.done, self.interests.read)
            return None
        since = min(request.since for _, request in asking.values())
        self._scan = Scan(self._topic, self._partition, since, self._position, self.interests.read, Interests(asking))
        return self._scan


def unanswered(interests: Interests, done: int) -> Request | None:
    """Return the oldest request that a lane has not answered which has committed ``done``, or None if it has answered all."""
    left = (request for offset, request in interests.requests.values() if offset >= done)
    return min(left, key=lambda request: request.at, default=None)
