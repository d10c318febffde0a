"""``stream-engine send``: produce one event, and wait for what it causes."""

from typing import Any, Final, TypedDict, Unpack

import click

from stream_engine.cli.apps import load_engine, resolve_app_name
from stream_engine.cli.output import print_json, print_lines, say
from stream_engine.cli.run_table import table
from stream_engine.cli.times import FORMS, TIME
from stream_engine.cli.values import DURATION, JSON
from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.views.caused import Caused
from stream_engine.core.views.run_document import document
from stream_engine.sdk.events import Event, Message
from stream_engine.sdk.events import message as to_message
from stream_engine.shell.clock import monotonic
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import one_event
from stream_engine.shell.operating.one_event import Listening, Sent
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_QUIET_SECONDS: Final = 5.0
_FOREVER_SECONDS: Final = 10 * 365 * 86_400.0


class _How(TypedDict):
    """What the event carries besides its name and data, and how to wait; times and durations in milliseconds."""

    id: str | None
    key: str | None
    ts: int | None
    wait: bool
    timeout: int | None


@click.command(epilog=f"A TIME is {FORMS}.")
@click.argument("name")
@click.argument("data", type=JSON)
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--id", metavar="ID", help="The event's id: a second event with it, within 24 hours, is a duplicate.")
@click.option("--key", metavar="KEY", help="Kafka's key: events of one key keep their order.")
@click.option("--ts", type=TIME, help="When it happened; a time to come starts its runs then.")
@click.option("--wait", is_flag=True, help="Wait for the runs that it causes, and print them. Exit 1 if one fails.")
@click.option("--timeout", type=DURATION, help="With --wait: how long at most, such as 30s. Default: for ever.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: the event, or with --wait its runs.")
def send(name: str, data: bytes, app: str | None, *, as_json: bool, **how: Unpack[_How]) -> None:
    """Send an event with a NAME, such as order/placed, and DATA, a JSON object; print its id once Kafka has it."""
    message = _message(name, data, how)
    settings = connected(Settings.from_env())
    app_name, catalogue = _look_up(app, settings)
    topic = Names.of(app_name, catalogue.events).events
    if not how["wait"]:
        sent = one_event.send(settings, topic, message, how["id"])
        if as_json:
            print_json({"id": sent.id, **sent.place._asdict()})
        else:
            click.echo(sent.id)
        return
    with Listening(settings, app_name) as listening:
        sent = one_event.send(settings, topic, message, how["id"])
        say(f"sent {sent.id}")
        caused = listening.expect(sent, catalogue)
        in_time = not caused.functions or _wait(listening, sent, caused, how["timeout"])
    _print(caused, as_json=as_json)
    if not caused.functions:
        wanting = catalogue.named(name)
        why = f"its data does not meet the conditions of {', '.join(wanting)}" if wanting else ""
        raise UserError(f"no function took it: {why or f'nothing in {app_name} is triggered by {name!r}'}")
    if not in_time:
        raise UserError(
            f"not ended in time: {', '.join(caused.pending())}; the event is sent, and what it causes goes on"
        )
    if not caused.succeeded:
        raise UserError("not every run completed; `stream-engine runs show RUN` tells what happened in one")


def _message(name: str, data: bytes, how: _How) -> Message:
    try:
        return to_message(Event[Any](name, id=how["id"], ts=how["ts"]), data, how["key"], how["id"])
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _look_up(app: str | None, settings: Settings) -> tuple[str, Catalogue]:
    """Return the app's name and its catalogue: the one in force, else that of its code, else an empty one."""
    name = resolve_app_name(app, settings)
    published = Published(settings, Names.of(name).control).catalogue()
    if published is not None:
        return name, published
    code = app or settings.app
    return name, load_engine(code).catalogue() if code is not None and ":" in code else Catalogue({})


def _wait(listening: Listening, sent: Sent, caused: Caused, timeout: int | None) -> bool:
    """Wait, telling what happens on stderr; return whether every function has answered in time."""
    seconds = _FOREVER_SECONDS if timeout is None else timeout / 1_000
    said: dict[str, str] = {}
    quiet_until = monotonic() + _QUIET_SECONDS
    for _ in listening.hear(sent, caused, seconds):
        for function, words in caused.says():
            if said.get(function) != words:
                said[function] = words
                say(f"{function}: {words}")
        if not said and monotonic() > quiet_until:
            quiet_until = float("inf")
            say("nothing has taken it yet; does a worker run? `stream-engine doctor` tells")
    return not caused.pending()


def _print(caused: Caused, *, as_json: bool) -> None:
    runs = caused.runs()
    if as_json:
        print_json([document(run) for run in runs])
    elif runs:
        print_lines(table(runs), crop=True)
