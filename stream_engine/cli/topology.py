"""The process of a Faust app beside a worker: ``python -m stream_engine.cli.topology NAME APP``."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import faust

from stream_engine.cli.apps import load_module
from stream_engine.cli.output import say
from stream_engine.shell.edge.faust_app import EdgeApp
from stream_engine.shell.edge.insights import insights_app
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings

_TOPOLOGIES: Final[dict[str, Callable[[Settings, str], EdgeApp]]] = {"insights": insights_app}
END_SECONDS = 20.0
"""How long the app may take to end once its worker is gone: Faust waits for ever for a broker that has gone meanwhile, and nobody else would end it."""


def _end_with_the_worker() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


def _load(target: str) -> faust.App:
    where, _, attribute = target.rpartition(":")
    found = getattr(load_module(where), attribute, None)
    if not isinstance(found, faust.App):
        raise UserError(f"{where} has no Faust app {attribute!r}")
    return found


def main(name: str, app: str) -> None:
    """Run one Faust app until SIGTERM, or until the process that started this one is gone."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        faust_app = _TOPOLOGIES[name](Settings.from_env(), app) if name in _TOPOLOGIES else _load(name)
    except UserError as error:
        say(f"Error: topology {name}: {error}")
        sys.exit(1)
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    worker = faust.Worker(faust_app, loglevel="WARNING", redirect_stdouts=False, override_logging=False)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
