"""What outlives a worker on a real broker: runs, their choices, their versions; also without its disk."""

import json
import shutil

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import command
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.workers import until


@pytest.mark.parametrize("deploys", ["versions.py"], indirect=True)
def test_a_run_stays_on_its_version_while_there_is_one(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_VERSIONS="1")
    old, older = deploys.begin("deploy", "old"), deploys.begin("deploy", "older")
    deploys.deploy(BEHAVIOURS_VERSIONS="2 1")
    new = deploys.begin("deploy", "new")
    deploys.served.open("old")
    deploys.served.open("new")
    assert deploys.served.result(old) == "old on version 1"
    assert deploys.served.result(new) == "new on version 2"
    deploys.deploy(BEHAVIOURS_VERSIONS="2")
    [moved] = deploys.served.told("RunChanged", run_id=older, change="moved")
    assert moved["version"] == "2"
    deploys.served.open("older")
    assert deploys.served.result(older) == "older on version 2"


@pytest.mark.parametrize("deploys", ["versions.py"], indirect=True)
def test_a_run_without_code_waits_for_it(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_VERSIONS="1")
    begun = deploys.begin("deploy", "begun")
    deploys.deploy(BEHAVIOURS_VERSIONS="")
    [parked] = deploys.served.told("RunChanged", run_id=begun, change="parked")
    assert parked["function"] == "deploy"
    other = deploys.served.send({"name": "other", "data": {}})
    deploys.served.result(deploys.served.started(other))
    assert deploys.served.told("RunEnded", 0, run_id=begun) == []
    deploys.deploy(BEHAVIOURS_VERSIONS="1")
    deploys.served.open("begun")
    assert deploys.served.result(begun) == "begun on version 1"


@pytest.mark.parametrize("deploys", ["versions.py"], indirect=True)
def test_a_deploy_that_is_rolled_back_says_so_and_is_put_in_force_by_activate(deploys: Deploys) -> None:
    """A worker of an older deploy must not undo a newer one by starting again; whoever rolls back says it."""
    deploys.deploy(BEHAVIOURS_VERSIONS="1")
    deploys.deploy(BEHAVIOURS_VERSIONS="")
    deploys.deploy(BEHAVIOURS_VERSIONS="1").said("start a worker with --activate")
    passed = deploys.served.send({"name": "deploy", "data": {"gate": "passed"}})
    other = deploys.served.send({"name": "other", "data": {}})
    deploys.served.result(deploys.served.started(other))
    assert deploys.served.told("RunStarted", 0, partition=passed[0], offset=passed[1]) == []
    deploys.deploy("--activate", BEHAVIOURS_VERSIONS="1")
    deploys.served.open("back")
    run = deploys.begin("deploy", "back")
    assert deploys.served.result(run) == "back on version 1"


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_code_chooses_alike_after_a_crash(deploys: Deploys) -> None:
    """Which of two steps came first is what it was, though both results are there at once when the run goes on."""
    first = deploys.deploy()
    runs = {}
    for number, winner in enumerate(["right", "left", "right", "left"]):
        gate = f"race-{number}"
        run = deploys.served.started(deploys.served.send({"name": "race", "data": {"gate": gate}}))
        runs[run] = (gate, winner)
        for side in (winner, "left" if winner == "right" else "right"):
            deploys.served.reached(f"{gate}-{side}")
            deploys.served.open(f"{gate}-{side}")
            deploys.served.told("StepRecorded", run_id=run, step_id=side)
        deploys.served.reached(gate)
    first.kill()
    deploys.worker = None
    deploys.deploy()
    for run, (gate, winner) in runs.items():
        deploys.served.open(gate)
        assert deploys.served.result(run) == [winner, winner]
        chosen = deploys.served.told("StepRecorded", run_id=run, step_id=f"chose-{winner}")
        assert len(chosen) == 1
        assert len(deploys.served.told("StepRecorded", 0, run_id=run)) == 4


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_a_worker_without_its_disk_rebuilds_it(deploys: Deploys) -> None:
    """From the journal alone: runs in progress, timers, and which event ids are known."""
    worker = deploys.deploy()
    known = {"name": "greet", "id": "known", "data": {}}
    deploys.served.result(deploys.served.started(deploys.served.send(known)))
    waiting = deploys.begin("wait", "disk")
    late = deploys.served.send({"name": "greet", "ts": now_ms() + 4_000, "data": {}})
    deploys.served.told("EventDisposed", partition=late[0], offset=late[1], disposition="delayed")
    assert worker.stop() == 0, worker.talk
    shutil.rmtree(deploys.settings.state_dir / deploys.name)
    deploys.worker = None
    deploys.deploy()
    deploys.served.open("disk")
    assert deploys.served.result(waiting) == "disk"
    deploys.served.result(deploys.served.started(late))
    again = deploys.served.send(known)
    [disposed] = deploys.served.told("EventDisposed", partition=again[0], offset=again[1])
    assert disposed["disposition"] == "duplicate"


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_a_disk_deleted_under_a_worker_ends_it_and_the_next_one_rebuilds_it(deploys: Deploys) -> None:
    worker = deploys.deploy()
    waiting = deploys.begin("wait", "deleted")
    shutil.rmtree(deploys.settings.state_dir)
    # Until a store has more than it keeps in memory, nothing is missed.
    for _ in range(500):
        if not worker.alive:
            break
        deploys.served.send({"name": "wait", "data": {"gate": "deleted", "more": "x" * 400_000}})
    assert worker.ended() == 1, worker.talk
    assert f"Error: the worker cannot go on: the store {deploys.settings.state_dir}" in worker.talk
    assert "was deleted while it was in use; nothing is lost: a restart rebuilds it from Kafka" in worker.talk
    assert "Traceback" not in worker.talk
    deploys.worker = None
    deploys.deploy()
    deploys.served.open("deleted")
    assert deploys.served.result(waiting) == "deleted"


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_an_empty_disk_is_rebuilt_from_a_snapshot_and_the_journals_tail(deploys: Deploys) -> None:
    """Once the journal is trimmed, the state topic is all that is left of its beginning."""
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="3000")
    waiting = deploys.begin("wait", "snapshot")
    known = {"name": "greet", "id": "kept-in-a-snapshot", "data": {"n": 1}}
    deploys.served.result(deploys.served.started(deploys.served.send(known)))
    admin, journal = clients.admin(deploys.settings), f"{deploys.name}.journal"
    until(lambda: min(_more(deploys, admin, journal)) > 0, "every partition of the journal is trimmed")
    worker.kill()
    deploys.worker = None
    shutil.rmtree(deploys.settings.state_dir)
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="3000")
    worker.said("rebuilt from", times=PARTITIONS)
    deploys.served.open("snapshot")
    assert deploys.served.result(waiting) == "snapshot"
    again = deploys.served.send(known)
    [disposed] = deploys.served.told("EventDisposed", partition=again[0], offset=again[1])
    assert disposed["disposition"] == "duplicate"


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_a_state_topic_that_was_created_again_gets_new_snapshots_from_who_has_a_disk(deploys: Deploys) -> None:
    """The logs have been trimmed behind the old ones, so that for a while the disks have all there is of the state."""
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="3000")
    waiting = deploys.begin("wait", "kept")
    admin, journal = clients.admin(deploys.settings), f"{deploys.name}.journal"
    until(lambda: min(_more(deploys, admin, journal)) > 0, "every partition of the journal is trimmed")
    deploys.create_again("state")
    assert worker.ended() == 1
    assert "was created again, and the snapshots that were in it are gone" in worker.lines[-1]
    deploys.worker = None
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="1000000000")
    worker.said("a snapshot of ", times=PARTITIONS)
    deploys.stop()
    shutil.rmtree(deploys.settings.state_dir)
    deploys.deploy().said("rebuilt from", times=PARTITIONS)
    deploys.served.open("kept")
    assert deploys.served.result(waiting) == "kept"


