"""The records of each format, byte by byte: today's are written as they were, and all of them are read as what they are.

A file of ``tests/golden/records`` holds what the engine wrote whose ``READS`` is in its name. Once such an engine has been released,
its file does not change. ``STREAM_ENGINE_TEST_REWRITE=1`` therefore writes the file of today's format only where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple, get_args

import msgspec
import pytest

from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.records import chunks, history, requests, tables, wait_tables, wanted
from stream_engine.core.records import journal as records
from stream_engine.core.records.decoding import UnreadableError, decode_commands, decode_journal, decode_state
from stream_engine.core.records.journal import READS, Record, encode
from stream_engine.core.records.requests import Command, Commands
from stream_engine.core.records.tables import Table
from stream_engine.shell.control import Active, FirstUse
from tests.golden.record_samples import CATALOGUE, COMMANDS, JOURNAL, KEYS, NAMES, STATE, STORE

_FILES = Path(__file__).parent / "records"
_COLUMNS = 120

_TABLES = {
    table.prefix.decode(): table
    for module in (tables, wait_tables)
    for table in vars(module).values()
    if isinstance(table, Table)
}
_CONTROL = {"in force": Active("0123456789abcdef", 1_790_000_000_000), "first use": FirstUse("0.1.0")}


class Sample(NamedTuple):
    """What is written, the bytes that today's engine writes for it, and how today's engine reads them."""

    value: Any
    raw: bytes
    decode: Callable[[bytes], Any]


def _samples() -> Iterator[tuple[str, Sample]]:
    for topic, values, decode in (
        ("journal", JOURNAL, decode_journal),
        ("commands", COMMANDS, decode_commands),
        ("state", STATE, decode_state),
    ):
        for name, record in values.items():
            yield f"{topic}: {name}", Sample(record, encode(record), decode)
    for name, entry in STORE.items():
        yield f"store: {name[2:]}", Sample(entry, tables.encode(entry), _TABLES[name[0]].decode)
    for name, key in KEYS.items():
        yield f"key: {name}", Sample(key, key, bytes)
    for name, text in NAMES.items():
        yield f"name: {name}", Sample(text, text.encode(), bytes.decode)
    for name, document in _CONTROL.items():
        yield f"control: {name}", Sample(document, msgspec.json.encode(document), _of(type(document)))
    catalogue = Catalogue(CATALOGUE, "events").encode()
    yield "control: a catalogue", Sample(CATALOGUE, catalogue, lambda raw: Catalogue.decode(raw).functions)


def _of(type_: type[Any]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(type_).decode


SAMPLES = dict(_samples())


def _text() -> str:
    """Return today's file: of each sample its name, what it is, and its bytes."""
    blocks = []
    for name, sample in SAMPLES.items():
        readable = sample.raw.decode() if name.startswith("control") else repr(sample.value)
        blocks.append("\n    ".join([name, readable, *wrap(sample.raw.hex(), _COLUMNS)]))
    return "\n\n".join(blocks) + "\n"


def _file(format: int) -> Path:  # noqa: A002 - the word of the core
    return _FILES / f"format-{format}.txt"


def _written(format: int) -> dict[str, bytes]:  # noqa: A002 - the word of the core
    """Return what the engine of a format wrote, by the names of the samples."""
    found = {}
    for block in _file(format).read_text("utf-8").strip().split("\n\n"):
        name, _, *raw = block.split("\n")
        found[name] = bytes.fromhex("".join(raw))
    return found


def test_every_format_has_its_file() -> None:
    if os.environ.get("STREAM_ENGINE_TEST_REWRITE") and not _file(READS).exists():
        _file(READS).write_text(_text(), "utf-8")
    assert {path.name for path in _FILES.iterdir()} == {_file(number).name for number in range(1, READS + 1)}


def test_today_s_engine_writes_today_s_format() -> None:
    """Who changes a record or a key changes the format: raise `READS`, and see ADR 9 for the rest."""
    assert _text() == _file(READS).read_text("utf-8")


