"""Replays, as the workers of an app carry them out: a thread for each that is to go on, in a group of its own."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from stream_engine.core.routing.replay import ACTIVE, PER_SECOND, Allowance, Extent, Replay
from stream_engine.core.routing.rewind import Progress
from stream_engine.shell.clients import offsets, why_not_now
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.halts import REPLAY
from stream_engine.shell.history.steps import Steps
from stream_engine.shell.routing.route import Route
from stream_engine.shell.routing.router import Routing
from stream_engine.shell.trouble import NoAnswerError

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 5.0

SELECTED: Final = "selected/"
"""What the keys of the control topic begin with that have the events which a replay is about: ``selected/<id>/<number>``."""

ROUTED: Final = "routed/"
"""The same for what says that all events of a replay have been routed."""

EXPIRED: Final = "expired/"
"""The same for how many places had expired when a replay came to them: ``expired/<id>/<partition>/<offset>``, from that offset on."""

Selected = dict[int, list[int]]
"""Offsets of events, by partition."""


@dataclass(frozen=True)
class Tools:
    """What a worker carries replays out with. ``routes`` has those of all topics with events, by the topic's id. ``connect`` makes a member of a replay's group, and what writes for it; ``values`` has the control topic's, by prefix.

    ``has_room`` says whether live runs have enough room left, ``sharing`` among how many replays the pace is shared that nobody has said.
    """

    routes: Mapping[str, Route]
    connect: Callable[[str], tuple[Consumer, Producer]]
    values: Callable[[str], Mapping[str, bytes]]
    write: Callable[[dict[str, bytes]], None]
    has_room: Callable[[], bool]
    failed: Callable[[BaseException], None]
    sharing: Callable[[], int] = lambda: 1


class ReplayPlan:
    """The `Plan` of a replay: its fixed range, at its pace, from where its group is."""

    def __init__(self, replay: Replay, extent: Extent, tools: Tools) -> None:
        self._replay = replay
        self._extent = extent
        self._allowance = Allowance(replay.per_second or PER_SECOND)
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
            at = max(start, part.offset)
            # Also a partition of which nothing is left to replay is read, from where its log is by then.
            left = max(at, offsets(consumer, self._replay.topic, part.partition).start)
            self._note_expired(part.partition, at, min(left, stop), left)
            found[part.partition] = Progress(0, stop, left, self._replay.id)
        return found

    def _note_expired(self, partition: int, start: int, stop: int, left: int) -> None:
        """Say, and write down, how many of its places have expired: of ``[start, stop)``, in offsets, as the log begins at ``left``. Whoever does so again after a crash writes the same key."""
        if start >= stop:
            return
        selected = self._extent.selected
        expired = stop - start
        if selected is not None:
            expired = sum(number == partition and start <= offset < stop for number, offset in selected)
        if not expired:
            return
        _log.warning(
            "%d events of replay %s have expired before they were read: %s/%d begins at offset %d",
            *(expired, self._replay.id, self._replay.topic, partition, left),
        )
        self._tools.write({f"{EXPIRED}{self._replay.id}/{partition}/{start}": str(expired).encode()})

    def extent(self, topic: str, progress: Progress) -> Extent | None:  # noqa: ARG002 - a `Plan`
        """Return what belongs to the replay."""
        return self._extent

    def note(self, progress: Mapping[int, Progress], noted: Callable[[], None]) -> None:  # noqa: ARG002 - a `Plan`
        """The group alone knows how far it is."""
        noted()

    def joined(self, progress: Mapping[int, Progress]) -> None:
        """Nothing is left of others."""

    def most(self, lanes: int, assigned: Collection[int]) -> int:
        """Return how many messages may be taken now, so that all workers together keep the pace, and live runs their room.

        Replays for which nobody has said a pace have one together. A worker's share is that of its partitions, those too that are over: what is left of it is for the others, which may have most of the events.
        """
        sharing = 1 if self._replay.per_second else max(1, self._tools.sharing())
        share = len(self._ends.keys() & assigned) / max(1, len(self._ends)) / sharing
        most = self._allowance.most(monotonic(), share)
        if not lanes:
            # Nothing comes of what is over; but whoever does not ask is no member for long.
            return 1
        return most if self._has_room() else 0

    def took(self, events: int) -> None:
        """Note how many events have been routed."""
        self._allowance.spend(events)

    def over(self, consumer: Consumer) -> None:
        """Say so, if by what the group has committed everything is routed."""
        if self._told:
            return
        parts = [TopicPartition(self._replay.topic, number) for number in self._ends]
        try:
            committed = consumer.committed(parts, timeout=30) if parts else []
            if all(part.offset >= self._ends[part.partition] for part in committed):
                self._tools.write({ROUTED + self._replay.id: b"true"})
                self._told = True
                _log.info("replay %s is routed", self._replay.id)
        except (KafkaException, NoAnswerError) as error:
            _log.warning("whether all of replay %s is routed is not known yet: %s", self._replay.id, why_not_now(error))


class _Carried(NamedTuple):
    """A replay that this worker carries out, the thread that does, and what it takes over."""

    replay: Replay
    thread: Routing
    steps: Steps | None

    def end(self) -> None:
        self.thread.stop()
        if self.steps is not None:
            self.steps.close()


class Replays(threading.Thread):
    """Begins and ends the threads of replays as the control topic says."""

    def __init__(self, tools: Tools, reused: Callable[[Replay, Extent, Callable[[], bool]], Steps]) -> None:
        """``reused`` reads the steps that the runs of a replay take over, unless that is given up."""
        super().__init__(name="replays", daemon=True)
        self._sharing = 1
        self._tools = replace(tools, sharing=lambda: self._sharing)
        self._reused = reused
        self._carried: dict[str, _Carried] = {}
        self._retry_at: dict[str, float] = {}
        self._broken: dict[str, UserError] = {}
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
            for carried in self._carried.values():
                carried.end()

    def _look(self) -> None:
        routed = self._tools.values(ROUTED)
        replays = {name: msgspec.json.decode(raw, type=Replay) for name, raw in self._tools.values(REPLAY).items()}
        going = {name for name, one in replays.items() if one.state == ACTIVE and name not in routed}
        self._sharing = sum(not replays[name].per_second for name in going)
        for name, replay in replays.items():
            goes_on = name in going and replay.topic_id in self._tools.routes
            carried = self._carried.get(name)
            broken = self._broken.pop(name, None)
            if broken is not None:
                self._put_off(name, broken)
            if carried is not None and (not goes_on or carried.replay != replay or broken is not None):
                carried.end()
                del self._carried[name]
            if goes_on and name not in self._carried and monotonic() >= self._retry_at.get(name, 0.0):
                selected = selected_events(replay, self._tools.values)
                if not replay.chunks or selected is not None:
                    self._begin(replay, selected)

    def _begin(self, replay: Replay, selected: frozenset[tuple[int, int]] | None) -> None:
        tools = self._tools
        extent = Extent(replay.id, replay.topic, replay.spans, replay.function, selected, new_keys=replay.new_keys)
        steps = None
        if replay.reuse_steps:
            _log.info("replay %s reads from history which steps it reuses", replay.id)
            try:
                steps = self._reused(replay, extent, self._stopping.is_set)
            except UserError as error:
                self._put_off(replay.id, error)
                return
            extent = msgspec.structs.replace(extent, reused=steps)
        plan, route = ReplayPlan(replay, extent, tools), tools.routes[replay.topic_id].of_replay(replay.id)
        failed = partial(self._failed, replay.id)
        thread = Routing(*tools.connect(replay.id), route, plan, failed)
        self._carried[replay.id] = _Carried(replay, thread, steps)
        thread.start()

    def _put_off(self, name: str, error: UserError) -> None:
        _log.warning("replay %s waits, and is gone on with in %g s: %s", name, _RETRY_SECONDS, error)
        self._retry_at[name] = monotonic() + _RETRY_SECONDS

    def _failed(self, name: str, error: BaseException) -> None:
        """Note that the thread of a replay has ended: what is wrong with one replay, such as events that have expired, is no reason to route nothing live."""
        if isinstance(error, UserError):
            self._broken[name] = error
        else:
            self._tools.failed(error)


def selected_events(replay: Replay, values: Callable[[str], Mapping[str, bytes]]) -> frozenset[tuple[int, int]] | None:
    """Return the events that a replay is about, or None if it is about all, or they have not all been read yet."""
    chunks = values(f"{SELECTED}{replay.id}/")
    if not replay.chunks or len(chunks) < replay.chunks:
        return None
    places = (msgspec.json.decode(raw, type=Selected) for raw in chunks.values())
    return frozenset((number, offset) for one in places for number, some in one.items() for offset in some)
