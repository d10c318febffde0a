"""One event, sent by somebody who may want to hear what becomes of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaException

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.identity import home_partition, partition_of, run_id, run_name
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.receive import Message as Received
from stream_engine.core.routing.receive import receive
from stream_engine.core.views.caused import Caused, Place
from stream_engine.sdk.events import Message
from stream_engine.shell import clients, topics
from stream_engine.shell.client import SendError
from stream_engine.shell.dead_letters import DeadLetterReader
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.reader import HistoryReader, Span, about
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import ANSWER_SECONDS, Trouble

_DELIVERY_SECONDS = 30.0


class BuriedError(UserError):
    """The event went to the dead letters; the message says why."""


class Sent(NamedTuple):
    """An event that Kafka has taken; ``given_id`` is the id that its producer gave it, if any, ``timestamp`` the log's."""

    place: Place
    given_id: str | None
    message: Message
    timestamp: int

    @property
    def id(self) -> str:
        """The event's id: its producer's, or else its place."""
        return self.given_id or str(self.place)


def send(settings: Settings, topic: str, message: Message, given_id: str | None) -> Sent:
    """Produce an event, and return it once Kafka has acknowledged it; ``given_id`` is the one in the message, if any.

    Raises:
        SendError: there is no such topic, or Kafka did not take the event.
        NoAnswerError: Kafka does not answer.
    """
    _check_topic(settings, topic)
    producer = clients.producer(settings, **Trouble(settings).properties)
    places: list[tuple[Place, int]] = []
    failures: list[str] = []
    producer.produce(
        topic,
        message.value,
        message.key,
        headers=[*message.headers],
        on_delivery=partial(_delivered, places, failures),
    )
    producer.flush(_DELIVERY_SECONDS)
    if not places:
        why = failures[0] if failures else f"no acknowledgement came within {_DELIVERY_SECONDS:g} s"
        raise SendError(f"Kafka did not take the event for {topic}: {why}")
    place, timestamp = places[0]
    return Sent(place, given_id, message, timestamp)


class Listening:
    """Listens to what an app tells, from before an event is sent: make it, send, and then `hear`."""

    def __init__(self, settings: Settings, app: str) -> None:
        """Begin to listen.

        Raises:
            UserError: there is no such app, or Kafka does not answer.
        """
        self._settings = settings
        self._app = app
        self._open = ExitStack()
        with ExitStack() as opening:
            self._history = opening.enter_context(HistoryReader(settings, app))
            self._partitions = self._history.partitions()
            self._start = self._history.span(self._partitions).end
            self._letters = opening.enter_context(DeadLetterReader(settings, app))
            self._open = opening.pop_all()

    def __enter__(self) -> Self:
        """Return the listener."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave Kafka."""
        self._open.close()

    def expect(self, sent: Sent, catalogue: Catalogue) -> Caused:
        """Return what is to be filled with what an event causes of the functions of a catalogue.

        Raises:
            BuriedError: the event will be a dead letter.
        """
        place, message, partitions = sent.place, sent.message, len(self._partitions)
        topic_id = "" if sent.given_id else topics.topic_id(clients.admin(self._settings), place.topic)
        received = Received(
            place.topic,
            topic_id,
            place.partition,
            place.offset,
            sent.timestamp,
            message.key,
            message.value,
            message.headers,
        )
        event = receive(received, {})
        if isinstance(event, Rejection):
            raise BuriedError(f"the event {sent.id} is a dead letter ({event.reason}): {event.detail}")
        matched = catalogue.match(event, partitions)
        home = home_partition(event.identity, partitions)
        homes = dict.fromkeys([*matched.functions, *(part.function for part in matched.unfit)], home)
        homes |= {asked.function: asked.home if asked.home >= 0 else home for asked in matched.asked}
        app, identity = self._app, event.identity
        return Caused(
            place, {function: run_id(run_name(app, function, identity, None), at) for function, at in homes.items()}
        )

    def hear(self, sent: Sent, caused: Caused, seconds: float) -> Iterator[None]:
        """Fill in what is told, and give a turn at least every 0.1 s, until every function has answered or time is up.

        Raises:
            BuriedError: the event is a dead letter.
            UserError: Kafka refuses, or does not answer.
        """
        for batch in self._history.follow(self._start, about(events=[sent.id]), seconds):
            for entry in batch:
                caused.add(entry.id, entry.record)
            for letter in self._letters.take():
                # What only one function cannot use, history tells.
                if letter.origin == sent.place and not letter.function:
                    raise BuriedError(f"the event {sent.id} is a dead letter ({letter.reason}): {letter.detail}")
            for run in caused.missing():
                self._look_up(run, caused)
            yield
            if not caused.pending():
                return

    def _look_up(self, run: str, caused: Caused) -> None:
        """Read what was told of a run before this began to listen."""
        partition = partition_of(run)
        with HistoryReader(self._settings, self._app) as reader:
            span = reader.span([partition])
            for batch in reader.read(Span(span.start, span.end), about(runs=[run])):
                for entry in batch:
                    caused.add(entry.id, entry.record)
        if run in caused.missing():
            caused.give_up(run)


def _delivered(places: list[tuple[Place, int]], failures: list[str], error: Any, report: Any) -> None:
    if error is None:
        places.append((Place(report.topic(), report.partition(), report.offset()), report.timestamp()[1]))
    else:
        failures.append(error.str())


def _check_topic(settings: Settings, topic: str) -> None:
    """A broker may be set to create topics for whoever names one; a misspelt app is not to leave one behind."""
    trouble = Trouble(settings)
    consumer = clients.reader(settings, **trouble.properties)
    try:
        known = topic in consumer.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise trouble.no_answer(consumer, error) from error
    finally:
        consumer.close()
    if not known:
        raise SendError(
            f"there is no topic {topic} on {settings.bootstrap_servers}; a worker, or `stream-engine topics apply`, "
            f"creates the topics of an app"
        )
