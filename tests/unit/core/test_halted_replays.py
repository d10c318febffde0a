"""What a paused or cancelled replay leaves of runs that wait, wherever that is."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from stream_engine.core.functions.flow import Timeouts
from stream_engine.core.partition.halted import Halted, Halts
from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Cancel, Entry, Pass
from stream_engine.core.records.tables import BUFFERS, CLAIMS, ENTRIES, GATES, PLACES, RUNS, WAITING
from stream_engine.core.stages.commands import FinishRun, Stopped
from tests.unit.core.network import Network

SLOT = Gate("concurrency", "slot", "pool", "", 0, 1)
RATE = Gate("rate limit", "rate", "f", "", 0, 1, 60_000)
BATCH = Gate("batch", "gathered", "f", "", 0, 100, 3_600_000, 1_000)
CANCELLED = "replay r was cancelled"


def app(*, places: int = 100, timeouts: Timeouts | None = None) -> Network:
    f = Function("f", ("1",), on_cancel="f:on_cancel", timeouts=timeouts or Timeouts())
    return Network(1, f, Function("f:on_cancel", ("1",)), places=places)


def come(network: Network, offset: int, *gates: Gate, ts: int = 0, replay: str | None = "r") -> None:
    event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", ts, 0, "t", 0, offset, b"{}")
    asked = (Asked("f", gates, 0),) if gates else ()
    network.give(0, Admit(event, [] if gates else ["f"], replay, asked))
    network.settle()


def began(network: Network, function: str = "f") -> list[int]:
    return [one.offset for one in network.told if isinstance(one, RunStarted) and one.function == function]


def cancelled(network: Network) -> dict[int, str]:
    told = [one for one in network.told if isinstance(one, EventDisposed) and one.disposition == "cancelled"]
    assert len({one.offset for one in told}) == len(told)
    return {one.offset: one.detail for one in told}


def end(network: Network) -> None:
    [run] = {one.run_id for one in network.effects if isinstance(one, Execute)}
    network.effects.clear()
    network.post(0, FinishRun(run, b"1"))
    network.settle()


def nothing_is_left(network: Network) -> None:
    [store] = network.stores()
    tables = (RUNS, ENTRIES, BUFFERS, GATES, CLAIMS, PLACES, WAITING)
    assert [key for key in store.data for table in tables if key.startswith(table.prefix)] == []


def test_a_run_that_is_held_goes_on_though_nobody_led_it_when_its_replay_was_resumed() -> None:
    network = app()
    network.halt("r")
    come(network, 1, SLOT)
    come(network, 2)
    assert began(network) == []
    network.halt()
    network.take_over(0)
    network.settle()
    assert sorted(began(network)) == [1, 2]


def test_a_run_that_is_held_is_in_nobody_s_way_and_finds_its_place_again() -> None:
    network = app()
    come(network, 1, SLOT, replay=None)
    come(network, 2, SLOT)
    network.now += 1
    come(network, 3, SLOT, replay=None)
    network.halt("r")
    end(network)
    assert began(network) == [1, 3]
    network.now += 1
    come(network, 4, SLOT)
    network.halt()
    end(network)
    end(network)
    assert began(network) == [1, 3, 2, 4]


def test_a_rate_limit_behind_a_gate_that_is_asked_anew_answers_the_question_that_is_asked() -> None:
    network = app()
    come(network, 1, SLOT, replay=None)
    come(network, 2, SLOT, RATE)
    come(network, 3, SLOT, RATE)
    network.halt("r")
    network.settle()
    network.halt()
    end(network)
    for _ in range(2):
        network.now += 60_000
        network.settle()
    assert began(network) == [1, 2]
    end(network)
    for _ in range(2):
        network.now += 60_000
        network.settle()
    refused = [one for one in network.told if isinstance(one, EventDisposed) and one.disposition == "rate-limited"]
    assert [one.offset for one in refused] == [3]


def test_one_that_waits_for_room_is_held_or_cancelled_too() -> None:
    network = app(places=1)
    come(network, 1, replay=None)
    come(network, 2)
    come(network, 3, replay="s")
    network.halt("r", cancelled=["s"])
    network.settle()
    end(network)
    assert began(network) == [1]
    assert cancelled(network) == {3: "replay s was cancelled"}
    network.halt(cancelled=["s"])
    network.settle()
    assert began(network) == [1, 2]


def test_one_that_was_held_while_it_waited_for_room_does_not_begin_at_its_old_place_there() -> None:
    network = app(places=1)
    come(network, 1, replay=None)
    come(network, 2, SLOT)
    network.halt("r")
    network.settle()
    come(network, 3, SLOT, replay=None)
    network.halt()
    network.settle()
    end(network)
    assert began(network) == [1, 3]


def test_of_very_many_none_begins_before_all_have_been_looked_at() -> None:
    network = app(places=1)
    come(network, 1, replay=None)
    for offset in range(2, 500):
        come(network, offset)
    network.halt("r")
    end(network)
    assert began(network) == [1]


def test_where_nothing_is_meant_nothing_is_written() -> None:
    network = app(places=1)
    for offset in range(1, 300):
        come(network, offset)
    records = len(network.sizes)
    network.halt("another", cancelled=["a third"])
    network.settle()
    assert len(network.sizes) == records
    assert network.waiting() == []


def test_what_is_gathered_waits_for_its_time_or_comes_late_is_cancelled_at_once() -> None:
    network = app()
    for offset in (1, 2):
        come(network, offset, BATCH)
    network.now += 3_000
    network.settle()
    come(network, 3, BATCH)
    come(network, 4, SLOT, ts=network.now + 3_600_000)
    come(network, 5, ts=network.now + 3_600_000)
    assert cancelled(network) == {}
    network.halt(cancelled=["r"])
    network.settle()
    # The third is held before the batch, so that all come in order.
    assert cancelled(network) == dict.fromkeys((1, 2, 4, 5), CANCELLED)
    network.now += 3_000
    network.settle()
    come(network, 6, SLOT)
    come(network, 7)
    assert cancelled(network) == dict.fromkeys(range(1, 8), CANCELLED)
    assert began(network) == []
    nothing_is_left(network)


@pytest.mark.parametrize("gate", [BATCH, replace(BATCH, kind="debounce")], ids=lambda gate: gate.kind)
def test_what_is_gathered_comes_to_nothing_where_its_home_has_not_heard_of_the_cancel(gate: Gate) -> None:
    network = Network(2, Function("f", ("1",)), slow=True)
    for offset in (1, 2):
        event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", 0, 0, "t", 0, offset, b"{}")
        network.give(0, Admit(event, [], "r", (Asked("f", (gate,), 1),)))
        network.settle()
    network.now += 3_000
    network.settle()
    network.halt(cancelled=["r"])
    network.decide(0)
    network.halt()
    network.settle()
    assert began(network) == []
    assert set(cancelled(network).values()) == {CANCELLED}


def test_no_handler_is_called_for_what_never_began_but_for_what_has() -> None:
    network = app()
    come(network, 1, SLOT)
    come(network, 2, SLOT)
    network.halt(cancelled=["r"])
    network.settle()
    assert began(network, "f:on_cancel") == []
    [run] = {one.run_id for one in network.effects if isinstance(one, Execute)}
    network.give(0, Cancel(run, "ada"))
    network.settle()
    network.post(0, Stopped(run))
    network.settle()
    assert began(network, "f:on_cancel") == [1]


def test_what_an_operator_has_run_again_of_a_cancelled_replay_begins() -> None:
    network = app()
    network.halt(cancelled=["r"])
    event = Event("e", "at:T/0/1", "t/0/1", 0, 0, "t", 0, 1, b"{}")
    network.give(0, Pass(Entry("again-0", "f", "root", 1, 1, (SLOT,), event, "r", rerun_of="first-0")))
    network.settle()
    assert began(network) == [1]


def test_how_long_a_run_may_wait_for_its_start_is_counted_anew_when_its_replay_goes_on() -> None:
    network = app(timeouts=Timeouts(start=1_000))
    come(network, 1, SLOT, replay=None)
    come(network, 2, SLOT)
    network.halt("r")
    network.settle()
    network.now += 5_000
    network.settle()
    network.halt()
    network.settle()
    network.now += 999
    network.settle()
    assert [one for one in network.told if isinstance(one, RunEnded)] == []
    network.now += 1
    network.settle()
    [ended] = [one for one in network.told if isinstance(one, RunEnded)]
    assert ended.status == "timed_out"


class _Replaced(Halted):
    """What another thread replaces between two looks: replay r is paused from the ``first`` look on, and as it is ``finally`` from the ``last``."""

    __slots__ = ("_finally", "_looks", "_pause")

    def __init__(self) -> None:
        self._finally = Halts()
        self._looks = 0
        self._pause = range(0)

    @property
    def now(self) -> Halts:  # type: ignore[override]  # read as the attribute is
        self._looks += 1
        return Halts(frozenset("r")) if self._looks in self._pause else self._finally_or_nothing()

    def replace(self, first: int, last: int, finally_: Halts) -> None:
        self._looks, self._pause, self._finally = 0, range(first, last), finally_

    def _finally_or_nothing(self) -> Halts:
        return Halts() if self._looks < self._pause.start else self._finally


def _arrives(network: Network) -> None:
    come(network, 1)


def _is_let_pass(network: Network) -> None:
    come(network, 1, SLOT)


def _is_let_in(network: Network) -> None:
    come(network, 2, replay=None)
    come(network, 1)
    end(network)


@pytest.mark.parametrize("happens", [_arrives, _is_let_pass, _is_let_in])
@pytest.mark.parametrize("in_the_end", [Halts(), Halts(cancelled=frozenset("r"))], ids=["resumed", "cancelled"])
def test_a_replay_that_is_halted_or_resumed_in_the_midst_of_a_decision_loses_no_run(
    happens: Callable[[Network], None], in_the_end: Halts
) -> None:
    """However many times it has been looked at by then: each decision goes by one answer."""
    for first in range(1, 24):
        for last in range(first, 24):
            halted = _Replaced()
            f = Function("f", ("1",))
            network = Network(1, f, places=1, halted=halted)
            halted.replace(first, last, in_the_end)
            happens(network)
            for _ in range(30):
                network.settle()
            ended = began(network).count(1) + (1 in cancelled(network))
            assert ended == 1, (first, last)
            if 1 in began(network):
                end(network)
            nothing_is_left(network)
