"""``stream-engine dev``: an app on this machine, with all that it needs, until Ctrl-C."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from stream_engine.cli.activity import Activity
from stream_engine.cli.apps import load_engine
from stream_engine.cli.output import say
from stream_engine.cli.sample import command
from stream_engine.cli.worker import serve
from stream_engine.sdk.engine import Engine
from stream_engine.shell import localbroker
from stream_engine.shell.settings import Settings
from stream_engine.shell.threads import Limits

# Whoever presses Ctrl-C waits for it; a step that takes longer is executed again at the next start.
_DRAIN_SECONDS: Final = 5.0


@click.command()
@click.argument("app")
def dev(app: str) -> None:
    """Serve APP, which is `module:attr` or `file.py:attr`, until Ctrl-C: broker, topics and worker in one.

    A broker that is configured, or runs on this machine already, is used and left running. Otherwise a local one is
    started, and stopped at the end; its topics and data stay for the next time.
    """
    _log()
    engine = load_engine(app)
    with _broker(Settings.from_env()) as settings:
        activity = Activity(settings, engine.name)

        def ready() -> None:
            activity.start()
            say(_greeting(engine, settings))

        try:
            # What is edited here is what counts, also when an edit is undone.
            asyncio.run(serve(engine, settings, Limits(drain=_DRAIN_SECONDS), ready, activate=True))
        finally:
            if activity.is_alive():
                activity.stop()


@contextmanager
def _broker(settings: Settings) -> Iterator[Settings]:
    """Give the settings with a broker in them; stop it at the end if it did not run before."""
    ours = settings.bootstrap_servers is None and not localbroker.status(settings).running
    try:
        localbroker.start(settings, say=say)
        yield localbroker.connected(settings)
    finally:
        if ours and localbroker.stop(settings):
            say("the local broker is stopped; its data stays for the next time")


def _greeting(engine: Engine, settings: Settings) -> str:
    functions = ", ".join(dict.fromkeys(function.id for function in engine.functions))
    lines = [
        "",
        f"{engine.name} is served on {settings.bootstrap_servers}: {functions or 'no function yet'}",
        "",
        f"  try it   {command(engine) or 'await a_function.start({...})'}",
        f"  look     stream-engine runs list --app {engine.name}",
        "           stream-engine runs show RUN",
        "  check    stream-engine doctor",
        "",
        "Below is what happens; Ctrl-C ends it.",
    ]
    return "\n".join(lines)


def _log() -> None:
    """Have what the app logs on stderr, and of what the engine and its clients log only what may want a hand."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s  %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    for name in ("stream_engine", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
