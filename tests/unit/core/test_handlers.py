"""A handler runs once for a run that ends badly, whoever leads the run's partition then, and whatever of its function that worker has."""

from typing import Final

import pytest

from stream_engine.core.functions.catalogue import FunctionSpec
from stream_engine.core.functions.flow import Timeouts
from stream_engine.core.identity import run_id, run_name
from stream_engine.core.partition.dismissed import Dismissed
from stream_engine.core.partition.places import Places
from stream_engine.core.partition.state import State
from stream_engine.core.partition.timers import Timers
from stream_engine.core.partition.turn import Function, Rules, Turn
from stream_engine.core.partition.waiting import Waiting
from stream_engine.core.records.history import EventDisposed, RunChanged, RunEnded, RunStarted
from stream_engine.core.records.journal import Event, Gate
from stream_engine.core.records.requests import Admit, Asked, Call, Caller, Cancel, Command, Handle
from stream_engine.core.records.tables import Run
from stream_engine.core.stages.commands import Sleep, Suspend
from stream_engine.core.stages.handlers import cancelled
from tests.simulation.store import SimStore
from tests.unit.core.network import Network

PAY = Function("pay", ("1",), "sorry", on_cancel="undo", timeouts=Timeouts(start=500, finish=2_000))
SORRY, UNDO, OTHER = Function("sorry", ("1",)), Function("undo", ("1",)), Function("other", ("1",))
PLAIN = Function("pay", ("1",), timeouts=PAY.timeouts)
GATE = Gate("concurrency", "6a82", "pay", "", 1, limit=0)
BATCH = Gate("batch", "6a80", "pay", "", 2, limit=3, per=60_000, most=1_000)
EVENT = Event("order", "id:7", "7", 0, 1_000, "shop.events", 0, 7, b"{}")
LATER = Event("order", "id:7", "7", 2_000_000, 1_000, "shop.events", 0, 7, b"{}")
RUN = run_id(run_name("shop", "pay", "id:7", None), 0)
CALLER = Caller("commands", "caller-0", "call")

WAYS: Final[dict[str, Command]] = {
    "plain": Admit(EVENT, ["pay"]),
    "shared": Admit(EVENT, ["pay", "other"]),
    "delayed": Admit(LATER, ["pay"]),
    "gated": Admit(EVENT, [], None, (Asked("pay", (GATE,), 0),)),
    "gathered": Admit(EVENT, [], None, (Asked("pay", (BATCH,), 0),)),
    "invoked": Call("pay", RUN, EVENT, CALLER),
}


def asleep(way: str = "plain") -> Network:
    """A run that sleeps or waits, as far as it gets in 100 ms, under a leader that has its code."""
    network = Network(3, PAY, SORRY, UNDO, OTHER)
    network.give(0, WAYS[way])
    network.settle()
    network.post(0, Sleep(RUN, "nap", 60_000))
    network.post(0, Suspend(RUN, 0))
    at(network, 1_100)
    return network


def at(network: Network, now: int) -> None:
    network.now = now
    network.settle()


def handlers(network: Network) -> list[str]:
    return [
        record.function
        for record in network.told
        if isinstance(record, RunStarted) and record.function in ("sorry", "undo")
    ]


def waiting_for_code(network: Network) -> list[str]:
    """Return the functions of which a run was shown as waiting for its code."""
    told = [record for record in network.told if isinstance(record, EventDisposed) and record.detail == "no code"]
    parked = {record.run_id for record in network.told if isinstance(record, RunChanged) and record.change == "parked"}
    assert parked == {record.run_id for record in told}
    return [record.function for record in told]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_cancelled_where_only_the_catalogue_in_force_has_its_function(way: str) -> None:
    network = asleep(way)
    network.lead_with(OTHER)
    network.settle()
    network.give(0, Cancel(RUN, "ada", seek=True))
    network.settle()
    assert (handlers(network), waiting_for_code(network)) == ([], ["undo"])
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == ["undo"]


def test_a_run_that_waits_for_the_code_of_a_newer_deploy_is_cancelled() -> None:
    network = Network(3, OTHER)
    network.publish(PAY, SORRY, UNDO, OTHER)
    network.give(0, WAYS["plain"])
    network.settle()
    network.give(0, Cancel(RUN, "ada"))
    network.settle()
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == ["undo"]
    assert [record.function for record in network.told if isinstance(record, RunStarted)] == ["undo"]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_of_a_function_that_was_removed_is_cancelled_and_its_handler_is_shown_to_wait(way: str) -> None:
    network = asleep(way)
    network.publish(OTHER)
    network.deploy()
    network.settle()
    network.give(0, Cancel(RUN, "ada", seek=True))
    network.settle()
    assert (handlers(network), waiting_for_code(network)) == ([], ["undo"])
    # Whoever removed it for good ends what waits; whoever brings it back has it run.
    network.publish(UNDO)
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == ["undo"]


