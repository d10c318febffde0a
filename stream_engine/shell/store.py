"""The state of one partition on disk: RocksDB, written once for each acknowledged group."""

import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, RdictIter, ReadOptions, WriteBatch

from stream_engine.core.change import Change
from stream_engine.shell.errors import UserError

_log = logging.getLogger(__name__)
_MEMTABLE_BYTES = 16 * 1024 * 1024
_CACHE_BYTES = 64 * 1024 * 1024
_VIEW_BATCH = 500


class StoreError(UserError):
    """RocksDB refuses to open or to write; the message says which folder and why."""


class ViewClosedError(Exception):
    """The store was closed while a view of it was being read."""


class View:
    """All entries of a store but one, as they were when it was made; may be read on another thread than the store's.

    An iterator, because those that the binding's ``snapshot`` gives show what is written later.
    """

    def __init__(self, cursor: RdictIter, without: bytes) -> None:
        self._cursor: RdictIter | None = cursor
        self._without = without
        self._lock = threading.Lock()
        cursor.seek_to_first()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values, ascending.

        Raises:
            ViewClosedError: the store was closed meanwhile.
        """
        while batch := self._batch():
            yield from batch

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
        return batch


class RocksStore:
    """A `stream_engine.core.state.Store` in a folder of its own."""

    def __init__(self, path: Path, cache: Cache) -> None:
        """Open the store, and create it if it is missing.

        Raises:
            StoreError: RocksDB cannot open the folder.
        """
        self.path = path
        self._cache = cache
        self._view: View | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = _open(path, cache)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        value: bytes | None = self._db.get(key)
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in ``start <= key < stop``, ascending."""
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        cursor = self._db.iter(bounds)
        cursor.seek(start)
        while cursor.valid():
            yield cursor.key(), cursor.value()
            cursor.next()

    def write(self, change: Change) -> None:
        """Write a change, whole or not at all.

        Raises:
            StoreError: RocksDB cannot write to the folder.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in change.puts:
            batch.put(key, value)
        for key in change.deletes:
            batch.delete(key)
        try:
            self._db.write(batch)
        except Exception as error:  # RocksDB's binding raises plain Exception
            raise self._unwritable(error) from error

    def view(self, *, without: bytes) -> View:
        """Return a view of the store as it is now, but for one key. A store has one view at a time; an earlier one is closed."""
        self._close_view()
        self._view = View(self._db.iter(ReadOptions()), without)
        return self._view

    def close(self) -> None:
        """Close the store; it can be opened again. What it cannot write any more, it gets from Kafka then."""
        self._close_view()
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 - RocksDB's binding raises plain Exception
            # Of a folder that was deleted there is nothing to be kept, and a worker closes many stores.
            if self.path.is_dir():
                _log.warning("%s", self._unwritable(error))

    def empty(self) -> None:
        """Delete everything.

        Raises:
            StoreError: RocksDB cannot open the folder again.
        """
        self.close()
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path)
        self._db = _open(self.path, self._cache)

    def _unwritable(self, error: Exception) -> StoreError:
        what = f"cannot be written: {error}" if self.path.is_dir() else "was deleted while the worker used it"
        return StoreError(f"the store {self.path} {what}; nothing is lost: a restart rebuilds it from Kafka")

    def _close_view(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None


def _open(path: Path, cache: Cache) -> Rdict:
    try:
        return Rdict(str(path), _options(cache))
    except Exception as error:  # RocksDB's binding raises plain Exception
        raise StoreError(f"cannot open the store in {path}: {error}") from error


def shared_cache() -> Cache:
    """Return a block cache for all stores of a process."""
    return Cache(_CACHE_BYTES)


def _options(cache: Cache) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - the binding's signature
    options.set_write_buffer_size(_MEMTABLE_BYTES)
    options.set_keep_log_file_num(2)
    options.set_compression_type(DBCompressionType.lz4())
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(blocks)
    return options
