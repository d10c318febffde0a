"""The Faust apps beside a worker, each in a process of its own."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final, Self

import click

from stream_engine.cli.output import say
from stream_engine.shell.settings import APP, BOOTSTRAP_SERVERS, Settings

NAMES: Final = ("insights",)
"""What ``--topology`` may name, beside Faust apps of the user's, which are said by where they are."""

_FORMS: Final = "module:attribute or file.py:attribute of a Faust app"
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0


class Topology:
    """A Faust app in a process of its own, started again when it ends: what befalls it is not the worker's trouble."""

    def __init__(self, name: str, app: str, settings: Settings) -> None:
        """Start it."""
        self._name = name
        self._command = [sys.executable, "-m", "stream_engine.cli.topology", name, app]
        self._env = {**os.environ, BOOTSTRAP_SERVERS: str(settings.bootstrap_servers), APP: app}
        self._stopping = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name=f"topology {name}", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """Have it write what it has counted, and end."""
        self._stopping.set()
        self._process.terminate()
        self._keeper.join(_STOP_SECONDS)
        if self._keeper.is_alive():
            self._process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        # It ends when this end of the pipe is closed, so also when the worker is killed.
        return subprocess.Popen(self._command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            status = self._process.wait()
            if self._stopping.is_set():
                return
            say(f"topology {self._name} ended with {status}; it is started again in {pause:g} s")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._process = self._start()
            if self._stopping.is_set():
                self._process.terminate()


class Topologies:
    """The Faust apps beside a worker. Use it in a ``with``."""

    def __init__(self, names: Sequence[str], app: str, settings: Settings) -> None:
        self._make = [(name, app, settings) for name in names]
        self._running: list[Topology] = []

    def __enter__(self) -> Self:
        """Return itself; nothing runs before `start`."""
        return self

    def start(self) -> None:
        """Start them; they need the app's topics."""
        self._running = [Topology(*made) for made in self._make]

    def __exit__(self, *error: object) -> None:
        """Stop them."""
        for topology in self._running:
            topology.stop()


class TopologyNames(click.ParamType):
    """Names of topologies, with commas between them."""

    name = "name,..."

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, each once."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
        for name in names:
            if name not in NAMES and ":" not in name:
                known = ", ".join(NAMES)
                self.fail(f"there is no topology {name!r}; there is {known}, or {_FORMS}", param, ctx)
        return names
