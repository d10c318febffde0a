"""Writes Avro's binary encoding of one value after the other, from functions made once for each schema.

History is on the engine's hot path: three records for the shortest run. fastavro writes a record of a dozen fields in
7 to 8 us, most of it spent on finding out, for every field again, what the schema says. The functions made here know
that beforehand, take the fields as a tuple (a struct's own form) instead of a dict, and remember the encoding of values
that come back again and again; they take 3 to 4 us. They write what history's schemas use: ``int``, ``long``,
``string``, records, and unions of null with one of them. The tests hold them to fastavro's bytes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import call
from typing import Any, Final

import msgspec

Write = Callable[[Any], bytes]

_SHORT: Final = 1 << 13
_REMEMBERED: Final = 4096


def record_writer(fields: Sequence[Mapping[str, Any]]) -> Callable[[tuple[Any, ...]], bytes]:
    """Return a function that encodes a record whose fields are given as a tuple, in the schema's order.

    ``fields`` are the schema's, parsed. The function does not check its values: what has another type than its field is
    an error of any kind.

    Raises:
        ValueError: a field has a type that history's schemas do not use.
    """
    writers = [_writer(field["type"], str(field["name"])) for field in fields]

    def write(values: tuple[Any, ...]) -> bytes:
        return b"".join(map(call, writers, values))

    return write


def string(value: str) -> bytes:
    """Return a string's encoding: its length in bytes and its UTF-8."""
    raw = value.encode()
    size = len(raw)
    return (_SIZES[size] if size < _SHORT else _long(size)) + raw


def _writer(schema: Any, name: str) -> Write:
    match schema:
        case "int" | "long" if name == "offset":
            return _long  # each is seen once
        case "int" | "long":
            return _known_long
        case "string" if name in _NAMES:
            return _known_string
        case "string":
            return string
        case ["null", other]:
            return _nullable(_writer(other, name))
        case {"type": "record", "fields": fields}:
            return _record(fields)
        case _:
            raise ValueError(f"field {name!r} has the type {schema!r}, for which history has no writer")


def _nullable(write: Write) -> Write:
    def write_nullable(value: Any) -> bytes:
        return b"\0" if value is None else b"\2" + write(value)

    return write_nullable


def _record(fields: Sequence[Mapping[str, Any]]) -> Write:
    write = record_writer(fields)

    def write_struct(value: msgspec.Struct) -> bytes:
        return write(msgspec.structs.astuple(value))

    return write_struct


def _long(value: int) -> bytes:
    """Zigzag, then seven bits a byte, the lowest first."""
    rest = (value << 1) ^ (value >> 63)
    raw = bytearray()
    while rest > 0x7F:
        raw.append(rest & 0x7F | 0x80)
        rest >>= 7
    raw.append(rest)
    return bytes(raw)


# Fields whose values are few in any one app: remembering their encoding beats making it.
_NAMES: Final = frozenset({"change", "disposition", "event_name", "function", "kind", "status", "topic", "version"})
_SIZES: Final = [_long(size) for size in range(_SHORT)]
_known_string: Final = functools.lru_cache(_REMEMBERED)(string)
# Attempts and partitions are few; a time is told of by all records of one decision, and often by a later one.
_known_long: Final = functools.lru_cache(_REMEMBERED)(_long)
