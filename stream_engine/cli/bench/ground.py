"""What a measurement works on: an app with topics of its own, and workers in processes and state folders of their own."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_engine.shell import clients, topics
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import BOOTSTRAP_SERVERS, STATE_DIR, Settings

APP_VARIABLE = "STREAM_ENGINE_TEST_BENCH_APP"

_LOOK_SECONDS = 0.01


class Ground:
    """A bench app; leaving it ends its workers, and deletes its topics and folders."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = topics.Names.of(f"bench-{uuid.uuid4().hex[:8]}")
        self._folder = tempfile.TemporaryDirectory(prefix="stream-engine-bench-")
        self._workers: list[BenchWorker] = []

    def worker(
        self, state: str, *, wait: bool = True, options: Sequence[str] = (), **environment: str
    ) -> "BenchWorker":
        """Start a worker whose state folder is named ``state``; with ``wait``, return once it serves."""
        folder = self.folder(state)
        folder.mkdir(exist_ok=True)
        variables = os.environ | {
            APP_VARIABLE: self.names.app,
            STATE_DIR: str(folder),
            BOOTSTRAP_SERVERS: self.settings.bootstrap_servers or "",
        }
        worker = BenchWorker(variables | environment, folder / f"worker-{len(self._workers)}.log", options)
        self._workers.append(worker)
        if wait:
            worker.ready()
        return worker

    def folder(self, state: str) -> Path:
        """Return the state folder of a name, which workers may have had before."""
        return Path(self._folder.name) / state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for worker in self._workers:
            worker.stop()
        admin = clients.admin(self.settings)
        there = topics.partition_counts(admin)
        wanted = [topic.name for topic in topics.wanted(self.names, 1) if topic.name in there]
        for future in admin.delete_topics(wanted).values() if wanted else ():
            future.result()
        self._folder.cleanup()


class BenchWorker:
    """A process that serves the bench app."""

    def __init__(self, environment: dict[str, str], log: Path, options: Sequence[str]) -> None:
        target = "stream_engine.cli.bench.app:engine"
        command = [sys.executable, "-m", "stream_engine.cli.main", "worker", target, *options]
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(command, env=environment, stderr=output)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def said(self, text: str) -> None:
        """Wait until it has said something.

        Raises:
            UserError: it has ended without.
        """
        while text not in self._log.read_text():
            if self._process.poll() is not None:
                raise UserError(f"the worker has ended:\n{self._log.read_text()}")
            time.sleep(_LOOK_SECONDS)

    def ready(self) -> None:
        """Wait until it serves."""
        self.said("ready\n")

    def terminate(self) -> None:
        """Ask it to stop, and do not wait."""
        self._process.terminate()

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._process.terminate()
        self._process.wait()

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
