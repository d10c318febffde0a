"""Runs wait for events on a real broker, and are cancelled by them: on first use, in races, and whoever is killed."""

import json

import pytest
from confluent_kafka import Producer

from tests.integration.behaviours.deploys import Deploys

_RACES = 400

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
