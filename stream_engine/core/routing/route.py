"""Stage *route*: the events of one partition become commands, each on the partition of its event's identity.

The router keeps no state but its progress. Whatever it does twice (after a crash, or beside a router that does not know yet
that it was replaced) arrives where it arrived before, because the destination follows from the event alone, and is
recognised there by its offset (`stream_engine.core.partition.intake`). So it also does not matter which catalogue a repeat is routed
by: the first arrival decides, for all functions of the event at once.

The seam: ``route`` returns what is to be PRODUCED; each message of it is reported by ``acknowledged`` or, if it failed, the
router is dropped and a new one starts from the committed offset. Only offsets below ``floor`` may be committed.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream_engine.core.functions.match import Matched
from stream_engine.core.identity import home_partition, partition_of
from stream_engine.core.partition.intake import router_source
from stream_engine.core.records.journal import WRITES, Event, Record, encode
from stream_engine.core.records.requests import Admit, Command, Commands, CompleteCallback, Unfit
from stream_engine.core.routing.callback_event import COMPLETED_EVENT, Completion
from stream_engine.core.routing.cause import Cause, cause_of
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.offering import LaneOffers
from stream_engine.core.routing.parcels import Parcels, unnumbered
from stream_engine.core.routing.receive import Message
from stream_engine.core.routing.replay import Extent

_SMALL = 300
"""How many bytes an event takes besides its data, and each of its gates."""

Match = Callable[[Event, int, str | None], Matched]
"""Returns what an event starts, given how many partitions the commands topic has, and the replay id."""


class DeadLetter(Record, frozen=True):
    """A message that cannot be used, and why; or only one function's part of it, which is then named."""

    message: Message
    rejection: Rejection
    function: str = ""


class Routed(Record, frozen=True):
    """What a batch of events gives: records for partitions of the commands topic, made of so many ``events``, and dead letters.

    Each is to be produced, and reported with ``ticket`` once it is acknowledged.
    """

    ticket: int
    commands: list[tuple[int, bytes]]
    dead_letters: list[DeadLetter]
    events: int = 0


class Live(NamedTuple):
    """What else is done with events that are routed live.

    ``completion`` judges those that complete callbacks, which are passed over without it. By ``offers`` they are offered to those who wait for them.
    """

    completion: Completion | None = None
    offers: LaneOffers | None = None


_NOTHING_ELSE = Live()


