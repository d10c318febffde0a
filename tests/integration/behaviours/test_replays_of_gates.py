"""A replay on a real broker goes by the times that Kafka gave the events, through a crash as well."""

import json
from collections.abc import Callable, Sequence

import pytest

from stream_engine.core.records.journal import Event
from stream_engine.core.routing.receive import Message, receive
from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import completed, said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.property import naive
from tests.raw import Follower
from tests.workers import until

PAUSES = (0, 0, 400, 100, 100, 100, 100, 350, 0, 0, 0, 600, 250, 250, 250, 250, 0, 0, 450, 100)
"""How many milliseconds lie at least between an event and the one before it."""

EXPECTED: dict[str, Callable[[Sequence[naive.Run]], list[naive.Run]]] = {
    "in-batches": lambda runs: naive.batched(runs, 3, 300, 10_000, lambda event: True),
    "when-quiet": lambda runs: naive.debounced(runs, 300, 700, "latest"),
    "seldom": lambda runs: naive.limited(runs, 2, 500),
}


def _send(deploys: Deploys) -> None:
    """Send events of two keys, those of one key to one partition, so that nothing but time is between them."""
    at = now_ms()
    for number, pause in enumerate(PAUSES):
        at += pause
        until(lambda at=at: now_ms() >= at, "time goes on")  # type: ignore[misc] # the time of this event
        event = {"name": "windowed", "data": {"key": str(number % 2), "n": number}}
        deploys.served.send(event, partition=number % 2 * (PARTITIONS - 1))


def _events(deploys: Deploys) -> list[Event]:
    """Return the events as the log has them."""
    with Follower(deploys.served.servers, f"{deploys.name}.events") as follower:
        found = [
            receive(Message("e", "E", record.partition, record.offset, record.timestamp, None, record.value), {})
            for record in follower.to_end()
        ]
    return sorted((event for event in found if isinstance(event, Event)), key=lambda event: event.timestamp)


def _expected(function: str, events: list[Event]) -> list[list[int]]:
    runs = []
    for key in (0, 1):
        of_key = [event for event in events if json.loads(event.data)["n"] % 2 == key]
        runs += EXPECTED[function](naive.alone(of_key))
    return sorted([json.loads(event.data)["n"] for event in sorted(run.events, key=naive.age)] for run in runs)


@pytest.mark.parametrize("deploys", ["windowed.py"], indirect=True)
def test_a_replay_batches_coalesces_and_drops_by_event_time(deploys: Deploys) -> None:
    """Its events come again within a second, and a worker is killed while they are held."""
    deploys.deploy()
    since = now_ms()
    _send(deploys)
    events = _events(deploys)
    assert len(events) == len(PAUSES)
    replays = {
        function: said(deploys, "replay", "start", "--function", function, "--from", str(since))["id"]
        for function in EXPECTED
    }
    # The rate limit holds nothing but its own runs, so that its first start says that all are on their way.
    deploys.served.started_again(1, "seldom")
    worker, deploys.worker = deploys.worker, None
    assert worker is not None
    worker.kill()
    deploys.deploy()
    for function, replay in replays.items():
        done = completed(deploys, replay)
        deploys.served.listen()
        ended = deploys.served.told("RunEnded", 0, function=function, replay_id=replay)
        assert sorted(json.loads(run["result"]) for run in ended) == _expected(function, events), function
        others = {"in-batches": "batched", "when-quiet": "coalesced", "seldom": "rate-limited"}[function]
        assert done["dispositions"] == {"started": len(ended), others: len(events) - len(ended)}
