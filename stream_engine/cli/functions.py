"""``stream-engine functions``: what an app's functions are, and how many runs of each there are."""

import click
from rich.text import Text

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.columns import columns
from stream_engine.cli.output import print_json, print_lines, reading_history, say
from stream_engine.core.function_listing import FunctionRow, rows, with_figures
from stream_engine.core.insights import Shown
from stream_engine.shell.clock import now_ms
from stream_engine.shell.history.index import Index, ask
from stream_engine.shell.insights import read_insights
from stream_engine.shell.localbroker import connected
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_HEADS = ("FUNCTION", "VERSION", "RUNNING", "QUEUED", "OPTIONS", "TRIGGERS")
_FIGURE_HEADS = (
    "LAST HOUR",
    "VERSION",
    "STARTED",
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "RETRIES",
    "DELAY p50/p95 ms",
    "TOOK p50/p95 ms",
)
_HOUR_MS = 3_600_000


@click.group()
def functions() -> None:
    """Look at the functions of an app."""


@functions.command("list")
@click.option("--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str | None, *, as_json: bool) -> None:
    """List the functions that events are routed to.

    RUNNING counts runs that have begun and not ended, also those that sleep or wait; QUEUED those that are still to begin.
    Below are the figures of the last hour, if a worker runs with `--topology insights`.
    """
    settings = connected(Settings.from_env())
    name = resolve_app_name(app, settings)
    with reading_history() as progress:
        counts = ask(settings, name, Index.counts, progress)
    catalogue = Published(settings, Names.of(name).control).catalogue()
    found = [] if catalogue is None else rows(catalogue, counts)
    figures = read_insights(settings, name, now_ms() - _HOUR_MS)
    if figures is not None:
        found = with_figures(found, figures)
    if as_json:
        print_json(found)
    elif found:
        print_lines(columns(_HEADS, [_row(function) for function in found]), crop=True)
        _print_figures(found)
    if catalogue is None:
        say(f"no worker of {name} has published its functions yet; `stream-engine worker` does")


def _print_figures(found: list[FunctionRow]) -> None:
    """Print what happened in the last hour, and which deploys look bad."""
    shown = [(function.id, version) for function in found for version in function.last_hour or []]
    if shown:
        print_lines([Text(""), *columns(_FIGURE_HEADS, [_figures(id, version) for id, version in shown])], crop=True)
    for id, version in shown:
        if version.fails_more:
            say(f"{id}: version {version.version} fails more often than version {version.before} before it")


def _figures(id: str, shown: Shown) -> tuple[str, ...]:
    ended = shown.completed, shown.failed + shown.timed_out, shown.cancelled
    delay, took = (shown.delay_p50, shown.delay_p95), (shown.duration_p50, shown.duration_p95)
    counts = (f"{number:,}" for number in (shown.started, *ended, shown.retries))
    return (
        id,
        shown.version,
        *counts,
        *("/".join("-" if ms is None else f"{ms}" for ms in pair) for pair in (delay, took)),
    )


def _row(function: FunctionRow) -> tuple[str, ...]:
    options = ", ".join(function.options)
    counts = f"{function.running:,}", f"{function.queued:,}"
    return function.id, function.version, *counts, options, ", ".join(function.triggers)
