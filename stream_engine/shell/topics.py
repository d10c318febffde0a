"""An app's topics: what each must be, creating what is missing, and saying what is wrong with what is there."""

import time
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from stream_engine.core.records.origin import Logs
from stream_engine.shell import clients
from stream_engine.shell.clients import MAX_RECORD_BYTES
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings
from stream_engine.shell.trouble import Trouble

DAY_MS = 86_400_000
_TIMEOUT = 30
_ANSWER_SECONDS = 10
_SETTLING_SECONDS = 0.05
_SEGMENT_BYTES = 32 * 1024 * 1024
_MESSAGE_BYTES = MAX_RECORD_BYTES + 64 * 1024
_CREATING_SECONDS = 2.0
_NO_ID = {"None", "AAAAAAAAAAAAAAAAAAAAAA"}


class TopicError(UserError):
    """A topic is missing, or is not what the engine needs; the message names it and what to do."""


@dataclass(frozen=True)
class Names:
    """The names of an app's topics and groups."""

    app: str
    events: str

    @classmethod
    def of(cls, app: str, events: str | None = None) -> "Names":
        """Return the names of an app; ``events`` is its events topic, where it is not its own."""
        return cls(app, events or f"{app}.events")

    @property
    def commands(self) -> str:
        """What routers and leaders ask of leaders."""
        return f"{self.app}.commands"

    @property
    def journal(self) -> str:
        """What leaders decided."""
        return f"{self.app}.journal"

    @property
    def state(self) -> str:
        """Snapshots of what the journal folds to."""
        return f"{self.app}.state"

    @property
    def control(self) -> str:
        """Catalogues and schemas."""
        return f"{self.app}.control"

    @property
    def history(self) -> str:
        """What happened, for readers."""
        return f"{self.app}.history"

    @property
    def insights(self) -> str:
        """Figures per function and version, made from history."""
        return f"{self.app}.insights"

    @property
    def dead_letters(self) -> str:
        """Bad input with its reason."""
        return f"{self.app}.dead-letters"

    @property
    def router_group(self) -> str:
        """The group whose offsets say how far the events are routed."""
        return f"{self.app}.router"

    def replay_group(self, replay_id: str) -> str:
        """The group whose offsets say how far a replay is routed."""
        return self.replay_groups + replay_id

    @property
    def leader_group(self) -> str:
        """The group that proposes who leads which partition."""
        return f"{self.app}.leaders"

    @property
    def replay_groups(self) -> str:
        """What the name of a replay's group begins with; the replay's id follows."""
        return f"{self.app}.replay."


@dataclass(frozen=True)
class Wanted:
    """What a topic must be. ``retention_ms`` is -1 for records that no time expires; ``partitions`` is a minimum, and so is ``record_bytes``, how large a record may be."""

    name: str
    partitions: int
    cleanup: str
    retention_ms: int
    timestamps: str = "CreateTime"
    record_bytes: int = MAX_RECORD_BYTES

    def config(self) -> dict[str, str]:
        """Return the topic's properties as Kafka spells them."""
        config = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": self.timestamps,
            "max.message.bytes": str(_MESSAGE_BYTES),
        }
        if self.retention_ms == -1:
            config["retention.bytes"] = "-1"
            # Trimmed records leave the disk by whole segments.
            config["segment.bytes"] = str(_SEGMENT_BYTES)
        return config


@dataclass(frozen=True)
class Found:
    """A topic as it is: what ``topics list`` shows. ``finding`` says what is wrong, if ``ok`` is False; ``blocks`` that no worker starts before it is mended."""

    name: str
    partitions: int
    cleanup: str
    retention_ms: int
    ok: bool
    finding: str | None
    blocks: bool = False


