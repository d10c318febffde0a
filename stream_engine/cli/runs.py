"""``stream-engine runs``: what became of events, from the history that the engine tells."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypedDict, Unpack

import click
from rich.console import Console
from rich.progress import Progress

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.output import print_json, print_lines, say
from stream_engine.cli.run_table import table
from stream_engine.cli.timeline import draw
from stream_engine.cli.times import FORMS, TIME
from stream_engine.cli.values import RUN_ID
from stream_engine.core.identity import partition_of
from stream_engine.core.run_document import document
from stream_engine.core.run_listing import Listing, Selection
from stream_engine.core.runs import STATUSES, FoldedRun, RunIndex
from stream_engine.shell import localbroker
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.reader import HistoryReader, Span, about
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import DAY_MS, Names

_ROWS: Final = 50


class _Filters(TypedDict):
    """The options that say which runs are meant; times in milliseconds since the epoch."""

    function: str | None
    status: tuple[str, ...]
    since: int | None
    until: int | None
    event: str | None


@click.group()
def runs() -> None:
    """List runs, and look at one: what became of events."""


@runs.command("list", epilog=f"A TIME is {FORMS}.")
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--function", help="Runs of this function only.")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Runs with this status; may be repeated.")
@click.option("--since", type=TIME, help="Runs created at this time or later. Default: 24 hours ago.")
@click.option("--until", type=TIME, help="Runs created before this time.")
@click.option("--event", metavar="ID", help="Runs of the event with this id.")
@click.option("--limit", type=click.IntRange(1), help=f"The newest N runs. Default: {_ROWS}; with --json all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str | None, limit: int | None, *, as_json: bool, **filters: Unpack[_Filters]) -> None:
    """List runs, the newest first."""
    selection = _selection(filters, now_ms())
    settings = localbroker.connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    listing = Listing(selection, limit or (None if as_json else _ROWS))
    with HistoryReader(settings, name) as reader, _progress() as progress:
        span = reader.span(reader.partitions(), selection.since)
        for batch in reader.read(span, progress=progress):
            for entry in batch:
                listing.add(entry.id, entry.record)
    found = listing.runs()
    if not found and selection.function is not None:
        _check_function(settings, name, selection.function)
    if as_json:
        print_json([document(run) for run in found])
    elif found:
        print_lines(table(found), crop=True)
    else:
        say(f"no such runs of {name} in this time; see --since")
    if listing.left_out:
        say(f"these are the newest {len(found)}; --limit shows more")


@runs.command()
@click.argument("run", metavar="RUN", type=RUN_ID)
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(run: str, app: str | None, *, as_json: bool) -> None:
    """Draw the timeline of RUN, which is a run's id: its steps with their attempts, waits and errors."""
    settings = localbroker.connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    with HistoryReader(settings, name) as reader:
        found = _find(reader, run)
    if found is None:
        raise UserError(
            f"there is no run {run!r} in the history of {name}; `stream-engine runs list` shows those of a time"
        )
    if as_json:
        print_json(document(found))
    else:
        print_lines(draw(found, now_ms(), Console().width))


def _selection(filters: _Filters, now: int) -> Selection:
    since, until = filters["since"], filters["until"]
    if since is None:
        since = min(now, now if until is None else until) - DAY_MS
    if until is not None and until <= since:
        raise click.UsageError("--until is not after --since, so no run can be between them")
    return Selection(filters["function"], filters["status"] or None, since, until, filters["event"])


def _check_function(settings: Settings, app: str, function: str) -> None:
    """A function without runs is one thing; one that nobody has heard of is a mistake."""
    known = Published(settings, Names.of(app).control).functions()
    if known is not None and function not in known:
        raise UserError(f"{app} has no function {function!r}; it has {', '.join(known) or 'none'}")


def _find(reader: HistoryReader, run_id: str) -> FoldedRun | None:
    partition = partition_of(run_id)
    if partition not in reader.partitions():
        return None
    index = RunIndex()
    # Most people ask about a run of today, and history may be long.
    recent = reader.span([partition], now_ms() - DAY_MS)
    earlier = Span(reader.span([partition]).start, recent.start)
    for span in (recent, earlier):
        with _progress() as progress:
            for batch in reader.read(span, about([run_id]), progress):
                for entry in batch:
                    index.add(entry.id, entry.record)
        run = index.get(run_id)
        if run is not None and run.created_at is not None:
            return run
    return index.get(run_id)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal's stderr how far history has been read."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading history", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
