"""Events once more in the simulated world: replays in groups of their own, and what an operator does to the offsets of the group that routes.

`Live` and `Again` are what `stream_engine.shell.routing.router.Plan` is in a worker: from where a partition is routed, and what is written down of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from stream_engine.core.partition.intake import router_source
from stream_engine.core.records.wanted import Sender
from stream_engine.core.routing import rewound
from stream_engine.core.routing.ahead import admitted, ahead
from stream_engine.core.routing.cause import Cause
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Committed, Course, Progress, Rewind, Topic, course, read_mark
from tests.simulation.groups import Group
from tests.simulation.kafka import SimKafka, Topics
from tests.simulation.schedule import Schedule

Place = tuple[int, int]
"""The partition and the offset of an event."""


class Plan(Protocol):
    """From where partitions are routed, and who is to know how far they have come."""

    goes_on: bool
    group: Group

    def course(self, partition: int) -> Course | None:
        """Return from where a partition is routed, and what is to be written down first."""

    def open(self, rewind: Rewind) -> None:
        """Write a rewind down."""

    def joined(self, partition: int, progress: Progress) -> None:
        """Note that the beginning of a partition is committed."""

    def note(self, partition: int, progress: Progress) -> None:
        """Write down how far a partition is routed."""

    def extent(self, progress: Progress) -> Extent | None:
        """Return what belongs to the replay that a partition is in, if it is in one."""


@dataclass
class Reset:
    """An operator has set the offset of a partition back, below how far it was routed."""

    partition: int
    start: int
    live: int


class Live:
    """Live routing, and the rewinds that it finds: what is in the control topic.

    Attributes:
        rewinds: those that were found, by their ids.
        cut: the replays of rewinds, and partitions of theirs, that another reset has cut short.
    """

    goes_on = True

    def __init__(self, group: Group, topics: Topics, kafka: SimKafka) -> None:
        self.group = group
        self._kafka = kafka
        self.rewinds: dict[str, Rewind] = {}
        self.cut: set[tuple[str, int]] = set()
        self._topic = topics.events
        self._commands = topics.commands
        self._topic_id = kafka.log(topics.events, 0).topic_id
        self._progress: dict[int, Progress] = {}
        self._joined: set[tuple[str, int]] = set()
        self._resets: list[Reset] = []

    def course(self, partition: int) -> Course | None:
        """Look at the offsets of all partitions, and then at what is written down."""
        committed = {number: Committed(*one) for number, one in self.group.committed.items()}
        topic = Topic(committed, self._progress, ahead(self._routed(), self._progress))
        return course(self._topic_id, partition, {self._topic_id: topic}, self.rewinds.values())

    def _routed(self) -> dict[int, set[int]]:
        """Return what was routed live, by what is left of the commands."""
        kafka, routed = self._kafka, dict[int, set[int]]()
        sources = {router_source(self._topic_id, n, None): n for n in range(kafka.partitions(self._topic))}
        for number in range(kafka.partitions(self._commands)):
            log = kafka.log(self._commands, number)
            for stored in log.records[log.start :]:
                for partition, found in admitted(stored.value or b"", sources):
                    routed.setdefault(partition, set()).update(found)
        return routed

    def open(self, rewind: Rewind) -> None:
        """Write a rewind down; whoever finds it at the same moment writes the same."""
        self.rewinds.setdefault(rewind.id, rewind)

    def joined(self, partition: int, progress: Progress) -> None:
        """Note which rewind a partition has joined."""
        if progress.replay:
            self._joined.add((progress.replay, partition))

    def note(self, partition: int, progress: Progress) -> None:
        """Write down how far a partition is routed; of what several have written, the greatest counts."""
        self._progress[partition] = max(progress, self._progress.get(partition, progress))

    def extent(self, progress: Progress) -> Extent | None:
        """Return what a rewind has run again."""
        return self._extent(self.rewinds[progress.replay]) if progress.is_again else None

    def extents(self) -> list[Extent]:
        """Return what each rewind has run again."""
        return [self._extent(rewind) for rewind in self.rewinds.values()]

    def _extent(self, rewind: Rewind) -> Extent:
        return rewound.extent(rewind, [(self._topic, self._topic_id)])

    def reset(self, random: Random) -> None:
        """Set the offsets of some partitions back, as Kafka's own tool does while there is no member."""
        for partition, known in sorted(self._progress.items()):
            if random.random() < 0.3:
                continue
            target = random.randrange(known.live + 1)
            offset, text = self.group.committed.get(partition, (0, ""))
            mark = read_mark(text)
            if mark is None:
                # Nobody has seen the last reset, and nobody will.
                self._resets = [one for one in self._resets if one.partition != partition]
            elif mark.replay and offset < max(mark.until, mark.tail):
                self.cut.add((mark.replay, partition))
            self.group.committed[partition] = (target, "")
            self.group.overridden.discard(partition)
            if target < known.live:
                self._resets.append(Reset(partition, target, known.live))

    def judge(self, object_: Callable[[int, str], None]) -> None:
        """Object to a reset that nobody has found."""
        for one in self._resets:
            found = [
                rewind.id
                for rewind in self.rewinds.values()
                if rewind.spans.get(one.partition) == (one.start, one.live)
                and (rewind.id, one.partition) in self._joined
            ]
            if not found:
                object_(1, f"{one} is no replay, of {list(self.rewinds.values())}, joined by {sorted(self._joined)}")

    def replays(self, partition: int) -> list[tuple[Extent, bool]]:
        """Return the rewinds that a partition has joined, and whether each was carried out to its end."""
        return [
            (self._extent(rewind), (rewind.id, partition) not in self.cut)
            for rewind in self.rewinds.values()
            if (rewind.id, partition) in self._joined
        ]


