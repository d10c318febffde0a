"""Steps that are taken over on a real broker, with a payment service that counts its calls: by `rerun`, and by replays."""

import json

import pytest

from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import command, completed, said
from tests.integration.behaviours.deploys import Deploys
from tests.workers import until

pytestmark = pytest.mark.parametrize("deploys", ["payments.py"], indirect=True)
_ORDERS = 10


def _place_orders(deploys: Deploys) -> list[str]:
    """Have orders paid while there is a bug, and the fix deployed; return the runs in the orders' order."""
    deploys.deploy(BEHAVIOURS_BUG="1")
    places = [
        deploys.served.send({"name": "order/placed", "data": {"order": number}}, partition=number % 4)
        for number in range(_ORDERS)
    ]
    deploys.served.told("RunEnded", _ORDERS, function="pay")
    runs = [deploys.served.started(place, "pay") for place in places]
    deploys.deploy(BEHAVIOURS_BUG="0")
    return runs


def _calls(deploys: Deploys) -> int:
    return len((deploys.folder / "calls").read_text("utf-8").splitlines())


def _keys(deploys: Deploys) -> int:
    return len(list(deploys.folder.glob("charge-*")))


def test_a_run_runs_again_with_the_steps_before_the_one_that_failed(deploys: Deploys) -> None:
    runs = _place_orders(deploys)
    assert (_calls(deploys), _keys(deploys)) == (_ORDERS, _ORDERS)
    new = said(deploys, "runs", "rerun", runs[3], "--from-step", "total")
    assert new["rerun_of"] == runs[3]
    result = deploys.served.result(new["run_id"])
    assert result["amount"] == 30
    assert _calls(deploys) == _ORDERS
    [started] = deploys.served.told("RunStarted", run_id=new["run_id"])
    assert started["rerun_of"] == runs[3]
    assert deploys.served.steps(new["run_id"])[0] == ("charge", "completed", 0)
    shown = said(deploys, "runs", "show", new["run_id"])
    assert shown["rerun_of"] == runs[3]
    deploys.served.told("RunEnded", 6, function="ship")
    preview = command(deploys, "replay", "start", "--function", "ship", "--from", "1h", "--dry-run")
    assert preview.exit_code == 0, preview.output
    assert "sent by runs of other functions: 6 by runs of pay. Where such a function is replayed too" in preview.stderr


def test_a_rerun_calls_again_with_the_same_key_unless_it_is_to_have_new_ones(deploys: Deploys) -> None:
    runs = _place_orders(deploys)
    again = said(deploys, "runs", "rerun", runs[1])
    deploys.served.result(again["run_id"])
    assert (_calls(deploys), _keys(deploys)) == (_ORDERS + 1, _ORDERS)
    new = said(deploys, "runs", "rerun", runs[1], "--new-keys")
    deploys.served.result(new["run_id"])
    assert (_calls(deploys), _keys(deploys)) == (_ORDERS + 2, _ORDERS + 1)
    many = said(deploys, "runs", "rerun", "--function", "pay", "--status", "failed", "--from-step", "total", "--yes")
    # That one has been mended.
    assert {one["rerun_of"] for one in many} == set(runs[3::2])
    for one in many:
        deploys.served.result(one["run_id"])
    assert _calls(deploys) == _ORDERS + 2
    for arguments, words in [
        ((runs[1], "--from-step", "shipping"), "has no step 'shipping'; it has charge, total"),
        ((runs[1], "--version", "9"), "has no version '9'"),
        (("f" * 24 + "-0",), "there is no run"),
    ]:
        done = command(deploys, "runs", "rerun", *arguments, "--json")
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        assert words in done.stderr


