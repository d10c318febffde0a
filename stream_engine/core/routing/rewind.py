"""What an operator did to the offsets of the group that routes, recognised by what the engine itself left there.

Kafka's own tool sets the offsets of an inactive group, and writes nothing beside them; the engine marks each offset that it commits.
How far a partition has been routed live, its *progress*, is also kept in the control topic, and is there before an offset is committed.
So when a partition is assigned:

=============================  ==============================================================================
its committed offset           what it amounts to
=============================  ==============================================================================
marked                         the engine goes on from there; what it repeats, the leaders know by its offset
unmarked, below the progress   an operator's *rewind*: up to the progress, events are routed again, as a replay
unmarked, at the progress      nothing
unmarked, above the progress   an operator's *skip*: it is recorded, and the events in between stay unrouted
none, with progress            the group was deleted, or expired: the engine goes on by its progress
none, without progress         the group is new: the settings say where it begins
=============================  ==============================================================================

A router that was killed has routed live what nobody has written down: events at or above the progress. Those of which the commands topic has what came of
them are *ahead* of the progress. A rewind has them again as well, and each of them besides as what it is for the leaders: a crash's repeat.

One rewind has one replay id, whichever partitions and topics it reset, and whichever workers find them. The first to find one looks at all
partitions of all topics that the group reads, and writes down those that are reset as one `Rewind`, whose id follows from what is in it; others that look at the same moment find and
write the same. A partition *joins*: its offset is committed with a mark, and then its progress says so. From then on, an unmarked offset
is another rewind.

The seam, for a partition that is assigned: read the committed offsets of ALL partitions of all topics, then what is ahead, then the control topic to its
END, then call `course`: who sees what another worker has routed behind a rewind then sees that rewind. WRITE its rewind, if it has one, to the control topic; COMMIT its start with its mark; WRITE its progress; then route. Each must be
acknowledged before the next.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from stream_engine.core.identity import digest
from stream_engine.core.records.journal import Record

_BY = "stream-engine"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is committed beside an offset: that it is the engine's, of which topic of the name, and of which replay until where.

    ``rewinds``, ``interests`` and ``tail`` are those of `Progress`. The first engines did not name the topic.
    """

    by: str
    topic: str | None = None
    replay: str = ""
    until: int = 0
    rewinds: int = 0
    interests: int = 0
    tail: int = 0


