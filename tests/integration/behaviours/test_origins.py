"""Stores and topics on a real broker that do not belong together: a store is rebuilt, and what nobody can mend stops the worker."""

import shutil
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewPartitions
from rocksdict import Options, Rdict

from stream_engine.core.records.tables import FOLDED, FOLDED_KEY, encode
from stream_engine.shell import clients
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import partition_counts
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.raw import read
from tests.workers import WorkerProcess, Workers, until

_TORN = "do not belong together any more, and no worker can mend that: "
_REBUILT = "the store is emptied and rebuilt: "
_INTERNAL = ("commands", "journal", "state", "control", "history")


def test_several_workers_may_be_the_first(broker: Settings, tmp_path: Path) -> None:
    """Each finds some of the topics, which another is creating."""
    settings = replace(broker, state_dir=tmp_path / "state", partitions=PARTITIONS)
    for _ in range(3):
        env = {"BEHAVIOURS_APP": f"first-{uuid4().hex[:8]}", "BEHAVIOURS_GATES": str(tmp_path)}
        with Workers(f"{Path(__file__).with_name('app.py')}:engine", settings, env) as workers:
            for worker in [workers.start() for _ in range(4)]:
                worker.ready()


def test_a_store_that_is_ahead_of_the_journal_is_rebuilt_loudly(deploys: Deploys) -> None:
    """As if the log had lost its end."""
    deploys.deploy()
    waiting = deploys.begin("wait", "store")
    deploys.stop()
    assert len(deploys.stores) == PARTITIONS
    for store in deploys.stores:
        _put_ahead(store)
    deploys.deploy().said(f"{_REBUILT}the store has folded up to offset", times=PARTITIONS)
    deploys.served.open("store")
    assert deploys.served.result(waiting) == "store"


def _put_ahead(path: Path) -> None:
    """Make a store say that it has folded more than there is."""
    store = Rdict(str(path), Options(raw_mode=True))
    folded = FOLDED.decode(store[FOLDED_KEY] or b"")
    mark = folded.mark
    ahead = type(mark)(mark.offset + 1_000, mark.epoch, mark.n + 1_000)
    store[FOLDED_KEY] = encode(type(folded)(folded.topic_id, ahead, folded.commands, folded.now, folded.told))
    store.close()


def test_a_store_of_another_partition_is_rebuilt_loudly(deploys: Deploys) -> None:
    """Somebody has moved folders about."""
    deploys.deploy()
    runs = {gate: deploys.begin("wait", gate) for gate in ("one", "two", "three", "four")}
    deploys.stop()
    first, second = deploys.stores[:2]
    aside = first.rename(first.with_name("aside"))
    second.rename(first)
    aside.rename(second)
    deploys.deploy().said(f"{_REBUILT}the store is a copy of partition ", times=2)
    for gate, run in runs.items():
        deploys.served.open(gate)
        assert deploys.served.result(run) == gate


def test_stores_of_an_app_that_began_anew_are_rebuilt_loudly(deploys: Deploys) -> None:
    """As with the state folder of a cluster that is gone, or after somebody did what a worker that stops says."""
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    deploys.create_again(*_INTERNAL)
    deploys.deploy().said(f"{_REBUILT}the store is a copy of partition ", times=PARTITIONS)
    deploys.greet()


@pytest.mark.parametrize("disk", [True, False], ids=["with its disk", "without its disk"])
@pytest.mark.parametrize("topic", ["commands", "journal"])
def test_a_topic_that_was_created_again_stops_the_worker(topic: str, disk: bool, deploys: Deploys) -> None:
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    deploys.create_again(topic)
    if not disk:
        shutil.rmtree(deploys.settings.state_dir)
    _stops(deploys, f"the {topic} topic is another one" if topic == "commands" else "the journal is another topic")


def test_a_store_is_witness_enough_that_a_topic_was_created_again(deploys: Deploys) -> None:
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    deploys.create_again("commands", "control")
    _stops(deploys, "the commands topic is another one")


def test_more_partitions_stop_the_worker(deploys: Deploys) -> None:
    """Also where somebody gave all internal topics as many."""
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    admin = clients.admin(deploys.settings)
    grown = [
        NewPartitions(f"{deploys.name}.{topic}", 2 * PARTITIONS)
        for topic in ("commands", "journal", "state", "history")
    ]
    for future in admin.create_partitions(grown).values():
        future.result(30)
    until(lambda: partition_counts(admin)[f"{deploys.name}.commands"] == 2 * PARTITIONS, "there are more partitions")
    _stops(deploys, f"the commands topic had {PARTITIONS} partitions, and has {2 * PARTITIONS}")


