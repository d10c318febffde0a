"""``stream-engine check``: what new code would make of the events that the log still has, before it is deployed."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from textwrap import indent
from typing import Final, TypedDict, Unpack

import click
import msgspec
from rich.text import Text

from stream_engine.cli.apps import load_engine
from stream_engine.cli.checking import Checking, Counts, Wanted
from stream_engine.cli.output import print_lines, say
from stream_engine.cli.times import FORMS, TIME
from stream_engine.cli.values import DURATION
from stream_engine.core.instants import iso
from stream_engine.core.views.rehearsal import Difference
from stream_engine.sdk.engine import Engine
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.history.past import Pasts
from stream_engine.shell.localbroker import connected
from stream_engine.shell.published import Published
from stream_engine.shell.secret import secret_of
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import DAY_MS, Names
from stream_engine.testing.rehearsal import Rehearsal, StandInError

_ROWS: Final = 50
_NAMED: Final = 5
_STATUSES: Final = ("running", "completed", "failed", "cancelled", "timed_out")


class Row(msgspec.Struct):
    """A run, or an event that would begin one, that differs, as ``--json`` shows it."""

    at: str
    event_id: str
    event_name: str
    function: str
    run_id: str | None
    version: str | None
    status: str | None
    difference: Difference


class _Filters(TypedDict):
    """The options that say which runs are looked at; times in milliseconds."""

    last: int | None
    since: int | None
    until: int | None
    function: str | None
    statuses: tuple[str, ...]
    event: str | None


_row: Final = msgspec.json.Decoder(Row)


@click.command(epilog=f"A TIME is {FORMS}.")
@click.argument("app", metavar="APP")
@click.option("--last", type=DURATION, help="Events that were stored in this time up to now. Default: 24h.")
@click.option("--since", type=TIME, help="Instead: events that were stored at this time or later.")
@click.option("--until", type=TIME, help="Events that were stored before this time. Default: now.")
@click.option("--function", help="Runs of this function only.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES),
    help="Runs with this status; may be repeated. One that has not ended is running.",
)
@click.option("--event", metavar="ID", help="The event with this id only.")
@click.option(
    "--lifespan",
    is_flag=True,
    help="Enter the app's lifespan, with its real connections, for code that looks at ctx.app outside of its steps.",
)
@click.option(
    "--limit", type=click.IntRange(1), help=f"Show N of those that differ. Default: {_ROWS}; with --json all."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def check(app: str, *, lifespan: bool, limit: int | None, as_json: bool, **filters: Unpack[_Filters]) -> None:
    """Run the code of APP over the events of a time, and list the runs that would differ; exit 1 if there are any.

    It is 1 too where the log does not have all of that time any more: then it is said after which time all is there. Their steps are answered by history. No step's body is called, and nothing is sent or written; code outside of steps is run, without the app's lifespan.
    """
    wanted = _wanted(filters, now_ms())
    engine = load_engine(app)
    settings = connected(Settings.from_env())
    published = Published(settings, Names.of(engine.name).control)
    in_force = published.catalogue()
    if in_force is None:
        raise UserError(f"no worker of {engine.name} has published its functions, so there is nothing to compare with")
    known = sorted({*in_force.functions, *engine.rules_functions()})
    if wanted.function is not None and wanted.function not in known:
        raise UserError(f"{engine.name} has no function {wanted.function!r}; it has {', '.join(known) or 'none'}")
    read = {engine.events_topic, *in_force.sources, *(source.topic for source in engine.sources)}
    with Pasts(settings.state_dir / engine.name, read) as pasts:
        checking = Checking(settings, engine, in_force, wanted, pasts)
        asyncio.run(_check(checking, engine, secret_of(published.control.values), lifespan=lifespan))
        rows = map(_row.decode, pasts.kept())
        if as_json:
            print_array(islice(pasts.kept(), limit))
        else:
            print_lines(map(line, islice(rows, limit or _ROWS)), crop=True)
    for told in summary(checking.counts, limit or (None if as_json else _ROWS)):
        say(told)
    if checking.counts.differing or checking.counts.gone:
        click.get_current_context().exit(1)


async def _check(checking: Checking, engine: Engine, secret: bytes | None, *, lifespan: bool) -> None:
    try:
        async with Rehearsal(engine, lifespan=lifespan) as rehearsal:
            if secret is not None:
                rehearsal.use_secret(secret)
            await checking.check(rehearsal)
    except StandInError as error:
        raise UserError(f"{error}; with --lifespan it is, with its real connections") from error


def line(row: Row) -> Text:
    """Return the line that shows what differs."""
    run = row.run_id or f"event {row.event_id}"
    return Text(f"{row.at}  {row.function}  {run}  {row.status or '-'}  {row.difference}")


def summary(counts: Counts, limit: int | None) -> Iterator[str]:
    """Give what is said at the end, of what was looked at and what was not; of those that differ, ``limit`` are shown."""
    if limit is not None and counts.differing > limit:
        yield f"these are {limit} of {counts.differing:,}; --limit shows more"
    yield f"{counts.differing:,} would differ, of {counts.runs:,} runs of {counts.events:,} events"
    for gone in counts.gone:
        numbers = ", ".join(map(str, gone.partitions))
        if gone.since is None:
            yield f"not checked: what {gone.topic} had of this time in partition {numbers}, which has expired, or may have"
            continue
        yield (
            f"not checked: what {gone.topic} had of this time before {iso(gone.since)} in partition {numbers}, which has expired, or may have; "
            f"all after that is there; begin with --since {iso(gone.since)}"
        )
    if counts.expired:
        named = ", ".join(counts.expired[:_NAMED]) + (", ..." if len(counts.expired) > _NAMED else "")
        yield f"not checked: {len(counts.expired):,} runs whose events have expired ({named})"
    for count, which in (
        (counts.partly, "runs that have events from outside of this time"),
        (counts.invoked, "runs that were invoked, and have no event on the log"),
        (counts.replayed, "runs of replays, whose events began no live run of the function"),
        (counts.elsewhere, "runs of events in topics that are not read any more"),
    ):
        if count:
            yield f"not checked: {count:,} {which}"
    if counts.unread:
        what = f"{counts.unread:,} runs whose events cannot be read here ({counts.unread_because})"
        yield f"not checked: {what}; give it the settings that the workers have"
    if counts.untold:
        yield f"history says nothing of {counts.untold:,} pairs of an event and a function that is for it"


def _wanted(filters: _Filters, now: int) -> Wanted:
    last, since, until = filters["last"], filters["since"], filters["until"]
    if last is not None and since is not None:
        raise click.UsageError("--last and --since both say where the time begins; give one of them")
    until = now if until is None else min(until, now)
    if since is None:
        since = until - (DAY_MS if last is None else last)
    if until <= since:
        raise click.UsageError("the time ends before it begins, so no event can be in it; see --since and --until")
    return Wanted(since, until, filters["function"], filters["statuses"], filters["event"])


def print_array(documents: Iterable[bytes]) -> None:
    """Print one JSON array of documents, one at a time: there may be very many."""
    before = "[\n"
    for document in documents:
        click.echo(before + indent(msgspec.json.format(document, indent=2).decode(), "  "), nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")
