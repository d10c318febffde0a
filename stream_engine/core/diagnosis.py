"""What `doctor` concludes: facts about a broker, an app and a machine become findings, each with what to do about it.

What durability needs is an error where it is missing. What a broker that is alone can't have is a warning: nobody loses
data that matters on a developer's machine, and nobody should be told that it were safe there.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

Level = Literal["error", "warning", "ok"]

_SAFE_REPLICAS: Final = 3
_LITTLE_DISK: Final = 1024**3
_NO_DISK: Final = 128 * 1024**2
_SKEW_MS: Final = 1_000
# Readers of history allow for as much between the machines that decide and those that store.
_GREAT_SKEW_MS: Final = 60_000


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; ``to_do`` is None where nothing needs to be done."""

    level: Level
    about: str
    what: str
    to_do: str | None = None


class BrokerFacts(msgspec.Struct, frozen=True):
    """The cluster: ``problem`` says why it does not answer, and what to do."""

    address: str | None
    problem: str | None = None
    cluster_id: str = ""
    brokers: int = 0


class StateFacts(msgspec.Struct, frozen=True):
    """The state directory: ``problem`` says why it cannot be written; ``free`` is in bytes."""

    path: str
    problem: str | None
    free: int


class TopicFacts(msgspec.Struct, frozen=True):
    """A topic: ``replicas`` and ``in_sync`` are those of the partition that has the fewest; ``finding`` is what is wrong."""

    name: str
    partitions: int
    replicas: int
    in_sync: int
    leaderless: int
    config: dict[str, str]
    finding: str | None


class GroupFacts(msgspec.Struct, frozen=True):
    """A consumer group. ``lag``: how many records lie before it. ``lost``: how many were deleted before it read them.

    ``catalogues``: the digests of the catalogues of its members, as far as they tell.
    """

    name: str
    members: int
    lag: int = 0
    lost: int = 0
    catalogues: frozenset[str] = frozenset()


class AppFacts(msgspec.Struct, frozen=True):
    """An app. ``skew`` is how far, in milliseconds, the broker's clock is ahead of this machine's at least, None where unknown.

    ``took`` is how long the question took: what that hides of a difference. ``catalogue`` is the digest of the one in force.
    """

    name: str
    events: str
    topics: list[TopicFacts]
    groups: list[GroupFacts]
    functions: list[str] | None = None
    skew: int | None = None
    took: int = 0
    problem: str | None = None
    catalogue: str | None = None


class Facts(msgspec.Struct, frozen=True):
    """Everything that was found out; ``settings`` are by variable, without secrets."""

    settings: dict[str, str]
    state: StateFacts
    broker: BrokerFacts
    apps: list[AppFacts]


def diagnose(facts: Facts) -> list[Finding]:
    """Return what the facts come to."""
    return [*_state(facts.state), *_broker(facts), *(finding for app in facts.apps for finding in _app(facts, app))]


def _state(state: StateFacts) -> Iterator[Finding]:
    about = "state directory"
    if state.problem is not None:
        yield Finding(
            "error", about, f"{state.path}: {state.problem}", "set STREAM_ENGINE_STATE_DIR to a folder of yours"
        )
        return
    free = f"{state.path} can be written, {state.free / 1024**3:.1f} GiB are free"
    if state.free < _LITTLE_DISK:
        level: Level = "error" if state.free < _NO_DISK else "warning"
        yield Finding(level, about, free, "make room: each worker keeps the state of the runs that it leads there")
    else:
        yield Finding("ok", about, free)


def _broker(facts: Facts) -> Iterator[Finding]:
    broker = facts.broker
    if broker.problem is not None:
        yield Finding("error", "broker", broker.problem, "nothing else can be checked before it answers")
        return
    several = f"{broker.brokers} brokers" if broker.brokers != 1 else "1 broker"
    yield Finding("ok", "broker", f"{broker.address} answers: cluster {broker.cluster_id}, {several}")
    if broker.brokers < _SAFE_REPLICAS:
        what = f"with {several}, a disk that is lost takes events and runs with it"
        yield Finding("warning", "broker", what, f"fine for development; for production, have {_SAFE_REPLICAS} or more")
    if not facts.apps:
        yield Finding("warning", "app", "no app has topics here", "`stream-engine worker APP` creates them for its app")


def _app(facts: Facts, app: AppFacts) -> Iterator[Finding]:
    if app.problem is not None:
        yield Finding(
            "error", app.name, app.problem, "the account that asks needs Describe on the app's topics and groups"
        )
        return
    found = [finding for topic in app.topics for finding in _topic(topic, facts.broker.brokers)]
    found.extend(_kept(app))
    if not found:
        names = f"{len(app.topics)} topics are there and as they must be"
        found.append(Finding("ok", app.name, f"{names}; events are in {app.events}"))
    yield from found
    yield from _groups(app)
    yield from _clock(app)


