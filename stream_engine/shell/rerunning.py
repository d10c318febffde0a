"""Running a run again: the same event, from the log, as a new run with a link to the first one."""

from typing import NamedTuple
from uuid import uuid4

from confluent_kafka import TopicPartition

from stream_engine.core.catalogue import Catalogue
from stream_engine.core.envelope import Rejection
from stream_engine.core.history import RunStarted
from stream_engine.core.identity import digest, partition_of, run_id, run_name
from stream_engine.core.receive import receive
from stream_engine.core.records import WRITES, Event, encode
from stream_engine.core.requests import Asked, Commands, Entry, Pass, Reused
from stream_engine.core.reuse import excess
from stream_engine.shell import clients, topics
from stream_engine.shell.avro_events import avro_decoder
from stream_engine.shell.clients import offsets
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.routing import message_of
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_SECONDS = 30
_GATES = frozenset({"throttle", "concurrency"})


class Again(NamedTuple):
    """What is to be run again, and how."""

    run: str
    started: RunStarted
    reused: tuple[Reused, ...]
    version: str
    new_keys: bool


def event_of(settings: Settings, started: RunStarted) -> Event:
    """Read the event of a run from the log.

    Raises:
        UserError: it is not there any more.
    """
    topic, number, offset = started.topic, started.partition, started.offset
    consumer = clients.reader(settings)
    try:
        there = offsets(consumer, topic, number)
        if offset not in there:
            raise UserError(
                f"the event of this run is not on the log any more: {topic}/{number} begins at offset {there.start}, and it was at {offset}"
            )
        topic_id = topics.topic_id(clients.admin(settings), topic)
        consumer.assign([TopicPartition(topic, number, offset)])
        deadline = monotonic() + _SECONDS
        while monotonic() < deadline:
            raw = consumer.poll(1.0)
            if raw is None or raw.error() is not None:
                continue
            event = receive(message_of(raw, topic, topic_id), {}, avro_decoder(settings.schemas))
            if raw.offset() != offset or isinstance(event, Rejection):
                raise UserError(f"there is no event at offset {offset} of {topic}/{number} any more")
            return event
        raise UserError(f"{settings.bootstrap_servers} has not answered for half a minute")
    finally:
        consumer.close()


def rerun(settings: Settings, names: Names, catalogue: Catalogue, again: Again, now: int) -> str:
    """Have a run begin anew; return the new run's id. Concurrency and throttles hold for it; what decides whether there is a run does not.

    Raises:
        UserError: its event is gone, or what it takes over is too much for one command.
    """
    wrong = excess(again.reused)
    if wrong is not None:
        raise UserError(
            f"run {again.run} cannot be taken up: {wrong}; run it again from an earlier step, or as a whole"
        )
    event, function = event_of(settings, again.started), again.started.function
    partitions = topics.partition_count(clients.admin(settings), names.commands)
    assert partitions is not None
    name = digest(again.run, "rerun", uuid4().hex)
    asked = [
        one for one in catalogue.match(event, partitions, again.started.replay_id).asked if one.function == function
    ]
    gates = asked[0] if asked else Asked(function, ())
    home = gates.home if gates.home >= 0 else partition_of(again.run)
    root = name if again.new_keys else run_name(names.app, function, event.identity, None)
    entry = Entry(
        run_id(name, home),
        function,
        root,
        now,
        max(0, now - gates.head_start),
        tuple(gate for gate in gates.gates if gate.kind in _GATES),
        event,
        again.started.replay_id,
        reused=again.reused,
        rerun_of=again.run,
        version=again.version,
    )
    value = encode(Commands("", None, [(0, Pass(entry))], WRITES))
    failures: list[str] = []
    producer = clients.producer(settings)
    producer.produce(
        names.commands, value, None, home, on_delivery=lambda error, _: failures.append(str(error)) if error else None
    )
    if producer.flush(_SECONDS) or failures:
        raise UserError(f"Kafka did not take the command: {failures[:1] or 'no answer'}")
    return entry.run_id
