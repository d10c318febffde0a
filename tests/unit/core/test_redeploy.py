"""What another deploy changes of a gate, and in which order those go on that wait there."""

from stream_engine.core.functions.flow import Concurrency, Flow, Throttle, concurrency_scope
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.history import RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked
from stream_engine.core.stages.commands import FinishRun
from tests.unit.core.network import Network


def _slot(limit: int) -> tuple[Function, Gate]:
    declared = Concurrency(limit)
    return Function("f", ("1",), flow=Flow((declared,))), Gate(
        "concurrency", "slot", concurrency_scope("f", 0, declared), "", 1, limit
    )


def _throttle(limit: int) -> tuple[Function, Gate]:
    return Function("f", ("1",), flow=Flow(throttle=Throttle(limit, 3_600_000))), Gate(
        "throttle", "slow", "f", "", 1, limit, 3_600_000
    )


def _come(network: Network, gate: Gate, *offsets: int, home: int = 0) -> None:
    for offset in offsets:
        event = Event("e", f"at:T/0/{offset}", f"t/0/{offset}", 0, offset, "t", 0, offset, b"{}")
        network.give(home, Admit(event, [], None, (Asked("f", (gate,), home),)))
    network.settle()


def _started(network: Network) -> list[int]:
    return [record.offset for record in network.told if isinstance(record, RunStarted)]


def test_a_raised_limit_reaches_those_that_wait_once_the_new_code_leads() -> None:
    function, gate = _slot(1)
    network = Network(2, function)
    _come(network, gate, *range(200))
    network.take_over(1)
    network.settle()
    assert _started(network) == [0]
    network.take_over(1, _slot(150)[0])
    network.settle()
    assert _started(network) == list(range(150))


def test_a_raised_throttle_does_too_and_its_window_holds() -> None:
    function, gate = _throttle(1)
    network = Network(2, function)
    _come(network, gate, 0, 1, 2, 3)
    assert _started(network) == [0]
    network.take_over(1, _throttle(3)[0])
    network.settle()
    assert _started(network) == [0, 1, 2]
    network.now += 3_600_000
    network.settle()
    assert _started(network) == [0, 1, 2, 3]


def test_who_waits_goes_on_in_the_order_of_the_log_whichever_partition_was_faster() -> None:
    function, gate = _slot(1)
    network = Network(3, function)
    _come(network, gate, 0, 5, 7)
    _come(network, gate, 2, 3, 6, home=2)
    _come(network, gate, 1, 4, home=1)
    for number in range(8):
        run = [effect.run_id for effect in network.effects if isinstance(effect, Execute)][number]
        network.post(partition_of(run), FinishRun(run, b"1"))
        network.settle()
    assert _started(network) == list(range(8))
