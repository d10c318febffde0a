"""What must be true once a simulated world has come to rest: everything is finished, once, and told."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from stream_engine.core.functions.flow import PLAIN
from stream_engine.core.identity import event_identity
from stream_engine.core.records.tables import INTAKE, SEQUENCES
from stream_engine.core.routing.cause import Cause, cause_of
from tests.simulation.again import Place, Times
from tests.simulation.graphs import audit_graphs
from tests.simulation.kafka import SimKafka, Topics
from tests.simulation.outside import Outside
from tests.simulation.programs import SimFunction
from tests.simulation.referee import Referee

Catalogue = dict[str, SimFunction]
_INTERIM = {"delayed", "queued"}
_LASTING = (INTAKE.prefix, SEQUENCES.prefix)


def audit(
    referee: Referee, kafka: SimKafka, topics: Topics, catalogues: list[Catalogue], *, outside: Outside, times: Times
) -> None:
    """Object to anything lost, doubled, or still waiting."""
    _audit_rest(referee)
    times.live.judge(referee.object)
    _audit_events(referee, kafka, topics, catalogues, times)
    referee.gatekeeper.over(referee.started.__contains__)
    referee.gathering.over(referee.disposed)
    _audit_handlers(referee, catalogues[-1])
    _audit_sent_events(referee, kafka, topics)
    _audit_history(referee, kafka, topics)
    audit_graphs(referee, kafka.partitions(topics.commands), catalogues[-1], outside)
    _audit_refused(referee, kafka, topics, outside)


def _audit_rest(referee: Referee) -> None:
    for partition, fold in referee.folds.items():
        waiting = [key for key in fold.data if key[:1] not in _LASTING]
        if waiting:
            referee.object(6, f"partition {partition} still holds {waiting}")
    for run_id in referee.started.keys() - referee.ended.keys():
        referee.object(6, f"{run_id} has not ended")


_About = tuple[str, str, str | None]
"""An event's identity, a function, and a replay."""


class _Found(NamedTuple):
    """An event on the log; ``content`` is None where it is none."""

    place: Place
    content: dict[str, Any] | None
    identity: str
    cause: Cause | None


def _events(kafka: SimKafka, topics: Topics) -> Iterator[_Found]:
    for partition in range(kafka.partitions(topics.events)):
        log = kafka.log(topics.events, partition)
        for stored in log.records:
            assert stored.value is not None
            try:
                event = json.loads(stored.value)
            except json.JSONDecodeError:
                event = None
            event_id = event.get("id") if event else None
            identity = event_identity(event_id, log.topic_id, partition, stored.offset)
            yield _Found((partition, stored.offset), event, identity, cause_of(stored.headers))


def _audit_events(referee: Referee, kafka: SimKafka, topics: Topics, catalogues: list[Catalogue], times: Times) -> None:
    handlers = {function.id for function in catalogues[-1].values() if not function.triggers}
    dispositions = _dispositions(referee, handlers)
    letters = [dict(stored.headers) for stored in kafka.log(topics.dead_letters, 0).records]
    dead = {headers["origin"].decode() for headers in letters if "origin" in headers}
    starts: Counter[_About] = Counter()
    repeats: set[_About] = set()
    # An event that gates dropped, or took up into another run, has no run that bears its identity; nor has one that was cancelled.
    excused: set[_About] = set()
    gated = {function.id for function in catalogues[-1].values() if replace(function.flow, cancel_on=()) != PLAIN}
    for place, event, identity, cause in _events(kafka, topics):
        if (f"{place[0]}/{place[1]}" in dead) is not (event is None):
            referee.object(7, f"dead letters and the event at {place} do not agree")
        for replay_id, (only, certain) in times.of(place, cause).items():
            had = dispositions.pop((place, replay_id), [])
            expected = [_matching(catalogue, event, only) for catalogue in catalogues]
            if sorted(name for name, _ in had) not in (expected if certain or had else [[]]):
                referee.object(
                    1, f"the event at {place} has in {replay_id} the dispositions {had}, not one for each of {expected}"
                )
            judged = [((identity, name, replay_id), disposition) for name, disposition in had]
            starts.update(one for one, disposition in judged if disposition == "started")
            repeats.update(one for one, disposition in judged if disposition == "duplicate")
            excused.update(
                one for one, disposition in judged if disposition == "cancelled" or one[1] in gated or not certain
            )
    if dispositions:
        referee.object(1, f"dispositions of no event: {dict(dispositions)}")
    for about in starts.keys() | repeats:
        if starts[about] > 1 or (starts[about] == 0 and about in repeats and about not in excused):
            referee.object(1, f"{about} was started {starts[about]} times")


