"""Events from their places on the log, however many: in as few passes as there are wide gaps between them.

To go to another place takes a client a tenth of a second, and to read on over a thousand events less than that.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import Message as Raw

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.receive import receive
from stream_engine.core.views.caused import Place
from stream_engine.shell import clients, topics
from stream_engine.shell.clients import is_misplaced, offsets
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.reader import Progress
from stream_engine.shell.reading import TO_THE_END, read
from stream_engine.shell.routing.avro_events import avro_decoder
from stream_engine.shell.routing.route import message_of
from stream_engine.shell.settings import Settings

NEAR: Final = 1_000
"""Offsets up to the next one that is wanted, over which is read on."""

_SECONDS: Final = 30

_Wanted = dict[int, list[int]]
"""The offsets that are still to be read of the partitions of a topic, in their order."""


class OnLog(NamedTuple):
    """Events by their places, and why in words there is none at others."""

    events: dict[Place, Event]
    missing: dict[Place, str]


class LogEvents:
    """Reads events from the log. Close it."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._address = settings.bootstrap_servers
        self._consumer: Consumer = clients.reader(settings, **TO_THE_END)
        self._admin = clients.admin(settings)
        self._avro = avro_decoder(settings.schemas)
        self._sources = catalogue.sources

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def at(self, places: Collection[Place], progress: Progress) -> OnLog:
        """Return the events at some places; ``progress`` is told how many of how many have been found.

        Raises:
            UserError: Kafka does not answer.
        """
        found = OnLog({}, {})
        by_topic: dict[str, _Wanted] = {}
        for topic, number, offset in sorted(set(places)):
            by_topic.setdefault(topic, {}).setdefault(number, []).append(offset)
        for topic, wanted in by_topic.items():
            for _ in self._read(topic, wanted, found):
                progress(len(found.events) + len(found.missing), len(places))
        return found

    def _read(self, topic: str, wanted: _Wanted, found: OnLog) -> Iterator[None]:
        """Read a topic's events; give control back after each."""
        self._leave_out(topic, wanted, found)
        id = topics.topic_id(self._admin, topic) if wanted else ""
        while wanted:
            spans = next_pass(wanted)
            try:
                for raw in read(self._consumer, topic, spans, _SECONDS):
                    place = Place(topic, raw.partition() or 0, raw.offset() or 0)
                    left = wanted[place.partition]
                    _miss(place, _before(left, place.offset), found)
                    if left and left[0] == place.offset:
                        del left[0]
                        self._take(place, raw, id, found)
                        yield
            except TimeoutError as error:
                raise UserError(f"{self._address} has not answered for half a minute") from error
            except KafkaException as error:
                if not is_misplaced(error.args[0]):
                    raise
                # It has expired in the meantime.
                self._leave_out(topic, wanted, found)
                continue
            for number, span in spans.items():
                _miss(Place(topic, number, span.stop), _before(wanted[number], span.stop), found)
                if not wanted[number]:
                    del wanted[number]

    def _leave_out(self, topic: str, wanted: _Wanted, found: OnLog) -> None:
        """Want no more what the log does not have."""
        for number in list(wanted):
            there = offsets(self._consumer, topic, number)
            for offset in wanted[number]:
                if offset not in there:
                    found.missing[Place(topic, number, offset)] = (
                        f"the event of this run is not on the log any more: {topic}/{number} begins at offset {there.start}, and it was at {offset}"
                    )
            wanted[number] = [offset for offset in wanted[number] if offset in there]
            if not wanted[number]:
                del wanted[number]

    def _take(self, place: Place, raw: Raw, topic_id: str, found: OnLog) -> None:
        event = receive(message_of(raw, place.topic, topic_id), {}, self._avro, source=self._sources.get(place.topic))
        if isinstance(event, Rejection):
            _miss(place, [place.offset], found)
        else:
            found.events[place] = event


def next_pass(wanted: Mapping[int, Sequence[int]]) -> dict[int, range]:
    """Return what is read of each partition next: from the first offset that is wanted up to the last one before a wide gap."""
    spans = {}
    for number, left in wanted.items():
        last = left[0]
        for offset in left:
            if offset - last > NEAR:
                break
            last = offset
        spans[number] = range(left[0], last + 1)
    return spans


def _before(left: list[int], offset: int) -> list[int]:
    """Take those before an offset out of what is wanted, and return them."""
    count = bisect_left(left, offset)
    passed = left[:count]
    del left[:count]
    return passed


def _miss(at: Place, missed: Sequence[int], found: OnLog) -> None:
    """Note offsets of a place's partition at which there is no event."""
    for offset in missed:
        why = f"there is no event at offset {offset} of {at.topic}/{at.partition} any more"
        found.missing[at._replace(offset=offset)] = why
