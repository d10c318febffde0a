"""``stream-engine groups reset``: rewinding the group that routes, as Kafka's own tool does, with a look at it first."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import click
from confluent_kafka import Consumer

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.output import print_json, say
from stream_engine.cli.times import FORMS, TIME
from stream_engine.core.instants import iso
from stream_engine.shell import clients
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import group_offsets as shell
from stream_engine.shell.operating.group_offsets import Move
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names


class _Partitions(NamedTuple):
    """A topic, and which of its partitions are meant; None for all."""

    topic: str
    numbers: frozenset[int] | None


class _PartitionsType(click.ParamType):
    """``TOPIC[:NUMBER,...]``, as Kafka's own tool has it."""

    name = "topic[:n,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Partitions:
        """Return the topic and its partitions."""
        if isinstance(value, _Partitions):
            return value
        topic, colon, numbers = str(value).partition(":")
        listed = numbers.split(",")
        if not topic or (colon and not all(one.isdecimal() for one in listed)):
            self.fail(f"{value!r} is not TOPIC or TOPIC:NUMBER,..., such as shop.events:0,3", param, ctx)
        return _Partitions(topic, frozenset(map(int, listed)) if colon else None)


class _To(TypedDict):
    """The options that say where to; a time in milliseconds since the epoch."""

    to_datetime: int | None
    to_earliest: bool
    to_offset: int | None


@click.command(epilog=f"A TIME is {FORMS}.")
@click.argument("group")
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--to-datetime", type=TIME, help="To the first event of this time or later.")
@click.option("--to-earliest", is_flag=True, help="To the first event that is kept.")
@click.option("--to-offset", type=click.IntRange(0), metavar="N", help="To this offset, in each partition.")
@click.option(
    "--topic",
    "chosen",
    multiple=True,
    type=_PartitionsType(),
    help="Only this topic, or these partitions of it, as in T:0,3; may be repeated. Default: all that the group reads.",
)
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def reset(
    group: str,
    app: str | None,
    chosen: tuple[_Partitions, ...],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **to: Unpack[_To],
) -> None:
    """Set the offsets of GROUP, which is APP.router: a rewind, whose events run again as a replay once workers are started.

    All workers must be stopped. Going forward skips events for good. An offset behind the end of a partition is its end.
    """
    if (to["to_datetime"] is not None) + to["to_earliest"] + (to["to_offset"] is not None) != 1:
        raise click.UsageError("give one of --to-datetime, --to-earliest and --to-offset")
    settings = connected(Settings.from_env())
    names, routed = _routed(resolve_app_name(app, settings), settings)
    _check_group(group, names)
    wanted = _wanted(group, chosen, routed)
    admin = clients.admin(settings)
    count = shell.members(admin, group)
    if count:
        raise UserError(
            f"{group} is active: it has {count} member{'s' if count > 1 else ''}. Stop all workers of {names.app} first"
        )
    moves = [
        move
        for topic, numbers in wanted.items()
        for move in shell.moves(settings, group, topic, _targets(settings, topic, numbers, to))
    ]
    asks = not (yes or dry_run)
    if asks and not sys.stdin.isatty():
        raise UserError("nothing is set yet: add --yes to set the offsets, or --dry-run to look at what that would do")
    if as_json:
        print_json([move._asdict() for move in moves])
    else:
        for move in moves:
            click.echo(f"{move.topic}/{move.partition:<4} {_words(move)}")
    if dry_run:
        return
    if asks:
        click.confirm("set these offsets?", abort=True, err=True)
    for topic in wanted:
        shell.set_offsets(admin, group, topic, {move.partition: move.to for move in moves if move.topic == topic})
    say(done(names.app, moves))


def _wanted(group: str, chosen: Iterable[_Partitions], routed: Sequence[str]) -> dict[str, frozenset[int] | None]:
    """Return which partitions are meant, by topic; None for all of one."""
    wanted: dict[str, frozenset[int] | None] = {}
    for topic, numbers in chosen:
        if topic not in routed:
            raise UserError(f"{group} does not read {topic!r}; it reads {', '.join(routed)}")
        before = wanted.get(topic, frozenset())
        wanted[topic] = None if before is None or numbers is None else before | numbers
    return wanted or dict.fromkeys(routed)


def _routed(app: str, settings: Settings) -> tuple[Names, list[str]]:
    """Return the app's names, and the topics that its group reads."""
    catalogue = Published(settings, Names.of(app).control).catalogue()
    names = Names.of(app, catalogue.events if catalogue is not None else None)
    return names, [names.events, *(() if catalogue is None else catalogue.sources)]


def _check_group(group: str, names: Names) -> None:
    if group == names.router_group:
        return
    if group == names.leader_group:
        raise UserError(
            f"the offsets of {group} say nothing: how far commands are decided upon stands in the journal. "
            f"The group to rewind is {names.router_group}"
        )
    if group.startswith(f"{names.app}.replay."):
        raise UserError(
            f"{group} belongs to a replay, whose range is fixed; start another one with `stream-engine replay start`"
        )
    raise UserError(f"{names.app} has no group {group!r}; the one to rewind is {names.router_group}")


def _targets(settings: Settings, topic: str, numbers: frozenset[int] | None, to: _To) -> dict[int, int]:
    consumer, now = clients.reader(settings), now_ms()
    try:
        there = shell.partitions(consumer, topic)
        if missing := sorted((numbers or frozenset()) - set(there)):
            raise UserError(f"{topic} has no partition {missing[0]}; it has {len(there)}, from 0 to {there[-1]}")
        wanted = there if numbers is None else sorted(numbers)
        time = to["to_datetime"]
        if time is None:
            return {number: _target(consumer, topic, number, to["to_offset"]) for number in wanted}
        if time > now:
            raise UserError(
                f"--to-datetime is {iso(time)}, and it is {iso(now)} now: there are no events of that time yet"
            )
        kept = shell.kept_since(clients.admin(settings), topic, now)
        found = {number: one for number, one in shell.at(consumer, topic, time, kept).items() if number in wanted}
        shell.check_reach(topic, time, found)
        return {number: one.offset for number, one in found.items()}
    finally:
        consumer.close()


def _target(consumer: Consumer, topic: str, number: int, offset: int | None) -> int:
    there = clients.offsets(consumer, topic, number)
    wanted = there.start if offset is None else min(offset, there.stop)
    if wanted < there.start:
        raise UserError(f"{topic}/{number} begins at offset {there.start}: what was before has expired")
    return wanted


def done(app: str, moves: Sequence[Move]) -> str:
    """Return what is said of an app whose group was moved."""
    known = [(move.now, move.to) for move in moves if move.now is not None]
    words = [
        *(["what was rewound runs again"] if any(to < now for now, to in known) else []),
        *(["what was passed over does not run"] if any(to > now for now, to in known) else []),
    ]
    return f"done; start the workers of {app}" + (f", and {'; '.join(words)}" if words else "")


def _words(move: Move) -> str:
    if move.now is None:
        return f"begins at {move.to}"
    if move.to < move.now:
        return f"{move.now} -> {move.to}: {move.now - move.to} offsets again"
    if move.to > move.now:
        return f"{move.now} -> {move.to}: {move.to - move.now} offsets skipped for good"
    return f"stays at {move.now}"
