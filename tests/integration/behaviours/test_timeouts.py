"""What takes too long is ended on a real broker: runs that wait or take too long, whoever leads when the time is over, and steps."""

from uuid import uuid4

import pytest

from tests.integration.behaviours.deploys import Deploys

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
