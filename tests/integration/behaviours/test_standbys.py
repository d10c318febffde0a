"""Two workers on a real broker, one of which is killed: the other has a warm copy, or it comes back to what it had."""

import re
from dataclasses import replace

import pytest

from tests.integration.behaviours.deploys import Deploys
from tests.workers import WorkerProcess

_LEADS = re.compile(r"partition (\d+): leading in epoch \d+, (\d+) records read")


@pytest.fixture
def two(deploys: Deploys) -> tuple[WorkerProcess, WorkerProcess]:
    """Two workers that lead half of the partitions each, and keep a copy of the other half."""
    first = _start(deploys, "first", "6000")
    first.ready()
    for _ in range(20):
        deploys.greet()
    second = _start(deploys, "second", "6000")
    second.said("leading in epoch", times=2)
    for worker in (first, second):
        worker.said("a copy is kept, and has caught up", times=2)
    return first, second


def test_a_standby_reads_only_the_tail_when_the_leader_is_killed(
    deploys: Deploys, two: tuple[WorkerProcess, WorkerProcess]
) -> None:
    first, second = two
    assert len(_led(first)) == 4
    before = _led(second)
    assert len(before) == 2
    waiting = [deploys.begin("wait", f"gate-{number}") for number in range(4)]
    first.kill()
    second.said("leading in epoch", times=4)
    taken = {partition: read for partition, read in _led(second).items() if partition not in before}
    # Nothing but its own claim, and not even that where the copy had read it by the time that Kafka's report of it came.
    assert set(taken.values()) <= {0, 1}, second.talk
    assert "rebuilt from" not in second.talk
    for number, run in enumerate(waiting):
        deploys.served.open(f"gate-{number}")
        assert deploys.served.result(run) == f"gate-{number}"


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_static_member_comes_back_to_its_partitions(end: str, deploys: Deploys) -> None:
    """At once: with a session of a minute, everybody else would still have to wait."""
    static = {"STREAM_ENGINE_KAFKA__GROUP_INSTANCE_ID": "one"}
    first = _start(deploys, "first", "60000", **static)
    first.ready()
    second = _start(deploys, "second", "60000", STREAM_ENGINE_KAFKA__GROUP_INSTANCE_ID="two")
    second.said("leading in epoch", times=2)
    first.said("a copy is kept, and has caught up", times=2)
    waiting = [deploys.begin("wait", f"gate-{number}") for number in range(4)]
    if end == "killed":
        first.kill()
    else:
        first.stop()
    again = _start(deploys, "first", "60000", **static)
    again.said("leading in epoch", times=2, timeout=30)
    assert len(_led(second)) == 2
    assert not _led(second).keys() & _led(again).keys()
    for number, run in enumerate(waiting):
        deploys.served.open(f"gate-{number}")
        assert deploys.served.result(run) == f"gate-{number}"


def _start(deploys: Deploys, state: str, session: str, **env: str) -> WorkerProcess:
    """Start a worker with a disk of its own, and a session of so many milliseconds."""
    settings = replace(deploys.settings, state_dir=deploys.folder / state)
    env |= {"STREAM_ENGINE_STATE_DIR": str(settings.state_dir), "STREAM_ENGINE_KAFKA__SESSION_TIMEOUT_MS": session}
    return deploys.workers.start("--drain-timeout", "100ms", **env)


def _led(worker: WorkerProcess) -> dict[str, int]:
    """Return how many records of its journal were read for each partition that a worker has begun to lead."""
    return {partition: int(records) for partition, records in _LEADS.findall(worker.talk)}
