"""The bytes of the history topic: what names, keys and encodes a record, and what a reader does with bytes it cannot read."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import fastavro
import pytest
from msgspec.structs import asdict

from stream_engine.core.failure import Failure
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted
from stream_engine.core.records.journal import Mark
from stream_engine.shell.errors import UserError
from stream_engine.shell.history import codec, schemas
from stream_engine.shell.history.avro import record_writer
from stream_engine.shell.history.codec import Decoder, Entry, encode

FAILURE = Failure("E", "no", "")
ENDED = RunEnded(1_790_000_000_123, "abc-3", "f", "1", "failed", 1_790_000_000_000, 4, None, FAILURE)


def _value(record: HistoryRecord) -> bytes:
    return encode(Told(Mark(9, 5, 7), [record]), 3)[0][1]


def _written_with(schema: dict[str, object], record: HistoryRecord) -> bytes:
    """The record as a version of the engine with another schema would write it."""
    datum = {"id": "3.5.7.0", "note": "new", **asdict(record)}
    if datum.get("error") is not None:
        datum["error"] = asdict(datum["error"])
    body = BytesIO()
    fastavro.schemaless_writer(body, schemas.parse(schema), datum)
    return b"\xc3\x01" + schemas.fingerprint_of(schema) + body.getvalue()


def _newer(name: str = "RunEnded") -> dict[str, object]:
    schema: dict[str, object] = json.loads(schemas.load()[RunEnded].text)
    fields = schema["fields"]
    assert isinstance(fields, list)
    fields.append({"name": "note", "type": "string", "default": ""})
    schema["name"] = name
    return schema


def test_a_record_is_named_by_its_place_in_the_journal() -> None:
    encoded = encode(Told(Mark(9, 5, 7), [ENDED, ENDED]), 3)
    ids = [entry.id for _, value in encoded if (entry := Decoder().decode(value))]
    assert ids == ["3.5.7.0", "3.5.7.1"]


def test_a_record_is_keyed_by_its_run_or_else_by_its_event() -> None:
    lost = EventDisposed(1, "f", "e", "event-1", "t", 0, 0, "paused")
    duplicate = EventDisposed(1, "f", "e", "event-1", "t", 0, 0, "duplicate", "abc-3")
    started = RunStarted(1, "abc-3", "f", "1", 1, "e", "event-1", "t", 0, 0)
    keys = [key for key, _ in encode(Told(Mark(), [lost, duplicate, started, ENDED]), 3)]
    assert keys == [b"event-1", b"abc-3", b"abc-3", b"abc-3"]


def test_a_value_is_avro_in_single_object_encoding() -> None:
    value = _value(ENDED)
    schema = schemas.load()[RunEnded]
    assert value[:2] == b"\xc3\x01"
    assert value[2:10] == schema.fingerprint
    read = fastavro.schemaless_reader(BytesIO(value[10:]), json.loads(schema.text), None)
    assert isinstance(read, dict)
    assert (read["id"], read["run_id"], read["error"]) == ("3.5.7.0", "abc-3", asdict(FAILURE))


def test_the_fingerprint_is_the_specifications() -> None:
    # The example in Avro's specification, 0x63dd24e7cc258f8a, with its bytes from the lowest.
    assert schemas.fingerprint_of("null") == 0x63DD24E7CC258F8A.to_bytes(8, "little")


def test_in_a_wheel_the_schemas_are_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "stream_engine"
    package.mkdir()
    monkeypatch.setattr(schemas, "_PACKAGE", package)
    shutil.copytree(Path(__file__).parents[2] / "schemas", package / "schemas")
    assert schemas.load.__wrapped__() == schemas.load()
    shutil.move(package / "schemas", tmp_path / "schemas")
    assert schemas.load.__wrapped__() == schemas.load()


def test_a_type_without_a_writer_is_refused() -> None:
    with pytest.raises(ValueError, match="field 'x' has the type 'double'"):
        record_writer([{"name": "x", "type": "double"}])


def test_a_newer_schema_is_read_where_it_is_published() -> None:
    newer = _newer()
    published = {schemas.fingerprint_of(newer).hex(): json.dumps(newer)}
    decoder = Decoder(published.get)
    assert decoder.decode(_written_with(newer, ENDED)) == Entry("3.5.7.0", ENDED)
    assert not decoder.unreadable


def test_a_record_is_not_passed_over_because_kafka_does_not_say_how_it_is_written() -> None:
    def published(_: str) -> str:
        raise UserError("Kafka does not answer")

    with pytest.raises(UserError):
        Decoder(published).decode(_written_with(_newer(), ENDED))


def test_what_workers_publish_is_found_by_fingerprint() -> None:
    published = schemas.to_publish()
    for schema in schemas.load().values():
        assert published[f"schema/{schema.fingerprint.hex()}"].decode() == schema.text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not Avro"),
        (b"{}", "not Avro"),
        (b"\xc3\x01short", "not Avro"),
        (b'{"id": "a JSON of some length"}', "not Avro"),
        (b"\xc3\x01" + b"unknown!" + b"body", "unknown"),
        (_value(ENDED)[:14], "do not match"),
        (_value(ENDED)[:10] + b"\xff" * 20, "do not match"),
        (_value(ENDED)[:10] + b"\x02\xff" + _value(ENDED)[12:], "do not match"),
    ],
)
def test_what_cannot_be_read_is_counted_and_told_once(
    value: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    codec._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for decoder in (Decoder(), Decoder()):
            assert decoder.decode(value) is None
            assert decoder.decode(value) is None
            assert decoder.decode(_value(ENDED)) == Entry("3.5.7.0", ENDED)
            assert [(reason in why, count) for why, count in decoder.unreadable.items()] == [(True, 2)]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "publish",
    [
        lambda _: None,
        lambda _: "no JSON",
        lambda _: '{"type": "no schema"}',
        lambda _: json.dumps(_newer("RunReplayed")),
        lambda _: json.dumps(
            {"type": "record", "name": "RunEnded", "namespace": "stream_engine.history", "fields": []}
        ),
    ],
    ids=["unpublished", "no JSON", "no schema", "unknown kind", "breaks the rule"],
)
def test_a_newer_record_that_cannot_be_resolved_is_passed_over(publish: Callable[[str], str | None]) -> None:
    decoder = Decoder(publish)
    assert decoder.decode(_written_with(_newer("RunReplayed"), ENDED)) is None
    assert decoder.unreadable.total() == 1