@pytest.mark.parametrize("format", range(1, READS + 1))
def test_what_an_engine_of_any_format_wrote_is_read(format: int) -> None:  # noqa: A002 - the word of the core
    written = _written(format)
    read = {name: SAMPLES[name].decode(raw) for name, raw in written.items()}
    assert read == {name: SAMPLES[name].value for name in written}


def _structs(value: object) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        for field in value.__struct_fields__:
            yield from _structs(getattr(value, field))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _structs(item)


_KINDS = {
    kind
    for module in (records, requests, wanted, chunks, tables, wait_tables, history)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not kind.__name__.startswith("_")
} - {Record}


def test_every_kind_of_record_has_samples_with_and_without_each_field_that_may_be_left_out() -> None:
    """But for the number of the format itself, which says here that there is nothing newer than the first."""
    optional = {(kind, field.name) for kind in _KINDS for field in msgspec.structs.fields(kind) if not field.required}
    given, left_out = set[tuple[type, str]](), set[tuple[type, str]]()
    for struct in _structs([sample.value for sample in SAMPLES.values()]):
        for field in msgspec.structs.fields(struct):
            is_given = field.required or getattr(struct, field.name) != field.default
            (given if is_given else left_out).add((type(struct), field.name))
    assert {kind for kind, _ in given} >= _KINDS
    assert {(kind, name) for kind, name in optional - given if name != "format"} == set()
    assert optional <= left_out


def test_every_kind_of_command_and_every_table_has_a_sample() -> None:
    given = {type(command) for record in COMMANDS.values() for _, command in record.items}
    assert given == set(get_args(Command))
    assert {name[0] for name in STORE} == set(_TABLES)


def _lengthened(value: Any, added: Any) -> Any:
    """Return a decoded record with a field more at the end of each struct in it, as an engine of the next format has it."""
    if isinstance(value, msgspec.Struct):
        raw = msgspec.to_builtins(value, builtin_types=(bytes,))
        assert isinstance(raw, list)
        tag = [raw[0]] if value.__struct_config__.tag is not None else []
        return [*tag, *(_lengthened(getattr(value, name), added) for name in value.__struct_fields__), added]
    if isinstance(value, list | tuple):
        return [_lengthened(item, added) for item in value]
    return value


@pytest.mark.parametrize(
    "name", [name for name in SAMPLES if name.split(":")[0] in {"journal", "commands", "state", "store"}]
)
@pytest.mark.parametrize("added", [0, None, "", [1, ["x"]], {"a": b"b"}], ids=repr)
def test_fields_that_the_next_format_adds_and_does_not_set_are_passed_over(name: str, added: object) -> None:
    """They hold their default, so that nothing is lost: this is the first of the two releases that bring a format."""
    sample = SAMPLES[name]
    raw = msgspec.msgpack.encode(_lengthened(sample.value, added))
    assert raw != sample.raw
    assert sample.decode(raw) == sample.value


_NEW_COMMAND = ["postpone", "run-1", 1_000]


@pytest.mark.parametrize(
    ("decode", "record"),
    [
        (decode_journal, ["promised", 1, 2]),
        (decode_journal, ["decided", 0, 1, 0, 0, [], [], [], [["run_postponed", 5, "run-1"]]]),
        (decode_commands, ["events/Xc/0/", 7, [[7, _NEW_COMMAND]]]),
        (decode_commands, ["events/Xc/0/", 7, [[7, _NEW_COMMAND]], READS + 1]),
        (decode_state, ["diff", ["J", 0, 1], 0]),
    ],
)
def test_a_kind_that_only_the_next_format_has_is_not_passed_over(
    decode: Callable[[bytes], object], record: list[object]
) -> None:
    with pytest.raises(UnreadableError, match="a newer engine"):
        decode(msgspec.msgpack.encode(record))


def test_a_commands_record_is_told_from_what_no_engine_wrote_in_every_format() -> None:
    assert isinstance(msgspec.msgpack.decode(encode(Commands("", None, [])))[0], str)
