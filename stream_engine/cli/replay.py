"""``stream-engine replay``: run events again, from the retained log, while everything else goes on."""

from collections.abc import Callable
from typing import Any, Final, TypedDict, Unpack
from uuid import uuid4

import click
from msgspec.structs import replace

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.output import print_json, say
from stream_engine.cli.times import FORMS, TIME
from stream_engine.core.catalogue import Catalogue
from stream_engine.core.expression import EvaluationError, Expression, ExpressionError, compile_expression
from stream_engine.core.records import Event
from stream_engine.core.replay import ACTIVE, CANCELLED, PAUSED, PER_SECOND, Counts, Extent, Replay, status
from stream_engine.core.runs import STATUSES, iso
from stream_engine.core.scope import Scope, ScopeError
from stream_engine.shell import clients, pausing, replaying, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_SHOWN: Final = 20
_APP: Final = click.option(
    "--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is."
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class _Condition(click.ParamType):
    """An expression over ``event``."""

    name = "expr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expression:
        """Return the compiled expression."""
        if isinstance(value, Expression):
            return value
        try:
            return compile_expression(str(value))
        except ExpressionError as error:
            self.fail(str(error), param, ctx)


class _Asked(TypedDict):
    """The options that say what is to be replayed, and how; times in milliseconds since the epoch."""

    function: str
    topic: str | None
    since: int
    until: int | None
    statuses: tuple[str, ...]
    condition: Expression | None
    per_second: int
    reuse_steps: bool
    new_keys: bool


class _Here:
    """The app that a command is about, with its control topic read."""

    def __init__(self, app: str | None) -> None:
        self.settings = connected(Settings.from_env())
        self.app = resolve_app_name(app, self.settings)
        published = Published(self.settings, Names.of(self.app).control)
        self.catalogue: Catalogue | None = published.catalogue()
        self.control: Control = published.control
        self.names = Names.of(self.app, None if self.catalogue is None else self.catalogue.events)

    def replay(self, name: str) -> Replay:
        """Return a replay by its id."""
        for one in replaying.replays(self.control):
            if one.id == name:
                return one
        raise UserError(f"{self.app} has no replay {name!r}; `stream-engine replay list` shows them")

    def counts(self, *replays: Replay) -> Callable[[Replay], Counts]:
        """Return what tells the counts of replays, by history up to where it ends now."""
        since = min((one.created_at for one in replays), default=now_ms())
        return replaying.tally(self.settings, self.app, since).of


@click.group()
def replay() -> None:
    """Run events again, from the retained log; live events go on meanwhile."""


@replay.command(epilog=f"A TIME is {FORMS}.")
@_APP
@click.option("--function", required=True, help="The function whose events run again.")
@click.option("--topic", help="The topic with the events, where those of the function may come from several.")
@click.option("--from", "since", type=TIME, required=True, help="Events that were stored at this time or later.")
@click.option("--to", "until", type=TIME, help="Events that were stored before this time. Default: now.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="Whose run has this status; may be repeated.",
)
@click.option(
    "--if", "condition", type=_Condition(), help="For which this expression holds, such as 'event.data.total > 100'."
)
@click.option(
    "--per-second", type=click.IntRange(1), default=PER_SECOND, show_default=True, help="Events a second, at most."
)
@click.option(
    "--reuse-steps", is_flag=True, help="Take over the results of the steps that the live runs have completed."
)
@click.option(
    "--new-keys", is_flag=True, help="Hand out idempotency keys of its own: for when the first call was wrong."
)
@click.option("--dry-run", is_flag=True, help="Only say what it would replay.")
@_JSON
def start(app: str | None, *, dry_run: bool, as_json: bool, **asked: Unpack[_Asked]) -> None:
    """Run events of a function again, in a group of their own; print the replay."""
    here = _Here(app)
    catalogue = _catalogue_with(here, asked["function"])
    made, condition = _made(here, asked, _topic(catalogue, asked)), asked["condition"]
    chosen = _chosen(here, made, catalogue, condition)
    if not chosen:
        raise UserError(f"{made.topic} has no such events of {made.function} in this time; nothing is started")
    made = replace(made, events=len(chosen))
    if dry_run:
        _preview(made, chosen, as_json=as_json)
        return
    if made.function in (paused := pausing.pauses(here.control)) and paused[made.function].paused:
        raise UserError(f"{made.function} is paused, and would run nothing; `stream-engine functions resume` it first")
    replaying.forget(here.settings, here.names, here.control, made.created_at)
    only = {(event.partition, event.offset) for event in chosen} if condition is not None or made.statuses else None
    replaying.make(here.settings, here.names, made, only)
    _show([_document(made, Counts(0, 0, 0, 0))], as_json=as_json, one=True)
    say(f"the workers of {here.app} carry it out; `stream-engine replay status {made.id}` tells how far they are")


@replay.command("list")
@_APP
@_JSON
def list_(app: str | None, *, as_json: bool) -> None:
    """List the replays of the last 30 days, the newest first."""
    here = _Here(app)
    found = replaying.replays(here.control)
    counts = here.counts(*found)
    _show([_document(one, counts(one)) for one in found], as_json=as_json)


@replay.command("status")
@click.argument("name", metavar="REPLAY")
@_APP
@_JSON
def status_(name: str, app: str | None, *, as_json: bool) -> None:
    """Tell how far REPLAY is: it is completed once every run of it has ended."""
    here = _Here(app)
    found = here.replay(name)
    _show([_document(found, here.counts(found)(found))], as_json=as_json, one=True)


@replay.command()
@click.argument("name", metavar="REPLAY")
@_APP
@_JSON
def pause(name: str, app: str | None, *, as_json: bool) -> None:
    """Begin no more runs of REPLAY until it is resumed; what has begun goes on."""
    _change(name, app, PAUSED, as_json=as_json)


@replay.command()
@click.argument("name", metavar="REPLAY")
@_APP
@_JSON
def resume(name: str, app: str | None, *, as_json: bool) -> None:
    """Go on with REPLAY where it was paused."""
    _change(name, app, ACTIVE, as_json=as_json)


@replay.command()
@click.argument("name", metavar="REPLAY")
@_APP
@_JSON
def cancel(name: str, app: str | None, *, as_json: bool) -> None:
    """Begin no more runs of REPLAY, for good; what has begun goes on, and `runs cancel` ends it."""
    _change(name, app, CANCELLED, as_json=as_json)


def _change(name: str, app: str | None, state: str, *, as_json: bool) -> None:
    here = _Here(app)
    found = here.replay(name)
    counts = here.counts(found)(found)
    before = status(found, counts)
    if before in {"completed", "cancelled"} and found.state != state:
        raise UserError(f"replay {name} is {before}")
    changed = replace(found, state=state)
    if changed != found:
        replaying.save(here.settings, here.names, changed)
    _show([_document(changed, counts)], as_json=as_json, one=True)


def _topic(catalogue: Catalogue, asked: _Asked) -> str:
    topics, wanted = catalogue.topics_of(asked["function"]), asked["topic"]
    if wanted is None:
        if len(topics) > 1:
            raise click.UsageError(
                f"events of {asked['function']} are in {', '.join(topics)}; say with --topic which to replay"
            )
        return topics[0]
    if wanted not in {catalogue.events, *catalogue.sources}:
        raise UserError(
            f"{wanted!r} has no events of the app; they are in {', '.join([catalogue.events, *catalogue.sources])}"
        )
    return wanted


def _made(here: _Here, asked: _Asked, topic: str) -> Replay:
    now, since = now_ms(), asked["since"]
    until = now if asked["until"] is None else min(asked["until"], now)
    if until <= since:
        raise click.UsageError("--to is not after --from, so no event can be between them")
    return Replay(
        uuid4().hex[:12],
        asked["function"],
        topic,
        topics.topic_id(clients.admin(here.settings), topic),
        since,
        until,
        replaying.spans(here.settings, topic, since, until, now),
        now,
        0,
        ACTIVE,
        asked["per_second"],
        None if asked["condition"] is None else asked["condition"].text,
        asked["statuses"],
        reuse_steps=asked["reuse_steps"],
        new_keys=asked["new_keys"],
    )


def _catalogue_with(here: _Here, function: str) -> Catalogue:
    if here.catalogue is None:
        raise UserError(f"no worker of {here.app} has published its functions; start one first")
    if function not in here.catalogue.functions:
        known = ", ".join(sorted(here.catalogue.functions))
        raise UserError(f"{here.app} has no function {function!r}; it has {known or 'none'}")
    return here.catalogue


def _chosen(here: _Here, made: Replay, catalogue: Catalogue, condition: Expression | None) -> list[Event]:
    selected = None
    if made.statuses:
        selected = frozenset(replaying.chosen_by_status(here.settings, here.app, made))
    extent = Extent(made.id, made.topic, made.spans, made.function, selected)
    found = (line.event for line in replaying.events(here.settings, extent, catalogue))
    return [event for event in found if condition is None or _holds(condition, event)]


def _holds(condition: Expression, event: Event) -> bool:
    try:
        return condition.condition(Scope(event))
    except (EvaluationError, ScopeError) as error:
        raise UserError(
            f"--if has no value for the event {event.id} ({event.topic}/{event.partition}, offset {event.offset}): {error}"
        ) from error


def _preview(made: Replay, chosen: list[Event], *, as_json: bool) -> None:
    seconds = -(-len(chosen) // made.per_second)
    if as_json:
        listed = [
            {"id": one.id, "name": one.name, "partition": one.partition, "offset": one.offset, "at": iso(one.timestamp)}
            for one in chosen
        ]
        document = _document(made, Counts(0, 0, 0, 0)) | {"id": None, "status": "dry run"}
        print_json(document | {"at_least_seconds": seconds, "listed": listed})
        return
    for one in chosen[:_SHOWN]:
        click.echo(f"{iso(one.timestamp)}  {one.name}  {one.id}")
    if len(chosen) > _SHOWN:
        say(f"... and {len(chosen) - _SHOWN} more")
    say(f"{len(chosen)} events of {made.function}, in {seconds} s at least; nothing is started")


def _document(made: Replay, counts: Counts) -> dict[str, Any]:
    return {
        "id": made.id,
        "function": made.function,
        "from": iso(made.since),
        "to": iso(made.until),
        "status": status(made, counts),
        "events": made.events,
        "routed": counts.routed,
        "runs": counts.runs,
        "ended": counts.ended,
        "failed": counts.failed,
    }


def _show(documents: list[dict[str, Any]], *, as_json: bool, one: bool = False) -> None:
    if as_json:
        print_json(documents[0] if one else documents)
        return
    for found in documents:
        click.echo(
            f"{found['id']}  {found['status']:<9}  {found['function']}  {found['from']} to {found['to']}  "
            f"{found['routed']} of {found['events']} events, {found['ended']} of {found['runs']} runs ended, {found['failed']} failed"
        )
