"""Finds out what `stream_engine.core.views.diagnosis` judges. What cannot be found out is a fact too, never an exception."""

import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    MemberDescription,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)
from msgspec.structs import replace

from stream_engine.core.functions.catalogue import RESERVED
from stream_engine.core.views.facts import AppFacts, BrokerFacts, Facts, GroupFacts, StateFacts, TopicFacts
from stream_engine.sdk.events import Event, message
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import monotonic, now_ms
from stream_engine.shell.coordinators import coordinated
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import vitals
from stream_engine.shell.operating.apps import apps, named_by
from stream_engine.shell.operating.pausing import pauses
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names
from stream_engine.shell.trouble import Trouble

PROBE: Final = RESERVED + "doctor"
"""The event that asks for the broker's time; no function can be triggered by it."""

_BROKER_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
_LOADING: Final = {"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS"}
_LOADING_SECONDS: Final = 0.1
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's
_NO_GROUP: Final = "GROUP_ID_NOT_FOUND"


def examine(settings: Settings, app: str | None) -> Facts:
    """Find out about the machine, the broker, and one app, or all that have topics there."""
    try:
        settings = connected(settings)
    except UserError as error:
        return Facts(settings.describe(), _state(settings.state_dir), BrokerFacts(None, str(error)), [])
    broker = _broker(settings)
    names = [] if broker.problem is not None else apps(settings) if app is None else [app]
    return Facts(settings.describe(), _state(settings.state_dir), broker, [_app(settings, name) for name in names])


def _state(path: Path) -> StateFacts:
    # It need not exist yet; then it will be made in the first folder above it that does.
    there = next(folder for folder in (path, *path.parents) if folder.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there):
            problem = None
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
    return StateFacts(str(path), problem, shutil.disk_usage(there).free)


def _broker(settings: Settings) -> BrokerFacts:
    trouble = Trouble(settings)
    consumer = clients.reader(settings, **trouble.properties)
    try:
        metadata = consumer.list_topics(timeout=_BROKER_SECONDS)
    except KafkaException as error:
        return BrokerFacts(settings.bootstrap_servers, str(trouble.no_answer(consumer, error)))
    finally:
        consumer.close()
    return BrokerFacts(settings.bootstrap_servers, None, str(metadata.cluster_id), len(metadata.brokers))


def _app(settings: Settings, app: str) -> AppFacts:
    admin = clients.admin(settings)
    names = Names.of(app)
    try:
        there = admin.list_topics(timeout=_ANSWER_SECONDS).topics
        if app not in (named := named_by(there)):
            others = ", ".join(named) or "none; a worker creates the topics of its app"
            problem = f"there is no app of this name at this broker; it has {others}"
            return AppFacts(app, names.events, [], [], problem=problem)
        published = Published(settings, names.control) if names.control in there else None
        catalogue = None if published is None else published.catalogue()
        names = Names.of(app, None if catalogue is None else catalogue.events)
        found = _topics(admin, names, there, settings.partitions)
        sources = _sources(admin, () if catalogue is None else catalogue.sources, there)
        groups = [
            _group(settings, admin, names.router_group, [*found, *sources]),
            _group(settings, admin, names.leader_group, found),
        ]
        skew, took = _clock(settings, found[0])
        facts = AppFacts(app, names.events, found, groups, skew=skew, took=took, sources=sources, now=now_ms())
        if published is None or catalogue is None:
            return facts
        has_logs = {names.journal, names.commands} <= there.keys()
        return replace(
            facts,
            functions=sorted(catalogue.functions),
            catalogue=catalogue.digest,
            leads=vitals.leads(settings, names, facts.now) if has_logs else [],
            longest=vitals.longest_wait(settings, app),
            pauses=pauses(published.control),
            unread=vitals.unread(admin, names.router_group, published.control.interests()),
        )
    except KafkaException as error:
        return AppFacts(app, names.events, [], [], problem=f"Kafka does not tell about it: {error.args[0].str()}")
    except UserError as error:
        return AppFacts(app, names.events, [], [], problem=str(error))


def _topics(
    admin: AdminClient, names: Names, there: Mapping[str, TopicMetadata], default_partitions: int
) -> list[TopicFacts]:
    partitions = len(there[names.commands].partitions) if names.commands in there else default_partitions
    found = topics.inspect(admin, names, partitions)
    configs = _configs(admin, [topic.name for topic in found if topic.partitions])
    return [_topic(topic, there.get(topic.name), configs.get(topic.name, {})) for topic in found]


