"""What events are routed by: where they come from and go to, and how they are judged."""

from dataclasses import dataclass, replace
from typing import Self

from confluent_kafka import Message as KafkaMessage

from stream_engine.core.functions.sources import Source
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.callback_event import Completion
from stream_engine.core.routing.envelope import Avro, Rejection
from stream_engine.core.routing.offering import LaneOffers
from stream_engine.core.routing.passage import Passage
from stream_engine.core.routing.receive import Check, Message, receive
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress
from stream_engine.core.routing.route import Live, Match, Router
from stream_engine.shell.clients import headers
from stream_engine.shell.pauses import Matching
from stream_engine.shell.routing.burial import Graveyard


@dataclass(frozen=True)
class Route:
    """Where events come from and go to, and what they are judged by; with a ``source``, they come from a topic of others.

    ``matching`` is to be told of which pauses ``match`` has known. ``routed`` are all topics that the app's events are in.
    """

    events: str
    events_id: str
    commands: str
    partitions: int
    graveyard: Graveyard
    match: Match
    matching: Matching
    checks: dict[str, Check]
    avro: Avro | None = None
    completion: Completion | None = None
    source: Source | None = None
    routed: tuple[str, ...] = ()

    def of_replay(self, replay_id: str) -> Self:
        """Return the same for those who route a replay."""
        return replace(self, graveyard=self.graveyard.of_replay(replay_id))

    def receive(self, message: Message) -> Event | Rejection:
        """Return the event that a message is, or why it is none.

        Raises:
            UnavailableError: its schema cannot be asked for now.
        """
        return receive(message, self.checks, self.avro, source=self.source)

    def passage(self, partition: int, progress: Progress, extent: Extent | None, offers: LaneOffers | None) -> Passage:
        """Return the way of a partition from where it has come to: with ``offers`` it goes on live, without it ends with its extent."""

        def router(start: int, extent: Extent | None) -> Router:
            return Router(self.events_id, partition, start, self.partitions, extent, live=Live(self.completion, offers))

        return Passage(progress, extent, router, goes_on=offers is not None, offers=offers)


def message_of(raw: KafkaMessage, topic: str, topic_id: str) -> Message:
    """Return what Kafka delivered as the core takes it."""
    return Message(
        topic,
        topic_id,
        raw.partition() or 0,
        raw.offset() or 0,
        raw.timestamp()[1],
        raw.key(),
        raw.value(),
        headers(raw),
    )
