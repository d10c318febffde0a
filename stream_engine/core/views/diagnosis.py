"""What `doctor` concludes: facts about a broker, an app and a machine become findings, each with what to do about it.

What durability needs is an error where it is missing. What a broker that is alone can't have is a warning: nobody loses
data that matters on a developer's machine, and nobody should be told that it were safe there.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from stream_engine.core.instants import iso
from stream_engine.core.views.facts import AppFacts, Facts, GroupFacts, StateFacts, TopicFacts

Level = Literal["error", "warning", "ok"]

_SAFE_REPLICAS: Final = 3
_LITTLE_DISK: Final = 1024**3
_NO_DISK: Final = 128 * 1024**2
_SKEW_MS: Final = 1_000
# Readers of history allow for as much between the machines that decide and those that store.
_GREAT_SKEW_MS: Final = 60_000
_STUCK_MS: Final = 30_000
_LONG_LAG_MS: Final = 60_000
_DAY_MS: Final = 86_400_000


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; ``to_do`` is None where nothing needs to be done."""

    level: Level
    about: str
    what: str
    to_do: str | None = None


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
        to_do = "look at the name, and whether the account that asks may Describe the app's topics and groups"
        yield Finding("error", app.name, app.problem, to_do)
        return
    found = [finding for topic in app.topics for finding in _topic(topic, facts.broker.brokers)]
    found.extend(finding for topic in app.sources for finding in _source(topic))
    found.extend(_kept(app))
    if not found:
        names = f"{len(app.topics)} topics are there and as they must be"
        found.append(Finding("ok", app.name, f"{names}; events are in {app.events}"))
    yield from found
    yield from _groups(app)
    yield from _leads(app)
    yield from _pauses(app)
    yield from _unread(app)
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


def _source(topic: TopicFacts) -> Iterator[Finding]:
    """What others own is theirs to keep safe; what a replay of it can rely on is said."""
    about = f"source {topic.name}"
    if not topic.partitions:
        yield Finding("error", about, "the topic is not there", "have its owner create it; no worker starts without it")
    elif topic.leaderless:
        what = f"{topic.leaderless} of {topic.partitions} partitions have no leader"
        yield Finding("error", about, what, "bring the brokers back that hold them")
    else:
        if "delete" not in topic.config.get("cleanup.policy", "delete"):
            what = "it is compacted: of each key only the last record is left to be replayed"
            yield Finding("warning", about, what, "know it when you replay; its owner may keep more")
        yield from _stamps(topic, about, "have its owner set it to LogAppendTime, or know it when you replay")


def _stamps(topic: TopicFacts, about: str, to_do: str) -> Iterator[Finding]:
    stamps = topic.config.get("message.timestamp.type", "LogAppendTime")
    if stamps != "LogAppendTime":
        what = f"message.timestamp.type is {stamps}: what a replay covers, and which events waits and cancel_on see, depends on the clocks of producers"
        yield Finding("warning", about, what, to_do)


def _replication(topic: TopicFacts, brokers: int, about: str) -> Iterator[Finding]:
    minimum = int(topic.config.get("min.insync.replicas", "1"))
    if minimum > topic.replicas:
        what = f"min.insync.replicas is {minimum}, but there are {topic.replicas} replicas: nothing can be appended"
        yield Finding("error", about, what, f"set it to {max(topic.replicas - 1, 1)}, or add replicas")
    if topic.config.get("unclean.leader.election.enable") == "true":
        what = "unclean.leader.election.enable is true: a replica that lags may become leader and drop what was acknowledged"
        # A replica that is alone has nobody to lag behind; whoever adds another one will not think of it.
        level: Level = "error" if topic.replicas > 1 else "warning"
        yield Finding(level, about, what, "set it to false on the topic")
    if brokers < _SAFE_REPLICAS:
        return
    if topic.replicas < _SAFE_REPLICAS:
        what = f"{topic.replicas} replicas on {brokers} brokers"
        yield Finding("error", about, what, f"add replicas, up to {_SAFE_REPLICAS}, with kafka-reassign-partitions")
    elif minimum < 2:
        what = "min.insync.replicas is 1: what one broker alone has acknowledged is lost with it"
        yield Finding("error", about, what, "set it to 2 on the topic")


def _kept(app: AppFacts) -> Iterator[Finding]:
    configs = {topic.name: topic.config for topic in app.topics if topic.partitions}
    events, history = configs.get(app.events), configs.get(f"{app.name}.history")
    if events is None or history is None:
        return
    for topic in app.topics:
        if topic.name == app.events:
            yield from _stamps(topic, f"topic {app.events}", "set it to LogAppendTime")
        size = int(topic.config.get("retention.bytes", "-1"))
        if size >= 0 and topic.finding is None:
            what = f"retention.bytes is {size}: of a partition, what is beyond that is deleted, however young it is"
            to_do = "set it to -1 on the topic, so that retention.ms alone says for how long records are kept"
            yield Finding("warning", f"topic {topic.name}", what, to_do)
    if _forever(events) > _forever(history):
        what = "history is kept for a shorter time than events: a replay cannot tell what older events came to"
        yield Finding("warning", f"topic {app.name}.history", what, f"set its retention.ms to that of {app.events}")

    longest = app.longest
    if longest is None:
        return
    takes = longest.until - longest.created_at
    for name, config, forgotten in (
        (f"{app.name}.history", history, "history forgets its beginning before it ends"),
        (app.events, events, "its event is forgotten before it ends, so that it cannot be run again"),
    ):
        if takes > _forever(config):
            what = f"run {longest.run_id} of {longest.function} waits until {iso(longest.until)}: {forgotten}"
            to_do = f"set its retention.ms to more than {takes / _DAY_MS:.0f} days"
            yield Finding("warning", f"topic {name}", what, to_do)


