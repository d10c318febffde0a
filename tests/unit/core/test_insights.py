"""Figures from history: what is counted where, quantiles, repeats, and which version fails more."""

from hypothesis import given
from hypothesis import strategies as st

from stream_engine.core.records.history import EventDisposed, RunChanged, RunEnded, RunStarted
from stream_engine.core.views.function_listing import FunctionRow, with_figures
from stream_engine.core.views.insights import (
    WINDOW_MS,
    Figures,
    Ids,
    Summary,
    Times,
    Window,
    fails_more,
    place,
    summaries,
)

_DURATIONS = st.lists(st.integers(-5, 10_000_000), min_size=1)


def _figures(completed: int, failed: int = 0, timed_out: int = 0) -> Figures:
    return Figures(completed=completed, failed=failed, timed_out=timed_out)


@given(_DURATIONS, st.floats(0, 1))
def test_a_quantile_is_never_below_the_truth_and_little_above(durations: list[int], share: float) -> None:
    times = Times()
    for duration in durations:
        times.count(duration)
    ordered = sorted(max(duration, 0) for duration in durations)
    rank = next(n for n in range(len(ordered)) if n + 1 >= share * len(ordered))
    told = times.quantile(share)
    assert told is not None
    assert ordered[rank] <= told <= ordered[rank] * 1.05 + 1
    assert (times.total, times.most) == (sum(ordered), ordered[-1])


@given(_DURATIONS, _DURATIONS)
def test_counting_apart_and_adding_up_is_counting_together(some: list[int], others: list[int]) -> None:
    apart, more, together = Times(), Times(), Times()
    for duration in some:
        apart.count(duration)
        together.count(duration)
    for duration in others:
        more.count(duration)
        together.count(duration)
    apart.add(more)
    assert apart == together


def test_no_durations_have_no_quantile() -> None:
    assert Times().quantile(0.5) is None


def test_a_record_is_counted_in_the_minute_of_its_journal_time() -> None:
    ended = RunEnded(WINDOW_MS + 59_999, "r", "f", "2", "failed", WINDOW_MS, 0)
    assert place(ended, 3) == Window(WINDOW_MS, 3, "f", "2")
    assert place(RunChanged(7, "r", "f", "2", "retrying", 0), 3) == Window(0, 3, "f", "2")
    again = RunChanged(7, "r", "f", "2", "retrying", 0, replay_id="r1")
    assert place(again, 3) == Window(0, 3, "f", "2", replayed=True)
    assert place(RunChanged(7, "r", "f", "2", "parked", 0), 3) is None
    assert place(EventDisposed(7, "f", "e", "e", "t", 0, 0, "queued"), 3) is None


def test_each_kind_of_record_is_counted() -> None:
    figures = Figures()
    figures.count(RunStarted(107, "r", "f", "1", 100, "e", "e", "t", 0, 0))
    figures.count(RunChanged(110, "r", "f", "1", "retrying", 0))
    for status in ("completed", "failed", "cancelled", "timed_out"):
        figures.count(RunEnded(150, "r", "f", "1", status, 107, 0))
    ends = (figures.completed, figures.failed, figures.cancelled, figures.timed_out)
    assert (figures.started, figures.retries, *ends, figures.ended, figures.bad) == (1, 1, 1, 1, 1, 1, 4, 2)
    assert (figures.delay.total, figures.duration.total) == (7, 4 * 43)


@given(st.lists(st.integers(0, 40)), st.integers(1, 50))
def test_no_id_is_new_twice(numbers: list[int], limit: int) -> None:
    ids = Ids(limit)
    new = [number for number in numbers if ids.is_new(f"3.7.{number}.0")]
    assert len(new) == len(set(new))
    if limit > 40:
        assert set(new) == set(numbers)


def test_a_record_that_comes_late_for_the_first_time_is_new() -> None:
    ids = Ids(10)
    assert [ids.is_new(id) for id in ("3.7.9.0", "3.7.10.0", "3.7.8.0", "3.7.10.0", "3.8.1.0")] == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_the_version_in_charge_is_compared_with_the_one_before_it() -> None:
    windows = [
        (Window(0, 0, "f", "1"), _figures(900, 10)),
        (Window(60_000, 1, "f", "1"), _figures(100)),
        (Window(60_000, 0, "f", "2"), _figures(70, 30)),
        (Window(0, 0, "g", "1"), _figures(1, 99)),
    ]
    first, second, alone = summaries(windows)
    assert first == Summary("f", "1", 0, 60_000, _figures(1_000, 10))
    assert second == Summary("f", "2", 60_000, 60_000, _figures(70, 30), "1", fails_more=True)
    assert alone == Summary("g", "1", 0, 0, _figures(1, 99))


def test_replayed_runs_are_counted_apart_and_say_nothing_of_a_deploy() -> None:
    windows = [
        (Window(0, 0, "f", "1"), _figures(1_000, 10)),
        (Window(60_000, 0, "f", "2"), _figures(100)),
        (Window(60_000, 0, "f", "2", replayed=True), _figures(0, 100)),
    ]
    assert summaries(windows) == [
        Summary("f", "1", 0, 0, _figures(1_000, 10)),
        Summary("f", "2", 60_000, 60_000, _figures(100), "1", fails_more=False),
        Summary("f", "2", 60_000, 60_000, _figures(0, 100), replayed=True),
    ]


def test_chance_is_no_alarm() -> None:
    before = _figures(990, 10)
    assert not fails_more(_figures(3, 1), before)
    assert not fails_more(_figures(495, 5), before)
    assert not fails_more(_figures(485, 8), before)
    assert not fails_more(_figures(90, 10), _figures(0))
    assert not fails_more(_figures(0, 10), _figures(0, 10))
    assert fails_more(_figures(470, 30), before)
    assert fails_more(_figures(0, timed_out=10), before)


def test_functions_are_shown_with_the_figures_of_their_versions() -> None:
    function = FunctionRow("f", "2", ["e"], {}, paused=False, running=0, queued=0)
    [row] = with_figures(
        [function], summaries([(Window(0, 0, "f", "1"), _figures(1)), (Window(0, 0, "g", "1"), Figures())])
    )
    assert row.figures is not None
    [shown] = row.figures
    assert (shown.version, shown.completed, shown.duration_p50, shown.fails_more) == ("1", 1, None, False)
    assert function.figures is None