def wanted(names: Names, partitions: int) -> list[Wanted]:
    """Return what an app needs, in the order in which events flow. How large events may be is for those to say who send them."""
    return [
        Wanted(names.events, 1, "delete", 7 * DAY_MS, "LogAppendTime", record_bytes=0),
        Wanted(names.commands, partitions, "delete", -1),
        Wanted(names.journal, partitions, "delete", -1),
        Wanted(names.state, partitions, "delete", -1),
        Wanted(names.control, 1, "compact", -1),
        Wanted(names.history, partitions, "delete", 7 * DAY_MS),
        Wanted(names.dead_letters, 1, "delete", 30 * DAY_MS),
    ]


def apply(admin: AdminClient, names: Names, partitions: int) -> list[Found]:
    """Create the topics that are missing, and return all of them as they now are.

    Raises:
        TopicError: Kafka refuses to create one.
    """
    missing = [topic for topic in wanted(names, partitions) if topic.name not in partition_counts(admin)]
    replicas = min(3, len(admin.list_topics(timeout=_TIMEOUT).brokers))
    new = [
        _new_topic(topic, partitions if topic.name == names.events else topic.partitions, replicas) for topic in missing
    ]
    if new:
        _create(admin, new)
    settle(admin, [topic.name for topic in wanted(names, partitions)])
    return inspect(admin, names, partitions)


def create(admin: AdminClient, topics: list[Wanted]) -> list[str]:
    """Create those of some topics that are missing, and wait until all are served; return the names of the new ones.

    Raises:
        TopicError: Kafka refuses to create one.
    """
    existing = partition_counts(admin)
    missing = [topic for topic in topics if topic.name not in existing]
    replicas = min(3, len(admin.list_topics(timeout=_TIMEOUT).brokers))
    if missing:
        _create(admin, [_new_topic(topic, topic.partitions, replicas) for topic in missing])
    settle(admin, [topic.name for topic in topics])
    return [topic.name for topic in missing]


def inspect(admin: AdminClient, names: Names, partitions: int) -> list[Found]:
    """Return an app's topics as they are, with what is wrong with each; a missing one has 0 partitions."""
    existing = partition_counts(admin)
    topics = wanted(names, partitions)
    there = [topic.name for topic in topics if topic.name in existing]
    configs = _configs(admin, there)
    return [_compare(topic, existing.get(topic.name, 0), configs.get(topic.name, {})) for topic in topics]


def _new_topic(topic: Wanted, partitions: int, replicas: int) -> NewTopic:
    return NewTopic(
        topic.name,
        num_partitions=partitions,
        replication_factor=replicas,
        # One replica may be away; what is acknowledged is then still on two disks.
        config=topic.config() | {"min.insync.replicas": str(max(1, replicas - 1))},
    )


def _create(admin: AdminClient, new: list[NewTopic]) -> None:
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT).items():
        try:
            future.result(2 * _TIMEOUT)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise TopicError(f"Kafka did not create the topic {name}: {error.args[0].str()}") from error


def settle(admin: AdminClient, names: list[str]) -> None:
    """Wait until the topics are served: created, by whomever, is not yet served.

    Raises:
        TopicError: one of them is not.
    """
    deadline = monotonic() + _TIMEOUT
    while (topic := _unserved(admin, names)) is not None:
        if monotonic() > deadline:
            raise TopicError(f"Kafka has created the topic {topic}, but does not serve it; see the broker's log")
        time.sleep(_SETTLING_SECONDS)


def _unserved(admin: AdminClient, names: list[str]) -> str | None:
    # Listed each time: the client remembers for long that a partition had no leader, and looks again only when told to.
    existing = partition_counts(admin)
    for name in names:
        if not existing.get(name):
            return name
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's
    parts = {TopicPartition(name, number): latest for name in names for number in range(existing[name])}
    found = admin.list_offsets(parts, request_timeout=_TIMEOUT)
    for part, future in found.items():
        try:
            future.result(_TIMEOUT)
        except (KafkaException, TimeoutError):
            return str(part.topic)
    return None