class Progress(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """How far one partition of an events topic is routed; the greatest of several is the newest.

    ``rewinds`` is the number of the newest rewind that it joined, ``live`` the offset below which all is routed live or was
    skipped, ``offset`` the place of the router, and ``replay`` the replay that it routes for until it comes to ``live``, or to
    ``tail``, where that is higher: up to there some events are routed for the replay that are also routed live (see `Rewind.ahead`).
    Requests for events below ``interests``, an offset of the control topic, have been answered (see `stream_engine.core.routing.offering`).
    """

    rewinds: int
    live: int
    offset: int
    replay: str = ""
    interests: int = 0
    tail: int = 0

    @property
    def is_again(self) -> bool:
        """Whether the router is in the midst of a replay."""
        return bool(self.replay) and self.offset < max(self.live, self.tail)

    def mark(self, topic_id: str) -> str:
        """Return what is committed beside the offset."""
        until = self.live if self.replay else 0
        mark = Mark(_BY, topic_id, self.replay, until, self.rewinds, self.interests, self.tail if self.replay else 0)
        return msgspec.json.encode(mark).decode()


Spans = dict[int, tuple[int, int]]
"""``[start, stop)`` in offsets, by partition."""


class Rewind(msgspec.Struct, frozen=True):
    """An operator's rewind: the events that are routed again, by partition of the topic with an id.

    ``number`` counts the rewinds of the group; ``at`` is when it was found, in milliseconds since the epoch. ``others`` has, by their ids, topics that
    were reset at the same time. ``ahead`` has, by their topics' ids and partitions, the offsets at or above the spans that had been routed live as well, in
    order; they are routed again one by one.
    """

    id: str
    number: int
    topic: str
    spans: Spans
    at: int = 0
    others: dict[str, Spans] = {}
    ahead: dict[str, dict[int, list[int]]] = {}

    def tail(self, topic_id: str, partition: int) -> int:
        """Return the offset behind the last one that is ahead, or 0 if none is."""
        return max(self.ahead.get(topic_id, {}).get(partition, ()), default=-1) + 1

    def of(self, topic_id: str) -> Spans:
        """Return the spans of a topic."""
        return self.spans if topic_id == self.topic else self.others.get(topic_id, {})


class Committed(Record, frozen=True):
    """What the group has for a partition: an offset, and the text beside it."""

    offset: int
    metadata: str = ""


class Topic(NamedTuple):
    """A topic as `course` looks at it: by partition, what the group has committed, the newest progress that is known, and which offsets are ahead of that."""

    committed: Mapping[int, Committed]
    progress: Mapping[int, Progress]
    ahead: Mapping[int, Collection[int]] = {}

    def reset(self, partition: int) -> tuple[int, int] | None:
        """Return what of a partition somebody has reset to an earlier place, ``[start, stop)`` in offsets; None if nobody has."""
        own, known = self.committed.get(partition), self.progress.get(partition)
        if own is None or known is None or read_mark(own.metadata) is not None:
            return None
        if own.offset >= known.live and not self.reset_ahead(partition):
            return None
        return own.offset, max(known.live, own.offset)

    def reset_ahead(self, partition: int) -> list[int]:
        """Return the offsets that are ahead of the progress, and not below where a partition was reset to."""
        start = self.committed[partition].offset
        return sorted(offset for offset in self.ahead.get(partition, ()) if offset >= start)


class Course(Record, frozen=True):
    """From where a partition is routed, and what is to be written down first.

    ``skipped`` are the events that an operator passed over, if any: ``[start, stop)`` in offsets.
    """

    progress: Progress
    opens: Rewind | None = None
    skipped: tuple[int, int] | None = None


def read_mark(text: str | None) -> Mark | None:
    """Return what the engine wrote beside an offset, or None if somebody else wrote it, or nothing is there."""
    try:
        mark = msgspec.json.decode(text or "", type=Mark)
    except msgspec.DecodeError:
        return None
    return mark if mark.by == _BY else None


def routed_to(committed: Committed | None, topic_id: str) -> int:
    """Return the offset below which all of a partition is certainly routed live, and what was offered of it acknowledged, by what the group has for it.

    Up to when all events are routed is known so: take the TIME, then look where the logs of all partitions END, and then at what the group has COMMITTED, again
    and again until this is nowhere below the end. Then all that came before that time is.
    """
    mark = None if committed is None else read_mark(committed.metadata)
    if committed is None or mark is None or mark.topic not in {None, topic_id}:
        return 0
    return max(committed.offset, mark.until) if mark.replay else committed.offset


def is_of_another(committed: Committed | None, topic_id: str) -> bool:
    """Return whether an offset was committed for a topic that had the name before this one."""
    mark = None if committed is None else read_mark(committed.metadata)
    return mark is not None and mark.topic not in {None, topic_id}


def course(topic_id: str, partition: int, topics: Mapping[str, Topic], rewinds: Iterable[Rewind]) -> Course | None:
    """Return what the offsets and the control topic amount to for a partition of a topic; None for one that begins anew.

    ``topics`` has that topic, and all others that the group reads, by their ids; ``rewinds`` are those of any topic.
    """
    topic = topics[topic_id]
    own, known = topic.committed.get(partition), topic.progress.get(partition)
    if own is None:
        return None if known is None else Course(known)
    mark = read_mark(own.metadata)
    if mark is not None:
        return Course(_go_on(own.offset, mark, known))
    if known is None:
        return Course(Progress(0, own.offset, own.offset))
    if topic.reset(partition) is None:
        # What was left of a rewind is passed over as well.
        skipped = (known.offset, own.offset) if known.offset < own.offset else None
        return Course(Progress(known.rewinds, own.offset, own.offset, "", known.interests), None, skipped)
    return _rewind(topic_id, partition, topics, [one for one in rewinds if topics.keys() & {one.topic, *one.others}])


def needs_control(committed: Committed | None) -> bool:
    """Return whether the control topic has to be read for a partition; what the engine left beside an offset mostly says all."""
    mark = None if committed is None else read_mark(committed.metadata)
    return mark is None or bool(mark.replay)


def _go_on(offset: int, mark: Mark, known: Progress | None) -> Progress:
    rewinds = mark.rewinds if known is None else max(mark.rewinds, known.rewinds)
    if mark.replay and offset < max(mark.until, mark.tail):
        return Progress(rewinds, mark.until, offset, mark.replay, mark.interests, mark.tail)
    return Progress(rewinds, max(offset, 0 if known is None else known.live), offset, "", mark.interests)


def _rewind(topic_id: str, partition: int, topics: Mapping[str, Topic], rewinds: list[Rewind]) -> Course:
    start, known = topics[topic_id].committed[partition].offset, topics[topic_id].progress[partition]
    newest = max((one for one in rewinds if one.of(topic_id)), key=lambda one: one.number, default=None)
    if (
        newest is not None
        and known.rewinds < newest.number
        and newest.of(topic_id).get(partition, (-1, -1))[0] == start
    ):
        return Course(_joined(newest, topic_id, partition, known))
    number = max((one.number for one in rewinds), default=0) + 1
    # In the order of the ids, so that whoever finds it writes the same down.
    reset = {name: spans for name, topic in sorted(topics.items()) if (spans := _reset(topic))}
    first = min(reset)
    rest = {name: spans for name, spans in reset.items() if name != first}
    ahead = {
        name: some
        for name, spans in reset.items()
        if (some := {number: found for number in spans if (found := topics[name].reset_ahead(number))})
    }
    opened = Rewind(_name(number, reset), number, first, reset[first], 0, rest, ahead)
    return Course(_joined(opened, topic_id, partition, known), opened)


def _joined(rewind: Rewind, topic_id: str, partition: int, known: Progress) -> Progress:
    start, stop = rewind.of(topic_id)[partition]
    return Progress(rewind.number, stop, start, rewind.id, known.interests, rewind.tail(topic_id, partition))


def _reset(topic: Topic) -> Spans:
    return {number: span for number in sorted(topic.committed) if (span := topic.reset(number)) is not None}


def _name(number: int, reset: Mapping[str, Spans]) -> str:
    texts = [
        f"{topic}/{partition}:{start}:{stop}"
        for topic, spans in reset.items()
        for partition, (start, stop) in spans.items()
    ]
    return f"r{number}-{digest(str(number), *texts)[:8]}"
