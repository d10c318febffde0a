"""``stream-engine functions``: what an app's functions are, how many runs of each there are, and holding one back."""

import time
from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec

from stream_engine.cli.apps import resolve_app_name
from stream_engine.cli.columns import columns
from stream_engine.cli.figures import print_figures, with_figures_since
from stream_engine.cli.output import print_json, print_lines, reading_history, say
from stream_engine.cli.times import FORMS, TIME
from stream_engine.core.functions.catalogue import Catalogue
from stream_engine.core.routing.replay import PAUSED, Replay
from stream_engine.core.views.function_listing import FunctionRow, rows, unended
from stream_engine.shell.history.index import Index, ask
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating import pausing, replaying
from stream_engine.shell.operating.settled import settle
from stream_engine.shell.published import Published
from stream_engine.shell.settings import Settings
from stream_engine.shell.topics import Names

_HEADS: Final = ("FUNCTION", "VERSION", "STATE", "RUNNING", "QUEUED", "OPTIONS", "TRIGGERS")
_LOOK_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 60.0
_HOPS: Final = 4
"""Over how many partitions an event may go on its way to a run: what one has passed on, another one has still to decide upon."""

_APP: Final = click.option(
    "--app", help="The app's name, or module:attribute or file.py:attribute. Default: the only one there is."
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

Counts = Mapping[tuple[str, str], int]


class _Here:
    """The app that a command is about."""

    def __init__(self, app: str | None) -> None:
        self.settings = connected(Settings.from_env())
        self.app = resolve_app_name(app, self.settings)
        self.names = Names.of(self.app)

    def published(self) -> Published:
        """Return what its workers have published, as it is now."""
        return Published(self.settings, self.names.control)

    def check(self, function: str) -> None:
        """Raise an error if the app has no such function, and had none that is paused."""
        published = self.published()
        known = {} if (catalogue := published.catalogue()) is None else catalogue.functions
        if function not in {*known, *pausing.pauses(published.control)} or ":" in function:
            listed = ", ".join(name for name in sorted(known) if ":" not in name)
            raise click.ClickException(f"{self.app} has no function {function!r}; it has {listed or 'none'}")

    def counts(self) -> Counts:
        """Return how many runs there are, by function and status."""
        with reading_history() as progress:
            return ask(self.settings, self.app, Index.counts, progress)

    def held(self, queued: int) -> str:
        """Return in words which replays may be what queued runs wait for."""
        paused = [one.id for one in replaying.replays(self.published().control) if one.state == PAUSED]
        if not (queued and paused):
            return ""
        return f"; those of the paused replays {', '.join(paused)} wait until these are resumed or cancelled"

    def rows(self, counts: Counts) -> list[FunctionRow] | None:
        """Return the functions in force, or None if no worker has published any."""
        published = self.published()
        catalogue = published.catalogue()
        return None if catalogue is None else rows(catalogue, counts, pausing.paused(published.control))

    def show(self, function: str, *, as_json: bool, **more: Any) -> None:
        """Print a function as it is now; one without code any more as far as that is known."""
        published = self.published()
        catalogue = published.catalogue() or Catalogue({})
        counts, paused = self.counts(), pausing.paused(published.control)
        found = [row for row in rows(catalogue, counts, paused) if row.id == function]
        if as_json:
            row = msgspec.to_builtins(found[0]) if found else {"id": function, "paused": function in paused}
            print_json(row | more)
        else:
            begun, queued = unended(counts, function)
            state = "is paused" if function in paused else "takes events"
            click.echo(f"{function} {state}; {begun:,} of its runs have begun and not ended, {queued:,} are queued")


@click.group()
def functions() -> None:
    """Look at the functions of an app, and hold one back."""


@functions.command("list", epilog=f"A TIME is {FORMS}.")
@_APP
@click.option("--since", type=TIME, help="Figures from this time on. Default: all that are kept, which is a day.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(app: str | None, since: int | None, *, as_json: bool) -> None:
    """List the functions that events are routed to.

    RUNNING counts runs that have begun and not ended, also those that sleep or wait; QUEUED those that are still to begin.
    Below are figures of each version, of live runs and of replayed ones, in UTC, if a worker runs with `--topology insights`.
    """
    here = _Here(app)
    found = here.rows(here.counts())
    if found is not None:
        found = with_figures_since(here.settings, here.app, found, since or 0)
    if as_json:
        print_json(found or [])
    elif found:
        print_lines(columns(_HEADS, [_row(function) for function in found]), crop=True)
        print_figures(found)
    if found is None:
        say(f"no worker of {here.app} has published its functions yet; `stream-engine worker` does")


@functions.command()
@click.argument("function")
@_APP
@_JSON
def pause(function: str, app: str | None, *, as_json: bool) -> None:
    """Begin no new runs of FUNCTION until it is resumed: its events are told to be paused, and calls of it are refused.

    What has been taken already goes on, also what is queued or waits for its time. Returns once all workers go by it.
    """
    here = _Here(app)
    here.check(function)
    pausing.set_paused(here.settings, here.names, function, paused=True)
    here.show(function, as_json=as_json)


@functions.command()
@click.argument("function")
@click.option("--replay", is_flag=True, help="Run what it has missed, as a replay.")
@_APP
@_JSON
def resume(function: str, app: str | None, *, replay: bool, as_json: bool) -> None:
    """Let FUNCTION take events again; what came while it was paused runs only with --replay, then or later."""
    here = _Here(app)
    here.check(function)
    pausing.set_paused(here.settings, here.names, function, paused=False)
    made = pausing.run_missed(here.settings, here.names, function, say) if replay else []
    here.show(function, as_json=as_json, replays=[one.id for one in made])
    for one in made:
        say(
            f"replay {one.id} runs {one.events} events that it missed{_as(one)}; `stream-engine replay status {one.id}` tells"
        )
    if replay and not made:
        say(f"{function} has missed nothing")


@functions.command()
@click.argument("function")
@_APP
@_JSON
def drain(function: str, app: str | None, *, as_json: bool) -> None:
    """Pause FUNCTION, and return once all its runs have ended, those that were queued and those of its handlers too."""
    here = _Here(app)
    here.check(function)
    pausing.set_paused(here.settings, here.names, function, paused=True)
    quiet, said = 0, (0, 0)
    while quiet < _HOPS:
        if not settle(here.settings, here.names, _SETTLE_SECONDS):
            say(f"the workers of {here.app} have not decided upon all events within {_SETTLE_SECONDS:g} s; waiting on")
            quiet = 0
            continue
        left = unended(here.counts(), function)
        if left != said and any(left):
            say(f"{left[0]:,} of its runs have begun and not ended, {left[1]:,} are queued{here.held(left[1])}")
        said, quiet = left, 0 if any(left) else quiet + 1
        time.sleep(_LOOK_SECONDS)
    here.show(function, as_json=as_json)


def _as(replay: Replay) -> str:
    """Return in words which options a replay has taken over from the one that was passed over."""
    options = [f"--per-second {replay.per_second}"] if replay.per_second else []
    options += ["--reuse-steps"] if replay.reuse_steps else []
    options += ["--new-keys"] if replay.new_keys else []
    return f" in a replay with {' '.join(options)}, and in the same way" if options else ""


def _row(function: FunctionRow) -> tuple[str, ...]:
    state = "paused" if function.paused else ""
    counts = f"{function.running:,}", f"{function.queued:,}"
    options = ", ".join(function.options)
    return function.id, function.version, state, *counts, options, ", ".join(function.triggers)
