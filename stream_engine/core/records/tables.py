"""The tables of a partition's state: what the journal folds to.

A table is a key prefix and the struct that its values are. Keys are text parts joined by a zero byte, or for ordered tables
a big-endian time first, so that the store's byte order is the order of time.
"""

from typing import Generic, TypeVar

import msgspec

from stream_engine.core.failure import Failure
from stream_engine.core.records.journal import FIRST, Checkpoint, Event, Gate, Mark, Record
from stream_engine.core.records.origin import Origin
from stream_engine.core.records.requests import Ask, Caller, Entry, Handlers, Pass, Span
from stream_engine.core.records.wanted import Wanted

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class Table(Generic[T]):
    """One kind of entry: a one-byte prefix and the type of its values."""

    def __init__(self, prefix: bytes, type_: type[T]) -> None:
        self.prefix = prefix
        self.stop = bytes([prefix[0] + 1])
        self._decode = msgspec.msgpack.Decoder(type_).decode

    def key(self, *parts: str) -> bytes:
        """Return the key of an entry named by text parts."""
        return self.prefix + "\0".join(parts).encode()

    def timed_key(self, at: int, *parts: str) -> bytes:
        """Return the key of an entry that sorts by a time first (milliseconds, not negative)."""
        return self.prefix + at.to_bytes(8, "big") + "\0".join(parts).encode()

    def numbered_key(self, name: str, number: int) -> bytes:
        """Return the key of an entry that sorts by a number (not negative) under a name."""
        return self.prefix + name.encode() + b"\0" + number.to_bytes(8, "big")

    def decode(self, raw: bytes) -> T:
        """Return the value that ``encode`` wrote."""
        return self._decode(raw)


def encode(value: Record) -> bytes:
    """Return the bytes of a table's value."""
    return _encode(value)


def parts(key: bytes) -> list[str]:
    """Return the text parts of a key that `Table.key` made."""
    return key[1:].decode().split("\0")


def timed_parts(key: bytes) -> tuple[int, list[str]]:
    """Return the time and the text parts of a key that `Table.timed_key` made."""
    return int.from_bytes(key[1:9], "big"), key[9:].decode().split("\0")


class Folded(Record, frozen=True):
    """How far the state has come; written with every batch, so that state and place can never disagree.

    ``topic_id`` is that of the journal: a topic created again is another journal. ``commands``, ``now`` and ``told`` are those
    of the last `Decided` that counted, ``checkpoint`` is the last that one named. ``written`` is how many bytes of the journal
    have counted so far. ``crc`` is the CRC-32 of the record at the mark, ``origin`` what this is the fold of; both are None in
    what the first engines wrote. ``format`` is the newest of any record that was folded.
    """

    topic_id: str
    mark: Mark = Mark()
    commands: int = 0
    now: int = 0
    told: Mark = Mark()
    written: int = 0
    checkpoint: Checkpoint | None = None
    crc: int | None = None
    origin: Origin | None = None
    format: int = FIRST

    @property
    def journal(self) -> int:
        """The offset of the journal from which the fold goes on; below the mark where history has not been told so far."""
        return max(0, min(self.mark.offset, self.told.offset + 1))