def _sources(admin: AdminClient, names: Iterable[str], there: Mapping[str, TopicMetadata]) -> list[TopicFacts]:
    configs = _configs(admin, [name for name in names if name in there])
    return [
        _topic(topics.Found(name, count, "", 0, ok=True, finding=None), there.get(name), configs.get(name, {}))
        for name in names
        for count in [len(there[name].partitions) if name in there else 0]
    ]


def _topic(found: topics.Found, metadata: TopicMetadata | None, config: dict[str, str]) -> TopicFacts:
    parts = [] if metadata is None else list(metadata.partitions.values())
    return TopicFacts(
        found.name,
        found.partitions,
        min((len(part.replicas) for part in parts), default=0),
        min((len(part.isrs) for part in parts), default=0),
        sum(part.leader < 0 for part in parts),
        config,
        found.finding,
    )


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    futures = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {
        resource.name: {key: entry.value for key, entry in future.result().items()}
        for resource, future in futures.items()
    }


def _members(admin: AdminClient, group: str) -> list[MemberDescription]:
    deadline = monotonic() + _ANSWER_SECONDS
    while True:
        try:
            members: list[MemberDescription] = coordinated(admin.describe_consumer_groups, [group]).members
        except KafkaException as error:
            # A broker that has just started is still about to load what it knows of groups.
            if error.args[0].name() not in _LOADING or monotonic() > deadline:
                raise
            time.sleep(_LOADING_SECONDS)
        else:
            return members


def _group(settings: Settings, admin: AdminClient, group: str, found: list[TopicFacts]) -> GroupFacts:
    try:
        members = _members(admin, group)
    except KafkaException as error:
        if error.args[0].name() != _NO_GROUP:
            raise
        return GroupFacts(group, 0)
    committed = coordinated(admin.list_consumer_group_offsets, [ConsumerGroupTopicPartitions(group)])
    known = {topic.name for topic in found if topic.partitions}
    parts = [part for part in committed.topic_partitions if part.offset >= 0 and part.topic in known]
    starts, ends = _offsets(admin, parts, _EARLIEST), _offsets(admin, parts, _LATEST)
    places = [(part.offset, starts[part.topic, part.partition], ends[part.topic, part.partition]) for part in parts]
    next_ones = [
        TopicPartition(part.topic, part.partition, max(offset, start))
        for part, (offset, start, end) in zip(parts, places, strict=True)
        if max(offset, start) < end
    ]
    lag = sum(max(end - max(offset, start), 0) for offset, start, end in places)
    lost = {
        (part.topic, part.partition): start - offset
        for part, (offset, start, _) in zip(parts, places, strict=True)
        if offset < start
    }
    digests = (member.client_id.rpartition(clients.CATALOGUE_MARK) for member in members)
    catalogues = frozenset(digest for _, mark, digest in digests if mark)
    return GroupFacts(group, len(members), lag, lost, catalogues, vitals.oldest(settings, next_ones, now_ms()))


def _offsets(admin: AdminClient, parts: list[TopicPartition], at: OffsetSpec) -> Mapping[tuple[str, int], int]:
    if not parts:
        return {}
    asked = {TopicPartition(part.topic, part.partition): at for part in parts}
    futures = admin.list_offsets(asked)
    return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}


def _clock(settings: Settings, events: TopicFacts) -> tuple[int | None, int]:
    """Return how far the broker's clock is ahead, in milliseconds, as far as the time hides nothing that asking took.

    Kafka tells its time only with a record that it stamps itself, so an event is sent that nothing is triggered by.
    """
    if events.config.get("message.timestamp.type") != "LogAppendTime":
        return None, 0
    producer = clients.producer(settings, **Trouble(settings).properties)
    stamps: list[tuple[int, int]] = []

    def delivered(error: Any, report: Any) -> None:
        if error is None:
            stamps.append(report.timestamp())

    probe = message(Event(PROBE), b"{}", None, None)
    # What a new client has to ask first would be taken for a difference.
    producer.list_topics(events.name, timeout=_ANSWER_SECONDS)
    before = now_ms()
    producer.produce(events.name, probe.value, on_delivery=delivered)
    producer.flush(_ANSWER_SECONDS)
    after = now_ms()
    if not stamps or stamps[0][0] != TIMESTAMP_LOG_APPEND_TIME:
        return None, 0
    broker = stamps[0][1]
    return min(broker - before, 0) or max(broker - after, 0), after - before
