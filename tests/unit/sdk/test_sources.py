"""`Engine.source`: what may be declared."""

from __future__ import annotations

from typing import Any

import pytest

from stream_engine import Engine
from stream_engine.core.functions.sources import Source
from stream_engine.sdk.errors import DeclarationError


def test_sources_are_in_the_catalogue_whatever_order_they_are_declared_in() -> None:
    engine, other = Engine("shop"), Engine("shop")
    engine.source("orders", name="order/placed", format="avro")
    engine.source("clouds", format="cloudevents")
    other.source("clouds", format="cloudevents")
    other.source("orders", name="order/placed", format="avro")
    assert engine.catalogue().digest == other.catalogue().digest
    assert engine.catalogue().sources["orders"] == Source("orders", "order/placed", "avro")
    assert Engine("shop").catalogue().digest != engine.catalogue().digest


@pytest.mark.parametrize(
    ("topic", "options", "words"),
    [
        ("a b", {"name": "x"}, "Kafka's topics"),
        ("shop.journal", {"name": "x"}, "topics of shop itself"),
        ("shared", {"name": "x"}, "topics of shop itself"),
        ("orders", {}, "give the name of its events"),
        ("orders", {"name": "order/*"}, "an event's name has no"),
        ("orders", {"name": "engine/start/f"}, "the engine's own"),
        ("orders", {"name": "x", "format": "jason"}, "did you mean 'json'"),
        ("twice", {"name": "x"}, "declared twice"),
    ],
)
def test_what_cannot_be_a_source_is_said(topic: str, options: dict[str, Any], words: str) -> None:
    engine = Engine("shop", events="shared")
    engine.source("twice", name="x")
    with pytest.raises(DeclarationError, match=words):
        engine.source(topic, **options)
