"""The state of one partition on disk: RocksDB, written once for each acknowledged group.

What goes wrong with it is one of two things. Files that are damaged or gone are of no use, and Kafka has all that was in them:
`DamagedError`, and the store is to be emptied and rebuilt. Everything else (a full disk, missing rights, a tool that has the
store open) would be the same after a rebuild: `StoreError`, which ends the worker, so that others take over its partitions.

RocksDB keeps no log of its own, because the journal is one (ADR 8): after a crash the store is what it was some writes ago.
"""

import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from stream_engine.core.partition.change import Change
from stream_engine.core.records.origin import MismatchError
from stream_engine.shell.errors import UserError

_log = logging.getLogger(__name__)
_MEMTABLE_BYTES = 16 * 1024 * 1024
_BUFFERS_BYTES = 64 * 1024 * 1024
_CACHE_BYTES = 64 * 1024 * 1024
_VIEW_BATCH = 500


class Memory(NamedTuple):
    """What the stores of a process share, so that their number does not matter: blocks read, and writes not flushed yet."""

    cache: Cache
    buffers: WriteBufferManager


class StoreError(UserError):
    """RocksDB cannot use the folder, and a rebuilt store would fare no better; the message says which folder and why."""


class DamagedError(MismatchError):
    """Files of the store are damaged or gone; the message says in which folder, and what RocksDB found."""


class ViewClosedError(Exception):
    """The store was closed while a view of it was being read."""