class Router:
    """Routes one partition of an events topic, from an offset on: live, or for a replay, as far as its ``extent`` goes.

    Attributes:
        position: the offset that is to be routed next.
    """

    def __init__(
        self,
        topic_id: str,
        partition: int,
        start: int,
        partitions: int,
        extent: Extent | None = None,
        *,
        live: Live = _NOTHING_ELSE,
    ) -> None:
        """Begin at the offset ``start``; for a replay, what there is to do live is left out."""
        self.position = start
        self._extent = extent
        self._completion, self._offers = live if extent is None else _NOTHING_ELSE
        self._source = router_source(topic_id, partition, None if extent is None else extent.replay_id)
        self._partitions = partitions
        self._floor = start
        self._flight: deque[list[int]] = deque()
        self._first_ticket = 0

    @property
    def floor(self) -> int:
        """The offset below which everything is routed and acknowledged."""
        return self._floor

    @property
    def in_flight(self) -> int:
        """How many batches wait for acknowledgements."""
        return len(self._flight)

    def route(self, received: Iterable[tuple[Message, Event | Rejection]], end: int, match: Match) -> Routed:
        """Route messages in log order; ``end`` is the offset behind the last of them."""
        packed, offered = Parcels(self._record), Parcels(unnumbered)
        dead: list[DeadLetter] = []
        events = 0
        for message, received_event in received:
            event, wrong = self._event(message, received_event)
            if not isinstance(event, Event):
                if event is not None:
                    packed.add(partition_of(event.run_id), message.offset, event, 2 * len(event.result))
                elif wrong is not None and self._extent is None:
                    dead.append(DeadLetter(message, wrong))
                continue
            cause = cause_of(message.headers)
            matched, replay_id, sent_at = self._judge(cause, event, match)
            matched, letters = _buried(message, matched, wrong)
            dead += letters
            if self._offers is not None:
                sender = None if cause is None else cause.sender
                for owner, offer in self._offers.interests.offers(event, self._partitions, sender):
                    offered.add(owner, 0, offer, 2 * _SMALL + len(event.data))
            if not any(matched):
                continue
            home = home_partition(event.identity, self._partitions)
            if self._extent is not None:
                admit = self._extent.admit(event, matched)
            else:
                asked, unfit = tuple(matched.asked), tuple(matched.unfit)
                admit = Admit(event, matched.functions, replay_id, asked, unfit, paused=matched.paused, sent_at=sent_at)
            packed.add(home, event.offset, admit, _weight(admit))
            events += 1
        self.position = end
        records = packed.take() + offered.take()
        self._flight.append([end, len(records) + len(dead)])
        ticket = self._first_ticket + len(self._flight) - 1
        self._settle()
        return Routed(ticket, records, dead, events)

    def acknowledged(self, ticket: int) -> None:
        """Note that one message of a batch has arrived."""
        self._flight[ticket - self._first_ticket][1] -= 1
        self._settle()

    def _event(
        self, message: Message, received: Event | Rejection
    ) -> tuple[Event | CompleteCallback | None, Rejection | None]:
        """Return what a message amounts to for this router, if anything, and what is wrong with it; one that completes a callback is for the router that judges it.

        What a replay comes across has been buried when it was routed live, unless it is wrong only by a model that the app had not then.
        """
        event: Event | Rejection | CompleteCallback | None = received
        if isinstance(received, Event) and received.name == COMPLETED_EVENT:
            event = None if self._completion is None else self._completion(message, received)
        if isinstance(event, Rejection):
            return None if self._extent is None else event.event, event
        return event, None

    def _judge(self, cause: Cause | None, event: Event, match: Match) -> tuple[Matched, str | None, int]:
        """Return what the event starts, under which replay id, and its sender's moment: what a replayed run sent belongs to its replay."""
        extent = self._extent
        if extent is None:
            replay_id = None if cause is None else cause.replay
            sent_at = 0 if cause is None or replay_id is None else cause.moment
            return match(event, self._partitions, replay_id), replay_id, sent_at
        if extent.passes_over(cause):
            return Matched([], [], []), None, 0
        return extent.part_of(match(event, self._partitions, extent.replay_id), event), extent.replay_id, 0

    def _record(self, items: list[tuple[int, Command]]) -> bytes:
        return encode(Commands(self._source, self._floor, items, WRITES))

    def _settle(self) -> None:
        while self._flight and not self._flight[0][1]:
            self._floor = self._flight.popleft()[0]
            self._first_ticket += 1


def _buried(message: Message, matched: Matched, wrong: Rejection | None) -> tuple[Matched, list[DeadLetter]]:
    """Return what becomes of an event, and the dead letters of it; one whose data is wrong is of no use to any function that is not paused."""
    if wrong is not None:
        asked, already = [one.function for one in matched.asked], [one.function for one in matched.unfit]
        functions = [*matched.functions, *asked, *already]
        unfit = [Unfit(function, wrong.reason, wrong.detail) for function in functions]
        matched = Matched([], [], unfit, matched.paused)
    return matched, [DeadLetter(message, Rejection(one.reason, one.detail), one.function) for one in matched.unfit]


def _weight(admit: Admit) -> int:
    gates = sum(1 + len(asked.gates) for asked in (*admit.asked, *admit.paused))
    return len(admit.event.data) + _SMALL * (1 + gates) + sum(len(one.result) for one in admit.reused)
