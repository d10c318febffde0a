"""Events in Avro, in Confluent's wire format: a zero byte, the schema's id (4 bytes, big-endian), and the record.

The schema is found by its id: in a folder, as ``<id>.avsc``, or in a schema registry. An id means one schema for good, so what
was found is kept. That there is no such schema is the event's fault; that nobody can be asked is not, so the event waits.
"""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro
import msgspec

from stream_engine.core.routing.envelope import Avro, AvroRecord, Rejection
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError

_HEADER_BYTES: Final = 5
_ANSWER_SECONDS: Final = 10.0
_ASK_AGAIN_SECONDS: Final = 30.0
_NOT_FOUND: Final = 404

Find = Callable[[int], str | None]
"""Returns the text of a schema by its id, or None if there is none."""


class UnavailableError(UserError):
    """The schema of an event cannot be asked for now; the message says whom, and why."""


class _Schema(NamedTuple):
    """A schema as fastavro reads with it."""

    name: str
    fields: frozenset[str]
    parsed: Any


def avro_decoder(schemas: str | None) -> Avro | None:
    """Return what decodes events, by the setting that says where schemas are; None without one.

    The function raises `UnavailableError` while the registry does not answer.
    """
    if schemas is None:
        return None
    return Decoder(_in_registry(schemas) if schemas.startswith(("http://", "https://")) else _in_folder(Path(schemas)))


class Decoder:
    """Decodes values by the schemas that a function finds."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: dict[int, _Schema] = {}
        self._unknown: dict[int, float] = {}

    def __call__(self, value: bytes) -> AvroRecord | Rejection:
        """Decode a value, or say what is wrong with it.

        Raises:
            UnavailableError: its schema cannot be asked for now.
        """
        if len(value) < _HEADER_BYTES:
            return Rejection("invalid-avro", f"it begins as Avro does, but has {len(value)} bytes")
        number = int.from_bytes(value[1:_HEADER_BYTES])
        schema = self._known.get(number) or self._learn(number)
        if isinstance(schema, Rejection):
            return schema
        body = BytesIO(value)
        body.seek(_HEADER_BYTES)
        try:
            record: Any = fastavro.schemaless_reader(body, schema.parsed, None)
            text = msgspec.json.encode(record)
        except Exception as error:  # noqa: BLE001 - damaged bytes make fastavro raise whatever they lead it to
            return Rejection(
                "invalid-avro", f"its bytes do not match schema {number} ({type(error).__name__}: {error})"[:500]
            )
        if body.read(1):
            return Rejection("invalid-avro", f"there are bytes behind what schema {number} describes")
        return AvroRecord(schema.name, schema.fields, text)

    def _learn(self, number: int) -> _Schema | Rejection:
        unknown = Rejection("unknown-schema", f"there is no Avro schema with the id {number}")
        if monotonic() < self._unknown.get(number, 0.0):
            return unknown
        text = self._find(number)
        if text is None:
            if len(self._unknown) > 10_000:
                self._unknown.clear()
            self._unknown[number] = monotonic() + _ASK_AGAIN_SECONDS
            return unknown
        try:
            written = json.loads(text)
            parsed: Any = fastavro.parse_schema(written)
            fields = frozenset(field["name"] for field in parsed["fields"])
            schema = self._known[number] = _Schema(parsed["name"], fields, parsed)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a schema, its events are dead letters
            return Rejection(
                "unknown-schema", f"schema {number} is no Avro schema of a record ({type(error).__name__})"
            )
        return schema


def _in_folder(folder: Path) -> Find:
    def find(number: int) -> str | None:
        try:
            return (folder / f"{number}.avsc").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"cannot read the schema {folder / f'{number}.avsc'}: {error}") from error

    return find


def _in_registry(address: str) -> Find:
    parts = urllib.parse.urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    base = urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
    if parts.username is not None:
        user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def find(number: int) -> str | None:
        request = urllib.request.Request(f"{base}/schemas/ids/{number}", headers=headers)  # noqa: S310 - the setting allows http(s) alone
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - the same
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == _NOT_FOUND:
                return None
            raise UnavailableError(f"the schema registry {base} answers {error.code} for schema {number}") from error
        except (OSError, ValueError) as error:
            raise UnavailableError(f"the schema registry {base} does not answer: {error}") from error
        return (
            str(found.get("schema")) if isinstance(found, dict) and found.get("schemaType", "AVRO") == "AVRO" else None
        )

    return find
