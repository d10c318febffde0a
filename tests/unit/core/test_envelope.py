"""Events in forms other than the engine's own JSON: CloudEvents in both modes, and Avro."""

import json
from typing import Any

import pytest

from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import AvroRecord, Headers, Rejection
from stream_engine.core.routing.receive import Message, receive

AT = 1_700_000_000_000
CLOUD: dict[str, Any] = {
    "specversion": "1.0",
    "type": "order/placed",
    "source": "/shop",
    "id": "A-1",
    "time": "2023-11-14T22:13:20Z",
    "datacontenttype": "application/json",
    "subject": "7",
    "data": {"total": 7},
}
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]
BINARY = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"order/placed"),
    ("ce_source", b"/shop"),
    ("ce_id", b"A-1"),
    ("ce_time", b"2023-11-14T22:13:20Z"),
    ("content-type", b"application/json"),
]


def _receive(value: bytes, headers: Headers = (), avro: Any = None) -> Event | Rejection:
    return receive(Message("shop.events", "E", 3, 17, AT, b"key", value, headers), {}, avro)


def _cloud(headers: Headers = STRUCTURED, **other: Any) -> Event | Rejection:
    return _receive(json.dumps({**CLOUD, **other}).encode(), headers)


def _event(received: Event | Rejection) -> Event:
    assert isinstance(received, Event), received
    return received


def _reason(received: Event | Rejection) -> str:
    assert isinstance(received, Rejection), received
    return received.reason


@pytest.mark.parametrize(
    "received",
    [
        _cloud(),
        _cloud(headers=()),
        _cloud(data=None, data_base64="eyJ0b3RhbCI6IDd9"),
        _receive(b' {"total": 7} ', BINARY),
        _receive(b'{"total": 7}', [(name.replace("content", "Content"), text) for name, text in BINARY]),
    ],
    ids=["structured", "without its media type", "base64", "binary", "binary, other case"],
)
def test_a_cloud_event_is_an_event(received: Event | Rejection) -> None:
    event = _event(received)
    assert (event.name, event.id, event.ts) == ("order/placed", "A-1", AT)
    assert json.loads(event.data) == {"total": 7}


def test_the_id_of_a_cloud_event_is_unique_within_its_source() -> None:
    here, again, there = _event(_cloud()), _event(_receive(b"{}", BINARY)), _event(_cloud(source="/other"))
    assert here.identity == again.identity != there.identity
    assert here.id == there.id


def test_a_cloud_event_without_data_or_time_has_none() -> None:
    event = _event(_receive(json.dumps({k: CLOUD[k] for k in ("specversion", "type", "source", "id")}).encode()))
    assert (event.data, event.ts) == (b"{}", AT)


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (_cloud(specversion="7"), "invalid-event"),
        (_cloud(id=""), "invalid-event"),
        (_cloud(id=7), "invalid-event"),
        (_cloud(source=""), "invalid-event"),
        (_cloud(type="order/*"), "invalid-event"),
        (_cloud(time="soon"), "invalid-event"),
        (_cloud(data=[7]), "invalid-event"),
        (_cloud(data=None, data_base64="%"), "invalid-event"),
        (_cloud(data=None, data_base64="ew=="), "invalid-json"),
        (_cloud(data=None, data_base64="", datacontenttype="text/xml"), "invalid-data"),
        (_cloud(headers=(), source=7), "invalid-event"),
        (_receive(b'{"name": 7, "data": {"specversion": 1}}'), "invalid-event"),
        (_receive(b"not JSON", STRUCTURED), "invalid-json"),
        (_receive(b'{"name": "a"}', STRUCTURED), "invalid-event"),
        (_receive(b"not JSON", BINARY), "invalid-json"),
        (_receive(b"[]", BINARY), "invalid-event"),
        (_receive(b"<x/>", [*BINARY[:-1], ("content-type", b"text/xml")]), "invalid-data"),
        *((_receive(b"{}", [*BINARY[:at], *BINARY[at + 1 :]]), "invalid-event") for at in (1, 2, 3)),
        (_receive(b"", BINARY), "empty"),
    ],
)
def test_what_is_no_cloud_event_is_rejected_with_a_stable_code(received: Event | Rejection, reason: str) -> None:
    assert _reason(received) == reason


def test_an_avro_record_with_name_and_data_is_an_event_in_the_engines_own_form() -> None:
    text = b'{"name":"order/placed","data":{"total":7},"id":"A-1","ts":null}'
    record = AvroRecord("shop.Envelope", frozenset({"name", "data", "id", "ts"}), text)
    event = _event(_receive(b"\0\0\0\0\1x", avro=lambda _: record))
    assert (event.name, event.id, event.ts, event.data) == ("order/placed", "A-1", AT, b'{"total":7}')


def test_any_other_avro_record_is_the_data_of_an_event_named_by_its_schema() -> None:
    record = AvroRecord("shop.OrderPlaced", frozenset({"total"}), b'{"total":7}')
    event = _event(_receive(b"\0\0\0\0\1x", avro=lambda _: record))
    assert (event.name, event.id, event.data) == ("shop.OrderPlaced", "shop.events/3/17", b'{"total":7}')


def test_avro_that_cannot_be_decoded_is_rejected() -> None:
    assert _reason(_receive(b"\0\0\0\0\1x")) == "unknown-schema"
    assert _reason(_receive(b"\0", avro=lambda _: Rejection("invalid-avro", "short"))) == "invalid-avro"
