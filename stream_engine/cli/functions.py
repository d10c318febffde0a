"""``stream-engine functions``: what an app's functions are, and how many runs of each there are."""

import click

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.columns import columns
from stream_engine.cli.output import print_json, print_lines, reading_history, say
from stream_engine.core.function_listing import FunctionRow, rows
from stream_engine.shell.history.index import Index, ask
from stream_engine.shell.localbroker import connected
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_HEADS = ("FUNCTION", "VERSION", "RUNNING", "QUEUED", "OPTIONS", "TRIGGERS")


@click.group()
def functions() -> None:
    """Look at the functions of an app."""


@functions.command("list")
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str | None, *, as_json: bool) -> None:
    """List the functions that events are routed to.

    RUNNING counts runs that have begun and not ended, also those that sleep or wait; QUEUED those that are still to begin.
    """
    settings = connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    with reading_history() as progress:
        counts = ask(settings, name, Index.counts, progress)
    catalogue = Published(settings, Names.of(name).control).catalogue()
    found = [] if catalogue is None else rows(catalogue, counts)
    if as_json:
        print_json(found)
    elif found:
        print_lines(columns(_HEADS, [_row(function) for function in found]), crop=True)
    if catalogue is None:
        say(f"no worker of {name} has published its functions yet; `stream-engine worker` does")


def _row(function: FunctionRow) -> tuple[str, ...]:
    options = ", ".join(function.options)
    counts = f"{function.running:,}", f"{function.queued:,}"
    return function.id, function.version, *counts, options, ", ".join(function.triggers)
