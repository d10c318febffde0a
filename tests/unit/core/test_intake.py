"""What has arrived from replays is known for as long as they can be gone on with, and not for good."""

from stream_engine.core.partition.intake import RESUMED_FOR, router_source
from stream_engine.core.partition.turn import Function
from stream_engine.core.records.history import RunStarted
from stream_engine.core.records.journal import Event
from stream_engine.core.records.requests import Admit, Commands
from stream_engine.core.records.tables import INTAKE, TIMERS
from stream_engine.core.stages.commands import FinishRun
from tests.unit.core.network import Network

LIVE, AGAIN = router_source("T", 0, None), router_source("T", 0, "r1")


def _route(network: Network, offset: int, replay_id: str | None) -> None:
    event = Event("go", f"at:{offset}", f"0/{offset}", 1_000, 1_000, "shop.events", 0, offset, b"{}")
    admit = Admit(event, ["f"], replay_id)
    source = LIVE if replay_id is None else AGAIN
    network.arrive(0, Commands(source, 0, [(offset, admit)]))
    network.settle()


def _known(network: Network) -> list[str]:
    [store] = network.stores()
    return [key[len(INTAKE.prefix) :].decode() for key, _ in store.scan(INTAKE.prefix, INTAKE.stop)]


def _pass(network: Network, milliseconds: int) -> None:
    """Let time pass, with all timers that come due meanwhile."""
    until = network.now + milliseconds
    while (due := network.next_due()) is not None and due <= until:
        network.now = max(network.now, due)
        network.settle()
    network.now = until


def test_what_a_replay_has_sent_is_forgotten_when_it_can_send_no_more() -> None:
    network = Network(1, Function("f", ("1",)))
    _route(network, 7, None)
    _route(network, 7, "r1")
    for told in [told for told in network.told if isinstance(told, RunStarted)]:
        network.post(0, FinishRun(told.run_id, b"1"))
    _pass(network, RESUMED_FOR)
    _route(network, 7, "r1")
    assert len([told for told in network.told if isinstance(told, RunStarted)]) == 2
    _pass(network, 2 * RESUMED_FOR - 1)
    assert _known(network) == [LIVE, AGAIN]
    _pass(network, 1)
    assert _known(network) == [LIVE]
    [store] = network.stores()
    assert not list(store.scan(TIMERS.prefix, TIMERS.stop))
