"""What must be true once a simulated world has come to rest: everything is finished, once, and told."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec

from stream_engine.core.flow import PLAIN
from stream_engine.core.identity import event_identity, idempotency_key
from stream_engine.core.tables import INTAKE, SEQUENCES
from tests.simulation.graphs import audit_graphs
from tests.simulation.kafka import SimKafka, Topics
from tests.simulation.outside import Outside
from tests.simulation.programs import SimFunction
from tests.simulation.referee import Referee

Catalogue = dict[str, SimFunction]
_INTERIM = {"delayed", "queued"}
_LASTING = (INTAKE.prefix, SEQUENCES.prefix)


def audit(referee: Referee, kafka: SimKafka, topics: Topics, catalogues: list[Catalogue], outside: Outside) -> None:
    """Object to anything lost, doubled, or still waiting."""
    _audit_rest(referee)
    _audit_events(referee, kafka, topics, catalogues)
    referee.gatekeeper.over(referee.started.__contains__)
    referee.gathering.over(referee.disposed)
    _audit_handlers(referee, catalogues[-1])
    _audit_sent_events(referee, kafka, topics)
    _audit_history(referee, kafka, topics)
    audit_graphs(referee, kafka.partitions(topics.commands), catalogues[-1], outside)


def _audit_rest(referee: Referee) -> None:
    for partition, fold in referee.folds.items():
        waiting = [key for key in fold.data if key[:1] not in _LASTING]
        if waiting:
            referee.object(6, f"partition {partition} still holds {waiting}")
    for run_id in referee.started.keys() - referee.ended.keys():
        referee.object(6, f"{run_id} has not ended")


def _events(kafka: SimKafka, topics: Topics) -> Iterator[tuple[tuple[int, int], dict[str, str] | None, str]]:
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
            yield (partition, stored.offset), event, identity


def _audit_events(referee: Referee, kafka: SimKafka, topics: Topics, catalogues: list[Catalogue]) -> None:
    handlers = {function.id for function in catalogues[-1].values() if not function.triggers}
    dispositions = _dispositions(referee, handlers)
    dead = {dict(stored.headers)["origin"].decode() for stored in kafka.log(topics.dead_letters, 0).records}
    starts: Counter[tuple[str, str]] = Counter()
    repeats: set[tuple[str, str]] = set()
    cancelled: set[tuple[str, str]] = set()
    for place, event, identity in _events(kafka, topics):
        had = dispositions.pop(place, [])
        if (f"{place[0]}/{place[1]}" in dead) is not (event is None):
            referee.object(7, f"dead letters and the event at {place} do not agree")
        expected = [_matching(catalogue, event) for catalogue in catalogues]
        if sorted(function for function, _ in had) not in expected:
            referee.object(1, f"the event at {place} has the dispositions {had}, not one for each of {expected}")
        starts.update((identity, function) for function, disposition in had if disposition == "started")
        repeats.update((identity, function) for function, disposition in had if disposition == "duplicate")
        cancelled.update((identity, function) for function, disposition in had if disposition == "cancelled")
    if dispositions:
        referee.object(1, f"dispositions of no event: {dict(dispositions)}")
    gated = {function.id for function in catalogues[-1].values() if function.flow != PLAIN}
    for about in starts.keys() | repeats:
        # An event that gates dropped, or took up into another run, has no run that bears its identity; nor has one that was cancelled.
        if starts[about] > 1 or (starts[about] == 0 and about[1] not in gated and about not in cancelled):
            referee.object(1, f"{about} was started {starts[about]} times")


def _dispositions(referee: Referee, handlers: set[str]) -> dict[tuple[int, int], list[tuple[str, str]]]:
    """Return the final dispositions of each event, by its place, with their functions; what was invoked, or is a handler's, has none."""
    found: dict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
    for started in referee.started.values():
        if started.of_run is None and started.topic:
            found[started.partition, started.offset].append((started.function, "started"))
    for disposed in referee.disposed:
        if disposed.disposition not in _INTERIM and disposed.topic and disposed.function not in handlers:
            found[disposed.partition, disposed.offset].append((disposed.function, disposed.disposition))
    return found


def _matching(catalogue: Catalogue, event: dict[str, str] | None) -> list[str]:
    if event is None:
        return []
    return sorted(function.id for function in catalogue.values() if event["name"] in function.triggers)


def _audit_handlers(referee: Referee, catalogue: Catalogue) -> None:
    # A handler's run may have been cancelled before it began. What a run has invoked names it too.
    cancelled = {disposed.function for disposed in referee.disposed if disposed.disposition == "cancelled"}
    handled = Counter((started.of_run, started.function) for started in referee.started.values())
    for run_id, (_, ended) in referee.ended.items():
        handler = catalogue[ended.function].on_failure
        due = int(ended.status == "failed" and handler is not None)
        if due and handler in cancelled and not handled[run_id, handler]:
            continue
        if handler is not None and handled[run_id, handler] != due:
            referee.object(1, f"{run_id} ended as {ended.status} and was handled {handled[run_id, handler]} times")


def _audit_sent_events(referee: Referee, kafka: SimKafka, topics: Topics) -> None:
    there = {event.get("id") for _, event, _ in _events(kafka, topics) if event}
    roots = {run_id: run_id.rpartition("-")[0] for run_id in referee.started}
    for (run_id, step_id), (_, recorded) in referee.settled.items():
        if recorded.kind == "send_event" and idempotency_key(roots[run_id], step_id) not in there:
            referee.object(1, f"what {run_id}/{step_id} sent is not on the log")


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
