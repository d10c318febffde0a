"""Functions that are paused: what the router sorts out, what the leader tells, and what was missed in the end."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from stream_engine.core.failure import Failure
from stream_engine.core.functions.match import INVALID_CONDITION, Matched
from stream_engine.core.functions.pausing import Missed, Pause, PausedFunctions, hold_back
from stream_engine.core.identity import partition_of, run_id, run_name
from stream_engine.core.partition.turn import Execute
from stream_engine.core.records.decoding import decode_commands
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunStarted, StepRecorded
from stream_engine.core.records.journal import Gate
from stream_engine.core.records.requests import Admit, Asked, Unfit
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.replay import Extent, How, Left, Replay, left_out
from stream_engine.core.routing.route import Router
from tests.unit.core.network import Network
from tests.unit.core.test_invoking import CHECK, EVENT, ORDER, PARTITIONS, invoke, outcomes

_GATED = Asked("gated", (Gate("singleton", "1", "gated", "", 0),), 2, 9)
_KEYLESS, _UNSURE = Unfit("keyless", "invalid-key", "no id"), Unfit("unsure", INVALID_CONDITION, "no x")
_MATCHED = Matched(["f", "g"], [_GATED], [_KEYLESS, _UNSURE])


def test_only_what_is_paused_is_held_back_and_what_is_not_known_to_be_wanted_is_a_dead_letter() -> None:
    assert hold_back(_MATCHED, {"other"}) is _MATCHED
    held = hold_back(_MATCHED, {"g", "gated", "keyless", "unsure"})
    assert held == Matched(["f"], [], [_UNSURE], (Asked("g", ()), Asked("gated", (), 2), Asked("keyless", ())))
    assert Matched(["f", "g"], [_GATED], [_KEYLESS, _UNSURE]) == _MATCHED


def test_a_function_that_goes_on_is_not_paused() -> None:
    functions = PausedFunctions()
    functions.follow({"f": Pause(paused=True, at=1, since=1), "g": Pause(paused=False, at=2, since=1)})
    assert ("f" in functions, "g" in functions) == (True, False)


@pytest.mark.parametrize("extent", [None, Extent("r1", "events", {0: (0, 9)}, "f")], ids=["live", "replayed"])
def test_what_is_paused_alone_is_routed_and_the_first_arrival_decides(extent: Extent | None) -> None:
    message = Message("events", "E", 0, 0, 1_000, None, b'{"name": "a", "data": {}}')
    received = [(message, receive(message, {}))]
    [(_, raw)] = (
        Router("E", 0, 0, 1, extent).route(received, 1, lambda *_: hold_back(Matched(["f"], [], []), {"f"})).commands
    )
    [(_, later)] = Router("E", 0, 0, 1, extent).route(received, 1, lambda *_: Matched(["f"], [], [])).commands
    network = Network(1, ORDER)
    network.arrive(0, decode_commands(raw))
    network.arrive(0, decode_commands(later))
    network.settle()
    replay = None if extent is None else "r1"
    run = run_id(run_name("shop", "f", "at:E/0/0", replay), 0)
    [told] = network.told
    assert isinstance(told, EventDisposed)
    assert (told.disposition, told.function, told.run_id, told.replay_id, told.offset) == (
        "paused",
        "f",
        run,
        replay,
        0,
    )
    assert network.effects == []


def test_an_id_that_was_paused_is_no_duplicate_later() -> None:
    network = Network(1, ORDER)
    network.give(0, Admit(EVENT, [], paused=(Asked("order", ()),)), Admit(EVENT, ["order"]))
    network.settle()
    assert [type(record) for record in network.told] == [EventDisposed, RunStarted]


def test_a_call_of_a_function_that_is_paused_is_refused_with_the_reason() -> None:
    network = Network(PARTITIONS, ORDER, CHECK)
    network.give(0, Admit(EVENT, ["order"]))
    network.settle()
    [execute] = network.effects
    assert isinstance(execute, Execute)
    network.pause("check")
    network.post(0, invoke(execute.run_id, "call"))
    network.settle()
    [(step, status, message)] = outcomes(network)
    assert (step, status, message) == ("call", "failed", "the run of 'check' was paused")
    [ended] = [record for record in network.told if isinstance(record, StepRecorded) and record.status == "failed"]
    assert ended.error == Failure("InvokeError", "the run of 'check' was paused")
    [told] = [record for record in network.told if isinstance(record, EventDisposed)]
    assert (told.function, told.disposition, told.topic) == ("check", "paused", "")
    network.pause()
    network.post(0, invoke(execute.run_id, "again"))
    network.settle()
    [started] = [record for record in network.told if isinstance(record, RunStarted) and record.function == "check"]
    assert partition_of(started.run_id) in range(PARTITIONS)


def _disposed(at: int, offset: int, disposition: str, function: str = "f", topic: str = "t") -> EventDisposed:
    return EventDisposed(at, function, "a", "id", topic, 0, offset, disposition)


def _started(at: int, offset: int) -> HistoryRecord:
    return RunStarted(at, "r", "f", "1", at, "a", "id", "t", 0, offset, replay_id="r1")


def test_missed_is_what_was_paused_last_in_whatever_order_it_is_read() -> None:
    records: list[HistoryRecord] = [
        _disposed(10, 1, "paused"),
        _disposed(10, 2, "paused"),
        _started(20, 2),
        _started(5, 3),
        _disposed(10, 3, "paused"),
        _disposed(10, 4, "paused"),
        _disposed(20, 4, "skipped"),
        _disposed(10, 5, "paused", function="g"),
        _disposed(10, 6, "paused", topic=""),
        _disposed(10, 1, "paused", topic="u"),
        _started(20, 7),
        _disposed(10, 8, "paused"),
        replace(_disposed(20, 8, "paused"), replay_id="r2"),
    ]
    for order in (records, records[::-1]):
        missed = Missed("f")
        for record in order:
            missed.add(record)
        assert missed.places() == {("t", None): {(0, 1), (0, 3)}, ("u", None): {(0, 1)}, ("t", "r2"): {(0, 8)}}


def _replay(name: str, since: int, function: str = "f", topic: str = "t", **how: Any) -> Replay:
    return Replay(name, function, topic, "T", since, 9, {0: (0, 9)}, 9, 1, **how)


def test_what_a_replay_left_out_is_run_as_that_would_have_run_it() -> None:
    known = [
        _replay("reusing", 30, reuse_steps=True),
        _replay("as-well", 20, reuse_steps=True),
        _replay("slow", 80, new_keys=True, per_second=2),
        _replay("plain", 10),
        _replay("of-another", 10, function="g", reuse_steps=True),
        _replay("elsewhere", 10, topic="u", reuse_steps=True),
    ]
    missing = {
        ("t", None): {(0, 0)},
        ("t", "reusing"): {(0, 1)},
        ("t", "as-well"): {(0, 2)},
        ("t", "slow"): {(0, 3)},
        ("t", "plain"): {(0, 4)},
        ("t", "of-another"): {(0, 5)},
        ("t", "elsewhere"): {(0, 6)},
        ("t", "a rewind"): {(0, 7)},
        ("u", "elsewhere"): {(0, 8)},
    }
    assert left_out("f", missing, 50, {one.id: one for one in known}) == [
        Left("t", How(), 10, frozenset((0, n) for n in (0, 4, 5, 6, 7))),
        Left("t", How(reuse_steps=True), 20, frozenset({(0, 1), (0, 2)})),
        Left("t", How(per_second=2, new_keys=True), 50, frozenset({(0, 3)})),
        Left("u", How(reuse_steps=True), 10, frozenset({(0, 8)})),
    ]
