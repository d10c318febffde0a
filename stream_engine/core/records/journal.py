"""What is written to the journal, and what it shares with the commands topic, whose records are in `stream_engine.core.records.requests`.

All are MessagePack arrays of `msgspec` structs. The compatibility rule: a field is only ever added, at the end, with a
default; none is removed, renamed or given another type; new kinds get new tags. So an engine reads whatever an older one wrote.

The other direction needs a number. To a decoder that does not know a field, there is none: it reads an entry of the state, and
writes it back without what it passed over. Every change (a field, a kind of record or command, a table, a new value of a word) is therefore
a *format*, and each record that stands by itself says of which format the newest thing in it may be. Who does not know that
format stops at the record (`UnreadableError`), before it has decided upon anything behind it.

A change takes two releases, so that one can be deployed beside its predecessor, and taken back. The first one raises ``READS``:
it knows the new thing, keeps it and acts on it, and never makes one by itself. The next one raises ``WRITES``. ADR 9 has the reasons.
"""

from typing import Any

import msgspec

from stream_engine.core.records.history import HistoryRecord

FIRST = 1
"""The format of what does not say which it has."""

READS = 2
"""The newest format that this engine knows; it reads all from the first to this one."""

WRITES = 2
"""The newest format that this engine makes use of by itself: ``READS``, or the one before."""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of everything that is written to the journal, the commands topic or the store."""


class Mark(Record, frozen=True):
    """A place in a journal, with the epoch and number of the last record that counted there.

    ``offset`` is -1 before the first record. ``epoch`` is the offset of the ``LeaderElected`` in force, -1 before the
    first; ``n`` numbers the records of that epoch that counted.
    """

    offset: int = -1
    epoch: int = -1
    n: int = 0


class Checkpoint(Record, frozen=True):
    """A complete snapshot of the state in the state topic, named by a record of the journal so that logs may be trimmed.

    ``mark`` is the place in the journal whose fold it holds; ``told`` and ``commands`` are that fold's. ``first`` is the
    offset of its first record in the state topic, ``size`` its length in bytes. ``written`` is `Folded.written` at ``mark``. ``topic`` is
    Kafka's id of the state topic: in one that was created again, the snapshot is not there.
    """

    mark: Mark
    told: Mark
    commands: int
    first: int
    size: int
    written: int
    topic: str = ""

    @property
    def journal(self) -> int:
        """The offset of the journal that a reader of the snapshot goes on from; what lies below is not read any more."""
        return max(0, min(self.mark.offset, self.told.offset + 1))


class LeaderElected(Record, frozen=True, tag="elected"):
    """A worker takes the lead of the partition; the offset that this record gets is its epoch."""

    leader: str
    at: int
    format: int = FIRST


class Decided(Record, frozen=True, tag="decided"):
    """The outcome of a group of decisions, as physical changes: recovery puts and deletes, whatever the code's version.

    ``commands`` is the offset of the next record to take from the commands topic; ``now`` is journal time, which never
    goes back; ``told`` says up to which record of this journal the history topic has acknowledged everything.
    ``checkpoint`` names a snapshot; most records name none.
    """

    epoch: int
    n: int
    commands: int
    now: int
    told: Mark
    puts: list[tuple[bytes, bytes]]
    deletes: list[bytes]
    history: list[HistoryRecord]
    checkpoint: Checkpoint | None = None
    format: int = FIRST


JournalRecord = LeaderElected | Decided


class Event(Record, frozen=True):
    """An event as it travels inside the engine; ``data`` is its JSON text, as the producer wrote it.

    ``ts`` is the producer's time or the log's; ``timestamp`` is the log's. Both are milliseconds since the epoch.
    """

    name: str
    identity: str
    id: str
    ts: int
    timestamp: int
    topic: str
    partition: int
    offset: int
    data: bytes
    key: bytes | None = None
    sender: str | None = None


class Gate(Record, frozen=True):
    """Something that a run has to pass before it starts, with what its function declares of it, and whose key it is.

    ``kind``: ``idempotency``, ``debounce``, ``batch``, ``rate limit``, ``singleton``, ``throttle`` or ``concurrency``. ``id``
    stands for kind, ``scope`` (a function or a pool), key and, where live and replayed events are kept apart, replay id. ``key``
    is the key's text for readers, cut short; it is empty where there is none. ``partition`` owns the gate's state. ``limit``, ``per`` and
    ``most`` are the numbers of `stream_engine.core.functions.flow` (of a throttle, ``limit`` includes the burst; ``per`` is a debounce's period and a
    batch's timeout, ``most`` a debounce's longest wait and a batch's bytes, 0 for none), ``mode`` is its word.
    """

    kind: str
    id: str
    scope: str
    key: str
    partition: int
    limit: int = 0
    per: int = 0
    most: int = 0
    mode: str = ""


_encoder = msgspec.msgpack.Encoder()


def encode(value: Any) -> bytes:
    """Return a record's bytes."""
    return _encoder.encode(value)
