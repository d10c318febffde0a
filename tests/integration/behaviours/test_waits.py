"""Runs wait for events on a real broker, and are cancelled by them: on first use, in races, and whoever is killed."""

import json
import re

import pytest
from confluent_kafka import Producer

from tests.integration.behaviours.deploys import Deploys
from tests.integration.behaviours.registry import Registry
from tests.kafka_tools import reset_offsets
from tests.workers import until

_RACES = 400
_GLANCES = 200
_MANY = 12
_FILLERS = 1_000

pytestmark = pytest.mark.parametrize("deploys", ["waiting.py"], indirect=True)


def test_none_misses_the_event_that_another_function_sends_at_once(deploys: Deploys) -> None:
    deploys.deploy()
    for number in range(_RACES):
        deploys.served.send({"name": "race/order", "data": {"number": number}})
    ended = deploys.served.told("RunEnded", _RACES, function="buyer")
    assert sorted(int(one["result"]) for one in ended) == list(range(_RACES))


def test_events_are_found_from_before_anybody_waited_and_across_a_crash(deploys: Deploys) -> None:
    served = deploys.served
    deploys.deploy()
    places = [served.send({"name": "late", "data": {"me": number}}) for number in range(4)]
    for number in range(4):
        served.send({"name": "late/told", "data": {"to": number, "what": f"w{number}"}})
    runs = [served.started(place, "late") for place in places]
    assert deploys.worker is not None
    deploys.worker.kill()
    deploys.worker = None
    deploys.deploy()
    assert [served.result(run) for run in runs] == ["w0", "w1", "w2", "w3"]


def test_what_lies_on_the_log_is_found_by_who_waits_for_no_time_at_all(deploys: Deploys) -> None:
    served = deploys.served
    deploys.deploy()
    places = [served.send({"name": "glance", "data": {"to": number}}) for number in range(4)]
    for number in range(3):
        served.send({"name": "glance/told", "data": {"to": number, "what": f"w{number}"}})
    assert [served.result(served.started(place, "glance")) for place in places] == ["w0", "w1", "w2", None]


def test_the_log_is_read_once_for_all_runs_that_wait_for_the_first_time(deploys: Deploys) -> None:
    served = deploys.served
    worker = deploys.deploy()
    producer = Producer({"bootstrap.servers": served.servers})
    for name, count in (("filler", _FILLERS), ("glance", _GLANCES), ("glance/told", _GLANCES)):
        for number in range(count):
            producer.produce(
                f"{deploys.name}.events", json.dumps({"name": name, "data": {"to": number, "what": number}})
            )
        producer.flush()
    ended = served.told("RunEnded", _GLANCES, function="glance")
    assert sorted(int(one["result"]) for one in ended) == list(range(_GLANCES))
    again = sum(int(found) for found in re.findall(r"read (\d+) events of \S+ again for waits", worker.talk))
    assert 0 < again <= _FILLERS + 2 * _GLANCES, worker.talk


def test_after_a_rewind_runs_have_what_the_new_runs_send(deploys: Deploys) -> None:
    served = deploys.served
    deploys.deploy(BEHAVIOURS_PAYS="ada")
    for number in range(4):
        served.send({"name": "bill", "data": {"number": number}})
    assert {one["result"] for one in served.told("RunEnded", 4, function="debtor")} == {'"ada"'}
    deploys.stop()
    reset_offsets(deploys.settings, f"{deploys.name}.router", f"{deploys.name}.events", "--to-earliest")
    deploys.deploy(BEHAVIOURS_PAYS="bob")
    again = served.started_again(4, "debtor")
    assert [served.result(one["run_id"]) for one in again] == ["bob"] * 4


def test_waits_outlive_workers_and_have_each_event_once(deploys: Deploys) -> None:
    served = deploys.served
    deploys.deploy()
    runs = [
        served.started(served.send({"name": "patient", "data": {"to": number, "events": 3}}), "patient")
        for number in range(4)
    ]
    for number in range(4):
        served.send({"name": "tell/first", "data": {"to": number, "what": 1}})
    served.told("StepRecorded", 4, step_id="event 0", status="completed")
    assert deploys.worker is not None
    deploys.worker.kill()
    deploys.worker = None
    for number in range(4):
        served.send({"name": "tell/second", "data": {"to": number, "what": 2}})
    deploys.deploy()
    served.told("StepRecorded", 4, step_id="event 1", status="completed")
    deploys.deploy()
    for number in range(4):
        served.send({"name": "tell/third", "data": {"to": number, "what": 3}})
    assert [served.result(run) for run in runs] == [[1, 2, 3]] * 4


