"""The runbook's pages about disks and brokers that are gone, with brokers that may be ended."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from stream_engine.shell import localbroker
from stream_engine.shell.settings import Settings
from tests.cluster import Cluster
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.integration.behaviours.page import Page, Tried, page_of, tries
from tests.workers import until

_DOCTOR = "stream-engine doctor --app APP"
_CONFIGS = "kafka-configs.sh --bootstrap-server kafka-1:9092 --alter --entity-type topics --entity-name"
_A_DAY = "--add-config retention.ms=86400000"


@pytest.mark.parametrize("deploys", ["mended.py"], indirect=True)
@tries("A full disk", 0)
def test_a_worker_whose_disk_is_full_is_given_another_folder(deploys: Deploys, tried: Tried) -> None:
    """No file of it may grow beyond what a store begins with, as if the disk were full."""
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="3000")
    run = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
    deploys.served.reached("on")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (1_000, 1_000))
    sent = [deploys.served.send({"name": "order/placed", "data": {"id": id, "shop": id}}) for id in range(100)]
    assert worker.ended() == 1
    assert f"the store {deploys.settings.state_dir}/{deploys.name}" in worker.lines[-1]
    deploys.worker = None
    room = deploys.folder / "more-room"
    with page_of(deploys, tried) as page:
        doctor = page.do(_DOCTOR)
        assert f"{deploys.settings.state_dir} can be written" in doctor
        assert "no worker serves it now" in doctor
        page.export("export STREAM_ENGINE_STATE_DIR=/var/lib/more-room", **{"/var/lib/more-room": str(room)})
        deploys.worker = page.start("stream-engine worker shop:engine")
    deploys.served.open("on")
    assert deploys.served.result(run) == "on"
    for place in sent:
        deploys.served.result(deploys.served.started(place, "pick"))
    assert list(room.iterdir())


@pytest.mark.broker
@tries("A full disk", 1)
def test_a_broker_whose_disk_is_full_goes_on_with_more_room(tmp_path: Path, tried: Tried) -> None:
    own = Settings(state_dir=tmp_path / "broker")
    with _broker(own) as there, Deploys(there, tmp_path, "mended.py") as deploys, page_of(deploys, tried) as page:
        worker = deploys.deploy()
        run = deploys.served.started(deploys.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
        deploys.served.reached("on")
        status = localbroker.status(own)
        assert status.pid is not None
        resource.prlimit(status.pid, resource.RLIMIT_FSIZE, (2_000, 2_000))
        deploys.served.open("on")
        until(lambda: not _lives(status.pid), "the broker stops")
        worker.said("the worker waits for it")
        localbroker.start(own, port=_port(there))
        assert deploys.served.result(run) == "on"
        page.tool(f"{_CONFIGS} APP.events {_A_DAY}")
        page.tool(f"{_CONFIGS} APP.history {_A_DAY}")
        listed = page.do("stream-engine topics list shop:engine").splitlines()
        for topic in ("events", "history"):
            [line] = [line for line in listed if f"{deploys.name}.{topic} " in line]
            assert line.endswith("kept 1 days")
        assert worker.alive, worker.talk


@contextmanager
def _broker(own: Settings) -> Iterator[Settings]:
    localbroker.start(own, port=0)
    try:
        yield localbroker.connected(own)
    finally:
        localbroker.stop(own)


def _port(settings: Settings) -> int:
    return int(str(settings.bootstrap_servers).rpartition(":")[2])


def _lives(pid: int | None) -> bool:
    return Path(f"/proc/{pid}/fd").exists() if pid else False


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers."""
    with Cluster(tmp_path_factory.mktemp("brokers")) as made:
        yield made


@pytest.fixture
def there(cluster: Cluster, tmp_path: Path) -> Iterator[Deploys]:
    """An app on three brokers."""
    with Deploys(cluster.settings(tmp_path), tmp_path, "mended.py") as deploys:
        yield deploys


@pytest.mark.broker
@tries("A lost broker", 0)
def test_one_and_two_of_three_brokers_are_lost(cluster: Cluster, there: Deploys, tried: Tried) -> None:
    worker = there.deploy()
    hold = there.served.started(there.served.send({"name": "hold", "data": {"shop": 7, "gate": "on"}}))
    there.served.reached("on")
    with page_of(there, tried) as page:
        assert _wrong(page.attempt(_DOCTOR)) == []
        cluster.kill(3)
        _pick(there, 1)
        until(lambda: "2 of 3 replicas in sync" in _said(page), "doctor says that replicas are missing")
        assert not [line for line in _wrong(page.again(_DOCTOR)) if line.startswith("error")]
        cluster.kill(2)
        there.served.open("on")
        worker.said("the worker waits for it")
        lost = page.again(_DOCTOR)
        assert lost.exit_code == 1, lost.output
        # What one of them had is gone, and comes from the others.
        cluster.start(3)
        assert there.served.result(hold) == "on"
        cluster.lose_disk(2)
        cluster.start(2)
        until(lambda: _wrong(page.again(_DOCTOR)) == [], "doctor finds nothing wrong")
        _pick(there, 2)
        assert page.do("stream-engine groups list --app APP").count(f"{there.name}.events/") == PARTITIONS
    assert worker.alive, worker.talk


@pytest.mark.broker
@tries("A rolling upgrade", 2)
def test_brokers_are_restarted_one_after_the_other(cluster: Cluster, there: Deploys, tried: Tried) -> None:
    worker = there.deploy()
    with page_of(there, tried) as page:
        assert _wrong(page.attempt(_DOCTOR)) == []
        for number in (1, 2, 3):
            cluster.stop(number)
            _pick(there, 10 * number)
            cluster.start(number)
            until(lambda: _wrong(page.again(_DOCTOR)) == [], "doctor warns of no missing replicas any more")
            _pick(there, 10 * number + 1)
    assert worker.alive, worker.talk


def _pick(deploys: Deploys, number: int) -> None:
    """Have an event take its way to the end of its run."""
    place = deploys.served.send({"name": "order/placed", "data": {"id": number, "shop": number}})
    try:
        assert deploys.served.result(deploys.served.started(place, "pick")) == number
    except AssertionError as error:
        assert deploys.worker is not None
        raise AssertionError(f"{number} is not picked; the worker says:\n{deploys.worker.talk}") from error


def _said(page: Page) -> str:
    return "\n".join(_wrong(page.again(_DOCTOR)))


def _wrong(doctor: Result) -> list[str]:
    """Return the lines of what doctor finds, but for what is all right."""
    lines = [line.strip() for line in doctor.stdout.splitlines()]
    return [line for line in lines if line.startswith(("error", "warning"))]
