"""``stream-engine runs``: what became of events, from the history that the engine tells."""

import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, TypedDict, TypeVar, Unpack

import click
from rich.console import Console

from stream_engine.cli import event_table
from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.cancelling import reason_of, refuse_ended, wait
from stream_engine.cli.output import print_json, print_lines, reading_history, say
from stream_engine.cli.rerunning import Reruns, confirmed, of_those_passed_over
from stream_engine.cli.run_table import table
from stream_engine.cli.timeline import draw
from stream_engine.cli.times import FORMS, TIME
from stream_engine.cli.values import DURATION, RUN_ID
from stream_engine.core.views.caused import Place
from stream_engine.core.views.explained import EventStory
from stream_engine.core.views.reruns import Standing, standing
from stream_engine.core.views.run_document import document
from stream_engine.core.views.run_listing import Selection
from stream_engine.core.views.runs import ENDED, STATUSES, FoldedRun
from stream_engine.shell import localbroker
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.halts import REPLAY
from stream_engine.shell.history.index import Index, ask
from stream_engine.shell.history.reader import HistoryReader, about
from stream_engine.shell.operating import cancelling as requests
from stream_engine.shell.operating.passed_over import passed_over
from stream_engine.shell.published import Published
from stream_engine.shell.routing.bearings import REWIND
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import DAY_MS, Names

Command = TypeVar("Command", bound=Callable[..., Any])

_ROWS: Final = 50
_WAITING: Final = ("queued", "sleeping", "waiting")
_GOING: Final = tuple(status for status in STATUSES if status not in ENDED)
_APP: Final = click.option(
    "--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is."
)
_YES: Final = click.option(
    "--yes", is_flag=True, help="Do it; without it, those that filters find are shown, and the terminal is asked."
)


class _Filters(TypedDict):
    """The options that say which runs are meant; times in milliseconds since the epoch."""

    function: str | None
    status: tuple[str, ...]
    since: int | None
    until: int | None
    event: str | None
    replay: str | None


def _filters(statuses: Sequence[str]) -> Callable[[Command], Command]:
    """Return what gives a command the options of `_Filters`."""
    options = (
        click.option("--function", help="Runs of this function."),
        click.option("--status", multiple=True, type=click.Choice(statuses), help="With this status; may be repeated."),
        click.option("--since", type=TIME, help="Created at this time or later. Default: 24 hours ago."),
        click.option("--until", type=TIME, help="Created before this time."),
        click.option("--event", metavar="ID", help="Runs of the event with this id."),
        click.option(
            "--replay", metavar="ID", help="Runs of this replay, also of what its runs have sent and invoked."
        ),
    )

    def add(command: Command) -> Command:
        # The option that is added last is listed first.
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group()
def runs() -> None:
    """List runs, look at one, cancel them, and run them again: what became of events."""


