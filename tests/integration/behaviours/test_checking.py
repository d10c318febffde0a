"""`check` on a real broker: new code over what happened, which finds what would differ, and does nothing."""

from collections import Counter
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from stream_engine.core.instants import iso
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from tests.integration.behaviours.commands import Checked, checked, completed, said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys

pytestmark = pytest.mark.parametrize("deploys", ["checked.py"], indirect=True)
_ORDERS = 8


def _check(deploys: Deploys, *arguments: str, changed: str = "") -> Checked:
    return checked(deploys, "checked.py", *arguments, BEHAVIOURS_CHANGED=changed)


def _told(found: Checked) -> Counter[tuple[str, str, str | None]]:
    """Return how often what differs, as functions, what, and steps."""
    return Counter((row["function"], row["difference"]["what"], row["difference"]["step"]) for row in found.rows)


def _send(deploys: Deploys, name: str, **data: Any) -> tuple[int, int]:
    return deploys.served.send({"name": name, "data": data}, partition=len(str(data)) % PARTITIONS)


def _orders(deploys: Deploys) -> list[tuple[int, int]]:
    """Have orders placed, weighed and billed, and all of it ended."""
    placed = [_send(deploys, "order/placed", order=number) for number in range(_ORDERS)]
    for number in range(7):
        _send(deploys, "order/weighed", weight=number)
        _send(deploys, "order/billed", customer=f"c-{number % 2}", country="CH")
    for function, count in (("order", _ORDERS), ("ship", _ORDERS), ("bill", 7), ("weigh", 3)):
        deploys.served.told("RunEnded", count, function=function)
    return placed


def _effects(deploys: Deploys) -> int:
    return len((deploys.folder / "effects").read_text("utf-8").splitlines())


def test_what_new_code_would_change_is_listed_and_nothing_is_done(deploys: Deploys) -> None:
    deploys.deploy()
    placed = _orders(deploys)
    effects = _effects(deploys)
    same = _check(deploys, "--last", "1h")
    assert (same.code, same.rows) == (0, []), same.talk
    assert f"0 would differ, of {2 * _ORDERS + 7 + 3} runs of" in same.talk
    assert f"not checked: {_ORDERS} runs that were invoked" in same.talk
    for changed, expected in [
        (
            "step event result trigger batch gate new",
            {
                ("order", "new step", "audit"): 1,
                ("order", "sent event", "tell"): 1,
                ("order", "result", None): 1,
                ("ship", "no run", None): _ORDERS,
                ("weigh", "result", None): 3,
                ("bill", "flow control", None): 7,
                ("thank", "new run", None): _ORDERS,
            },
        ),
        ("model", {("bill", "dead letter", None): 7}),
    ]:
        found = _check(deploys, changed=changed)
        assert (found.code, _told(found)) == (1, expected), found.talk
    [one] = _check(
        deploys, "--event", f"{deploys.name}.events/{placed[4][0]}/{placed[4][1]}", changed="sleep step"
    ).rows
    run = deploys.served.started(placed[4], "order")
    assert (one["run_id"], one["status"], one["difference"]["what"]) == (run, "completed", "sleep")
    _what_is_not_checked_is_of_what_was_asked_for(deploys)
    for arguments, count in [
        (("--function", "ship"), 0),
        (("--function", "order"), _ORDERS),
        (("--status", "failed"), 0),
        (("--since", "1h", "--until", "30m"), 0),
        (("--limit", "3"), 3),
    ]:
        found = _check(deploys, *arguments, changed="sleep")
        assert (found.code, len(found.rows)) == (int(count > 0), count), found.talk
    assert _effects(deploys) == effects
    assert (deploys.folder / "lifespans").read_text("utf-8") == "entered\n"
    assert _check(deploys, "--lifespan").code == 0
    assert (deploys.folder / "lifespans").read_text("utf-8") == 2 * "entered\n"
    deploys.served.told("RunStarted", 3 * _ORDERS + 7 + 3)


def _what_is_not_checked_is_of_what_was_asked_for(deploys: Deploys) -> None:
    """Only orders call another function, and these calls have ended well."""
    for arguments, invoked in [
        (("--function", "fraud"), True),
        (("--function", "weigh"), False),
        (("--status", "failed"), False),
        (("--event", "nothing"), False),
        (("--since", "1h", "--until", "30m"), False),
    ]:
        talk = _check(deploys, *arguments).talk
        assert (f"not checked: {_ORDERS} runs that were invoked" in talk) is invoked, talk
        assert ("were invoked" in talk) is invoked, talk
        assert "history says nothing" not in talk