def _audit_refused(referee: Referee, kafka: SimKafka, topics: Topics, outside: Outside) -> None:
    """Object to events that were refused as completions without a dead letter, or have one although they were not."""
    refused = {
        name
        for callback in outside.by_events
        for name in outside.completions[callback]
        if referee.completions.get(name) != ["completed"]
    }
    letters = kafka.log(topics.dead_letters, 0).records
    buried = {json.loads(stored.value or b"")["id"] for stored in letters if "origin" not in dict(stored.headers)}
    if refused != buried:
        referee.object(7, f"the events {refused} were refused as completions, and {buried} have dead letters")


def _dispositions(referee: Referee, handlers: set[str]) -> dict[tuple[Place, str | None], list[tuple[str, str]]]:
    """Return the final dispositions of each event, by its place and the replay, with their functions; what was invoked, or is a handler's, has none."""
    found: dict[tuple[Place, str | None], list[tuple[str, str]]] = defaultdict(list)
    for started in referee.started.values():
        if started.of_run is None and started.topic:
            place = started.partition, started.offset
            found[place, started.replay_id].append((started.function, "started"))
    for disposed in referee.disposed:
        if disposed.disposition not in _INTERIM and disposed.topic and disposed.function not in handlers:
            place = disposed.partition, disposed.offset
            found[place, disposed.replay_id].append((disposed.function, disposed.disposition))
    return found


def _matching(catalogue: Catalogue, event: dict[str, Any] | None, only: str | None) -> list[str]:
    if event is None:
        return []
    return sorted(
        function.id
        for function in catalogue.values()
        if event["name"] in function.triggers and only in (None, function.id)
    )


def _audit_handlers(referee: Referee, catalogue: Catalogue) -> None:
    # A handler's run may have been cancelled before it began. What a run has invoked names it too.
    cancelled = {disposed.function for disposed in referee.disposed if disposed.disposition == "cancelled"}
    handled = Counter((started.of_run, started.function) for started in referee.started.values())
    for run_id, (_, ended) in referee.ended.items():
        handler = catalogue[ended.function].on_failure
        due = int(ended.status in {"failed", "timed_out"} and handler is not None)
        if due and handler in cancelled and not handled[run_id, handler]:
            continue
        if handler is not None and handled[run_id, handler] != due:
            referee.object(1, f"{run_id} ended as {ended.status} and was handled {handled[run_id, handler]} times")


def _audit_sent_events(referee: Referee, kafka: SimKafka, topics: Topics) -> None:
    data = [found.content["data"] for found in _events(kafka, topics) if found.content]
    there = {(one["by"], one["step"]) for one in data if "by" in one}
    for step, (_, recorded) in referee.settled.items():
        if recorded.kind == "send_event" and step not in there:
            referee.object(1, f"what {step} sent is not on the log")


def _audit_history(referee: Referee, kafka: SimKafka, topics: Topics) -> None:
    for partition, fold in referee.folds.items():
        told: dict[bytes, bytes] = {}
        for stored in kafka.log(topics.history, partition).records:
            assert stored.key is not None
            assert stored.value is not None
            if told.setdefault(stored.key, stored.value) != stored.value:
                referee.object(3, f"history tells {stored.key!r} in two ways")
        expected = {
            f"{partition}/{epoch}/{n}/{index}".encode(): msgspec.msgpack.encode(record)
            for (epoch, n, index), record in fold.history().items()
        }
        if told != expected:
            missing, extra = expected.keys() - told.keys(), told.keys() - expected.keys()
            referee.object(1, f"history of partition {partition}: missing {missing}, not in the journal {extra}")