@runs.command("list", epilog=f"A TIME is {FORMS}.")
@_APP
@_filters(STATUSES)
@click.option(
    "--waiting", is_flag=True, help="Runs that wait for something: at a gate, for room, for a time, for code."
)
@click.option("--limit", type=click.IntRange(1), help=f"The newest N runs. Default: {_ROWS}; with --json all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str | None, limit: int | None, *, waiting: bool, as_json: bool, **filters: Unpack[_Filters]) -> None:
    """List runs, the newest first; what waits says for what, and since when."""
    if waiting:
        if filters["status"]:
            raise click.UsageError(
                "--waiting stands for the statuses queued, sleeping and waiting; give it or --status"
            )
        filters["status"] = _WAITING
    selection = _selection(filters, now_ms())
    settings = localbroker.connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    rows = limit or (None if as_json else _ROWS)
    with reading_history() as progress:
        found, left_out = ask(settings, name, lambda index: index.list(selection, rows, whole=as_json), progress)
    if not found:
        _check_filters(settings, name, filters)
    if as_json:
        print_json([document(run) for run in found])
    elif found:
        print_lines(table(found), crop=True)
    else:
        say(f"no such runs of {name} in this time; see --since")
    if left_out:
        say(f"these are the newest {len(found)}; --limit shows more")


@runs.command()
@click.argument("run", metavar="[RUN]", type=RUN_ID, required=False)
@_APP
@click.option(
    "--event", metavar="ID", help="Instead of a run: what became of the event with this id, function by function."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; of an event, an array with its places.")
def show(run: str | None, app: str | None, event: str | None, *, as_json: bool) -> None:
    """Draw the timeline of RUN, which is a run's id: its steps with their attempts, waits and errors."""
    if (run is None) == (event is None):
        raise click.UsageError("say which run, by its id, or which event, by --event")
    settings = localbroker.connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    if event is not None:
        _show_event(settings, name, event, as_json=as_json)
        return
    assert run is not None
    [found] = _known(settings, name, (run,))
    if as_json:
        print_json(document(found))
    else:
        print_lines(draw(found, now_ms(), Console().width))


@runs.command(epilog=f"A TIME is {FORMS}.")
@click.argument("run_ids", metavar="[RUN]...", type=RUN_ID, nargs=-1)
@_APP
@_filters(_GOING)
@click.option("--reason", default="", help="Why; history and `runs show` say it, and who it was.")
@_YES
@click.option("--timeout", type=DURATION, default="1m", help="How long to wait until they have ended. Default: 1m.")
def cancel(
    run_ids: tuple[str, ...], app: str | None, reason: str, timeout: int, *, yes: bool, **filters: Unpack[_Filters]
) -> None:
    """Cancel runs by their ids, or those that filters find; return once they have ended.

    Whether they have begun or not: what waits gives up at once, an async step in flight is interrupted, a def step ends first.
    """
    if bool(run_ids) == any(value for value in filters.values()):
        raise click.UsageError("say which runs: by their ids, or by filters such as --function, not both")
    settings = localbroker.connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    with HistoryReader(settings, name) as reader:
        start = reader.span(reader.partitions()).end
    found = _known(settings, name, run_ids) if run_ids else _going(settings, name, filters)
    going = refuse_ended(found)
    if not found:
        _check_filters(settings, name, filters)
    if not run_ids:
        _confirm(found, yes=yes)
    requests.send(settings, name, going, reason_of(reason))
    if len(wait(settings, name, going, start, timeout)) < len(found) or not found:
        raise UserError("not every run was cancelled" if found else f"no such runs of {name} in this time; see --since")


def _show_event(settings: Settings, app: str, event_id: str, *, as_json: bool) -> None:
    story = EventStory(event_id)
    with HistoryReader(settings, app) as reader, reading_history() as progress:
        for batch in reader.read(reader.span(reader.partitions()), about(events=[event_id]), progress):
            for entry in batch:
                story.add(entry.record)
        gates = story.unfinished
        for batch in reader.read(reader.span(reader.partitions()), about(events=gates), progress) if gates else ():
            for entry in batch:
                story.follow(entry.record)
    place = Place.parse(event_id)
    if place is not None and (at := passed_over(settings, app, place)) is not None:
        story.pass_over(place, at)
    if as_json:
        print_json(event_table.document(story))
    else:
        print_lines(event_table.lines(story))
    if not story:
        raise UserError(
            f"the history of {app} tells nothing of an event {event_id!r}: no function took it, or it has expired; "
            "`stream-engine dead-letters list` shows what was no event"
        )


class _How(TypedDict):
    """The options that say how runs are to run again."""

    from_step: str | None
    version: str | None
    new_keys: bool
    yes: bool
    as_json: bool


class _Rerun(_Filters, _How):
    """All options of ``rerun``."""


@runs.command(epilog=f"A TIME is {FORMS}.")
@click.argument("run_ids", metavar="[RUN]...", type=RUN_ID, nargs=-1)
@_APP
@_filters(STATUSES)
@click.option(
    "--from-step", metavar="ID", help="Take over the results of the steps that were completed before this one began."
)
@click.option("--version", help="Run on this version of the function. Default: the current one.")
@click.option(
    "--new-keys", is_flag=True, help="Hand out idempotency keys of its own: for when the first call was wrong."
)
@_YES
@click.option("--json", "as_json", is_flag=True, help="Print the new run, or with filters an array of them.")
def rerun(run_ids: tuple[str, ...], app: str | None, **options: Unpack[_Rerun]) -> None:
    """Run the events of runs again: by the runs' ids, or those that filters find; print the new runs.

    Idempotency keys are those of the first run, so that other systems know a repeated call. Of what filters find, runs that cannot be run again are
    passed over, with the reason; then the exit code is 1. Those whose event was run again since, by this command or a replay, are passed over too: the
    newest stands for them, or none, where another one goes on, or has repeated the first one and is completed. What no worker has taken yet is not
    known: while none serves the app, which is said, the same command runs the same runs once more.
    """
    filters: _Filters = {
        "function": options["function"],
        "status": options["status"],
        "since": options["since"],
        "until": options["until"],
        "event": options["event"],
        "replay": options["replay"],
    }
    yes, as_json = options["yes"], options["as_json"]
    if bool(run_ids) == any(value for value in filters.values()):
        raise click.UsageError("say which runs: by their ids, or by filters such as --function, not both")
    settings = localbroker.connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    # Whoever names a run wants that one, whatever came of it since.
    stand = Standing(_known(settings, name, run_ids), {}, {}) if run_ids else _standing(settings, name, filters)
    found = stand.runs
    reruns = Reruns(settings, name, options["from_step"], options["version"], new_keys=options["new_keys"])
    if not (found or stand.done):
        _check_filters(settings, name, filters)
        raise UserError(f"no such runs of {name} in this time; see --since")
    for words in of_those_passed_over(stand):
        say(words)
    prepared = reruns.prepare(found)
    refused = prepared.refused
    if refused and (run_ids or not prepared.begun):
        # Whoever names runs wants all of them.
        raise UserError("\n".join([*refused.values(), "nothing is run again"]))
    if prepared.begun:
        reruns.tell_if_unserved()
    if not run_ids:
        _show([run for run in found if run.run_id not in refused], yes=yes)
        if not yes:
            prepared.tell()
        confirmed(len(prepared.begun), yes=yes, asks=sys.stdin.isatty())
    begun = reruns.begin(prepared.begun)
    _print(begun, as_json=as_json, one=len(run_ids) == 1)
    if refused:
        prepared.tell()
        raise UserError(f"{len(begun)} runs are run again, {len(refused)} of {len(found)} are not")


def _print(begun: list[dict[str, str]], *, as_json: bool, one: bool) -> None:
    """Print the new runs; as JSON without an array, where ``one`` was asked for."""
    if as_json:
        print_json(begun[0] if one else begun)
        return
    for new in begun:
        click.echo(f"{new['run_id']}  reruns {new['rerun_of']}")


def _show(found: list[FoldedRun], *, yes: bool) -> None:
    """Show on stderr what filters have found, to whoever is asked."""
    if yes or not found:
        return
    for line in table(found[:_ROWS]):
        say(line.plain)
    if len(found) > _ROWS:
        say(f"... and {len(found) - _ROWS} more")


def _standing(settings: Settings, app: str, filters: _Filters) -> Standing:
    selection = _selection(filters, now_ms())

    def of(index: Index) -> Standing:
        found = index.list(selection).runs
        events = {(run.function, run.event_id) for run in found if run.event_id is not None}
        known = (index.list(Selection(function, event_id=event)).runs for function, event in events)
        return standing(found, chain.from_iterable(known))

    with reading_history() as progress:
        return ask(settings, app, of, progress)


def _there(run_id: str, found: FoldedRun | None, app: str) -> FoldedRun:
    if found is None:
        raise UserError(
            f"there is no run {run_id!r} in the history of {app}; `stream-engine runs list` shows those of a time"
        )
    return found


def _known(settings: Settings, app: str, run_ids: tuple[str, ...]) -> list[FoldedRun]:
    with reading_history() as progress:
        found = ask(settings, app, lambda index: [index.run(run_id) for run_id in run_ids], progress)
    return [_there(run_id, run, app) for run_id, run in zip(run_ids, found, strict=True)]


def _going(settings: Settings, app: str, filters: _Filters) -> list[FoldedRun]:
    selection = _selection({**filters, "status": filters["status"] or _GOING}, now_ms())
    with reading_history() as progress:
        return ask(settings, app, lambda index: index.list(selection).runs, progress)


def _confirm(found: list[FoldedRun], *, yes: bool) -> None:
    if yes or not found:
        return
    print_lines(table(found[:_ROWS]), crop=True)
    if len(found) > _ROWS:
        say(f"... and {len(found) - _ROWS} more")
    if not sys.stdin.isatty():
        raise UserError(f"nothing is cancelled yet: add --yes to cancel these {len(found)} runs")
    click.confirm(f"cancel these {len(found)} runs?", abort=True, err=True)


def _selection(filters: _Filters, now: int) -> Selection:
    since, until = filters["since"], filters["until"]
    if since is None:
        since = min(now, now if until is None else until) - DAY_MS
    if until is not None and until <= since:
        raise click.UsageError("--until is not after --since, so no run can be between them")
    return Selection(filters["function"], filters["status"] or None, since, until, filters["event"], filters["replay"])


def _check_filters(settings: Settings, app: str, filters: _Filters) -> None:
    """A function or a replay without runs is one thing; one that nobody has heard of is a mistake."""
    published, function, replay = Published(settings, Names.of(app).control), filters["function"], filters["replay"]
    known = None if function is None else published.functions()
    if known is not None and function not in known:
        raise UserError(f"{app} has no function {function!r}; it has {', '.join(known) or 'none'}")
    if replay is not None and replay not in {**published.control.values(REPLAY), **published.control.values(REWIND)}:
        raise UserError(f"{app} has no replay {replay!r}; `stream-engine replay list` shows them")
