"""A store whose files are damaged, in every way that a file can be: it tells the truth, or says that it cannot."""

import logging
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_engine.core.partition.change import Change
from stream_engine.shell import store as store_module
from stream_engine.shell.store import DamagedError, RocksStore, StoreError, shared_memory

_WRITES = 1_000
_MARK = b"m"
_ROOT = Path(__file__).resolve().parents[2]

# Small memtables, so that there are files of every kind; and an end without tidying up.
_WRITER = f"""
import os, sys
from pathlib import Path
from stream_engine.shell import store
from tests.unit.test_store_damage import change
store._MEMTABLE_BYTES = 64 * 1024
crashing = store.RocksStore(Path(sys.argv[1]), store.shared_memory())
for number in range({_WRITES}):
    crashing.write(change(number))
os._exit(0)
"""


def change(number: int) -> Change:
    """The write with this number: an entry of its own, and the mark that says so."""
    return Change([(b"k%05d" % number, _value(number)), (_MARK, b"%d" % number)], [])


def _value(number: int) -> bytes:
    return (b"%d" % number) * 100


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store whose process was killed."""
    path = tmp_path_factory.mktemp("crashed") / "7"
    subprocess.run([sys.executable, "-c", _WRITER, str(path)], check=True, cwd=_ROOT)
    assert sum(file.suffix == ".sst" for file in path.iterdir()) > 1
    return path


@pytest.fixture
def copy(crashed: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    return Path(shutil.copytree(crashed, tmp_path / "7"))


def _state(store: RocksStore) -> int:
    """Return how many writes a store holds; it must hold all of each up to its mark, and nothing else."""
    mark = store.get(_MARK)
    writes = -1 if mark is None else int(mark)
    expected = [(b"k%05d" % number, _value(number)) for number in range(writes + 1)]
    assert list(store.scan(b"k", b"l")) == expected
    view = store.view(without=_MARK)
    assert list(view.entries()) == expected
    view.close()
    return writes


def test_a_store_whose_process_was_killed_is_what_it_was_some_writes_ago(copy: Path) -> None:
    store = RocksStore(copy, shared_memory())
    assert 0 < _state(store) < _WRITES
    store.close()


def test_what_a_view_shows_outlives_a_crash(tmp_path: Path) -> None:
    source = tmp_path / "7"
    store = RocksStore(source, shared_memory())
    store.write(change(0))
    store.view(without=_MARK).close()
    # Waits for what the view began, because flushes are done one after the other.
    store._db.flush()
    store.write(change(1))
    survivor = RocksStore(Path(shutil.copytree(source, tmp_path / "8")), shared_memory())
    assert _state(survivor) == 0
    survivor.close()
    store.close()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _garble(at: float) -> Callable[[Path], None]:
    def garble(path: Path) -> None:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(int(size * at))
            file.write(b"\xa5" * 48)

    return garble


_DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "cut": _cut,
    "empty": _empty,
    "garbled at its beginning": _garble(0),
    "garbled in the middle": _garble(0.5),
    "garbled at its end": _garble(0.98),
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
def test_whatever_happens_to_a_file_the_store_tells_the_truth_or_that_it_cannot(
    damage: Callable[[Path], None], crashed: Path, tmp_path: Path
) -> None:
    noticed = 0
    for number, file in enumerate(sorted(file.name for file in crashed.iterdir())):
        copy = Path(shutil.copytree(crashed, tmp_path / str(number)))
        damage(copy / file)
        store = RocksStore(copy, shared_memory())
        try:
            writes = _state(store)
        except DamagedError:
            store.empty()
            writes = _state(store)
            assert writes == -1
        noticed += writes == -1
        store.write(change(writes + 1))
        store.close()
    assert noticed


@pytest.mark.parametrize(("file", "damage"), [("MANIFEST-*", Path.unlink), ("CURRENT", _cut), ("*.sst", _cut)])
def test_a_store_that_cannot_be_opened_is_emptied_with_a_warning(
    file: str, damage: Callable[[Path], None], copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in copy.glob(file):
        damage(path)
    with caplog.at_level(logging.WARNING):
        store = RocksStore(copy, shared_memory())
    [record] = caplog.records
    assert record.message.startswith(f"the store {copy} is damaged: ")
    assert record.message.endswith("; it is emptied, and rebuilt from Kafka")
    assert _state(store) == -1
    store.close()


def _damaged_inside(copy: Path) -> RocksStore:
    """Open a store that shows its damage only where it is read."""
    for path in copy.glob("*.sst"):
        _garble(0.3)(path)
    return RocksStore(copy, shared_memory())


def test_a_damaged_block_is_no_end_of_a_scan(copy: Path) -> None:
    store = _damaged_inside(copy)
    with pytest.raises(DamagedError, match="block checksum mismatch"):
        list(store.scan(b"k", b"l"))
    store.close()


def test_a_damaged_block_is_no_missing_entry(copy: Path) -> None:
    store = _damaged_inside(copy)
    with pytest.raises(DamagedError, match="block checksum mismatch"):
        [store.get(b"k%05d" % number) for number in range(_WRITES)]
    store.close()


def test_a_damaged_block_is_no_end_of_a_view_which_remembers_it(copy: Path) -> None:
    store = _damaged_inside(copy)
    view = store.view(without=_MARK)
    view.check()
    with pytest.raises(DamagedError, match="block checksum mismatch"):
        list(view.entries())
    with pytest.raises(DamagedError, match="block checksum mismatch"):
        view.check()
    store.close()


def test_a_store_that_a_tool_has_open_is_an_error_that_says_so(copy: Path) -> None:
    tool = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, rocksdict; db = rocksdict.Rdict(sys.argv[1]); print(); sys.stdin.read()",
            copy,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert tool.stdout is not None
        assert tool.stdout.readline()
        with pytest.raises(StoreError, match=f"the store {copy} is open in another process.*end that"):
            RocksStore(copy, shared_memory())
    finally:
        tool.communicate()
    store = RocksStore(copy, shared_memory())
    assert _state(store) > 0
    store.close()


def _write_on(store: RocksStore) -> None:
    for number in range(100_000):
        store.write(change(number))


@pytest.fixture
def full() -> Iterator[Callable[[], None]]:
    """Let no file grow beyond what a store begins with, as if the disk were full; until the end of the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_what_was_on_it_is_still_true(
    full: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MEMTABLE_BYTES", 256 * 1024)
    path = tmp_path / "7"
    store = RocksStore(path, shared_memory())
    full()
    with pytest.raises(StoreError, match=f"the store {path} cannot be written: .*; nothing is lost: mend that"):
        _write_on(store)
    store.close()
    store = RocksStore(path, shared_memory())
    _state(store)
    store.close()
