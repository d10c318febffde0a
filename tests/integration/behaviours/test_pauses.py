"""Pauses of functions on a real broker: what is held back, what goes on, and how what was missed runs in the end."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition

from stream_engine import RunCancelled
from stream_engine.cli.main import main
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.topics import Names
from tests.integration.behaviours.commands import begun, command, completed, said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.integration.behaviours.served import Here
from tests.workers import until

Place = tuple[int, int]


def _send(deploys: Deploys, name: str, count: int, **more: Any) -> list[Place]:
    return [
        deploys.served.send({"name": name, "data": {"n": number}, **more}, partition=number % PARTITIONS)
        for number in range(count)
    ]


def _paused(deploys: Deploys, count: int, function: str) -> list[Place]:
    told = deploys.served.told("EventDisposed", count, function=function, disposition="paused")
    return sorted((one["partition"], one["offset"]) for one in told)


def _places(records: list[dict[str, Any]]) -> list[Place]:
    return sorted((one["partition"], one["offset"]) for one in records)


def _row(deploys: Deploys, function: str) -> dict[str, Any]:
    [row] = [row for row in said(deploys, "functions", "list") if row["id"] == function]
    found: dict[str, Any] = row
    return found


def test_what_comes_for_a_paused_function_runs_by_a_replay_and_only_that(deploys: Deploys) -> None:
    deploys.deploy()
    before = _send(deploys, "greet", 8)
    deploys.served.told("RunEnded", 8, function="greet")
    assert _row(deploys, "greet")["paused"] is False
    assert said(deploys, "functions", "pause", "greet")["paused"] is True
    missed = _send(deploys, "greet", 12)
    others = _send(deploys, "engine/start/child", 1)
    assert _paused(deploys, 12, "greet") == sorted(missed)
    deploys.served.started(others[0], "child")
    assert _row(deploys, "greet")["paused"] is True
    refused = command(deploys, "replay", "start", "--function", "greet", "--from", "0")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "is paused" in refused.stderr
    # Neither a worker that takes over nor one that is killed forgets it.
    assert deploys.worker is not None
    deploys.worker.kill()
    deploys.worker = None
    deploys.deploy()
    missed += _send(deploys, "greet", 4)
    assert _paused(deploys, 16, "greet") == sorted(missed)
    resumed = said(deploys, "functions", "resume", "greet", "--replay")
    assert resumed["paused"] is False
    [replay] = resumed["replays"]
    after = _send(deploys, "greet", 4)
    done = completed(deploys, replay)
    assert (done["events"], done["runs"], done["ended"]) == (16, 16, 16)
    deploys.served.told("RunEnded", 28, function="greet")
    deploys.served.listen()
    assert _places(deploys.served.started_again(16, "greet")) == sorted(missed)
    live = deploys.served.told("RunStarted", 12, function="greet", replay_id=None)
    assert _places(live) == sorted(before + after)
    assert said(deploys, "functions", "resume", "greet", "--replay")["replays"] == []


def test_what_was_missed_waits_until_somebody_asks_for_it_and_is_not_run_twice(deploys: Deploys) -> None:
    deploys.deploy()
    said(deploys, "functions", "pause", "greet")
    first = _send(deploys, "greet", 4)
    _paused(deploys, 4, "greet")
    assert said(deploys, "functions", "resume", "greet")["replays"] == []
    live = _send(deploys, "greet", 4)
    deploys.served.told("RunEnded", 4, function="greet")
    said(deploys, "functions", "pause", "greet")
    said(deploys, "functions", "pause", "greet")
    second = _send(deploys, "greet", 4)
    _paused(deploys, 8, "greet")
    [replay] = said(deploys, "functions", "resume", "greet", "--replay")["replays"]
    completed(deploys, replay)
    said(deploys, "functions", "pause", "greet")
    third = _send(deploys, "greet", 2)
    _paused(deploys, 10, "greet")
    [last] = said(deploys, "functions", "resume", "greet", "--replay")["replays"]
    assert completed(deploys, last)["runs"] == 2
    deploys.served.listen()
    again = deploys.served.started_again(10, "greet")
    assert _places(again) == sorted(first + second + third)
    assert _places(deploys.served.told("RunStarted", 4, function="greet", replay_id=None)) == sorted(live)


def test_events_that_have_expired_meanwhile_are_told_and_the_others_run(deploys: Deploys) -> None:
    deploys.deploy()
    said(deploys, "functions", "pause", "greet")
    missed = _send(deploys, "greet", 2 * PARTITIONS)
    _paused(deploys, len(missed), "greet")
    topic = f"{deploys.name}.events"
    part = TopicPartition(topic, missed[0][0], missed[0][1] + 1)
    admin = clients.admin(deploys.settings)
    admin.delete_records([part])[part].result(30)
    resumed = command(deploys, "functions", "resume", "greet", "--replay", "--json")
    assert resumed.exit_code == 0, resumed.output
    assert f"1 events of {topic} that greet has missed have expired" in resumed.stderr
    [replay] = json.loads(resumed.stdout)["replays"]
    assert completed(deploys, replay)["runs"] == len(missed) - 1


def test_a_replay_goes_on_when_all_that_was_left_of_a_partition_has_expired(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    _send(deploys, "greet", 4 * PARTITIONS)
    deploys.served.told("RunEnded", 4 * PARTITIONS, function="greet")
    start = ("replay", "start", "--function", "greet", "--from", str(since), "--per-second", "1")
    made = said(deploys, *start)["id"]
    said(deploys, "replay", "pause", made)
    # The log of the partition goes on behind what was to be replayed.
    _, behind = deploys.served.send({"name": "greet", "data": {"n": 0}}, partition=0)
    part = TopicPartition(f"{deploys.name}.events", 0, behind + 1)
    admin = clients.admin(deploys.settings)
    admin.delete_records([part])[part].result(30)
    said(deploys, "replay", "resume", made)
    status = completed(deploys, made)
    assert 4 * (PARTITIONS - 1) <= status["runs"] < 4 * PARTITIONS
    assert deploys.worker is not None
    assert "is gone on with in" not in deploys.worker.talk


def test_a_rewind_while_a_function_is_paused_is_missed_as_well(deploys: Deploys) -> None:
    deploys.deploy()
    places = _send(deploys, "greet", 4)
    deploys.served.told("RunEnded", 4, function="greet")
    said(deploys, "functions", "pause", "greet")
    deploys.stop()
    reset = ("groups", "reset", Names.of(deploys.name).router_group, "--to-earliest")
    until(lambda: command(deploys, *reset, "--dry-run").exit_code == 0, "Kafka has let the member go")
    assert command(deploys, *reset, "--yes").exit_code == 0
    deploys.deploy()
    assert _paused(deploys, 4, "greet") == sorted(places)
    [replay] = said(deploys, "functions", "resume", "greet", "--replay")["replays"]
    assert completed(deploys, replay)["runs"] == 4


def test_a_replay_says_which_functions_are_paused_that_may_follow_from_it(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    _send(deploys, "engine/start/send", 2)
    deploys.served.told("RunEnded", 2, function="receive")
    start = ("replay", "start", "--function", "send", "--from", str(since))
    assert "paused" not in command(deploys, *start, "--dry-run").stderr
    said(deploys, "functions", "pause", "receive")
    preview, done = command(deploys, *start, "--dry-run"), command(deploys, *start, "--json")
    for told in (preview, done):
        assert told.exit_code == 0, told.output
        assert "paused functions: receive. What runs of this replay send to such a function" in told.stderr
    completed(deploys, json.loads(done.stdout)["id"])
    _paused(deploys, 2, "receive")
    [replay] = said(deploys, "functions", "resume", "receive", "--replay")["replays"]
    assert completed(deploys, replay)["runs"] == 2


def test_draining_returns_once_what_had_begun_has_ended(deploys: Deploys) -> None:
    deploys.deploy()
    run = deploys.begin("wait", "held")
    drain = begun(deploys, "functions", "drain", "wait", "--json")
    assert drain.stderr is not None
    assert drain.stderr.readline() == "1 of its runs have begun and not ended, 0 are queued\n"
    missed = deploys.served.send({"name": "wait", "data": {"gate": "now"}})
    assert _paused(deploys, 1, "wait") == [missed]
    assert drain.poll() is None
    deploys.served.open("held")
    out, _ = drain.communicate(timeout=60)
    assert drain.returncode == 0
    row = json.loads(out)
    assert (row["id"], row["paused"], row["running"], row["queued"]) == ("wait", True, 0, 0)
    assert deploys.served.result(run) == "held"


def test_a_pause_waits_for_a_worker_that_does_not_answer(deploys: Deploys) -> None:
    """Until Kafka takes it for gone, it may route what it has already read."""
    deploys.deploy()
    other = deploys.workers.start()
    other.ready()
    other.pause()
    pause = begun(deploys, "functions", "pause", "greet")
    until(lambda: _row(deploys, "greet")["paused"], "it is written down")
    assert pause.poll() is None
    other.resume()
    pause.communicate(timeout=60)
    assert pause.returncode == 0
    missed = _send(deploys, "greet", 8)
    assert _paused(deploys, 8, "greet") == sorted(missed)


def test_calls_and_starts_of_a_paused_function_are_told_so(deploys: Deploys) -> None:
    deploys.deploy()
    said(deploys, "functions", "pause", "child")
    place = deploys.served.send({"name": "parent", "data": {"gate": "never", "of": ["child"]}})
    run = deploys.served.started(place, "parent")
    [ended] = deploys.served.told("RunEnded", run_id=run)
    assert ended["status"] == "failed"
    assert "was paused" in ended["error"]["message"]
    start = deploys.served.send({"name": "engine/start/child", "data": {"gate": "never"}})
    assert start in _paused(deploys, 3, "child")


def test_who_waits_for_an_event_is_told_that_it_is_paused(deploys: Deploys) -> None:
    deploys.deploy()
    said(deploys, "functions", "pause", "greet")
    told = command(deploys, "send", "greet", "{}", "--wait")
    assert "paused" in told.stderr, told.output


@pytest.mark.parametrize("word", ["pause", "resume", "drain"])
def test_a_function_that_is_not_there_is_named(deploys: Deploys, word: str) -> None:
    deploys.deploy()
    done = command(deploys, "functions", word, "nobody")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "has no function 'nobody'" in done.stderr


def test_who_waits_for_the_result_of_a_paused_function_is_told(served: Here) -> None:
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": served.servers, "STREAM_ENGINE_APP": served.name}
    assert CliRunner().invoke(main, ["functions", "pause", "shared"], env=env).exit_code == 0
    try:
        with pytest.raises(RunCancelled, match="the function is paused"):
            served.run("shared")
    finally:
        assert CliRunner().invoke(main, ["functions", "resume", "shared"], env=env).exit_code == 0
    assert served.run("shared")[1] == {"opened by": served.name}
