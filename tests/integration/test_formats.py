"""Releases beside each other: the next one that knows a new format of records, the one after that makes use of it, and each can be taken back.

A release is today's engine with other numbers: which formats it reads, and which one it writes (`stream_engine.core.records.journal`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_engine.core.records.journal import READS, WRITES
from stream_engine.shell.settings import Settings
from tests.integration.behaviours.deploys import Deploys
from tests.workers import ROOT, WorkerProcess

pytestmark = pytest.mark.broker

TODAY = (READS, WRITES)
NEXT = (READS + 1, WRITES)
AFTER = (READS + 1, READS + 1)


@pytest.fixture
def deploys(broker: Settings, tmp_path: Path) -> Iterator[Deploys]:
    """An app whose workers the test starts."""
    with Deploys(broker, tmp_path, "app.py") as deploys:
        yield deploys


def _worker(deploys: Deploys, release: tuple[int, int]) -> WorkerProcess:
    """Start a worker of a release."""
    folder = deploys.folder / f"release-{release[0]}-{release[1]}"
    folder.mkdir(exist_ok=True)
    # Python imports this before anything else, so that every module has these numbers.
    lines = ["from stream_engine.core.records import journal", f"journal.READS, journal.WRITES = {release}"]
    (folder / "sitecustomize.py").write_text("\n".join(lines), "utf-8")
    return deploys.workers.start("--drain-timeout", "100ms", PYTHONPATH=f"{folder}:{ROOT}")


def _roll(deploys: Deploys, old: WorkerProcess, release: tuple[int, int]) -> WorkerProcess:
    """Start a worker of a release beside another one, and stop that; runs begin and end meanwhile."""
    new = _worker(deploys, release)
    new.ready()
    deploys.greet()
    assert old.stop() == 0, old.talk
    deploys.greet()
    return new


def test_a_rolling_upgrade_and_its_rollback_a_release_at_a_time(deploys: Deploys) -> None:
    today = _worker(deploys, TODAY)
    today.ready()
    waiting = {gate: deploys.begin("wait", gate) for gate in ("upgrade", "rollback", "again", "new")}
    worker = _roll(deploys, today, NEXT)
    _end(deploys, waiting, "upgrade")
    worker = _roll(deploys, worker, TODAY)
    _end(deploys, waiting, "rollback")
    worker = _roll(deploys, worker, NEXT)
    worker = _roll(deploys, worker, AFTER)
    _end(deploys, waiting, "again")
    worker = _roll(deploys, worker, NEXT)
    _end(deploys, waiting, "new")
    assert worker.stop() == 0, worker.talk


def test_who_skips_a_release_stops_with_a_sentence_and_harms_nobody(deploys: Deploys) -> None:
    after = _worker(deploys, AFTER)
    after.ready()
    waiting = {"kept": deploys.begin("wait", "kept")}
    today = _worker(deploys, TODAY)
    assert today.ended() == 1
    assert f"format {READS + 1}" in today.lines[-1]
    assert "Traceback" not in today.talk
    _end(deploys, waiting, "kept")


def _end(deploys: Deploys, waiting: dict[str, str], gate: str) -> None:
    deploys.served.open(gate)
    assert deploys.served.result(waiting[gate]) == gate
