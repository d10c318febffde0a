"""Avro in Confluent's wire format: where the schemas come from, and what becomes of bad bytes."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.records.journal import Event
from stream_engine.core.routing.envelope import AvroRecord, Rejection
from stream_engine.core.routing.receive import Message, receive
from stream_engine.shell.routing.avro_events import Decoder, UnavailableError, avro_decoder

_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "OrderPlaced",
    "namespace": "shop",
    "fields": [
        {"name": "order", "type": "string"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "lines", "type": {"type": "array", "items": ["null", "double", {"type": "map", "values": "bytes"}]}},
    ],
}
_ORDER = {"order": "ä7", "total": Decimal(12), "at": 0, "lines": [None, 1.5, {"x": b"\xff"}]}
_FOUND = Decoder({7: json.dumps(_SCHEMA), 8: '"string"', 9: "no schema"}.get)


def _bytes(number: int = 7) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(_SCHEMA), _ORDER)
    return b"\0" + number.to_bytes(4) + body.getvalue()


def test_a_record_is_decoded_by_the_schema_of_its_id() -> None:
    record = _FOUND(_bytes())
    assert isinstance(record, AvroRecord)
    assert (record.name, record.fields) == ("shop.OrderPlaced", frozenset({"order", "total", "at", "lines"}))
    told = json.loads(record.text)
    assert told == {"order": "ä7", "total": "12.00", "at": "1970-01-01T00:00:00Z", "lines": [None, 1.5, {"x": "/w=="}]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\0", "invalid-avro"),
        (_bytes()[:-3], "invalid-avro"),
        (_bytes() + b"\0", "invalid-avro"),
        (_bytes(10), "unknown-schema"),
        (_bytes(8), "unknown-schema"),
        (_bytes(9), "unknown-schema"),
    ],
)
def test_what_cannot_be_decoded_is_rejected_with_a_stable_code(value: bytes, reason: str) -> None:
    rejection = _FOUND(value)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason


_MEDIA = st.sampled_from([b"application/cloudevents+json", b"application/json", b"avro/binary", b"\xff"])
_HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just("content-type"), _MEDIA),
        st.tuples(
            st.sampled_from(["ce_specversion", "ce_type", "ce_source", "ce_id", "ce_time"]), st.binary(max_size=9)
        ),
        st.tuples(st.text(max_size=9), st.none() | st.binary(max_size=9)),
    ),
    max_size=7,
)
_VALUES = st.one_of(
    st.binary(max_size=99),
    st.binary(max_size=40).map(lambda rest: b"\0\0\0\0\7" + rest),
    st.dictionaries(
        st.sampled_from(["specversion", "type", "source", "id", "time", "data", "data_base64", "name", "ts"]),
        st.one_of(st.none(), st.text(max_size=9), st.integers(), st.floats(), st.just({}), st.just("1.0")),
    ).map(lambda value: json.dumps(value).encode(errors="replace")),
)


@given(_VALUES, _HEADERS)
def test_no_bytes_of_any_kind_raise(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    """Invariant 7: bad input of any kind ends in the dead letters."""
    message = Message("shop.events", "E", 0, 0, 1_700_000_000_000, None, value, headers)
    assert isinstance(receive(message, {}, _FOUND), Event | Rejection)


def test_schemas_are_found_in_a_folder_also_when_they_come_later(tmp_path: Path) -> None:
    decode = avro_decoder(str(tmp_path))
    assert decode is not None
    (tmp_path / "7.avsc").write_text(json.dumps(_SCHEMA))
    assert isinstance(decode(_bytes()), AvroRecord)
    assert isinstance(decode(_bytes(8)), Rejection)


class _Server(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Registry)
        self.asked: list[tuple[str, str | None]] = []


class _Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.asked.append((self.path, self.headers["Authorization"]))
        number = self.path.rpartition("/")[2]
        self.send_response({"7": 200, "8": 404}.get(number, 503))
        self.end_headers()
        self.wfile.write(json.dumps({"schema": json.dumps(_SCHEMA)}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _registry() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", server.asked
        finally:
            server.shutdown()
            thread.join()


def test_a_registry_is_asked_once_for_each_schema_and_an_event_waits_for_one_that_is_away() -> None:
    with _registry() as (host, asked):
        decode = avro_decoder(f"http://me:s%40cret@{host}/base/")
        assert decode is not None
        for _ in range(2):
            assert isinstance(decode(_bytes()), AvroRecord)
            assert isinstance(decode(_bytes(8)), Rejection)
        with pytest.raises(UnavailableError, match="answers 503 for schema 9"):
            decode(_bytes(9))
    login = "Basic " + base64.b64encode(b"me:s@cret").decode()
    assert asked == [(f"/base/schemas/ids/{number}", login) for number in (7, 8, 9)]
    with pytest.raises(UnavailableError) as raised:
        decode(_bytes(10))
    assert "cret" not in str(raised.value)