def _topic(topic: TopicFacts, brokers: int) -> Iterator[Finding]:
    about = f"topic {topic.name}"
    if topic.finding is not None:
        what, _, to_do = topic.finding.partition("; ")
        yield Finding("error", about, what, to_do or None)
    if not topic.partitions:
        return
    if topic.leaderless:
        what = f"{topic.leaderless} of {topic.partitions} partitions have no leader"
        yield Finding("error", about, what, "bring the brokers back that hold them")
    elif topic.in_sync < topic.replicas:
        what = f"a partition has {topic.in_sync} of {topic.replicas} replicas in sync"
        yield Finding("warning", about, what, "look for a broker that is down or slow")
    yield from _replication(topic, brokers, about)


def _replication(topic: TopicFacts, brokers: int, about: str) -> Iterator[Finding]:
    minimum = int(topic.config.get("min.insync.replicas", "1"))
    if minimum > topic.replicas:
        what = f"min.insync.replicas is {minimum}, but there are {topic.replicas} replicas: nothing can be appended"
        yield Finding("error", about, what, f"set it to {max(topic.replicas - 1, 1)}, or add replicas")
    if brokers < _SAFE_REPLICAS:
        return
    if topic.replicas < _SAFE_REPLICAS:
        what = f"{topic.replicas} replicas on {brokers} brokers"
        yield Finding("error", about, what, f"add replicas, up to {_SAFE_REPLICAS}, with kafka-reassign-partitions")
    elif minimum < 2:
        what = "min.insync.replicas is 1: what one broker alone has acknowledged is lost with it"
        yield Finding("error", about, what, "set it to 2 on the topic")
    if topic.config.get("unclean.leader.election.enable") == "true":
        what = "unclean.leader.election.enable is true: a replica that lags may become leader and drop what was acknowledged"
        yield Finding("error", about, what, "set it to false on the topic")


def _kept(app: AppFacts) -> Iterator[Finding]:
    configs = {topic.name: topic.config for topic in app.topics if topic.partitions}
    events, history = configs.get(app.events), configs.get(f"{app.name}.history")
    if events is None or history is None:
        return
    stamps = events.get("message.timestamp.type", "LogAppendTime")
    if stamps != "LogAppendTime":
        what = f"message.timestamp.type is {stamps}: what a replay covers depends on the clocks of producers"
        yield Finding("warning", f"topic {app.events}", what, "set it to LogAppendTime")
    if _forever(events) > _forever(history):
        what = "history is kept for a shorter time than events: a replay cannot tell what older events came to"
        yield Finding("warning", f"topic {app.name}.history", what, f"set its retention.ms to that of {app.events}")


def _forever(config: dict[str, str]) -> float:
    kept = int(config.get("retention.ms", "-1"))
    return float("inf") if kept < 0 else kept


def _groups(app: AppFacts) -> Iterator[Finding]:
    for group in app.groups:
        if group.lost:
            what = f"{group.lost} events were deleted before they were routed"
            yield Finding(
                "error", f"group {group.name}", what, "reset the group, and keep events for longer than outages last"
            )
    catalogues = frozenset().union(*(group.catalogues for group in app.groups))
    if catalogues and app.catalogue is not None and app.catalogue not in catalogues:
        what = f"events are routed by functions that no worker here has: {', '.join(app.functions or [])}"
        yield Finding(
            "error",
            app.name,
            what,
            "if a deploy was rolled back, start a worker with --activate; else deploy the newest code",
        )
    if all(group.members for group in app.groups):
        workers = max(group.members for group in app.groups)
        served = "1 worker serves it" if workers == 1 else f"{workers} workers serve it"
        lag = sum(group.lag for group in app.groups)
        yield Finding(
            "ok", app.name, f"{served}, {lag} records lie before it; functions: {', '.join(app.functions or [])}"
        )
    else:
        ever = "no worker serves it now" if app.functions is not None else "no worker has ever served it"
        yield Finding("warning", app.name, ever, "start one: `stream-engine worker APP`")


def _clock(app: AppFacts) -> Iterator[Finding]:
    if app.skew is None:
        return
    off = abs(app.skew)
    side = "ahead of" if app.skew > 0 else "behind"
    if off < _SKEW_MS:
        yield Finding(
            "ok", "clock", f"the broker's clock and this machine's agree, as far as an answer after {app.took} ms tells"
        )
    else:
        level: Level = "error" if off > _GREAT_SKEW_MS else "warning"
        what = f"the broker's clock is {off / 1_000:.1f} s {side} this machine's"
        yield Finding(level, "clock", what, "have both keep time (NTP): limits are exact up to this difference")
