"""Who keeps a copy of what: every partition has its copies, nobody copies what it leads, and few move when workers do."""

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.leading.standby import followed

_PARTITIONS = range(32)


def _assigned(workers: int) -> dict[str, list[int]]:
    return {f"w{number}": [part for part in _PARTITIONS if part % workers == number] for number in range(workers)}


@given(workers=st.integers(1, 6), copies=st.integers(0, 3))
def test_each_partition_has_its_copies_elsewhere(workers: int, copies: int) -> None:
    assigned = _assigned(workers)
    holders = {part: [w for w in assigned if part in followed(w, assigned, copies)] for part in _PARTITIONS}
    assert {len(found) for found in holders.values()} == {min(copies, workers - 1)}
    assert not any(part in assigned[worker] for part, found in holders.items() for worker in found)


def test_a_worker_that_goes_moves_only_its_own_copies() -> None:
    assigned = _assigned(4)
    without = {worker: parts for worker, parts in assigned.items() if worker != "w3"}
    for worker in without:
        kept = followed(worker, assigned, 1) - set(assigned["w3"])
        assert kept <= followed(worker, without, 1)


def test_the_copies_are_spread() -> None:
    assigned = _assigned(4)
    assert all(2 <= len(followed(worker, assigned, 1)) <= 16 for worker in assigned)


def test_who_is_not_in_the_group_follows_nothing() -> None:
    assert followed("stranger", _assigned(2), 1) == set()
