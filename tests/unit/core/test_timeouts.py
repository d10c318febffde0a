"""A run times out at its time, whatever it does then, and whoever leads its partition."""

import pytest

from stream_engine.core.failure import Failure
from stream_engine.core.functions.flow import Batch, Debounce, Flow, Throttle, Timeouts
from stream_engine.core.functions.match import Wish, match
from stream_engine.core.identity import run_id, run_name
from stream_engine.core.partition.turn import Function, Stop
from stream_engine.core.records.history import EventDisposed, RunChanged, RunEnded, RunStarted, StepRecorded
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Cancel
from stream_engine.core.stages.commands import FailStep, FinishRun, Interrupted, RecordStep, Sleep, Stopped, Suspend
from tests.unit.core.network import Network

PAY = Function("pay", ("1",), "sorry", on_cancel="undo", timeouts=Timeouts(start=500, finish=2_000))
SORRY, UNDO = Function("sorry", ("1",)), Function("undo", ("1",))
GATE = Gate("concurrency", "6a82", "pay", "", 0, limit=1)


def admit(offset: int, ts: int = 0) -> Admit:
    event = Event("order", f"id:{offset}", str(offset), ts, ts, "shop.events", 0, offset, b"{}")
    return Admit(event, [], None, (Asked("pay", (GATE,), 0),))


def run_of(offset: int) -> str:
    return run_id(run_name("shop", "pay", f"id:{offset}", None), 0)


def begun(offset: int = 7) -> Network:
    """A run that began at 1,000."""
    network = Network(1, PAY, SORRY, UNDO)
    network.give(0, admit(offset))
    network.settle()
    return network


def at(network: Network, now: int) -> None:
    network.now = now
    network.settle()


def ends(network: Network) -> list[tuple[str, str, int]]:
    return [(record.run_id, record.status, record.at) for record in network.told if isinstance(record, RunEnded)]


def handlers(network: Network) -> list[str]:
    started = [record.function for record in network.told if isinstance(record, RunStarted)]
    return [function for function in started if function != "pay"]


@pytest.mark.parametrize("takeover", [False, True])
def test_a_step_in_flight_is_stopped_first(*, takeover: bool) -> None:
    network = begun()
    if takeover:
        network.take_over(0)
        network.settle()
    at(network, 2_999)
    assert not any(isinstance(effect, Stop) for effect in network.effects)
    at(network, 3_000)
    assert [effect.run_id for effect in network.effects if isinstance(effect, Stop)] == [run_of(7)]
    network.now = 3_400
    network.give(0, Cancel(run_of(7), "ada"))
    network.post(0, FinishRun(run_of(7), b"1"))
    network.post(0, Stopped(run_of(7)))
    network.settle()
    [ended] = [record for record in network.told if isinstance(record, RunEnded)]
    assert (ended.status, ended.at, ended.detail) == ("timed_out", 3_400, "it took longer than 2 s")
    assert ended.error is not None
    assert (ended.error.type, handlers(network)) == ("TimeoutError", ["sorry"])


def test_history_has_the_steps_in_flight_and_those_whose_results_come_too_late() -> None:
    network = begun()
    network.post(0, RecordStep(run_of(7), "load", 0, 1_000, b"1"))
    at(network, 2_000)
    at(network, 3_000)
    network.now = 3_400
    network.post(0, RecordStep(run_of(7), "late", 0, 2_000, b"1"))
    network.post(0, FailStep(run_of(7), "failing", 1, 2_100, Failure("E", "e"), 500))
    network.post(0, Interrupted(run_of(7), (("load", 0, 1_000), ("charge", 2, 2_500))))
    network.post(0, Stopped(run_of(7)))
    network.settle()
    told = [record for record in network.told if isinstance(record, StepRecorded)]
    assert [(step.step_id, step.status, step.attempt, step.started_at, step.at) for step in told] == [
        ("load", "completed", 0, 1_000, 2_000),
        ("late", "interrupted", 0, 2_000, 3_400),
        ("failing", "interrupted", 1, 2_100, 3_400),
        ("charge", "interrupted", 2, 2_500, 3_400),
    ]
    assert [(step.result, step.error) for step in told[1:]] == [(None, None), (None, Failure("E", "e")), (None, None)]
    assert ends(network) == [(run_of(7), "timed_out", 3_400)]
    [stopping] = [record for record in network.told if isinstance(record, RunChanged)]
    assert (stopping.change, stopping.detail) == ("stopping", "it took longer than 2 s")


def test_a_run_that_sleeps_ends_at_once() -> None:
    network = begun()
    network.post(0, Sleep(run_of(7), "nap", 60_000))
    network.post(0, Suspend(run_of(7), 0))
    at(network, 1_100)
    at(network, 3_000)
    at(network, 100_000)
    assert ends(network) == [(run_of(7), "timed_out", 3_000)]


@pytest.mark.parametrize(("ts", "end"), [(0, 1_500), (1_300, 1_800)])
def test_a_run_that_waits_at_a_gate_waits_no_longer(ts: int, end: int) -> None:
    network = begun()
    network.give(0, admit(8, ts))
    at(network, 1_000)
    at(network, max(ts, 1_000))
    at(network, end - 1)
    assert ends(network) == []
    at(network, end)
    assert ends(network) == [(run_of(8), "timed_out", end)]
    [disposed] = [
        record for record in network.told if isinstance(record, EventDisposed) and record.disposition == "cancelled"
    ]
    assert (disposed.run_id, disposed.detail[:20]) == (run_of(8), "it did not begin wit")
    assert handlers(network) == ["sorry"]


@pytest.mark.parametrize("option", [Debounce(5_000, "event.data.k"), Batch(10, 5_000, "event.data.k")])
def test_what_was_gathered_for_longer_than_a_run_may_wait_begins_wherever_its_gates_are(
    option: Debounce | Batch,
) -> None:
    of = {"debounce": option} if isinstance(option, Debounce) else {"batch": option}
    flow = Flow(throttle=Throttle(1, 10_000), **of)
    network = Network(3, Function("pay", ("1",), flow=flow, timeouts=Timeouts(start=500)))
    for offset, key in enumerate(range(6)):
        event = Event("order", f"id:{offset}", str(offset), 0, 0, "shop.events", 0, offset, b'{"k":%d}' % key)
        network.give(
            offset % 3, Admit(event, [], None, tuple(match([Wish("pay", None, flow, ())], event, 3, None).asked))
        )
    network.settle()
    at(network, 6_000)
    assert sum(isinstance(record, RunStarted) for record in network.told) == 1
    at(network, 6_499)
    assert ends(network) == []
    at(network, 6_500)
    assert [(status, ended) for _, status, ended in ends(network)] == [("timed_out", 6_500)] * 5


def test_a_run_that_began_in_time_does_not_time_out_for_its_start() -> None:
    network = begun()
    network.give(0, admit(8))
    at(network, 1_400)
    network.post(0, FinishRun(run_of(7), b"1"))
    at(network, 1_400)
    at(network, 3_399)
    assert ends(network) == [(run_of(7), "completed", 1_400)]
    at(network, 3_400)
    assert [effect.run_id for effect in network.effects if isinstance(effect, Stop)] == [run_of(8)]
