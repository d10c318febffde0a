"""The Avro schemas of `<app>.history`, one file for each class of `stream_engine.core.records.history`.

They are committed as files, in ``schemas/``, because people who never see this code read the topic; the rule by which
they may change stands beside them, in ``schemas/README.md``.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from stream_engine.core.records.history import HistoryRecord

PUBLISHED: Final = "schema/"
"""What the keys of schemas in the control topic start with; the rest is the fingerprint in hexadecimal."""

_PACKAGE: Final = Path(__file__).parents[2]
_WORD_STARTS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class HistorySchema(NamedTuple):
    """The schema of one class of records.

    ``fingerprint`` is the CRC-64-AVRO of the schema's parsing canonical form: 8 bytes, little-endian, as Avro's
    single-object encoding has them. ``text`` is the file as committed; ``parsed`` is what fastavro reads with, without
    logical types, so that times stay whole milliseconds.
    """

    record: type[HistoryRecord]
    text: str
    parsed: dict[str, Any]
    fingerprint: bytes


@functools.cache
def load() -> Mapping[type[HistoryRecord], HistorySchema]:
    """Return the committed schemas by the class that each is for, in the order of the classes.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    folder = _folder()
    return {record: _load(record, folder) for record in get_args(HistoryRecord)}


def to_publish() -> dict[str, bytes]:
    """Return what a worker writes to the control topic for readers of other versions: the schemas by their keys."""
    return {PUBLISHED + schema.fingerprint.hex(): schema.text.encode() for schema in load().values()}


def stem(record: type) -> str:
    """Return the name of a class's schema file without its ending: ``RunStarted`` is ``run_started``."""
    return _WORD_STARTS.sub("_", record.__name__).lower()


def parse(schema: Any) -> dict[str, Any]:
    """Return a schema (parsed JSON) as fastavro reads with it, without its logical types.

    Raises:
        fastavro.schema.SchemaParseException: it is not an Avro schema.
    """
    parsed = fastavro.parse_schema(_without_logical_types(schema))
    assert isinstance(parsed, dict)
    return parsed


def fingerprint_of(schema: Any) -> bytes:
    """Return the 8 bytes by which Avro's single-object encoding names a schema (parsed JSON)."""
    # fastavro writes the bytes of the little-endian number, not the number.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def _load(record: type[HistoryRecord], folder: Path) -> HistorySchema:
    text = folder.joinpath(f"{stem(record)}.avsc").read_text(encoding="utf-8")
    schema = json.loads(text)
    return HistorySchema(record, text, parse(schema), fingerprint_of(schema))


def _folder() -> Path:
    """The schemas are inside an installed package, and at the top of a source tree."""
    inside = _PACKAGE / "schemas"
    return inside if inside.is_dir() else _PACKAGE.parent / "schemas"


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    if isinstance(schema, dict):
        if "logicalType" in schema:
            return schema["type"]
        return {key: _without_logical_types(part) for key, part in schema.items()}
    return schema
