"""What steps of live runs came to, by the events of the runs, on disk: a replay may take over more than fits in memory.

It lies in a file of SQLite's whose name is gone as soon as it is open, so that nothing is left of it, whatever becomes of the process. It is filled from
history, and then asked event by event, by one thread at a time.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from stream_engine.core.records.history import EventDisposed, RunStarted, StepRecorded
from stream_engine.core.records.requests import Reused
from stream_engine.core.stages.reuse import Taken, composition, reusable
from stream_engine.core.views.caused import INTERIM
from stream_engine.core.views.members import Place, run_of
from stream_engine.core.views.runs import journal_place
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.codec import Entry

_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -16384;
CREATE TABLE begun (run TEXT PRIMARY KEY, topic TEXT, number INTEGER, position INTEGER) WITHOUT ROWID;
CREATE INDEX places ON begun (number, position);
CREATE TABLE member (run TEXT, topic TEXT, number INTEGER, position INTEGER, PRIMARY KEY (run, topic, number, position)) WITHOUT ROWID;
CREATE TABLE step (run TEXT, id TEXT, epoch INTEGER, n INTEGER, place INTEGER, value BLOB, PRIMARY KEY (run, id)) WITHOUT ROWID;
"""
_BEGUN: Final = "INSERT OR IGNORE INTO begun VALUES (?, ?, ?, ?)"
_MEMBER: Final = "INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?)"
_STEP: Final = "INSERT OR IGNORE INTO step SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM begun WHERE run = ?)"
_encode: Final = msgspec.msgpack.encode
_reused: Final = msgspec.msgpack.Decoder(Reused)

Wants = Callable[[RunStarted], bool]


class Steps:
    """The steps that runs of a function have completed, and of which events the runs were. Close it."""

    def __init__(self, folder: Path, function: str, wants: Wants, *, keeps_all: bool) -> None:
        """Begin with none, in a file in a folder; ``wants`` says of which runs, and ``keeps_all`` what `run_of` has to know.

        Raises:
            UserError: there can be no file.
        """
        self._folder = folder
        self._function = function
        self._wants = wants
        self._keeps_all = keeps_all
        self._newest: tuple[Place, Taken | None] | None = None
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix="replay-") as inside:
                # One thread fills it, and another one asks it then.
                self._db = sqlite3.connect(Path(inside) / "steps", isolation_level=None, check_same_thread=False)
                self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"cannot write what steps a replay takes over to {folder}: {error}") from error
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Have the disk's space given free."""
        self._db.close()

    def take(self, entries: Iterable[Entry]) -> None:
        """Take records of history, each partition's in their order: what is told of a run before its start is passed over.

        Raises:
            UserError: there is no room for them.
        """
        try:
            for entry in entries:
                if entry.record.function == self._function:
                    self._take(entry)
        except sqlite3.Error as error:
            raise UserError(f"what steps a replay takes over does not fit into {self._folder}: {error}") from error

    def get(self, place: Place, /) -> Taken | None:
        """Return what the run of an event takes over, or None if the event had no run of those."""
        # The same event is asked for again at once.
        if self._newest is None or self._newest[0] != place:
            self._newest = place, self._get(place)
        return self._newest[1]

    def _take(self, entry: Entry) -> None:
        record = entry.record
        if isinstance(record, StepRecorded):
            for one in reusable([record]):
                where = journal_place(entry.id)
                self._db.execute(_STEP, (record.run_id, record.step_id, *where, _encode(one), record.run_id))
        elif not isinstance(record, RunStarted | EventDisposed) or record.replay_id is not None:
            return
        elif isinstance(record, RunStarted):
            if record.rerun_of is None and self._wants(record):
                self._keep(_BEGUN, record.run_id, record)
        elif record.disposition not in INTERIM and (run := run_of(record, keeps_all=self._keeps_all)):
            self._keep(_MEMBER, run, record)

    def _keep(self, command: str, run: str, record: RunStarted | EventDisposed) -> None:
        self._db.execute(command, (run, record.topic, record.partition, record.offset))

    def _get(self, place: Place) -> Taken | None:
        own = self._db.execute("SELECT run, topic FROM begun WHERE number = ? AND position = ?", place).fetchone()
        if own is None:
            return None
        run, topic = own
        others = self._db.execute("SELECT topic, number, position FROM member WHERE run = ?", (run,)).fetchall()
        steps = self._db.execute("SELECT value FROM step WHERE run = ? ORDER BY epoch, n, place", (run,))
        return Taken(tuple(_reused.decode(raw) for (raw,) in steps), composition({(topic, *place), *others}))