def _forever(config: dict[str, str]) -> float:
    kept = int(config.get("retention.ms", "-1"))
    return float("inf") if kept < 0 else kept


def _groups(app: AppFacts) -> Iterator[Finding]:
    for group in app.groups:
        if group.lost:
            what = f"{sum(group.lost.values())} events were deleted before they were routed"
            places = " ".join(f"--topic {topic}:{number}" for topic, number in sorted(group.lost))
            to_do = (
                f"stop the workers, `stream-engine groups reset {group.name} {places} --to-earliest`, start them; and keep events for longer than "
                "outages last"
            )
            yield Finding("error", f"group {group.name}", what, to_do)
        yield from _lag(app, group)
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
        # A worker has a member for each topic that it routes, and one that leads.
        workers = min(group.members for group in app.groups)
        served = "1 worker serves it" if workers == 1 else f"{workers} workers serve it"
        lag = sum(group.lag for group in app.groups)
        yield Finding(
            "ok", app.name, f"{served}, {lag} records lie before it; functions: {', '.join(app.functions or [])}"
        )
    else:
        ever = "no worker serves it now" if app.functions is not None else "no worker has ever served it"
        yield Finding("warning", app.name, ever, "start one: `stream-engine worker APP`")


def _lag(app: AppFacts, group: GroupFacts) -> Iterator[Finding]:
    """Whether events wait for long, which without a worker is no wonder, and whether they will be there when it is their turn."""
    kept = min((_forever(topic.config) for topic in app.topics if topic.name == app.events), default=float("inf"))
    if group.waited > kept / 2:
        what = f"the oldest of {group.lag} events before it has waited for {_span(group.waited)}, and is deleted after {_span(kept)}"
        yield Finding("error", f"group {group.name}", what, "start workers, or raise retention.ms of the topic")
    elif group.members and group.waited > _LONG_LAG_MS:
        what = f"the oldest of {group.lag} events before it has waited for {_span(group.waited)}"
        yield Finding(
            "warning", f"group {group.name}", what, "see by `groups list` whether that falls; if not, add workers"
        )


def _leads(app: AppFacts) -> Iterator[Finding]:
    if not all(group.members for group in app.groups):
        return
    for lead in app.leads:
        if lead.waiting and (lead.idle is None or lead.idle > _STUCK_MS):
            since = "ever" if lead.idle is None else f"for {_span(lead.idle)}"
            what = f"partition {lead.number} is stuck: {lead.waiting} records of commands wait, and nothing has been decided {since}"
            to_do = "look at the log of the worker that leads it, and restart it; another one goes on from the journal"
            yield Finding("error", app.name, what, to_do)


def _unread(app: AppFacts) -> Iterator[Finding]:
    """Which events cannot be read that somebody has begun to wait for; without a worker, nobody reads them."""
    if not all(group.members for group in app.groups):
        return
    for one in app.unread:
        if app.now - one.since > _STUCK_MS:
            what = f"{one.topic}/{one.partition} has not been read again since {iso(one.since)} for runs that wait for {one.name}, which get no answer until it has"
            to_do = "the log of the worker that routes the partition says why, or how far it is; the runs go on by themselves then"
            yield Finding("warning", app.name, what, to_do)


def _pauses(app: AppFacts) -> Iterator[Finding]:
    kept = min((_forever(topic.config) for topic in app.topics if topic.name == app.events), default=float("inf"))
    for function, pause in sorted(app.pauses.items()):
        rest = pause.since + kept - app.now
        if pause.paused:
            lost = "" if rest == float("inf") else f"; its first missed events expire {_when(rest)}"
            what = f"{function} is paused since {iso(pause.at)}{lost}"
            level: Level = "error" if rest < kept / 4 else "warning"
            yield Finding(
                level, app.name, what, f"`stream-engine functions resume {function} --replay` runs what it missed"
            )
        elif rest > 0:
            what = f"{function} was paused at {iso(pause.since)}, and what it missed then has not been run"
            yield Finding(
                "ok", app.name, what, f"`stream-engine functions resume {function} --replay` runs it, if it is to"
            )


def _when(rest: float) -> str:
    return f"in {_span(rest)}" if rest > 0 else "now"


def _span(ms: float) -> str:
    """Return a length of time in words, in the unit that suits it."""
    for unit, size in (("days", _DAY_MS), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.0f} {unit}"
    return f"{ms / 1_000:.0f} s"


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
