"""Faust apps for tests: started by Faust's own command, as users start them."""

import os
import subprocess
import sys
from typing import Self

from stream_engine.shell.settings import Settings
from tests.workers import ROOT

_CLI = "from faust.cli.faust import cli; cli()"


class FaustApp:
    """``faust -A MODULE worker`` in a process of its own, with a state folder of its own. Use it in a ``with``."""

    def __init__(self, module: str, settings: Settings, app: str, *, code: str = _CLI, folder: str = "one") -> None:
        """Start it for an app of the engine; ``code`` runs Faust's command."""
        self.folder = settings.state_dir / folder
        env = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")} | {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers),
            "STREAM_ENGINE_STATE_DIR": str(self.folder),
            "STREAM_ENGINE_APP": app,
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-c", code, "-A", module, "worker", "-l", "warn"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        ended = self._process.poll()
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert ended in {None, -9, 0}, "the Faust app has ended by itself"

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> str:
        """Ask it to end; return what it has printed."""
        self._process.terminate()
        return self._process.communicate(timeout=60)[0]
