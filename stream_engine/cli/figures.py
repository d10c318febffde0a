"""Figures of functions' versions, as `functions list` shows them: what was done of each, how fast, and how badly; live runs and replayed ones apart."""

from rich.text import Text

from stream_engine.cli.columns import columns
from stream_engine.cli.output import print_lines, say
from stream_engine.core.views.function_listing import FunctionRow, with_figures
from stream_engine.core.views.insights import Shown
from stream_engine.shell.operating.insights import read_last
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_HEADS = (
    "FIGURES",
    "VERSION",
    "RUNS",
    "SINCE",
    "UNTIL",
    "STARTED",
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "RETRIES",
    "DELAY p50/p99 ms",
    "TOOK p50/p99 ms",
)
# What a busy app writes while the counting is written and acknowledged.
_USUALLY_BEHIND = 5_000
# What is counted by the minute is shown by the minute, like this: 2026-01-31T13:00.
_MINUTES = 16


def with_figures_since(settings: Settings, app: str, found: list[FunctionRow], since: int) -> list[FunctionRow]:
    """Return functions with their figures from a time on (milliseconds since the epoch), where somebody counts them; say what those lack."""
    last = read_last(settings, app, since)
    if last is None:
        return found
    lack = f"{last.behind:,} records of {Names.of(app).history} are not in"
    if last.behind and not last.counting:
        say(f"nobody counts the figures of versions, and {lack}; `stream-engine worker --topology insights` does")
        return found
    if last.behind > _USUALLY_BEHIND:
        say(f"the figures of versions are being counted, and {lack} yet")
    return with_figures(found, last.figures)


def print_figures(found: list[FunctionRow]) -> None:
    """Print what became of the versions of functions, and which deploys look bad."""
    shown = [(function.id, version) for function in found for version in function.figures or []]
    if shown:
        print_lines([Text(""), *columns(_HEADS, [_row(id, version) for id, version in shown])], crop=True)
    for id, version in shown:
        if version.fails_more:
            say(f"{id}: version {version.version} fails more often than version {version.before} before it")


def _row(id: str, shown: Shown) -> tuple[str, ...]:
    ended = shown.completed, shown.failed + shown.timed_out, shown.cancelled
    delay, took = (shown.delay_p50, shown.delay_p99), (shown.duration_p50, shown.duration_p99)
    counts = (f"{number:,}" for number in (shown.started, *ended, shown.retries))
    return (
        id,
        shown.version,
        "replayed" if shown.replayed else "live",
        shown.since[:_MINUTES],
        shown.until[:_MINUTES],
        *counts,
        *("/".join("-" if ms is None else f"{ms}" for ms in pair) for pair in (delay, took)),
    )