def test_a_topic_that_is_gone_stops_the_worker_and_is_not_created_anew(deploys: Deploys) -> None:
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    admin, commands = clients.admin(deploys.settings), f"{deploys.name}.commands"
    admin.delete_topics([commands])[commands].result(30)
    until(lambda: commands not in partition_counts(admin), "the topic is gone")
    _stops(deploys, f"{commands} existed, and is gone with all that was in it")
    assert commands not in partition_counts(admin)


@pytest.mark.parametrize("topic", ["commands", "journal"])
def test_a_topic_that_is_created_again_under_a_worker_stops_it(topic: str, deploys: Deploys) -> None:
    worker = deploys.deploy()
    deploys.greet()
    deploys.create_again(topic)
    place = deploys.served.send({"name": "greet", "data": {"n": 1}})
    _has_stopped(deploys, worker, "is another")
    assert deploys.served.told("RunStarted", 0, partition=place[0], offset=place[1]) == []


@pytest.mark.parametrize("topic", ["journal", "history"])
def test_a_topic_that_is_deleted_under_an_idle_worker_stops_it(topic: str, deploys: Deploys) -> None:
    worker = deploys.deploy()
    deploys.greet()
    admin, name = clients.admin(deploys.settings), f"{deploys.name}.{topic}"
    admin.delete_topics([name])[name].result(30)
    assert worker.ended() == 1
    assert f"{name}: deleted while the worker ran" in worker.lines[-1]


def test_events_that_are_created_again_under_a_worker_stop_it_and_are_routed_by_the_next(deploys: Deploys) -> None:
    worker = deploys.deploy()
    deploys.greet()
    deploys.create_again("events")
    assert worker.ended() == 1
    assert "created again" in worker.lines[-1], worker.talk
    assert "Traceback" not in worker.talk
    places = [deploys.served.send({"name": "wait", "data": {"gate": f"again-{number}"}}) for number in range(3)]
    deploys.worker = None
    deploys.deploy()
    for number, place in enumerate(places):
        deploys.served.reached(f"again-{number}")
        deploys.served.open(f"again-{number}")
        [started] = deploys.served.told("RunStarted", partition=place[0], offset=place[1], event_name="wait")
        assert deploys.served.result(started["run_id"]) == f"again-{number}"


def test_an_offset_that_was_committed_for_an_older_topic_of_the_name_is_not_taken(deploys: Deploys) -> None:
    """As a worker may leave it behind that had not noticed yet that the events topic was created again."""
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    group, topic = f"{deploys.name}.router", f"{deploys.name}.events"
    consumer = Consumer({"bootstrap.servers": str(deploys.settings.bootstrap_servers), "group.id": group})
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    left = [
        TopicPartition(topic, part.partition, max(1, part.offset), part.metadata)
        for part in consumer.committed(parts, timeout=30)
    ]
    deploys.create_again("events")
    for number in range(PARTITIONS):
        deploys.served.send({"name": "greet", "data": {}}, partition=number)
    until(lambda: consumer.committed(parts, timeout=30)[0].offset < 0, "Kafka has forgotten the old topic's offsets")
    consumer.commit(offsets=left, asynchronous=False)
    consumer.close()
    deploys.deploy().said(f"{topic} was created again; it is routed from its first event on", times=PARTITIONS)
    deploys.served.told("RunStarted", 1 + PARTITIONS)


def _stops(deploys: Deploys, why: str) -> None:
    """A worker that is started now stops, and has not claimed anything."""
    journal = f"{deploys.name}.journal"
    before = len(read(str(deploys.settings.bootstrap_servers), journal))
    _has_stopped(deploys, deploys.workers.start(), why)
    assert len(read(str(deploys.settings.bootstrap_servers), journal)) == before


def _has_stopped(deploys: Deploys, worker: WorkerProcess, why: str) -> None:
    assert worker.ended() == 1
    assert worker.lines[-1].startswith("Error: "), worker.talk
    assert f"the topics of {deploys.name} {_TORN}" in worker.lines[-1]
    assert why in worker.lines[-1]
    assert "begin anew: stop all workers and delete" in worker.lines[-1]
    assert "Traceback" not in worker.talk
