"""The runbook, tried as written: the commands of its page, against a real broker, in the situations that it is about."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TopicPartition

from stream_engine.shell import clients
from stream_engine.shell.topics import partition_counts
from tests.integration.behaviours.commands import command, said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.integration.behaviours.page import Tried, page_of, tries
from tests.workers import until

pytestmark = pytest.mark.parametrize("deploys", ["mended.py"], indirect=True)


@tries("A poison event", 0)
def test_what_a_model_refuses_is_sent_again_once_the_model_takes_it(deploys: Deploys, tried: Tried) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    place = deploys.served.send({"name": "order/returned", "data": {"order": 7}})
    with page_of(deploys, tried) as page:
        deploys.served.buried(place)
        [letter] = said(deploys, "dead-letters", "list")
        assert letter["id"] in page.do("stream-engine dead-letters list --app APP")
        shown = page.do("stream-engine dead-letters show LETTER --app APP", LETTER=letter["id"])
        assert "reason" in shown
        deploys.deploy(BEHAVIOURS_BUG="0")
        page.do("stream-engine dead-letters retry LETTER --app APP", LETTER=letter["id"])
    [started] = deploys.served.told("RunStarted", function="take-back")
    assert deploys.served.result(started["run_id"]) == 7


@tries("A poison event", 0)
def test_a_letter_of_a_function_is_sent_to_it_once_it_is_mended(deploys: Deploys, tried: Tried) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    place = deploys.served.send({"name": "order/placed", "data": {"id": 7, "shop": 1}})
    deploys.served.told("EventDisposed", function="pick", disposition="dead-lettered")
    with page_of(deploys, tried) as page:
        until(lambda: said(deploys, "dead-letters", "list"), "there is a letter")
        [letter] = said(deploys, "dead-letters", "list")
        assert letter["id"] in page.do("stream-engine dead-letters list --app APP")
        assert "function   pick" in page.do("stream-engine dead-letters show LETTER --app APP", LETTER=letter["id"])
        deploys.deploy(BEHAVIOURS_BUG="0")
        assert "of pick" in page.do("stream-engine dead-letters retry LETTER --app APP", LETTER=letter["id"])
    assert deploys.served.result(deploys.served.started(place, "pick")) == 7


@tries("A poison event", 1)
def test_a_run_that_failed_is_run_again_once_its_function_is_mended(deploys: Deploys, tried: Tried) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    place = deploys.served.send({"name": "order/returned", "data": {"order": -7, "reason": "none"}})
    failed = deploys.served.started(place, "take-back")
    deploys.served.told("RunEnded", run_id=failed, status="failed")
    deploys.deploy(BEHAVIOURS_BUG="0")
    with page_of(deploys, tried) as page:
        list_ = "stream-engine runs list --function FUNCTION --status failed --app APP"
        assert failed in page.do(list_, FUNCTION="take-back")
        again = page.do("stream-engine runs rerun RUN --app APP", RUN=failed)
    assert deploys.served.result(again.split()[0]) == -7


@tries("A poison event", 2, 3, 4)
def test_an_event_that_ends_every_process_that_takes_it(deploys: Deploys, tried: Tried) -> None:
    worker = deploys.deploy(BEHAVIOURS_BUG="1")
    place = deploys.served.send({"name": "kill", "data": {}})
    assert worker.ended() == -9
    deploys.worker = None
    run = deploys.served.started(place)
    with page_of(deploys, tried) as page:
        assert "kill is paused" in page.do("stream-engine functions pause FUNCTION --app APP", FUNCTION="kill")
        listed = page.do("stream-engine runs list --function FUNCTION --status running --app APP", FUNCTION="kill")
        assert run in listed
        deploys.deploy(BEHAVIOURS_BUG="0", BEHAVIOURS_WITHOUT="kill")
        deploys.served.told("RunChanged", run_id=run, change="parked")
        parked = page.do("stream-engine runs list --function FUNCTION --waiting --app APP", FUNCTION="kill")
        assert run in parked
        assert "no code" in parked
        deploys.deploy(BEHAVIOURS_BUG="0")
        missed = deploys.served.send({"name": "kill", "data": {}})
        assert deploys.served.result(run) == "mended"
        deploys.served.told("EventDisposed", disposition="paused", partition=missed[0], offset=missed[1])
        page.do("stream-engine functions resume FUNCTION --replay --app APP", FUNCTION="kill")
    [again] = deploys.served.started_again(1, "kill")
    assert deploys.served.result(again["run_id"]) == "mended"


@tries("A stuck key", 0, 1)
def test_a_key_that_a_hanging_run_holds(deploys: Deploys, tried: Tried) -> None:
    deploys.deploy()
    holder = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "first"}}))
    deploys.served.reached("first")
    deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "second"}})
    deploys.served.told("EventDisposed", function="hold", disposition="queued")
    with page_of(deploys, tried) as page:
        waiting = page.do("stream-engine runs list --waiting --function FUNCTION --app APP", FUNCTION="hold")
        assert "concurrency of 7" in waiting
        running = page.do("stream-engine runs list --function FUNCTION --status running --app APP", FUNCTION="hold")
        assert holder in running
        assert "running" in page.do("stream-engine runs show RUN --app APP", RUN=holder)
        page.do('stream-engine runs cancel RUN --reason "it hangs" --app APP', RUN=holder)
    deploys.served.reached("second")
    [ended] = deploys.served.told("RunEnded", run_id=holder)
    assert ended["status"] == "cancelled"
    assert "it hangs" in ended["detail"]


@tries("Events that expired before they were routed", 0, 1, 2)
def test_events_that_expired_while_all_workers_were_away(deploys: Deploys, tried: Tried) -> None:
    deploys.deploy(BEHAVIOURS_BUG="0")
    deploys.served.result(deploys.served.started(_placed(deploys, 1), "pick"))
    deploys.stop()
    gone, left, elsewhere = (_placed(deploys, 2), _placed(deploys, 3), _placed(deploys, 4, partition=1))
    topic, admin = f"{deploys.name}.events", clients.admin(deploys.settings)
    part = TopicPartition(topic, 0, left[1])
    admin.delete_records([part])[part].result(30)
    worker = deploys.workers.start(BEHAVIOURS_BUG="0")
    assert worker.ended() == 1
    worker.said(f"the events of {topic}/0 that are to be routed next are not there")
    with page_of(deploys, tried) as page:
        found = page.attempt("stream-engine doctor --app APP")
        assert found.exit_code == 1
        assert "1 events were deleted before they were routed" in found.stdout
        assert f"groups reset {deploys.name}.router --topic {topic}:0 --to-earliest`" in found.stdout
        reset = "stream-engine groups reset APP.router --app APP --topic APP.events:0 --to-earliest"
        until(lambda: page.again(f"{reset} --dry-run").exit_code == 0, "Kafka has let the member go")
        preview = page.do(f"{reset} --dry-run")
        assert preview.splitlines() == [f"{topic}/0    {gone[1]} -> {left[1]}: 1 offsets skipped for good"]
        assert page.agree(reset).strip() == preview.strip()
        assert command(deploys, "runs", "show", "--event", f"{topic}/0/{gone[1]}").exit_code == 1
        deploys.worker = page.start("stream-engine worker shop:engine", BEHAVIOURS_BUG="0")
        deploys.worker.said(f"an operator passed over the events {gone[1]} to {left[1]}")
        for place, order in ((left, 3), (elsewhere, 4)):
            assert deploys.served.result(deploys.served.started(place, "pick")) == order
        shown = page.do("stream-engine runs show --event APP.events/0/OFFSET --app APP", OFFSET=str(gone[1]))
        assert shown.startswith(f"event  {topic}/0/{gone[1]}\n  passed over  by a forward move of the offsets")
        [told] = said(deploys, "runs", "show", "--event", f"{topic}/0/{gone[1]}")
        assert (told["offset"], told["functions"], told["event_name"]) == (gone[1], [], None)
        assert told["passed_over_at"] is not None
        [ran] = said(deploys, "runs", "show", "--event", f"{topic}/0/{left[1]}")
        assert ran["passed_over_at"] is None
        keep = "kafka-configs.sh --bootstrap-server kafka-1:9092 --alter --entity-type topics --entity-name APP.{} --add-config retention.ms=1209600000"
        page.tool(keep.format("events"))
        page.tool(keep.format("history"))
    deploys.served.listen()
    assert len(deploys.served.told("RunStarted", function="pick")) == 3


def _placed(deploys: Deploys, order: int, partition: int = 0) -> tuple[int, int]:
    return deploys.served.send({"name": "order/placed", "data": {"id": order, "shop": order}}, partition=partition)


@tries("A rolling upgrade", 0, 1)
def test_workers_that_are_replaced_one_by_one_and_back(deploys: Deploys, tried: Tried) -> None:
    old = deploys.deploy(BEHAVIOURS_BUG="1")
    run = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
    deploys.served.reached("on")
    with page_of(deploys, tried) as page:
        new = page.start("stream-engine worker shop:engine --drain-timeout 60s", BEHAVIOURS_BUG="0")
        old.terminate()
        deploys.served.open("on")
        assert old.ended() == 0
        deploys.worker = new
        assert deploys.served.result(run) == "on"
        place = deploys.served.send({"name": "order/placed", "data": {"id": 7, "shop": 1}})
        assert deploys.served.result(deploys.served.started(place, "pick")) == 7
        assert "pick" in page.do("stream-engine functions list --app APP")
        page.do("stream-engine runs list --status running --since 7d --app APP")
        deploys.deploy(BEHAVIOURS_BUG="1").said("start a worker with --activate")
        deploys.stop()
        deploys.worker = page.start("stream-engine worker shop:engine --activate", BEHAVIOURS_BUG="1")
    deploys.served.send({"name": "order/placed", "data": {"id": 8, "shop": 1}})
    deploys.served.told("EventDisposed", function="pick", disposition="dead-lettered")


@tries("More partitions", 0)
def test_a_topic_of_events_that_grows_loses_nothing(deploys: Deploys, tried: Tried) -> None:
    """Also where an app that is new begins with what comes next."""
    quick = {"STREAM_ENGINE_START": "latest", "STREAM_ENGINE_KAFKA__TOPIC_METADATA_REFRESH_INTERVAL_MS": "1000"}
    deploys.served.send({"name": "order/placed", "data": {"id": 1, "shop": 1}})
    deploys.deploy(**quick)
    with page_of(deploys, tried) as page:
        first = deploys.served.send({"name": "order/placed", "data": {"id": 2, "shop": 1}}, partition=0)
        deploys.served.started(first, "pick")
        page.tool("kafka-topics.sh --bootstrap-server kafka-1:9092 --alter --topic APP.events --partitions 32")
        topic = f"{deploys.name}.events"
        admin = clients.admin(deploys.settings)
        until(lambda: partition_counts(admin)[topic] == 32, "the topic has grown")
        new = [
            deploys.served.send({"name": "order/placed", "data": {"id": number, "shop": 1}}, partition=number)
            for number in range(PARTITIONS, 32)
        ]
        started = deploys.served.told("RunStarted", len(new) + 1, function="pick")
        assert sorted((one["partition"], one["offset"]) for one in started) == sorted([first, *new])
        assert page.do("stream-engine groups list --app APP").count(f"{topic}/") == 32


@tries("More partitions", 1)
def test_an_app_that_begins_anew_with_more_internal_partitions(deploys: Deploys, tried: Tried) -> None:
    deploys.deploy()
    before = deploys.served.send({"name": "order/placed", "data": {"id": 1, "shop": 1}})
    deploys.served.result(deploys.served.started(before, "pick"))
    admin = clients.admin(deploys.settings)
    with page_of(deploys, tried) as page:
        assert page.do("stream-engine runs list --waiting --since 366d --app APP") == ""
        deploys.stop()
        page.tool(
            "kafka-topics.sh --bootstrap-server kafka-1:9092 --delete --topic APP.commands,APP.journal,APP.state,APP.control,APP.history"
        )
        until(lambda: f"{deploys.name}.journal" not in partition_counts(admin), "the topics are gone")
        later = deploys.served.send({"name": "order/placed", "data": {"id": 2, "shop": 1}})
        page.export("export STREAM_ENGINE_PARTITIONS=32")
        page.do("stream-engine topics apply shop:engine")
        assert partition_counts(admin)[f"{deploys.name}.commands"] == 32
        deploys.served.__exit__()
        deploys.served = _served_anew(deploys)
        deploys.deploy(**page.env)
    run = deploys.served.started(later, "pick")
    assert deploys.served.result(run) == 2
    deploys.served.listen()
    started: list[dict[str, Any]] = deploys.served.told("RunStarted", function="pick")
    assert [(one["partition"], one["offset"]) for one in started] == [later]


def _served_anew(deploys: Deploys) -> Any:
    return type(deploys.served)(deploys.settings, deploys.name, deploys.folder).__enter__()
