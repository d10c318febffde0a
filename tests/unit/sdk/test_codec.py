"""Values survive JSON as what the annotation says."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field

from stream_engine.sdk.codec import DECODE_ERRORS, decoder, encode, try_encode
from stream_engine.sdk.signature import return_decoder


class Model(BaseModel):
    at: datetime
    number: int = Field(alias="Number")


class Struct(msgspec.Struct):
    x: int


@dataclass
class Point:
    x: int
    model: Model | None = None


@dataclass
class Other:
    y: str


MODEL = Model(at=datetime(2026, 1, 2, tzinfo=UTC), Number=3)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 3),
        (float, 1.0),
        (dict[str, int], {"a": 1}),
        (list[tuple[int, str]], [(1, "a")]),
        (set[int], {1, 2}),
        (bytes, b"\xff\x00"),
        (datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (timedelta, timedelta(days=1, milliseconds=5)),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=5)),
        (Struct, Struct(1)),
        (Point, Point(1, MODEL)),
        (Point | Other, Other("a")),
        (Model, MODEL),
        (list[Model], [MODEL]),
        (dict[str, Model | None], {"a": MODEL, "b": None}),
        (Any, {"a": [1, 2.5, None, True]}),
    ],
)
def test_what_was_encoded_is_decoded(annotation: Any, value: Any) -> None:
    assert decoder(annotation)(encode(value)) == value


def test_models_inside_of_plain_values_are_encoded() -> None:
    assert encode({"a": [MODEL]}) == b'{"a":[{"at":"2026-01-02T00:00:00Z","Number":3}]}'


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1: {object()}}, lambda: 1, 2**70 * 1j, "\ud800"])
def test_what_json_cannot_express_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=f"{type(value).__name__} cannot be written as JSON"):
        try_encode(value)


class Number(BaseModel):
    x: float


class Literal(Number):
    model_config = ConfigDict(ser_json_inf_nan="constants")


class Spelt(Number):
    model_config = ConfigDict(ser_json_inf_nan="strings")


@dataclass
class Holder:
    inner: Any


NAN = float("nan")
LOOKS_LIKE_NAN = 0xCB7FF00000000000


@pytest.mark.parametrize(
    "value",
    [
        NAN,
        float("inf"),
        -float("inf"),
        {"a": [1.0, (NAN,)]},
        {"a": 2**70, "b": NAN},
        Number(x=NAN),
        Literal(x=-float("inf")),
        [Literal(x=NAN)],
        Holder(NAN),
        {"a": Holder(Number(x=NAN))},
    ],
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=f"{type(value).__name__} cannot be written as JSON: NaN or Infinity is in it"):
        try_encode(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": None, "b": "null"},
        [None, LOOKS_LIKE_NAN, b"\xcb\x7f\xf0", 2**70, 1e308],
        {"a": Spelt(x=NAN), "b": None},
        {"a": Literal(x=1), "b": "NaN", "c": None},
        {"a": Decimal("NaN"), "b": None},
        {"a": Point(1, None), "b": MODEL},
    ],
)
def test_a_null_that_is_right_is_written(value: Any) -> None:
    assert try_encode(value) == encode(value)


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="list cannot be written as JSON"):
        try_encode(circle)


@pytest.mark.parametrize("annotation", [int, Model, list[Model], Point | Other])
def test_what_does_not_fit_raises_an_error_that_callers_know(annotation: Any) -> None:
    with pytest.raises(DECODE_ERRORS):
        decoder(annotation)(b'"text"')


def test_an_annotation_that_cannot_be_evaluated_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    def fn() -> "Nowhere": ...  # type: ignore[name-defined] # noqa: F821 - it is what the test is about

    assert return_decoder(fn)(b'{"a":1}') == {"a": 1}
    assert "its return annotation cannot be evaluated (name 'Nowhere' is not defined)" in caplog.text
