"""Rewinding the router's group with Kafka's own tool on a real broker: a full replay under one id, whatever happens meanwhile."""

from datetime import UTC, datetime

import msgspec

from stream_engine.core.routing.rewind import Progress
from stream_engine.sdk.errors import epoch_ms
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control, write
from tests.integration.behaviours.commands import command, completed, said
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


def _progress(deploys: Deploys) -> dict[str, bytes | None]:
    """Return what the control topic has of how far events are routed."""
    control = Control(clients.reader(deploys.settings), f"{deploys.name}.control")
    control.read_to_end()
    return {f"progress/{key}": value for key, value in control.values("progress/").items()}


def test_what_was_routed_by_a_worker_that_was_killed_before_it_wrote_so_down_is_rewound_too(deploys: Deploys) -> None:
    deploys.deploy()
    places = _greet(deploys, 4)

    def is_written_down() -> bool:
        noted = [msgspec.json.decode(value, type=Progress) for value in _progress(deploys).values() if value]
        return sum(one.live for one in noted) == len(places)

    until(is_written_down, "how far events are routed is written down")
    known = _progress(deploys)
    places += _greet(deploys, 12)
    _started(deploys, 16, "greet", live=True)
    assert deploys.worker is not None
    deploys.worker.kill()
    deploys.worker = None
    # It may have written in time; as if it had not.
    later = _progress(deploys)
    write(clients.producer(deploys.settings), f"{deploys.name}.control", {**dict.fromkeys(later, None), **known})
    # What comes while nobody is there is live, also what lies between what is rewound.
    new = _greet(deploys, 4)
    _reset(deploys, "--to-earliest")
    worker = deploys.deploy()
    worker.said("and 12 behind these, which a worker had routed that was killed before it wrote so down")
    replayed = _started(deploys, 16, "greet", live=False)
    live = _started(deploys, 20, "greet", live=True)
    [replay] = {one["replay_id"] for one in replayed}
    assert completed(deploys, replay)["runs"] == 16
    deploys.served.listen()
    assert _places(_started(deploys, 16, "greet", live=False)) == sorted(places)
    assert _places(live) == _places(_started(deploys, 20, "greet", live=True)) == sorted(places + new)


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
    assert sum(f"run again as replay {replay_id}" in line for line in worker.lines) == 1
    live = _places(_started(deploys, 25, "greet", live=True))
    assert len(live) == len(set(live)) == 25
    assert set(before + again + new) <= set(live)
    # It is told of as replays are.
    done = completed(deploys, replay_id)
    assert [done[name] for name in ("function", "runs", "ended", "failed", "waiting_on")] == [None, 14, 14, 0, None]
    assert done["routed"] == done["events"] == sum(one["to"] - one["from"] for one in done["partitions"]) >= 14
    assert [one["routed"] for one in done["partitions"]] == [one["to"] for one in done["partitions"]]
    assert epoch_ms(datetime.fromisoformat(done["from"])) >= at
    assert [one["id"] for one in said(deploys, "replay", "list")] == [replay_id]
    assert sum(f"replay {replay_id} is routed" in line for line in worker.lines) == len(done["partitions"])
    refused = command(deploys, "replay", "pause", replay_id)
    assert (refused.exit_code, refused.stdout) == (1, ""), refused.output
    assert "is a rewind" in refused.stderr


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
