"""The bytes of `<app>.history`: Avro's single-object encoding, so that every record says which schema it was written with.

A value is ``C3 01``, the fingerprint of the writer's schema (8 bytes), and the body. The key is the run's id, so that a
reader can pass over what it does not look for without decoding it; a record about an event that has no run is keyed by
the event's id.
"""

import functools
import json
import logging
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final, NamedTuple

import fastavro
from msgspec.structs import astuple

from stream_engine.core.failure import Failure
from stream_engine.core.partition.change import Told
from stream_engine.core.records.history import EventDisposed, HistoryRecord
from stream_engine.shell.errors import UserError
from stream_engine.shell.history import schemas
from stream_engine.shell.history.avro import record_writer, string

_log = logging.getLogger(__name__)

_MAGIC: Final = b"\xc3\x01"
_HEADER_BYTES: Final = 10


class Entry(NamedTuple):
    """A record of the history topic, the id that names it for good, and where a reader found it."""

    id: str
    record: HistoryRecord
    partition: int = -1
    offset: int = -1


def encode(told: Told, partition: int) -> list[tuple[bytes, bytes]]:
    """Return the keys and values for what a record of a partition's journal tells, in order.

    Each record's id is ``<partition>.<epoch>.<n>.<index>``, so telling the same again writes the same bytes.
    """
    writers = _writers()
    mark = told.mark
    start = f"{partition}.{mark.epoch}.{mark.n}."
    encoded = []
    for index, record in enumerate(told.records):
        header, write = writers[type(record)]
        key = record.run_id or record.event_id if type(record) is EventDisposed else record.run_id
        encoded.append((key.encode(), header + string(f"{start}{index}") + write(astuple(record))))
    return encoded


def _nothing_published(fingerprint: str) -> None:  # noqa: ARG001 - what `Decoder` asks
    return None


class Decoder:
    """Decodes history of this version of the engine and of others.

    Args:
        published: returns the schema (JSON text) of another version by its fingerprint in hexadecimal, or None where the
            app has not published it: a dict's `get` does. It is asked again for each record whose schema is unknown.

    Attributes:
        unreadable: how many values could not be read, by the reason.
    """

    def __init__(self, published: Callable[[str], str | None] = _nothing_published) -> None:
        self.unreadable: Counter[str] = Counter()
        self._published = published
        self._readers: dict[bytes, Callable[[bytes], Entry]] = {
            schema.fingerprint: _reader(schema, schema.parsed) for schema in schemas.load().values()
        }

    def decode(self, value: bytes) -> Entry | None:
        """Return a record of the history topic, or None if it cannot be read.

        What cannot be read is counted, with one warning in the process for each reason: a later version's record of a kind
        that this version does not know is nothing that a reader can mend, and must not stop it.

        Raises:
            UserError: ``published`` cannot tell now.
        """
        fingerprint = value[2:_HEADER_BYTES]
        if len(fingerprint) < 8 or value[:2] != _MAGIC:
            return self._pass_over("it is not Avro in single-object encoding")
        try:
            read = self._readers.get(fingerprint) or self._learn(fingerprint)
            if read is not None:
                return read(value)
            reason = f"its schema {fingerprint.hex()} is unknown; a newer stream-engine may have written it"
        except UserError:
            raise  # by whoever was asked for the schema
        except Exception as error:  # noqa: BLE001 - damaged bytes make fastavro raise whatever they lead it to
            reason = f"its bytes do not match its schema {fingerprint.hex()} ({type(error).__name__})"
        return self._pass_over(reason)

    def _learn(self, fingerprint: bytes) -> Callable[[bytes], Entry] | None:
        text = self._published(fingerprint.hex())
        if text is None:
            return None
        written = json.loads(text)
        for schema in schemas.load().values():
            if schema.parsed["name"] == f"{written.get('namespace')}.{written.get('name')}":
                read = _reader(schema, schemas.parse(written))
                self._readers[fingerprint] = read
                return read
        return None

    def _pass_over(self, reason: str) -> Entry | None:
        self.unreadable[reason] += 1
        _warn_once(reason)
        return None


@functools.lru_cache(1_000)
def _warn_once(reason: str) -> None:
    """Warn, unless that was done: whoever looks again and again has a decoder each time."""
    _log.warning("a record of the history topic is passed over: %s", reason)


def prefix(record: type[HistoryRecord]) -> bytes:
    """Return what the values of a kind of record begin with, as this version writes them."""
    return _writers()[record][0]


@functools.cache
def _writers() -> dict[type[HistoryRecord], tuple[bytes, Callable[[tuple[Any, ...]], bytes]]]:
    return {
        # The id comes first and is no field of the struct; `encode` writes it.
        record: (_MAGIC + schema.fingerprint, record_writer(schema.parsed["fields"][1:]))
        for record, schema in schemas.load().items()
    }


def _reader(schema: schemas.HistorySchema, written: dict[str, Any]) -> Callable[[bytes], Entry]:
    """Return the function that reads values of the class's schema, written with a schema that may be another version's."""
    record = schema.record
    today = None if written is schema.parsed else schema.parsed

    def read(value: bytes) -> Entry:
        body = BytesIO(value)
        body.seek(_HEADER_BYTES)
        fields = fastavro.schemaless_reader(body, written, today)
        assert isinstance(fields, dict)
        error: Any = fields.get("error")
        if error is not None:
            fields["error"] = Failure(**error)
        name: Any = fields.pop("id")
        return Entry(name, record(**fields))

    return read
