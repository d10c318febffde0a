"""How long waits go on, how far back they look, and what lanes are asked for because of that."""

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_engine.core.identity import home_partition
from stream_engine.core.instants import LAST_MS
from stream_engine.core.partition.dismissed import Dismissed
from stream_engine.core.partition.places import Places
from stream_engine.core.partition.state import State
from stream_engine.core.partition.timers import Timers
from stream_engine.core.partition.turn import Function, Turn
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.history import StepRecorded
from stream_engine.core.records.requests import Entry, Pass
from stream_engine.core.records.wait_tables import HELD_BACK, INTERESTS, OFFERED, OVERDUE, WAITERS
from stream_engine.core.records.wanted import Behind, CaughtUp, Offer, Offering, Wanted
from stream_engine.core.stages.commands import WaitForEvent
from stream_engine.core.waits.coverage import Coverage
from stream_engine.core.waits.interests import interest_of, slot
from tests.unit.core.network import Network
from tests.unit.core.partition import RULES
from tests.unit.core.waiting import (
    DAY,
    LANES,
    MINUTE,
    PAID,
    TRIGGER,
    answers,
    begin,
    caught_up,
    covered,
    network,
    offer,
    paid,
    wait,
)


def test_after_the_timeout_there_is_no_answer_and_no_wait() -> None:
    app = network()
    wait(app, begin(app), timeout=500)
    covered(app)
    app.now += 500
    app.settle()
    caught_up(app)
    assert answers(app) == {"paid": None}
    assert not list(app.stores()[0].scan(WAITERS.prefix, WAITERS.stop))
    assert not list(app.stores()[0].scan(OVERDUE.prefix, OVERDUE.stop))
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    assert answers(app) == {"paid": None}


def test_an_event_that_came_in_time_is_the_answer_although_the_lanes_offer_it_late() -> None:
    app = network()
    wait(app, begin(app), timeout=500)
    app.now += 500
    app.settle()
    assert answers(app) == {}
    [waiting, overdue] = [told for told in app.told if isinstance(told, StepRecorded)]
    assert (waiting.error, overdue.error and overdue.error.type) == (None, "EventsNotReadYet")
    app.give(0, offer(paid(8, 1_501)), offer(paid(7, 1_500)))
    covered(app)
    assert answers(app) == {"paid": 7}


def test_an_event_that_came_in_time_is_the_answer_although_its_partition_takes_it_late() -> None:
    app = network()
    wait(app, begin(app), timeout=500)
    covered(app)
    # Its leader is away: events come, and the wait's time runs out.
    app.give(0, offer(paid(7, 1_400)))
    app.now += 900
    app.take_over(0)
    app.settle()
    assert answers(app) == {"paid": 7}


def test_an_event_that_came_in_time_is_the_answer_although_it_is_routed_behind_the_end() -> None:
    app = network()
    wait(app, begin(app), timeout=500)
    covered(app)
    app.now += 500
    app.settle()
    assert (answers(app), app.asking) == ({}, {0})
    # The time was taken before the logs' ends, and is that of the deadline itself: what comes in it may be behind them.
    app.asking.clear()
    app.give(0, CaughtUp(1_500))
    app.settle()
    assert (answers(app), app.asking) == ({}, {0})
    app.give(0, offer(paid(8, 1_501)), offer(paid(7, 1_500)))
    app.settle()
    assert answers(app) == {"paid": 7}
    assert not list(app.stores()[0].scan(OVERDUE.prefix, OVERDUE.stop))


def test_whoever_takes_over_asks_for_waits_that_have_come_to_their_ends() -> None:
    app = network()
    run = begin(app)
    wait(app, run, timeout=500)
    covered(app)
    app.take_over(0)
    assert app.asking == set()
    app.now += 500
    app.settle()
    app.asking.clear()
    app.take_over(0)
    assert app.asking == {0}
    caught_up(app)
    assert answers(app) == {"paid": None}


def test_waits_that_go_on_because_lanes_are_behind_say_so_once() -> None:
    app = network()
    run = begin(app)
    many = 450
    for number in range(many):
        app.post(0, WaitForEvent(run, f"s{number}", PAID, 500, DAY))
    wait(app, run, "later", timeout=501)
    covered(app)
    app.now += 501
    app.settle()
    app.give(0, Behind(1_501))
    app.settle()
    told = [one.step_id for one in app.told if isinstance(one, StepRecorded) and one.error is not None]
    assert sorted(told) == sorted(f"s{number}" for number in range(many))
    caught_up(app)
    assert len(answers(app)) == many + 1


def test_a_wait_that_was_in_vain_ends_as_soon_as_the_lanes_have_offered_what_they_had() -> None:
    app = network()
    wait(app, begin(app), timeout=500)
    app.now += 500
    app.give(0, offer(paid(8, 1_501)))
    app.settle()
    app.take_over(0)
    app.settle()
    covered(app, PAID, 0)
    assert answers(app) == {}
    covered(app, PAID, 1)
    assert answers(app) == {}
    caught_up(app)
    assert answers(app) == {"paid": None}
    assert not list(app.stores()[0].scan(WAITERS.prefix, WAITERS.stop))
    assert not list(app.stores()[0].scan(HELD_BACK.prefix, HELD_BACK.stop))


