"""``stream-engine topics``: create or check an app's topics."""

import click

from stream_engine.cli.apps import load_engine
from stream_engine.cli.output import print_json, say
from stream_engine.shell import clients
from stream_engine.shell import topics as shell
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
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
    """Show the topics of APP; exit 1 if one is not as it must be."""
    _show(app, create=False, as_json=as_json)


def _show(app: str, *, create: bool, as_json: bool) -> None:
    settings = connected(Settings.from_env())
    engine = load_engine(app)
    admin = clients.admin(settings)
    names = shell.Names.of(engine.name, engine.events_topic)
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


def _words(topic: shell.Found) -> str:
    if not topic.partitions:
        return "missing"
    kept = "for ever" if topic.retention_ms == -1 else f"{topic.retention_ms / shell.DAY_MS:g} days"
    return f"{topic.partitions:4} partitions  {topic.cleanup:8} kept {kept}"
