"""Which of the runs that filters find run again, where some have been run again since."""

from __future__ import annotations

import pytest

from stream_engine.cli.rerunning import of_those_passed_over
from stream_engine.core.views.reruns import Standing, standing
from stream_engine.core.views.runs import FoldedRun

_AGES = "abcdefgh"


def _run(
    id: str, status: str, rerun_of: str | None = None, event: str = "e", replay_id: str | None = None
) -> FoldedRun:
    """Return a run; those with later letters were created later."""
    age = _AGES.index(id)
    return FoldedRun(id, "pay", phase=status, event_id=event, created_at=age, rerun_of=rerun_of, replay_id=replay_id)


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
        ([_run("b", "queued", replay_id="r")], "a", {}, {}),
        # Of another event, or of the same one in a replay, they are other runs.
        ([_run("b", "failed", event="other"), _run("c", "completed", "b", "other")], "a", {}, {"b": "c"}),
        ([_run("b", "completed", replay_id="r")], "a", {}, {}),
        # History has forgotten the run in between.
        ([_run("c", "failed", "b"), _run("d", "failed", "b")], "ad", {"c": "d"}, {}),
    ],
)
def test_of_failed_runs_one_of_an_event_runs_again_unless_another_one_did_or_will(
    reruns: list[FoldedRun], again: str, replaced: dict[str, str], done: dict[str, str]
) -> None:
    assert _stands([_FAILED, *reruns], {"failed"}) == (again, replaced, done)


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
        "passed over: 7 runs of events that were run again by runs which are completed, or go on (b, c, d, e, f, ...)",
    ]
    [words] = of_those_passed_over(Standing([], {}, {"a": reruns[0]}))
    assert words.endswith("go on (b)")
