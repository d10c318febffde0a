"""Ids of steps: whatever ids a function uses, however often, each step has its own, and the same each time."""

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.sdk.run import unique

IDS = st.lists(st.sampled_from(["a", "a:1", "a:1:1", "a:2", "b", "b:1"]), max_size=30)


def named(ids: list[str]) -> list[str]:
    used: dict[str, int] = {}
    return [unique(id, used) for id in ids]


@given(IDS)
def test_each_step_has_an_id_of_its_own(ids: list[str]) -> None:
    names = named(ids)
    assert len(set(names)) == len(names)
    assert names == named(ids)


@given(IDS)
def test_an_id_is_kept_by_the_first_that_has_it_to_itself(ids: list[str]) -> None:
    for place, (id, name) in enumerate(zip(ids, named(ids), strict=True)):
        assert name == id or id in named(ids[:place])


@given(st.integers(1, 20))
def test_repeats_are_numbered(times: int) -> None:
    assert named(["a"] * times) == ["a", *(f"a:{number}" for number in range(1, times))]
