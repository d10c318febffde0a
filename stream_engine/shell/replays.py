"""Replays, as the workers of an app carry them out: a thread for each that is to go on, in a group of its own."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_engine.core.replay import ACTIVE, Allowance, Extent, Replay
from stream_engine.core.requests import Reused
from stream_engine.core.rewind import Progress
from stream_engine.shell.clock import monotonic
from stream_engine.shell.route import Route
from stream_engine.shell.routing import Routing

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.2

REPLAY: Final = "replay/"
"""What the keys of the control topic begin with that have replays."""

SELECTED: Final = "selected/"
"""The same for the events that a replay is about: ``selected/<id>/<number>``."""

ROUTED: Final = "routed/"
"""The same for what says that all events of a replay have been routed."""

Selected = dict[int, list[int]]
"""Offsets of events, by partition."""


@dataclass(frozen=True)
class Tools:
    """What a worker carries replays out with. ``routes`` has those of all topics with events, by the topic's id. ``connect`` makes a member of a replay's group; ``values`` has the control topic's, by prefix.

    ``reused`` returns the steps that the runs of a replay take over, by their events; ``has_room`` says whether live runs have enough room left.
    """

    routes: Mapping[str, Route]
    connect: Callable[[str], Consumer]
    produce: Callable[[], Producer]
    values: Callable[[str], Mapping[str, bytes]]
    write: Callable[[dict[str, bytes]], None]
    reused: Callable[[Replay], Mapping[tuple[int, int], tuple[Reused, ...]]]
    has_room: Callable[[], bool]
    failed: Callable[[BaseException], None]


class ReplayPlan:
    """The `Plan` of a replay: its fixed range, at its pace, from where its group is."""

    def __init__(self, replay: Replay, selected: frozenset[tuple[int, int]] | None, tools: Tools) -> None:
        self._replay = replay
        reused = tools.reused(replay) if replay.reuse_steps else {}
        self._extent = Extent(replay.id, replay.topic, replay.spans, replay.function, selected, reused, replay.new_keys)
        self._allowance = Allowance(replay.per_second)
        self._has_room = tools.has_room
        self._tools = tools
        self._ends = {number: stop for number, (start, stop) in replay.spans.items() if start < stop}
        self._told = False

    def begin(self, consumer: Consumer, partitions: Iterable[int]) -> dict[int, Progress]:
        """Return where the group is; a partition that has nothing to replay is over at once."""
        parts = [TopicPartition(self._replay.topic, number) for number in partitions]
        found = {}
        for part in consumer.committed(parts, timeout=30):
            start, stop = self._replay.spans.get(part.partition, (0, 0))
            found[part.partition] = Progress(0, stop, max(start, part.offset), self._replay.id)
        return found

    def extent(self, topic: str, progress: Progress) -> Extent | None:  # noqa: ARG002 - a `Plan`
        """Return what belongs to the replay."""
        return self._extent

    def note(self, progress: Mapping[int, Progress], noted: Callable[[], None]) -> None:  # noqa: ARG002 - a `Plan`
        """The group alone knows how far it is."""
        noted()

    def joined(self, progress: Mapping[int, Progress]) -> None:
        """Nothing is left of others."""

    def most(self, lanes: int) -> int:
        """Return how many messages may be taken now, so that all workers together keep the pace, and live runs their room."""
        if not lanes:
            # Nothing comes of what is over; but whoever does not ask is no member for long.
            return 1
        if not self._has_room():
            return 0
        return self._allowance.most(monotonic(), lanes / max(len(self._ends), 1))

    def took(self, events: int) -> None:
        """Note how many events have been routed."""
        self._allowance.spend(events)

    def over(self, consumer: Consumer) -> None:
        """Say so, if by what the group has committed everything is routed."""
        if self._told:
            return
        parts = [TopicPartition(self._replay.topic, number) for number in self._ends]
        self._told = not parts or all(
            part.offset >= self._ends[part.partition] for part in consumer.committed(parts, timeout=30)
        )
        if self._told:
            self._tools.write({ROUTED + self._replay.id: b"true"})
            _log.info("replay %s is routed", self._replay.id)


class Replays(threading.Thread):
    """Begins and ends the threads of replays as the control topic says."""

    def __init__(self, tools: Tools) -> None:
        super().__init__(name="replays", daemon=True)
        self._tools = tools
        self._threads: dict[str, tuple[Replay, Routing]] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End all of them, with what they have under way acknowledged and committed."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Look after them, until told to stop."""
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                self._look()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the worker must hear of it and end
            _log.exception("the thread that looks after replays failed")
            self._tools.failed(error)
        finally:
            for _, thread in self._threads.values():
                thread.stop()

    def _look(self) -> None:
        routed = self._tools.values(ROUTED)
        for name, raw in self._tools.values(REPLAY).items():
            replay = msgspec.json.decode(raw, type=Replay)
            goes_on = replay.state == ACTIVE and name not in routed and replay.topic_id in self._tools.routes
            running = self._threads.get(name)
            if running is not None and (not goes_on or running[0] != replay):
                running[1].stop()
                del self._threads[name]
            if goes_on and name not in self._threads:
                selected = self._selected(replay)
                if replay.chunks and selected is None:
                    continue
                self._threads[name] = (replay, self._begin(replay, selected))

    def _begin(self, replay: Replay, selected: frozenset[tuple[int, int]] | None) -> Routing:
        tools = self._tools
        plan = ReplayPlan(replay, selected, tools)
        thread = Routing(tools.connect(replay.id), tools.produce(), tools.routes[replay.topic_id], plan, tools.failed)
        thread.start()
        return thread

    def _selected(self, replay: Replay) -> frozenset[tuple[int, int]] | None:
        """Return the events that a replay is about, or None if it is about all, or they have not all been read yet."""
        chunks = self._tools.values(f"{SELECTED}{replay.id}/")
        if not replay.chunks or len(chunks) < replay.chunks:
            return None
        places = (msgspec.json.decode(raw, type=Selected) for raw in chunks.values())
        return frozenset((number, offset) for one in places for number, some in one.items() for offset in some)