def topic_id(admin: AdminClient, topic: str) -> str:
    """Return the id that Kafka gave a topic when it was created.

    Raises:
        TopicError: there is no such topic, or Kafka gives no ids.
    """
    return _described(admin, [topic])[0][0]


def cluster_id(admin: AdminClient) -> str:
    """Return the id of the cluster."""
    return str(admin.list_topics(timeout=_ANSWER_SECONDS).cluster_id)


def logs(admin: AdminClient, names: Names, cluster: str) -> Logs:
    """Return which logs of an app there are now; ``cluster`` is the cluster's id.

    Raises:
        TopicError: one of them does not exist, or Kafka gives no ids.
    """
    (journal, _), (commands, partitions) = _described(admin, [names.journal, names.commands])
    return Logs(cluster, journal, commands, partitions)


def _described(admin: AdminClient, names: list[str]) -> list[tuple[str, int]]:
    """Return the id and the number of partitions of each topic."""
    futures = admin.describe_topics(TopicCollection(names), request_timeout=_ANSWER_SECONDS)
    found = []
    for name in names:
        try:
            topic = futures[name].result(_TIMEOUT)
        except KafkaException as error:
            raise TopicError(f"Kafka does not describe the topic {name}: {error.args[0].str()}") from error
        if str(topic.topic_id) in _NO_ID:
            raise TopicError(
                f"Kafka gives the topic {name} no id, so that one created again could not be told from it; use a broker that does: "
                "Apache Kafka from 2.8 on"
            )
        found.append((str(topic.topic_id), len(topic.partitions)))
    return found


def partition_count(admin: AdminClient, topic: str) -> int:
    """Return how many partitions a topic has, 0 if there is none of that name."""
    return partition_counts(admin).get(topic, 0)


def exists(settings: Settings, topic: str) -> bool | None:
    """Return whether there is a topic to produce to, or None if Kafka does not say.

    It is asked about as by one who is about to produce: a cluster that creates topics for these creates it, in a moment.
    """
    producer = clients.producer(settings, **Trouble(settings).properties)
    deadline = monotonic() + _CREATING_SECONDS
    while True:
        try:
            error = producer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic].error
        except KafkaException:
            return None
        if error is None or error.name() != "UNKNOWN_TOPIC_OR_PART":
            return True if error is None or error.retriable() else None
        if monotonic() > deadline:
            return False
        time.sleep(_SETTLING_SECONDS)


def partition_counts(admin: AdminClient) -> dict[str, int]:
    """Return how many partitions each topic of the cluster has."""
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=_ANSWER_SECONDS).topics.items()}


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    futures = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {
        resource.name: {key: entry.value for key, entry in future.result().items()}
        for resource, future in futures.items()
    }


def _compare(topic: Wanted, partitions: int, config: dict[str, str]) -> Found:
    cleanup = config.get("cleanup.policy", "")
    retention = int(config.get("retention.ms", 0))
    finding = None
    if not partitions:
        finding = "missing; `stream-engine topics apply` creates it"
    elif topic.cleanup != cleanup:
        finding = f"cleanup.policy is {cleanup}; set it to {topic.cleanup}"
    elif topic.retention_ms == -1 and (retention, config.get("retention.bytes")) != (-1, "-1"):
        finding = "records expire, and with them the state; set retention.ms and retention.bytes to -1"
    elif partitions < topic.partitions:
        finding = f"{partitions} partitions, but {topic.partitions} are needed; all internal topics have equally many"
    blocks = finding is not None
    most = int(config.get("max.message.bytes", _MESSAGE_BYTES))
    if finding is None and most < topic.record_bytes:
        # Most records are small: an app that served so far goes on, until there is one that is not.
        finding = f"max.message.bytes is {most}: what is decided at once may have {topic.record_bytes}, and is refused; set it to {_MESSAGE_BYTES} on the topic"
    return Found(topic.name, partitions, cleanup, retention, finding is None, finding, blocks)
