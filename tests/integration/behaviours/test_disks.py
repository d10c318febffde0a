"""What a worker on a real broker does when its disk fails it: it rebuilds what is damaged, and stops where that would not help."""

import base64
import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.workers import WorkerProcess, until

_BULK = 200_000
_OPEN = "import sys, rocksdict; db = rocksdict.Rdict(sys.argv[1]); print(); sys.stdin.read()"


def _garble(path: Path, at: float = 0.5) -> None:
    """Damage a file, in its middle or elsewhere."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        file.write(b"\xa5" * 48)


def test_stores_that_are_damaged_are_rebuilt_loudly(deploys: Deploys) -> None:
    deploys.deploy()
    runs = {gate: deploys.begin("wait", gate) for gate in (f"damaged-{number}" for number in range(8))}
    deploys.stop()
    stores = deploys.stores
    assert len(stores) == PARTITIONS
    next(stores[0].glob("MANIFEST-*")).unlink()
    (stores[1] / "CURRENT").write_bytes(b"")
    for store in stores[2:]:
        for table in store.glob("*.sst"):
            _garble(table)
    worker = deploys.deploy()
    for store in stores:
        worker.said(f"the store {store} is damaged: ")
    for gate, run in runs.items():
        deploys.served.open(gate)
        assert deploys.served.result(run) == gate
        assert len(deploys.served.told("RunStarted", 0, run_id=run)) == 1


def test_a_store_that_goes_wrong_while_it_is_in_use_is_rebuilt(deploys: Deploys) -> None:
    """The damage is in what is read only when a sleeping run goes on."""
    deploys.deploy()
    run, store = _sleep_damaged(deploys, "3s")
    worker = deploys.deploy()
    _is_rebuilt_in_use(worker, store)
    assert deploys.served.result(run) == 3 * _BULK
    assert [step[0] for step in deploys.served.steps(run)] == ["a", "b", "c", "nap", "nap"]


def test_a_store_that_only_a_snapshot_finds_damaged_is_rebuilt(deploys: Deploys) -> None:
    """The damage is in what no decision reads for an hour."""
    deploys.deploy()
    _, store = _sleep_damaged(deploys, "1h")
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="1000")

    def is_found() -> bool:
        deploys.greet()
        return "is damaged" in worker.talk

    until(is_found, "a snapshot is begun")
    _is_rebuilt_in_use(worker, store)
    deploys.greet()


def _sleep_damaged(deploys: Deploys, time: str) -> tuple[str, Path]:
    """Have a run sleep, stop the worker, and damage what the run needs to go on; return the run, and the folder of its store."""
    bulk = base64.b64encode(os.urandom(_BULK)).decode()[:_BULK]
    run = deploys.served.started(deploys.served.send({"name": "nap", "data": {"bulk": bulk, "for": time}}))
    deploys.served.told("StepRecorded", run_id=run, step_id="nap", status="sleeping")
    deploys.stop()
    tables = [table for store in deploys.stores for table in store.glob("*.sst")]
    [table] = [table for table in tables if table.stat().st_size > _BULK]
    # Of four large entries, each of which ends a block, the second: nothing that is read at once is in its block, or next to it.
    _garble(table, 0.37)
    return run, table.parent


def _is_rebuilt_in_use(worker: WorkerProcess, store: Path) -> None:
    """Wait until a store that was good enough to lead by has been found damaged, and its partition is led again."""
    worker.said(f"the store is emptied and rebuilt: the store {store} is damaged: Corruption: block checksum mismatch")
    led = f"partition {store.name}: leading in epoch"
    worker.said(led, times=2)
    damaged = next(number for number, line in enumerate(worker.lines) if "is damaged" in line)
    assert [led in line for line in worker.lines[:damaged]].count(True) == 1


def test_a_store_that_a_tool_has_open_stops_the_worker(deploys: Deploys) -> None:
    deploys.deploy()
    deploys.greet()
    deploys.stop()
    store = deploys.stores[0]
    tool = subprocess.Popen([sys.executable, "-c", _OPEN, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert tool.stdout is not None
    assert tool.stdout.readline()
    worker = deploys.workers.start()
    assert worker.ended() == 1
    _said_last(worker, f"Error: the worker cannot go on: the store {store} is open in another process, perhaps a tool")
    tool.communicate()
    deploys.deploy()
    deploys.greet()


def test_a_full_disk_stops_the_worker_and_nothing_is_lost(deploys: Deploys) -> None:
    """No file of the worker may grow beyond what a store begins with, as if the disk were full."""
    worker = deploys.deploy(STREAM_ENGINE_CHECKPOINT_BYTES="3000")
    waiting = deploys.begin("wait", "full")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (1_000, 1_000))
    places = [deploys.served.send({"name": "greet", "data": {"n": number}}) for number in range(100)]
    assert worker.ended() == 1
    _said_last(
        worker, f"Error: the worker cannot go on: the store {deploys.settings.state_dir}/{deploys.name}/worker-0/"
    )
    assert "cannot be written: IO error: " in worker.lines[-1]
    assert "File too large; nothing is lost" in worker.lines[-1]
    deploys.worker = None
    deploys.deploy()
    deploys.served.open("full")
    assert deploys.served.result(waiting) == "full"
    for place in places:
        deploys.served.result(deploys.served.started(place))


def _said_last(worker: WorkerProcess, begin: str) -> None:
    assert worker.lines[-1].startswith(begin), worker.talk
    assert "Traceback" not in worker.talk
