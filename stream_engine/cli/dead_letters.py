"""``stream-engine dead-letters``: messages of which nothing could be made, and sending them again."""

import heapq
from typing import Any, Final

import click
from rich.text import Text

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.columns import columns
from stream_engine.cli.output import print_json, print_lines, progress_of, say
from stream_engine.cli.times import FORMS, TIME
from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.instants import iso
from stream_engine.core.routing.dead_letter import Letter, document, place_of, shown, whole_document
from stream_engine.shell.clock import now_ms
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import letters
from stream_engine.shell.operating.rerunning import Entries
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_ROWS: Final = 50
_HEADS: Final = ("ID", "AT", "RETRIED", "FROM", "REASON", "FUNCTION", "DETAIL")


class _LetterId(click.ParamType):
    """The id of a dead letter, as text."""

    name = "dead letter id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id."""
        text = str(value)
        try:
            place_of(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return text


_LETTER_ID: Final = _LetterId()
_APP_HELP: Final = "The app's name, or module:attribute or file.py:attribute. Default: the only one there is."


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at messages of which nothing could be made, and send them again."""


@dead_letters.command("list", epilog=f"A TIME is {FORMS}.")
@click.option("--app", help=_APP_HELP)
@click.option("--reason", help="Letters with this reason only.")
@click.option("--since", type=TIME, help="Letters buried at this time or later.")
@click.option("--until", type=TIME, help="Letters buried before this time.")
@click.option("--limit", type=click.IntRange(1), help=f"The newest N. Default: {_ROWS}; with --json all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(
    app: str | None, reason: str | None, since: int | None, until: int | None, limit: int | None, *, as_json: bool
) -> None:
    """List dead letters, the newest first."""
    if since is not None and until is not None and until <= since:
        raise click.UsageError("--until is not after --since, so no letter can be between them")
    settings = connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    again = letters.retried(Published(settings, Names.of(name).control).control)
    wanted = (
        (letter.at, *place_of(letter.id), document(letter, again.get(letter.id)))
        for letter in letters.read(settings, name)
        if (reason is None or letter.reason == reason)
        and (since is None or letter.at >= since)
        and (until is None or letter.at < until)
    )
    rows = limit or (None if as_json else _ROWS)
    newest = sorted(wanted, reverse=True) if rows is None else heapq.nlargest(rows + 1, wanted)
    found = [row[-1] for row in newest[:rows]]
    if as_json:
        print_json(found)
    elif found:
        print_lines(columns(_HEADS, [_row(letter) for letter in found]), crop=True)
    else:
        say(f"no such dead letters of {name}")
    if len(newest) > len(found):
        say(f"these are the newest {len(found)}; --limit shows more")


@dead_letters.command()
@click.argument("letter", metavar="ID", type=_LETTER_ID)
@click.option("--app", help=_APP_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(letter: str, app: str | None, *, as_json: bool) -> None:
    """Show the dead letter ID, with all that the message was."""
    settings = connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    found = letters.find(settings, name, letter)
    again = letters.retried(Published(settings, Names.of(name).control).control).get(letter)
    if as_json:
        print_json(whole_document(found, again))
    else:
        print_lines(_lines(found, again))


@dead_letters.command()
@click.argument("ids", metavar="ID...", type=_LETTER_ID, nargs=-1, required=True)
@click.option("--app", help=_APP_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def retry(ids: tuple[str, ...], app: str | None, *, as_json: bool) -> None:
    """Send messages again as they were: the same key, value and headers, to the partition that they came from.

    What is still wrong with one then becomes a dead letter once more. Where one function alone could not use an event, that function alone
    gets it again, as a new run; so do all functions with a record of a topic that others own, which is never written to. A letter is kept, and may be sent again and again.
    """
    settings = connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    published = Published(settings, Names.of(name).control)
    catalogue = published.catalogue() or Catalogue({})
    found = [letters.find(settings, name, letter) for letter in dict.fromkeys(ids)]
    whole = [letter for letter in found if letter.function is None and letter.topic not in catalogue.sources]
    entries = Entries(settings, Names.of(name), catalogue, now_ms())
    runs = {letter.id: entries.of_letter(letter) for letter in found if letter not in whole}
    sent = letters.retry(settings, whole)
    with progress_of("sending") as progress:
        entries.send([one for some in runs.values() for one in some], progress)
    letters.note_retried(settings, name, (letter.id for letter in found), published.control, now_ms())
    again = [
        {"id": letter, "function": one.entry.function, "run_id": one.entry.run_id}
        for letter, some in runs.items()
        for one in some
    ]
    if as_json:
        print_json([*sent, *again])
        return
    for one in sent:
        click.echo(f"{one.id} was sent again, and is offset {one.offset} of {one.topic}/{one.partition}")
    for run in again:
        click.echo(f"{run['id']} is run {run['run_id']} of {run['function']}")


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    place = f"{letter['topic']}/{letter['partition']}/{letter['offset']}"
    retried, function = letter["retried_at"] or "", letter["function"] or ""
    return letter["id"], letter["at"], retried, place, letter["reason"], function, letter["detail"]


def _lines(letter: Letter, retried_at: int | None) -> list[Text]:
    facts = {
        "reason": letter.reason,
        "detail": letter.detail,
        "from": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "buried": iso(letter.at),
        "retried": None if retried_at is None else iso(retried_at),
        "function": letter.function,
        "key": shown(letter.key),
        "headers": ", ".join(f"{name}={shown(value) or ''}" for name, value in letter.headers) or None,
    }
    heads = [Text(f"  {name:<9}  {value}") for name, value in facts.items() if value is not None]
    value = shown(letter.value)
    return [Text(f"dead letter {letter.id}", "bold"), *heads, Text(""), Text("no value" if value is None else value)]
