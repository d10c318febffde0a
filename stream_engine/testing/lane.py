"""The events topic's one partition, for those who wait for events: it offers what is routed, and what was before."""

from collections.abc import Iterator

from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Command, Commands
from stream_engine.core.records.tables import Outgoing
from stream_engine.core.records.wanted import CaughtUp, Sender
from stream_engine.core.routing.cause import sender_of
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.offering import LaneOffers
from stream_engine.core.routing.receive import Message
from stream_engine.core.waits.interests import INTEREST, NO_INTERESTS, Interests

_TOPIC = "events"


class MemoryLane:
    """Keeps all events that were routed, and what is asked for by way of the control topic.

    Attributes:
        asks: whether it is to be said up to when all events are routed.
    """

    def __init__(self) -> None:
        self._offers = LaneOffers(_TOPIC, 0, 0)
        self._asked: dict[str, tuple[int, bytes]] = {}
        self._written = 0
        self._log: list[tuple[Event, Sender | None]] = []
        self._interests = NO_INTERESTS
        self.asks = False

    def route(self, message: Message, event: Event | Rejection) -> Iterator[Commands]:
        """Note an event, and give what those who ask for it are sent."""
        if isinstance(event, Rejection):
            return
        sender = sender_of(message.headers)
        self._log.append((event, sender))
        yield from self._offered(event, sender, self._interests)

    def caught_up(self, now: int) -> Iterator[Commands]:
        """Say, if that is asked, that all is routed that came up to now; events that come while the clock stands still from here on, come too late."""
        if self.asks:
            self.asks = False
            yield _record(CaughtUp(now + 1))

    def control(self, message: Outgoing) -> Iterator[Commands]:
        """Take what was written to the control topic, and give what follows: all events that are asked for, and that these are all."""
        key = (message.key or b"").decode()
        if not key.startswith(INTEREST):
            return
        if message.value is None:
            self._asked.pop(key.removeprefix(INTEREST), None)
        else:
            self._asked[key.removeprefix(INTEREST)] = (self._written, message.value)
        self._written += 1
        self._interests = Interests.of(self._asked, self._written)
        scan = self._offers.learn(self._interests, len(self._log))
        while scan is not None:
            for event, sender in self._log:
                if event.timestamp >= scan.since:
                    yield from self._offered(event, sender, scan.asking)
            for _, answer in scan.answers(((_TOPIC, 1),)):
                yield _record(answer)
            scan = self._offers.finished(scan)

    def _offered(self, event: Event, sender: Sender | None, interests: Interests) -> Iterator[Commands]:
        for _, offer in interests.offers(event, 1, sender):
            yield _record(offer)


def _record(command: Command) -> Commands:
    return Commands("", None, [(0, command)])
