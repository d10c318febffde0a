"""The history topic's compatibility rule (schemas/README.md), held against format 1 and records written with it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

import fastavro
import pytest
from msgspec.structs import asdict, fields

from stream_engine.core.failure import Failure
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.records.journal import Mark
from stream_engine.shell.history import schemas
from stream_engine.shell.history.codec import Decoder, Entry, encode
from tests.golden.history_samples import SAMPLES

_V1 = Path(__file__).parent / "history" / "v1"
_STEMS = sorted(path.stem for path in _V1.glob("*.avsc"))
_TOLD = Told(Mark(offset=99, epoch=17, n=42), SAMPLES)
_PARTITION = 3
_HEADER_BYTES = 10

Schema = dict[str, Any]


def breaks(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What of the rule a schema breaks, compared with an older one of the same record."""
    if isinstance(old, list) and isinstance(new, list):
        for one, other in zip_longest(old, new):
            yield from breaks(one, other, where)
    elif isinstance(old, dict) and isinstance(new, dict) and old.get("type") == new.get("type") == "record":
        yield from _record_breaks(old, new, f"{where}/{old['name']}")
    elif old != new:
        yield f"{where}: the type was {old}, and is {new}"


def _record_breaks(old: Schema, new: Schema, where: str) -> Iterator[str]:
    if (old["name"], old.get("namespace")) != (new["name"], new.get("namespace")):
        yield f"{where}: the record is now {new.get('namespace')}.{new['name']}"
    for before, after in zip_longest(old["fields"], new["fields"]):
        if before is None:
            if "default" not in after:
                yield f"{where}: the new field {after['name']} has no default"
        elif after is None or before["name"] != after["name"]:
            yield f"{where}: the field {before['name']} is not where it was"
        else:
            if before.get("default", ...) != after.get("default", ...):
                yield f"{where}: the default of {before['name']} is another"
            yield from breaks(before["type"], after["type"], f"{where}.{before['name']}")


def _old(stem: str) -> Schema:
    schema: Schema = json.loads((_V1 / f"{stem}.avsc").read_text("utf-8"))
    return schema


def _today(stem: str) -> Schema:
    schema: Schema = json.loads(_committed(stem).text)
    return schema


def _committed(stem: str) -> schemas.HistorySchema:
    return next(schema for record, schema in schemas.load().items() if schemas.stem(record) == stem)


def _sample(stem: str) -> tuple[int, HistoryRecord]:
    return next((index, record) for index, record in enumerate(SAMPLES) if schemas.stem(type(record)) == stem)


def test_no_kind_of_record_is_gone() -> None:
    assert set(_STEMS) <= {schemas.stem(record) for record in schemas.load()}


def test_every_kind_of_record_has_its_file_and_every_file_its_kind() -> None:
    committed = {path.stem for path in (Path(__file__).parents[2] / "schemas").glob("*.avsc")}
    assert committed == {schemas.stem(record) for record in schemas.load()}


@pytest.mark.parametrize("record", schemas.load(), ids=lambda record: record.__name__)
def test_a_schemas_fields_are_the_id_and_those_of_the_class(record: type[HistoryRecord]) -> None:
    written = schemas.load()[record].parsed["fields"]
    assert [field["name"] for field in written] == ["id", *record.__struct_fields__]
    optional = {field.name: field.default for field in fields(record) if not field.required}
    assert {field["name"]: field["default"] for field in written if "default" in field} == optional
    nullable = {field["name"] for field in written if isinstance(field["type"], list)}
    assert nullable == {field.name for field in fields(record) if type(None) in getattr(field.type, "__args__", ())}


def test_a_failures_fields_are_those_of_the_class() -> None:
    error = next(field for field in _today("run_ended")["fields"] if field["name"] == "error")
    assert tuple(field["name"] for field in error["type"][1]["fields"]) == Failure.__struct_fields__


@pytest.mark.parametrize("stem", _STEMS)
def test_each_schema_keeps_the_rule(stem: str) -> None:
    assert list(breaks(_old(stem), _today(stem))) == []


@pytest.mark.parametrize("stem", _STEMS)
def test_records_of_format_1_are_read_today(stem: str) -> None:
    value = (_V1 / f"{stem}.bin").read_bytes()
    published = {schemas.fingerprint_of(_old(stem)).hex(): json.dumps(_old(stem))}
    index, record = _sample(stem)
    assert Decoder(published.get).decode(value) == Entry(f"3.17.42.{index}", record)


@pytest.mark.parametrize("stem", _STEMS)
def test_records_of_today_are_read_with_format_1(stem: str) -> None:
    index, record = _sample(stem)
    _, value = encode(_TOLD, _PARTITION)[index]
    old = schemas.parse(_old(stem))
    read = fastavro.schemaless_reader(BytesIO(value[_HEADER_BYTES:]), _committed(stem).parsed, old)
    assert isinstance(read, dict)
    known = {"id": f"3.17.42.{index}", **asdict(record)}
    if known.get("error") is not None:
        known["error"] = asdict(known["error"])
    assert read == {field["name"]: known[field["name"]] for field in old["fields"]}


def _field(schema: Schema, name: str) -> Schema:
    return next(field for field in schema["fields"] if field["name"] == name)


FORBIDDEN: dict[str, Callable[[Schema], object]] = {
    "a field removed": lambda schema: schema["fields"].pop(),
    "a field renamed": lambda schema: _field(schema, "function").update(name="task"),
    "a field retyped": lambda schema: _field(schema, "attempt").update(type="long"),
    "a field made nullable": lambda schema: _field(schema, "function").update(type=["null", "string"]),
    "another branch": lambda schema: _field(schema, "result")["type"].append("bytes"),
    "another meaning": lambda schema: _field(schema, "at").update(type="long"),
    "another default": lambda schema: _field(schema, "result").update(default=""),
    "a default gone": lambda schema: _field(schema, "result").pop("default"),
    "fields in another order": lambda schema: schema["fields"].reverse(),
    "a field in front": lambda schema: schema["fields"].insert(0, {"name": "x", "type": "int", "default": 0}),
    "a field without default": lambda schema: schema["fields"].append({"name": "x", "type": "int"}),
    "another name": lambda schema: schema.update(name="Ended"),
    "another namespace": lambda schema: schema.update(namespace="elsewhere"),
    "another failure": lambda schema: _field(schema, "error")["type"][1]["fields"].pop(),
}


@pytest.mark.parametrize("change", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_rule_is_checked(change: Callable[[Schema], object]) -> None:
    changed = copy.deepcopy(_old("run_ended"))
    change(changed)
    assert list(breaks(_old("run_ended"), changed))


def test_the_rule_lets_a_schema_grow() -> None:
    grown = copy.deepcopy(_old("run_ended"))
    grown["fields"].append({"name": "note", "type": "string", "default": ""})
    grown["fields"][0]["doc"] = "in other words"
    _field(grown, "error")["type"][1]["fields"].append({"name": "code", "type": ["null", "int"], "default": None})
    assert list(breaks(_old("run_ended"), grown)) == []
