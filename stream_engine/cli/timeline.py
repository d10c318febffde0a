"""A run in the terminal: what it is, its steps as bars over time, and what went wrong.

Everything is said in characters; colours only repeat it. A bar is ``█`` where the step executed, ``░`` where it slept or
waited for its next attempt, and ``x`` where an attempt failed.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from stream_engine.core.failure import Failure
from stream_engine.core.instants import iso
from stream_engine.core.views.runs import ENDED, FoldedRun, RunStep, StepAttempt

STYLES: Final = {
    "queued": "cyan",
    "running": "blue",
    "sleeping": "cyan",
    "waiting": "yellow",
    "retrying": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
    "timed_out": "red",
    "interrupted": "magenta",
}

_WORK: Final = "█"
_WAIT: Final = "░"
_FAILED: Final = "x"
_MIN_BAR: Final = 10
_MIN_LABEL: Final = 8
_MAX_LABEL: Final = 32
_SHOWN_RESULT: Final = 2_000
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"))


class _Part(NamedTuple):
    """A stretch of a bar; times in milliseconds since the epoch, ``end`` None where it goes on."""

    start: int
    end: int | None
    glyph: str


class _Row(NamedTuple):
    """A line of the timeline."""

    label: str
    kind: str
    parts: list[_Part]
    status: str
    note: str


def draw(run: FoldedRun, now: int, width: int) -> Iterator[Text]:
    """Give the lines of a run's picture, none wider than ``width`` cells but for what is text of the user's.

    ``now`` is in milliseconds since the epoch: a run that has not ended is drawn up to it.
    """
    yield Text.assemble(("run ", "bold"), run.run_id, "  ", (run.status, STYLES[run.status]))
    yield from _header(run)
    rows = [*_body(run), *(_step(step) for step in run.ordered_steps())]
    if rows:
        yield Text()
        yield from _bars(rows, _extent(run, rows, now), width)
    failures = [*_failures(run)]
    if failures:
        yield Text()
    for title, failure in failures:
        yield Text.assemble((f"{title}: ", "red"), f"{failure.type}: {failure.message}")
    if run.error is not None and run.error.traceback:
        yield Text()
        yield Text(run.error.traceback.rstrip())


def duration(milliseconds: int) -> str:
    """Return a duration as people say it, in its two largest units: "12 ms", "3.4 s", "2 h 5 m"."""
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.3g} s"
    rest = milliseconds
    said: list[str] = []
    for size, unit in (*_UNITS, (1_000, "s")):
        count, rest = divmod(rest, size)
        if count or said:
            said.append(f"{count} {unit}")
    return " ".join(said[:2])


def _header(run: FoldedRun) -> Iterator[Text]:
    version = f" (version {run.version})" if run.version else ""
    yield _field("function", f"{run.function}{version}")
    if run.event_name is not None:
        yield _field("event", f"{run.event_name}  {run.event_id}" + ("" if run.key is None else f"  key {run.key}"))
    yield from _times(run)
    for change in run.changes:
        if change.change == "moved":
            yield _field("moved", f"{iso(change.at)}  to version {change.version}")
    for name, value in (("replay", run.replay_id), ("about run", run.of_run), ("waiting on", run.waiting_on)):
        if value is not None:
            yield _field(name, value)
    if run.phase in ENDED and run.detail:
        yield _field("because", run.detail)
    if run.result is not None:
        more = "" if len(run.result) <= _SHOWN_RESULT else " ... (--json has all of it)"
        yield _field("result", run.result[:_SHOWN_RESULT] + more)


def _times(run: FoldedRun) -> Iterator[Text]:
    before: int | None = None
    for name, at in (("created", run.created_at), ("started", run.started_at), ("ended", run.ended_at)):
        if at is None:
            continue
        yield _field(name, iso(at) + ("" if before is None else f"  {duration(max(at - before, 0))} later"))
        before = at


def _field(name: str, value: str) -> Text:
    return Text.assemble((f"  {name:<11}", "dim"), value)


def _body(run: FoldedRun) -> Iterator[_Row]:
    """A row for the function's body, where it was tried more than once, parked, or waited for room."""
    changes = [change for change in run.changes if change.change in {"retrying", "parked", "queued", "running"}]
    if run.started_at is None or not any(change.change != "running" for change in changes):
        return
    parts: list[_Part] = []
    start, glyph = run.started_at, _WORK
    for change in changes:
        parts.append(_Part(start, change.at, glyph))
        start, glyph = change.at, _WORK if change.change == "running" else _WAIT
    parts.append(_Part(start, run.ended_at, glyph))
    parts.extend(_Part(change.at, change.at, _FAILED) for change in changes if change.change == "retrying")
    yield _Row("(function)", "body", parts, run.status, _retries(run.attempt))


