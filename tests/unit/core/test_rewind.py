"""What an operator did to the group's offsets: the table of `stream_engine.core.routing.rewind`, row by row."""

import pytest
from msgspec.structs import replace

from stream_engine.core.partition.intake import router_source
from stream_engine.core.records.journal import Event, encode
from stream_engine.core.records.requests import Admit, Asked, Commands, CompleteCallback
from stream_engine.core.routing.ahead import admitted, ahead
from stream_engine.core.routing.rewind import (
    Committed,
    Course,
    Progress,
    Rewind,
    Topic,
    course,
    is_of_another,
    needs_control,
    routed_to,
)
from stream_engine.core.routing.rewound import Stretch, stretches, waits_for

_MARKED = Progress(0, 50, 50).mark("E")


def _course(committed: Committed | None, known: Progress | None, *rewinds: Rewind) -> Course | None:
    topic = Topic({} if committed is None else {0: committed}, {} if known is None else {0: known})
    return course("E", 0, {"E": topic}, list(rewinds))


def test_a_marked_offset_is_gone_on_from() -> None:
    assert _course(Committed(50, _MARKED), None) == Course(Progress(0, 50, 50))


@pytest.mark.parametrize(
    ("committed", "offset"),
    [
        (Committed(50, _MARKED), 50),
        (Committed(50, '{"by":"stream-engine"}'), 50),
        (Committed(20, Progress(1, 60, 20, "r1").mark("E")), 60),
        (Committed(50), 0),
        (Committed(50, Progress(0, 50, 50).mark("D")), 0),
        (None, 0),
    ],
    ids=["live", "by the first engines", "in a rewind", "by an operator", "of a topic before", "never"],
)
def test_what_is_routed_live_is_known_by_what_the_engine_has_committed(
    committed: Committed | None, offset: int
) -> None:
    assert routed_to(committed, "E") == offset


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
    first = course("E", 0, {"E": Topic(committed, known)}, [])
    at_once = course("E", 1, {"E": Topic(committed, known)}, [])
    assert first is not None
    assert first.opens is not None
    assert at_once is not None
    assert at_once.opens == first.opens
    rewind = first.opens
    marked = {**committed, 0: Committed(20, first.progress.mark("E"))}
    later = course("E", 1, {"E": Topic(marked, known)}, [rewind])
    assert later == Course(Progress(1, 9, 5, rewind.id))
    again = course("E", 0, {"E": Topic({0: Committed(20)}, {0: first.progress})}, [rewind])
    assert again is not None
    assert again.opens is not None
    assert (again.opens.number, again.opens.id != rewind.id) == (2, True)


@pytest.mark.parametrize(
    ("start", "span", "again"),
    [(20, (20, 60), [60, 62]), (60, (60, 60), [60, 62]), (61, (61, 61), [62])],
    ids=["below the progress", "at it", "above it"],
)
def test_what_was_routed_live_above_the_progress_is_rewound_as_well(
    start: int, span: tuple[int, int], again: list[int]
) -> None:
    topic = Topic({0: Committed(start)}, {0: Progress(0, 60, 60)}, {0: {60, 62}})
    found = course("E", 0, {"E": topic}, [])
    assert found is not None
    assert found.opens is not None
    assert (found.opens.spans, found.opens.ahead) == ({0: span}, {"E": {0: again}})
    assert found.progress == Progress(1, span[1], start, found.opens.id, 0, 63)
    # In the midst of it, what it has committed says how far it goes, and nothing else is gone on with behind that.
    midst = replace(found.progress, offset=62)
    assert midst.is_again
    assert _course(Committed(62, midst.mark("E")), Progress(0, 60, 60)) == Course(midst)
    done = Progress(1, 63, 63)
    assert _course(Committed(63, replace(midst, offset=63).mark("E")), done) == Course(done)
    assert stretches(found.opens, {"E": "events"}, {"E": {0: midst}}) == [Stretch("events", 0, start, 63, 62)]


def test_what_lies_behind_the_last_that_was_routed_is_skipped() -> None:
    topic = Topic({0: Committed(63)}, {0: Progress(0, 60, 60)}, {0: {60, 62}})
    assert course("E", 0, {"E": topic}, []) == Course(Progress(0, 63, 63), None, (60, 63))


def test_what_was_routed_live_is_read_off_the_commands() -> None:
    event = Event("a", "id:1", "1", 0, 0, "events", 0, 0, b"{}")
    live, other = router_source("E", 2, None), router_source("E", 2, "r1")
    records = [
        Commands(live, 3, [(5, Admit(event, ["f"])), (7, Admit(event, [], paused=(Asked("f", ()),)))]),
        Commands(live, 3, [(6, CompleteCallback("run-0", "step", b"1", "id", "event"))]),
        Commands(live, 3, [(9, Admit(event, ["f"]))]),
        Commands(other, 3, [(8, Admit(event, ["f"], "r1"))]),
    ]
    found = [one for record in records for one in admitted(encode(record), {live: "here"})]
    assert found == [("here", {5, 7}), ("here", set()), ("here", {9})]
    assert list(admitted(b"of nobody", {live: "here"})) == []
    assert ahead({2: {5, 7, 9}, 3: {1}}, {2: Progress(0, 7, 7)}) == {2: {7, 9}}


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


def test_how_far_a_rewind_is_follows_from_the_progress_of_its_partitions() -> None:
    rewind = Rewind(
        "r2", 2, "T", {0: (5, 9), 1: (5, 9), 2: (5, 9), 3: (5, 9)}, 1, {"S": {0: (2, 4)}, "gone": {0: (1, 3)}}
    )
    progress = {
        "T": {
            0: Progress(1, 9, 9),  # has not joined it
            1: Progress(2, 9, 7, "r2"),  # is in the midst of it
            2: Progress(2, 12, 12),  # is behind it
            3: Progress(3, 12, 6, "r3"),  # has been reset again
        }
    }
    assert stretches(rewind, {"T": "events", "S": "source"}, progress) == [
        Stretch("events", 0, 5, 9, 5),
        Stretch("events", 1, 5, 9, 7),
        Stretch("events", 2, 5, 9, 9),
        Stretch("events", 3, 5, 9, 9),
        Stretch("gone", 0, 1, 3, 3),
        Stretch("source", 0, 2, 4, 2),
    ]


@pytest.mark.parametrize(
    ("left", "runs", "workers", "words"),
    [
        (3, 1, 0, "none serves the app"),
        (3, 1, 2, "3 events that are not routed yet"),
        (0, 4, 2, "4 runs that have not ended"),
        (0, 0, 2, "it is on its way"),
    ],
)
def test_what_a_rewind_waits_for_is_said(left: int, runs: int, workers: int, words: str) -> None:
    assert words in waits_for(left, runs, workers, "it is on its way")
