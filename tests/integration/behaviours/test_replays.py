"""Replays on a real broker: what they run again, what they leave alone, and how they go on after a crash."""

import re
from collections import Counter
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from stream_engine.core.instants import iso
from stream_engine.core.partition.intake import RESUMED_FOR
from stream_engine.core.routing.replay import PAUSED, Replay
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.operating import replaying
from stream_engine.shell.topics import Names
from tests.integration.behaviours.commands import command, completed, said
from tests.integration.behaviours.deploys import PARTITIONS, Deploys
from tests.workers import until


def _send(deploys: Deploys, name: str, count: int) -> list[tuple[int, int]]:
    return [
        deploys.served.send({"name": name, "data": {"n": number}}, partition=number % PARTITIONS)
        for number in range(count)
    ]


def _crash(deploys: Deploys) -> None:
    worker, deploys.worker = deploys.worker, None
    assert worker is not None
    worker.kill()


def _group(deploys: Deploys, replay: str) -> list[dict[str, Any]]:
    """Return how far the group of a replay is, by partition."""
    return [row for row in said(deploys, "groups", "list") if row["replay_id"] == replay and row["offset"] is not None]


def _places(starts: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return sorted((one["partition"], one["offset"]) for one in starts)


def test_a_replay_runs_the_events_of_a_function_and_a_time_again(deploys: Deploys) -> None:
    deploys.deploy()
    _send(deploys, "greet", 8)
    deploys.served.told("RunEnded", 8, function="greet")
    since = now_ms() + 1
    until(lambda: now_ms() > since, "the clock goes on")
    again = _send(deploys, "greet", 12)
    _send(deploys, "engine/start/send", 3)
    deploys.served.told("RunEnded", 20, function="greet")
    deploys.served.told("RunEnded", 3, function="receive")
    arguments = ("replay", "start", "--function", "greet", "--from", str(since))
    dry = said(deploys, *arguments, "--dry-run")
    assert (dry["events"], dry["status"], len(dry["listed"]), dry["at_least_seconds"]) == (12, "dry run", 12, 1)
    assert said(deploys, *arguments, "--per-second", "5", "--dry-run")["at_least_seconds"] == 3
    assert said(deploys, "replay", "list") == []
    made = said(deploys, *arguments)
    live = _send(deploys, "greet", 4)
    done = completed(deploys, made["id"])
    # In a group of its own, which has got from where that time began to where the log ended then.
    offsets = {row["partition"]: row["offset"] for row in _group(deploys, made["id"])}
    assert {
        number: max(at for part, at in again if part == number) < end for number, end in offsets.items()
    } == dict.fromkeys(range(PARTITIONS), True)
    assert all(offsets[number] <= at for number, at in live)
    # What came later is none of its business, and it has nothing before it any more.
    assert {(row["offset"], row["lag"]) for row in _group(deploys, made["id"])} == {
        (row["end"], None) for row in _group(deploys, made["id"])
    }
    assert {name: done[name] for name in ("events", "routed", "runs", "ended", "failed")} == {
        "events": 12, "routed": 12, "runs": 12, "ended": 12, "failed": 0,
    }  # fmt: skip
    deploys.served.told("RunEnded", 36, function="greet")
    deploys.served.listen()
    assert _places(deploys.served.started_again(12, "greet")) == sorted(again)
    assert set(live) <= set(_places(deploys.served.told("RunStarted", 24, function="greet", replay_id=None)))
    assert deploys.served.started_again(0, "receive") == []
    # What a replayed run sends is under the replay's id, and takes the place of what the original sent.
    sends = said(deploys, "replay", "start", "--function", "send", "--from", str(since))
    completed(deploys, sends["id"])
    deploys.served.listen()
    received = deploys.served.started_again(3, "receive")
    assert {one["replay_id"] for one in received} == {sends["id"]}
    assert len(received) == 3
    assert [one["id"] for one in said(deploys, "replay", "list")] == [sends["id"], made["id"]]
    # Who replays the other function then has both on the log, under the ids of the same steps.
    third = ("replay", "start", "--function", "receive", "--from", str(since))
    told = command(deploys, *third, "--dry-run").stderr
    assert f"3 of these events were sent by runs of earlier replays: 3 by {sends['id']}. For 3 of them there is" in told
    assert completed(deploys, said(deploys, *third)["id"])["dispositions"] == {"duplicate": 3, "started": 3}


def test_a_replay_that_is_too_old_is_not_resumed_and_begins_nothing_when_it_is_forgotten(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    deploys.greet()
    names = Names.of(deploys.name)
    long_ago = now_ms() - RESUMED_FOR
    old = Replay("old", "greet", names.events, "", 0, long_ago, {0: (0, 1)}, long_ago, 1, PAUSED)
    replaying.save(deploys.settings, names, old)
    refused = command(deploys, "replay", "resume", "old")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "more than 30 days ago" in refused.stderr
    made = said(deploys, "replay", "start", "--function", "greet", "--from", str(since))
    # What it holds would begin if nothing were known of it.
    assert said(deploys, "replay", "status", "old")["status"] == "cancelled"
    assert [one["id"] for one in said(deploys, "replay", "list")] == [made["id"]]


def test_a_replay_is_of_the_runs_with_a_status_or_of_the_events_for_which_an_expression_holds(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    places = _send(deploys, "greet", 9)
    deploys.served.told("RunEnded", 9, function="greet")
    made = said(deploys, "replay", "start", "--function", "greet", "--from", str(since), "--if", "event.data.n >= 6")
    assert made["events"] == 3
    completed(deploys, made["id"])
    deploys.served.listen()
    assert _places(deploys.served.started_again(3, "greet")) == sorted(places[6:])
    none = command(
        deploys, "replay", "start", "--function", "greet", "--from", str(since), "--status", "failed", "--json"
    )
    assert (none.exit_code, none.stdout) == (1, "")
    assert "nothing is started" in none.stderr
    all_of_them = ("replay", "start", "--function", "greet", "--from", str(since), "--status", "completed")
    assert said(deploys, *all_of_them, "--dry-run")["events"] == 9


def test_a_replay_is_paused_resumed_and_survives_a_crash_beside_another_one(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    places = _send(deploys, "greet", 120)
    deploys.served.told("RunEnded", 120, function="greet")
    start = ("replay", "start", "--function", "greet", "--from", str(since))
    slow = said(deploys, *start, "--per-second", "10")
    other = said(deploys, *start)
    deploys.served.started_again(130, "greet")
    assert said(deploys, "replay", "pause", slow["id"])["status"] == "paused"
    _crash(deploys)
    deploys.deploy()
    completed(deploys, other["id"])
    paused = said(deploys, "replay", "status", slow["id"])
    assert 0 < sum(row["lag"] for row in _group(deploys, slow["id"])) <= 120
    assert paused["status"] == "paused"
    assert paused["runs"] < 120
    said(deploys, "replay", "resume", slow["id"])
    deploys.served.started_again(120 + paused["runs"] + 5, "greet")
    _crash(deploys)
    deploys.deploy()
    assert completed(deploys, slow["id"])["runs"] == 120
    deploys.served.listen()
    starts = deploys.served.started_again(240, "greet")
    for replay in (slow, other):
        assert _places([one for one in starts if one["replay_id"] == replay["id"]]) == sorted(places)
    assert "is completed" in command(deploys, "replay", "cancel", slow["id"]).stderr


def test_a_replay_that_is_cancelled_begins_nothing_more(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    _send(deploys, "greet", 60)
    deploys.served.told("RunEnded", 60, function="greet")
    made = said(deploys, "replay", "start", "--function", "greet", "--from", str(since), "--per-second", "10")
    deploys.served.started_again(3, "greet")
    assert said(deploys, "replay", "cancel", made["id"])["status"] == "cancelled"
    assert {row["lag"] for row in _group(deploys, made["id"])} == {None}
    again = said(deploys, "replay", "start", "--function", "greet", "--from", str(since))
    completed(deploys, again["id"])
    deploys.served.listen()
    starts = [one for one in deploys.served.started_again(60, "greet") if one["replay_id"] == made["id"]]
    assert 3 <= len(starts) < 60


def test_what_cannot_be_replayed_is_said_before_anything_starts(deploys: Deploys) -> None:
    deploys.deploy()
    since = str(now_ms())
    deploys.greet()
    start = ("replay", "start", "--from", since, "--function")
    for arguments, code, words in [
        ((*start, "nobody"), 1, "has no function 'nobody'"),
        ((*start, "check"), 1, "no such events of check"),
        ((*start, "greet", "--to", since), 2, "--to is not after --from"),
        ((*start, "greet", "--if", "event.data.("), 2, "--if"),
        ((*start, "greet", "--if", "event.data.nosuch == 1"), 1, "--if looks at what none of 1 events has: "),
        (
            (*start, "greet", "--if", "event.data.n == 7"),
            1,
            "no such events of greet in this time; nothing is started\n",
        ),
        ((*start, "greet", "--status", "lost"), 2, "lost"),
        (("replay", "status", "nothing"), 1, "no replay 'nothing'"),
        (("groups", "reset", f"{deploys.name}.router", "--to-earliest"), 1, "is active"),
        (("groups", "reset", f"{deploys.name}.leaders", "--to-earliest"), 1, "say nothing"),
        (("groups", "reset", f"{deploys.name}.router"), 2, "one of"),
    ]:
        done = command(deploys, *arguments)
        assert (done.exit_code, done.stdout) == (code, ""), done.output
        assert words in done.stderr
    assert said(deploys, "replay", "list") == []


def test_groups_reset_rewinds_as_kafka_s_own_tool_does(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    places = _send(deploys, "greet", 8)
    deploys.served.told("RunEnded", 8, function="greet")
    deploys.stop()
    reset = ("groups", "reset", f"{deploys.name}.router", "--to-datetime", str(since))

    def rewound() -> bool:
        return command(deploys, *reset, "--dry-run").exit_code == 0

    until(rewound, "Kafka has let the member go")
    topic = f"{deploys.name}.events"
    for arguments, words in [
        (reset, "nothing is set yet: add --yes"),
        ((*reset[:-1], str(now_ms() + 3_600_000), "--yes"), "there are no events of that time yet"),
        (
            (*reset, "--topic", f"{topic}:{PARTITIONS}"),
            f"has no partition {PARTITIONS}; it has {PARTITIONS}, from 0 to",
        ),
        ((*reset, "--topic", f"{topic}s:0"), f"does not read '{topic}s'"),
    ]:
        refused = command(deploys, *arguments)
        assert (refused.exit_code, refused.stdout) == (1, ""), refused.output
        assert words in refused.stderr
    some = command(deploys, *reset, "--topic", f"{topic}:0", "--topic", f"{topic}:1,0", "--yes")
    assert some.exit_code == 0, some.output
    assert [line.split()[0] for line in some.stdout.splitlines()] == [f"{topic}/0", f"{topic}/1"]
    done = command(deploys, *reset, "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("2 offsets again") == PARTITIONS - 2
    assert done.stdout.count("stays at") == 2
    deploys.deploy()
    deploys.served.started_again(8, "greet")
    deploys.greet()
    deploys.served.listen()
    assert _places(deploys.served.started_again(8, "greet")) == sorted(places)


def _but_the_last(ends: dict[int, int]) -> list[tuple[int, int]]:
    return [(number, end - 1) for number, end in ends.items() if end > 1]


def test_what_has_expired_is_said_and_what_is_left_can_be_replayed(deploys: Deploys) -> None:
    deploys.deploy()
    since = now_ms()
    places = _send(deploys, "greet", 4 * PARTITIONS)
    deploys.served.told("RunEnded", len(places), function="greet")
    first = deploys.served.started(places[0], "greet")
    topic = f"{deploys.name}.events"
    part = TopicPartition(topic, places[0][0], 2)
    admin = clients.admin(deploys.settings)
    admin.delete_records([part])[part].result(30)
    start = ("replay", "start", "--function", "greet", "--from", str(since), "--json")
    short = command(deploys, *start)
    assert (short.exit_code, short.stdout) == (1, "")
    assert "does not reach back" in short.stderr
    assert f"partition {places[0][0]}:" in short.stderr
    gone = command(deploys, "runs", "rerun", first)
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "not on the log any more" in gone.stderr
    many = command(deploys, "runs", "rerun", "--function", "greet", "--status", "completed")
    expired = [place for place in places if place[0] == places[0][0] and place[1] < 2]
    assert (many.exit_code, many.stdout) == (1, "")
    assert many.stderr.count("not on the log any more") == len(expired)
    assert f"add --yes to run these {len(places) - len(expired)} runs again" in many.stderr
    [said_since] = re.findall(r"All after (\S+) is there;", short.stderr)
    made = said(deploys, "replay", "start", "--function", "greet", "--from", said_since)
    assert completed(deploys, made["id"])["runs"] == made["events"] > 0
    # Of what expired events had come to, history may have expired, too.
    consumer, name = clients.reader(deploys.settings), f"{deploys.name}.history"
    ends = {number: clients.offsets(consumer, name, number).stop for number in range(PARTITIONS)}
    consumer.close()
    for deleted in admin.delete_records([TopicPartition(name, *one) for one in _but_the_last(ends)]).values():
        deleted.result(30)
    for options, code in ((("--reuse-steps",), 0), (("--status", "completed"), 1)):
        start = ("replay", "start", "--function", "greet", "--from", said_since, "--dry-run", *options)
        unknown = command(deploys, *start)
        assert unknown.exit_code == code, unknown.output
        assert f"{deploys.name}.history does not reach back" in unknown.stderr
    deploys.stop()
    reset = ("groups", "reset", f"{deploys.name}.router", "--dry-run", "--json")
    until(lambda: command(deploys, *reset, "--to-earliest").exit_code == 0, "Kafka has let the member go")
    for to, words in [
        (("--to-datetime", str(since)), f"does not reach back to {iso(since)} in partition {places[0][0]}:"),
        (("--to-offset", "1"), f"{topic}/{places[0][0]} begins at offset 2: what was before has expired"),
    ]:
        done = command(deploys, *reset, *to)
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        assert words in done.stderr


@pytest.mark.parametrize("deploys", ["tightened.py"], indirect=True)
def test_events_that_would_not_be_taken_any_more_are_dead_letters_of_a_replay_and_of_a_rewind(deploys: Deploys) -> None:
    deploys.deploy(BEHAVIOURS_LEAST="0")
    since = now_ms()
    places = [deploys.served.send({"name": "order/placed", "data": {"total": n}}, partition=0) for n in range(4)]
    deploys.served.told("RunEnded", 8)
    never = deploys.served.send({"name": "order/placed", "data": {"total": -1}}, partition=0)
    deploys.served.buried(never)
    deploys.deploy(BEHAVIOURS_LEAST="2")
    made = said(deploys, "replay", "start", "--function", "bill", "--from", str(since))
    done = completed(deploys, made["id"])
    assert {name: done[name] for name in ("events", "routed", "runs", "ended", "failed")} == {
        "events": 5, "routed": 5, "runs": 2, "ended": 2, "failed": 0,
    }  # fmt: skip
    told = deploys.served.told("EventDisposed", 3, replay_id=made["id"])
    assert sorted(one["offset"] for one in told) == sorted(offset for _, offset in (*places[:2], never))
    assert {(one["disposition"], one["detail"].split(":")[0]) for one in told} == {("dead-lettered", "invalid-data")}
    assert dict(deploys.served.buried(places[0]).headers)["function"] == "bill"
    deploys.stop()
    reset = ("groups", "reset", f"{deploys.name}.router", "--to-datetime", str(since))
    until(lambda: command(deploys, *reset, "--dry-run").exit_code == 0, "Kafka has let the member go")
    assert command(deploys, *reset, "--yes").exit_code == 0
    deploys.deploy(BEHAVIOURS_LEAST="2")
    deploys.served.started_again(2 + 2, "bill")
    # All functions, under the rewind's own id; what has a dead letter gets no second one.
    again = [one for one in deploys.served.told("EventDisposed", 3 + 6) if one["replay_id"] not in (None, made["id"])]
    assert sorted((one["function"], one["offset"]) for one in again) == sorted(
        (function, offset) for function in ("bill", "ship") for _, offset in (*places[:2], never)
    )
    # Letters are written beside what history tells.
    parts = [(offset, function) for _, offset in places[:2] for function in ("bill", "ship")]
    deploys.served.dead.until(lambda found: len(found) > len(parts))
    deploys.served.dead.to_end()
    letters = [(int(one.headers["offset"]), one.headers.get("function")) for one in deploys.served.dead.records]
    assert Counter(letters) == Counter([*parts, (never[1], None)])
