"""``stream-engine topics``: create or check an app's topics."""

import click
from confluent_kafka.admin import AdminClient

from stream_engine.cli.apps import engine_name, load_engine
from stream_engine.cli.output import print_json, say
from stream_engine.shell import clients
from stream_engine.shell import topics as shell
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings


@click.group()
def topics() -> None:
    """Create or check an app's topics; nothing is ever shrunk or deleted."""


@topics.command("apply")
@click.argument("app")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def apply(app: str, *, as_json: bool) -> None:
    """Create the topics of APP that are missing, and check the others; exit 1 if one is not as it must be."""
    _show(app, create=True, as_json=as_json)


@topics.command("list")
@click.argument("app")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str, *, as_json: bool) -> None:
    """Show the topics of APP, which here may be the app's name too; exit 1 if one is not as it must be."""
    _show(app, create=False, as_json=as_json)


def _show(app: str, *, create: bool, as_json: bool) -> None:
    settings = connected(Settings.from_env())
    admin = clients.admin(settings)
    names = _names(app, settings, admin, create=create)
    partitions = shell.partition_count(admin, names.commands) or settings.partitions
    found = (shell.apply if create else shell.inspect)(admin, names, partitions)
    if as_json:
        print_json(found)
    else:
        for topic in found:
            click.echo(f"{topic.name:32} {_words(topic)}")
    wrong = [f"{topic.name}: {topic.finding}" for topic in found if not topic.ok]
    for line in wrong:
        say(line)
    if wrong:
        raise UserError(f"{len(wrong)} of {len(found)} topics are not as they must be")


def _names(app: str, settings: Settings, admin: AdminClient, *, create: bool) -> shell.Names:
    """Return the names of the topics of an app; only its code knows what they are before they are there."""
    if create or engine_name(app) != app:
        engine = load_engine(app)
        return shell.Names.of(engine.name, engine.events_topic)
    names = shell.Names.of(app)
    if not shell.partition_count(admin, names.control):
        raise UserError(
            f"there is no app {app!r} on {settings.bootstrap_servers}; `stream-engine topics apply` creates the topics of one, by where its Engine is"
        )
    catalogue = Published(settings, names.control).catalogue()
    return names if catalogue is None else shell.Names.of(app, catalogue.events)


def _words(topic: shell.Found) -> str:
    if not topic.partitions:
        return "missing"
    kept = "for ever" if topic.retention_ms == -1 else _span(topic.retention_ms)
    return f"{topic.partitions:4} partitions  {topic.cleanup:8} kept {kept}"


def _span(ms: int) -> str:
    """Return a length of time in words, in the largest unit that it has one of, and tenths of it."""
    for unit, size in (("days", shell.DAY_MS), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= size:
            return f"{ms / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{ms / 1_000:g} s"