def test_runs_that_go_on_and_runs_whose_events_have_expired(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    placed = [
        deploys.served.send({"name": "order/placed", "data": {"order": number}}, partition=0) for number in (1, 2)
    ]
    deploys.served.told("RunEnded", 2, function="order")
    part = TopicPartition(f"{deploys.name}.events", 0, placed[1][1])
    admin = clients.admin(deploys.settings)
    admin.delete_records([part])[part].result(30)
    lost = deploys.served.started(placed[0], "order")
    found = _check(deploys, "--since", str(since), "--function", "order", changed="sleep")
    assert [row["event_id"] for row in found.rows] == [f"{deploys.name}.events/0/{placed[1][1]}"]
    assert f"not checked: 1 runs whose events have expired ({lost})" in found.talk
    # Where nothing differs, that part of the time is missing is still no success.
    [left] = [one for one in deploys.served.events.to_end() if (one.partition, one.offset) == placed[1]]
    short = _check(deploys, "--since", str(since), "--function", "order")
    assert (short.code, short.rows) == (1, []), short.talk
    gone = f"what {deploys.name}.events had of this time before {iso(left.timestamp)} in partition 0, which has expired"
    assert gone in short.talk
    assert f"all after that is there; begin with --since {iso(left.timestamp)}" in short.talk
    # What is missing does not concern an event that is there, nor runs that ended otherwise.
    whole = _check(deploys, "--since", str(since), "--event", f"{deploys.name}.events/0/{placed[1][1]}")
    assert (whole.code, whole.rows) == (0, []), whole.talk
    assert "not checked" not in whole.talk
    failed = _check(deploys, "--since", str(since), "--status", "failed")
    assert failed.code == 1
    assert "whose events have expired (" not in failed.talk
    before = _check(deploys, "--since", str(since - 60_000), "--until", iso(left.timestamp))
    assert f"what {deploys.name}.events had of this time in partition 0, which has expired, or may have" in before.talk
    assert "all after" not in before.talk
    all_there = _check(deploys, "--since", iso(left.timestamp), "--function", "order")
    assert (all_there.code, all_there.rows) == (0, []), all_there.talk
    assert "which has expired" not in all_there.talk
    # Stopped in its sleep, a run has only the beginning of its history.
    deploys.served.send({"name": "order/placed", "data": {"order": 4}}, partition=0)
    deploys.served.told("StepRecorded", 3, function="order", step_id="cool-down", status="sleeping")
    worker, deploys.worker = deploys.worker, None
    assert worker is not None
    worker.kill()
    going = ("--function", "order", "--status", "running", "--since", iso(left.timestamp))
    assert _check(deploys, *going, changed="step").code == 0
    assert len(_check(deploys, *going, changed="sleep").rows) == 1


def test_what_runs_of_replays_have_sent_is_told_apart_from_what_history_says_nothing_of(deploys: Deploys) -> None:
    """Two orders are replayed: their new runs send anew what is shipped."""
    deploys.deploy()
    since = now_ms()
    for number in (1, 2):
        _send(deploys, "order/placed", order=number)
    deploys.served.told("RunEnded", 2, function="ship")
    made = said(deploys, "replay", "start", "--function", "order", "--from", str(since))
    deploys.served.told("RunEnded", 2, function="ship", replay_id=made["id"])
    completed(deploys, made["id"])
    note = "not checked: 2 runs of replays, whose events began no live run of the function"
    for arguments, is_told in [
        ((), True),
        (("--function", "ship"), True),
        (("--function", "order"), False),
        (("--status", "completed"), True),
        (("--status", "failed"), False),
        (("--event", "nothing"), False),
    ]:
        found = _check(deploys, "--since", str(since), *arguments)
        assert (found.code, found.rows) == (0, []), found.talk
        assert (note in found.talk) is is_told, found.talk
        assert ("runs of replays" in found.talk) is is_told, found.talk
        assert "history says nothing" not in found.talk


def test_what_cannot_be_checked_is_said(deploys: Deploys) -> None:
    nothing = _check(deploys)
    assert (nothing.code, nothing.rows) == (1, [])
    assert "has published its functions" in nothing.talk
    deploys.deploy()
    for arguments, code, words in [
        (("--function", "nobody"), 1, "has no function 'nobody'; it has bill, fraud, order, ship, weigh"),
        (("--since", "1h", "--last", "2h"), 2, "give one of them"),
        (("--since", "1h", "--until", "2h"), 2, "no event can be in it"),
        (("--last", "soon"), 2, "soon"),
        (("--status", "lost"), 2, "lost"),
    ]:
        done = _check(deploys, *arguments)
        assert (done.code, done.rows) == (code, []), done.talk
        assert words in done.talk
        assert "Traceback" not in done.talk
    assert _check(deploys).code == 0
