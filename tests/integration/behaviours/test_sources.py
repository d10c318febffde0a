"""Topics that others own, on a real broker: read, routed, rewound and replayed in place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stream_engine.shell.clock import now_ms
from stream_engine.shell.settings import Settings
from tests.integration.behaviours.commands import checked, command, completed, said
from tests.integration.behaviours.deploys import Deploys
from tests.integration.behaviours.served import GREET
from tests.kafka_tools import reset_offsets
from tests.raw import Told, create_topic, produce
from tests.workers import until

Place = tuple[int, int]


class Sourced(Deploys):
    """An app with three sources, each a topic of others."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, folder, "sourced.py")
        self.json, self.avro, self.cloud = (f"{kind}-{uuid4().hex[:8]}" for kind in ("orders", "greets", "clouds"))
        (folder / "7.avsc").write_text(json.dumps(GREET))
        self.env = {
            "BEHAVIOURS_SOURCES": f"{self.json} {self.avro} {self.cloud}",
            "STREAM_ENGINE_SCHEMAS": str(folder),
        }

    def create(self) -> None:
        """Have the topics be there."""
        for topic, partitions in ((self.json, 2), (self.avro, 1), (self.cloud, 1)):
            create_topic(self.served.servers, topic, partitions)

    def order(self, number: int) -> Place:
        """Write an order, as whoever owns the topic does."""
        value = json.dumps({"id": number}).encode()
        return produce(self.served.servers, self.json, value, key=b"k", partition=number % 2)

    def taken(self, count: int, *, live: bool = True) -> list[Place]:
        """Wait until so many runs of `take` have started; return the places of their events, which are in its source."""
        started = self.started(count, "take", live=live)
        assert {one["topic"] for one in started} == {self.json}
        return sorted((one["partition"], one["offset"]) for one in started)

    def started(self, count: int, function: str, *, live: bool) -> list[Told]:
        """Wait until so many runs of a function have started, live or replayed."""
        if live:
            return self.served.told("RunStarted", count, function=function, replay_id=None)
        return self.served.started_again(count, function)


@pytest.fixture
def sourced(broker: Settings, tmp_path: Path) -> Iterator[Sourced]:
    """The app, not served yet."""
    with Sourced(broker, tmp_path) as made:
        yield made


def test_records_of_others_are_events_as_they_are(sourced: Sourced) -> None:
    worker = sourced.workers.start(**sourced.env)
    assert worker.ended() == 1
    assert f"the source {sourced.cloud} is not there" in worker.talk
    sourced.create()
    first = sourced.order(7)
    sourced.deploy(**sourced.env)
    run = sourced.served.started(first, "take")
    assert sourced.served.result(run) == {"id": 7, "event": f"{sourced.json}/{first[0]}/{first[1]}", "key": "k"}
    servers = sourced.served.servers
    greeted = sourced.served.started(produce(servers, sourced.avro, b"\0\0\0\0\7\x04hi"), "greet")
    assert sourced.served.result(greeted) == {"avro": "hi"}
    cloud = {"specversion": "1.0", "type": "cloud/order", "source": "/shop", "id": "A-1", "data": {"total": 7}}
    for _ in range(2):
        produce(servers, sourced.cloud, json.dumps(cloud).encode())
    [told] = sourced.served.told("RunStarted", function="cloud")
    assert sourced.served.result(told["run_id"]) == {"name": "cloud/order", "id": "A-1", "data": {"total": 7}}
    sourced.served.told("EventDisposed", function="cloud", disposition="duplicate")
    for value, reason in ((b"{", b"invalid-json"), (b'{"id": "x"}', b"invalid-data"), (None, b"empty")):
        letter = sourced.served.buried(produce(servers, sourced.json, value, partition=0))
        assert (letter.headers["reason"], letter.headers["topic"]) == (reason.decode(), sourced.json)
        assert letter.value == value
    # A topic of others is not written to, so its functions get what could not be used before.
    letters = {letter["reason"]: letter["id"] for letter in said(sourced, "dead-letters", "list")}
    still = command(sourced, "dead-letters", "retry", letters["invalid-json"])
    assert (still.exit_code, still.stdout) == (1, "")
    assert "is still no event" in still.stderr
    [again] = said(sourced, "dead-letters", "retry", letters["invalid-data"])
    assert again["function"] == "take"
    sourced.served.told("RunStarted", run_id=again["run_id"])
    rows = said(sourced, "groups", "list")
    assert {row["topic"] for row in rows} == {f"{sourced.name}.events", sourced.json, sourced.avro, sourced.cloud}
    until(lambda: not sum(row["lag"] or 0 for row in said(sourced, "groups", "list")), "all is routed")


def test_a_run_waits_for_a_record_of_others(sourced: Sourced) -> None:
    sourced.create()
    sourced.deploy(**sourced.env)
    before, after = (
        sourced.served.started(sourced.served.send({"name": "expect", "data": {"id": number}}), "expect")
        for number in (7, 8)
    )
    sourced.served.told("StepRecorded", 2, kind="wait", status="waiting")
    for number in (9, 8, 7):
        sourced.order(number)
    assert (sourced.served.result(before), sourced.served.result(after)) == (7, 8)


