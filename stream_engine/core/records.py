"""What is written to the internal topics: the journal's records, and the commands that partitions and routers send.

All are MessagePack arrays of `msgspec` structs. The compatibility rule: a field is only ever added, at the end, with a
default; none is removed, renamed or given another type; new kinds get new tags. So an engine reads whatever an older one wrote.

The other direction needs a number. To a decoder that does not know a field, there is none: it reads an entry of the state, and
writes it back without what it passed over. Every change (a field, a kind of record or command, a table, a new value of a word) is therefore
a *format*, and each record that stands by itself says of which format the newest thing in it may be. Who does not know that
format stops at the record (`UnreadableError`), before it has decided upon anything behind it.

A change takes two releases, so that one can be deployed beside its predecessor, and taken back. The first one raises ``READS``:
it knows the new thing, keeps it and acts on it, and never makes one by itself. The next one raises ``WRITES``. ADR 9 has the reasons.
"""

from typing import Any, TypeVar

import msgspec

from stream_engine.core.failure import Failure
from stream_engine.core.history import HistoryRecord

FIRST = 1
"""The format of what does not say which it has."""

READS = 1
"""The newest format that this engine knows; it reads all from the first to this one."""

WRITES = 1
"""The newest format that this engine makes use of by itself: ``READS``, or the one before."""

T = TypeVar("T", "JournalRecord", "Commands", "StateRecord")


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
    offset of its first record in the state topic, ``size`` its length in bytes. ``written`` is `Folded.written` at ``mark``.
    """

    mark: Mark
    told: Mark
    commands: int
    first: int
    size: int
    written: int

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


class SnapshotId(Record, frozen=True):
    """Which snapshot a record of the state topic belongs to: the journal's topic id, and the writer's epoch and count."""

    topic_id: str
    epoch: int
    serial: int


class Chunk(Record, frozen=True, tag="chunk"):
    """Entries of a partition's state, as they were at one place of the journal.

    ``number`` counts the chunks of a snapshot from 0. ``journal`` is the offset that a reader of the snapshot goes on from.
    """

    id: SnapshotId
    journal: int
    number: int
    entries: list[tuple[bytes, bytes]]
    format: int = FIRST


class Complete(Record, frozen=True, tag="complete"):
    """The end of a snapshot: how many chunks it has, and the entry that says of which place it is the state."""

    id: SnapshotId
    chunks: int
    folded: bytes
    format: int = FIRST


StateRecord = Chunk | Complete


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
    ``most`` are the numbers of `stream_engine.core.flow` (of a throttle, ``limit`` includes the burst; ``per`` is a debounce's period and a
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


class Asked(Record, frozen=True):
    """A function that an event is for, and the gates that its run has to pass, in their order.

    ``home`` is the partition where the run lives, or -1 for that of its event. ``head_start`` is in milliseconds.
    """

    function: str
    gates: tuple[Gate, ...]
    home: int = -1
    head_start: int = 0


class Admit(Record, frozen=True, tag="admit"):
    """An event is to be admitted to the functions that match it: ``functions`` without gates, ``asked`` with them."""

    event: Event
    functions: list[str]
    replay_id: str | None = None
    asked: list[Asked] = []


class Handle(Record, frozen=True, tag="handle"):
    """A run has ended badly; the handler that its function declared is to run, with what the run was about."""

    function: str
    run_name: str
    of_run: str
    event: Event
    error: Failure
    replay_id: str | None = None


class ReturnStep(Record, frozen=True, tag="return step"):
    """What a step came to that was lent to the worker which led its partition before: ``result`` (JSON), or ``error``.

    After an error it is tried again after ``retry_in`` milliseconds, or never if that is None. Neither: it did not come to
    its end, and is to be begun again.
    """

    run_id: str
    step_id: str
    attempt: int
    started_at: int
    result: bytes | None
    error: Failure | None = None
    retry_in: int | None = None


class ReturnRun(Record, frozen=True, tag="return run"):
    """What a run's code came to that was lent: ``result``, ``error`` with ``retry_in`` as in `ReturnStep`, or neither.

    Neither: it did not come to its end, or asked for another step, and is to be executed anew.
    """

    run_id: str
    attempt: int
    result: bytes | None
    error: Failure | None = None
    retry_in: int | None = None


Command = Admit | Handle | ReturnStep | ReturnRun


class Commands(Record, frozen=True):
    """One record of the commands topic: commands of one source to one partition, in order.

    ``source`` names the sender for good (see `stream_engine.core.intake`); it is empty where repeats do no harm, and are taken,
    because the state says whether a command is still wanted. Each command has a sequence number. From a
    router these are offsets of the events topic, with gaps, and everything below ``floor`` is known to have arrived; from
    another partition's leader they are dense, and ``floor`` is None.
    """

    source: str
    floor: int | None
    items: list[tuple[int, Command]]
    format: int = FIRST


_encoder = msgspec.msgpack.Encoder()
_journal_decoder: msgspec.msgpack.Decoder[JournalRecord] = msgspec.msgpack.Decoder(JournalRecord)
_commands_decoder = msgspec.msgpack.Decoder(Commands)
_state_decoder: msgspec.msgpack.Decoder[StateRecord] = msgspec.msgpack.Decoder(StateRecord)


def encode(value: Any) -> bytes:
    """Return a record's bytes."""
    return _encoder.encode(value)


class ForeignError(Exception):
    """Bytes that no engine wrote: somebody else wrote to the topic. They say nothing, and are passed over."""


class UnreadableError(Exception):
    """What a newer engine wrote: to pass over what is new in it would be wrong, so an older worker has to stop here."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: a newer engine serves the app, or has served it; what it wrote is safe, and only that engine, or one that is newer "
            "still, can go on from there"
        )


def check_format(format: int) -> None:  # noqa: A002 - the field's name
    """Look at what something that was written says of its format.

    Raises:
        UnreadableError: this engine does not know the format.
    """
    if format > READS:
        raise UnreadableError(f"it has format {format}, and this engine reads formats up to {READS}")


def decode_journal(raw: bytes) -> JournalRecord:
    """Return a record of the journal.

    Raises:
        ForeignError: the bytes are of no engine.
        UnreadableError: they are of a newer one.
    """
    return _decode(_journal_decoder, raw)


def decode_commands(raw: bytes) -> Commands:
    """Return a record of the commands topic.

    Raises:
        ForeignError: the bytes are of no engine.
        UnreadableError: they are of a newer one.
    """
    return _decode(_commands_decoder, raw)


def decode_state(raw: bytes) -> StateRecord:
    """Return a record of the state topic.

    Raises:
        ForeignError: the bytes are of no engine.
        UnreadableError: they are of a newer one.
    """
    return _decode(_state_decoder, raw)


def _decode(decoder: msgspec.msgpack.Decoder[T], raw: bytes) -> T:
    try:
        record = decoder.decode(raw)
    except _UNDECODABLE as error:
        if _is_ours(raw):
            raise UnreadableError(
                f"this engine, which reads formats up to {READS}, cannot read it ({error})"
            ) from error
        raise ForeignError(f"no engine wrote these {len(raw)} bytes: {error}") from error
    check_format(record.format)
    return record


def _is_ours(raw: bytes) -> bool:
    """Return whether bytes begin as all records do in every version: an array that begins with a text."""
    try:
        value = msgspec.msgpack.decode(raw)
    except _UNDECODABLE:
        return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
