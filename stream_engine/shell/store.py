"""The state of one partition on disk: RocksDB, written once for each acknowledged group."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, ReadOptions, WriteBatch

from stream_engine.core.change import Change
from stream_engine.shell.errors import UserError

_MEMTABLE_BYTES = 16 * 1024 * 1024
_CACHE_BYTES = 64 * 1024 * 1024


class StoreError(UserError):
    """RocksDB refuses to open or to write; the message says which folder and why."""


class RocksStore:
    """A `stream_engine.core.state.Store` in a folder of its own."""

    def __init__(self, path: Path, cache: Cache) -> None:
        """Open the store, and create it if it is missing.

        Raises:
            StoreError: RocksDB cannot open the folder.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = Rdict(str(path), _options(cache))
        except Exception as error:  # RocksDB's binding raises plain Exception
            raise StoreError(f"cannot open the store in {path}: {error}") from error

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
        """Write a change, whole or not at all."""
        batch = WriteBatch(raw_mode=True)
        for key, value in change.puts:
            batch.put(key, value)
        for key in change.deletes:
            batch.delete(key)
        self._db.write(batch)

    def close(self) -> None:
        """Close the store; it can be opened again."""
        self._db.close()

    def empty(self) -> "RocksStore":
        """Delete everything, and return a new store in the same folder."""
        self._db.close()
        shutil.rmtree(self.path)
        return RocksStore(self.path, shared_cache())


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
