"""Pauses of functions, as operators ask for them: writing one down, waiting until all workers go by it, and running what was missed."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_engine.core.identity import digest
from stream_engine.core.pausing import Missed, Pause
from stream_engine.core.replay import ACTIVE, PER_SECOND, Replay
from stream_engine.shell import clients, replaying, topics
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.control import Control, write
from stream_engine.shell.errors import UserError
from stream_engine.shell.group_offsets import member_names
from stream_engine.shell.history.reader import HistoryReader
from stream_engine.shell.pauses import FOLLOWED, PAUSE, Followed, decode
from stream_engine.shell.settings import Settings
from stream_engine.shell.settled import settle
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Trouble

_FOLLOW_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's


Place = tuple[int, int]
"""The partition and the offset of an event."""

TopicId = tuple[str, str]
"""The name and the id of a topic."""


def pauses(control: Control) -> dict[str, Pause]:
    """Return what the control topic says of functions that are, or were, paused."""
    return decode(control.values(PAUSE))


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
    _wait_for_workers(settings, names, control, function, known.at)


def _wait_for_workers(settings: Settings, names: Names, control: Control, function: str, at: int) -> None:
    admin, deadline = clients.admin(settings), monotonic() + _FOLLOW_SECONDS
    while True:
        control.read_to_end()
        followed = control.values(FOLLOWED)
        members = member_names(admin, names.leader_group)
        behind = [one for one in members if _goes_by(followed.get(one)).get(function) != at]
        if not behind:
            break
        if monotonic() > deadline:
            raise UserError(
                f"it is written down, but {len(behind)} of the {len(members)} workers of {names.app} have not said within "
                f"{_FOLLOW_SECONDS:g} s that they go by it; look at their logs, and give the command again"
            )
        time.sleep(_LOOK_SECONDS)
    _forget(settings, names, [member for member in followed if member not in members])


def _goes_by(raw: bytes | None) -> Followed:
    return {} if raw is None else msgspec.json.decode(raw, type=Followed)


def _forget(settings: Settings, names: Names, members: list[str]) -> None:
    """Delete what workers said that are gone."""
    producer = clients.producer(settings)
    for member in members:
        producer.produce(names.control, None, FOLLOWED + member, 0)
    producer.flush()


def run_missed(settings: Settings, names: Names, function: str, say: Callable[[str], None]) -> list[Replay]:
    """Have the events run that a function has missed, as replays, one for each topic that has such; return these.

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
    for topic, places in sorted(_missed(settings, names.app, function, known.since).items()):
        left = _left(admin, topic, places)
        if len(left) < len(places):
            say(
                f"{len(places) - len(left)} events of {topic} that {function} has missed have expired, and cannot be run"
            )
        replay = _replay((topic, topics.topic_id(admin, topic)), function, left, known)
        if left and replay.id not in there:
            replaying.make(settings, names, replay, left)
        if left:
            made.append(there.get(replay.id, replay))
    write(clients.producer(settings), names.control, {PAUSE + function: None})
    return made


def _missed(settings: Settings, app: str, function: str, since: int) -> Mapping[str, set[Place]]:
    missed = Missed(function)
    with HistoryReader(settings, app) as reader:
        for batch in reader.read(reader.span(reader.partitions(), since)):
            for entry in batch:
                missed.add(entry.record)
    return missed.places()


def _left(admin: AdminClient, topic: str, places: set[Place]) -> set[Place]:
    """Return which places still have an event."""
    asked = {TopicPartition(topic, number): _EARLIEST for number in {partition for partition, _ in places}}
    starts = {part.partition: future.result().offset for part, future in admin.list_offsets(asked).items()}
    return {(partition, offset) for partition, offset in places if offset >= starts[partition]}


def _replay(topic: TopicId, function: str, places: set[Place], pause: Pause) -> Replay:
    """Return the replay of what was missed. Its id follows from the pause, so that it is made once."""
    spans: dict[int, tuple[int, int]] = {}
    for partition, offset in sorted(places):
        first, _ = spans.get(partition, (offset, 0))
        spans[partition] = first, offset + 1
    name, now = f"p{digest(function, topic[1], str(pause.since), str(pause.at))[:11]}", now_ms()
    return Replay(name, function, *topic, pause.since, now, spans, now, len(places), ACTIVE, PER_SECOND)
