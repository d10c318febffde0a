"""What must be true of waits for events once a simulated world has come to rest: none has missed its event, and no run has had one twice."""

import json
from collections import defaultdict
from collections.abc import Iterator

from stream_engine.core.envelope import Rejection
from stream_engine.core.interests import place
from stream_engine.core.receive import receive
from stream_engine.core.records import Event
from tests.simulation.kafka import SimKafka, Topics, message_of
from tests.simulation.programs import LONG, SimFunction
from tests.simulation.referee import Referee

_LATE = 30_000
"""What came so shortly before a wait or a run ended (milliseconds) may have been under way then."""


def audit_waits(referee: Referee, kafka: SimKafka, topics: Topics, functions: dict[str, SimFunction]) -> None:
    """Object to a wait that had no event, another one than it wanted, or one that its run has had, and to a run that an event had to cancel."""
    events = {(event.partition, event.offset): event for event in _events(kafka, topics)}
    triggers = {
        run: events[started.partition, started.offset] for run, started in referee.started.items() if started.topic
    }
    taken: dict[str, set[str]] = defaultdict(set)
    for (run, step), wait in referee.waits.items():
        result = _result(referee, run, step)
        if result is None:
            continue
        event = events[result["partition"], result["offset"]]
        if event.identity in taken[run]:
            referee.object(2, f"{run} has had {event.identity} twice, now by {step}")
        taken[run].add(event.identity)
        if wait.waits_for != _text(event) or place(event) <= place(triggers[run]):
            referee.object(1, f"{run}/{step} waited for {wait.waits_for}, and has had {event}")
        referee.schedule.counts["wait answered"] += 1
    for (run, step), wait in referee.waits.items():
        settled = referee.settled.get((run, step))
        if settled is not None and _result(referee, run, step) is None:
            referee.schedule.counts["wait in vain"] += 1
            since, until = wait.started_at - LONG, settled[1].at - _LATE
            for event in events.values():
                fits = _text(event) == wait.waits_for and event.identity not in taken[run]
                if fits and since <= event.timestamp < until and place(event) > place(triggers[run]):
                    referee.object(
                        6, f"{run}/{step} waited for {wait.waits_for} until {settled[1].at}, and missed {event}"
                    )
    _audit_cancels(referee, triggers, list(events.values()), functions)


def _audit_cancels(
    referee: Referee, triggers: dict[str, Event], events: list[Event], functions: dict[str, SimFunction]
) -> None:
    for run, started in referee.started.items():
        function, ended = functions[started.function], referee.ended[run][1]
        if not function.flow.cancel_on or function.flow.batch is not None or function.flow.debounce is not None:
            continue
        trigger = triggers[run]
        key = json.loads(trigger.data)["k"]
        [on] = function.flow.cancel_on
        cancelling = [
            event
            for event in events
            if event.name == on.name and json.loads(event.data)["k"] == key and place(event) > place(trigger)
        ]
        by_event = ended.status == "cancelled" and ended.detail.startswith("event ")
        referee.schedule.counts["run cancelled by an event"] += by_event
        if by_event and not cancelling:
            referee.object(1, f"{run} was cancelled: {ended.detail}, and there is no such event behind {trigger}")
        missed = [event for event in cancelling if event.timestamp < ended.at - _LATE]
        if missed and ended.status in {"completed", "failed"}:
            referee.object(6, f"{run} {ended.status} at {ended.at}, and had to be cancelled by {missed[0]}")


def _events(kafka: SimKafka, topics: Topics) -> Iterator[Event]:
    for partition in range(kafka.partitions(topics.events)):
        log = kafka.log(topics.events, partition)
        for stored in log.records:
            event = receive(message_of(topics.events, log, partition, stored), {})
            if not isinstance(event, Rejection):
                yield event


def _result(referee: Referee, run: str, step: str) -> dict[str, int] | None:
    settled = referee.settled.get((run, step))
    if settled is None:
        return None
    result: dict[str, int] | None = json.loads(settled[1].result or "null")
    return result


def _text(event: Event) -> str:
    return f"{event.name} with data.k = {json.loads(event.data)['k']}"
