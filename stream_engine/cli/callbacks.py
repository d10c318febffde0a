"""``stream-engine callbacks``: completing what a run waits for."""

import click

from stream_engine.cli.output import print_json
from stream_engine.cli.values import ANY_JSON, DURATION
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.operating.completing import Completing
from stream_engine.shell.settings import Settings


@click.group()
def callbacks() -> None:
    """Complete callbacks, which runs wait for."""


@callbacks.command()
@click.argument("token")
@click.argument("data", type=ANY_JSON)
@click.option(
    "--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for a worker to confirm it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def complete(token: str, data: bytes, timeout: int, *, as_json: bool) -> None:
    """Complete the callback that has this TOKEN with DATA, which is JSON: `true`, `7`, `"yes"`, `{"ok": true}`.

    The first completion of a callback counts; whether this one does is confirmed by the worker that leads its run. Exit 1, and why, if not.
    """
    with Completing(connected(Settings.from_env())) as completing:
        outcome = completing.complete(token, data, "cli", timeout / 1_000)
    if not outcome.completed:
        raise UserError(f"refused ({outcome.disposition}): {outcome.detail}")
    assert outcome.named is not None
    app, run_id, step_id = outcome.named
    if as_json:
        print_json({"app": app, "run_id": run_id, "step_id": step_id, "disposition": outcome.disposition})
    else:
        click.echo(f"{run_id}  {step_id}  {outcome.disposition}")
