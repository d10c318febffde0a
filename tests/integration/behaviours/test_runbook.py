"""The runbook, tried as written: the commands of its page, against a real broker, in the situations that it is about."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from stream_engine.shell import clients, localbroker
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import partition_counts
from tests.integration.behaviours.commands import said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.kafka_tools import run_tool
from tests.unit.test_runbook import RUNBOOK, blocks
from tests.workers import until

pytestmark = pytest.mark.parametrize("deploys", ["mended.py"], indirect=True)


class Page:
    """A section of the runbook, for one app; what it says is done in its order."""

    def __init__(self, deploys: Deploys, section: str) -> None:
        self._deploys = deploys
        text = re.split(rf"^## {section}\n", RUNBOOK, flags=re.MULTILINE)[1].partition("\n## ")[0]
        self.lines = blocks(text)
        self.env = {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers,
            "STREAM_ENGINE_STATE_DIR": str(deploys.settings.state_dir),
            "BEHAVIOURS_APP": deploys.name,
            "BEHAVIOURS_GATES": str(deploys.folder),
        }

    def do(self, line: str, **stands_for: str) -> str:
        """Do the next line, which is this one but for the words that stand for something else; return what it prints."""
        written = self.lines.pop(0)
        assert written == line
        done = self.attempt(line, **stands_for)
        if isinstance(done, str):
            return done
        assert done.exit_code == 0, done.output
        return done.stdout

    def attempt(self, line: str, **stands_for: str) -> Result | str:
        """Do a line, whatever comes of it."""
        for word, meant in {"APP": self._deploys.name, "shop:engine": self._deploys.workers.app, **stands_for}.items():
            line = re.sub(rf"\b{word}\b", meant, line)
        words = shlex.split(line)
        if words[0].startswith("kafka-"):
            assert words[1] == "--bootstrap-server"
            return run_tool(self._deploys.settings, words[0], *words[3:])
        assert words[0] == "stream-engine"
        # The app's code is imported once a process, and is another app in each test.
        sys.modules.pop("mended", None)
        return CliRunner().invoke(main, words[1:], env=self.env)


def test_a_letter_of_a_function_is_sent_to_it_once_it_is_mended(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_BUG="1")
    place = deploys.served.send({"name": "order/placed", "data": {"id": 7, "shop": 1}})
    deploys.served.told("EventDisposed", function="pick", disposition="dead-lettered")
    page = Page(deploys, "A poison event")
    until(lambda: said(deploys, "dead-letters", "list"), "there is a letter")
    [letter] = said(deploys, "dead-letters", "list")
    assert letter["id"] in page.do("stream-engine dead-letters list --app APP")
    assert "function   pick" in page.do("stream-engine dead-letters show LETTER --app APP", LETTER=letter["id"])
    deploys.deploy(BEHAVIOURS_BUG="0")
    assert "of pick" in page.do("stream-engine dead-letters retry LETTER --app APP", LETTER=letter["id"])
    assert deploys.served.result(deploys.served.started(place, "pick")) == 7


def test_an_event_that_ends_every_process_that_takes_it(deploys: Deploys) -> None:
    worker = deploys.deploy(BEHAVIOURS_BUG="1")
    place = deploys.served.send({"name": "kill", "data": {}})
    assert worker.ended() == -9
    deploys.worker = None
    run = deploys.served.started(place)
    page = Page(deploys, "A poison event")
    del page.lines[:3]
    assert "kill is paused" in page.do("stream-engine functions pause FUNCTION --app APP", FUNCTION="kill")
    listed = page.do("stream-engine runs list --function FUNCTION --status running --app APP", FUNCTION="kill")
    assert run in listed
    deploys.deploy(BEHAVIOURS_BUG="0")
    missed = deploys.served.send({"name": "kill", "data": {}})
    assert deploys.served.result(run) == "mended"
    deploys.served.told("EventDisposed", disposition="paused", partition=missed[0], offset=missed[1])
    page.do("stream-engine functions resume FUNCTION --replay --app APP", FUNCTION="kill")
    [again] = deploys.served.started_again(1, "kill")
    assert deploys.served.result(again["run_id"]) == "mended"


def test_a_key_that_a_hanging_run_holds(deploys: Deploys) -> None:
    deploys.deploy()
    holder = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "first"}}))
    deploys.served.reached("first")
    deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "second"}})
    deploys.served.told("EventDisposed", function="hold", disposition="queued")
    page = Page(deploys, "A stuck key")
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


def test_a_worker_whose_folder_is_gone_and_a_topic_that_keeps_less(deploys: Deploys) -> None:
    deploys.deploy()
    run = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
    deploys.served.reached("on")
    deploys.stop()
    shutil.rmtree(deploys.settings.state_dir)
    page = Page(deploys, "A full disk")
    room = deploys.folder / "more-room"
    assert "worker serves it" in page.do("stream-engine doctor --app APP")
    assert page.lines.pop(0).startswith("export STREAM_ENGINE_STATE_DIR=")
    deploys.deploy(STREAM_ENGINE_STATE_DIR=str(room))
    deploys.served.open("on")
    assert deploys.served.result(run) == "on"
    assert list(room.iterdir())
    page.do(page.lines[0])
    listed = page.do("stream-engine topics list shop:engine")
    [events] = [line for line in listed.splitlines() if f"{deploys.name}.events" in line]
    assert events.endswith("kept 1 days")


def test_a_broker_that_is_killed_and_comes_back(deploys: Deploys, tmp_path: Path) -> None:
    del deploys
    own = Settings(state_dir=tmp_path / "broker")
    localbroker.start(own, port=0)
    lost = localbroker.connected(own)
    try:
        with Deploys(replace(lost, state_dir=tmp_path / "lost"), tmp_path, "mended.py") as there:
            _lose(there, own)
    finally:
        localbroker.stop(own)


def _lose(there: Deploys, own: Settings) -> None:
    worker = there.deploy()
    run = there.served.started(there.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
    there.served.reached("on")
    port = int(there.served.servers.rpartition(":")[2])
    localbroker.stop(own)
    there.served.open("on")
    worker.said("the worker waits for it")
    page = Page(there, "A lost broker")
    doctor = page.attempt(page.lines[0])
    assert isinstance(doctor, Result)
    assert doctor.exit_code == 1
    assert "nothing else can be checked before it answers" in doctor.stdout
    localbroker.start(own, port=port)
    assert there.served.result(run) == "on"
    until(lambda: not _errors(page), "doctor finds nothing wrong")
    page.do("stream-engine doctor --app APP")
    assert f"{there.name}.router" in page.do("stream-engine groups list --app APP")
    assert worker.alive


def _errors(page: Page) -> bool:
    doctor = page.attempt("stream-engine doctor --app APP")
    return isinstance(doctor, Result) and doctor.exit_code != 0


def test_workers_that_are_replaced_one_by_one_and_back(deploys: Deploys) -> None:
    old = deploys.deploy(BEHAVIOURS_BUG="1")
    run = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
    deploys.served.reached("on")
    page = Page(deploys, "A rolling upgrade")
    assert page.lines.pop(0) == "stream-engine worker shop:engine --drain-timeout 60s"
    new = deploys.workers.start("--drain-timeout", "60s", BEHAVIOURS_BUG="0")
    new.ready()
    old.terminate()
    deploys.served.open("on")
    assert old.ended() == 0
    deploys.worker = new
    assert deploys.served.result(run) == "on"
    place = deploys.served.send({"name": "order/placed", "data": {"id": 7, "shop": 1}})
    assert deploys.served.result(deploys.served.started(place, "pick")) == 7
    assert "pick" in page.do("stream-engine functions list --app APP")
    page.do("stream-engine runs list --status running --since 7d --app APP")
    assert page.lines.pop(0) == "stream-engine worker shop:engine --activate"
    deploys.deploy(BEHAVIOURS_BUG="1").said("start a worker with --activate")
    deploys.deploy("--activate", BEHAVIOURS_BUG="1")
    deploys.served.send({"name": "order/placed", "data": {"id": 8, "shop": 1}})
    deploys.served.told("EventDisposed", function="pick", disposition="dead-lettered")


def test_a_topic_of_events_that_grows_loses_nothing(deploys: Deploys) -> None:
    """Also where an app that is new begins with what comes next."""
    quick = {"STREAM_ENGINE_START": "latest", "STREAM_ENGINE_KAFKA__TOPIC_METADATA_REFRESH_INTERVAL_MS": "1000"}
    deploys.served.send({"name": "order/placed", "data": {"id": 1, "shop": 1}})
    deploys.deploy(**quick)
    page = Page(deploys, "More partitions")
    first = deploys.served.send({"name": "order/placed", "data": {"id": 2, "shop": 1}}, partition=0)
    deploys.served.started(first, "pick")
    page.do(page.lines[0])
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


def test_an_app_that_begins_anew_with_more_internal_partitions(deploys: Deploys) -> None:
    deploys.deploy()
    before = deploys.served.send({"name": "order/placed", "data": {"id": 1, "shop": 1}})
    deploys.served.result(deploys.served.started(before, "pick"))
    page = Page(deploys, "More partitions")
    del page.lines[:2]
    assert page.do("stream-engine runs list --waiting --since 366d --app APP") == ""
    deploys.stop()
    page.do(page.lines[0])
    assert page.lines.pop(0) == "export STREAM_ENGINE_PARTITIONS=32"
    page.env["STREAM_ENGINE_PARTITIONS"] = "32"
    admin = clients.admin(deploys.settings)
    until(lambda: f"{deploys.name}.journal" not in partition_counts(admin), "the topics are gone")
    later = deploys.served.send({"name": "order/placed", "data": {"id": 2, "shop": 1}})
    page.do("stream-engine topics apply shop:engine")
    assert partition_counts(admin)[f"{deploys.name}.commands"] == 32
    deploys.served.__exit__()
    deploys.served = _served_anew(deploys)
    deploys.deploy(STREAM_ENGINE_PARTITIONS="32")
    run = deploys.served.started(later, "pick")
    assert deploys.served.result(run) == 2
    deploys.served.listen()
    started: list[dict[str, Any]] = deploys.served.told("RunStarted", function="pick")
    assert [(one["partition"], one["offset"]) for one in started] == [later]


def _served_anew(deploys: Deploys) -> Any:
    return type(deploys.served)(deploys.settings, deploys.name, deploys.folder).__enter__()
