"""What `doctor` concludes from facts."""

from typing import Any

import pytest
from msgspec.structs import replace

from stream_engine.core.functions.pausing import Pause
from stream_engine.core.views.diagnosis import Finding, diagnose
from stream_engine.core.views.facts import (
    AppFacts,
    BrokerFacts,
    Facts,
    GroupFacts,
    LeadFacts,
    StateFacts,
    TopicFacts,
    UnreadFacts,
    WaitFacts,
)

GIB = 1024**3
UNCLEAN = {"unclean.leader.election.enable": "true"}
SAFE = {"min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime", "retention.ms": "1000"}


def topic(name: str = "shop.events", **over: Any) -> TopicFacts:
    return replace(TopicFacts(name, 16, 3, 3, 0, SAFE, None), **over)


HISTORY = topic("shop.history")
GROUPS = [GroupFacts("shop.router", 2, lag=3), GroupFacts("shop.leaders", 2)]
APP = AppFacts("shop", "shop.events", [topic(), HISTORY], GROUPS, ["pay", "ship"], skew=0, took=4)
FACTS = Facts({}, StateFacts("/state", None, 10 * GIB), BrokerFacts("kafka:9092", None, "c1", 3), [APP])


def broken(**over: Any) -> list[Finding]:
    """The findings of facts that differ in this from good ones, but for what is all right."""
    facts = replace(FACTS, **over)
    return [finding for finding in diagnose(facts) if finding.level != "ok"]


def in_topic(**over: Any) -> list[Finding]:
    return broken(apps=[replace(APP, topics=[topic(**over), HISTORY])])


def test_all_is_well() -> None:
    assert broken() == []
    said = [finding.what for finding in diagnose(FACTS)]
    assert "/state can be written, 10.0 GiB are free" in said
    assert "kafka:9092 answers: cluster c1, 3 brokers" in said
    assert "2 topics are there and as they must be; events are in shop.events" in said
    assert "2 workers serve it, 3 records lie before it; functions: pay, ship" in said
    assert "the broker's clock and this machine's agree, as far as an answer after 4 ms tells" in said


