"""What `doctor` concludes from facts."""

from typing import Any

import pytest
from msgspec.structs import replace

from stream_engine.core.diagnosis import (
    AppFacts,
    BrokerFacts,
    Facts,
    Finding,
    GroupFacts,
    StateFacts,
    TopicFacts,
    diagnose,
)

GIB = 1024**3
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
        ({"config": SAFE | {"unclean.leader.election.enable": "true"}}, "error", "unclean.leader.election.enable"),
        ({"config": SAFE | {"message.timestamp.type": "CreateTime"}}, "warning", "clocks of producers"),
        ({"config": SAFE | {"retention.ms": "-1"}}, "warning", "history is kept for a shorter time"),
    ],
)
def test_topics(over: dict[str, Any], level: str, what: str) -> None:
    [finding] = in_topic(**over)
    assert finding.level == level
    assert what in finding.what
    assert finding.to_do


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
    [finding] = broken(apps=[replace(APP, groups=[GroupFacts("shop.router", 1, lost=7), GROUPS[1]])])
    assert (finding.level, finding.what) == ("error", "7 events were deleted before they were routed")


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
