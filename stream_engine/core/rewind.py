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

One rewind has one replay id, whichever partitions and topics it reset, and whichever workers find them. The first to find one looks at all
partitions of all topics that the group reads, and writes down those that are reset as one `Rewind`, whose id follows from what is in it; others that look at the same moment find and
write the same. A partition *joins*: its offset is committed with a mark, and then its progress says so. From then on, an unmarked offset
is another rewind.

The seam, for a partition that is assigned: read the committed offsets of ALL partitions of all topics, then the control topic to its END, then call
`course`. WRITE its rewind, if it has one, to the control topic; COMMIT its start with its mark; WRITE its progress; then route. Each must be
acknowledged before the next.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from stream_engine.core.identity import digest
from stream_engine.core.records import Record

_BY = "stream-engine"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is committed beside an offset: that it is the engine's, of which topic of the name, and of which replay until where.

    ``rewinds`` and ``interests`` are those of `Progress`. The first engines did not name the topic.
    """

    by: str
    topic: str | None = None
    replay: str = ""
    until: int = 0
    rewinds: int = 0
    interests: int = 0


class Progress(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """How far one partition of an events topic is routed; the greatest of several is the newest.

    ``rewinds`` is the number of the newest rewind that it joined, ``live`` the offset below which all is routed live or was
    skipped, ``offset`` the place of the router, and ``replay`` the replay that it routes for until it comes to ``live``.
    Requests for events below ``interests``, an offset of the control topic, have been answered (see `stream_engine.core.offering`).
    """

    rewinds: int
    live: int
    offset: int
    replay: str = ""
    interests: int = 0

    def mark(self, topic_id: str) -> str:
        """Return what is committed beside the offset."""
        until = self.live if self.replay else 0
        return msgspec.json.encode(Mark(_BY, topic_id, self.replay, until, self.rewinds, self.interests)).decode()


Spans = dict[int, tuple[int, int]]
"""``[start, stop)`` in offsets, by partition."""


class Rewind(msgspec.Struct, frozen=True):
    """An operator's rewind: the events that are routed again, by partition of the topic with an id.

    ``number`` counts the rewinds of the group; ``at`` is when it was found, in milliseconds since the epoch. ``others`` has, by their ids, topics that
    were reset at the same time.
    """

    id: str
    number: int
    topic: str
    spans: Spans
    at: int = 0
    others: dict[str, Spans] = {}

    def of(self, topic_id: str) -> Spans:
        """Return the spans of a topic."""
        return self.spans if topic_id == self.topic else self.others.get(topic_id, {})


class Committed(Record, frozen=True):
    """What the group has for a partition: an offset, and the text beside it."""

    offset: int
    metadata: str = ""


class Topic(NamedTuple):
    """A topic as `course` looks at it: by partition, what the group has committed, and the newest progress that is known."""

    committed: Mapping[int, Committed]
    progress: Mapping[int, Progress]


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


def is_of_another(committed: Committed | None, topic_id: str) -> bool:
    """Return whether an offset was committed for a topic that had the name before this one."""
    mark = None if committed is None else read_mark(committed.metadata)
    return mark is not None and mark.topic not in {None, topic_id}


def course(
    topic_id: str,
    partition: int,
    committed: Mapping[int, Committed],
    progress: Mapping[int, Progress],
    rewinds: Iterable[Rewind],
    *,
    others: Mapping[str, Topic] | None = None,
) -> Course | None:
    """Return what the offsets and the control topic amount to for a partition; None for one that begins anew.

    ``committed`` has every partition of the topic that has an offset, ``progress`` what is known of each, the newest,
    and ``rewinds`` those of any topic. ``others`` has the other topics that the group reads, by their ids.
    """
    own, known = committed.get(partition), progress.get(partition)
    if own is None:
        return None if known is None else Course(known)
    mark = read_mark(own.metadata)
    if mark is not None:
        return Course(_go_on(own.offset, mark, known))
    if known is None:
        return Course(Progress(0, own.offset, own.offset))
    if own.offset >= known.live:
        # What was left of a rewind is passed over as well.
        skipped = (known.offset, own.offset) if known.offset < own.offset else None
        return Course(Progress(known.rewinds, own.offset, own.offset, "", known.interests), None, skipped)
    topics = {topic_id: Topic(committed, progress), **(others or {})}
    related = [one for one in rewinds if topics.keys() & {one.topic, *one.others}]
    return _rewind(topic_id, partition, topics, related)


def needs_control(committed: Committed | None) -> bool:
    """Return whether the control topic has to be read for a partition; what the engine left beside an offset mostly says all."""
    mark = None if committed is None else read_mark(committed.metadata)
    return mark is None or bool(mark.replay)


def _go_on(offset: int, mark: Mark, known: Progress | None) -> Progress:
    rewinds = mark.rewinds if known is None else max(mark.rewinds, known.rewinds)
    if mark.replay and offset < mark.until:
        return Progress(rewinds, mark.until, offset, mark.replay, mark.interests)
    return Progress(rewinds, max(offset, 0 if known is None else known.live), offset, "", mark.interests)


def _rewind(topic_id: str, partition: int, topics: Mapping[str, Topic], rewinds: list[Rewind]) -> Course:
    start, known = topics[topic_id].committed[partition].offset, topics[topic_id].progress[partition]
    newest = max((one for one in rewinds if one.of(topic_id)), key=lambda one: one.number, default=None)
    if (
        newest is not None
        and known.rewinds < newest.number
        and newest.of(topic_id).get(partition, (-1, -1))[0] == start
    ):
        return Course(Progress(newest.number, known.live, start, newest.id, known.interests))
    number = max((one.number for one in rewinds), default=0) + 1
    # In the order of the ids, so that whoever finds it writes the same down.
    reset = {name: spans for name, topic in sorted(topics.items()) if (spans := _reset(topic))}
    first = min(reset)
    rest = {name: spans for name, spans in reset.items() if name != first}
    opened = Rewind(_name(number, reset), number, first, reset[first], 0, rest)
    return Course(Progress(number, known.live, start, opened.id, known.interests), opened)


def _reset(topic: Topic) -> Spans:
    """Return what of a topic somebody has reset to an earlier place."""
    return {
        number: (offset.offset, topic.progress[number].live)
        for number, offset in sorted(topic.committed.items())
        if number in topic.progress
        and read_mark(offset.metadata) is None
        and offset.offset < topic.progress[number].live
    }


def _name(number: int, reset: Mapping[str, Spans]) -> str:
    texts = [
        f"{topic}/{partition}:{start}:{stop}"
        for topic, spans in reset.items()
        for partition, (start, stop) in spans.items()
    ]
    return f"r{number}-{digest(str(number), *texts)[:8]}"
