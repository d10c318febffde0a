"""Topics that others own: what their records are as events, where they are replayed, and what resetting several topics amounts to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream_engine.core.functions.catalogue import Catalogue, FunctionSpec, start_event
from stream_engine.core.functions.sources import Source
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.cause import Cause
from stream_engine.core.routing.envelope import AvroRecord, Headers, Rejection
from stream_engine.core.routing.receive import Message, receive
from stream_engine.core.routing.replay import Extent
from stream_engine.core.routing.rewind import Committed, Course, Progress, Topic, course
from tests.unit.core.test_envelope import AT, BINARY, CLOUD, STRUCTURED

_JSON = Source("orders", "order/placed")
_AVRO = Source("orders", "order/placed", "avro")
_CLOUD = Source("orders", "", "cloudevents")


def _receive(value: bytes, source: Source, headers: Headers = (), avro: Any = None, at: int = 5) -> Event | Rejection:
    message = Message("orders", "O", 3, 17, at, b"key", value, headers)
    return receive(message, {"refused": lambda _: "no"}, avro, source=source)


@pytest.mark.parametrize("value", [b'{"name": 7, "data": null}', b' {"specversion": "1.0"} ', b'{"caf\xc3\xa9": []}'])
def test_the_whole_value_is_the_data_whatever_it_looks_like(value: bytes) -> None:
    event = _receive(value, _JSON, BINARY)
    assert isinstance(event, Event)
    assert (event.name, event.id, event.identity, event.ts) == ("order/placed", "orders/3/17", "at:O/3/17", 5)
    assert json.loads(event.data) == json.loads(value)
    assert event.key == b"key"


def test_a_record_without_a_time_is_old() -> None:
    event = _receive(b"{}", _JSON, at=-1)
    assert isinstance(event, Event)
    assert event.ts == 0


@pytest.mark.parametrize(
    ("value", "source", "reason"),
    [
        (b"", _JSON, "empty"),
        (b"[1]", _JSON, "invalid-event"),
        (b"{", _JSON, "invalid-json"),
        (b'{"a": "\xff"}', _JSON, "invalid-json"),
        (b'{"a": 1} {"a": 2}', _JSON, "invalid-json"),
        (b"{}", Source("orders", "refused"), "invalid-data"),
        (b"{}", _AVRO, "invalid-avro"),
        (b"\0\0\0\0\7", _AVRO, "unknown-schema"),
        (b"{}", _CLOUD, "invalid-event"),
        (b"\0\0\0\0\7", _CLOUD, "invalid-json"),
    ],
)
def test_what_is_not_what_the_source_has_is_rejected(value: bytes, source: Source, reason: str) -> None:
    rejected = _receive(value, source)
    assert isinstance(rejected, Rejection)
    assert rejected.reason == reason


def test_an_avro_record_is_the_data_even_if_it_is_called_as_events_are() -> None:
    record = AvroRecord("Order", frozenset({"name", "data"}), b'{"name": "x", "data": {}}')
    event = _receive(b"\0\0\0\0\7", _AVRO, avro=lambda _: record)
    assert isinstance(event, Event)
    assert (event.name, event.data, event.identity) == ("order/placed", record.text, "at:O/3/17")
    assert _receive(b"\0\0\0\0\7", _AVRO, avro=lambda _: Rejection("a", "b")) == Rejection("a", "b")


@pytest.mark.parametrize("name", ["", "cloud/order"])
@pytest.mark.parametrize("headers", [(), STRUCTURED, BINARY])
def test_cloudevents_keep_their_ids_and_get_the_name_of_the_source(name: str, headers: Headers) -> None:
    value = json.dumps(CLOUD["data"] if headers is BINARY else CLOUD).encode()
    event = _receive(value, Source("orders", name, "cloudevents"), headers, at=AT)
    assert isinstance(event, Event)
    assert (event.name, event.id, event.identity) == (name or "order/placed", "A-1", "id:/shop A-1")
    assert json.loads(event.data) == {"total": 7}


def _catalogue(*triggers: str) -> Catalogue:
    spec = FunctionSpec("f", [*triggers, start_event("f")], ["1"])
    sources = (_JSON, Source("anything", "", "cloudevents"), Source("others", "user/born"))
    return Catalogue.decode(Catalogue({"f": spec}, "shop.events", sources).encode())


@pytest.mark.parametrize(
    ("triggers", "topics"),
    [
        ([], ["shop.events"]),
        (["order/placed"], ["orders"]),
        (["order/*"], ["shop.events", "orders", "anything"]),
        (["user/born", "order/placed"], ["orders", "others"]),
        (["mail"], ["shop.events", "anything"]),
    ],
)
def test_where_events_of_a_function_may_be(triggers: list[str], topics: list[str]) -> None:
    assert sorted(_catalogue(*triggers).topics_of("f")) == sorted(topics)


_ORDERS = Topic(
    {0: Committed(20), 1: Committed(9, Progress(0, 9, 9).mark("O"))}, {0: Progress(0, 60, 60), 1: Progress(0, 9, 9)}
)
_EVENTS = Topic({0: Committed(5)}, {0: Progress(3, 9, 9)})


def _course(topic_id: str, partition: int, own: Topic, other: str, others: Topic, *rewinds: Any) -> Course:
    found = course(topic_id, partition, {topic_id: own, other: others}, list(rewinds))
    assert found is not None
    return found


def test_topics_that_are_reset_together_are_one_rewind_whoever_finds_it() -> None:
    by_orders, by_events = _course("O", 0, _ORDERS, "E", _EVENTS), _course("E", 0, _EVENTS, "O", _ORDERS)
    rewind = by_orders.opens
    assert rewind is not None
    assert rewind == by_events.opens
    assert (rewind.of("O"), rewind.of("E"), rewind.of("X"), rewind.number) == ({0: (20, 60)}, {0: (5, 9)}, {}, 1)
    assert by_orders.progress == Progress(1, 60, 20, rewind.id)


def test_a_topic_joins_the_rewind_that_another_one_has_found() -> None:
    first = _course("O", 0, _ORDERS, "E", Topic({0: Committed(5)}, {0: Progress(0, 9, 9)}))
    assert first.opens is not None
    begun = Topic({0: Committed(20, first.progress.mark("O"))}, {0: first.progress})
    joined = _course("E", 0, Topic({0: Committed(5)}, {0: Progress(0, 9, 9)}), "O", begun, first.opens)
    assert joined == Course(Progress(1, 9, 5, first.opens.id))
    again = _course("E", 0, Topic({0: Committed(4)}, {0: joined.progress}), "O", begun, first.opens)
    assert again.opens is not None
    assert (again.opens.number, again.opens.others) == (2, {})


def test_what_a_run_of_another_topic_sent_that_is_replayed_too_is_passed_over() -> None:
    extent = Extent("r1", "shop.events", {0: (5, 9)}, elsewhere={"orders": {0: (20, 60)}})
    assert extent.passes_over(Cause("f", "orders", 0, 20))
    assert not extent.passes_over(Cause("f", "orders", 0, 60))
    assert not extent.passes_over(Cause("f", "orders", 1, 20))
    assert not extent.passes_over(Cause("f", "other", 0, 20))
    assert extent.passes_over(Cause("f", "shop.events", 0, 5))
