"""When a routing thread's lanes take what they are asked for: together, and before they route anything."""

from collections.abc import Callable
from typing import cast

import pytest

from stream_engine.core.routing.offering import Scan
from stream_engine.core.waits.interests import Interests, Request, interest_of
from stream_engine.shell.control import ControlFollower
from stream_engine.shell.routing import offers
from stream_engine.shell.routing.backfill import Backfill
from stream_engine.shell.routing.offers import Offers

PAID = interest_of("paid", "data.x")


class _Control:
    """What has been asked for, by so many partitions."""

    def __init__(self) -> None:
        self.interests = Interests({})

    def ask(self, count: int) -> None:
        request = Request("paid", "data.x", 0, 60_000, 1_000)
        self.interests = Interests({(PAID, number): (number, request) for number in range(count)})


class _Lanes:
    """The lanes of a worker, whose clock is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.control = _Control()
        self.scans: list[Scan] = []
        self._dones: list[Callable[[], None]] = []
        monkeypatch.setattr(offers, "monotonic", lambda: self.now)
        self.offers = Offers("shop.events", cast("ControlFollower", self.control), cast("Backfill", self))
        self.lanes = {0: self.offers.lane(0, 0), 1: self.offers.lane(1, 0)}

    def submit(self, scan: Scan, wanted: Callable[[], bool], done: Callable[[], None]) -> None:
        assert wanted()
        self.scans.append(scan)
        self._dones.append(done)

    def perform(self) -> None:
        dones, self._dones = self._dones, []
        for done in dones:
            done()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.offers.look({0: 7, 1: 9})


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> _Lanes:
    found = _Lanes(monkeypatch)
    found.pass_time(1)
    return found


def test_what_partitions_ask_for_one_after_another_is_scanned_at_once(lanes: _Lanes) -> None:
    for count in range(1, 5):
        lanes.control.ask(count)
        lanes.pass_time(0.05)
    assert lanes.scans == []
    lanes.pass_time(0.1)
    assert [(scan.partition, scan.stop, len(scan.asking.requests)) for scan in lanes.scans] == [(0, 7, 4), (1, 9, 4)]
    lanes.perform()
    lanes.pass_time(1)
    assert len(lanes.scans) == 2


def test_who_asked_first_does_not_wait_for_others_for_long(lanes: _Lanes) -> None:
    for count in range(1, 9):
        lanes.control.ask(count)
        lanes.pass_time(0.07)
    assert [len(scan.asking.requests) for scan in lanes.scans] == [8, 8]


def test_a_lane_that_has_just_been_assigned_offers_at_once(lanes: _Lanes) -> None:
    lanes.control.ask(1)
    lanes.offers.drop(1)
    lane = lanes.offers.lane(1, 0)
    lanes.pass_time(0.0)
    assert lane.interests is lanes.control.interests
    assert lanes.lanes[0].interests is not lanes.control.interests
    assert [scan.partition for scan in lanes.scans] == [1]
