"""What was sent, and what made runs begin: read off the topics and history alone, by rules that are written down here once more.

Judges go by this, and not by what the engine makes of it: which event is behind which, which fits which condition, and what a run's trigger was.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stream_engine.core.functions.flow import CancelOn
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.wanted import Sender
from stream_engine.core.routing.callback_event import COMPLETED_EVENT
from stream_engine.core.routing.cause import sender_of
from tests.simulation.groups import Group
from tests.simulation.kafka import SimKafka, Topics
from tests.simulation.programs import Expect, Fork, Op, Program
from tests.simulation.referee import Referee

Data = dict[str, Any]

CONDITIONS: dict[str, Callable[[Data, Data], bool]] = {
    "": lambda _, __: True,
    "async_event.data.number % 2 == 0": lambda _, other: other["number"] % 2 == 0,
    "async_event.data.number > event.data.number": lambda own, other: other["number"] > own["number"],
}
"""The conditions of waits and cancels, with what they mean for the data of a run's event and that of the other one."""


def needs_event(if_: str) -> bool:
    """Return whether a condition is about the run's own event as well."""
    return " event." in if_


class Sent(NamedTuple):
    """An event on the log: the log's time of it and its place, in the order of all events; what it says; and what makes it the same event again."""

    at: int
    partition: int
    offset: int
    name: str
    id: str
    data: Data
    identity: str
    sender: Sender | None

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands in the order of all."""
        return self.at, self.partition, self.offset


class Trigger(NamedTuple):
    """What made a run begin. A call is behind no event of its time; ``due`` is when the run may begin at the earliest."""

    place: tuple[int, int, int]
    data: Data
    identity: str
    due: int


class Sendings:
    """All events of a world that has come to rest."""

    def __init__(self, referee: Referee, kafka: SimKafka, topics: Topics, routers: Group) -> None:
        self.events = list(_read(kafka, topics))
        self._referee = referee
        self._kafka = kafka
        self._routers = routers
        self._at = {(event.partition, event.offset): event for event in self.events}
        self._due = dict(_due(kafka, topics))
        self._invoked = {f"{run}/{step}": told for (run, step), told in referee.invoked.items()}
        beginnings: list[EventDisposed | RunStarted] = [
            told for told in referee.disposed if told.disposition != "duplicate"
        ]
        beginnings += referee.started.values()
        self._places = {told.run_id: (told.topic, told.partition, told.offset, told.event_id) for told in beginnings}

    def at(self, partition: int, offset: int) -> Sent:
        """Return the event at a place of the log."""
        return self._at[partition, offset]

    def trigger(self, run_id: str) -> Trigger:
        """Return what made a run begin, or was to: an event, or a step that invoked it, with what its own run is about."""
        topic, partition, offset, event_id = self._places[run_id]
        if topic:
            event = self._at[partition, offset]
            return Trigger(event.place, event.data, event.identity, max(event.at, self._due[partition, offset]))
        told = self._invoked[event_id]
        return Trigger((told.started_at, -1, -1), self.trigger(told.run_id).data, event_id, told.started_at)

    def passed(self, event: Sent) -> int | None:
        """Return when, by the broker's clock, everything was on its way that lanes make of an event: its offset was committed."""
        passed = self._routers.passed.get(event.partition, [])
        return self._kafka.at_ms(passed[event.offset]) if event.offset < len(passed) else None


def fits(name: str, by: str | None, if_: str, trigger: Trigger, event: Sent) -> bool:
    """Return whether an event has a name, or one of a pattern, the same value as the run's own event in a field, and what a condition asks for."""
    named = event.name.startswith(name[:-1]) if name.endswith("*") else event.name == name
    same = by is None or event.data[by] == trigger.data[by]
    return named and same and event.place > trigger.place and CONDITIONS[if_](trigger.data, event.data)


def is_meant(expect: Expect, trigger: Trigger, event: Sent) -> bool:
    """Return whether a wait is for an event, whatever its time."""
    return fits(expect.name, "k", expect.if_, trigger, event)


def cancels(on: CancelOn, trigger: Trigger, event: Sent) -> bool:
    """Return whether an event cancels a run, whatever its time. The trigger never does, however often it is on the log."""
    by = "k" if on.path else None
    return fits(on.name, by, on.if_, trigger, event) and event.identity != trigger.identity


def expects(program: Program) -> dict[str, Expect]:
    """Return the waits of a program by the ids of their steps."""
    return {op.id: op for op in _ops(program) if isinstance(op, Expect)}


def _ops(program: Program) -> Iterator[Op]:
    for op in program:
        yield op
        for branch in op.branches if isinstance(op, Fork) else ():
            yield from _ops(branch)


def _read(kafka: SimKafka, topics: Topics) -> Iterator[Sent]:
    for partition in range(kafka.partitions(topics.events)):
        for stored in kafka.log(topics.events, partition).records:
            event = _parsed(stored.value)
            if event is not None and event["name"] != COMPLETED_EVENT:
                place = f"{topics.events}/{partition}/{stored.offset}"
                known_by, sender = event.get("id"), sender_of(stored.headers)
                about = event["name"], known_by or place, event["data"], known_by or place
                yield Sent(stored.timestamp, partition, stored.offset, *about, sender)


def _due(kafka: SimKafka, topics: Topics) -> Iterator[tuple[tuple[int, int], int]]:
    for partition in range(kafka.partitions(topics.events)):
        for stored in kafka.log(topics.events, partition).records:
            event = _parsed(stored.value)
            if event is not None:
                yield (partition, stored.offset), event.get("ts", 0)


def _parsed(value: bytes | None) -> Data | None:
    try:
        event: Data = json.loads(value or b"")
    except json.JSONDecodeError:
        return None
    return event