@pytest.mark.parametrize("deploys", ["app.py"], indirect=True)
def test_a_worker_whose_state_nothing_can_rebuild_stops_and_says_so(deploys: Deploys) -> None:
    """It neither begins with an empty state, nor waits for what will not come."""
    worker = deploys.deploy()
    deploys.served.result(deploys.served.started(deploys.served.send({"name": "greet", "data": {"n": 1}})))
    assert worker.stop() == 0, worker.talk
    deploys.worker = None
    shutil.rmtree(deploys.settings.state_dir)
    admin, journal = clients.admin(deploys.settings), f"{deploys.name}.journal"
    for future in admin.delete_records([TopicPartition(journal, number, 1) for number in range(PARTITIONS)]).values():
        future.result(30)
    worker = deploys.workers.start()
    worker.said("no complete snapshot in the state topic reaches that far")
    assert worker.ended() == 1
    assert "Traceback" not in worker.talk


def _more(deploys: Deploys, admin: AdminClient, topic: str) -> list[int]:
    """Have the app do some more work; return where the partitions of a topic begin now."""
    deploys.served.result(deploys.served.started(deploys.served.send({"name": "greet", "data": {"n": 1}})))
    earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # the client's
    parts = {TopicPartition(topic, number): earliest for number in range(PARTITIONS)}
    return [future.result(30).offset for future in admin.list_offsets(parts).values()]


@pytest.mark.parametrize("deploys", ["versions.py"], indirect=True)
def test_a_call_of_a_newer_deploy_is_not_refused_by_the_workers_of_the_older_one(deploys: Deploys) -> None:
    older = deploys.deploy(BEHAVIOURS_VERSIONS="1")
    deploys.worker = deploys.workers.start(BEHAVIOURS_VERSIONS="2 1")
    deploys.worker.ready()
    places = [deploys.served.send({"name": "call", "data": {}}) for _ in range(12)]
    runs = [deploys.served.started(place, "caller") for place in places]
    # Half of the partitions are led by who has not heard of the function.
    deploys.served.told("StepRecorded", len(runs), kind="invoke", status="waiting")
    assert older.stop() == 0, older.talk
    assert [deploys.served.result(run) for run in runs] == ["called"] * len(runs)


@pytest.mark.parametrize("deploys", ["versions.py"], indirect=True)
def test_while_a_deploy_is_rolled_out_whoever_leads_hands_a_cancelled_run_to_its_handler(deploys: Deploys) -> None:
    served = deploys.served
    older = deploys.deploy(BEHAVIOURS_VERSIONS="1")
    deploys.worker = deploys.workers.start(BEHAVIOURS_VERSIONS="2 1")
    deploys.worker.ready()
    for number in range(12):
        served.send({"name": "keep", "data": {"which": str(number)}})
    # The older worker leads some of their partitions, and has them wait for the code.
    served.told("RunChanged", function="kept", change="parked")
    until(lambda: len(command(deploys, "runs", "list", "--json").output.split('"run_id"')) > 12, "all runs are there")
    done = command(deploys, "runs", "cancel", "--function", "kept", "--yes")
    assert done.exit_code == 0, done.output
    served.told("EventDisposed", function="kept:on_cancel", detail="no code")
    assert older.stop() == 0, older.talk
    mourned = served.told("RunEnded", 12, function="kept:on_cancel")
    assert sorted(int(json.loads(one["result"])) for one in mourned) == list(range(12))