def test_a_wait_whose_time_is_over_ends_although_its_answer_was_an_event_that_the_run_has_had() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "first", timeout=500)
    wait(app, run, "second", Wanted("paid"), timeout=500)
    app.now += 500
    app.settle()
    for wanted in (PAID, Wanted("paid")):
        app.give(0, Offer(paid(7, 1_005), slot(wanted), DAY))
    covered(app)
    covered(app, Wanted("paid"))
    caught_up(app)
    assert answers(app) == {"first": 7, "second": None}


def test_what_comes_after_the_time_is_over_is_no_answer_although_the_last_call_has_yet_to_come() -> None:
    """The run had no leader meanwhile, and its timer comes due later."""
    app = network()
    run = begin(app)
    wait(app, run, timeout=500)
    covered(app)
    app.give(0, Offer(paid(7, app.now + 501), slot(PAID), DAY))
    app.settle()
    assert answers(app) == {}
    app.now += 500
    app.settle()
    caught_up(app)
    assert answers(app) == {"paid": None}


def test_who_looks_back_no_further_than_events_are_kept_has_nothing_scanned() -> None:
    app = network()
    run = begin(app)
    wait(app, run, "first", lookback=MINUTE)
    covered(app, keep=MINUTE)
    for step in ("second", "third"):
        app.now += 10 * MINUTE
        app.settle()
        app.give(0, Offer(paid(app.now, app.now - MINUTE // 2), slot(PAID), MINUTE))
        app.settle()
        wait(app, run, step, lookback=MINUTE)
    assert len(app.produced) == 1
    assert list(answers(app)) == ["first", "second"]


def test_what_is_not_kept_for_as_long_as_a_scan_takes_is_scanned_again_and_kept_longer() -> None:
    app = network()
    run = begin(app, "r1")
    wait(app, run, lookback=MINUTE)
    asked_at = app.now
    app.give(0, Offer(paid(7, 1_005), slot(PAID), MINUTE))
    app.now += 5 * MINUTE
    app.settle()
    covered(app, keep=MINUTE, asked_at=asked_at)
    assert answers(app) == {}
    again = msgspec.json.decode(app.produced[-1].value or b"")
    assert len(app.produced) == 2
    assert again["keep"] >= 10 * MINUTE
    app.give(0, Offer(paid(7, 1_005), slot(PAID), again["keep"]))
    app.now += 5 * MINUTE
    app.settle()
    covered(app, keep=again["keep"], asked_at=again["at"])
    assert answers(app) == {"paid": 7}


def test_coverage_ends_with_what_was_kept_and_is_asked_for_again() -> None:
    app = network()
    run = begin(app, "r1")
    wait(app, run, "first")
    covered(app)
    assert len(app.produced) == 1
    app.now += 2 * DAY
    app.settle()
    wait(app, run, "second")
    assert len(app.produced) == 2
    app.give(0, offer(paid(7, 1_005)))
    app.settle()
    assert "second" not in answers(app)
    covered(app)
    assert answers(app) == {"first": 7}
    app.give(0, offer(paid(8, 1_006)))
    app.settle()
    assert answers(app) == {"first": 7, "second": 8}


def test_an_event_that_comes_in_time_is_for_the_wait_that_was_first_although_the_run_hears_of_it_late() -> None:
    app = Network(2, Function("f", ("1",)), slow=True)
    home = 1 - home_partition(slot(PAID), 2)
    run = f"{'a' * 24}-{home}"
    app.give(home, Pass(Entry(run, "f", "f00d", 1_000, 1_000, (), TRIGGER)))
    app.settle()
    app.post(home, WaitForEvent(run, "brief", PAID, 5, DAY))
    app.post(home, WaitForEvent(run, "long", PAID, None, DAY))
    app.settle()
    for lane in (0, 1):
        app.give(1 - home, Offering(interest_of("paid", "data.x"), "shop.events", lane, LANES, 0, DAY, app.now))
    app.settle()
    app.give(1 - home, offer(paid(8, 1_001)))
    app.decide(1 - home)
    app.now += 5
    app.decide(home)
    app.settle()
    assert answers(app) == {"brief": 8}
    app.give(1 - home, offer(paid(9, 1_006)))
    app.settle()
    assert answers(app) == {"brief": 8, "long": 9}


class _Lane:
    """A lane that hears of a request whenever it looks, and keeps count of what it has to scan for that."""

    def __init__(self, app: Network, number: int) -> None:
        self.app = app
        self.number = number
        self.routed: list[int] = []
        self.scanned = 0
        self.keep = 0
        self._asked = 0

    def route(self) -> None:
        """Route an event that has come just now."""
        self.routed.append(self.app.now)
        if self.keep:
            self._offer(self.app.now)

    def look(self) -> None:
        """Hear of the newest request, scan what it is about, and say so."""
        asked = [one for one in self.app.produced if one.value is not None]
        if len(asked) > self._asked:
            self._asked = len(asked)
            request = msgspec.json.decode(asked[-1].value or b"")
            self.keep = request["keep"]
            for at in self.routed:
                if at >= request["since"]:
                    self.scanned += 1
                    self._offer(at)
            about = interest_of("paid", "data.x"), "shop.events", self.number, LANES
            self.app.give(0, Offering(*about, request["since"], request["keep"], request["at"]))
        self.app.settle()

    def _offer(self, at: int) -> None:
        self.app.give(0, Offer(paid(at, at, self.number), slot(PAID), self.keep))


def _offered(app: Network) -> list[int]:
    """Return when the events came that are kept, in their order."""
    return [OFFERED.decode(raw).event.timestamp for _, raw in app.stores()[0].scan(OFFERED.prefix, OFFERED.stop)]


def _pass(app: Network, lanes: list[_Lane], until: int, every: int) -> None:
    while app.now < until:
        app.now += every
        app.settle()
        for lane in lanes:
            lane.look()
            lane.route()
        app.settle()


def test_events_are_kept_for_as_long_as_anybody_looks_back_and_not_for_as_long_as_anybody_once_did() -> None:
    app = network()
    run = begin(app)
    lanes = [_Lane(app, 0), _Lane(app, 1)]
    wait(app, run, "long", Wanted("paid", "data.x", "2"), lookback=7 * DAY)
    for day in range(12):
        for lane in lanes:
            lane.look()
        wait(app, run, f"short {day}", Wanted("paid", "data.x", "2"), lookback=10 * MINUTE)
        _pass(app, lanes, app.now + DAY, 20 * MINUTE)
    # The long wait was a first use; shrinking has nothing scanned, and neither have the short waits.
    assert len(app.produced) == 2
    assert [lane.scanned for lane in lanes] == [0, 0]
    assert min(_offered(app)) > app.now - 20 * MINUTE


def test_a_lookback_that_is_used_every_day_is_not_asked_for_again() -> None:
    app = network()
    run = begin(app)
    lanes = [_Lane(app, 0), _Lane(app, 1)]
    for day in range(9):
        for step, back in (("long", 7 * DAY), ("short", 10 * MINUTE)):
            wait(app, run, f"{step} {day}", Wanted("paid", "data.x", "2"), lookback=back)
        for lane in lanes:
            lane.look()
        _pass(app, lanes, app.now + DAY - 50 * MINUTE, 20 * MINUTE)
    assert len(app.produced) == 1
    assert min(_offered(app)) < app.now - 7 * DAY + 60 * MINUTE


def test_an_interest_that_nobody_uses_is_given_up_however_far_somebody_looked_back() -> None:
    app = network()
    run = begin(app)
    wait(app, run, lookback=30 * DAY, timeout=MINUTE)
    covered(app, keep=30 * DAY)
    for _ in range(3):
        app.now += DAY
        app.settle()
        caught_up(app)
    assert [one.value is None for one in app.produced] == [False, True]
    assert not list(app.stores()[0].scan(INTERESTS.prefix, INTERESTS.stop))


_HOUR = 60 * MINUTE
_STEPS = st.tuples(st.sampled_from(["wait", "look", "look at 1", "time", "days"]), st.sampled_from([1, 7, 10, 26]))


@settings(max_examples=20)
@given(st.lists(_STEPS, max_size=12))
@example([("wait", 10), ("look", 1), ("days", 7), ("look", 1), ("time", 7), ("time", 1)])
def test_whoever_is_answered_had_all_events_that_came_since(steps: list[tuple[str, int]]) -> None:
    """Waits look back as far as they like, time passes, and lanes hear of it sooner or later: what is said to be here is here."""
    app = network()
    run = begin(app, "r1")
    lanes = [_Lane(app, 0), _Lane(app, 1)]
    for number, (what, hours) in enumerate(steps):
        if what == "wait":
            wait(app, run, str(number), Wanted("paid", "data.x", "2"), lookback=hours * _HOUR)
        elif what == "days":
            for day in range(3):
                wait(app, run, f"{number}/{day}", Wanted("paid", "data.x", "2"), lookback=hours * _HOUR)
                _pass(app, lanes, app.now + DAY, 2 * _HOUR)
        elif what == "time":
            for _ in range(hours):
                app.now += _HOUR + number
                app.settle()
                for lane in lanes:
                    lane.route()
        else:
            for lane in lanes[what == "look at 1" :]:
                lane.look()
        app.settle()
        reach = _reach(app)
        assert {at for lane in lanes for at in lane.routed if at >= reach} <= set(_offered(app))


def _reach(app: Network) -> int:
    """Return since when the partition takes events to be here."""
    state = State(app.stores()[0])
    turn = Turn(state, Timers(state), Waiting(state), Dismissed(state), Places(state), {}, RULES, app.now)
    coverage = Coverage.of(turn, interest_of("paid", "data.x"))
    return LAST_MS if coverage is None else coverage.reach
