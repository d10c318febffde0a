"""What `doctor` finds out about a broker, an app and a machine; `stream_engine.core.views.diagnosis` concludes from it."""

import msgspec

from stream_engine.core.functions.pausing import Pause


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
    """A consumer group. ``lag``: how many records lie before it. ``lost``: how many were deleted before it read them, by
    topic and partition.

    ``waited`` is for how long the oldest of those that lie before it has, in milliseconds. ``catalogues``: the digests of the catalogues of its members, as far as they tell.
    """

    name: str
    members: int
    lag: int = 0
    lost: dict[tuple[str, int], int] = {}
    catalogues: frozenset[str] = frozenset()
    waited: int = 0


class LeadFacts(msgspec.Struct, frozen=True):
    """A partition: how many commands wait to be decided upon, and for how long nothing has been, in milliseconds; None for never."""

    number: int
    waiting: int
    idle: int | None


class UnreadFacts(msgspec.Struct, frozen=True):
    """A partition of events that has not been read again, since a time in milliseconds since the epoch, for those who wait for events of a ``name``."""

    topic: str
    partition: int
    name: str
    since: int


class WaitFacts(msgspec.Struct, frozen=True):
    """Of the runs that wait, the one that has been told of for longest when its wait ends; times in milliseconds since the epoch."""

    run_id: str
    function: str
    created_at: int
    until: int


class AppFacts(msgspec.Struct, frozen=True):
    """An app. ``skew`` is how far, in milliseconds, the broker's clock is ahead of this machine's at least, None where unknown.

    ``took`` is how long the question took: what that hides of a difference. ``catalogue`` is the digest of the one in force. ``sources`` are topics
    of others. ``pauses`` has functions that are paused, or have missed something, ``now`` is milliseconds since the epoch.
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
    sources: list[TopicFacts] = []
    leads: list[LeadFacts] = []
    longest: WaitFacts | None = None
    pauses: dict[str, Pause] = {}
    now: int = 0
    unread: list[UnreadFacts] = []


class Facts(msgspec.Struct, frozen=True):
    """Everything that was found out; ``settings`` are by variable, without secrets."""

    settings: dict[str, str]
    state: StateFacts
    broker: BrokerFacts
    apps: list[AppFacts]
