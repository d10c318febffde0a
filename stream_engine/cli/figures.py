"""The figures of the last hour, as `functions list` shows them: what was done of each function's versions, how fast, and how badly."""

from rich.text import Text

from stream_engine.cli.columns import columns
from stream_engine.cli.output import print_lines, say
from stream_engine.core.function_listing import FunctionRow, with_figures
from stream_engine.core.insights import Shown
from stream_engine.shell.clock import now_ms
from stream_engine.shell.insights import read_last
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_HEADS = (
    "LAST HOUR",
    "VERSION",
    "STARTED",
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "RETRIES",
    "DELAY p50/p99 ms",
    "TOOK p50/p99 ms",
)
_HOUR_MS = 3_600_000
# What a busy app writes while the counting is written and acknowledged.
_USUALLY_BEHIND = 5_000


def with_last_hour(settings: Settings, app: str, found: list[FunctionRow]) -> list[FunctionRow]:
    """Return functions with their figures, where somebody counts them; say what those lack."""
    last = read_last(settings, app, now_ms() - _HOUR_MS)
    if last is None:
        return found
    lack = f"{last.behind:,} records of {Names.of(app).history} are not in"
    if last.behind and not last.counting:
        say(f"nobody counts the figures of the last hour, and {lack}; `stream-engine worker --topology insights` does")
        return found
    if last.behind > _USUALLY_BEHIND:
        say(f"the figures of the last hour are being counted, and {lack} yet")
    return with_figures(found, last.figures)


def print_figures(found: list[FunctionRow]) -> None:
    """Print what happened in the last hour, and which deploys look bad."""
    shown = [(function.id, version) for function in found for version in function.last_hour or []]
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
        *counts,
        *("/".join("-" if ms is None else f"{ms}" for ms in pair) for pair in (delay, took)),
    )
