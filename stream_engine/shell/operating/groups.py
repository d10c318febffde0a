"""The consumer groups of an app: how far each has come, and how far there is to go."""

from collections.abc import Iterable, Mapping

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_engine.core.routing.replay import Replay, end_and_lag
from stream_engine.shell import clients, topics
from stream_engine.shell.coordinators import coordinated
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_ANSWER_SECONDS = 10


Place = tuple[str, int]
"""A topic and the number of a partition."""


class GroupError(UserError):
    """Kafka does not tell of the groups of an app; the message says why."""


class GroupRow(msgspec.Struct, frozen=True):
    """One partition as a group has read it. ``offset`` is None where the group has none yet.

    ``end`` is that of the partition; for a replay, that of what it replays. ``lag`` is how far that is; None where the group has no offset, and for a
    replay that goes on no more.
    """

    group: str
    topic: str
    partition: int
    offset: int | None
    end: int
    lag: int | None
    replay_id: str | None


def inspect(
    settings: Settings, app: str, events: str | None, sources: Iterable[str], replays: Iterable[Replay]
) -> list[GroupRow]:
    """Return what the groups of an app have committed: its router's, and its replays'.

    ``events`` is its events topic, ``sources`` are the topics that it reads besides, ``replays`` those of its replays that are known.

    The group that proposes leaders commits nothing: how far commands are taken is part of the state.

    Raises:
        GroupError: there is no such app, or Kafka refuses.
    """
    admin, names = clients.admin(settings), Names.of(app, events)
    try:
        counts = topics.partition_counts(admin)
        if names.events not in counts:
            raise GroupError(
                f"there is no app {app!r} on {settings.bootstrap_servers}: it has no topic {names.events}; a worker, or "
                f"`stream-engine topics apply`, creates the topics of an app"
            )
        routed = [names.events, *(topic for topic in sources if topic in counts)]
        every = {TopicPartition(topic, number) for topic in routed for number in range(counts[topic])}
        found = {names.router_group: None, **dict.fromkeys(_replays(admin, names))}
        committed = {group: _committed(admin, group) for group in found}
        parts = every.union(
            *({TopicPartition(topic, number) for topic, number in offsets} for offsets in committed.values())
        )
        ends = _ends(admin, parts)
    except KafkaException as error:
        raise GroupError(
            f"Kafka at {settings.bootstrap_servers} does not tell of the groups of {app}: {error.args[0].str()}"
        ) from error
    own = {(part.topic, part.partition) for part in every}
    known = {replay.id: replay for replay in replays}
    return [
        _row(group, place, offsets.get(place), ends[place], names=names, replays=known)
        for group, offsets in committed.items()
        for place in sorted(own | offsets.keys() if group == names.router_group else _with_others(own, offsets))
    ]


def _with_others(routed: set[Place], committed: Iterable[Place]) -> set[Place]:
    """Return the partitions that a group has offsets for, and the others of the same topics."""
    topics = {topic for topic, _ in committed}
    return {*committed, *(place for place in routed if place[0] in topics)}


def _row(
    group: str, place: Place, offset: int | None, end: int, *, names: Names, replays: Mapping[str, Replay]
) -> GroupRow:
    if group == names.router_group:
        return GroupRow(group, *place, offset, end, None if offset is None else max(end - offset, 0), None)
    id = group.removeprefix(names.replay_groups)
    # Nobody carries out what is not known any more.
    left = end_and_lag(replays[id], place[1], offset) if id in replays else (end, None)
    return GroupRow(group, *place, offset, *left, id)


def _replays(admin: AdminClient, names: Names) -> list[str]:
    listed = admin.list_consumer_groups(request_timeout=_ANSWER_SECONDS).result()
    return sorted(group.group_id for group in listed.valid if group.group_id.startswith(names.replay_groups))


def _committed(admin: AdminClient, group: str) -> dict[tuple[str, int], int]:
    found = coordinated(admin.list_consumer_group_offsets, [ConsumerGroupTopicPartitions(group)]).topic_partitions
    return {(part.topic, part.partition): part.offset for part in found if part.offset >= 0}


def _ends(admin: AdminClient, parts: set[TopicPartition]) -> dict[tuple[str, int], int]:
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's
    futures = admin.list_offsets(dict.fromkeys(parts, latest), request_timeout=_ANSWER_SECONDS)
    return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}