class Again:
    """A replay that somebody has started: in a group of its own, of a fixed range, and of one function or all."""

    goes_on = False

    def __init__(self, group: Group, whole: Extent) -> None:
        self.group = group
        self.whole = whole
        self.cancelled = False
        for partition, (start, stop) in whole.spans.items():
            group.committed[partition] = (start, Progress(0, stop, start, whole.replay_id).mark(""))

    def course(self, partition: int) -> Course | None:
        """Look at the group, which alone knows how far it is."""
        start, stop = self.whole.spans.get(partition, (0, 0))
        offset = self.group.committed.get(partition, (start, ""))[0]
        return Course(Progress(0, stop, max(start, offset), self.whole.replay_id))

    def open(self, rewind: Rewind) -> None:
        """Nobody rewinds a replay."""

    def joined(self, partition: int, progress: Progress) -> None:
        """Nothing is written down of it."""

    def note(self, partition: int, progress: Progress) -> None:
        """Nothing is written down of it."""

    def extent(self, progress: Progress) -> Extent | None:
        """Return what it is about."""
        return self.whole


@dataclass
class Times:
    """Everything that runs events: live, and again."""

    live: Live
    replays: list[Again] = field(default_factory=list)

    @property
    def plans(self) -> list[Plan]:
        """All that is routed by now."""
        return [self.live, *self.replays]

    def start(
        self, schedule: Schedule, kafka: SimKafka, topics: Topics, functions: tuple[str | None, ...]
    ) -> Again | None:
        """Start a replay of what lies on the log, or of a part of it; return None if that is nothing."""
        random, partitions = schedule.random, kafka.partitions(topics.events)
        spans = {}
        for partition in range(partitions):
            end = kafka.log(topics.events, partition).end
            start = random.choice((0, random.randrange(end + 1)))
            if start < end:
                spans[partition] = (start, random.choice((end, random.randrange(start + 1, end + 1))))
        if not spans:
            return None
        name = f"p{len(self.replays)}"
        again = Again(Group(schedule, name, partitions), Extent(name, topics.events, spans, random.choice(functions)))
        self.replays.append(again)
        return again

    def runs_again(self, replay_id: str, sender: Sender) -> bool:
        """Return whether a replay or rewind has a run of its own that sends what this run has sent."""
        extents = [again.whole for again in self.replays] + self.live.extents()
        return any(extent.replay_id == replay_id and _is_sent_anew(extent, sender) for extent in extents)

    def sees(self, replay_id: str | None, sender: Sender | None) -> bool:
        """Return whether a run, of a replay or a live one, sees what a run has sent, or somebody outside."""
        if sender is None or sender.replay_id is not None or replay_id is None:
            return sender is None or sender.replay_id == replay_id
        return not self.runs_again(replay_id, sender)

    def of(self, place: Place, cause: Cause | None) -> dict[str | None, tuple[str | None, bool]]:
        """Return under which replay ids (None: live) an event is routed: of which function alone, and whether certainly.

        What a replayed run sends belongs to its replay.
        """
        found: dict[str | None, tuple[str | None, bool]] = {None if cause is None else cause.replay: (None, True)}
        extents = [(again.whole, not again.cancelled) for again in self.replays] + self.live.replays(place[0])
        for extent, certain in extents:
            if _belongs(extent, place) and not _is_sent_anew(extent, cause):
                found[extent.replay_id] = (extent.function, certain)
        return found


def _is_sent_anew(extent: Extent, cause: Cause | Sender | None) -> bool:
    """Return whether a replay has a run of its own that sends what this run has sent."""
    if cause is None:
        return False
    return _belongs(extent, (cause.partition, cause.offset)) and extent.function in (None, cause.function)


def _belongs(extent: Extent, place: Place) -> bool:
    start, stop = extent.spans.get(place[0], (0, 0))
    return start <= place[1] < stop or extent.is_ahead(extent.topic, *place)
