"""What a worker finds, or creates, of its app on Kafka, and whether it is what was there before."""

from dataclasses import dataclass

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from msgspec.structs import asdict

from stream_engine.core.records.origin import Logs, TornError, check_together
from stream_engine.sdk.engine import Engine
from stream_engine.shell import topics
from stream_engine.shell.control import Control, write
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_LOGS = "logs"
"""The key of the control topic under which the app's logs are written down."""


@dataclass(frozen=True)
class Deployment:
    """What there is of an app: its topics' names, its logs, and the ids of its state and events topics and, by their names, of its sources' topics."""

    names: Names
    logs: Logs
    state_id: str
    events_id: str
    sources: dict[str, str]

    @property
    def routed(self) -> list[tuple[str, str]]:
        """The names and ids of all topics that have events of the app, its own first."""
        return [(self.names.events, self.events_id), *self.sources.items()]


def deploy(admin: AdminClient, control: Control, engine: Engine, settings: Settings) -> Deployment:
    """Create the app's topics where they are missing, and return what is there; the control topic has then been read.

    Raises:
        UserError: a topic is not what the engine needs, is not the one that was there before, or Kafka cannot be reached.
    """
    names = Names.of(engine.name, engine.events_topic)
    known = None
    if names.control in topics.partition_counts(admin):
        topics.settle(admin, [names.control])
        known = _known(control)
    # Asked for again: another worker may be creating them, and writes down last what they are.
    there = topics.partition_counts(admin)
    control.check_formats()
    if known is not None:
        gone = [topic for topic in (names.journal, names.commands) if topic not in there]
        if gone:
            raise torn(names, TornError(f"{' and '.join(gone)} existed, and is gone with all that was in it"))
    partitions = known.partitions if known is not None else there.get(names.commands) or settings.partitions
    for found in topics.apply(admin, names, partitions):
        if found.blocks:
            raise topics.TopicError(f"the topic {found.name}: {found.finding}")
    logs = topics.logs(admin, names, topics.cluster_id(admin))
    compare(names, _known(control) or logs, logs)
    ids = topics.topic_id(admin, names.state), topics.topic_id(admin, names.events)
    return Deployment(names, logs, *ids, _sources(admin, engine))


def _sources(admin: AdminClient, engine: Engine) -> dict[str, str]:
    """Return the ids of the topics that others own.

    Raises:
        TopicError: one is not there.
    """
    there = topics.partition_counts(admin)
    for source in engine.sources:
        if not there.get(source.topic):
            raise topics.TopicError(
                f"the source {source.topic} is not there: a worker creates no topic that others own, so have its owner create it first"
            )
    return {source.topic: topics.topic_id(admin, source.topic) for source in engine.sources}


def write_down(producer: Producer, control: Control, deployment: Deployment) -> None:
    """Write down which logs the app has, if nobody has yet.

    Raises:
        ControlError: Kafka did not take it.
    """
    if control.value(_LOGS) is None:
        write(producer, deployment.names.control, {_LOGS: msgspec.json.encode(asdict(deployment.logs))})


def compare(names: Names, known: Logs, found: Logs) -> None:
    """Compare the app's logs as they were with those that are there now.

    Raises:
        UserError: they are not the same.
    """
    try:
        check_together(known, found)
    except TornError as error:
        raise torn(names, error) from error


def torn(names: Names, error: TornError) -> UserError:
    """Return what to tell the user about logs that do not belong together."""
    others = f"{names.journal}, {names.commands}, {names.state}, {names.control} and {names.history}"
    return UserError(
        f"the topics of {names.app} do not belong together any more, and no worker can mend that: {error}. Bring back the topics "
        f"as they were, or begin anew: stop all workers and delete {others}. Runs in progress are lost then; the events stay, "
        "and can be replayed"
    )


def _known(control: Control) -> Logs | None:
    control.read_to_end()
    raw = control.value(_LOGS)
    if raw is None:
        return None
    written = msgspec.json.decode(raw)
    return Logs(*(written[name] for name in Logs.__struct_fields__))
