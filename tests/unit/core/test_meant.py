"""What an event means by two catalogues, and how that differs."""

from typing import Any

import pytest

from stream_engine import CancelOn, Concurrency, Context, Engine, On, Priority
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import Rejection
from stream_engine.core.routing.meant import Meant

_EVENT = Event(
    "order/placed", "at:t/0/7", "shop.events/0/7", 1, 1, "shop.events", 0, 7, b'{"shop":"a","total":50,"vip":true}'
)


def _meant(rejection: Rejection | None = None, **options: Any) -> Meant:
    engine = Engine("shop")

    @engine.function("pay", **{"on": "order/placed", **options})
    async def pay(ctx: Context) -> None:
        """Do nothing."""

    return Meant(engine.catalogue().match(_EVENT, 4), rejection)


_BY_VOID = {"cancel_on": CancelOn("order/void", match="data.shop")}
_BY_SHOP = {"concurrency": Concurrency(2, key="event.data.shop")}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({}, {}, "None"),
        ({}, {"on": "order/paid"}, "no run"),
        ({"on": On("order/placed", if_="event.data.total > 90")}, {}, "new run"),
        ({}, {"concurrency": Concurrency(2, key="event.data.nothing.at")}, "dead letter: would be invalid-key: concurrency: "),
        ({"concurrency": Concurrency(2, key="event.data.nothing.at")}, {}, "new run: was dead letter"),
        ({}, _BY_SHOP, "flow control: was none, would be concurrency a"),
        (_BY_SHOP, {"concurrency": Concurrency(9, key="event.data.shop")}, "None"),
        (_BY_SHOP, {"concurrency": Concurrency(2, key="event.data.vip")}, "flow control: was concurrency a, would be concurrency true"),
        ({}, {"priority": Priority("event.data.vip ? 60 : 0")}, "flow control: was none, would be head start 60 s"),
        (_BY_VOID, _BY_VOID, "None"),
        (_BY_VOID, {}, "cancelling events: was order/void with data.shop = \"a\", would be none"),
        (_BY_VOID, {"cancel_on": CancelOn("order/void", match="data.shop", timeout="1m")}, "cancelling events: was order/void with data.shop = \"a\", would be order/void with data.shop = \"a\" within 60 s"),
    ],
)  # fmt: skip
def test_what_an_event_means_differs(old: dict[str, Any], new: dict[str, Any], told: str) -> None:
    difference = _meant(**old).difference("pay", _meant(**new))
    assert str(difference).startswith(told)


def test_an_event_that_the_new_code_does_not_accept_is_a_dead_letter_for_all() -> None:
    rejected = _meant(Rejection("invalid-data", "total: Field required"), **_BY_SHOP)
    assert str(_meant().difference("pay", rejected)) == "dead letter: would be invalid-data: total: Field required"
