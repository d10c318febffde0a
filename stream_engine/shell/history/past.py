"""What history and the log have of the runs of a time, by run, on disk: more than fits in memory can be looked at, a run at a time.

It lies in a temporary file of SQLite's, in the state folder, and is gone with whoever made it: `Pasts` is filled from history, then with what the runs have
sent and gathered, as the log is read, and then asked, event by event.
"""

import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec.structs import replace

from stream_engine.core.records.history import EventDisposed, HistoryRecord, RunEnded, RunStarted, StepRecorded
from stream_engine.core.views.members import run_of
from stream_engine.core.views.rehearsal import Past, SentEvent, past
from stream_engine.core.views.runs import journal_place
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry

_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE record (run TEXT, epoch INTEGER, n INTEGER, place INTEGER, value BLOB, PRIMARY KEY (run, epoch, n, place)) WITHOUT ROWID;
CREATE TABLE begun (topic TEXT, number INTEGER, position INTEGER, function TEXT, run TEXT, PRIMARY KEY (topic, number, position, function, run)) WITHOUT ROWID;
CREATE TABLE disposed (topic TEXT, number INTEGER, position INTEGER, function TEXT, PRIMARY KEY (topic, number, position, function)) WITHOUT ROWID;
CREATE TABLE again (topic TEXT, number INTEGER, position INTEGER, function TEXT, run TEXT, PRIMARY KEY (topic, number, position, function, run)) WITHOUT ROWID;
CREATE TABLE member (topic TEXT, number INTEGER, position INTEGER, run TEXT, told INTEGER, PRIMARY KEY (topic, number, position, run)) WITHOUT ROWID;
CREATE TABLE child (id TEXT PRIMARY KEY, function TEXT) WITHOUT ROWID;
CREATE TABLE apart (run TEXT PRIMARY KEY, invoked INTEGER) WITHOUT ROWID;
CREATE TABLE sent (run TEXT, id TEXT, value BLOB, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE gathered (run TEXT, told INTEGER, topic TEXT, number INTEGER, position INTEGER, value BLOB, PRIMARY KEY (run, topic, number, position)) WITHOUT ROWID;
CREATE TABLE kept (number INTEGER PRIMARY KEY, value BLOB);
CREATE INDEX members ON member (run);
"""
_OF_ANOTHER: Final = frozenset({"batched", "coalesced"})
_KINDS: Final = RunStarted | StepRecorded | RunEnded
_encode: Final = msgspec.msgpack.encode
_record: Final = msgspec.msgpack.Decoder(HistoryRecord)
_sent: Final = msgspec.msgpack.Decoder(SentEvent)

Place = tuple[str, int, int]
"""The topic, the partition and the offset of an event."""


class Pasts:
    """The pasts of the live runs of topics with events. Use it in a ``with``; a full disk is a `UserError`."""

    def __init__(self, folder: Path, topics: Collection[str]) -> None:
        """Make it in a folder, which is made where it does not exist."""
        self._folder = folder
        self._topics = topics
        self._open = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            inside = self._open.enter_context(tempfile.TemporaryDirectory(dir=self._folder, prefix="check-"))
            self._db = sqlite3.connect(Path(inside) / "pasts", isolation_level=None)
        except OSError as error:
            raise UserError(
                f"cannot write to {self._folder}: {error.strerror}; set STREAM_ENGINE_STATE_DIR to a folder that you can write to"
            ) from error
        self._open.callback(self._db.close)
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()
        if isinstance(error, sqlite3.Error):
            raise UserError(f"what history tells does not fit into {self._folder}: {error}") from error

    def take(self, entries: Iterable[Entry]) -> None:
        """Take records of history, in any order and as often as they come."""
        rows = []
        for entry in entries:
            record = entry.record
            if isinstance(record, EventDisposed):
                self._dispose(record, journal_place(entry.id))
                continue
            if isinstance(record, RunStarted):
                self._begin(record)
            if isinstance(record, _KINDS):
                rows.append((record.run_id, *journal_place(entry.id), _encode(record)))
        self._db.executemany("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?)", rows)

    def sent(self, run: str, event: SentEvent) -> None:
        """Take an event that a run has sent."""
        self._db.execute("INSERT OR IGNORE INTO sent VALUES (?, ?, ?)", (run, event.id, _encode(event)))

    def begun(self, place: Place) -> list[tuple[str, str]]:
        """Return the live runs that an event began, as functions and ids, those of handlers among them."""
        query = "SELECT function, run FROM begun WHERE topic = ? AND number = ? AND position = ? ORDER BY function, run"
        return self._db.execute(query, place).fetchall()

    def disposed(self, place: Place) -> set[str]:
        """Return the functions for which history has another disposition of an event."""
        query = "SELECT function FROM disposed WHERE topic = ? AND number = ? AND position = ?"
        return {function for (function,) in self._db.execute(query, place)}

    def again(self, place: Place, function: str) -> list[str]:
        """Return what replays and reruns of a function have made of an event, as the ids of runs; an empty one stands for what was no run."""
        query = "SELECT run FROM again WHERE topic = ? AND number = ? AND position = ? AND function = ? ORDER BY run"
        return [run for (run,) in self._db.execute(query, (*place, function))]

    def of(self, run: str) -> Past | None:
        """Return the past of a run, or None if its beginning is not known."""
        found = past(self._records(run))
        if found is None:
            return None
        sent = [_sent.decode(raw) for (raw,) in self._db.execute("SELECT value FROM sent WHERE run = ?", (run,))]
        invoked: dict[str, str] = {}
        for step in found.steps.values():
            if step.kind == "invoke":
                row = self._db.execute("SELECT function FROM child WHERE id = ?", (f"{run}/{step.id}",)).fetchone()
                invoked |= {} if row is None else {step.id: row[0]}
        # The run that a handler's is for may have timed out before it began: it has an end, and nothing else.
        of_run = () if found.started.of_run is None else self._records(found.started.of_run)
        error = next((record.error for record in of_run if isinstance(record, RunEnded)), None)
        return replace(found, sent={event.id: event for event in sent}, invoked=invoked, error=error)

    def taken(self, run: str) -> int:
        """Return how many events a run has taken besides its own."""
        found: int = self._db.execute("SELECT count(*) FROM member WHERE run = ?", (run,)).fetchone()[0]
        return found

    def members(self, place: Place) -> list[tuple[str, int]]:
        """Return the runs that took an event of theirs besides another one, and where each told so."""
        query = "SELECT run, told FROM member WHERE topic = ? AND number = ? AND position = ?"
        return self._db.execute(query, place).fetchall()

    def gather(self, run: str, told: int, place: Place, value: bytes) -> None:
        """Keep an event of a run that has several, as bytes of the caller's; ``told`` is its place among them."""
        self._db.execute("INSERT OR IGNORE INTO gathered VALUES (?, ?, ?, ?, ?, ?)", (run, told, *place, value))

    def gathered(self, run: str) -> list[bytes]:
        """Return the events of a run that has several, in their order."""
        query = "SELECT value FROM gathered WHERE run = ? ORDER BY told, topic, number, position"
        return [value for (value,) in self._db.execute(query, (run,))]

    def before(self, place: Place) -> list[str]:
        """Return the runs whose event lay in the same partition, before a place."""
        query = "SELECT run FROM begun WHERE topic = ? AND number = ? AND position < ? ORDER BY position"
        return [run for (run,) in self._db.execute(query, place)]

    def apart(self, *, invoked: bool) -> Iterator[str]:
        """Give the live runs without an event in the topics: those that were invoked, or else those of events in topics that are not read any more."""
        return (run for (run,) in self._db.execute("SELECT run FROM apart WHERE invoked = ?", (invoked,)))

    def keep(self, value: bytes) -> None:
        """Keep a value for later."""
        self._db.execute("INSERT INTO kept (value) VALUES (?)", (value,))

    def kept(self) -> Iterator[bytes]:
        """Give the values that were kept, in their order."""
        return (value for (value,) in self._db.execute("SELECT value FROM kept ORDER BY number"))

    def _records(self, run: str) -> Iterator[HistoryRecord]:
        query = "SELECT value FROM record WHERE run = ? ORDER BY epoch, n, place"
        return (_record.decode(raw) for (raw,) in self._db.execute(query, (run,)))

    def _begin(self, record: RunStarted) -> None:
        if record.replay_id is not None or record.rerun_of is not None:
            self._go_again(record, record.run_id)
            return
        if record.topic in self._topics:
            row = (record.topic, record.partition, record.offset, record.function, record.run_id)
            self._db.execute("INSERT OR IGNORE INTO begun VALUES (?, ?, ?, ?, ?)", row)
            return
        if not record.topic:
            # An invoke finds what it has begun by the id of its event.
            self._db.execute("INSERT OR IGNORE INTO child VALUES (?, ?)", (record.event_id, record.function))
        self._db.execute("INSERT OR IGNORE INTO apart VALUES (?, ?)", (record.run_id, not record.topic))

    def _dispose(self, record: EventDisposed, at: tuple[int, int, int]) -> None:
        if record.replay_id is not None:
            self._go_again(record, "")
            return
        if record.topic not in self._topics:
            return
        where = record.topic, record.partition, record.offset
        self._db.execute("INSERT OR IGNORE INTO disposed VALUES (?, ?, ?, ?)", (*where, record.function))
        if record.disposition in _OF_ANOTHER:
            taken_by = run_of(record, keeps_all=True)
            # A record tells of a thousand events at most, and a partition of one after the other.
            self._db.execute("INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?, ?)", (*where, taken_by, _number(at)))

    def _go_again(self, record: RunStarted | EventDisposed, run: str) -> None:
        if record.topic in self._topics:
            row = record.topic, record.partition, record.offset, record.function, run
            self._db.execute("INSERT OR IGNORE INTO again VALUES (?, ?, ?, ?, ?)", row)


def _number(place: tuple[int, int, int]) -> int:
    """Return a number that is in the order of the places of a term."""
    _, n, index = place
    return n * 100_000 + index
