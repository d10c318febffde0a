"""What events are routed by: where they come from and go to, and how they are judged."""

from dataclasses import dataclass

from confluent_kafka import Message as KafkaMessage

from stream_engine.core.callback_event import Completion
from stream_engine.core.envelope import Avro, Rejection
from stream_engine.core.offering import LaneOffers
from stream_engine.core.passage import Passage
from stream_engine.core.receive import Check, Message, receive
from stream_engine.core.records import Event
from stream_engine.core.replay import Extent
from stream_engine.core.rewind import Progress
from stream_engine.core.route import Live, Match, Router
from stream_engine.core.sources import Source
from stream_engine.shell.clients import headers
from stream_engine.shell.dead_letters import Buried


@dataclass(frozen=True)
class Route:
    """Where events come from and go to, and what they are judged by; with a ``source``, they come from a topic of others.

    ``routed`` are all topics that the app's events are in.
    """

    events: str
    events_id: str
    commands: str
    partitions: int
    dead_letters: str
    buried: Buried
    match: Match
    checks: dict[str, Check]
    avro: Avro | None = None
    completion: Completion | None = None
    source: Source | None = None
    routed: tuple[str, ...] = ()

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
