"""The events topic's one partition, for those who wait for events: it offers what is routed, and what was before."""

from collections.abc import Iterator

from stream_engine.core.cause import cause_of
from stream_engine.core.envelope import Rejection
from stream_engine.core.interests import INTEREST, NO_INTERESTS, Interests
from stream_engine.core.offering import LaneOffers
from stream_engine.core.receive import Message
from stream_engine.core.records import Event
from stream_engine.core.requests import Command, Commands
from stream_engine.core.tables import Outgoing

_TOPIC = "events"


class MemoryLane:
    """Keeps all events that were routed, and what is asked for by way of the control topic."""

    def __init__(self) -> None:
        self._offers = LaneOffers(_TOPIC, 0, 0)
        self._asked: dict[str, tuple[int, bytes]] = {}
        self._written = 0
        self._log: list[tuple[Event, str | None]] = []
        self._interests = NO_INTERESTS

    def route(self, message: Message, event: Event | Rejection) -> Iterator[Commands]:
        """Note an event, and give what those who ask for it are sent."""
        if isinstance(event, Rejection):
            return
        cause = cause_of(message.headers)
        replay_id = None if cause is None else cause.replay
        self._log.append((event, replay_id))
        yield from self._offered(event, replay_id, self._interests)

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
            for event, replay_id in self._log:
                if event.timestamp >= scan.since:
                    yield from self._offered(event, replay_id, scan.asking)
            for _, answer in scan.answers(((_TOPIC, 1),)):
                yield _record(answer)
            scan = self._offers.finished(scan)

    def _offered(self, event: Event, replay_id: str | None, interests: Interests) -> Iterator[Commands]:
        for _, offer in interests.offers(event, 1, replay_id):
            yield _record(offer)


def _record(command: Command) -> Commands:
    return Commands("", None, [(0, command)])
