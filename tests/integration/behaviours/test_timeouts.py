"""What takes too long is ended on a real broker: runs that wait or take too long, whoever leads when the time is over, and steps."""

from uuid import uuid4

import pytest

from stream_engine.core.identity import partition_of
from tests.integration.behaviours.deploys import Deploys
from tests.workers import until

pytestmark = pytest.mark.parametrize("deploys", ["approvals.py"], indirect=True)


def test_a_run_that_takes_too_long_is_stopped_in_its_step(deploys: Deploys) -> None:
    deploys.deploy()
    gate = uuid4().hex
    run_id = deploys.begin("hurry", gate)
    [ended] = deploys.served.told("RunEnded", run_id=run_id)
    assert (ended["status"], ended["error"]["type"]) == ("timed_out", "TimeoutError")
    assert 2_000 <= ended["at"] - ended["started_at"] < 30_000
    [handler] = deploys.served.told("RunStarted", of_run=run_id)
    assert deploys.served.result(handler["run_id"]).startswith("noted: ")
    # What it waited for comes, and nobody is there.
    deploys.served.open(gate)
    later = deploys.begin("impatient", "later")
    deploys.served.open("later")
    assert deploys.served.result(later) == "later"
    assert deploys.served.steps(run_id) == [("gate", "interrupted", 0)]


def test_a_run_ends_only_when_its_step_has_whoever_leads(deploys: Deploys) -> None:
    first = deploys.workers.start("--drain-timeout", "60s")
    first.ready()
    gate = uuid4().hex
    run_id = deploys.begin("plod", gate)
    deploys.served.told("RunChanged", run_id=run_id, change="stopping")
    second = deploys.workers.start("--drain-timeout", "60s")
    second.ready()
    first.terminate()
    # The other one leads where the run lives, and does what there is to do.
    deploys.served.open("open")
    until(lambda: _beside(deploys, run_id), "a run has begun beside it")
    assert first.alive
    assert deploys.served.told("RunEnded", 0, run_id=run_id) == []
    deploys.served.open(gate)
    [ended] = deploys.served.told("RunEnded", run_id=run_id)
    [handler] = deploys.served.told("RunStarted", of_run=run_id)
    assert ended["status"] == "timed_out"
    assert set(deploys.served.steps(run_id)) == {("gate", "interrupted", 0)}
    assert deploys.served.result(handler["run_id"]).startswith("noted: ")
    assert first.ended() == 0


def _beside(deploys: Deploys, run_id: str) -> bool:
    """Have a run begin and end; return whether it lives where another one does."""
    beside = deploys.served.started(deploys.served.send({"name": "impatient", "data": {"gate": "open"}}))
    deploys.served.told("RunEnded", run_id=beside)
    return partition_of(beside) == partition_of(run_id)


def test_the_time_goes_on_while_nobody_leads(deploys: Deploys) -> None:
    worker = deploys.deploy()
    run_id = deploys.begin("hurry", "never")
    worker.kill()
    deploys.worker = None
    deploys.deploy()
    [ended] = deploys.served.told("RunEnded", run_id=run_id)
    assert ended["status"] == "timed_out"
    assert ended["at"] - ended["started_at"] >= 2_000
    deploys.served.told("RunStarted", of_run=run_id)


def test_a_run_that_waits_too_long_for_its_start_never_begins(deploys: Deploys) -> None:
    deploys.deploy()
    first = deploys.begin("impatient", "first")
    place = deploys.served.send({"name": "impatient", "data": {"gate": "second"}})
    [disposed] = deploys.served.told("EventDisposed", offset=place[1], partition=place[0], disposition="cancelled")
    [ended] = deploys.served.told("RunEnded", run_id=disposed["run_id"])
    assert ended["status"] == "timed_out"
    deploys.served.open("first")
    assert deploys.served.result(first) == "first"
    third = deploys.begin("impatient", "third")
    deploys.served.open("third")
    assert deploys.served.result(third) == "third"
    assert not (deploys.folder / "second.reached").exists()


def test_a_step_that_takes_too_long_is_interrupted(deploys: Deploys) -> None:
    deploys.deploy()
    run_id = deploys.begin("hurry-step", "never")
    [ended] = deploys.served.told("RunEnded", run_id=run_id)
    assert (ended["status"], ended["error"]["type"]) == ("failed", "TimeoutError")
    [step] = deploys.served.told("StepRecorded", run_id=run_id, step_id="gate")
    assert (step["status"], step["attempt"]) == ("failed", 0)
    assert step["at"] - step["started_at"] >= 500
