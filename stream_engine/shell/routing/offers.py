"""What the routing thread does for those who wait for events: its lanes offer what they route, and have scanned what they had routed before.

Each partition where runs begin to wait asks by itself, within some milliseconds of the others. So what is asked for is taken once nothing more has come for a moment: one
scan is for all of them.
"""

import threading
from collections.abc import Mapping
from functools import partial
from queue import SimpleQueue
from typing import Final

from stream_engine.core.routing.offering import LaneOffers, Scan
from stream_engine.core.waits.interests import NO_INTERESTS, Interests
from stream_engine.shell.clock import monotonic
from stream_engine.shell.control import ControlFollower
from stream_engine.shell.routing.backfill import Backfill

_QUIET_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 0.5
"""How long nothing more is to be asked for before it is taken, and how long that is waited for at most."""


class Offers:
    """The lanes of a worker, as far as they offer events; for the routing thread."""

    def __init__(self, topic: str, control: ControlFollower, backfill: Backfill) -> None:
        """Begin without lanes; ``topic`` is where the events are."""
        self._topic = topic
        self._control = control
        self._backfill = backfill
        self._lanes: dict[int, LaneOffers] = {}
        self._read = 0
        self._scanned: SimpleQueue[tuple[LaneOffers, Scan]] = SimpleQueue()
        self._heard: Interests | None = None
        self._quiet_at = 0.0
        self._take_by: float | None = None

    def begin(self) -> None:
        """Be ready to scan."""
        self._backfill.start()

    def end(self) -> None:
        """Scan no more; whoever has the lanes next begins again what was not done."""
        self._backfill.stop()

    def catch_up(self, given_up: threading.Event) -> None:
        """Wait until all requests are known that are there now: a lane that is assigned is not to route without them."""
        self._read = self._control.catch_up(given_up)

    def lane(self, partition: int, done: int) -> LaneOffers:
        """Return the lane of a partition, which was committed with this offset of the control topic."""
        lane = self._lanes.get(partition)
        if lane is None:
            # An offset that is not there yet is of a control topic before this one.
            lane = self._lanes[partition] = LaneOffers(self._topic, partition, done if done <= self._read else 0)
        return lane

    def drop(self, partition: int) -> None:
        """Give up the lane of a partition."""
        self._lanes.pop(partition, None)

    def look(self, positions: Mapping[int, int]) -> None:
        """Take what has been scanned, and what is newly asked for; ``positions`` has the offset that each lane routes next."""
        while not self._scanned.empty():
            lane, scan = self._scanned.get()
            self._submit(lane, lane.finished(scan))
        interests = self._control.interests
        is_quiet = self._is_quiet(interests)
        for partition, position in positions.items():
            lane = self._lanes[partition]
            # A lane that has just been assigned is to offer what was asked for before it routes anything.
            if lane.interests is not interests and (is_quiet or lane.interests is NO_INTERESTS):
                self._submit(lane, lane.learn(interests, position))

    def _is_quiet(self, interests: Interests) -> bool:
        """Return whether nothing more has been asked for a moment, or has been for long enough."""
        now = monotonic()
        if interests is not self._heard:
            self._heard, self._quiet_at = interests, now + _QUIET_SECONDS
            self._take_by = now + _LONGEST_SECONDS if self._take_by is None else self._take_by
        if self._take_by is not None and now >= min(self._quiet_at, self._take_by):
            self._take_by = None
        return self._take_by is None

    def _submit(self, lane: LaneOffers, scan: Scan | None) -> None:
        if scan is not None:
            partition = scan.partition
            wanted = partial(self._is_mine, partition, lane)
            self._backfill.submit(scan, wanted, lambda: self._scanned.put((lane, scan)))

    def _is_mine(self, partition: int, lane: LaneOffers) -> bool:
        return self._lanes.get(partition) is lane
