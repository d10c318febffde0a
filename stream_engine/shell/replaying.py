"""Replays, as operators ask for them: what a range has, and the group and the record that make workers carry one out."""

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Producer

from stream_engine.core.catalogue import Catalogue
from stream_engine.core.cause import cause_of
from stream_engine.core.envelope import Avro, Rejection
from stream_engine.core.history import EventDisposed, RunStarted
from stream_engine.core.receive import Message, receive
from stream_engine.core.records import Event
from stream_engine.core.replay import Extent, Replay, Tally
from stream_engine.core.rewind import Progress
from stream_engine.core.runs import RunIndex
from stream_engine.shell import clients, group_offsets
from stream_engine.shell.avro_events import avro_decoder
from stream_engine.shell.control import Control, write
from stream_engine.shell.errors import UserError
from stream_engine.shell.event_log import messages
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.replays import REPLAY, ROUTED, SELECTED
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import DAY_MS, Names

_CHUNK: Final = 50_000
_KEPT_MS: Final = 30 * DAY_MS

Spans = dict[int, tuple[int, int]]

Place = tuple[int, int]
"""The partition and the offset of an event."""


class Line(NamedTuple):
    """An event of a range, and how many functions it is for."""

    event: Event
    functions: int


def spans(settings: Settings, topic: str, since: int, until: int, now: int) -> Spans:
    """Return where a range of time lies in each partition of a topic, all times in milliseconds since the epoch.

    Raises:
        UserError: the topic does not reach back so far, or has nothing in that time.
    """
    admin, consumer = clients.admin(settings), clients.reader(settings)
    try:
        kept = group_offsets.kept_since(admin, topic, now)
        first, last = group_offsets.at(consumer, topic, since, kept), group_offsets.at(consumer, topic, until, kept)
        found = {number: (one.offset, max(one.offset, last[number].offset)) for number, one in first.items()}
    finally:
        consumer.close()
    group_offsets.check_reach(topic, since, first)
    if all(start == stop for start, stop in found.values()):
        raise UserError(f"{topic} has no events of that time")
    return found


def events(settings: Settings, extent: Extent, catalogue: Catalogue) -> Iterator[Line]:
    """Read a range, and give the events of it that are to be replayed.

    Raises:
        UserError: Kafka does not answer.
    """
    avro = avro_decoder(settings.schemas)
    for message in messages(settings, extent.topic, "", extent.spans):
        line = _line(message, extent, catalogue, avro)
        if line is not None:
            yield line


def chosen_by_status(settings: Settings, app: str, replay: Replay) -> set[Place]:
    """Return the events whose live runs of a replay's function have one of its statuses."""
    index, places = RunIndex(), dict[str, Place]()
    with HistoryReader(settings, app) as reader:
        for batch in reader.read(reader.span(reader.partitions(), replay.since)):
            for entry in batch:
                record = entry.record
                if record.function != replay.function:
                    continue
                index.add(entry.id, record)
                if isinstance(record, EventDisposed | RunStarted) and _is_live(record, replay.topic):
                    places[record.run_id] = record.partition, record.offset
    found = ((place, index.get(run_id)) for run_id, place in places.items())
    return {place for place, run in found if run is not None and run.status in replay.statuses}


def _is_live(record: EventDisposed | RunStarted, topic: str) -> bool:
    return record.topic == topic and record.replay_id is None


def make(settings: Settings, names: Names, replay: Replay, selected: set[Place] | None) -> None:
    """Have the workers of an app carry a replay out: its group first, then its record.

    Raises:
        UserError: Kafka does not take them.
    """
    progress = {
        number: Progress(0, stop, start, replay.id) for number, (start, stop) in replay.spans.items() if start < stop
    }
    admin = clients.admin(settings)
    for number, one in progress.items():
        mark = one.mark(replay.topic_id)
        group_offsets.set_offsets(admin, names.replay_group(replay.id), replay.topic, {number: one.offset}, mark)
    producer = clients.producer(settings)
    values = {f"{SELECTED}{replay.id}/{number}": chunk for number, chunk in enumerate(_chunks(selected or set()))}
    write(producer, names.control, values)
    save(settings, names, msgspec.structs.replace(replay, chunks=len(values)), producer)


def save(settings: Settings, names: Names, replay: Replay, producer: Producer | None = None) -> None:
    """Write a replay down as it is to be."""
    write(producer or clients.producer(settings), names.control, {REPLAY + replay.id: msgspec.json.encode(replay)})


def forget(settings: Settings, names: Names, known: Control, now: int) -> None:
    """Delete the replays that are older than 30 days, and their group_offsets."""
    producer, admin = clients.producer(settings), clients.admin(settings)
    for replay in replays(known):
        if replay.created_at > now - _KEPT_MS:
            continue
        for key in (
            REPLAY + replay.id,
            ROUTED + replay.id,
            *(f"{SELECTED}{replay.id}/{n}" for n in range(replay.chunks)),
        ):
            producer.produce(names.control, None, key, 0)
        group = names.replay_group(replay.id)
        if not group_offsets.members(admin, group):
            with contextlib.suppress(KafkaException):
                admin.delete_consumer_groups([group])[group].result()
    producer.flush()


def replays(known: Control) -> list[Replay]:
    """Return the replays of an app, the newest first."""
    found = [msgspec.json.decode(raw, type=Replay) for raw in known.values(REPLAY).values()]
    return sorted(found, key=lambda replay: (replay.created_at, replay.id), reverse=True)


def tally(settings: Settings, app: str, since: int) -> Tally:
    """Return what history says of replays, from a time (milliseconds since the epoch) to where it ends now."""
    found = Tally()
    with HistoryReader(settings, app) as reader:
        for batch in reader.read(reader.span(reader.partitions(), since)):
            for entry in batch:
                found.add(entry.record)
    return found


def _chunks(selected: set[Place]) -> Iterator[bytes]:
    places = sorted(selected)
    for first in range(0, len(places), _CHUNK):
        chunk: dict[int, list[int]] = {}
        for number, offset in places[first : first + _CHUNK]:
            chunk.setdefault(number, []).append(offset)
        yield msgspec.json.encode(chunk)


def _line(message: Message, extent: Extent, catalogue: Catalogue, avro: Avro | None) -> Line | None:
    event = receive(message, {}, avro, source=catalogue.sources.get(message.topic))
    if isinstance(event, Rejection) or extent.passes_over(cause_of(message.headers)):
        return None
    matched = extent.part_of(catalogue.match(event, 1, extent.replay_id), event)
    count = len(matched.functions) + len(matched.asked) + len(matched.unfit)
    return Line(event, count) if count else None
