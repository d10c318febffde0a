"""Replays, as operators ask for them: what a range has, and the group and the record that make workers carry one out."""

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Producer

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.partition.intake import RESUMED_FOR
from stream_engine.core.records.history import HistoryRecord, RunEnded, StepRecorded
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.cause import Cause, cause_of
from stream_engine.core.routing.envelope import Avro, Rejection
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.replay import CANCELLED, PAUSED, Extent, Replay
from stream_engine.core.routing.rewind import Progress
from stream_engine.core.views.members import Members, Place
from stream_engine.core.views.runs import FoldedRun, RunIndex
from stream_engine.shell import clients
from stream_engine.shell.control import Control, write
from stream_engine.shell.coordinators import coordinated
from stream_engine.shell.errors import UserError
from stream_engine.shell.halts import REPLAY
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.operating import group_offsets
from stream_engine.shell.operating.following import wait_for_workers
from stream_engine.shell.routing.avro_events import avro_decoder
from stream_engine.shell.routing.event_log import messages
from stream_engine.shell.routing.replays import EXPIRED, ROUTED, SELECTED
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_CHUNK: Final = 50_000

Spans = dict[int, tuple[int, int]]


class Line(NamedTuple):
    """An event of a range, and which run has sent it, if one has."""

    event: Event
    cause: Cause | None = None


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


def what_is_not_known(settings: Settings, names: Names, since: int, now: int) -> str | None:
    """Return in words what history may not tell of since a time (all times in milliseconds since the epoch), or None where it has all."""
    admin, consumer = clients.admin(settings), clients.reader(settings)
    try:
        kept = group_offsets.kept_since(admin, names.history, now)
        group_offsets.check_reach(names.history, since, group_offsets.at(consumer, names.history, since, kept))
    except UserError as error:
        return f"what runs of that time came to may not be known, and is left out: {error}"
    finally:
        consumer.close()
    return None


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


class ByStatus(NamedTuple):
    """The places of events whose original runs have a status, and how many runs with such a status no event has triggered, because they were invoked."""

    places: set[Place]
    invoked: int


def chosen_by_status(settings: Settings, app: str, replay: Replay, *, keeps_all: bool) -> ByStatus:
    """Return the events of a replay's function whose original runs have a status that is one of its; all of a run that has several.

    ``keeps_all`` says whether the function has a debounce that hands over every event.
    """
    index, members = RunIndex(), Members(replay.function, replay.topic, keeps_all=keeps_all)
    with HistoryReader(settings, app) as reader:
        for batch in reader.read(reader.span(reader.partitions(), replay.since)):
            for entry in batch:
                record = entry.record
                if record.function != replay.function:
                    continue
                members.add(record)
                index.add(entry.id, _without_results(record))
    runs = [run for run_id in index if (run := index.get(run_id)) is not None and run.status in replay.statuses]
    wanted = {run.run_id for run in runs}
    invoked = sum(run.of_run is not None and run.replay_id is None and _began_in(replay, run) for run in runs)
    return ByStatus({place for place, run_id in members if run_id in wanted}, invoked)


def _began_in(replay: Replay, run: FoldedRun) -> bool:
    return run.created_at is not None and replay.since <= run.created_at < replay.until


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


def change(settings: Settings, names: Names, replay: Replay) -> None:
    """Write a replay down that was paused, resumed or cancelled; return once all workers of the app go by it.

    Raises:
        UserError: a worker does not follow in time; what was asked for is written down then.
    """
    save(settings, names, replay)
    wait_for_workers(settings, names, REPLAY + replay.id, replay.changed_at)


def forget(settings: Settings, names: Names, known: Control, now: int) -> None:
    """Delete the replays that are older than 30 days, and their groups' offsets.

    What a paused one holds would begin if nothing were known of it any more: it cannot be resumed, so it is cancelled, and forgotten as much later.
    """
    producer, admin = clients.producer(settings), clients.admin(settings)
    for replay in replays(known):
        if max(replay.created_at, replay.changed_at) > now - RESUMED_FOR:
            continue
        if replay.state == PAUSED:
            save(settings, names, msgspec.structs.replace(replay, state=CANCELLED, changed_at=now), producer)
            continue
        for key in (
            REPLAY + replay.id,
            ROUTED + replay.id,
            *(f"{SELECTED}{replay.id}/{n}" for n in range(replay.chunks)),
            *(f"{EXPIRED}{replay.id}/{rest}" for rest in known.values(f"{EXPIRED}{replay.id}/")),
        ):
            producer.produce(names.control, None, key, 0)
        group = names.replay_group(replay.id)
        if not group_offsets.members(admin, group):
            with contextlib.suppress(KafkaException):
                coordinated(admin.delete_consumer_groups, [group])
    producer.flush()


def replays(known: Control) -> list[Replay]:
    """Return the replays of an app, the newest first."""
    found = [msgspec.json.decode(raw, type=Replay) for raw in known.values(REPLAY).values()]
    return sorted(found, key=lambda replay: (replay.created_at, replay.id), reverse=True)


def _without_results(record: HistoryRecord) -> HistoryRecord:
    """Return a record of a run without what may be large in it."""
    is_large = isinstance(record, StepRecorded | RunEnded)
    return msgspec.structs.replace(record, result=None, error=None) if is_large else record


def _chunks(selected: set[Place]) -> Iterator[bytes]:
    places = sorted(selected)
    for first in range(0, len(places), _CHUNK):
        chunk: dict[int, list[int]] = {}
        for number, offset in places[first : first + _CHUNK]:
            chunk.setdefault(number, []).append(offset)
        yield msgspec.json.encode(chunk)


def _line(message: Message, extent: Extent, catalogue: Catalogue, avro: Avro | None) -> Line | None:
    event, cause = receive(message, {}, avro, source=catalogue.sources.get(message.topic)), cause_of(message.headers)
    if isinstance(event, Rejection) or extent.passes_over(cause):
        return None
    matched = extent.part_of(catalogue.match(event, 1, extent.replay_id), event)
    return Line(event, cause) if matched.functions or matched.asked or matched.unfit else None