def test_many_runs_run_again_once_for_each_event_until_one_is_completed(deploys: Deploys) -> None:
    runs = _place_orders(deploys)
    deploys.deploy(BEHAVIOURS_BUG="1")
    failed = ("runs", "rerun", "--function", "pay", "--status", "failed")
    first = said(deploys, *failed, "--yes")
    assert {one["rerun_of"] for one in first} == set(runs[1::2])
    deploys.served.told("RunEnded", _ORDERS + 5, function="pay")
    deploys.deploy(BEHAVIOURS_BUG="0")
    preview = command(deploys, *failed)
    assert (preview.exit_code, preview.stdout) == (1, "")
    assert "passed over: 5 runs of events that were run again since; the newest run of each stands" in preview.stderr
    assert "add --yes to run these 5 runs again" in preview.stderr
    second = said(deploys, *failed, "--yes")
    assert {one["rerun_of"] for one in second} == {one["run_id"] for one in first}
    deploys.served.told("RunEnded", _ORDERS + 10, function="pay")
    done = command(deploys, *failed, "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, []), done.output
    assert "passed over: 10 runs of events of which other runs are completed" in done.stderr
    # Whoever names one wants it.
    assert said(deploys, "runs", "rerun", runs[1])["rerun_of"] == runs[1]


def test_what_a_replay_failed_at_too_runs_again_once(deploys: Deploys) -> None:
    since = now_ms()
    runs = _place_orders(deploys)
    deploys.deploy(BEHAVIOURS_BUG="1")
    start = ("replay", "start", "--function", "pay", "--from", str(since), "--status", "failed")
    made = said(deploys, *start)["id"]
    completed(deploys, made)
    replayed = {one["run_id"] for one in deploys.served.told("RunStarted", 5, function="pay", replay_id=made)}
    deploys.deploy(BEHAVIOURS_BUG="0")
    failed = ("runs", "rerun", "--function", "pay", "--status", "failed")
    preview = command(deploys, *failed)
    assert "passed over: 5 runs of events that were run again since; the newest run of each stands" in preview.stderr
    assert "add --yes to run these 5 runs again" in preview.stderr
    one = said(deploys, "runs", "rerun", runs[1])
    deploys.served.result(one["run_id"])
    again = said(deploys, *failed, "--yes")
    assert len(again) == 4
    assert {one["rerun_of"] for one in again} < replayed


def test_what_a_replay_has_mended_is_passed_over(deploys: Deploys) -> None:
    since = now_ms()
    _place_orders(deploys)
    made = said(deploys, "replay", "start", "--function", "pay", "--from", str(since), "--status", "failed")
    completed(deploys, made["id"])
    done = command(deploys, "runs", "rerun", "--function", "pay", "--status", "failed", "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, []), done.output
    assert "passed over: 5 runs of events of which other runs are completed" in done.stderr


def test_it_is_said_that_nothing_begins_while_no_worker_serves_the_app(deploys: Deploys) -> None:
    runs = _place_orders(deploys)
    failed = ("runs", "rerun", "--function", "pay", "--status", "failed")
    words = f"no worker serves {deploys.name} now: nothing begins before one is started"
    assert words not in command(deploys, *failed).stderr
    deploys.stop()
    until(lambda: words in command(deploys, *failed).stderr, "Kafka has let the member go")
    one = command(deploys, "runs", "rerun", runs[1], "--json")
    assert (one.exit_code, one.stderr.count(words)) == (0, 1), one.output
    many = command(deploys, *failed, "--yes", "--json")
    # Nobody knows yet that the first one is run again.
    assert (many.exit_code, many.stderr.count(words), len(json.loads(many.stdout))) == (0, 1, 5), many.output
    deploys.deploy(BEHAVIOURS_BUG="0")
    for new in (json.loads(one.stdout), *json.loads(many.stdout)):
        deploys.served.result(new["run_id"])


def test_a_replay_that_takes_steps_over_mends_what_failed_and_charges_nobody_twice(deploys: Deploys) -> None:
    since = now_ms()
    _place_orders(deploys)
    start = ("replay", "start", "--function", "pay", "--from", str(since), "--status", "failed", "--reuse-steps")
    made = said(deploys, *start)
    assert made["events"] == _ORDERS // 2
    new = deploys.served.send({"name": "order/placed", "data": {"order": 99}})
    done = completed(deploys, made["id"])
    assert (done["routed"], done["failed"]) == (5, 0)
    deploys.served.result(deploys.served.started(new, "pay"))
    assert (_calls(deploys), _keys(deploys)) == (_ORDERS + 1, _ORDERS + 1)
    shipped = deploys.served.started_again(5, "ship")
    assert {one["replay_id"] for one in shipped} == {made["id"]}
    fresh = said(deploys, *start[:-3], "--new-keys")
    completed(deploys, fresh["id"])
    assert (_calls(deploys), _keys(deploys)) == (2 * _ORDERS + 2, 2 * _ORDERS + 2)


@pytest.mark.parametrize("option", ["--reuse-steps", "--new-keys"])
def test_what_a_replay_left_out_because_of_a_pause_runs_as_that_would_have_run_it(
    deploys: Deploys, option: str
) -> None:
    since = now_ms()
    _place_orders(deploys)
    start = ("replay", "start", "--function", "pay", "--from", str(since), "--per-second", "1", option)
    made = said(deploys, *start)["id"]
    said(deploys, "replay", "pause", made)
    said(deploys, "functions", "pause", "pay")
    said(deploys, "replay", "resume", made)
    live = deploys.served.send({"name": "order/placed", "data": {"order": 99}})
    done = completed(deploys, made)
    left_out = done["paused"]
    assert left_out > 0
    assert (done["events"], done["runs"] - done["ended"]) == (_ORDERS, 0)
    paid = deploys.served.told("RunStarted", _ORDERS - left_out, function="pay", replay_id=made)
    assert done["routed"] == len(paid) + left_out
    resumed = said(deploys, "functions", "resume", "pay", "--replay")["replays"]
    assert sorted(completed(deploys, one)["events"] for one in resumed) == [1, left_out]
    starts = {one["offset"] for one in deploys.served.started_again(_ORDERS + 1, "pay") if one["replay_id"] != made}
    assert live[1] in starts
    twice = _ORDERS if option == "--new-keys" else 0
    assert (_calls(deploys), _keys(deploys)) == (_ORDERS + 1 + twice, _ORDERS + 1 + twice)
