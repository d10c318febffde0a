"""A partition's store with what it has gathered: to whoever reads it, it is as if each change had been written at once."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.core.partition.change import Change
from stream_engine.shell.leading.write_behind import WriteBehind
from stream_engine.shell.store import RocksStore, shared_memory

KEYS = st.builds(lambda table, rest: table + rest, st.sampled_from([b"a", b"b"]), st.binary(max_size=2))
VALUES = st.binary(min_size=1, max_size=3)
CHANGES = st.builds(
    lambda puts, deletes: Change(list(puts.items()), [key for key in deletes if key not in puts]),
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.sets(KEYS, max_size=4),
)
BOUNDS = st.one_of(KEYS, st.sampled_from([b"", b"a", b"b", b"c", b"\xff"]))
READS = st.one_of(KEYS, st.tuples(BOUNDS, BOUNDS))
STEPS = st.lists(st.one_of(CHANGES, READS, st.sampled_from(["view", "reopen", "empty"])), max_size=30)


@given(STEPS, st.integers(1, 12))
@settings(max_examples=60)
def test_what_was_written_is_read_wherever_it_is(
    steps: list[Change | bytes | tuple[bytes, bytes] | str], most: int
) -> None:
    with TemporaryDirectory() as folder:
        path, memory = Path(folder) / "7", shared_memory()
        store, there = WriteBehind(RocksStore(path, memory), most), dict[bytes, bytes]()
        for step in steps:
            match step:
                case Change():
                    store.write(step)
                    there |= dict(step.puts)
                    for key in step.deletes:
                        there.pop(key, None)
                case bytes():
                    assert store.get(step) == there.get(step)
                case (start, stop):
                    assert list(store.scan(start, stop)) == sorted(_between(there, start, stop))
                case "view":
                    view = store.view(without=b"a")
                    assert list(view.entries()) == sorted(item for item in there.items() if item[0] != b"a")
                    view.close()
                case "reopen":
                    store.close()
                    store = WriteBehind(RocksStore(path, memory), most)
                case _:
                    store.empty()
                    there.clear()
        assert list(store.scan(b"", b"\xff")) == sorted(there.items())
        store.close()


def test_a_group_is_on_disk_whole_or_not_at_all(tmp_path: Path) -> None:
    """What is gathered is written in one piece, so that a killed worker finds a state that has been."""
    inner = RocksStore(tmp_path / "7", shared_memory())
    store = WriteBehind(inner, most=3)
    for number in range(3):
        store.write(Change([(b"mark", b"%d" % number), (b"of %d" % number, b"x")], []))
        on_disk = [key for key, _ in inner.scan(b"", b"\xff")]
        assert on_disk == ([b"mark", b"of 0", b"of 1", b"of 2"] if number == 2 else [])
    assert inner.get(b"mark") == b"2"
    store.close()


def _between(there: dict[bytes, bytes], start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
    return [item for item in there.items() if start <= item[0] < stop]
