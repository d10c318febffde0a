"""Worker processes for tests: started as users start them, and killed, paused and stopped as machines do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from stream_engine.shell.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 60.0
ENTRY = "from stream_engine.cli.main import main; main()"


class WorkerProcess:
    """``stream-engine worker APP`` as a process of its own; what it says on stderr is kept, line by line."""

    def __init__(self, app: str, settings: Settings, env: Mapping[str, str] | None = None, *options: str) -> None:
        """Start it; ``env`` adds to the environment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")}
        environment |= {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers),
            "STREAM_ENGINE_STATE_DIR": str(settings.state_dir),
            "STREAM_ENGINE_PARTITIONS": str(settings.partitions),
            "STREAM_ENGINE_START": "earliest",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, "worker", app, *options],
            env=environment | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def talk(self) -> str:
        """What it has said on stderr."""
        return "".join(self.lines)

    def said(self, text: str, *, times: int = 1, timeout: float = _PATIENCE) -> None:
        """Wait until it has said something, on so many lines."""

        def found() -> bool:
            return sum(text in line for line in self.lines) >= times

        with self._said:
            self._said.wait_for(lambda: found() or not self._reader.is_alive(), timeout)
        assert found(), f"worker {self.pid} did not say {text!r} {times} times:\n{self.talk}"

    def ready(self) -> None:
        """Wait until it serves."""
        self.said("ready\n")

    def kill(self) -> None:
        """Kill it: nothing of it is left to tidy up."""
        self._process.kill()
        self._end()

    def pause(self) -> None:
        """Let it do nothing, without its knowing, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on as if nothing had been."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM)."""
        self._process.terminate()

    def stop(self) -> int:
        """Ask it to stop, and return its exit status."""
        self.terminate()
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        try:
            return self._end()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"worker {self.pid} does not end:\n{self.talk}") from None

    def _end(self) -> int:
        status = self._process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        return status

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in stderr:
                with self._said:
                    self.lines.append(line)
                    self._said.notify_all()
        with self._said:
            self._said.notify_all()


class Workers:
    """The worker processes of a test; whichever still live at its end are killed. Use it in a ``with``."""

    def __init__(self, app: str, settings: Settings, env: Mapping[str, str] | None = None) -> None:
        self.app = app
        self._settings = settings
        self._env = env
        self.all: list[WorkerProcess] = []

    def start(self, *options: str, **env: str) -> WorkerProcess:
        """Start a worker."""
        worker = WorkerProcess(self.app, self._settings, {**(self._env or {}), **env}, *options)
        self.all.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.all:
            if worker.alive:
                worker.resume()
                worker.kill()


def until(condition: Callable[[], object], what: str, timeout: float = _PATIENCE) -> None:
    """Wait for something that no one announces; ``condition`` is asked again and again."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"in {timeout:g} s it did not happen that {what}"
        time.sleep(0.02)
