"""Whoever replaces a run takes its place, also among replayed runs, which wait and are not replaced while they do."""

from stream_engine.core.gates.event_time import REMEMBERED
from stream_engine.core.identity import partition_of
from stream_engine.core.partition.turn import Execute, Function, Stop
from stream_engine.core.records.history import EventDisposed, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked
from stream_engine.core.records.tables import GATES
from stream_engine.core.stages.commands import FinishRun, Stopped
from tests.unit.core.network import Network

ALONE = Gate("singleton", "alone", "f", "", 0, mode="replace")
SLOT = Gate("concurrency", "slot", "pool", "", 0, 1)


def app() -> Network:
    return Network(1, Function("f", ("1",)), Function("busy", ("1",)))


def come(network: Network, at: int, *, replay_id: str | None = None, busy: bool = False) -> None:
    """Have an event arrive whose offset is the time."""
    network.now = at
    event = Event("e", f"at:T/0/{at}", f"t/0/{at}", 0, at, "t", 0, at, b"{}")
    asked = Asked("busy", (SLOT,), 0) if busy else Asked("f", (ALONE, SLOT), 0)
    network.give(0, Admit(event, [], replay_id, (asked,)))
    network.settle()


def end(network: Network) -> None:
    """Have what is executed stop, if that is wanted, or end."""
    [run] = {effect.run_id for effect in network.effects if isinstance(effect, Execute)}
    stops = any(isinstance(effect, Stop) for effect in network.effects)
    network.effects.clear()
    network.post(partition_of(run), Stopped(run) if stops else FinishRun(run, b"1"))
    network.settle()


def started(network: Network) -> list[int]:
    return [record.offset for record in network.told if isinstance(record, RunStarted)]


def orders(network: Network) -> list[int | None]:
    """Return the orders by which runs of the singleton have come to wait for the slot."""
    return [
        record.order
        for record in network.told
        if isinstance(record, EventDisposed) and record.disposition == "queued" and record.gate == "concurrency"
    ]


def test_an_older_event_that_comes_late_replaces_nothing_and_is_forgotten_in_the_end() -> None:
    network = app()
    come(network, 2_000)
    come(network, 1_900)
    assert [record.disposition for record in network.told if isinstance(record, EventDisposed)] == ["skipped"]
    end(network)
    come(network, 1_950)
    assert started(network) == [2_000]
    come(network, 2_001)
    end(network)
    assert started(network) == [2_000, 2_001]
    network.now += REMEMBERED + 1
    network.settle()
    [store] = network.stores()
    assert not [key for key in store.data if key[:1] == GATES.prefix]


def test_who_replaces_a_run_that_waits_further_on_waits_there_at_its_place() -> None:
    network = app()
    come(network, 2_000, busy=True)
    for at in (2_100, 2_200, 2_300):
        come(network, at)
    assert orders(network) == [2_100, 2_100, 2_100]
    end(network)
    assert started(network) == [2_000, 2_300]


def test_the_third_has_the_place_of_the_second_which_it_replaces() -> None:
    network = app()
    come(network, 2_000)
    come(network, 2_100)
    come(network, 2_200, busy=True)
    come(network, 2_300)
    end(network)
    # The run that waits for the slot alone has come before the third, and after the second.
    assert started(network) == [2_000, 2_200]
    end(network)
    assert started(network) == [2_000, 2_200, 2_300]
    assert 2_100 in orders(network)


def test_who_replaces_goes_before_replayed_runs_that_came_after_the_run_that_it_replaces() -> None:
    network = app()
    come(network, 2_000, busy=True)
    come(network, 2_100)
    come(network, 2_200, replay_id="r")
    come(network, 2_300)
    end(network)
    assert started(network) == [2_000, 2_300]
    end(network)
    assert started(network) == [2_000, 2_300, 2_200]


def test_replayed_runs_wait_for_each_other_in_their_order() -> None:
    network = app()
    for at in (2_000, 2_100, 2_200):
        come(network, at, replay_id="r")
    for _ in range(3):
        end(network)
    assert started(network) == [2_000, 2_100, 2_200]
