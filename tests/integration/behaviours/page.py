"""The runbook's page as a test takes it: its commands, one after the other, as they stand there."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pytest
from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from tests.integration.behaviours.deploys import Deploys
from tests.kafka_tools import run_tool
from tests.unit.test_runbook import parts
from tests.workers import ENTRY, ROOT, WorkerProcess

_SECONDS: Final = 120


class Tried(NamedTuple):
    """Blocks of commands of a section of the page that a test does, by their numbers in it."""

    section: str
    numbers: tuple[int, ...]


def tries(section: str, *numbers: int) -> pytest.MarkDecorator:
    """Say which blocks of a section a test does, and give them to it as ``tried``; `tests.unit.test_runbook` reads this off the tests."""
    return pytest.mark.parametrize("tried", [Tried(section, numbers)], ids=[section])


class Page:
    """Commands of the runbook, done in their order for one app. ``env`` is the shell's in which they are typed; what they export is in it."""

    def __init__(self, deploys: Deploys, tried: Tried) -> None:
        self.deploys = deploys
        self.lines = [line for number in tried.numbers for line in parts(tried.section)[number]]
        self.env = {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers,
            "STREAM_ENGINE_STATE_DIR": str(deploys.settings.state_dir),
            "BEHAVIOURS_APP": deploys.name,
            "BEHAVIOURS_GATES": str(deploys.folder),
        }

    def do(self, line: str, **stands_for: str) -> str:
        """Do the next line, which is this one but for the words that stand for something else; return what it prints."""
        done = self.attempt(line, **stands_for)
        assert done.exit_code == 0, done.output
        return done.stdout

    def attempt(self, line: str, **stands_for: str) -> Result:
        """Do the next line, whatever comes of it."""
        return self._run(self._words(line, stands_for))

    def again(self, line: str, **stands_for: str) -> Result:
        """Do a line once more that was done before."""
        self.lines.insert(0, line)
        return self.attempt(line, **stands_for)

    def agree(self, line: str, **stands_for: str) -> str:
        """Do the next line on a terminal, and say yes to what it asks; return what it prints."""
        theirs, ours = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")}
        words = [sys.executable, "-c", ENTRY, *self._words(line, stands_for)[1:]]
        env = environment | self.env | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(words, env=env, stdin=ours, stdout=subprocess.PIPE, text=True) as process:
            os.write(theirs, b"y\n")
            printed, _ = process.communicate(timeout=_SECONDS)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == 0
        return printed

    def tool(self, line: str, **stands_for: str) -> str:
        """Do the next line, which calls one of Kafka's own tools; return what that prints."""
        words = self._words(line, stands_for)
        assert words[1:3] == ["--bootstrap-server", "kafka-1:9092"]
        return run_tool(self.deploys.settings, words[0], *words[3:])

    def export(self, line: str, **stands_for: str) -> None:
        """Do the next line, which sets a variable for the commands and workers behind it."""
        export, assignment = self._words(line, stands_for)
        assert export == "export"
        name, _, value = assignment.partition("=")
        self.env[name] = value

    def start(self, line: str, **env: str) -> WorkerProcess:
        """Do the next line, which starts a worker; wait until it serves."""
        engine, worker, app, *options = self._words(line, {})
        assert [engine, worker, app] == ["stream-engine", "worker", self.deploys.workers.app]
        started = self.deploys.workers.start(*options, **self.env, **env)
        started.ready()
        return started

    def _words(self, line: str, stands_for: dict[str, str]) -> list[str]:
        assert self.lines, f"the page has no command behind those that were done, and not {line!r}"
        assert self.lines.pop(0) == line
        for word, meant in {"APP": self.deploys.name, "shop:engine": self.deploys.workers.app, **stands_for}.items():
            line = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", meant, line)
        return shlex.split(line)

    def _run(self, words: list[str]) -> Result:
        assert words[0] == "stream-engine"
        # The app's code is imported once a process, and is another app in each test.
        sys.modules.pop(self.deploys.workers.app.rpartition("/")[2].partition(".")[0], None)
        return CliRunner().invoke(main, words[1:], env=self.env)


@contextmanager
def page_of(deploys: Deploys, tried: Tried) -> Iterator[Page]:
    """Give a page, all of whose commands have to be done."""
    page = Page(deploys, tried)
    yield page
    assert not page.lines, f"the page goes on with {page.lines}"


def instant(ms: int) -> str:
    """Return a time in milliseconds since the epoch as Kafka's tools take it, in UTC."""
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1_000:03}"
