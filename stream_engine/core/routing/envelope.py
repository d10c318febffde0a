"""The forms that an event's bytes may have: the engine's own JSON, CloudEvents (structured and binary mode), and Avro.

Which form it is, the message itself says: a header ``ce_specversion`` for CloudEvents in binary mode, the media type
``application/cloudevents+json`` in the header ``content-type`` for structured mode (or, as many clients cannot set it, a
``specversion`` in JSON that is no event of the engine's own form), and a first byte of zero for Avro in Confluent's wire
format. All of them become an `Envelope`.

CloudEvents: ``type`` is the event's name, ``time`` its ts. Two sources may use one id, so what a repeat is known by is
``source`` and ``id`` together. Avro: a record with the fields ``name`` and ``data`` is the engine's own form; of any other
the schema's full name is the event's name, and the whole record its data.

What a topic has that others own (`stream_engine.core.functions.sources`) has the one form that was declared of it.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from stream_engine.core.functions.sources import Source
from stream_engine.core.records.journal import Event, Record

Headers = Sequence[tuple[str, bytes | None]]

_CLOUD_MODE: Final = "ce_specversion"
_CLOUD_MEDIA: Final = b"application/cloudevents"
_JSON_MEDIA: Final = ("application/json", "text/json")
_SPEC_VERSIONS: Final = frozenset({"1.0", "0.3"})
_NO_DATA: Final = msgspec.Raw(b"{}")
_NOTHING: Final = msgspec.Raw(b"")


class Rejection(Record, frozen=True):
    """Why a message is no event: a stable code, and a sentence for the reader of the dead letter.

    Where nothing but its data is wrong, by what the app declares of that now, ``event`` is the event that it would be.
    """

    reason: str
    detail: str
    event: Event | None = None


class AvroRecord(msgspec.Struct, frozen=True):
    """A decoded Avro record: the full name of its schema, the names of its fields, and itself as JSON text."""

    name: str
    fields: frozenset[str]
    text: bytes


Avro = Callable[[bytes], AvroRecord | Rejection]
"""Decodes a value in Confluent's wire format."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as its producer wrote it."""

    name: str
    data: msgspec.Raw = _NO_DATA
    id: str | None = None
    ts: int | float | str | None = None


class CloudEnvelope(msgspec.Struct, gc=False):
    """A CloudEvent: an envelope, and the source that its id is unique within."""

    envelope: Envelope
    source: str


class _Cloud(msgspec.Struct, gc=False):
    """CloudEvents' JSON; extension attributes are passed over."""

    specversion: str
    type: str
    source: str
    id: str
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = _NOTHING
    data_base64: str | None = None


class _Sniffed(msgspec.Struct, gc=False):
    specversion: msgspec.Raw = _NOTHING


_NO_SCHEMAS: Final = Rejection("unknown-schema", "it looks like Avro, but no schemas are configured")
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_own = msgspec.json.Decoder(Envelope).decode
_decode_cloud = msgspec.json.Decoder(_Cloud).decode
_sniff = msgspec.json.Decoder(_Sniffed).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def unwrap(value: bytes, headers: Headers, avro: Avro | None) -> Envelope | CloudEnvelope | Rejection:
    """Return what a value that is not empty says, in whichever form."""
    if headers:
        texts = {name.lower(): text for name, text in headers if text is not None}
        if _CLOUD_MODE in texts:
            return _binary(value, texts)
        if texts.get("content-type", b"").lower().startswith(_CLOUD_MEDIA):
            return _structured(value)
    return _avro(value, avro) if value[0] == 0 else _own(value)


def unwrap_source(
    value: bytes, headers: Headers, avro: Avro | None, source: Source
) -> Envelope | CloudEnvelope | Rejection:
    """Return what a value of a source says, which is not empty; it has one form, whatever else it looks like."""
    if source.format == "avro":
        if value[0] != 0:
            return Rejection("invalid-avro", "it does not begin as Avro in Confluent's wire format does")
        if avro is None:
            return _NO_SCHEMAS
        record = avro(value)
        return record if isinstance(record, Rejection) else Envelope(source.name, msgspec.Raw(record.text))
    if source.format == "json":
        return _data(value, source.name)
    texts = {name.lower(): text for name, text in headers if text is not None}
    cloud = _binary(value, texts) if _CLOUD_MODE in texts else _structured(value)
    if isinstance(cloud, CloudEnvelope) and source.name:
        cloud.envelope.name = source.name
    return cloud


