"""Values as JSON, and back as the type that an annotation names."""

import inspect
import json
import re
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

Decode = Callable[[bytes], Any]

DECODE_ERRORS = (msgspec.DecodeError, ValidationError)
"""What a `Decode` raises where the JSON does not fit."""


def _encode_other(value: Any) -> Any:
    if isinstance(value, BaseModel):
        raw = value.model_dump_json(by_alias=True, round_trip=True).encode()
        # A model may be configured to write these as they are, which is not JSON.
        if b"NaN" in raw or b"Infinity" in raw:
            _check_numbers(value)
        return msgspec.Raw(raw)
    raise NotImplementedError(f"{type(value).__qualname__} is not a type that JSON can express")


encode = msgspec.json.Encoder(enc_hook=_encode_other).encode
"""Return a value as JSON: plain values, dataclasses, pydantic models, msgspec structs, dates, UUIDs, and containers of these."""

decode_plain: Decode = msgspec.json.Decoder().decode


def try_encode(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        ValueError: JSON cannot express it; the message says why.
    """
    try:
        raw = encode(value)
        # What is no number is written as null.
        if b"null" in raw and value is not None:
            _check_numbers(value)
        return raw
    except (NotImplementedError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{type(value).__qualname__} cannot be written as JSON: {error}") from error


def _check_numbers(value: Any) -> None:
    """Refuse a value that has NaN or Infinity in it.

    MessagePack, which keeps them, is as fast as JSON, so that a null which is right costs little; but bytes and large
    integers may look the same in it, and it has no integers of more than 64 bits.
    """
    try:
        suspect = _PACKED_NO_NUMBER.search(_pack(value)) is not None
    except OverflowError:
        suspect = True
    if not suspect:
        return
    try:
        json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=_dump_other), allow_nan=False)
    except ValueError:
        raise ValueError("NaN or Infinity is in it, and JSON has no such numbers") from None


def _dump_other(value: Any) -> Any:
    assert isinstance(value, BaseModel)
    if value.model_config.get("ser_json_inf_nan") == "strings":
        return decode_plain(value.model_dump_json(by_alias=True, round_trip=True).encode())
    return value.model_dump(mode="json", by_alias=True, round_trip=True)


_pack = msgspec.msgpack.Encoder(enc_hook=_dump_other).encode
_PACKED_NO_NUMBER = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""The sign, the exponent of ones, behind the byte that a float begins with."""


def decoder(annotation: Any) -> Decode:
    """Return the function that turns JSON into what ``annotation`` says, or into plain values if it says nothing."""
    if annotation is None or annotation is type(None):
        return decode_plain
    if annotation in (Any, object, inspect.Parameter.empty):
        return decode_plain
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_validate_json
    try:
        if _has_model(annotation):
            return TypeAdapter(annotation).validate_json
        return msgspec.json.Decoder(annotation, dec_hook=_decode_other).decode
    except TypeError:
        # What msgspec does not take, such as a union of two dataclasses, pydantic may.
        return _lenient(annotation)


def _lenient(annotation: Any) -> Decode:
    try:
        return TypeAdapter(annotation).validate_json
    except (PydanticSchemaGenerationError, PydanticUserError):
        return decode_plain


def _has_model(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_has_model(part) for part in get_args(annotation))


def _decode_other(type_: type, value: Any) -> Any:
    """Build what msgspec does not know inside of what it does: a model in a field of a dataclass, say."""
    if issubclass(type_, BaseModel):
        return type_.model_validate_json(encode(value))
    return value
