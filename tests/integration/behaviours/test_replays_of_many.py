"""Replays on a real broker: of runs that several events have started, and of runs that start others."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.operating import group_offsets
from tests.integration.behaviours.commands import command, completed, said
from tests.integration.behaviours.deploys import Deploys
from tests.workers import until


def _send(deploys: Deploys, name: str, numbers: range) -> None:
    for number in numbers:
        deploys.served.send({"name": name, "data": {"n": number, "key": "a" if number < 3 else "b"}}, partition=0)


def _results(deploys: Deploys, replay: str) -> list[Any]:
    deploys.served.listen()
    return sorted(json.loads(run["result"]) for run in deploys.served.told("RunEnded", 0, replay_id=replay))


def _loaded(folder: Path) -> list[str]:
    return sorted((folder / "loaded").read_text("utf-8").splitlines())


@pytest.mark.parametrize("deploys", ["gathering.py"], indirect=True)
@pytest.mark.parametrize(("function", "event"), [("in-batches", "gathered"), ("all-of-them", "kept")])
def test_all_events_of_a_failed_run_are_replayed_and_its_steps_are_reused(
    deploys: Deploys, function: str, event: str
) -> None:
    """Of two runs with three events each, the second one fails."""
    deploys.deploy(BEHAVIOURS_BUG="1")
    since = now_ms()
    _send(deploys, event, range(3))
    deploys.served.told("RunEnded", 1, function=function)
    _send(deploys, event, range(3, 6))
    ended = deploys.served.told("RunEnded", 2, function=function)
    assert sorted(one["status"] for one in ended) == ["completed", "failed"]
    before = _loaded(deploys.folder)
    assert before == ["[0, 1, 2]", "[3, 4, 5]"]
    deploys.deploy()
    start = ("replay", "start", "--function", function, "--from", str(since), "--status", "failed", "--reuse-steps")
    made = said(deploys, *start)
    assert made["events"] == 3
    done = completed(deploys, made["id"])
    assert {name: done[name] for name in ("events", "routed", "runs", "ended", "failed")} == {
        "events": 3, "routed": 3, "runs": 1, "ended": 1, "failed": 0,
    }  # fmt: skip
    assert _results(deploys, made["id"]) == [[12, 3, 4, 5]]
    assert _loaded(deploys.folder) == before
    # So has a rerun, and the rerun of that.
    run = next(one["run_id"] for one in ended if one["status"] == "failed")
    for _ in range(2):
        run = said(deploys, "runs", "rerun", run, "--from-step", "judge")["run_id"]
        assert deploys.served.result(run) == [12, 3, 4, 5]
    assert _loaded(deploys.folder) == before
    whole = said(deploys, "runs", "rerun", run)["run_id"]
    assert deploys.served.result(whole) == [12, 3, 4, 5]
    assert _loaded(deploys.folder) == [*before, "[3, 4, 5]"]


@pytest.mark.parametrize("deploys", ["chained.py"], indirect=True)
def test_a_replay_is_completed_once_all_has_ended_that_its_runs_have_caused(deploys: Deploys) -> None:
    """It is asked for all the time, and is over for good."""
    deploys.deploy()
    since = now_ms()
    for number in range(5):
        deploys.served.send({"name": "first", "data": {"n": number}}, partition=number % 4)
    deploys.served.told("RunEnded", 5 + 5 + 5 + 3)
    made = said(deploys, "replay", "start", "--function", "first", "--from", str(since))
    waited_for = set[str]()
    seen: list[dict[str, Any]] = []

    def is_completed() -> bool:
        seen.append(said(deploys, "replay", "status", made["id"]))
        waited_for.add(seen[-1]["waiting_on"])
        return bool(seen[-1]["status"] == "completed")

    until(is_completed, "it is completed")
    deploys.served.listen()
    started = [one["function"] for one in deploys.served.told("RunStarted", 0, replay_id=made["id"])]
    ended = deploys.served.told("RunEnded", 0, replay_id=made["id"])
    assert Counter(started) == {"first": 5, "second": 5, "third": 5, "fourth": 3}
    assert len(ended) == len(started)
    last = seen[-1]
    assert [last[name] for name in ("routed", "runs", "ended", "failed", "waiting_on")] == [5, 18, 18, 0, None]
    assert any("have not ended" in what for what in waited_for if what)
    deploys.stop()
    assert said(deploys, "replay", "status", made["id"]) == last


@pytest.mark.parametrize("deploys", ["chained.py"], indirect=True)
def test_a_replay_that_does_not_go_on_says_why(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    for number in range(6):
        deploys.served.send({"name": "last", "data": {"n": number}}, partition=0)
    deploys.served.told("RunEnded", 6 + 3)
    deploys.stop()
    until(
        lambda: not group_offsets.members(clients.admin(deploys.settings), f"{deploys.name}.leaders"), "nobody is left"
    )
    made = said(deploys, "replay", "start", "--function", "third", "--from", str(since))
    found = said(deploys, "replay", "status", made["id"])
    assert (found["status"], found["waiting_on"], found["expired"]) == (
        "running",
        "a worker: none serves the app",
        None,
    )
    # What expires before it is read is missing in the end, and holds nothing up.
    part = TopicPartition(f"{deploys.name}.events", 0, 2)
    admin = clients.admin(deploys.settings)
    admin.delete_records([part])[part].result(30)
    worker = deploys.deploy()
    done = completed(deploys, made["id"])
    assert [done[name] for name in ("events", "routed", "runs", "ended", "expired")] == [6, 4, 4, 4, 2]
    assert said(deploys, "replay", "status", made["id"])["expired"] == 2
    told = command(deploys, "replay", "status", made["id"]).stdout
    assert told.endswith("; 2 events had expired before it came to them, and were not run\n")
    assert "2 events of replay" in worker.talk