@pytest.mark.parametrize(
    ("problem", "free", "level"),
    [("cannot be written", 10 * GIB, "error"), (None, GIB // 2, "warning"), (None, GIB // 10, "error")],
)
def test_the_state_directory(problem: str | None, free: int, level: str) -> None:
    [finding] = broken(state=StateFacts("/state", problem, free))
    assert (finding.level, finding.about) == (level, "state directory")
    assert finding.to_do


def test_without_a_broker_nothing_else_is_said_of_it() -> None:
    [finding] = broken(broker=BrokerFacts("kafka:9092", "no answer"), apps=[])
    assert (finding.level, finding.what) == ("error", "no answer")


def test_one_broker_alone_is_a_warning_and_so_are_its_topics() -> None:
    alone = topic(replicas=1, in_sync=1, config={"min.insync.replicas": "1"})
    found = broken(broker=BrokerFacts("localhost:9092", None, "c1", 1), apps=[replace(APP, topics=[alone])])
    assert [finding.level for finding in found] == ["warning"]
    assert "with 1 broker, a disk that is lost" in found[0].what


def test_a_broker_without_apps() -> None:
    [finding] = broken(apps=[])
    assert (finding.level, finding.what) == ("warning", "no app has topics here")


@pytest.mark.parametrize(
    ("over", "level", "what"),
    [
        ({"partitions": 0, "finding": "missing; `stream-engine topics apply` creates it"}, "error", "missing"),
        ({"leaderless": 2}, "error", "2 of 16 partitions have no leader"),
        ({"in_sync": 2}, "warning", "2 of 3 replicas in sync"),
        ({"replicas": 2, "in_sync": 2}, "error", "2 replicas on 3 brokers"),
        ({"config": SAFE | {"min.insync.replicas": "1"}}, "error", "min.insync.replicas is 1"),
        ({"config": SAFE | {"min.insync.replicas": "4"}}, "error", "nothing can be appended"),
        ({"config": SAFE | UNCLEAN}, "error", "unclean.leader.election.enable"),
        ({"config": SAFE | {"message.timestamp.type": "CreateTime"}}, "warning", "clocks of producers"),
        ({"config": SAFE | {"retention.ms": "-1"}}, "warning", "history is kept for a shorter time"),
        ({"config": SAFE | {"retention.bytes": "100000"}}, "warning", "retention.bytes is 100000: of a partition"),
    ],
)
def test_topics(over: dict[str, Any], level: str, what: str) -> None:
    [finding] = in_topic(**over)
    assert finding.level == level
    assert what in finding.what
    assert finding.to_do


@pytest.mark.parametrize(("brokers", "level"), [(1, "warning"), (2, "error")])
def test_unclean_elections_are_found_on_few_brokers_too(brokers: int, level: str) -> None:
    config = SAFE | {"min.insync.replicas": "1"}
    over: dict[str, Any] = {"replicas": brokers, "in_sync": brokers, "config": config}
    unclean = topic(**over | {"config": config | UNCLEAN})
    facts = BrokerFacts("localhost:9092", None, "c1", brokers)
    few, finding = broken(broker=facts, apps=[replace(APP, topics=[unclean, replace(HISTORY, **over)])])
    assert f"with {brokers} broker" in few.what
    assert (finding.level, finding.about, finding.to_do) == (level, "topic shop.events", "set it to false on the topic")
    assert "unclean.leader.election.enable is true" in finding.what


def test_an_app_without_workers() -> None:
    groups = [GroupFacts("shop.router", 0), GroupFacts("shop.leaders", 0)]
    [finding] = broken(apps=[replace(APP, groups=groups)])
    assert (finding.level, finding.what) == ("warning", "no worker serves it now")
    [finding] = broken(apps=[replace(APP, groups=groups, functions=None)])
    assert finding.what == "no worker has ever served it"


def test_functions_in_force_that_no_worker_has() -> None:
    """A deploy was rolled back without a word: its events would be passed over."""
    old = [GroupFacts("shop.router", 1), GroupFacts("shop.leaders", 1, catalogues=frozenset({"old"}))]
    [finding] = broken(apps=[replace(APP, groups=old, catalogue="new")])
    assert finding.level == "error"
    assert "--activate" in (finding.to_do or "")
    both = [GroupFacts("shop.router", 2), GroupFacts("shop.leaders", 2, catalogues=frozenset({"old", "new"}))]
    assert broken(apps=[replace(APP, groups=both, catalogue="new")]) == []


def test_events_that_are_gone_before_they_were_routed() -> None:
    lost = {("shop.events", 3): 5, ("shop.events", 0): 2}
    [finding] = broken(apps=[replace(APP, groups=[GroupFacts("shop.router", 1, lost=lost), GROUPS[1]])])
    assert (finding.level, finding.what) == ("error", "7 events were deleted before they were routed")
    reset = "groups reset shop.router --topic shop.events:0 --topic shop.events:3 --to-earliest"
    assert reset in (finding.to_do or "")


DAY = 86_400_000
DAYS = {"retention.ms": str(8 * DAY)}


def in_app(**over: Any) -> list[Finding]:
    kept = [topic(config=SAFE | DAYS), replace(HISTORY, config=SAFE | DAYS)]
    return broken(apps=[replace(APP, **{"topics": kept, "now": 100 * DAY} | over)])


def test_what_is_wrong_with_a_topic_is_told_once() -> None:
    finding = "max.message.bytes is 1048588: a record is refused; set it to 4259840 on the topic"
    [told] = in_topic(config=SAFE | {"max.message.bytes": "1048588"}, finding=finding)
    assert told == Finding("error", "topic shop.events", *finding.split("; "))


@pytest.mark.parametrize(
    ("over", "level", "what"),
    [
        ({"partitions": 0}, "error", "the topic is not there"),
        ({"leaderless": 1}, "error", "1 of 16 partitions have no leader"),
        ({"config": {"cleanup.policy": "compact"}}, "warning", "it is compacted"),
        ({"config": {"cleanup.policy": "compact,delete"}, "replicas": 1}, "", ""),
        ({"config": {"message.timestamp.type": "CreateTime"}}, "warning", "see, depends on the clocks of producers"),
    ],
)
def test_topics_of_others(over: dict[str, Any], level: str, what: str) -> None:
    found = in_app(sources=[topic("orders", **over)])
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all(what in finding.what and finding.to_do for finding in found)


def test_a_worker_that_routes_several_topics_is_one_worker() -> None:
    groups = [GroupFacts("shop.router", 3), GroupFacts("shop.leaders", 1)]
    said = [finding.what for finding in diagnose(replace(FACTS, apps=[replace(APP, groups=groups)]))]
    assert any(what.startswith("1 worker serves it") for what in said)


def test_events_that_are_not_read_again_for_waits_are_told_after_a_while_and_only_of_workers_that_are_there() -> None:
    unread = [UnreadFacts("shop.events", 2, "order/paid", 1_000), UnreadFacts("shop.events", 3, "order/paid", 30_000)]
    [finding] = broken(apps=[replace(APP, unread=unread, now=40_000)])
    assert finding.level == "warning"
    assert finding.what.startswith("shop.events/2 has not been read again since 1970-01-01T00:00:01.000Z for runs that")
    nobody = [replace(group, members=0) for group in GROUPS]
    assert not [one for one in broken(apps=[replace(APP, groups=nobody, unread=unread)]) if "read again" in one.what]


def test_a_partition_that_decides_nothing_is_stuck_if_something_waits_and_somebody_leads() -> None:
    leads = [LeadFacts(0, 5, 40_000), LeadFacts(1, 5, 3_000), LeadFacts(2, 0, 900_000), LeadFacts(3, 7, None)]
    first, second = in_app(leads=leads)
    assert (first.level, first.about) == ("error", "shop")
    assert "partition 0 is stuck: 5 records of commands wait, and nothing has been decided for 40 s" in first.what
    assert "partition 3 is stuck: 7 records of commands wait, and nothing has been decided ever" in second.what
    [finding] = in_app(leads=leads, groups=[GroupFacts("shop.router", 0), GroupFacts("shop.leaders", 0)])
    assert finding.what == "no worker serves it now"


@pytest.mark.parametrize(
    ("members", "waited", "level", "what"),
    [
        (1, 59_000, "", ""),
        (1, 180_000, "warning", "the oldest of 9 events before it has waited for 3 minutes"),
        (0, 180_000, "", ""),
        (0, 5 * DAY, "error", "has waited for 5 days, and is deleted after 8 days"),
    ],
)
def test_events_that_wait_for_long(members: int, waited: int, level: str, what: str) -> None:
    groups = [GroupFacts("shop.router", members, lag=9, waited=waited), GroupFacts("shop.leaders", members)]
    found = [finding for finding in in_app(groups=groups) if finding.about.startswith("group")]
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all(what in finding.what and finding.to_do for finding in found)


def test_a_run_that_waits_for_longer_than_its_history_and_its_event_are_kept() -> None:
    wait = WaitFacts("f00d-1", "remind", 100 * DAY, 108 * DAY)
    assert in_app(longest=wait) == []
    found = in_app(longest=replace(wait, until=110 * DAY))
    more = "set its retention.ms to more than 10 days"
    assert [(finding.level, finding.about, finding.to_do) for finding in found] == [
        ("warning", "topic shop.history", more),
        ("warning", "topic shop.events", more),
    ]
    assert all("run f00d-1 of remind waits until 1970-04-21" in finding.what for finding in found)
    forever = {"retention.ms": "-1"}
    kept = [topic(config=SAFE | forever), replace(HISTORY, config=SAFE | forever)]
    assert in_app(longest=replace(wait, until=900 * DAY), topics=kept) == []


@pytest.mark.parametrize(
    ("days", "level", "what"),
    [
        (1, "warning", "its first missed events expire in 7 days"),
        (7, "error", "its first missed events expire in 24 hours"),
        (9, "error", "its first missed events expire now"),
    ],
)
def test_a_function_that_is_paused(days: int, level: str, what: str) -> None:
    [finding] = in_app(pauses={"pay": Pause(paused=True, at=99 * DAY, since=(100 - days) * DAY)})
    assert (finding.level, finding.about) == (level, "shop")
    assert what in finding.what
    assert "functions resume pay --replay" in str(finding.to_do)


def test_what_a_function_missed_is_mentioned_while_it_is_there() -> None:
    for days, count in ((1, 1), (9, 0)):
        facts = replace(APP, topics=[topic(config=SAFE | DAYS), HISTORY], now=100 * DAY)
        facts = replace(facts, pauses={"pay": Pause(paused=False, at=99 * DAY, since=(100 - days) * DAY)})
        assert sum("has not been run" in finding.what for finding in diagnose(replace(FACTS, apps=[facts]))) == count


@pytest.mark.parametrize(
    ("skew", "level", "what"),
    [(1_500, "warning", "1.5 s ahead of"), (-2_000, "warning", "2.0 s behind"), (90_000, "error", "90.0 s ahead of")],
)
def test_clocks(skew: int, level: str, what: str) -> None:
    [finding] = broken(apps=[replace(APP, skew=skew)])
    assert (finding.level, finding.about) == (level, "clock")
    assert what in finding.what


def test_a_clock_that_cannot_be_asked_is_not_mentioned() -> None:
    assert all(finding.about != "clock" for finding in diagnose(replace(FACTS, apps=[replace(APP, skew=None)])))


def test_what_kafka_does_not_tell_is_an_error() -> None:
    [finding] = broken(apps=[AppFacts("shop", "shop.events", [], [], problem="not authorized")])
    assert (finding.level, finding.about, finding.what) == ("error", "shop", "not authorized")