class Run(Record, frozen=True):
    """A run that has not ended.

    ``status``: ``delayed`` (until its event's time), ``queued`` (until there is room for it), ``running`` (its code is loaded, or
    will be when a leader takes over), ``sleeping`` (unloaded until a timer), ``retrying`` (its body failed; until a timer),
    ``lent`` (its code is still running in the worker that led the partition before; until a timer), ``parked`` (its
    function's code is not in the app). ``root`` is what idempotency keys derive from. ``shared`` names the run's event where
    other runs have it too; ``span`` has all of them where it has several. Of its ``gates`` it has passed so many; a queued run that has not
    passed all of them waits at the next one, by its ``order``. ``cancelled`` says why it is to end, once what is running of it has stopped,
    and ``ends_as`` as what, if not ``cancelled``. It is to begin by ``start_by`` and to end by ``finish_by``, 0 for any time.
    ``reused`` says that it has steps of an earlier run before it begins, ``rerun_of`` which run an operator had run again. ``cancellers`` are
    the slots where it waits for events that cancel it. ``moment`` is its time in its replay (see `stream_engine.core.gates.event_time`), 0 outside of one.
    ``handlers`` are what its function declared when it was admitted, and again when it began.
    ``asks`` is how many questions to gates it has given up; an answer to one of these is passed over.
    """

    function: str
    version: str
    status: str
    root: str
    created_at: int
    started_at: int = 0
    attempt: int = 0
    wake_at: int = 0
    replay_id: str | None = None
    of_run: str | None = None
    error: Failure | None = None
    shared: str = ""
    gates: tuple[Gate, ...] = ()
    passed: int = 0
    order: int = 0
    span: Span | None = None
    cancelled: str = ""
    ends_as: str = ""
    start_by: int = 0
    finish_by: int = 0
    caller: Caller | None = None
    reused: bool = False
    rerun_of: str = ""
    cancellers: tuple[str, ...] = ()
    moment: int = 0
    handlers: Handlers | None = None
    asks: int = 0


class Child(Record, frozen=True):
    """The run that a step has invoked; ``topic`` is where commands to its app go. It is ``detached`` if it outlives who invoked it."""

    topic: str
    run_id: str
    detached: bool = False


class Awaited(Record, frozen=True):
    """What a step waits for; see `stream_engine.core.records.wanted.Await`."""

    wanted: Wanted
    after: bytes
    keep: int


class Step(Record, frozen=True):
    """What is known of a step. ``order`` is its place among the results of its run, by which they are delivered again.

    ``status``: ``completed`` and ``failed`` are final; ``retrying`` and ``sleeping`` last until ``wake_at``, and so does ``lent``:
    the worker that led the partition before still has the body, and may return its result. ``result`` is JSON.
    A step that invoked a ``child``, or waits for what is ``awaited``, is ``waiting``; of one that failed, ``reason`` says how (see
    `stream_engine.core.records.requests.Reply`). So is one that somebody outside is to complete; if nobody did in time, its ``reason`` says so.
    """

    kind: str
    status: str
    order: int
    attempt: int
    started_at: int
    ended_at: int
    wake_at: int = 0
    result: bytes | None = None
    error: Failure | None = None
    reason: str = ""
    child: Child | None = None
    awaited: Awaited | None = None


class Ended(Record, frozen=True):
    """A run that ended, kept as long as its event's id must be recognised."""

    at: int
    status: str


class Timer(Record, frozen=True):
    """Something is due. ``kind``: ``start``, ``retry``, ``wake`` (of a step), ``forget`` (of the keys listed), ``enter`` (of an entry), or, with
    a gate's id for the run, ``gate`` (somebody may pass) and ``buffer`` (what it gathered is complete), or ``cron`` (of a function), or a kind of
    `stream_engine.core.stages.timeouts`, `stream_engine.core.stages.invoking`, `stream_engine.core.stages.awaiting`, `stream_engine.core.waits.offers`, `stream_engine.core.partition.intake` or
    `stream_engine.core.stages.callbacks`.
    """

    kind: str
    run: str = ""
    step: str = ""
    keys: tuple[bytes, ...] = ()


class Waits(Record, frozen=True):
    """A run waits for room since a time; its key says for which function, and its place (see `stream_engine.core.partition.waiting`)."""

    since: int


class GateState(Record, frozen=True):
    """What a gate has let through, and who waits there.

    ``gate`` is what was last declared of it, ``function`` by which function. ``held`` runs have passed and not freed it (of a throttle:
    not begun), not counting guests, ``waiting`` runs wait, none of them before ``front``. ``number`` counts the starts of a throttle or rate limit. ``timer`` is when
    its timer is due, 0 for never. Of a singleton, ``holder`` is the run that has passed, and ``successor`` the one that is to replace it.
    A gate of a replay, or one with a ``newest``, was ``asked`` last at that time on the clock; others have 0. The ``newest`` run that has asked for
    a singleton which replaces is remembered by its moment and its place on the log: an older one that comes late does not replace it.
    """

    gate: Gate
    function: str
    held: int = 0
    waiting: int = 0
    front: bytes = b""
    number: int = 0
    timer: int = 0
    holder: str = ""
    successor: str = ""
    asked: int = 0
    newest: bytes = b""


