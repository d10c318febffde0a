"""What the code of a run sends past `ctx.step` is not doubled by a replay or a rewind, on a real broker."""

from collections import Counter
from typing import Any

import pytest

from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import command, completed, said
from tests.integration.behaviours.deploys import Deploys
from tests.workers import until

_ONCE = Counter(tell=1, hear=3, work=1)


def _started(deploys: Deploys) -> dict[str | None, Counter[str]]:
    deploys.served.listen()
    found: dict[str | None, Counter[str]] = {}
    for one in deploys.served.told("RunStarted", 0):
        found.setdefault(one["replay_id"], Counter())[one["function"]] += 1
    return found


def _ended(deploys: Deploys, count: int) -> list[Any]:
    return deploys.served.told("RunEnded", count)


@pytest.mark.parametrize("deploys", ["telling.py"], indirect=True)
def test_what_a_step_sends_by_itself_is_sent_anew_under_the_replay_and_once(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    place = deploys.served.send({"name": "tell", "data": {}}, partition=0)
    assert deploys.served.result(deploys.served.started(place)) == [3, None]
    _ended(deploys, 5)
    assert _started(deploys) == {None: _ONCE}
    replay = said(deploys, "replay", "start", "--function", "tell", "--from", str(since))["id"]
    completed(deploys, replay)
    assert _started(deploys) == {None: _ONCE, replay: _ONCE}
    [told] = [one for one in _ended(deploys, 10) if one["function"] == "tell" and one["replay_id"] == replay]
    assert told["result"] == f'[3,"{replay}"]'
    # All that is on the log by now runs again, but for what the run sends anew, whichever replay has sent it.
    deploys.stop()
    reset = ("groups", "reset", f"{deploys.name}.router", "--to-datetime", str(since))
    until(lambda: command(deploys, *reset, "--dry-run").exit_code == 0, "Kafka has let the member go")
    assert command(deploys, *reset, "--yes").exit_code == 0
    deploys.deploy()
    _ended(deploys, 15)
    deploys.served.result(deploys.served.started(deploys.served.send({"name": "told", "data": {}}, partition=0)))
    found = _started(deploys)
    [rewind] = found.keys() - {None, replay}
    assert found == {None: _ONCE + Counter(hear=1), replay: _ONCE, rewind: _ONCE}
