"""The worker as a process: how it says that it lives and is ready, several side by side, and every way in which it can end."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from stream_engine.shell.settings import Settings
from tests.integration.behaviours.deploys import Deploys
from tests.workers import WorkerProcess, until

pytestmark = pytest.mark.broker

_URL = re.compile(r"(http://\S+)/live and")


@pytest.fixture
def deploys(broker: Settings, tmp_path: Path) -> Iterator[Deploys]:
    """An app whose worker the test starts."""
    with Deploys(broker, tmp_path, "app.py") as deploys:
        yield deploys


def _ask(worker: WorkerProcess, path: str, timeout: float = 10) -> tuple[int, dict[str, Any]]:
    worker.said(" tell how it is")
    found = _URL.search(worker.talk)
    assert found is not None
    try:
        with urlopen(found[1] + path, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def _children(worker: WorkerProcess) -> list[int]:
    """Return the process ids of the workers that a worker has started."""
    tasks = Path(f"/proc/{worker.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_worker_is_ready_only_once_it_leads_everything(deploys: Deploys) -> None:
    """While another worker, which is paused, still holds the group, it lives and is not ready."""
    first = deploys.workers.start(STREAM_ENGINE_KAFKA__SESSION_TIMEOUT_MS="6000")
    first.ready()
    first.pause()
    second = deploys.workers.start("--http", "0")
    second.said(" tell how it is")
    assert _ask(second, "/live")[0] == 200
    status, told = _ask(second, "/ready")
    assert (status, told["ready"], bool(told["why"])) == (503, False, True)
    assert "ready\n" not in second.lines
    first.kill()
    second.ready()
    assert _ask(second, "/ready") == (200, {"live": True, "ready": True, "why": ""})
    second.pause()
    with pytest.raises((URLError, TimeoutError)):
        _ask(second, "/live", timeout=1)
    second.resume()
    second.terminate()
    assert second.ended() == 0


def test_a_worker_that_drains_lives_and_is_not_ready(deploys: Deploys) -> None:
    worker = deploys.deploy("--http", "127.0.0.1:0", "--drain-timeout", "60s")
    deploys.begin("wait", "gate")
    worker.terminate()
    until(lambda: _ask(worker, "/ready")[0] == 503, "it says that it is not ready")
    assert _ask(worker, "/ready")[1]["why"] == "it is being stopped"
    assert _ask(worker, "/live")[0] == 200
    deploys.served.open("gate")
    assert worker.ended() == 0


def test_several_processes_share_the_partitions_and_are_one_worker(deploys: Deploys) -> None:
    worker = deploys.deploy("--processes", "2", "--http", "0", "--max-steps", "7")
    assert worker.lines.count("ready\n") == 1
    children = _children(worker)
    assert len(children) == 2
    assert _ask(worker, "/ready") == (200, {"live": True, "ready": True, "why": ""})
    runs = [deploys.begin("wait", f"gate-{number}") for number in range(8)]
    for number, run in enumerate(runs):
        deploys.served.open(f"gate-{number}")
        assert deploys.served.result(run) == f"gate-{number}"
    assert worker.stop() == 0, worker.talk
    assert all(_gone(pid) for pid in children)


def test_a_process_that_is_killed_is_replaced(deploys: Deploys) -> None:
    worker = deploys.deploy("--processes", "2", "--http", "0", STREAM_ENGINE_KAFKA__SESSION_TIMEOUT_MS="6000")
    killed, other = _children(worker)
    os.kill(killed, signal.SIGKILL)
    worker.said("has ended (SIGKILL); another is started")
    until(lambda: len(_children(worker)) == 2 and killed not in _children(worker), "there are two again")
    until(lambda: _ask(worker, "/ready")[0] == 200, "they are ready again")
    deploys.greet()
    assert other in _children(worker)
    assert worker.stop() == 0, worker.talk


def test_processes_stop_when_the_one_that_started_them_is_gone(deploys: Deploys) -> None:
    """So nobody is left behind who would keep partitions, and whom no operator knows."""
    worker = deploys.deploy("--processes", "2")
    children = _children(worker)
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: all(_gone(pid) for pid in children), "they have ended")


def test_asked_to_stop_it_ends_with_0_even_where_the_drain_time_is_up(deploys: Deploys) -> None:
    for option in (["--drain-timeout", "100ms"], ["--drain-timeout", "100ms", "--processes", "2"]):
        worker = deploys.workers.start(*option)
        worker.ready()
        deploys.begin("wait", f"gate-{len(option)}")
        assert worker.stop() == 0, worker.talk


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_asked_twice_to_stop_it_does_not_wait_and_gives_back_what_has_not_ended(
    deploys: Deploys, number: signal.Signals, processes: str
) -> None:
    """Otherwise whoever leads then would wait for it until the drain time is up."""
    worker = deploys.workers.start("--drain-timeout", "10m", "--processes", processes)
    worker.ready()
    run = deploys.begin("wait", "gate")
    os.kill(worker.pid, number)
    worker.said("stepping down from epoch", times=4)
    assert worker.alive
    os.kill(worker.pid, number)
    assert worker.ended() == 0, worker.talk
    deploys.deploy()
    deploys.served.open("gate")
    assert deploys.served.result(run) == "gate"


def test_killed_it_ends_by_the_signal(deploys: Deploys) -> None:
    worker = deploys.deploy()
    worker.kill()
    assert worker.ended() == -signal.SIGKILL


def test_what_cannot_be_served_ends_it_with_1_and_says_why(deploys: Deploys) -> None:
    cases = {
        "does not answer": deploys.workers.start(STREAM_ENGINE_BOOTSTRAP_SERVERS="127.0.0.1:1"),
        "nothing.py": WorkerProcess("nothing.py:engine", deploys.settings),
        "nobody.py": WorkerProcess("nobody.py:engine", deploys.settings, None, "--processes", "3"),
    }
    for why, worker in cases.items():
        assert worker.ended() == 1, worker.talk
        assert worker.talk.count(why) == 1, worker.talk
        assert "Traceback" not in worker.talk


def test_what_cannot_go_on_ends_it_with_1(deploys: Deploys) -> None:
    """Here the app's topics are deleted under it; with several processes, the first that gives up ends all."""
    for processes in ("1", "2"):
        worker = deploys.workers.start("--processes", processes)
        worker.ready()
        deploys.create_again("events")
        assert worker.ended() == 1, worker.talk
        assert "the worker cannot go on" in worker.talk


