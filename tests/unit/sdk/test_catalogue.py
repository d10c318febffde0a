"""Catalogues match events by name, and are the same data wherever they were made."""

import msgspec
import pytest

from stream_engine import Engine
from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec, start_event


def catalogue(**triggers: list[str]) -> Catalogue:
    return Catalogue({id: FunctionSpec(id, names, ["1"]) for id, names in triggers.items()})


def test_exact_names_and_prefixes_match() -> None:
    found = catalogue(a=["order/placed"], b=["order/*"], c=["*"], d=["order/placed", "order/p*"], e=["user/*"])
    assert found.named("order/placed") == ["a", "d", "b", "c"]
    assert found.named("order/paid") == ["b", "c", "d"]
    assert found.named("order/") == ["c"]
    assert found.named("user/x") == ["c", "e"]


def test_the_engines_own_events_match_only_exactly() -> None:
    found = catalogue(a=["*", start_event("a")], b=["engine*"])
    assert found.named("engine/start/a") == ["a"]
    assert found.named("engine/start/b") == []


def test_the_same_content_has_the_same_digest() -> None:
    one, other = catalogue(a=["x"], b=["y"]), catalogue(b=["y"], a=["x"])
    assert one.digest == other.digest
    assert one.digest != catalogue(a=["x"], b=["z"]).digest
    assert Catalogue.decode(one.encode()).digest == one.digest
    assert Catalogue.decode(one.encode()).named("y") == ["b"]


def test_a_catalogue_says_where_the_events_are() -> None:
    engine = Engine("shop", events="orders")
    assert Catalogue.decode(engine.catalogue().encode()).events == "orders"
    assert Engine("shop").catalogue().events == "shop.events"
    assert engine.catalogue().digest != Engine("shop").catalogue().digest
    assert Catalogue.decode(b'{"functions":{}}').events == ""


def test_fields_of_tomorrow_are_passed_over() -> None:
    raw = b'{"functions":{"a":{"id":"a","triggers":["x"],"versions":["1"],"throttle":{"limit":1}}},"later":true}'
    assert Catalogue.decode(raw).named("x") == ["a"]


def test_rubbish_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        Catalogue.decode(b"[]")


def test_names_without_end_do_not_fill_the_memory() -> None:
    found = catalogue(a=["order/*"])
    for number in range(25_000):
        assert found.named(f"order/{number}") == ["a"]
    assert len(found._wishes) <= 10_000
