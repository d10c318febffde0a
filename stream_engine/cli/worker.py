"""``stream-engine worker``: serve an app."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

import click

from stream_engine.cli.apps import load_engine
from stream_engine.cli.output import say
from stream_engine.cli.values import DURATION
from stream_engine.sdk.engine import Engine
from stream_engine.sdk.execution import THREADS
from stream_engine.sdk.slots import Capacity
from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import connected
from stream_engine.shell.settings import Settings
from stream_engine.shell.worker import Limits, Worker


@click.command()
@click.argument("app")
@click.option(
    "--max-runs", type=click.IntRange(1), default=Limits.runs, show_default=True, help="Runs executed at a time."
)
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    default=Capacity.steps,
    show_default=True,
    help="Bodies of steps in progress at a time.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=Capacity.threads,
    show_default=True,
    help="Threads for `def` steps, and as many for `def` functions.",
)
@click.option(
    "--drain-timeout", type=DURATION, default="30s", show_default=True, help="How long steps in flight may take to end."
)
@click.option(
    "--activate", is_flag=True, help="Route events by these functions, even if a newer deploy has others: a rollback."
)
def worker(app: str, max_runs: int, max_steps: int, threads: int, drain_timeout: int, *, activate: bool) -> None:
    """Serve APP, which is `module:attr` or `file.py:attr`; create its topics if they are missing.

    Prints `ready` on stderr once it serves. SIGTERM lets the steps in flight end, and leaves the group.
    """
    log_to_stderr()
    engine = load_engine(app)
    limits = Limits(max_runs, Capacity(max_steps, threads), drain_timeout / 1_000)
    asyncio.run(serve(engine, connected(Settings.from_env()), limits, lambda: say("ready"), activate=activate))


async def serve(
    engine: Engine, settings: Settings, limits: Limits, ready: Callable[[], None], *, activate: bool
) -> None:
    """Serve an app until SIGTERM or SIGINT; call ``ready`` once it serves. See `Worker` for ``activate``.

    Raises:
        UserError: the app cannot be served; the message says what to do.
    """
    worker = Worker(engine, settings, limits, activate=activate)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await worker.serve(ready)
    except UserError as error:
        if _is_held_up():
            say(f"Error: {error}")
            _end(1)
        raise
    if _is_held_up():
        _end(0)


def _is_held_up() -> bool:
    """Return whether code of the app is still at work: a `def` function in its thread, or a task that takes no cancellation.

    The drain time is up, and nobody takes its result any more; Python itself would wait for it, for ever if need be.
    """
    threads = any(thread.name.startswith(THREADS) for thread in threading.enumerate())
    return threads or bool(asyncio.all_tasks() - {asyncio.current_task()})


def _end(code: int) -> None:
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def log_to_stderr() -> None:
    """Have warnings of everything, and what the engine itself has to say, printed on stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("stream_engine").setLevel(logging.INFO)
