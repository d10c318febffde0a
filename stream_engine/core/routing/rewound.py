"""How far a rewind has been carried out, by what the control topic has of the partitions' progress."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Progress, Rewind


def extent(rewind: Rewind, topics: Sequence[tuple[str, str]]) -> Extent:
    """Return what belongs to a rewind; ``topics`` has the name and the id of the topic that is asked for, and then of all others."""
    (topic, topic_id), *others = topics
    elsewhere = {name: rewind.of(other) for name, other in others}
    ahead = {
        name: {number: frozenset(offsets) for number, offsets in rewind.ahead[one].items()}
        for name, one in topics
        if one in rewind.ahead
    }
    return Extent(rewind.id, topic, rewind.of(topic_id), elsewhere=elsewhere, ahead=ahead)


class Stretch(NamedTuple):
    """What of a partition a rewind routes again, ``[start, stop)`` in offsets, and ``at`` up to where it has. Up to where live routing had been written down, that
    is every event; behind it, those are that had been routed live by then."""

    topic: str
    partition: int
    start: int
    stop: int
    at: int


def stretches(
    rewind: Rewind, topics: Mapping[str, str], progress: Mapping[str, Mapping[int, Progress]]
) -> list[Stretch]:
    """Return the stretches of a rewind, by topic and partition.

    ``topics`` has the names of topics by their ids, ``progress`` the newest of each partition, by the topics' ids. Of a topic that has been
    created again since, nothing is left to route. What a later rewind has cut short is over, too.
    """
    found = []
    for topic_id in (rewind.topic, *rewind.others):
        for partition, (start, live) in rewind.of(topic_id).items():
            stop = max(live, rewind.tail(topic_id, partition))
            at = _at(rewind, start, stop, progress.get(topic_id, {}).get(partition)) if topic_id in topics else stop
            found.append(Stretch(topics.get(topic_id, topic_id), partition, start, stop, at))
    return sorted(found)


def _at(rewind: Rewind, start: int, stop: int, progress: Progress | None) -> int:
    if progress is None or progress.rewinds < rewind.number:
        # Nobody has been assigned it since it was reset.
        return start
    return min(progress.offset, stop) if progress.replay == rewind.id else stop


def waits_for(left: int, runs_left: int, workers: int, on_the_way: str | None) -> str:
    """Return in words what a rewind waits for of which so many events are not routed, and so many runs have not ended."""
    if not workers:
        return "a worker: none serves the app"
    if left:
        return f"{left} events that are not routed yet; what came later in their partitions waits behind them"
    return f"{runs_left} runs that have not ended" if runs_left else (on_the_way or "what its runs have sent")
