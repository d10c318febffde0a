"""The run index of an app on this machine: a RocksDB in the state folder, which whoever asks first brings up to date.

It is nobody's duty to keep it, so it is in no worker's way: `ask` opens it, reads what history has had since the last time, up to
an end that is captured first, and closes it again. One process at a time has it; others wait for their turn. Everything in it is
history's: an index that is doubtful or damaged is emptied, and built anew from what history still has.
"""

import fcntl
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from stream_engine.core.views import run_index
from stream_engine.core.views.index_keys import LAYOUT
from stream_engine.core.views.run_index import Batch, Where
from stream_engine.core.views.run_listing import Selection
from stream_engine.core.views.runs import FoldedRun
from stream_engine.shell import clients, topics
from stream_engine.shell.control import engine_version
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.reader import HistoryReader, Progress, Span
from stream_engine.shell.settings import Settings
from stream_engine.shell.store import DamagedError, RocksStore, shared_memory
from stream_engine.shell.topics import Names

_log = logging.getLogger(__name__)
_FOLDER: Final = "index"
_BATCH: Final = 20_000
_EXPIRE: Final = 10_000

T = TypeVar("T")


class Runs(NamedTuple):
    """The newest runs of a selection, the newest first; ``left_out`` tells whether there are more of them."""

    runs: list[FoldedRun]
    left_out: bool


class Index:
    """The index, as it is on disk; `ask` gives one that is up to date."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store

    def list(self, selection: Selection, limit: int | None = None, *, whole: bool = False) -> Runs:
        """Return the newest ``limit`` runs of a selection; long results are left out unless they are wanted ``whole``.

        Raises:
            StoreError, DamagedError: RocksDB cannot read it.
        """
        found = run_index.newest(self._store, selection)
        runs = [run_index.load(self._store, run_id, whole=whole) for run_id in islice(found, limit)]
        return Runs([run for run in runs if run is not None], next(found, None) is not None)

    def run(self, run_id: str) -> FoldedRun | None:
        """Return a run with all that history tells of it, or None if it tells nothing.

        Raises:
            StoreError, DamagedError: RocksDB cannot read it.
        """
        return run_index.load(self._store, run_id, whole=True)

    def longest_wait(self) -> FoldedRun | None:
        """Return the run whose wait ends longest after it was created, or None if none waits for a time.

        Raises:
            StoreError, DamagedError: RocksDB cannot read it.
        """
        run_id = run_index.longest_wait(self._store)
        return None if run_id is None else self.run(run_id)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many runs there are by function and status.

        Raises:
            StoreError, DamagedError: RocksDB cannot read it.
        """
        return run_index.counts(self._store)

    def bring_up_to_date(self, reader: HistoryReader, topic: str, progress: Progress | None = None) -> None:
        """Take what history has and the index has not; ``topic`` is Kafka's id of the history topic.

        Raises:
            HistoryError: there is no such app, or Kafka refuses.
            NoAnswerError: Kafka does not answer.
            StoreError, DamagedError: RocksDB cannot read or write.
        """
        span = reader.span(reader.partitions())
        known = self._trusted(topic, span)
        left = Span({number: known.next.get(number, start) for number, start in span.start.items()}, span.end)
        taken, batch = 0, Batch()
        for entries in reader.read(left, progress=progress):
            for entry in entries:
                batch.add(entry.id, entry.record, entry.partition, entry.offset)
            if batch.size >= _BATCH:
                known = self._take(batch, _moved(known, batch.next, reader))
                taken, batch = taken + batch.size, Batch()
        if batch.size or known.next != span.end:
            known = self._take(batch, _moved(known, span.end, reader))
        if known.expired != span.start:
            # As many as may have come, at least: the index does not grow for ever, and nobody waits for long.
            self._store.write(run_index.expire(self._store, known, span.start, _EXPIRE + taken + batch.size))

    def empty(self) -> None:
        """Forget everything.

        Raises:
            StoreError: RocksDB cannot open the folder again.
        """
        self._store.empty()

    def _trusted(self, topic: str, span: Span) -> Where:
        """Return how far the index has come, after emptying it if it is not to be trusted."""
        known, engine = run_index.where(self._store), engine_version()
        doubt = None if known is None else known.doubt(topic, engine, span.start, span.end)
        if known is not None and doubt is None:
            return Where(LAYOUT, topic, engine, known.next, known.expired, known.passed_over)
        if doubt is not None:
            _log.warning("the run index in %s is built anew: %s", self._store.path, doubt)
        self._store.empty()
        return Where(LAYOUT, topic, engine, dict(span.start), dict(span.start))

    def _take(self, batch: Batch, then: Where) -> Where:
        self._store.write(run_index.take(self._store, batch, then))
        return then


def ask(settings: Settings, app: str, question: Callable[[Index], T], progress: Progress | None = None) -> T:
    """Return the answer of an index that has come to where history ended when it was asked.

    ``question`` gets the index, and must be done with it when it returns; it is asked again if files turn out to be damaged.

    Raises:
        UserError: there is no such app, Kafka does not answer, or the state folder cannot be used; and what ``question`` raises.
    """
    with HistoryReader(settings, app) as reader:
        reader.partitions()
        topic = topics.topic_id(clients.admin(settings), Names.of(app).history)
        with _opened(settings.state_dir / app / _FOLDER) as index:
            try:
                index.bring_up_to_date(reader, topic, progress)
                return question(index)
            except DamagedError as error:
                _log.warning("%s; the run index is built anew", error)
                index.empty()
            index.bring_up_to_date(reader, topic, progress)
            return question(index)


@contextmanager
def _opened(folder: Path) -> Iterator[Index]:
    """Have the index for oneself."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise UserError(
            f"cannot keep a run index in {folder}: {error.strerror}; set STREAM_ENGINE_STATE_DIR to a folder that you can write to"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process has the run index in %s; waiting for it", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        store = RocksStore(folder / "runs", shared_memory())
        try:
            yield Index(store)
        finally:
            store.close()


def _moved(known: Where, onward: Mapping[int, int], reader: HistoryReader) -> Where:
    passed_over = known.passed_over + reader.decoder.unreadable.total()
    reader.decoder.unreadable.clear()
    return Where(known.layout, known.topic, known.engine, known.next | dict(onward), known.expired, passed_over)
