"""``stream-engine replay start``: what is asked for becomes a replay, with a look at it first."""

from typing import TypedDict, Unpack
from uuid import uuid4

import click
from msgspec.structs import replace

from stream_engine.cli.conditions import CONDITION
from stream_engine.cli.output import say
from stream_engine.cli.replay_app import APP, JSON, ReplayApp
from stream_engine.cli.replay_choice import (
    Chosen,
    choose,
    of_copies,
    of_those_that_are_paused,
    of_those_that_were_invoked,
    of_what_others_send,
)
from stream_engine.cli.replay_table import preview, show
from stream_engine.cli.times import FORMS, TIME
from stream_engine.core.expressions.expression import Expression
from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.instants import iso
from stream_engine.core.routing.replay import ACTIVE, PER_SECOND, Counts, Replay
from stream_engine.core.views.runs import STATUSES
from stream_engine.shell import clients, topics
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating import pausing, replaying
from stream_engine.shell.operating.replay_states import Seen


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


@click.command(epilog=f"A TIME is {FORMS}.")
@APP
@click.option("--function", required=True, help="The function whose events run again.")
@click.option("--topic", help="The topic with the events, where those of the function may come from several.")
@click.option("--from", "since", type=TIME, required=True, help="Events that were stored at this time or later.")
@click.option("--to", "until", type=TIME, help="Events that were stored before this time. Default, and at most: now.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="Whose original run has this status, whatever came of reruns and replays; may be repeated.",
)
@click.option(
    "--if", "condition", type=CONDITION, help="For which this expression holds, such as 'event.data.total > 100'."
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
@JSON
def start(app: str | None, *, dry_run: bool, as_json: bool, **asked: Unpack[_Asked]) -> None:
    """Run events of a function again, in a group of their own; print the replay."""
    here = ReplayApp(app)
    catalogue = _catalogue_with(here, asked["function"])
    paused = pausing.paused(here.control)
    is_paused = asked["function"] in paused
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
    found = choose(here, made, catalogue, condition)
    _tell(made, catalogue, found, paused)
    events = found.events
    made = replace(made, events=len(events))
    if dry_run:
        preview(made, events, as_json=as_json)
        if is_paused:
            say(
                f"{made.function} is paused: it is to be resumed before this can be started, or nothing of it would run"
            )
        return
    replaying.forget(here.settings, here.names, here.control, made.created_at)
    only = {(event.partition, event.offset) for event in events} if condition is not None or made.statuses else None
    replaying.make(here.settings, here.names, made, only)
    show([Seen(made, Counts(0, 0, 0, 0), None)], {}, as_json=as_json, one=True)
    say(f"the workers of {here.app} carry it out; `stream-engine replay status {made.id}` tells how far they are")


def _tell(made: Replay, catalogue: Catalogue, found: Chosen, paused: set[str]) -> None:
    """Say what is to be known of the events that were found, and of what is ``paused``, or raise an error where there are no events."""
    invoked = of_those_that_were_invoked(made, catalogue, found.invoked)
    if not found.events:
        none = f"{made.topic} has no such events of {made.function} in this time; nothing is started"
        raise UserError(f"{none}{found.left_out}{invoked}")
    others, copies = of_what_others_send(made, found.senders), of_copies(made, found.copies)
    for words in (invoked.removeprefix(". "), others, copies, of_those_that_are_paused(made, catalogue, paused)):
        if words:
            say(words)


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


def _made(here: ReplayApp, asked: _Asked, topic: str) -> Replay:
    now = now_ms()
    since, until = _range(asked["since"], asked["until"], now)
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


def _range(since: int, until: int | None, now: int) -> tuple[int, int]:
    """Return from when to when events are meant, all times in milliseconds since the epoch; say so if that is less than what was asked for."""
    if since > now:
        raise UserError(f"--from is {iso(since)}, and it is {iso(now)} now: there are no events of that time yet")
    if until is not None and until <= since:
        raise click.UsageError("--to is not after --from, so no event can be between them")
    if until is None or until <= now:
        return since, now if until is None else until
    # What comes later is taken live, by the code that is there then, and a range is fixed when it is made.
    say(
        f"--to is {iso(until)}, and it is {iso(now)} now: the replay is of events up to now, and later ones only run live"
    )
    return since, now


def _catalogue_with(here: ReplayApp, function: str) -> Catalogue:
    if here.catalogue is None:
        raise UserError(f"no worker of {here.app} has published its functions; start one first")
    if function not in here.catalogue.functions:
        known = ", ".join(sorted(here.catalogue.functions))
        raise UserError(f"{here.app} has no function {function!r}; it has {known or 'none'}")
    return here.catalogue
