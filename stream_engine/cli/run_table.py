"""Runs as a table: a line each, in columns that keep whole what other programs may want to cut out."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from stream_engine.cli.timeline import STYLES, duration
from stream_engine.core.instants import iso
from stream_engine.core.views.runs import FoldedRun

_HEADS = ("RUN", "STATUS", "FUNCTION", "CREATED", "TOOK", "ABOUT")
_GAP = "  "
_LONGEST = 300


def table(runs: Sequence[FoldedRun]) -> Iterator[Text]:
    """Give the lines of a table of runs, in their order; the last column says what each waits on, or what it was about."""
    rows = [_row(run) for run in runs]
    widths = [max(len(row[column]) for row in (_HEADS, *rows)) for column in range(len(_HEADS) - 1)]
    yield Text(_line(_HEADS, widths), "bold")
    for run, row in zip(runs, rows, strict=True):
        line = Text(_line(row, widths))
        start = widths[0] + len(_GAP)
        line.stylize(STYLES[run.status], start, start + len(run.status))
        yield line


def _row(run: FoldedRun) -> tuple[str, ...]:
    created = "" if run.created_at is None else iso(run.created_at)
    took = "" if run.ended_at is None or run.started_at is None else duration(max(run.ended_at - run.started_at, 0))
    return run.run_id, run.status, run.function, created, took, _about(run)


def _about(run: FoldedRun) -> str:
    if run.waiting_on is not None:
        return f"waiting on {run.waiting_on}"
    if run.error is not None:
        return f"{run.error.type}: {run.error.message}".partition("\n")[0][:_LONGEST]
    return "" if run.event_name is None else f"{run.event_name} {run.event_id}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join([*(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)), cells[-1]])
