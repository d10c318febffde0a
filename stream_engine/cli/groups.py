"""``stream-engine groups``: how far the consumer groups of an app have come."""

import click

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.columns import columns
from stream_engine.cli.group_reset import reset
from stream_engine.cli.output import print_json, print_lines
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating.groups import GroupRow, inspect
from stream_engine.shell.operating.replaying import replays
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_HEADS = ("GROUP", "OFFSET", "END", "LAG", "REPLAY", "TOPIC")


@click.group()
def groups() -> None:
    """Look at the consumer groups of an app, and rewind the one that routes."""


groups.add_command(reset)


@groups.command("list")
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str | None, *, as_json: bool) -> None:
    """List how far the app's groups have read each partition: the router's to its end, and those of replays to the end of what they replay.

    A replay that is completed or cancelled has no lag.
    """
    settings = connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    published = Published(settings, Names.of(name).control)
    catalogue = published.catalogue()
    events, sources = (None, ()) if catalogue is None else (catalogue.events or None, catalogue.sources)
    found = inspect(settings, name, events, sources, replays(published.control))
    if as_json:
        print_json(found)
    else:
        print_lines(columns(_HEADS, [_row(row) for row in found]), crop=True)


def _row(row: GroupRow) -> tuple[str, ...]:
    offset = "none" if row.offset is None else str(row.offset)
    lag = "-" if row.lag is None else str(row.lag)
    return row.group, offset, str(row.end), lag, row.replay_id or "", f"{row.topic}/{row.partition}"
