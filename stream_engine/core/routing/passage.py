"""The way of one partition through its events: a stretch that is routed again for a replay, and behind it live."""

from collections.abc import Callable, Sequence

from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.offering import LaneOffers
from stream_engine.core.routing.receive import Message
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress
from stream_engine.core.routing.route import Match, Routed, Router

MakeRouter = Callable[[int, Extent | None], Router]
"""Makes a router of the partition, from an offset on."""

Received = Sequence[tuple[Message, Event | Rejection]]


class Passage:
    """Routes a partition from its progress on: up to ``progress.live`` within a extent, if there is one, and live from there. Up to ``progress.tail``, what
    the extent has ahead is routed both ways.

    The seam is that of `Router`: everything that ``route`` returns is to be produced, and reported to the router that it comes with;
    only what ``progress`` returns may be committed, with its mark. Without ``goes_on`` it ends where the extent ends.
    What is routed live is offered to those who wait for it, if there are ``offers``.
    """

    def __init__(
        self,
        progress: Progress,
        extent: Extent | None,
        make: MakeRouter,
        *,
        goes_on: bool = True,
        offers: LaneOffers | None = None,
    ) -> None:
        self._begun = progress
        self._offers = offers
        self._border = progress.offset if extent is None else progress.live
        self._until = max(self._border, 0 if extent is None else progress.tail)
        self._extent = extent
        self._goes_on = goes_on
        self._again = None if extent is None else make(progress.offset, extent)
        self._live = make(max(self._border, progress.offset), None)

    @property
    def in_flight(self) -> int:
        """How many batches wait for acknowledgements."""
        return self._live.in_flight + (0 if self._again is None else self._again.in_flight)

    @property
    def position(self) -> int:
        """The offset that is to be routed live next."""
        return self._live.position

    @property
    def over(self) -> bool:
        """Whether there is nothing more to route, ever."""
        return not self._goes_on and (self._again is None or self._again.floor >= self._until)

    def progress(self) -> Progress:
        """Return how far the partition is routed, as far as that is acknowledged."""
        begun = self._begun
        done = begun.interests if self._offers is None else self._offers.done
        if self._again is not None and self._goes_on and self._again.floor >= self._until:
            self._again = None
        if self._again is not None:
            floor = self._again.floor
            if floor > self._border:
                floor = min(floor, self._live.floor)
            return Progress(begun.rewinds, begun.live, floor, begun.replay, done, begun.tail)
        return Progress(begun.rewinds, max(begun.live, self._live.floor), self._live.floor, "", done)

    def route(self, received: Received, end: int, match: Match) -> list[tuple[Router, Routed]]:
        """Route messages in log order; ``end`` is the offset behind the last of them."""
        border = self._border
        routed: list[tuple[Router, Routed]] = []
        if self._again is not None:
            again = [one for one in received if self._is_again(one[0])]
            received = [one for one in received if one[0].offset >= border]
            routed.append((self._again, self._again.route(again, min(end, self._until), match)))
        if end > border and self._goes_on:
            routed.append((self._live, self._live.route(received, end, match)))
        return routed

    def _is_again(self, message: Message) -> bool:
        if message.offset < self._border:
            return True
        place = message.topic, message.partition, message.offset
        return self._extent is not None and message.offset < self._until and self._extent.is_ahead(*place)
