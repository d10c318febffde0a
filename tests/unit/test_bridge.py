"""The bridge's decisions: what is cleaned and how, and which facts become an event, in whatever order and however often they come."""

import importlib
import itertools
import json
from types import ModuleType
from typing import Any

import pytest

_AT = 1_700_000_000


@pytest.fixture(scope="module")
def bridge() -> ModuleType:
    """The module, as `faust -A topologies.bridge worker` has it; it asks nobody before it is started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAM_ENGINE_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        patch.setenv("STREAM_ENGINE_APP", "shop")
        return importlib.import_module("topologies.bridge")


def _payment(**fields: Any) -> bytes:
    said = {"payment": "p-1", "orderRef": " a-1 ", "amount": "42.00", "state": "CAPTURED", "at": _AT} | fields
    return json.dumps(said).encode()


def _shipment(**fields: Any) -> bytes:
    return json.dumps({"parcel": "JD1", "order": "A-1", "carrier": "dhl", "handed_over": _AT + 60} | fields).encode()


def test_facts_are_cleaned(bridge: ModuleType) -> None:
    assert bridge.payment_fact(_payment()) == bridge.Fact("payment", "A-1", "p-1", _AT * 1_000, {"amount": 4_200})
    assert bridge.shipment_fact(_shipment(order=17)).order_id == "17"
    assert bridge.payment_fact(_payment(state="authorised")) is None


@pytest.mark.parametrize("fields", [{"amount": "-1"}, {"orderRef": " "}, {"at": "yesterday"}, {"at": 9_999_999_999}])
def test_what_cannot_be_used_is_an_error(bridge: ModuleType, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        bridge.payment_fact(_payment(**fields))


def test_an_order_is_settled_alike_in_every_order_of_its_facts(bridge: ModuleType) -> None:
    facts = [bridge.payment_fact(_payment()), bridge.shipment_fact(_shipment())]
    events = set()
    for told in itertools.permutations(facts * 2):
        known: dict[str, Any] = {}
        for fact in told:
            known = bridge.join(known, fact)
        events.add(bridge.settled(known))
    [event] = events
    assert json.loads(event) == {
        "name": "order/settled",
        "id": "bridge/A-1/p-1/JD1",
        "ts": (_AT + 60) * 1_000,
        "data": {"order_id": "A-1", "charge": "p-1", "parcel": "JD1", "amount": 4_200, "carrier": "DHL"},
    }


def test_no_event_is_made_of_facts_that_are_far_apart(bridge: ModuleType) -> None:
    facts = [
        bridge.Fact(kind, "A-1", f"{kind}-{hours}", hours * 3_600_000)
        for kind in ("payment", "shipment")
        for hours in (0, 24, 25, 49)
    ]
    made = set()
    for told in itertools.product(facts, repeat=4):
        known: dict[str, Any] = {}
        for fact in told:
            before, known = known, bridge.join(known, fact)
            # What has become an event stays as it is, so that it is always the same one.
            assert len(before) < 2 or known == before
        if bridge.settled(known) is not None:
            made.add((known["payment"].at - known["shipment"].at) // 3_600_000)
    assert made == {0, 24, -24, 1, -1}
