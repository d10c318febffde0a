"""``stream-engine replay``: run events again, from the retained log, while everything else goes on."""

from collections import Counter
from functools import cached_property
from typing import Any, Final, NamedTuple, TypedDict, Unpack
from uuid import uuid4

import click
from msgspec.structs import replace

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.output import say
from stream_engine.cli.replay_table import preview, show
from stream_engine.cli.times import FORMS, TIME
from stream_engine.core.expressions.expression import (
    AbsentError,
    EvaluationError,
    Expression,
    ExpressionError,
    compile_expression,
)
from stream_engine.core.expressions.scope import Scope, ScopeError
from stream_engine.core.functions.catalogue import Catalogue, start_event
from stream_engine.core.instants import iso
from stream_engine.core.partition.intake import RESUMED_FOR
from stream_engine.core.records.journal import Event
from stream_engine.core.routing.replay import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    PAUSED,
    PER_SECOND,
    Counts,
    Extent,
    Replay,
    status,
)
from stream_engine.core.views.runs import STATUSES
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.control import Control
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import pausing, replaying
from stream_engine.shell.operating.replay_states import Seen, States
from stream_engine.shell.operating.rewinds import Rewinds
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

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
    per_second: int | None
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

    @cached_property
    def topics(self) -> list[str]:
        """The topics with events, the app's own first."""
        return [self.names.events, *(() if self.catalogue is None else self.catalogue.sources)]

    @cached_property
    def rewinds(self) -> Rewinds:
        """What operators have rewound by the offsets of the router's group."""
        admin = clients.admin(self.settings)
        there = topics.partition_counts(admin)
        return Rewinds(
            self.settings, self.control, {topics.topic_id(admin, one): one for one in self.topics if one in there}
        )

    def replays(self) -> list[Replay]:
        """Return all replays and rewinds that are known, the newest first."""
        found = [*replaying.replays(self.control), *self.rewinds.replays()]
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    def replay(self, name: str) -> Replay:
        """Return a replay, or a rewind, by its id."""
        for one in self.replays():
            if one.id == name:
                return one
        raise UserError(f"{self.app} has no replay {name!r}; `stream-engine replay list` shows them")

    def seen(self, *replays: Replay) -> list[Seen]:
        """Return how far replays are."""
        return States(self.settings, self.names, self.topics, self.control, self.rewinds).of(replays)


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
    help="Whose original run has this status, whatever came of reruns and replays; may be repeated.",
)
@click.option(
    "--if", "condition", type=_Condition(), help="For which this expression holds, such as 'event.data.total > 100'."
)
@click.option(
    "--per-second",
    type=click.IntRange(1),
    help=f"Events a second, at most. Default: {PER_SECOND}, together with all other replays for which nobody says it.",
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
    paused = pausing.pauses(here.control).get(asked["function"])
    is_paused = paused is not None and paused.paused
    if is_paused and not dry_run:
        raise UserError(
            f"{asked['function']} is paused, and would run nothing; `stream-engine functions resume` it first"
        )
    made, condition = _made(here, asked, _topic(catalogue, asked)), asked["condition"]
    asks_history = made.statuses or made.reuse_steps
    if asks_history and (
        unknown := replaying.what_is_not_known(here.settings, here.names, made.since, made.created_at)
    ):
        say(unknown)
    chosen, left_out, invoked, senders = _chosen(here, made, catalogue, condition)
    words = _of_those_that_were_invoked(made, catalogue, invoked)
    if not chosen:
        none = f"{made.topic} has no such events of {made.function} in this time; nothing is started"
        raise UserError(f"{none}{left_out}{words}")
    if words:
        say(words.removeprefix(". "))
    if (others := _of_what_others_send(made, senders)) is not None:
        say(others)
    made = replace(made, events=len(chosen))
    if dry_run:
        preview(made, chosen, as_json=as_json)
        if is_paused:
            say(
                f"{made.function} is paused: it is to be resumed before this can be started, or nothing of it would run"
            )
        return
    replaying.forget(here.settings, here.names, here.control, made.created_at)
    only = {(event.partition, event.offset) for event in chosen} if condition is not None or made.statuses else None
    replaying.make(here.settings, here.names, made, only)
    show([Seen(made, Counts(0, 0, 0, 0), None)], {}, as_json=as_json, one=True)
    say(f"the workers of {here.app} carry it out; `stream-engine replay status {made.id}` tells how far they are")


@replay.command("list")
@_APP
@_JSON
def list_(app: str | None, *, as_json: bool) -> None:
    """List the replays and rewinds of the last 30 days, the newest first."""
    here = _Here(app)
    since = now_ms() - RESUMED_FOR
    found = here.seen(*(one for one in here.replays() if one.created_at > since))
    show(found, here.rewinds.all, as_json=as_json)


@replay.command("status")
@click.argument("name", metavar="REPLAY")
@_APP
@_JSON
def status_(name: str, app: str | None, *, as_json: bool) -> None:
    """Tell how far REPLAY is, or a rewind: it is completed once every run of it has ended."""
    here = _Here(app)
    show(here.seen(here.replay(name)), here.rewinds.all, as_json=as_json, one=True)


@replay.command()
@click.argument("name", metavar="REPLAY")
@_APP
@_JSON
def pause(name: str, app: str | None, *, as_json: bool) -> None:
    """Begin no more runs of REPLAY until it is resumed, whatever they wait for; what has begun goes on."""
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
    """Begin no more runs of REPLAY, for good: what waits is cancelled. What has begun goes on, and `runs cancel --replay` ends it."""
    _change(name, app, CANCELLED, as_json=as_json)


def _change(name: str, app: str | None, state: str, *, as_json: bool) -> None:
    here = _Here(app)
    found = here.replay(name)
    if name in here.rewinds:
        raise UserError(
            f"{name} is a rewind: live routing has to get through it, and cannot pass it by; `stream-engine runs cancel --replay {name}` "
            "cancels those of its runs that there are"
        )
    if found.state in {COMPLETED, CANCELLED} and found.state != state:
        raise UserError(f"replay {name} is {status(found)}")
    if state == ACTIVE and found.created_at <= now_ms() - RESUMED_FOR:
        raise UserError(
            f"replay {name} was started more than 30 days ago, and what it has run is not known for longer; cancel it, and start another one for what is left"
        )
    changed = found if state == found.state else replace(found, state=state, changed_at=now_ms())
    if changed.changed_at:
        # First: how far it is takes a while to be read, and it would go on meanwhile.
        replaying.change(here.settings, here.names, changed)
    show(here.seen(changed), here.rewinds.all, as_json=as_json, one=True)


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
    if since > now:
        raise UserError(f"--from is {iso(since)}, and it is {iso(now)} now: there are no events of that time yet")
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
        asked["per_second"] or 0,
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


class _Chosen(NamedTuple):
    """The events that are to be replayed; what else is to be said of them, in words.

    ``left_out`` says why there are none, where that is known. ``invoked`` counts runs that were meant and that no event has triggered, as far as history was
    asked. ``senders`` has how many events were sent by runs of other functions.
    """

    events: list[Event]
    left_out: str
    invoked: int
    senders: Counter[str]


def _chosen(here: _Here, made: Replay, catalogue: Catalogue, condition: Expression | None) -> _Chosen:
    selected, invoked = None, 0
    if made.statuses:
        keeps_all = catalogue.keeps_all(made.function)
        found = replaying.chosen_by_status(here.settings, here.app, made, keeps_all=keeps_all)
        selected, invoked = frozenset(found.places), found.invoked
    extent = Extent(made.id, made.topic, made.spans, made.function, selected)
    events, senders, absent = list[Event](), Counter[str](), list[str]()
    seen = 0
    for line in replaying.events(here.settings, extent, catalogue):
        seen += 1
        if condition is not None and not _holds(condition, line.event):
            absent += _absent(condition, line.event)
            continue
        events.append(line.event)
        if line.sender not in {None, made.function}:
            senders[str(line.sender)] += 1
    is_strange = seen and len(absent) == seen
    return _Chosen(
        events, f". --if looks at what none of {seen} events has: {absent[0]}" if is_strange else "", invoked, senders
    )


def _of_what_others_send(made: Replay, senders: Counter[str]) -> str | None:
    """Return in words what is to be known of events that runs of other functions have sent, or None where there are none."""
    if not senders:
        return None
    told = ", ".join(f"{count} by runs of {name}" for name, count in sorted(senders.items()))
    return (
        f"of these events, some were sent by runs of other functions: {told}. Where such a function is replayed too, its runs send them anew, "
        f"and {made.function} runs for these as well: replay only one of the two"
    )


def _of_those_that_were_invoked(made: Replay, catalogue: Catalogue, invoked: int) -> str:
    """Return in words what a replay cannot reach, because no event has triggered it; empty where that is nothing."""
    instead = "replay the function that invokes it, whose runs invoke it anew"
    if invoked:
        return f". {invoked} such runs were invoked by steps of others, and no event has triggered them: {instead}"
    spec = catalogue.functions[made.function]
    if set(spec.triggers) <= {start_event(made.function)} and not spec.crons:
        return f". {made.function} has no trigger: a run that was invoked has no event; {instead}"
    return ""


def _absent(condition: Expression, event: Event) -> list[str]:
    """Return in words which field is not there that a condition looks at, if that is why it does not hold."""
    try:
        condition.value(Scope(event))
    except AbsentError as error:
        return [str(error)]
    return []


def _holds(condition: Expression, event: Event) -> bool:
    try:
        return condition.condition(Scope(event))
    except (EvaluationError, ScopeError) as error:
        raise UserError(
            f"--if has no value for the event {event.id} ({event.topic}/{event.partition}, offset {event.offset}): {error}"
        ) from error
