"""The state of a partition on disk, when the disk fails it."""

import logging
import os
import shutil
from pathlib import Path

import pytest

from stream_engine.core.partition.change import Change
from stream_engine.shell.store import RocksStore, StoreError, shared_memory


def _fill(store: RocksStore) -> None:
    """Write more than stays in memory, until RocksDB, which flushes in the background, has noticed what is wrong."""
    for number in range(2_000):
        store.write(Change([(b"%d" % number, os.urandom(100_000))], []))


def test_a_folder_deleted_under_the_store_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "worker-0" / "7"
    store = RocksStore(path, shared_memory())
    shutil.rmtree(tmp_path / "worker-0")
    with pytest.raises(StoreError) as caught:
        _fill(store)
    assert str(caught.value) == (
        f"the store {path} was deleted while it was in use; nothing is lost: a restart rebuilds it from Kafka"
    )
    store.close()
    assert not caplog.records, "nothing more is to be said"
    store = RocksStore(path, shared_memory())
    shutil.rmtree(path)
    store.empty()
    store.write(Change([(b"key", b"value")], []))
    assert store.get(b"key") == b"value"
    store.close()


def test_a_folder_that_takes_no_more_is_named_with_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "7"
    store = RocksStore(path, shared_memory())
    shutil.rmtree(path)
    for number in range(100):
        # In the way of the file that is to come next.
        (path / f"{number:06}.sst").mkdir(parents=True)
    with pytest.raises(StoreError, match=f"the store {path} cannot be written: .*; nothing is lost"):
        _fill(store)
    with caplog.at_level(logging.WARNING):
        store.close()
    assert [record.message.startswith(f"the store {path} cannot be written") for record in caplog.records] == [True]


def test_a_range_is_read_backwards(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "7", shared_memory())
    store.write(Change([(key, b"of " + key) for key in (b"a", b"b", b"b\xff", b"c", b"d")], [b"d"]))
    assert list(store.scan_back(b"b", b"c")) == [(b"b\xff", b"of b\xff"), (b"b", b"of b")]
    assert [key for key, _ in store.scan_back(b"", b"z")] == [b"c", b"b\xff", b"b", b"a"]
    assert list(store.scan_back(b"e", b"z")) == []
    store.close()