@pytest.mark.parametrize("option", [["--nonsense"], ["--processes", "0"], ["--http", "x:y"], ["--http", "65536"]])
def test_a_mistake_in_the_command_ends_it_with_2(option: list[str]) -> None:
    entry = "from stream_engine.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", entry, "worker", "app:engine", *option], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stuck", ["function", "lifespan"])
def test_code_that_never_lets_go_keeps_no_worker_that_is_asked_twice(
    stuck: str, broker: Settings, tmp_path: Path
) -> None:
    with Deploys(broker, tmp_path, "stuck.py") as deploys:
        worker = deploys.workers.start("--http", "0", "--drain-timeout", "100ms", STUCK=stuck)
        worker.ready()
        if stuck == "function":
            deploys.served.send({"name": "block", "data": {}})
            until((tmp_path / "blocked").exists, "the event loop is blocked")
        worker.terminate()
        if stuck == "function":
            until(lambda: _ask(worker, "/ready")[1]["why"] == "it is being stopped", "it says that it stops")
        worker.terminate()
        assert worker.ended() == 0, worker.talk
        assert "code of the app blocks the event loop or its lifespan does not end" in worker.lines[-1]


def test_a_member_that_its_group_has_put_out_for_good_ends(broker: Settings, tmp_path: Path) -> None:
    with Deploys(broker, tmp_path, "app.py") as deploys:
        name = {"STREAM_ENGINE_KAFKA__GROUP_INSTANCE_ID": "one"}
        first = deploys.workers.start(**name)
        first.ready()
        second = deploys.workers.start(**name)
        assert first.ended() == 1
        assert "has put this worker out for good" in first.lines[-1]
        second.ready()
