"""Replays go by event time: what the exact cases of the properties leave out."""

from collections import Counter

import pytest

from stream_engine.core.functions.flow import ANY_TIME, Batch, Debounce, Flow, RateLimit, Timeouts
from stream_engine.core.functions.match import Matched, Wish, match
from stream_engine.core.gates.event_time import HOLD, PATIENCE
from stream_engine.core.identity import digest, home_partition, run_id
from stream_engine.core.partition.turn import Function
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Call, Caller, Cancel
from stream_engine.core.records.tables import ARRIVALS, BUFFERS, HELD
from stream_engine.core.routing.cause import CAUSE_HEADER, Cause, cause_header
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.route import Router
from tests.unit.core.network import Network

BEGAN = 1_700_000_000_000
NOW = BEGAN + 9 * 86_400_000
PARTITIONS = 2


class _App:
    def __init__(self, flow: Flow, timeouts: Timeouts = ANY_TIME) -> None:
        self.flow = flow
        self.network = Network(PARTITIONS, Function("f", ("1",), flow=flow, timeouts=timeouts))
        self.network.now = NOW
        self.offsets = 0

    def replay(self, at: int) -> None:
        """Have an event come again that was on the log at a time."""
        offset, self.offsets = self.offsets, self.offsets + 1
        event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", at, at, "t", 0, offset, b"{}")
        matched = match([Wish("f", None, self.flow, ())], event, PARTITIONS, "r1")
        self.network.give(
            home_partition(event.identity, PARTITIONS),
            Admit(event, [], "r1", tuple(matched.asked), tuple(matched.unfit)),
        )
        self.network.settle()

    def passes(self, milliseconds: int) -> None:
        """Let time pass on the clock."""
        until = self.network.now + milliseconds
        while (due := self.network.next_due()) is not None and due <= until:
            self.network.now = max(due, self.network.now)
            self.network.settle()
        self.network.now = until

    def started(self) -> list[int]:
        return [told.offset for told in self.network.told if isinstance(told, RunStarted)]

    def disposed(self) -> Counter[str]:
        """Count the dispositions, without those of events that are on their way to their gates."""
        told = [one for one in self.network.told if isinstance(one, EventDisposed) and one.run_id]
        return Counter(one.disposition for one in told)


@pytest.mark.parametrize("flow", [Flow(debounce=Debounce(1_000)), Flow(batch=Batch(9, 1_000))])
def test_what_is_left_at_the_end_goes_on_by_the_clock(flow: Flow) -> None:
    app = _App(flow)
    app.replay(BEGAN)
    app.passes(HOLD + PATIENCE - 1)
    assert app.started() == []
    app.passes(1)
    assert app.started() == [0]


def test_a_longer_period_is_waited_for_on_the_clock_too() -> None:
    """Somebody may have paused the replay, and what belongs together is not torn apart as long as it is not slower than life."""
    app = _App(Flow(debounce=Debounce(60_000)))
    app.replay(BEGAN)
    app.passes(HOLD + 59_000)
    app.replay(BEGAN + 59_000)
    app.passes(HOLD + 59_999)
    assert app.started() == []
    app.passes(1)
    assert app.started() == [1]


def test_what_is_late_is_coalesced_and_counts_as_if_it_came_just_then() -> None:
    app = _App(Flow(debounce=Debounce(1_000)))
    app.replay(BEGAN + 60_000)
    app.passes(HOLD)
    app.replay(BEGAN)
    app.passes(60_000)
    assert (app.started(), app.disposed()["coalesced"]) == ([0], 1)
    limited = _App(Flow(rate_limit=RateLimit(1, 10_000)))
    limited.replay(BEGAN + 60_000)
    limited.passes(HOLD)
    limited.replay(BEGAN)
    limited.passes(HOLD)
    assert (limited.started(), limited.disposed()) == ([0], Counter({"rate-limited": 1}))


def test_what_is_cancelled_while_it_is_held_is_taken_out_when_its_turn_comes() -> None:
    app = _App(Flow(debounce=Debounce(1_000)))
    app.replay(BEGAN)
    name = run_id(digest("shop", "f", "at:T/0/0", "r1"), home_partition("at:T/0/0", PARTITIONS))
    app.network.give(home_partition("at:T/0/0", PARTITIONS), Cancel(name, "ada", seek=True))
    app.network.settle()
    app.passes(60_000)
    assert (app.started(), app.disposed()) == ([], Counter({"cancelled": 1}))
    left = [key for store in app.network.stores() for key in store.data]
    assert not [key for key in left if key[:1] in (ARRIVALS.prefix, BUFFERS.prefix, HELD.prefix)]


def test_what_a_replayed_run_invokes_has_its_moment() -> None:
    app = _App(Flow(rate_limit=RateLimit(1, 10_000)))
    for number, moment in enumerate((BEGAN, BEGAN + 10_000, BEGAN + 19_999)):
        event = Event("f", f"invoked:{number}", str(number), NOW, NOW, "", 0, number, b"{}", None, "caller-0")
        caller = Caller("shop.commands", "caller-0", f"s{number}")
        app.network.give(0, Call("f", f"{number}-0", event, caller, "r1", moment))
    app.network.settle()
    app.passes(HOLD)
    assert (sorted(app.started()), app.disposed()) == ([0, 1], Counter({"rate-limited": 1}))


def test_that_a_replay_holds_runs_is_not_counted_as_waiting_for_their_start() -> None:
    app = _App(Flow(debounce=Debounce(1_000), rate_limit=RateLimit(1, 10_000)), Timeouts(start=2_000))
    app.replay(BEGAN)
    app.passes(120_000)
    assert (app.started(), app.disposed()["cancelled"]) == ([0], 0)


def _matches(event: Event, partitions: int, replay_id: str | None) -> Matched:
    return Matched(["f"], [], [])


@pytest.mark.parametrize(("replay", "sent_at"), [("r1", BEGAN), (None, 0)])
def test_what_a_replayed_run_sends_has_its_moment(replay: str | None, sent_at: int) -> None:
    header = cause_header(Cause("g", "t", 0, 7, replay, BEGAN))
    assert _routed(header) == (replay, sent_at)


@pytest.mark.parametrize("moment", ["-1", "18446744073709551615", '"now"'])
def test_a_header_that_makes_no_sense_says_nothing(moment: str) -> None:
    """Anybody may write headers."""
    value = f'{{"function":"g","topic":"t","partition":0,"offset":7,"replay":"r1","moment":{moment}}}'
    assert _routed((CAUSE_HEADER, value.encode())) == (None, 0)


def _routed(header: tuple[str, bytes]) -> tuple[str | None, int]:
    message = Message("t", "T", 0, 0, NOW, None, b'{"name": "e"}', (header,))
    [(_, raw)] = Router("T", 0, 0, 1).route([(message, receive(message, {}))], 1, _matches).commands
    [(_, admit)] = decode_commands(raw).items
    assert isinstance(admit, Admit)
    return admit.replay_id, admit.sent_at