def _step(step: RunStep) -> _Row:
    parts: list[_Part] = []
    for attempt, following in pairwise([*step.attempts, None]):
        assert attempt is not None
        parts.extend(_attempt(step, attempt, following))
    return _Row(step.id, step.kind, parts, step.last.status, _retries(step.last.number))


def _attempt(step: RunStep, attempt: StepAttempt, following: StepAttempt | None) -> Iterator[_Part]:
    yield _Part(attempt.started_at, attempt.ended_at, _WAIT if step.kind in {"sleep", "callback", "wait"} else _WORK)
    if attempt.error is not None and attempt.ended_at is not None:
        if attempt.status in {"retrying", "interrupted"}:
            yield _Part(attempt.ended_at, None if following is None else following.started_at, _WAIT)
        yield _Part(attempt.ended_at, attempt.ended_at, _FAILED)


def _retries(attempt: int) -> str:
    return "" if not attempt else ", 1 retry" if attempt == 1 else f", {attempt} retries"


def _which(attempt: int) -> str:
    return f", retry {attempt}" if attempt else ""


def _extent(run: FoldedRun, rows: Sequence[_Row], now: int) -> tuple[int, int]:
    starts = [part.start for row in rows for part in row.parts]
    ends = [part.end for row in rows for part in row.parts if part.end is not None]
    start = min(starts if run.started_at is None else [run.started_at, *starts])
    end = max([run.ended_at or now, start + 1, *ends])
    return start, end


def _bars(rows: Sequence[_Row], extent: tuple[int, int], width: int) -> Iterator[Text]:
    start, end = extent
    label = min(max(cell_len(row.label) for row in rows), _MAX_LABEL, max(width // 4, _MIN_LABEL))
    kind = max(len(row.kind) for row in rows)
    took = [duration(max(_end(row, end) - row.parts[0].start, 0)) for row in rows]
    took_width = max(len(text) for text in took)
    note = max(len(row.status + row.note) for row in rows)
    bar = max(width - (2 + label + 2 + kind + 2 + 2 + took_width + 2 + note), _MIN_BAR)
    scale = duration(end - start)
    yield Text(f"{'':{label + kind + 6}}0{scale:>{bar - 1}}", "dim")
    for row, text in zip(rows, took, strict=True):
        yield Text.assemble(
            f"  {_fit(row.label, label)}  ",
            (f"{row.kind:<{kind}}  ", "dim"),
            (_bar(row.parts, extent, bar), STYLES.get(row.status, "")),
            f"  {text:>{took_width}}  ",
            (row.status, STYLES.get(row.status, "")),
            row.note,
        )


def _end(row: _Row, end: int) -> int:
    return max(end if part.end is None else part.end for part in row.parts)


def _fit(text: str, cells: int) -> str:
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


def _bar(parts: Sequence[_Part], extent: tuple[int, int], cells: int) -> str:
    start, end = extent
    drawn = [" "] * cells

    def cell(at: int) -> int:
        return min(max((at - start) * cells // (end - start), 0), cells - 1)

    for part in parts:
        first, last = cell(part.start), cell(end if part.end is None else part.end)
        # A stretch ends where the next begins, but every stretch is seen.
        for place in range(first, max(last, first + 1)):
            drawn[place] = part.glyph
    return "".join(drawn)


def _failures(run: FoldedRun) -> Iterator[tuple[str, Failure]]:
    for step in run.ordered_steps():
        for attempt in step.attempts:
            if attempt.error is not None:
                yield f"{step.id}{_which(attempt.number)}", attempt.error
    for change in run.changes:
        if change.error is not None:
            # The record is about the attempt that is to follow.
            yield f"the function{_which(change.attempt - 1)}", change.error
    if run.phase in ENDED and run.error is not None:
        yield f"the run {run.phase.replace('_', ' ')}", run.error
