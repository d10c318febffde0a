"""Which of the runs that filters find are to run again: where an event has been run again since, it does so once, or not at all.

All runs of a function for one event are one line: the live one, those of replays, and those that were begun by running one of them again. Who asks for
failed runs means events that came to nothing: the newest run of a line that is found stands for the others that are, and where one that is not found goes on,
or has repeated an earlier one and is completed, none of the line is run again. A first run that is completed is no reason, because it may be what was wrong.

An event is known by its place on the log as well as by its id: users give ids, and may give one again once it is forgotten.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from stream_engine.core.views.runs import ENDED, FoldedRun

_Line: TypeAlias = tuple[object, ...]
"""What runs of one line have in common."""


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
        reason = next((run for run in line if _is_reason(run, line[0], wanted)), None)
        ours = [run for run in line if run.run_id in wanted and run is not reason]
        if reason is not None:
            # What goes on and is found itself stays: whoever asks for it is told that it has not ended.
            done |= {run.run_id: reason for run in ours}
        else:
            replaced |= {run.run_id: ours[-1] for run in ours[:-1]}
    passed_over = replaced.keys() | done.keys()
    return Standing([run for run in found if run.run_id not in passed_over], replaced, done)


def _is_reason(run: FoldedRun, first: FoldedRun, wanted: set[str]) -> bool:
    """Return whether a run is why no other one of its line, of which ``first`` is the oldest that is known, is run again."""
    if run.status not in ENDED:
        return True
    is_repetition = run.rerun_of is not None or run is not first
    return is_repetition and run.status == "completed" and run.run_id not in wanted


def _lines(runs: Mapping[str, FoldedRun]) -> Iterable[list[FoldedRun]]:
    """Return the lines of some runs, each in the order in which its runs were created."""
    lines: dict[_Line, list[FoldedRun]] = {}
    for run in sorted(runs.values(), key=_age):
        lines.setdefault(_line(run), []).append(run)
    return lines.values()


def _line(run: FoldedRun) -> _Line:
    # A handler has the event of the run that it is about, but runs for each of those.
    if run.event_at is None or run.of_run is not None or ":" in run.function:
        return (run.run_id,)
    return run.function, run.event_id, run.event_at


def _age(run: FoldedRun) -> tuple[int, str]:
    return run.created_at or 0, run.run_id