def test_of_two_workers_one_is_killed_and_nobody_misses_an_event(deploys: Deploys) -> None:
    served = deploys.served
    first = deploys.deploy()
    second = deploys.workers.start("--drain-timeout", "100ms")
    second.ready()
    patient = [
        served.started(served.send({"name": "patient", "data": {"to": number, "events": 2}}), "patient")
        for number in range(_MANY)
    ]
    for number in range(_MANY):
        served.send({"name": "tell/first", "data": {"to": number, "what": 1}})
    served.told("StepRecorded", _MANY, step_id="event 0", status="completed")
    # These wait for the first time for their name, and the worker is gone before they do.
    late = [served.started(served.send({"name": "late", "data": {"me": number}}), "late") for number in range(4)]
    for number in range(4):
        served.send({"name": "late/told", "data": {"to": number, "what": number}})
    first.kill()
    deploys.worker = second
    for number in range(_MANY):
        served.send({"name": "tell/second", "data": {"to": number, "what": 2}})
    assert [served.result(run) for run in patient] == [[1, 2]] * _MANY
    assert [served.result(run) for run in late] == list(range(4))


def test_a_transaction_s_mark_at_the_end_of_the_log_holds_nobody_up(deploys: Deploys) -> None:
    served = deploys.served
    deploys.deploy()
    runs = [served.started(served.send({"name": "late", "data": {"me": number}}), "late") for number in range(4)]
    producer = Producer({"bootstrap.servers": served.servers, "transactional.id": deploys.name})
    producer.init_transactions()
    producer.begin_transaction()
    for number in range(4):
        for partition in served.events.partitions:
            value = json.dumps({"name": "late/told", "data": {"to": number, "what": number}, "id": f"told-{number}"})
            producer.produce(f"{deploys.name}.events", value, partition=partition)
    producer.commit_transaction()
    assert [served.result(run) for run in runs] == list(range(4))


def test_who_waits_in_vain_gets_none(deploys: Deploys) -> None:
    deploys.deploy()
    place = deploys.served.send({"name": "impatient", "data": {"to": 1}})
    assert deploys.served.result(deploys.served.started(place, "impatient")) is None


def test_an_event_is_found_although_its_lane_is_held_beyond_the_end_of_the_wait(deploys: Deploys) -> None:
    served = deploys.served
    with Registry() as registry:
        worker = deploys.deploy(STREAM_ENGINE_SCHEMAS=registry.address)
        # The first use is over then, so that nothing but the end of the wait is waited for.
        assert served.result(served.started(served.send({"name": "brief", "data": {"me": 0}}), "brief")) is None
        run = served.started(served.send({"name": "brief", "data": {"me": 1}}, partition=0), "brief")
        served.produce(b"\0\0\0\0\7\x04hi", partition=1)
        served.send({"name": "brief/told", "data": {"to": 1, "what": "w1"}}, partition=1)
        _, told = served.told("StepRecorded", 2, run_id=run, status="waiting")
        assert told["error"]["type"] == "EventsNotReadYet"
        until(lambda: f"{deploys.name}.events/1 is routed up to" in worker.talk, "the worker says what it waits for")
        registry.open()
        assert served.result(run) == "w1"


def test_a_transaction_s_mark_at_the_end_of_the_log_holds_no_timeout_up(deploys: Deploys) -> None:
    served = deploys.served
    deploys.deploy()
    producer = Producer({"bootstrap.servers": served.servers, "transactional.id": deploys.name})
    producer.init_transactions()
    producer.begin_transaction()
    for partition in served.events.partitions:
        producer.produce(f"{deploys.name}.events", json.dumps({"name": "nothing", "data": {}}), partition=partition)
    producer.commit_transaction()
    for _ in range(2):
        assert (
            served.result(served.started(served.send({"name": "brief", "data": {"me": 0}}, partition=0), "brief"))
            is None
        )


def test_a_newer_update_cancels_the_older_sync_and_itself_lives(deploys: Deploys) -> None:
    deploys.deploy()
    users = ["ada", "bob", "cy"]
    for version in range(3):
        for user in users:
            deploys.served.send({"name": "profile/updated", "data": {"user": user, "version": version}})
    ended = deploys.served.told("RunEnded", 9, function="sync")
    mourned = deploys.served.told("RunEnded", 6, function="sync:on_cancel")
    assert sorted(one["result"] for one in ended if one["status"] == "completed") == ["2"] * 3
    assert sorted(one["status"] for one in ended) == ["cancelled"] * 6 + ["completed"] * 3
    assert sorted(one["result"] for one in mourned) == ["0"] * 3 + ["1"] * 3