class Claim(Record, frozen=True):
    """A run has passed a gate, or waits there: then ``place`` is its key among those that wait, and ``number`` that of its question.

    A slot may have several runs in it: ``of`` is whose it is, if not the run's own; that run's claim has the number of the others, its ``guests``, and stays
    as long as there are any, ``left`` behind by the run itself if need be.
    """

    since: int
    place: bytes = b""
    number: int = 0
    of: str = ""
    guests: int = 0
    left: bool = False


class Token(Record, frozen=True):
    """A start that counts in the windows of a throttle or rate limit."""

    at: int


class Buffer(Record, frozen=True):
    """What a debounce or a batch gathers: the entry that it will be, and since when, until when, how many events and bytes.

    ``name`` is that of its events where all are kept, ``timer`` when its timer is due. The events with numbers in ``removed`` were taken out.
    In a replay ``since`` and ``due`` are event time, and ``until`` is when it goes on by the clock; elsewhere that is 0.
    """

    entry: Entry
    name: str
    since: int
    due: int
    timer: int
    count: int = 0
    size: int = 0
    is_batch: bool = False
    removed: tuple[int, ...] = ()
    until: int = 0


class Known(Record, frozen=True):
    """The run that an event's id, or a value of an idempotency expression, has had; in a replay, at which moment.

    Where a debounce or a batch gives the event to another run, nobody knows that one here, so of a value it is kept which ``event`` has had it, by its id.
    """

    run_id: str
    moment: int = 0
    event: str = ""


class Arrival(Record, frozen=True):
    """What is held before a gate of a replay until a time on the clock; its key has its place by event time."""

    until: int
    command: Pass | Ask


class Held(Record, frozen=True):
    """The debounce or batch, by its gate's id, in whose buffer a run waits."""

    gate: str


class Dismissal(Record, frozen=True):
    """Why a run is cancelled that has not been seen here; whatever of it comes by is taken out."""

    reason: str


class Scheduled(Record, frozen=True):
    """When a cron trigger of a function is due next, in milliseconds since the epoch, or -1 for never, by an expression in a zone."""

    expression: str
    tz: str
    tick: int


class Intake(Record, frozen=True):
    """What has arrived from one source of commands, of a replay with the time when it last did; see `stream_engine.core.partition.intake`."""

    floor: int
    seen: tuple[int, ...] = ()
    at: int = 0


class Outgoing(Record, frozen=True):
    """A message that waits to be sent, kept until its destination has acknowledged it.

    ``partition`` is None where the key, or the client's partitioner, decides.
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Sequence(Record, frozen=True):
    """The number that the next message of an outbox queue gets."""

    next: int


class Uses(Record, frozen=True):
    """How many runs still have a shared event."""

    left: int


FOLDED = Table(b"m", Folded)
RUNS = Table(b"r", Run)
EVENTS = Table(b"v", Event)
USES = Table(b"u", Uses)
STEPS = Table(b"s", Step)
ENDED = Table(b"z", Ended)
TIMERS = Table(b"t", Timer)
WAITING = Table(b"w", Waits)
INTAKE = Table(b"i", Intake)
OUTBOX = Table(b"o", Outgoing)
SEQUENCES = Table(b"q", Sequence)

ENTRIES = Table(b"e", Entry)
GATES = Table(b"g", GateState)
CLAIMS = Table(b"c", Claim)
PLACES = Table(b"p", Waits)
TOKENS = Table(b"k", Token)
BUFFERS = Table(b"b", Buffer)
GATHERED = Table(b"x", Event)
KNOWN = Table(b"y", Known)
CRONS = Table(b"n", Scheduled)
HELD = Table(b"h", Held)
ARRIVALS = Table(b"l", Arrival)
DISMISSED = Table(b"d", Dismissal)

FOLDED_KEY = FOLDED.key("")
