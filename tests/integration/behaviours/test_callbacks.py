"""Runs are completed from outside on a real broker: from the command line, by HTTP and by events; whoever is killed meanwhile."""

import json
import re
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from stream_engine.shell import clients
from stream_engine.shell.control import Control
from stream_engine.shell.secret import secret_of
from stream_engine.shell.topics import Names
from tests.integration.behaviours.deploys import Deploys
from tests.workers import WorkerProcess, until

pytestmark = pytest.mark.parametrize("deploys", ["approvals.py"], indirect=True)
_URL = re.compile(r"(http://\S+)/live and")


def stream_engine(deploys: Deploys, *arguments: str) -> Result:
    """Run ``stream-engine`` about the app."""
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers, "STREAM_ENGINE_APP": deploys.name}
    return CliRunner().invoke(main, list(arguments), env=env)


def complete(deploys: Deploys, token: str, data: str, *options: str) -> Result:
    """Complete a callback from the command line."""
    return stream_engine(deploys, "callbacks", "complete", token, data, *options)


def tokens(deploys: Deploys, name: str) -> list[str]:
    """Wait until a token has been handed out; return the one of each execution that has done so."""
    file = deploys.folder / f"{name}.tokens"
    until(lambda: file.exists() and file.read_text().endswith("\n"), f"a token is handed out for {name}")
    return file.read_text().split()


def begin(deploys: Deploys, function: str, **data: Any) -> tuple[str, str]:
    """Start a run; return its id and its token."""
    deploys.served.open("open-to-all")
    name = uuid4().hex
    place = deploys.served.send({"name": function, "data": {"name": name, **data}})
    run_id = deploys.served.started(place)
    return run_id, tokens(deploys, name)[0] if function != "approve-thread" else name


def post(worker: WorkerProcess, token: str, body: bytes) -> tuple[int, Any]:
    """Complete a callback by HTTP; return the status and the document."""
    [url] = {found[1] for line in worker.lines if (found := _URL.search(line))}
    request = Request(f"{url}/callbacks/{token}", body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_command_line_completes_and_says_why_not(deploys: Deploys) -> None:
    deploys.deploy()
    run_id, token = begin(deploys, "approve", then=["after"])
    done = complete(deploys, token, '{"ok": [true, 7]}', "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "app": deploys.name,
        "run_id": run_id,
        "step_id": "approve",
        "disposition": "completed",
    }
    again = complete(deploys, token, "8")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "refused (already-completed)" in again.stderr
    deploys.served.open("after")
    assert deploys.served.result(run_id) == {"answer": {"ok": [True, 7]}}
    ended = complete(deploys, token, "8")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "refused (run-ended): the run that the callback belongs to has ended" in ended.stderr
    assert complete(deploys, token, "{not json").exit_code == 2
    head, payload, mac = token.split(".")
    for forged in (f"{head}.{payload}.{mac[::-1]}", token[:-3], "x", token.replace("cb1", "cb2")):
        refused = complete(deploys, forged, "8")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "refused (callback-forged)" in refused.stderr
    dispositions = [told["disposition"] for told in deploys.served.told("CompletionDisposed", 3, run_id=run_id)]
    assert dispositions == ["completed", "already-completed", "run-ended"]


def test_a_run_waits_unloaded_through_crashes_and_keeps_its_token(deploys: Deploys) -> None:
    worker = deploys.deploy()
    run_id, token = begin(deploys, "approve")
    threaded, name = begin(deploys, "approve-thread")
    for run, step in ((run_id, "approve"), (threaded, "approve:1")):
        deploys.served.told("StepRecorded", run_id=run, step_id=step, status="waiting")
    shown = json.loads(stream_engine(deploys, "runs", "show", run_id, "--json").stdout)
    assert (shown["status"], shown["waiting_on"]) == ("waiting", "callback approve")
    worker.kill()
    deploys.worker = None
    deploys.deploy()
    first, second = tokens(deploys, f"{name}-0")[0], tokens(deploys, f"{name}-1")[0]
    assert len({token, first, second}) == 3
    for one, data in ((token, "1"), (first, '"first"'), (second, "null")):
        assert complete(deploys, one, data).exit_code == 0
    assert deploys.served.result(run_id) == {"answer": 1}
    assert deploys.served.result(threaded) == [None, "first"]
    for number, one in enumerate((first, second)):
        handed_out = tokens(deploys, f"{name}-{number}")
        assert len(handed_out) > 1
        assert set(handed_out) == {one}


def test_a_completion_counts_before_it_is_awaited_and_whoever_leads(deploys: Deploys) -> None:
    deploys.deploy()
    gate = uuid4().hex
    run_id, token = begin(deploys, "approve-later", gate=gate)
    deploys.served.reached(gate)
    assert complete(deploys, token, '"early"').exit_code == 0
    assert deploys.worker is not None
    deploys.worker.kill()
    deploys.worker = None
    deploys.deploy()
    deploys.served.open(gate)
    assert deploys.served.result(run_id) == "early"


def test_nobody_leads_and_the_completion_waits(deploys: Deploys) -> None:
    deploys.deploy()
    run_id, token = begin(deploys, "approve")
    deploys.served.told("StepRecorded", run_id=run_id, step_id="approve", status="waiting")
    deploys.stop()
    unconfirmed = complete(deploys, token, '"patient"', "--timeout", "3s")
    assert (unconfirmed.exit_code, unconfirmed.stdout) == (1, "")
    assert "has said within 3 s what became of it" in unconfirmed.stderr
    deploys.deploy()
    assert deploys.served.result(run_id) == {"answer": "patient"}


def test_a_callback_times_out_and_a_run_ends_without_it(deploys: Deploys) -> None:
    deploys.deploy()
    run_id, token = begin(deploys, "approve", timeout="1s", then=["after"])
    deploys.served.reached("after")
    late = complete(deploys, token, "1")
    assert late.exit_code == 1
    assert "refused (timed-out)" in late.stderr
    [told] = deploys.served.told("StepRecorded", run_id=run_id, step_id="approve", status="completed")
    assert (told["result"], told["error"]["type"]) == ("null", "TimeoutError")
    deploys.served.open("after")
    assert deploys.served.result(run_id) == {"answer": None}
    cancelled, token = begin(deploys, "approve")
    assert stream_engine(deploys, "runs", "cancel", cancelled).exit_code == 0
    late = complete(deploys, token, "1")
    assert late.exit_code == 1
    assert "refused (run-ended)" in late.stderr


def test_http_completes_and_says_why_not(deploys: Deploys) -> None:
    worker = deploys.deploy("--http", "0", "--processes", "2")
    run_id, token = begin(deploys, "approve", then=["after"])
    assert post(worker, token, b"{")[0] == 400
    assert post(worker, token, b'"' + b"x" * 600_000 + b'"')[0] == 413
    assert post(worker, f"{token}A", b"1")[0] == 403
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: post(worker, token, b"%d" % number), range(20)))
    winners = [number for number, (status, _) in enumerate(answers) if status == 200]
    assert len(winners) == 1
    assert answers[winners[0]][1] == {"run_id": run_id, "step_id": "approve", "disposition": "completed"}
    assert {(status, told.get("reason")) for status, told in answers} == {(200, None), (409, "already-completed")}
    deploys.served.open("after")
    assert deploys.served.result(run_id) == {"answer": winners[0]}
    status, told = post(worker, token, b"")
    assert (status, told["reason"]) == (410, "run-ended")
    assert token not in worker.talk


