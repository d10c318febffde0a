"""What an operator did to the group's offsets: the table of `stream_engine.core.rewind`, row by row."""

import pytest

from stream_engine.core.rewind import Committed, Course, Progress, Rewind, course, is_of_another, needs_control

_MARKED = Progress(0, 50, 50).mark("E")


def _course(committed: Committed | None, known: Progress | None, *rewinds: Rewind) -> Course | None:
    return course(
        "E", 0, {} if committed is None else {0: committed}, {} if known is None else {0: known}, list(rewinds)
    )


def test_a_marked_offset_is_gone_on_from() -> None:
    assert _course(Committed(50, _MARKED), None) == Course(Progress(0, 50, 50))


def test_a_marked_offset_below_the_progress_is_a_crash_s_repeat() -> None:
    assert _course(Committed(50, _MARKED), Progress(0, 60, 60)) == Course(Progress(0, 60, 50))


@pytest.mark.parametrize("mark", ['{"by":"stream-engine"}', '{"by":"stream-engine","topic":"E"}'])
def test_what_the_first_engines_committed_is_marked(mark: str) -> None:
    assert _course(Committed(50, mark), None) == Course(Progress(0, 50, 50))
    assert not needs_control(Committed(50, mark))


@pytest.mark.parametrize("metadata", ["", "moved by hand", '{"by":"somebody"}', "[1]"])
def test_an_unmarked_offset_below_the_progress_is_a_rewind(metadata: str) -> None:
    found = _course(Committed(20, metadata), Progress(0, 60, 60))
    assert found is not None
    assert found.opens is not None
    assert found.opens.spans == {0: (20, 60)}
    assert found.progress == Progress(1, 60, 20, found.opens.id)


def test_an_unmarked_offset_at_the_progress_is_nothing() -> None:
    assert _course(Committed(60), Progress(2, 60, 60)) == Course(Progress(2, 60, 60))


def test_an_unmarked_offset_above_the_progress_is_a_skip() -> None:
    assert _course(Committed(70), Progress(2, 60, 60)) == Course(Progress(2, 70, 70), None, (60, 70))


def test_what_is_left_of_a_rewind_can_be_skipped() -> None:
    assert _course(Committed(60), Progress(2, 60, 30, "r2")) == Course(Progress(2, 60, 60), None, (30, 60))


def test_a_group_that_was_deleted_goes_on_by_the_progress() -> None:
    assert _course(None, Progress(1, 60, 30, "r1")) == Course(Progress(1, 60, 30, "r1"))
    assert _course(None, None) is None


def test_an_unmarked_offset_without_progress_is_where_somebody_wants_it_to_begin() -> None:
    assert _course(Committed(20), None) == Course(Progress(0, 20, 20))


def test_another_worker_joins_the_rewind_that_was_found_and_one_that_has_joined_opens_another() -> None:
    committed = {0: Committed(20), 1: Committed(5)}
    known = {0: Progress(0, 60, 60), 1: Progress(0, 9, 9)}
    first = course("E", 0, committed, known, [])
    at_once = course("E", 1, committed, known, [])
    assert first is not None
    assert first.opens is not None
    assert at_once is not None
    assert at_once.opens == first.opens
    rewind = first.opens
    later = course("E", 1, {**committed, 0: Committed(20, first.progress.mark("E"))}, known, [rewind])
    assert later == Course(Progress(1, 9, 5, rewind.id))
    again = course("E", 0, {0: Committed(20)}, {0: first.progress}, [rewind])
    assert again is not None
    assert again.opens is not None
    assert (again.opens.number, again.opens.id != rewind.id) == (2, True)


def test_a_rewind_of_another_topic_is_another_s() -> None:
    other = Rewind("r1-x", 1, "F", {0: (20, 60)})
    found = _course(Committed(20), Progress(0, 60, 60), other)
    assert found is not None
    assert found.opens is not None
    assert found.opens.number == 1


def test_an_offset_of_a_topic_that_was_there_before_is_told() -> None:
    assert is_of_another(Committed(50, Progress(0, 50, 50).mark("D")), "E")
    assert not is_of_another(Committed(50, _MARKED), "E")
    assert not is_of_another(Committed(50), "E")
    assert not is_of_another(None, "E")
