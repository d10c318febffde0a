"""The runbook's page about a bad deploy, from its first command to its last, on a real broker: the story that it tells, and that nobody is charged twice."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from stream_engine.shell.clock import now_ms
from stream_engine.shell.operating.insights import read_insights
from tests.integration.behaviours.commands import command, completed
from tests.integration.behaviours.deploys import Deploys
from tests.integration.behaviours.page import Page, Tried, instant, page_of, tries
from tests.workers import WorkerProcess, until

pytestmark = pytest.mark.parametrize("deploys", ["broken.py"], indirect=True)
_ORDERS = 40
_RUN, _REPLAY, _REWIND = "1b49d5b71144bdf5d342ba34-4", "4be1a0cf62d1", "r1-5a0f3c2e"
_START = "stream-engine replay start --app APP --function process-order --from 2h --status failed --reuse-steps"
_RESET = "stream-engine groups reset APP.router --app APP --to-datetime 2026-01-31T13:00:00Z"
_TOOL = "kafka-consumer-groups.sh --bootstrap-server kafka-1:9092 --group APP.router --topic APP.events"
_TO_DATETIME = "--reset-offsets --to-datetime 2026-01-31T13:00:00.000 --execute"


@tries("A bad deploy", 0, 1, 2, 3, 4, 5, 6, 7, 8)
def test_a_bad_deploy_is_found_mended_and_run_again(deploys: Deploys, tried: Tried) -> None:
    since = now_ms()
    deploys.deploy("--topology", "insights", BEHAVIOURS_VERSION="1")
    _order(deploys, range(_ORDERS))
    deploys.deploy("--topology", "insights", BEHAVIOURS_VERSION="2")
    _order(deploys, range(_ORDERS, 2 * _ORDERS))
    bad = {one["run_id"] for one in deploys.served.told("RunEnded", _ORDERS // 2, status="failed")}
    until(lambda: _counted(deploys) == 2 * _ORDERS, "all is counted")
    with page_of(deploys, tried) as page:
        _see(page, bad)
        deploys.deploy("--topology", "insights", BEHAVIOURS_VERSION="3")
        _try_it(page, min(bad))
        replay = _replay(page, len(bad))
        again = deploys.served.told("RunEnded", len(bad), replay_id=replay)
        assert {one["status"] for one in again} == {"completed"}
        until(lambda: _replayed(deploys) == len(bad), "the replay is counted")
        # What was charged is taken over; what is wrong has been added up again.
        assert _calls(deploys) == dict.fromkeys(range(2 * _ORDERS), 1)
        _cancel(page)
        _rewind(page, since)
    assert min(_calls(deploys).values()) == 3
    charges = Counter(int(file.name.split()[1]) for file in deploys.folder.glob("charge *"))
    assert charges == dict.fromkeys(range(2 * _ORDERS), 1)


def _order(deploys: Deploys, orders: range) -> None:
    for order in orders:
        deploys.served.send({"name": "order/placed", "data": {"order": order}})
    deploys.served.told("RunEnded", orders.stop)


def _counted(deploys: Deploys) -> int:
    return sum(one.figures.ended for one in read_insights(deploys.settings, deploys.name, 0) or [])


def _replayed(deploys: Deploys) -> int:
    """Return how many replayed runs of the fix `functions list` shows, beside the live ones of both versions before it."""
    [row] = json.loads(command(deploys, "functions", "list", "--json").stdout)
    ended = {(one["version"], one["replayed"]): (one["completed"], one["failed"]) for one in row["figures"]}
    assert ended["1", False] == (_ORDERS, 0)
    assert ended["2", False] == (_ORDERS // 2, _ORDERS // 2)
    completed, failed = ended.get(("3", True), (0, 0))
    assert failed == 0
    return int(completed)


def _calls(deploys: Deploys) -> Counter[int]:
    return Counter(int(line) for line in (deploys.folder / "calls").read_text("utf-8").splitlines())


def _see(page: Page, bad: set[str]) -> None:
    """What the fix would do, and what is broken."""
    page.env["BEHAVIOURS_VERSION"] = "3"
    check = page.attempt("stream-engine check shop:engine --since 2h --function process-order")
    assert check.exit_code == 1, check.output
    assert f"{2 * _ORDERS} would differ, of {2 * _ORDERS} runs of {2 * _ORDERS} events" in check.stderr
    assert {line.partition("  new step ")[2] for line in check.stdout.splitlines()} == {
        "total-2 (run): was total (run)"
    }
    figures = page.attempt("stream-engine functions list --app APP")
    assert "version 2 fails more often than version 1 before it" in figures.stderr
    listed = page.do("stream-engine runs list --app APP --function process-order --status failed --since 2h")
    assert all(run in listed for run in bad)


def _try_it(page: Page, run: str) -> None:
    served = page.deploys.served
    rerun = page.do(f"stream-engine runs rerun {_RUN} --from-step total --app APP", **{_RUN: run})
    served.result(rerun.split()[0])
    assert [step for step, *_ in served.steps(rerun.split()[0])] == ["charge", "total-2"]
    assert set(_calls(page.deploys).values()) == {1}


def _replay(page: Page, count: int) -> str:
    """Look at it, begin it, pause it and resume it, all before any run of it can end; return its id."""
    preview = page.do(f"{_START} --dry-run")
    assert str(count) in preview
    assert page.deploys.served.told("RunStarted", 0, replay_id=None)
    replay = page.do(f"{_START} --per-second 50").split()[0]
    assert "running" in page.do(f"stream-engine replay status {_REPLAY} --app APP", **{_REPLAY: replay})
    page.do(f"stream-engine replay pause {_REPLAY} --app APP", **{_REPLAY: replay})
    assert "paused" in page.again(f"stream-engine replay status {_REPLAY} --app APP", **{_REPLAY: replay}).stdout
    page.do(f"stream-engine replay resume {_REPLAY} --app APP", **{_REPLAY: replay})
    page.deploys.served.open("replayed")
    done = completed(page.deploys, replay)
    assert (done["runs"], done["ended"], done["failed"]) == (count, count, 0)
    return replay


def _cancel(page: Page) -> None:
    """Begin another one, and have none of it go on."""
    (page.deploys.folder / "replayed").unlink()
    replay = page.again(f"{_START} --per-second 50").stdout.split()[0]
    begun = page.deploys.served.told("RunStarted", replay_id=replay)[0]["run_id"]
    page.do(f"stream-engine replay cancel {_REPLAY} --app APP", **{_REPLAY: replay})
    cancelled = page.agree(f"stream-engine runs cancel --replay {_REPLAY} --app APP", **{_REPLAY: replay})
    assert f"{begun}  cancelled" in cancelled
    assert {one["status"] for one in page.deploys.served.told("RunEnded", replay_id=replay)} == {"cancelled"}
    page.deploys.served.open("replayed")


def _rewind(page: Page, since: int) -> None:
    """Everything again, by Kafka's own tool and by the engine's."""
    deploys, moment = page.deploys, instant(since)
    deploys.stop()
    page.tool(f"{_TOOL} {_TO_DATETIME}", **{"2026-01-31T13:00:00.000": moment})
    _runs_all_again(deploys, deploys.deploy(BEHAVIOURS_VERSION="3"))
    active = page.attempt(f"{_RESET} --dry-run", **{"2026-01-31T13:00:00Z": f"{moment}Z"})
    assert (active.exit_code, "is active" in active.stderr) == (1, True)
    deploys.stop()
    preview = page.again(f"{_RESET} --dry-run", **{"2026-01-31T13:00:00Z": f"{moment}Z"})
    assert "offsets again" in preview.stdout
    assert page.agree(_RESET, **{"2026-01-31T13:00:00Z": f"{moment}Z"}).strip() == preview.stdout.strip()
    rewind = _runs_all_again(deploys, deploys.deploy(BEHAVIOURS_VERSION="3"))
    assert rewind in page.do("stream-engine replay list --app APP")
    assert rewind in page.do(f"stream-engine replay status {_REWIND} --app APP", **{_REWIND: rewind})


def _runs_all_again(deploys: Deploys, worker: WorkerProcess) -> str:
    """Wait until all has been run again; return under which id."""
    worker.said("its events run again as replay")
    ids: set[str] = set(re.findall(r"its events run again as replay (\S+)", worker.talk))
    [id] = ids
    ended = deploys.served.told("RunEnded", 2 * _ORDERS, replay_id=id)
    assert len(ended) == 2 * _ORDERS
    assert {one["status"] for one in ended} == {"completed"}
    assert {json.loads(one["result"]) for one in ended} == {order * 10 for order in range(2 * _ORDERS)}
    return id
