"""What tests of waits have in common: an app of one partition, whose lanes say and offer what the test wants."""

import msgspec

from stream_engine.core.partition.turn import Execute, Function
from stream_engine.core.records.history import StepRecorded
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit
from stream_engine.core.records.wanted import CaughtUp, Offer, Offering, Sender, Wanted
from stream_engine.core.stages.commands import WaitForEvent
from stream_engine.core.waits.interests import interest_of, slot
from tests.unit.core.network import Network

DAY = 86_400_000
MINUTE = 60_000
PAID = Wanted("paid", "data.x", "1")
LANES = (("shop.events", 2),)
TRIGGER = Event("go", "id:go", "go", 1_000, 1_000, "shop.events", 0, 0, b'{"x":1}')


def paid(offset: int, at: int = 1_000, lane: int = 0, **data: int) -> Event:
    raw = msgspec.json.encode({"x": 1, **data})
    return Event("paid", f"at:{lane}/{offset}", f"{lane}/{offset}", at, at, "shop.events", lane, offset, raw)


def offer(event: Event, wanted: Wanted = PAID, sender: Sender | None = None) -> Offer:
    return Offer(event, slot(wanted), DAY, sender)


def covered(network: Network, wanted: Wanted = PAID, *lanes: int, keep: int = DAY, asked_at: int | None = None) -> None:
    at = network.now if asked_at is None else asked_at
    for lane in lanes or (0, 1):
        network.give(0, Offering(interest_of(wanted.name, wanted.path), "shop.events", lane, LANES, 0, keep, at))
        network.settle()


def caught_up(network: Network) -> None:
    """Have all partitions that ask be told that all is routed that came up to now."""
    asking, network.asking = network.asking, set()
    for partition in asking:
        network.give(partition, CaughtUp(network.now + 1))
    network.settle()


def begin(network: Network, replay_id: str | None = None) -> str:
    network.give(0, Admit(TRIGGER, ["f"], replay_id))
    network.settle()
    [execute] = [effect for effect in network.effects if isinstance(effect, Execute)]
    network.effects.clear()
    return execute.run_id


def wait(
    network: Network,
    run: str,
    step: str = "paid",
    wanted: Wanted = PAID,
    *,
    timeout: int | None = None,
    lookback: int = DAY,
) -> None:
    network.post(0, WaitForEvent(run, step, wanted, timeout, lookback))
    network.settle()


def answers(network: Network) -> dict[str, int | None]:
    """Return the offset of the event that each step has had."""
    found = {}
    for told in network.told:
        if isinstance(told, StepRecorded) and told.status == "completed":
            result = msgspec.json.decode(told.result or "null")
            found[told.step_id] = None if result is None else result["offset"]
    return found


def network() -> Network:
    return Network(1, Function("f", ("1",), on_cancel="undo"), Function("undo", ("1",)))