def test_events_complete_and_are_dead_letters_if_not(deploys: Deploys) -> None:
    worker = deploys.deploy("--http", "0")
    run_id, token = begin(deploys, "approve", then=["after"])

    def send(**data: Any) -> tuple[int, int]:
        return deploys.served.send({"name": "engine/callback.completed", "data": data}, key=b"k")

    forged = send(token=token[:-5], data=1)
    send(token=token, data={"ok": True})
    deploys.served.told("CompletionDisposed", run_id=run_id, by="event", disposition="completed")
    second = send(token=token, data=2)
    buried = {second: "callback-already-completed", forged: "callback-forged", send(data=1): "callback-invalid"}
    deploys.served.buried(second)
    assert post(worker, token, b"3")[0] == 409
    assert post(worker, token.replace(token.split(".")[1], "c2hvcAB4LTAAeA"), b"3")[0] == 421
    deploys.served.open("after")
    assert deploys.served.result(run_id) == {"answer": {"ok": True}}
    buried[send(token=token)] = "callback-run-ended"
    for place, reason in buried.items():
        letter = deploys.served.buried(place)
        assert (letter.headers["reason"], letter.key) == (reason, b"k")
        assert json.loads(letter.value or b"")["name"] == "engine/callback.completed"
    listed = json.loads(stream_engine(deploys, "dead-letters", "list", "--json").stdout)
    assert {(one["partition"], one["offset"]): one["reason"] for one in listed} == buried


def test_workers_that_start_at_once_have_one_secret_and_keep_it(deploys: Deploys) -> None:
    """The first record wins, whoever wrote it; nothing that people look at shows it."""
    workers = [deploys.workers.start(), deploys.workers.start()]
    for worker in workers:
        worker.ready()
    begun = [begin(deploys, "approve") for _ in range(8)]
    for _, token in begun:
        assert complete(deploys, token, "true").exit_code == 0
    for run_id, _ in begun:
        assert deploys.served.result(run_id) == {"answer": True}
    control = Control(clients.reader(deploys.settings), Names.of(deploys.name).control)
    control.read_to_end()
    secret = secret_of(control.values)
    assert secret is not None
    assert len(secret) == 32
    said = "".join(worker.talk for worker in workers)
    for looked_at in ("doctor", "topics list"):
        said += stream_engine(deploys, *looked_at.split(), deploys.name).output
    for form in (secret.hex(), b64encode(secret).decode()):
        assert form not in said
    for worker in workers:
        assert worker.stop() == 0
    deploys.deploy()
    run_id, _ = begin(deploys, "approve")
    control.read_to_end()
    assert secret_of(control.values) == secret
