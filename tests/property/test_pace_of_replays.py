"""No second of a replay, wherever it begins, has more events than its pace, whoever routes how much of it."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import example, given
from hypothesis import strategies as st

from stream_engine.core.routing.replay import Allowance

_PARTITIONS = 12
# How long a worker does nothing else, in milliseconds: between two looks, and while it waits for something.
_WAITS = st.one_of(st.integers(1, 60), st.integers(1, 3_000))


class _Workers:
    """Workers that share a replay's partitions. One that is replaced is another one, which knows nothing of what the first has sent."""

    def __init__(self, per_second: int, count: int) -> None:
        self._per_second = per_second
        self._allowances = [Allowance(per_second) for _ in range(count)]
        self._shares = [0.0] * count
        self.routed: list[float] = []
        self.now = 0.0

    def assign(self, owners: list[int]) -> None:
        """Give the partitions to workers, each of which looks once before another one begins with what it had."""
        count = len(self._allowances)
        shares = [sum(owner % count == number for owner in owners) / _PARTITIONS for number in range(count)]
        for less in (True, False):
            for number, share in enumerate(shares):
                if (share < self._shares[number]) is less:
                    self._shares[number] = share
                    self._route(number, 0)

    def replace(self, number: int) -> None:
        """Have a worker end, and another one begin in its place."""
        self._allowances[number] = Allowance(self._per_second)
        self._route(number, 0)

    def look(self, number: int) -> None:
        """Have a worker route what it may."""
        self._route(number, 10**9)

    def _route(self, number: int, there: int) -> None:
        allowance = self._allowances[number]
        events = min(allowance.most(self.now, self._shares[number]), there)
        allowance.spend(events)
        self.routed += [self.now] * events


def _most_in_a_second(routed: list[float]) -> int:
    return max((bisect_left(routed, at + 1 - 1e-6) - index for index, at in enumerate(routed)), default=0)


def _steps(count: int) -> st.SearchStrategy[list[tuple[int, int, list[int] | None, bool]]]:
    owners = st.lists(st.integers(0, count - 1), min_size=_PARTITIONS, max_size=_PARTITIONS)
    return st.lists(
        st.tuples(_WAITS, st.integers(0, count - 1), st.none() | owners, st.integers(0, 9).map(lambda one: one == 0)),
        max_size=60,
    )


@given(
    st.integers(1, 400),
    st.integers(1, 3).flatmap(lambda count: st.tuples(st.just(count), _steps(count))),
)
@example(60, (1, [(50, 0, [0] * _PARTITIONS, False), *[(50, 0, None, n == 15) for n in range(40)]]))
@example(60, (1, [(50, 0, [0] * _PARTITIONS, False), (1_000, 0, None, False), *[(50, 0, None, False)] * 20]))
def test_no_second_has_more_than_the_pace(
    per_second: int, drawn: tuple[int, list[tuple[int, int, list[int] | None, bool]]]
) -> None:
    count, steps = drawn
    workers = _Workers(per_second, count)
    workers.assign([n % count for n in range(_PARTITIONS)])
    for wait, number, owners, replaced in steps:
        if owners is not None:
            workers.assign(owners)
        if replaced:
            workers.replace(number)
        for _ in range(0, wait, 50):
            workers.now += min(wait, 50) / 1_000
            for other in range(count):
                if other != number:
                    workers.look(other)
        workers.look(number)
    # Where the smallest share there is keeps less than one event, it keeps one.
    more = 0 if per_second + 1 >= 11 * _PARTITIONS else count - 1
    assert _most_in_a_second(workers.routed) <= per_second + more


def test_a_pace_is_kept_by_who_looks_often_enough() -> None:
    for per_second in (1, 5, 60, 1_000):
        workers = _Workers(per_second, 1)
        workers.assign([0] * _PARTITIONS)
        for _ in range(20 * 60):
            workers.now += 0.05
            workers.look(0)
        assert 0.88 * per_second * 60 <= len(workers.routed) <= per_second * 60