def test_a_handler_that_waits_for_code_that_will_not_come_is_cancelled_like_any_run() -> None:
    network = asleep()
    network.publish(OTHER)
    network.deploy()
    network.settle()
    network.give(0, Cancel(RUN, "ada"))
    network.settle()
    [waits] = [record for record in network.told if isinstance(record, EventDisposed) and record.detail == "no code"]
    network.give(int(waits.run_id.rpartition("-")[2], 16), Cancel(waits.run_id, "bob"))
    network.settle()
    assert handlers(network) == []
    network.publish(UNDO)
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == []


def test_a_function_that_gave_up_its_handler_has_none_run() -> None:
    network = asleep()
    network.publish(PLAIN, OTHER)
    network.deploy()
    network.give(0, Cancel(RUN, "ada"))
    network.settle()
    assert (handlers(network), waiting_for_code(network)) == ([], [])


def end(network: Network, handler: str) -> None:
    """Have the run end so that this handler is the one for it: be cancelled, or take too long."""
    if handler == "undo":
        network.give(0, Cancel(RUN, "ada"))
        network.settle()
    else:
        at(network, 3_000)
    assert [record.run_id for record in network.told if isinstance(record, RunEnded)] == [RUN]


@pytest.mark.parametrize("handler", ["undo", "sorry"])
def test_a_handler_of_the_deploy_in_force_is_not_lost_under_an_older_worker_whose_code_has_none(handler: str) -> None:
    network = asleep()
    network.lead_with(PLAIN, OTHER)
    end(network, handler)
    assert (handlers(network), waiting_for_code(network)) == ([], [handler])
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == [handler]


@pytest.mark.parametrize("handler", ["undo", "sorry"])
def test_what_the_deploy_in_force_gave_up_is_not_run_under_an_older_worker_either(handler: str) -> None:
    network = asleep()
    network.publish(PLAIN, OTHER)
    end(network, handler)
    assert (handlers(network), waiting_for_code(network)) == ([], [])


@pytest.mark.parametrize("handler", ["undo", "sorry"])
def test_a_function_that_was_removed_is_handled_as_the_code_says_as_long_as_that_is_there(handler: str) -> None:
    network = asleep()
    network.publish(OTHER)
    end(network, handler)
    assert (handlers(network), waiting_for_code(network)) == ([handler], [])


@pytest.mark.parametrize("in_force", [True, False])
def test_a_run_without_its_code_takes_no_longer_than_it_may(*, in_force: bool) -> None:
    network = asleep()
    network.publish(*((PAY, SORRY, UNDO) if in_force else ()), OTHER)
    network.lead_with(OTHER)
    network.settle()
    at(network, 3_000)
    [ended] = [record for record in network.told if isinstance(record, RunEnded)]
    assert (ended.status, ended.detail) == ("timed_out", "it took longer than 2 s")
    assert waiting_for_code(network) == ["sorry"]
    network.publish(PAY, SORRY, UNDO)
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == ["sorry"]


def test_a_run_waits_for_its_code_no_longer_than_for_its_start() -> None:
    network = Network(3, OTHER)
    network.publish(PAY, SORRY, UNDO, OTHER)
    network.give(0, WAYS["plain"])
    network.settle()
    at(network, 1_499)
    assert not [record for record in network.told if isinstance(record, RunEnded)]
    at(network, 1_500)
    [ended] = [record for record in network.told if isinstance(record, RunEnded)]
    assert (ended.status, ended.detail) == ("timed_out", "it did not begin within 0.5 s")
    network.deploy()
    at(network, 3_000_000)
    assert handlers(network) == ["sorry"]


def test_a_catalogue_that_is_replaced_in_the_midst_of_a_decision_does_not_take_the_handler_away() -> None:
    known = FunctionSpec("pay", [], ["1"], {}, on_cancel="undo")
    catalogues = iter([{"pay": known}, {}])
    rules = Rules("shop", {}, 1, "commands", "journal/J/0", 0, in_force=lambda: next(catalogues, {}))
    state = State(SimStore())
    turn = Turn(state, Timers(state), Waiting(state), Dismissed(state), Places(state), {}, rules, 1_000)
    cancelled(turn, RUN, Run("pay", "1", "running", "6a80", 1_000, started_at=1_000), EVENT)
    assert [one.function for one in turn.local if isinstance(one, Handle)] == ["undo"]
