"""Functions invoke each other on a real broker, within an app and between apps, whoever is killed meanwhile."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from stream_engine import InvokeError
from stream_engine.shell.settings import Settings
from tests.integration.behaviours.commands import command
from tests.integration.behaviours.deploys import Deploys
from tests.integration.behaviours.served import Here

_CALLS = 6
_MANY = 1_000


def test_a_call_returns_what_the_function_returns(served: Here) -> None:
    served.open("open-to-all")
    place = served.send({"name": "parent", "data": {"gate": "open-to-all", "of": ["child"] * 20}})
    assert served.result(served.started(place, "parent")) == ["open-to-all"] * 20 + ["over"]
    assert served.result(served.started(place, "parent-thread")) == ["open-to-all"] * 20


def test_what_cannot_be_called_is_said_at_once(served: Here) -> None:
    began = time.monotonic()
    for nobody in ("nobody", f"no-such-app-{served.name}/child"):
        place = served.send({"name": "parent", "data": {"gate": "any", "of": [nobody]}})
        [ended] = served.told("RunEnded", run_id=served.started(place, "parent"))
        assert (ended["status"], ended["error"]["type"]) == ("failed", InvokeError.__name__)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_a_call_to_another_app_survives_the_crash_of_both(deploys: Deploys, broker: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "callee"
    folder.mkdir()
    with Deploys(broker, folder, "app.py") as callee:
        for side in (deploys, callee):
            side.deploy()
        gates = [f"call-{number}" for number in range(_CALLS)]
        of = ["child", f"{callee.name}/child"]
        places = [deploys.served.send({"name": "parent", "data": {"gate": gate, "of": of}}) for gate in gates]
        for gate in gates:
            deploys.served.reached(gate)
            callee.served.reached(gate)
        for side in (callee, deploys):
            assert side.worker is not None
            side.worker.kill()
            side.worker = None
            for gate in gates:
                side.served.open(gate)
        for side in (deploys, callee):
            side.deploy()
        for place, gate in zip(places, gates, strict=True):
            assert deploys.served.result(deploys.served.started(place, "parent")) == [gate, gate, "over"]
            assert deploys.served.result(deploys.served.started(place, "parent-thread")) == [gate, gate]
        for side in (deploys, callee):
            starts = Counter(told["run_id"] for told in side.served.told("RunStarted", 2 * _CALLS, function="child"))
            assert set(starts.values()) == {1}
            assert len(starts) == 2 * _CALLS


@pytest.mark.parametrize("deploys", ["approvals.py"], indirect=True)
def test_a_thousand_calls_side_by_side_survive_a_crash(deploys: Deploys) -> None:
    """Each is answered, and each function called once, though the worker is killed in the middle."""
    worker = deploys.deploy()
    run_id = deploys.served.started(deploys.served.send({"name": "ask-many", "data": {"count": _MANY}}), "ask-many")
    deploys.served.told("RunEnded", _MANY // 10, function="answer")
    worker.kill()
    deploys.worker = None
    deploys.deploy()
    assert deploys.served.result(run_id) == sum(range(_MANY))
    answers = deploys.served.told("RunStarted", _MANY, function="answer")
    assert Counter(told["run_id"] for told in answers) == dict.fromkeys({told["run_id"] for told in answers}, 1)
    assert len(answers) == _MANY
    ended = deploys.served.told("StepRecorded", _MANY, run_id=run_id, status="completed")
    assert Counter(told["step_id"] for told in ended) == {f"ask-{n}": 1 for n in range(_MANY)}


@pytest.mark.parametrize("deploys", ["calling.py"], indirect=True)
def test_who_is_cancelled_takes_its_children_in_another_app_along(
    deploys: Deploys, broker: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "callee"
    folder.mkdir()
    with Deploys(broker, folder, "calling.py") as callee:
        callee.deploy()
        deploys.deploy(BEHAVIOURS_CALLEE=callee.name)
        run = deploys.served.started(deploys.served.send({"name": "parent", "data": {}}))
        # The first one has come back by then: it was called by its object.
        callee.served.told("RunStarted", 3, function="child")
        done = command(deploys, "runs", "cancel", run)
        assert done.exit_code == 0, done.output
        [ended] = deploys.served.told("RunEnded", run_id=run)
        assert ended["status"] == "cancelled"
        children = callee.served.told("RunEnded", 3, function="child")
        told = sorted((one["status"], one["result"] and json.loads(one["result"])) for one in children if one["result"])
        assert told == [("completed", f"{run} first"), ("completed", "kept")]
        [lost] = [one for one in children if one["status"] != "completed"]
        assert (lost["status"], lost["detail"]) == ("cancelled", f"run {run}, which invoked it, has ended")
        [mourned] = callee.served.told("RunEnded", function="child:on_cancel")
        assert mourned["result"] == '"lost"'
