"""What the routing thread does for those who wait for events: its lanes offer what they route, and have scanned what they had routed before."""

import threading
from collections.abc import Mapping
from functools import partial
from queue import SimpleQueue

from stream_engine.core.offering import LaneOffers, Scan
from stream_engine.shell.backfill import Backfill
from stream_engine.shell.control import ControlFollower


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
        for partition, position in positions.items():
            lane = self._lanes[partition]
            if lane.interests is not interests:
                self._submit(lane, lane.learn(interests, position))

    def _submit(self, lane: LaneOffers, scan: Scan | None) -> None:
        if scan is not None:
            partition = scan.partition
            wanted = partial(self._is_mine, partition, lane)
            self._backfill.submit(scan, wanted, lambda: self._scanned.put((lane, scan)))

    def _is_mine(self, partition: int, lane: LaneOffers) -> bool:
        return self._lanes.get(partition) is lane
