"""Which of the runs that filters find run again, where some have been run again since."""

from __future__ import annotations

import pytest

from stream_engine.cli.rerunning import of_those_passed_over
from stream_engine.core.records.history import EventDisposed, RunEnded, RunStarted
from stream_engine.core.views.reruns import Standing, standing
from stream_engine.core.views.runs import ENDED, FoldedRun, fold

_AGES = "abcdefgh"


def _run(id: str, status: str, rerun_of: str | None = None, event: str = "e", offset: int = 0) -> FoldedRun:
    """Return a run; those with later letters were created later."""
    at = ("shop.events", 0, offset)
    return FoldedRun(
        id, "pay", phase=status, event_id=event, event_at=at, created_at=_AGES.index(id), rerun_of=rerun_of
    )


def _begun(id: str, function: str, topic: str, of_run: str | None, status: str) -> FoldedRun:
    """Return a run as the fold has it of what history tells."""
    at = _AGES.index(id)
    started = RunStarted(at, id, function, "1", at, "order/placed", "e", topic, 0, 0, of_run=of_run)
    ended = RunEnded(at, id, function, "1", status, at, 0)
    return fold(id, (started, ended) if status in ENDED else (started,))


def _stands(runs: list[FoldedRun], statuses: set[str]) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return which runs run again of those with some statuses, and for which others which run is the reason that they do not."""
    found = [run for run in reversed(runs) if run.status in statuses]
    seen = standing(found, runs)
    assert standing(found, runs[::-1]) == seen
    assert {run.run_id for run in seen.runs} | seen.replaced.keys() | seen.done.keys() == {run.run_id for run in found}
    replaced, done = ({id: run.run_id for id, run in why.items()} for why in (seen.replaced, seen.done))
    return "".join(sorted(run.run_id for run in seen.runs)), replaced, done


_FAILED = _run("a", "failed")


@pytest.mark.parametrize(
    ("reruns", "again", "replaced", "done"),
    [
        ([], "a", {}, {}),
        # The newest stands for the others, whether it is a rerun of the first one or of a rerun.
        ([_run("b", "failed", "a")], "b", {"a": "b"}, {}),
        ([_run("b", "failed", "a"), _run("c", "failed", "a")], "c", {"a": "c", "b": "c"}, {}),
        ([_run("b", "failed", "a"), _run("c", "failed", "b")], "c", {"a": "c", "b": "c"}, {}),
        # One that did not fail was not asked for.
        ([_run("b", "cancelled", "a")], "a", {}, {}),
        # Whatever came of others, one that is completed or goes on is enough.
        ([_run("b", "completed", "a")], "", {}, {"a": "b"}),
        ([_run("b", "failed", "a"), _run("c", "completed", "b")], "", {}, {"a": "c", "b": "c"}),
        ([_run("b", "completed", "a"), _run("c", "failed", "a")], "", {}, {"a": "b", "c": "b"}),
        ([_run("b", "failed", "a"), _run("c", "running", "a")], "", {}, {"a": "c", "b": "c"}),
        # One that has not begun does not say of which run it is a rerun.
        ([_run("b", "queued")], "", {}, {"a": "b"}),
        ([_run("b", "queued", event="other")], "a", {}, {}),
        # A later event that was given the same id is another one.
        ([_run("b", "queued", offset=1)], "a", {}, {}),
        ([_run("b", "completed", offset=1)], "a", {}, {}),
        ([_run("b", "failed", event="other"), _run("c", "completed", "b", "other")], "a", {}, {"b": "c"}),
        # A replay's run is no rerun of any, but of the same event.
        ([_run("b", "failed")], "b", {"a": "b"}, {}),
        ([_run("b", "failed"), _run("c", "failed", "a")], "c", {"a": "c", "b": "c"}, {}),
        ([_run("b", "completed")], "", {}, {"a": "b"}),
        ([_run("b", "failed"), _run("c", "completed", "b")], "", {}, {"a": "c", "b": "c"}),
        ([_run("b", "running")], "", {}, {"a": "b"}),
        # History has forgotten the run in between.
        ([_run("c", "failed", "b"), _run("d", "failed", "b")], "d", {"a": "d", "c": "d"}, {}),
    ],
)
def test_of_failed_runs_one_of_an_event_runs_again_unless_another_one_did_or_will(
    reruns: list[FoldedRun], again: str, replaced: dict[str, str], done: dict[str, str]
) -> None:
    assert _stands([_FAILED, *reruns], {"failed"}) == (again, replaced, done)


def test_a_first_run_that_is_completed_is_no_reason_but_one_that_goes_on_is() -> None:
    replayed = _run("b", "failed")
    assert _stands([_run("a", "completed"), replayed], {"failed"}) == ("b", {}, {})
    assert _stands([_run("a", "running"), replayed], {"failed"}) == ("", {}, {"b": "a"})
    # What is left of the line in history begins with a rerun.
    assert _stands([_run("a", "completed", "gone"), replayed], {"failed"}) == ("", {}, {"b": "a"})


def test_where_an_event_is_the_fold_tells_before_its_run_begins_and_after() -> None:
    for told in (
        EventDisposed(0, "pay", "order/placed", "e", "shop.events", 2, 7, "queued", "a"),
        RunStarted(0, "a", "pay", "1", 0, "order/placed", "e", "shop.events", 2, 7),
    ):
        assert fold("a", [told]).event_at == ("shop.events", 2, 7)


@pytest.mark.parametrize(("function", "topic"), [("pay", ""), ("pay:on_failure", "shop.events")])
def test_what_was_invoked_and_what_handles_a_failure_stand_for_themselves(function: str, topic: str) -> None:
    runs = [_begun(id, function, topic, of_run, "failed") for id, of_run in (("a", "x"), ("b", "y"))]
    assert _stands([*runs, _begun("c", function, topic, "z", "completed")], {"failed"}) == ("ab", {}, {})


def test_runs_that_are_completed_are_asked_for_themselves() -> None:
    runs = [_run("a", "completed"), _run("b", "completed", "a"), _run("c", "failed", "b")]
    assert _stands(runs, {"completed"}) == ("b", {"a": "b"}, {})
    assert _stands(runs, {"completed", "failed"}) == ("c", {"a": "c", "b": "c"}, {})


def test_what_goes_on_and_is_asked_for_itself_is_left_to_be_refused() -> None:
    runs = [_FAILED, _run("b", "running", "a")]
    assert _stands(runs, {"failed", "running"}) == ("b", {}, {"a": "b"})


def test_it_is_said_how_many_are_passed_over_and_why() -> None:
    assert list(of_those_passed_over(Standing([_FAILED], {}, {}))) == []
    reruns = [_run(id, "completed", "a") for id in "bcdefg"]
    done = {f"r{number}": run for number, run in enumerate([*reruns, reruns[0]])}
    assert list(of_those_passed_over(Standing([_FAILED], {"a": reruns[0]}, done))) == [
        "passed over: 1 runs of events that were run again since; the newest run of each stands for them",
        "passed over: 7 runs of events of which other runs are completed, or go on (b, c, d, e, f, ...)",
    ]
    [words] = of_those_passed_over(Standing([], {}, {"a": reruns[0]}))
    assert words.endswith("go on (b)")
