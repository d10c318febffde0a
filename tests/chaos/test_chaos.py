"""Workers are killed, paused, joined and stopped under load on a real broker; an independent checker judges each time."""

import re
from typing import Any

import pytest

from tests.chaos.campaign import PARTITIONS, Campaign, Outcome, rounds_of_chaos
from tests.chaos.observed import Observer, read_notes
from tests.raw import produce
from tests.workers import WorkerProcess, until

pytestmark = pytest.mark.broker

_LEADS = re.compile(r"partition (\d+): (leading in epoch|stepping down)")
_TAKEOVER_SECONDS = 60.0


def _led(worker: WorkerProcess) -> set[str]:
    """The partitions that a worker says it leads."""
    led: set[str] = set()
    for partition, what in _LEADS.findall(worker.talk):
        (led.discard if what == "stepping down" else led.add)(partition)
    return led


def _until_leads(worker: WorkerProcess, partitions: int = 1) -> None:
    try:
        until(lambda: len(_led(worker)) >= partitions, f"{partitions} partitions are led", _TAKEOVER_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error} by worker {worker.pid}:\n{worker.talk}") from error


def _leading(campaign: Campaign, workers: int) -> list[WorkerProcess]:
    """Begin with workers that share the partitions: one may be there before the other, and give some away."""
    started = campaign.begin(workers)
    for worker in started:
        _until_leads(worker)
    return started


def _fine(outcome: Outcome, campaign: Campaign) -> None:
    assert not outcome.problems, "\n".join([*outcome.problems[:20], campaign.talk()])
    assert outcome.figures["runs"] > 0


def test_killed_workers_lose_and_double_nothing(campaign: Campaign) -> None:
    """A short version of ``python -m tests.chaos``."""
    outcome = rounds_of_chaos(campaign, rounds=4, workers=1)
    _fine(outcome, campaign)
    assert outcome.figures["bodies executed again"] > 0, "no kill hit a step in flight"


def test_nothing_takes_effect_that_a_paused_worker_decides(campaign: Campaign) -> None:
    """SIGSTOP past the session's end, and SIGCONT: it notices that it was replaced, comes back, and leads again."""
    paused, other = _leading(campaign, 2)
    campaign.worked(20)
    campaign.zombies.add(paused.pid)
    paused.pause()
    _until_leads(other, PARTITIONS)
    campaign.worked(20)
    paused.resume()
    paused.said("stepping down")
    _until_leads(paused)
    campaign.worked(20)
    outcome = campaign.finish()
    assert paused.alive
    assert other.alive
    _fine(outcome, campaign)


def test_a_worker_joins_and_leaves_under_load(campaign: Campaign) -> None:
    """Partitions move between workers that live; nothing is lost or doubled, and who leaves does so in good order."""
    first, second = _leading(campaign, 2)
    campaign.worked(20)
    third = campaign.workers.start()
    _until_leads(third)
    campaign.worked(40)
    assert third.stop() == 0, third.talk
    campaign.worked(40)
    _fine(campaign.finish(), campaign)
    assert first.stop() == 0
    assert second.stop() == 0


def test_a_stopped_worker_lets_its_steps_end(campaign: Campaign) -> None:
    """SIGTERM: its partitions move at once, what runs goes on, and its result is recorded by whoever leads then."""
    worker = campaign.workers.start()
    worker.ready()
    produce(campaign.servers, f"{campaign.name}.events", b'{"name": "load/slow", "data": {"n": 1}}')
    until(lambda: read_notes(campaign.notes), "the step begins")
    worker.terminate()
    other = campaign.workers.start()
    other.ready()
    with Observer(campaign.servers, campaign.name, campaign.notes) as observer:
        until(lambda: _told(observer, "RunEnded"), "the run ends")
        recorded = {record["step_id"]: record for record in _told(observer, "StepRecorded")}
    assert worker.ended() == 0, worker.talk
    assert {step: (record["status"], record["attempt"]) for step, record in recorded.items()} == {
        "long": ("completed", 0),
        "after": ("completed", 0),
    }
    assert [(note.step, note.pid) for note in read_notes(campaign.notes)] == [
        ("long", worker.pid),
        ("after", other.pid),
    ]


def test_what_does_not_end_in_time_is_begun_again_elsewhere(campaign: Campaign) -> None:
    """``--drain-timeout`` bounds what a stopped worker goes on with; the next leader need not wait any longer."""
    worker = campaign.workers.start("--drain-timeout", "100ms")
    worker.ready()
    produce(campaign.servers, f"{campaign.name}.events", b'{"name": "load/slow", "data": {"n": 1}}')
    until(lambda: read_notes(campaign.notes), "the step begins")
    worker.stop()
    other = campaign.workers.start()
    other.ready()
    with Observer(campaign.servers, campaign.name, campaign.notes) as observer:
        until(lambda: _told(observer, "RunEnded"), "the run ends")
    notes = [(note.step, note.pid) for note in read_notes(campaign.notes)]
    assert notes == [("long", worker.pid), ("long", other.pid), ("after", other.pid)]


def _told(observer: Observer, schema: str) -> list[dict[str, Any]]:
    return [record for record in observer.look([]).history if record["schema"] == schema]