def test_a_check_looks_at_the_records_of_others(sourced: Sourced) -> None:
    sourced.create()
    sourced.deploy(**sourced.env)
    for number in range(4):
        sourced.order(number)
    produce(sourced.served.servers, sourced.avro, b"\0\0\0\0\7\x04hi")
    for count, function in ((4, "taken"), (4, "take"), (1, "greet")):
        sourced.served.told("RunEnded", count, function=function)
    for changed, what in (("", None), ("result", "result"), ("source", "no run")):
        found = checked(sourced, "sourced.py", "--last", "1h", **sourced.env, BEHAVIOURS_CHANGED=changed)
        told = [(row["function"], row["difference"]["what"]) for row in found.rows]
        assert (found.code, told) == ((1, [("take", what)] * 4) if what else (0, [])), found.talk
        assert "of 9 runs of 9 events" in found.talk
    without = checked(sourced, "sourced.py", BEHAVIOURS_SOURCES=sourced.env["BEHAVIOURS_SOURCES"])
    assert without.code == 0
    assert "not checked: 1 runs whose events cannot be read here (" in without.talk


def test_workers_share_sources_and_nothing_is_taken_twice_when_one_is_killed(sourced: Sourced) -> None:
    sourced.create()
    first = sourced.deploy(**sourced.env)
    other = sourced.workers.start(**sourced.env)
    other.ready()
    places = [sourced.order(number) for number in range(20)]
    first.kill()
    sourced.worker = other
    places += [sourced.order(number) for number in range(20, 30)]
    sourced.started(30, "taken", live=True)
    sourced.served.listen()
    assert sourced.taken(30) == sorted(places)
    assert len(sourced.started(30, "taken", live=True)) == 30


def test_a_reset_of_all_topics_is_one_replay_and_doubles_nothing(sourced: Sourced) -> None:
    sourced.create()
    sourced.deploy(**sourced.env)
    places = [sourced.order(number) for number in range(6)]
    sourced.started(6, "taken", live=True)
    sourced.stop()
    topics = ("--topic", sourced.json, "--topic", sourced.avro)
    reset_offsets(sourced.settings, f"{sourced.name}.router", f"{sourced.name}.events", *topics, "--to-earliest")
    sourced.deploy(**sourced.env)
    assert sourced.taken(6, live=False) == sorted(places)
    again = sourced.started(6, "taken", live=False)
    after = sourced.order(8)
    sourced.served.started(after, "take")
    sourced.started(7, "taken", live=True)
    sourced.served.listen()
    assert len(sourced.started(6, "taken", live=False)) == len(sourced.taken(6, live=False)) == 6
    replays = {one["replay_id"] for one in [*again, *sourced.started(6, "take", live=False)]}
    assert len(replays) == 1
    assert sourced.taken(7) == sorted([*places, after])


def test_a_source_is_reset_replayed_paused_and_run_again_in_place(sourced: Sourced) -> None:
    sourced.create()
    sourced.deploy(**sourced.env)
    since = now_ms()
    places = [sourced.order(number) for number in range(6)]
    sourced.started(6, "taken", live=True)
    made = said(sourced, "replay", "start", "--function", "take", "--from", str(since))
    done = completed(sourced, made["id"])
    assert (done["events"], done["routed"]) == (6, 6)
    sourced.started(6, "taken", live=False)
    assert sourced.taken(6, live=False) == sorted(places)
    some = said(sourced, "replay", "start", "--function", "take", "--from", str(since), "--if", "event.data.id > 3")
    assert completed(sourced, some["id"])["events"] == 2
    new = said(sourced, "runs", "rerun", _first(sourced, places[0]))["run_id"]
    assert sourced.served.result(new)["id"] == 0
    said(sourced, "functions", "pause", "take")
    missed = [sourced.order(number) for number in range(6, 9)]
    sourced.served.told("EventDisposed", 3, disposition="paused", topic=sourced.json)
    [replay] = said(sourced, "functions", "resume", "take", "--replay")["replays"]
    assert completed(sourced, replay)["events"] == 3
    sourced.stop()
    reset = ("groups", "reset", f"{sourced.name}.router", "--topic", sourced.json, "--to-earliest")
    until(lambda: command(sourced, *reset, "--dry-run").exit_code == 0, "Kafka has let the members go")
    was_reset = command(sourced, *reset, "--yes")
    assert was_reset.exit_code == 0, was_reset.output
    assert was_reset.stdout.count("again") == 2
    sourced.deploy(**sourced.env)
    started = sourced.started(6 + 2 + 3 + 9, "take", live=False)
    assert len({one["replay_id"] for one in started}) == 4
    assert {(one["partition"], one["offset"]) for one in started} == {*places, *missed}


def _first(sourced: Sourced, place: Place) -> str:
    fields: dict[str, Any] = {"function": "take", "partition": place[0], "offset": place[1], "replay_id": None}
    [started] = sourced.served.told("RunStarted", **fields)
    run: str = started["run_id"]
    return run