def _data(value: bytes, name: str) -> Envelope | Rejection:
    try:
        if not value.isascii():
            value.decode()
        return Envelope(name, msgspec.Raw(bytes(_decode_raw(value)).strip()))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("invalid-json", f"not JSON: {error}")


def _own(value: bytes) -> Envelope | CloudEnvelope | Rejection:
    try:
        if not value.isascii():
            value.decode()  # the decoder below passes over the texts in `data`
        return _decode_own(value)
    except msgspec.ValidationError as error:
        if b'"specversion"' in value and _is_cloud(value):
            return _structured(value)
        return Rejection("invalid-event", f"not an event: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("invalid-json", f"not JSON: {error}")


def _is_cloud(value: bytes) -> bool:
    """Return whether there is a version of CloudEvents at the top of a JSON text, and not only within its data."""
    try:
        return bytes(_sniff(value).specversion) != b""
    except (msgspec.DecodeError, RecursionError):
        return False


def _structured(value: bytes) -> CloudEnvelope | Rejection:
    try:
        value.decode()
        cloud = _decode_cloud(value)
    except msgspec.ValidationError as error:
        return Rejection("invalid-event", f"not a CloudEvent: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("invalid-json", f"not JSON: {error}")
    if cloud.data_base64 is None:
        # JSON's null is no data, too.
        return _cloud(cloud, _NO_DATA if bytes(cloud.data) in {b"", b"null"} else cloud.data)
    try:
        raw = base64.b64decode(cloud.data_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        return Rejection("invalid-event", f"data_base64 is not base64: {error}")
    return _with_payload(cloud, raw)


def _binary(value: bytes, headers: dict[str, bytes]) -> CloudEnvelope | Rejection:
    texts = {name: text.decode(errors="replace") for name, text in headers.items()}
    missing = [f"ce_{name}" for name in ("type", "source", "id") if not texts.get(f"ce_{name}")]
    if missing:
        return Rejection("invalid-event", f"not a CloudEvent: it has no header {missing[0]}")
    cloud = _Cloud(
        texts[_CLOUD_MODE],
        texts["ce_type"],
        texts["ce_source"],
        texts["ce_id"],
        texts.get("ce_time"),
        texts.get("content-type"),
    )
    return _with_payload(cloud, value)


def _with_payload(cloud: _Cloud, payload: bytes) -> CloudEnvelope | Rejection:
    """Take data that came as bytes: they have to be JSON."""
    media = (cloud.datacontenttype or _JSON_MEDIA[0]).partition(";")[0].strip().lower()
    if media not in _JSON_MEDIA and not media.endswith("+json"):
        return Rejection("invalid-data", f"the data of a CloudEvent is JSON here, not {media[:64]!a}")
    try:
        payload.decode()
        _decode_object(payload)
    except msgspec.ValidationError:
        return Rejection("invalid-event", "data is not a JSON object")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("invalid-json", f"the data is not JSON: {error}")
    return _cloud(cloud, msgspec.Raw(payload.strip()))


def _cloud(cloud: _Cloud, data: msgspec.Raw) -> CloudEnvelope | Rejection:
    if cloud.specversion not in _SPEC_VERSIONS:
        return Rejection("invalid-event", f"CloudEvents {cloud.specversion[:16]!a} are unknown; 1.0 is known")
    if not cloud.source:
        return Rejection("invalid-event", "the source of a CloudEvent must not be empty")
    return CloudEnvelope(Envelope(cloud.type, data, cloud.id, cloud.time), cloud.source)


def _avro(value: bytes, avro: Avro | None) -> Envelope | CloudEnvelope | Rejection:
    if avro is None:
        return _NO_SCHEMAS
    record = avro(value)
    if isinstance(record, Rejection):
        return record
    if not {"name", "data"} <= record.fields:
        return Envelope(record.name, msgspec.Raw(record.text))
    own = _own(record.text)
    return (
        own if isinstance(own, Envelope | Rejection) else Rejection("invalid-event", "a CloudEvent in Avro is unknown")
    )
