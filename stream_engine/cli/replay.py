"""``stream-engine replay``: run events again, from the retained log, while everything else goes on."""

import click
from msgspec.structs import replace

from stream_engine.cli.replay_app import APP, JSON, ReplayApp
from stream_engine.cli.replay_start import start
from stream_engine.cli.replay_table import show
from stream_engine.core.partition.intake import RESUMED_FOR
from stream_engine.core.routing.replay import ACTIVE, CANCELLED, COMPLETED, PAUSED, status
from stream_engine.shell.clock import now_ms
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating import replaying


@click.group()
def replay() -> None:
    """Run events again, from the retained log; live events go on meanwhile."""


replay.add_command(start)


@replay.command("list")
@APP
@JSON
def list_(app: str | None, *, as_json: bool) -> None:
    """List the replays and rewinds of the last 30 days, the newest first."""
    here = ReplayApp(app)
    since = now_ms() - RESUMED_FOR
    found = here.seen(*(one for one in here.replays() if one.created_at > since))
    show(found, here.rewinds.all, as_json=as_json)


@replay.command("status")
@click.argument("name", metavar="REPLAY")
@APP
@JSON
def status_(name: str, app: str | None, *, as_json: bool) -> None:
    """Tell how far REPLAY is, or a rewind: it is completed once every run of it has ended."""
    here = ReplayApp(app)
    show(here.seen(here.replay(name)), here.rewinds.all, as_json=as_json, one=True)


@replay.command()
@click.argument("name", metavar="REPLAY")
@APP
@JSON
def pause(name: str, app: str | None, *, as_json: bool) -> None:
    """Begin no more runs of REPLAY until it is resumed, whatever they wait for; what has begun goes on."""
    _change(name, app, PAUSED, as_json=as_json)


@replay.command()
@click.argument("name", metavar="REPLAY")
@APP
@JSON
def resume(name: str, app: str | None, *, as_json: bool) -> None:
    """Go on with REPLAY where it was paused."""
    _change(name, app, ACTIVE, as_json=as_json)


@replay.command()
@click.argument("name", metavar="REPLAY")
@APP
@JSON
def cancel(name: str, app: str | None, *, as_json: bool) -> None:
    """Begin no more runs of REPLAY, for good: what waits is cancelled. What has begun goes on, and `runs cancel --replay` ends it."""
    _change(name, app, CANCELLED, as_json=as_json)


def _change(name: str, app: str | None, state: str, *, as_json: bool) -> None:
    here = ReplayApp(app)
    found = here.replay(name)
    if name in here.rewinds:
        raise UserError(
            f"{name} is a rewind: live routing has to get through it, and cannot pass it by; `stream-engine runs cancel --replay {name}` "
            "cancels those of its runs that there are"
        )
    if found.state in {COMPLETED, CANCELLED} and found.state != state:
        raise UserError(f"replay {name} is {status(found)}")
    if state == ACTIVE and found.created_at <= now_ms() - RESUMED_FOR:
        raise UserError(
            f"replay {name} was started more than 30 days ago, and what it has run is not known for longer; cancel it, and start another one for what is left"
        )
    changed = found if state == found.state else replace(found, state=state, changed_at=now_ms())
    if changed.changed_at:
        # First: how far it is takes a while to be read, and it would go on meanwhile.
        replaying.change(here.settings, here.names, changed)
    show(here.seen(changed), here.rewinds.all, as_json=as_json, one=True)