class View:
    """All entries of a store but one, as they were when it was made; may be read on another thread than the store's.

    An iterator, because those that the binding's ``snapshot`` gives show what is written later.
    """

    def __init__(self, path: Path, cursor: RdictIter, without: bytes) -> None:
        self._path = path
        self._cursor: RdictIter | None = cursor
        self._without = without
        self._fault: StoreError | DamagedError | None = None
        self._lock = threading.Lock()
        cursor.seek_to_first()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values, ascending.

        Raises:
            ViewClosedError: the store was closed meanwhile.
            StoreError, DamagedError: RocksDB cannot read the rest.
        """
        while batch := self._batch():
            yield from batch

    def check(self) -> None:
        """Raise again what reading has come upon: a store that cannot be read is not only of no use for views."""
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """Let go of the store, which cannot be opened again before."""
        with self._lock:
            self._cursor = None

    def _batch(self) -> list[tuple[bytes, bytes]]:
        batch: list[tuple[bytes, bytes]] = []
        with self._lock:
            cursor = self._cursor
            if cursor is None:
                raise ViewClosedError("the store was closed")
            while cursor.valid() and len(batch) < _VIEW_BATCH:
                key = cursor.key()
                if key != self._without:
                    batch.append((key, cursor.value()))
                cursor.next()
            self._fault = _ended(self._path, cursor)
            if self._fault is not None:
                # Whoever keeps the exception would keep the store open.
                self._cursor = cursor = None
                raise self._fault
        return batch


class RocksStore:
    """A `stream_engine.core.partition.state.Store` in a folder of its own."""

    def __init__(self, path: Path, memory: Memory) -> None:
        """Open the store, and create it if it is missing; one that is damaged is emptied, with a warning.

        Raises:
            StoreError: RocksDB cannot open the folder.
        """
        self.path = path
        self._memory = memory
        self._view: View | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path, memory)
        except DamagedError as error:
            _log.warning("%s; it is emptied, and rebuilt from Kafka", error)
            self._db = _create(path, memory)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None.

        Raises:
            StoreError, DamagedError: RocksDB cannot read it.
        """
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:  # RocksDB's binding raises plain Exception
            raise _fault(self.path, "read", error) from error
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, ascending.

        Raises:
            StoreError, DamagedError: RocksDB cannot read the rest.
        """
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        cursor = self._db.iter(bounds)
        cursor.seek(start)
        while cursor.valid():
            yield cursor.key(), cursor.value()
            cursor.next()
        fault = _ended(self.path, cursor)
        # Whoever keeps the exception would keep the store open.
        del cursor
        if fault is not None:
            raise fault

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, descending.

        Raises:
            StoreError, DamagedError: RocksDB cannot read the rest.
        """
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        cursor = self._db.iter(bounds)
        cursor.seek_to_last()
        # The binding takes a lower bound for an upper one (rocksdict 0.3.29), so the start is looked at here.
        while cursor.valid() and (key := cursor.key()) >= start:
            yield key, cursor.value()
            cursor.prev()
        fault = _ended(self.path, cursor)
        del cursor
        if fault is not None:
            raise fault

    def write(self, change: Change) -> None:
        """Write a change, whole or not at all.

        Raises:
            StoreError, DamagedError: RocksDB cannot write to the folder.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in change.puts:
            batch.put(key, value)
        for key in change.deletes:
            batch.delete(key)
        try:
            self._db.write(batch)
        except Exception as error:  # RocksDB's binding raises plain Exception
            raise _fault(self.path, "written", error) from error

    def view(self, *, without: bytes) -> View:
        """Return a view of the store as it is now, but for one key. A store has one view at a time; an earlier one is closed.

        The disk will hold by and by what it shows: the journal is trimmed behind a view, and a store that had less would be
        of no use after a crash.

        Raises:
            StoreError, DamagedError: RocksDB cannot write to the folder.
        """
        self._close_view()
        try:
            self._db.flush(wait=False)
        except Exception as error:  # RocksDB's binding raises plain Exception
            raise _fault(self.path, "written", error) from error
        self._view = View(self.path, self._db.iter(ReadOptions()), without)
        return self._view

    def close(self) -> None:
        """Close the store; it can be opened again. What it cannot write any more, it gets from Kafka then."""
        self._close_view()
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 - RocksDB's binding raises plain Exception
            # Of a folder that was deleted there is nothing to be kept, and a worker closes many stores.
            if self.path.is_dir():
                _log.warning("%s", _fault(self.path, "written", error))

    def empty(self) -> None:
        """Delete everything.

        Raises:
            StoreError: RocksDB cannot open the folder again.
        """
        self.close()
        self._db = _create(self.path, self._memory)

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None


def _open(path: Path, memory: Memory) -> Rdict:
    unlogged = WriteOptions()
    unlogged.disable_wal = True  # type: ignore[assignment,method-assign]  # the stub takes it for a method
    try:
        db = Rdict(str(path), _options(memory))
        db.set_write_options(unlogged)
        return db
    except Exception as error:  # RocksDB's binding raises plain Exception
        raise _fault(path, "opened", error) from error


def _create(path: Path, memory: Memory) -> Rdict:
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
    except OSError as error:
        raise _fault(path, "emptied", error) from error
    return _open(path, memory)


def _ended(path: Path, cursor: RdictIter) -> StoreError | DamagedError | None:
    """Return what ended an iteration, if it was not the end: a damaged block ends one like the last key does."""
    try:
        cursor.status()
    except Exception as error:  # noqa: BLE001 - RocksDB's binding raises plain Exception
        return _fault(path, "read", error)
    return None


def _fault(path: Path, what: str, error: Exception) -> StoreError | DamagedError:
    """Return the exception that tells of RocksDB's or the system's; RocksDB's own says what it is by its text alone."""
    text = str(error)
    if not path.is_dir() and not path.is_file():
        return StoreError(
            f"the store {path} was deleted while it was in use; nothing is lost: a restart rebuilds it from Kafka"
        )
    if "/LOCK: " in text:
        return StoreError(
            f"the store {path} is open in another process, perhaps a tool that looks into it; end that, and try again"
        )
    if text.startswith("Corruption") or "No such file or directory" in text:
        return DamagedError(f"the store {path} is damaged: {text}")
    return StoreError(
        f"the store {path} cannot be {what}: {text}; nothing is lost: mend that, and a restart goes on from Kafka"
    )


def shared_memory() -> Memory:
    """Return the memory of all stores of a process."""
    return Memory(Cache(_CACHE_BYTES), WriteBufferManager(_BUFFERS_BYTES, False))  # noqa: FBT003 - the binding's signature


def _options(memory: Memory) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - the binding's signature
    options.set_write_buffer_size(_MEMTABLE_BYTES)
    options.set_write_buffer_manager(memory.buffers)
    options.set_keep_log_file_num(2)
    options.set_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_block_cache(memory.cache)
    blocks.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(blocks)
    return options
