"""Replays are paused, resumed and cancelled on a real broker while their runs wait at gates."""

from typing import Any

import pytest

from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import begun, command, completed, said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys

_EVENTS = 12


def _come(deploys: Deploys, number: int) -> None:
    """Have a live event come, and see its run end."""
    place = deploys.served.send({"name": "come", "data": {"n": number}}, partition=number % PARTITIONS)
    assert deploys.served.result(deploys.served.started(place)) == number


def _replayed(deploys: Deploys) -> str:
    """Have a replay stand with its first run in the middle of a step, and all others at the gate; return its id."""
    deploys.deploy()
    since = now_ms()
    for number in range(_EVENTS):
        _come(deploys, number)
    (deploys.folder / "closed").touch()
    made: str = said(deploys, "replay", "start", "--function", "one-by-one", "--from", str(since))["id"]
    deploys.served.started_again(1, "one-by-one")
    _disposed(deploys, made, _EVENTS - 1, disposition="queued", gate="concurrency")
    return made


def _disposed(deploys: Deploys, replay: str, count: int, **fields: Any) -> list[Any]:
    return deploys.served.told("EventDisposed", count, replay_id=replay, **fields)


def _starts(deploys: Deploys) -> int:
    deploys.served.listen()
    return len(deploys.served.started_again(0, "one-by-one"))


@pytest.mark.parametrize("deploys", ["one_by_one.py"], indirect=True)
def test_what_waits_at_a_gate_is_held_while_its_replay_is_paused_and_in_nobodys_way(deploys: Deploys) -> None:
    replay = _replayed(deploys)
    assert said(deploys, "replay", "pause", replay)["status"] == "paused"
    _disposed(deploys, replay, _EVENTS - 1, detail=f"replay {replay} is paused")
    (deploys.folder / "closed").unlink()
    _come(deploys, 100)
    [waiting, *_] = said(deploys, "runs", "list", "--status", "queued")
    assert f"replay {replay} is paused" in waiting["waiting_on"]
    assert deploys.worker is not None
    deploys.worker.kill()
    deploys.worker = None
    deploys.deploy()
    _come(deploys, 101)
    assert _starts(deploys) == 1
    with begun(deploys, "functions", "drain", "one-by-one") as drain:
        assert drain.stderr is not None
        assert any(f"those of the paused replays {replay} wait until" in line for line in drain.stderr)
        said(deploys, "replay", "resume", replay)
        done = completed(deploys, replay)
        assert drain.wait() == 0
    assert (done["runs"], done["ended"], done["failed"]) == (_EVENTS, _EVENTS, 0)


@pytest.mark.parametrize("deploys", ["one_by_one.py"], indirect=True)
def test_what_waits_at_a_gate_is_cancelled_with_its_replay(deploys: Deploys) -> None:
    replay = _replayed(deploys)
    assert said(deploys, "replay", "cancel", replay)["status"] == "cancelled"
    # It need not have begun that nothing begins: what is told comes after.
    told = _disposed(deploys, replay, _EVENTS - 1, disposition="cancelled")
    assert {one["detail"] for one in told} == {f"replay {replay} was cancelled"}
    (deploys.folder / "closed").unlink()
    _come(deploys, 100)
    assert _starts(deploys) == 1
    found = said(deploys, "replay", "status", replay)
    assert [found[name] for name in ("status", "events", "routed", "runs", "ended", "failed")] == [
        *("cancelled", _EVENTS, _EVENTS, 1, 1, 0)
    ]


@pytest.mark.parametrize("deploys", ["one_by_one.py"], indirect=True)
def test_runs_are_cancelled_and_listed_by_their_replay(deploys: Deploys) -> None:
    replay = _replayed(deploys)
    assert len(said(deploys, "runs", "list", "--replay", replay)) == _EVENTS
    unknown = command(deploys, "runs", "list", "--replay", "another")
    assert (unknown.exit_code, unknown.stdout) == (1, ""), unknown.output
    done = command(deploys, "runs", "cancel", "--replay", replay, "--status", "queued", "--yes")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == _EVENTS - 1
    done = command(deploys, "runs", "cancel", "--replay", replay, "--yes")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1), done.output
    _come(deploys, 100)
    assert _starts(deploys) == 1
