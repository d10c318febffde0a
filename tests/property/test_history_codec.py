"""History's own writer writes fastavro's bytes, and what it wrote is read back."""

from __future__ import annotations

from io import BytesIO
from typing import get_args

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, fields

from stream_engine.core.failure import Failure
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import HistoryRecord
from stream_engine.core.records.journal import Mark
from stream_engine.shell.history import schemas
from stream_engine.shell.history.codec import Decoder, Entry, encode

_INT = st.integers(-(2**31), 2**31 - 1)
_LONG = st.integers(-(2**63), 2**63 - 1)
# Long ones too, as a length of 8,192 bytes and more is written another way.
_TEXT = st.text(max_size=20) | st.sampled_from(["é" * 4_095, "é" * 4_096, "x" * 70_000])
_TYPES: dict[object, st.SearchStrategy[object]] = {
    int: _LONG,
    str: _TEXT,
    int | None: st.none() | _LONG,
    str | None: st.none() | _TEXT,
    Failure | None: st.none() | st.builds(Failure, _TEXT, _TEXT, _TEXT),
}
_NARROW = {"attempt", "partition"}


def _records_of(record: type[HistoryRecord]) -> st.SearchStrategy[HistoryRecord]:
    values = {field.name: _INT if field.name in _NARROW else _TYPES[field.type] for field in fields(record)}
    return st.builds(record, **values)


RECORDS = st.one_of([_records_of(record) for record in get_args(HistoryRecord)])
MARKS = st.builds(Mark, st.just(0), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))


@settings(deadline=None)
@given(MARKS, st.lists(RECORDS, max_size=5), st.integers(0, 1023))
def test_what_is_encoded_is_decoded(mark: Mark, records: list[HistoryRecord], partition: int) -> None:
    decoder = Decoder()
    encoded = encode(Told(mark, records), partition)
    assert [decoder.decode(value) for _, value in encoded] == [
        Entry(f"{partition}.{mark.epoch}.{mark.n}.{index}", record) for index, record in enumerate(records)
    ]


@settings(deadline=None)
@given(RECORDS)
def test_the_bytes_are_fastavros(record: HistoryRecord) -> None:
    schema = schemas.load()[type(record)]
    datum = {"id": "0.1.2.0", **asdict(record)}
    if datum.get("error") is not None:
        datum["error"] = asdict(datum["error"])
    expected = BytesIO()
    fastavro.schemaless_writer(expected, schema.parsed, datum)
    [(_, value)] = encode(Told(Mark(0, 1, 2), [record]), 0)
    assert value[10:] == expected.getvalue()
