"""Which of the runs that filters find are to run again: where one has been run again since, its event does so once, or not at all.

A run and what was begun by running it again, and those again, are one line. Who asks for failed runs means events that came to nothing: the newest
run of a line that is found stands for the others, and where a rerun has been completed or goes on, none of the line is run again. A rerun that is completed and
found itself is asked for, and is no reason.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from stream_engine.core.views.runs import ENDED, FoldedRun

_Subject: TypeAlias = tuple[str, str | None, str | None]
"""What runs of one line have in common: the function, the event, and the replay."""


class Standing(NamedTuple):
    """The runs that are to run again; by their ids those for which one of these stands, and those for which another run is reason enough not to run again."""

    runs: list[FoldedRun]
    replaced: dict[str, FoldedRun]
    done: dict[str, FoldedRun]


def standing(found: Sequence[FoldedRun], known: Iterable[FoldedRun]) -> Standing:
    """Return which of the runs that were found are to run again, in their order; ``known`` are all runs of the same events and functions."""
    runs = {run.run_id: run for run in (*known, *found)}
    wanted = {run.run_id for run in found}
    replaced, done = dict[str, FoldedRun](), dict[str, FoldedRun]()
    for line in _lines(runs):
        reason = next((run for run in line if _is_reason(run, wanted)), None)
        ours = [run for run in line if run.run_id in wanted and run is not reason]
        if reason is not None:
            # What goes on and is found itself stays: whoever asks for it is told that it has not ended.
            done |= {run.run_id: reason for run in ours}
        else:
            replaced |= {run.run_id: ours[-1] for run in ours[:-1]}
    return Standing([run for run in found if run.run_id not in {*replaced, *done}], replaced, done)


def _is_reason(run: FoldedRun, wanted: set[str]) -> bool:
    """Return whether a run is why no other one of its line is run again."""
    if run.status not in ENDED:
        return True
    return run.rerun_of is not None and run.status == "completed" and run.run_id not in wanted


def _lines(runs: Mapping[str, FoldedRun]) -> Iterator[list[FoldedRun]]:
    """Give the lines of some runs, each in the order in which its runs were created."""
    lines: dict[str, list[FoldedRun]] = {}
    for run in runs.values():
        lines.setdefault(_first(run, runs), []).append(run)
    queued: dict[_Subject, list[FoldedRun]] = {}
    for run in runs.values():
        if run.status == "queued" and run.rerun_of is None:
            queued.setdefault(_subject(run), []).append(run)
    for line in lines.values():
        # Of a run that has not begun, history does not tell of which one it is a rerun.
        first = line[0]
        later = [run for run in queued.get(_subject(first), ()) if (run.created_at or 0) >= (first.created_at or 0)]
        yield sorted({run.run_id: run for run in (*line, *later)}.values(), key=attrgetter("created_at", "run_id"))


def _first(run: FoldedRun, runs: Mapping[str, FoldedRun]) -> str:
    """Return the id of the run that a line began with; history may have forgotten that one."""
    first = run.run_id
    while run.rerun_of is not None:
        first = run.rerun_of
        if first not in runs:
            break
        run = runs[first]
    return first


def _subject(run: FoldedRun) -> _Subject:
    return run.function, run.event_id, run.replay_id
