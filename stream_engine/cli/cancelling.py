"""``stream-engine runs cancel``, once it is known which runs are meant."""

import getpass
import socket
from collections.abc import Iterable, Mapping

import click

from stream_engine.cli.output import progress_of, say
from stream_engine.core.views.runs import ENDED, FoldedRun
from stream_engine.shell.errors import UserError
from stream_engine.shell.operating import cancelling
from stream_engine.shell.settings import Settings


def reason_of(text: str) -> str:
    """Return what history says of who cancelled a run, and why."""
    by = f"stream-engine runs cancel, {getpass.getuser()}@{socket.gethostname()}"
    return f"{by}: {text}" if text else by


def refuse_ended(runs: Iterable[FoldedRun]) -> list[str]:
    """Return the ids of those that have not ended; say of the others that they have."""
    going = []
    for run in runs:
        if run.status in ENDED:
            say(f"run {run.run_id} cannot be cancelled: it is {run.status} already")
        else:
            going.append(run.run_id)
    return going


def wait(settings: Settings, app: str, runs: list[str], start: Mapping[int, int], timeout: int) -> list[str]:
    """Wait until runs that are being cancelled have ended, ``timeout`` milliseconds at most; return those that were cancelled.

    ``start`` is where history ended before it was asked which of them have not.

    Raises:
        UserError: some have not ended in time.
    """
    left, cancelled = set(runs), []
    with progress_of("cancelling") as progress:
        for ends in cancelling.follow(settings, app, start, timeout / 1_000) if runs else ():
            for run_id, status in ends.items():
                if run_id not in left:
                    continue
                left.discard(run_id)
                progress(len(runs) - len(left), len(runs))
                if status == "cancelled":
                    cancelled.append(run_id)
                    click.echo(f"{run_id}  cancelled")
                else:
                    say(f"run {run_id} cannot be cancelled: it is {status} already")
            if not left:
                break
    if left:
        raise UserError(
            f"{len(left)} of {len(runs)} have not ended yet, such as {min(left)}; they are cancelled once a worker has "
            "the request, and what is running of them has stopped: a `def` step ends first"
        )
    return cancelled
