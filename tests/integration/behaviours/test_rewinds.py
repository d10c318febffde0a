"""Rewinding the router's group with Kafka's own tool on a real broker: a full replay under one id, whatever happens meanwhile."""

from datetime import UTC, datetime

from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.kafka_tools import reset_offsets
from tests.raw import Told
from tests.workers import until

Place = tuple[int, int]


def _greet(deploys: Deploys, count: int) -> list[Place]:
    return [
        deploys.served.send({"name": "greet", "data": {"n": number}}, partition=number % PARTITIONS)
        for number in range(count)
    ]


def _started(deploys: Deploys, count: int, function: str, *, live: bool) -> list[Told]:
    """Wait until so many runs of a function have started, live or replayed."""

    if live:
        return deploys.served.told("RunStarted", count, function=function, replay_id=None)
    return deploys.served.started_again(count, function)


def _places(started: list[Told]) -> list[Place]:
    return sorted((record["partition"], record["offset"]) for record in started)


def _reset(deploys: Deploys, *to: str, partitions: str = "") -> None:
    reset_offsets(deploys.settings, f"{deploys.name}.router", f"{deploys.name}.events{partitions}", *to)


def _datetime(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "")


def test_a_rewind_is_a_full_replay_under_one_id_and_live_goes_on(deploys: Deploys) -> None:
    deploys.deploy()
    before = _greet(deploys, 8)
    _started(deploys, 8, "greet", live=True)
    at = now_ms() + 1
    until(lambda: now_ms() > at, "the clock goes on")
    again = _greet(deploys, 12)
    sender = deploys.served.send({"name": "engine/start/send", "data": {}}, partition=1)
    _started(deploys, 20, "greet", live=True)
    _started(deploys, 1, "receive", live=True)
    deploys.stop()
    _reset(deploys, "--to-datetime", _datetime(at))
    worker = deploys.deploy()
    new = _greet(deploys, 4)
    replayed = _started(deploys, 12, "greet", live=False)
    _started(deploys, 24, "greet", live=True)
    [received] = _started(deploys, 1, "receive", live=False)
    deploys.greet()
    deploys.served.listen()
    assert _places(_started(deploys, 12, "greet", live=False)) == sorted(again)
    assert len(_started(deploys, 1, "receive", live=False)) == 1
    [sent] = _started(deploys, 1, "send", live=False)
    assert (sent["partition"], sent["offset"]) == sender
    [replay_id] = {record["replay_id"] for record in [*replayed, received, sent]}
    assert sum(replay_id in line for line in worker.lines) == 1
    live = _places(_started(deploys, 25, "greet", live=True))
    assert len(live) == len(set(live)) == 25
    assert set(before + again + new) <= set(live)


def test_resets_of_some_partitions_forward_and_again(deploys: Deploys) -> None:
    deploys.deploy()
    places = _greet(deploys, 12)
    _started(deploys, 12, "greet", live=True)
    deploys.stop()
    _reset(deploys, "--to-offset", "1", partitions=":0,2")
    deploys.deploy()
    _started(deploys, 4, "greet", live=False)
    deploys.stop()
    _reset(deploys, "--to-earliest", partitions=":0")
    skipped = _greet(deploys, 4)
    _reset(deploys, "--to-latest", partitions=":3")
    worker = deploys.deploy()
    worker.said("an operator passed over the events 3 to 4")
    replayed = _started(deploys, 7, "greet", live=False)
    _started(deploys, 15, "greet", live=True)
    deploys.greet()
    deploys.served.listen()
    replayed = _started(deploys, 7, "greet", live=False)
    ids = {record["replay_id"] for record in replayed}
    by_id = sorted((_places([one for one in replayed if one["replay_id"] == name]) for name in ids), key=len)
    # Partition 0 was reset twice; what came after it had been routed for the first time is live.
    assert by_id == [
        [place for place in sorted(places) if place[0] == 0],
        [place for place in sorted(places) if place[0] in {0, 2} and place[1] > 0],
    ]
    assert (3, skipped[3][1]) not in _places(_started(deploys, 15, "greet", live=True))


def test_a_crash_in_the_midst_of_a_rewind_repeats_nothing(deploys: Deploys) -> None:
    deploys.deploy()
    places = _greet(deploys, 400)
    _started(deploys, 400, "greet", live=True)
    deploys.stop()
    _reset(deploys, "--to-earliest")
    for count in (1, 100, 250):
        worker = deploys.deploy()
        _started(deploys, count, "greet", live=False)
        worker.kill()
        deploys.worker = None
    deploys.deploy()
    new = _greet(deploys, 4)
    _started(deploys, 400, "greet", live=False)
    _started(deploys, 404, "greet", live=True)
    deploys.greet()
    deploys.served.listen()
    replayed = _started(deploys, 400, "greet", live=False)
    assert _places(replayed) == sorted(places)
    assert len({record["replay_id"] for record in replayed}) == 1
    assert len(_started(deploys, 405, "greet", live=True)) == 405
    assert set(new) <= set(_places(_started(deploys, 405, "greet", live=True)))
