"""Pauses of functions, as operators ask for them: writing one down, waiting until all workers go by it, and running what was missed."""

from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_engine.core.functions.pausing import Missed, Missing, Pause
from stream_engine.core.identity import digest
from stream_engine.core.routing.replay import Left, Replay, left_out
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control, write
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.operating import replaying
from stream_engine.shell.operating.following import wait_for_workers
from stream_engine.shell.operating.settled import settle
from stream_engine.shell.pauses import PAUSE, decode
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Trouble

_SETTLE_SECONDS: Final = 60.0
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's


Place = tuple[int, int]
"""The partition and the offset of an event."""


def pauses(control: Control) -> dict[str, Pause]:
    """Return what the control topic says of functions that are, or were, paused."""
    return decode(control.values(PAUSE))


def paused(control: Control) -> set[str]:
    """Return which functions are paused."""
    return {function for function, one in pauses(control).items() if one.paused}


def set_paused(settings: Settings, names: Names, function: str, *, paused: bool) -> None:
    """Pause a function, or let it go on; return once all workers of the app go by it.

    What is so already stays as it is.

    Raises:
        UserError: Kafka does not answer, or a worker does not follow in time; what was asked for is written down then.
    """
    trouble = Trouble(settings)
    control = Control(clients.reader(settings, **trouble.properties), names.control)
    control.read_to_end()
    known = pauses(control).get(function)
    if known is None or known.paused != paused:
        if known is None and not paused:
            return
        now = now_ms()
        known = Pause(paused, now, now if known is None else known.since)
        write(clients.producer(settings), names.control, {PAUSE + function: msgspec.json.encode(known)})
    wait_for_workers(settings, names, function, known.at)


def run_missed(settings: Settings, names: Names, function: str, say: Callable[[str], None]) -> list[Replay]:
    """Have the events run that a function has missed, as replays, one for each topic that has such and each way to run them; return these.

    Given again after a crash, it goes on, and runs nothing twice. ``say`` is told of what cannot be run.

    Raises:
        UserError: Kafka does not answer, or nobody serves the app, so that what is on its way is not decided upon.
    """
    control = Control(clients.reader(settings), names.control)
    control.read_to_end()
    known = pauses(control).get(function)
    if known is None:
        return []
    if not settle(settings, names, _SETTLE_SECONDS):
        raise UserError(
            f"the workers of {names.app} have not decided upon all events within {_SETTLE_SECONDS:g} s, so what {function!r} has missed "
            "is not known; see that one serves the app, and give the command again"
        )
    made, admin = [], clients.admin(settings)
    there = {replay.id: replay for replay in replaying.replays(control)}
    missing = _missed(settings, names.app, function, known.since)
    for one in left_out(function, missing, known.since, there):
        left = _left(admin, one.topic, one.places)
        if len(left) < len(one.places):
            say(
                f"{len(one.places) - len(left)} events of {one.topic} that {function} has missed have expired, and cannot be run"
            )
        replay = _replay(topics.topic_id(admin, one.topic), function, one._replace(places=left), known)
        if left and replay.id not in there:
            replaying.make(settings, names, replay, set(left))
        if left:
            made.append(there.get(replay.id, replay))
    write(clients.producer(settings), names.control, {PAUSE + function: None})
    return made


def _missed(settings: Settings, app: str, function: str, since: int) -> Missing:
    missed = Missed(function)
    with HistoryReader(settings, app) as reader:
        for batch in reader.read(reader.span(reader.partitions(), since)):
            for entry in batch:
                missed.add(entry.record)
    return missed.places()


def _left(admin: AdminClient, topic: str, places: frozenset[Place]) -> frozenset[Place]:
    """Return which places still have an event."""
    asked = {TopicPartition(topic, number): _EARLIEST for number in {partition for partition, _ in places}}
    starts = {part.partition: future.result().offset for part, future in admin.list_offsets(asked).items()}
    return frozenset((partition, offset) for partition, offset in places if offset >= starts[partition])


def _replay(topic_id: str, function: str, left: Left, pause: Pause) -> Replay:
    """Return the replay of what was missed. Its id follows from the pause and from how it runs, so that it is made once."""
    spans: dict[int, tuple[int, int]] = {}
    for partition, offset in sorted(left.places):
        first, _ = spans.get(partition, (offset, 0))
        spans[partition] = first, offset + 1
    now = now_ms()
    return Replay(
        f"p{digest(function, topic_id, str(pause.since), str(pause.at), *map(str, left.how))[:11]}",
        *(function, left.topic, topic_id, left.since, now, spans, now, len(left.places)),
        per_second=left.how.per_second,
        reuse_steps=left.how.reuse_steps,
        new_keys=left.how.new_keys,
    )
