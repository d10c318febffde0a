"""docs/payments.md on a real broker, as it is written: its service, its app, its commands, and the table of what the service has counted."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from stream_engine.shell.settings import Settings
from tests.workers import ROOT, WorkerProcess, Workers, until

_PAGE = (ROOT / "docs" / "payments.md").read_text("utf-8")
_SERVICE, _APP, _FIX = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)
_COMMANDS = [block.splitlines() for block in re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL)]
_COUNTED = [
    (int(calls), int(charges)) for calls, charges in re.findall(r"^\| .* \| (\d+) \| (\d+) \|$", _PAGE, re.MULTILINE)
]


class Page:
    """The page's app, deployed, and the command line about it."""

    def __init__(self, settings: Settings, folder: Path, payments: str) -> None:
        self.name = f"shop-{uuid4().hex[:8]}"
        self._settings = settings
        self._payments = payments
        self._file = folder / "shop.py"
        self._workers = Workers(f"{self._file}:engine", settings, {"PAYMENTS": payments})
        self._worker: WorkerProcess | None = None

    def deploy(self, code: str) -> None:
        """Replace the worker by one with this code."""
        self._file.write_text(code.replace('Engine("shop")', f'Engine("{self.name}")'), encoding="utf-8")
        if self._worker is not None:
            assert self._worker.stop() == 0, self._worker.talk
        self._worker = self._workers.start()
        self._worker.ready()

    def run(self, line: str, run_id: str = "") -> Result:
        """Run a command of the page about this app."""
        words = [{"shop": self.name, "RUN": run_id}.get(word, word) for word in shlex.split(line)]
        assert words[0] == "stream-engine"
        env = {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": str(self._settings.bootstrap_servers),
            "STREAM_ENGINE_STATE_DIR": str(self._settings.state_dir),
        }
        return CliRunner().invoke(main, words[1:], env=env)

    def said(self, line: str) -> Any:
        """Return what a command of our own prints."""
        done = self.run(f"stream-engine {line} --app shop --json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def counted(self) -> tuple[int, int]:
        """Return how many calls and charges the service has counted."""
        with urllib.request.urlopen(self._payments, timeout=10) as answer:
            document = json.load(answer)
        return document["calls"], document["charges"]

    def close(self) -> None:
        """End the worker."""
        self._workers.__exit__()


@pytest.fixture
def page(broker: Settings, tmp_path: Path) -> Iterator[Page]:
    """The page's service and app, with the bug."""
    (tmp_path / "payments.py").write_text(_SERVICE, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = subprocess.Popen([sys.executable, tmp_path / "payments.py", str(port)], env=dict(os.environ))
    made = Page(replace(broker, state_dir=tmp_path / "state", partitions=4), tmp_path, f"http://127.0.0.1:{port}")
    try:
        until(lambda: _answers(port), "the payment service answers")
        made.deploy(_APP)
        yield made
    finally:
        made.close()
        service.kill()
        service.wait()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _fixed() -> str:
    """Return the app's code with the page's fix."""
    name = _FIX.partition("(")[0]
    fixed, count = re.subn(rf"^{re.escape(name)}\(.*?\n\n", _FIX + "\n", _APP, flags=re.DOTALL | re.MULTILINE)
    assert count == 1
    assert fixed != _APP
    return fixed


def test_the_service_counts_what_the_page_says(page: Page) -> None:
    start, *rest = _COMMANDS
    orders = [line for line in start if line.startswith("stream-engine send")]
    for line in orders:
        done = page.run(line)
        assert done.exit_code == 1, done.output
        assert "nmae" in done.output
    counted = [page.counted()]
    page.deploy(_fixed())
    first = page.said("runs list --status failed")[-1]["run_id"]
    for [line] in rest:
        done = page.run(line, first)
        assert done.exit_code == 0, done.output
        ended = _replayed if " replay " in line else _rerun
        until(ended(page, done.stdout.split()[0], len(orders)), f"what {line!r} has begun has ended")
        counted.append(page.counted())
    assert counted == _COUNTED


def _rerun(page: Page, run_id: str, _: int) -> Callable[[], bool]:
    def ended() -> bool:
        shown = page.run(f"stream-engine runs show {run_id} --app shop --json")
        if "there is no run" in shown.output:
            # It has yet to be admitted.
            return False
        assert shown.exit_code == 0, shown.output
        run = json.loads(shown.stdout)
        assert run["status"] in {"queued", "running", "completed"}, run
        return bool(run["status"] == "completed")

    return ended


def _replayed(page: Page, replay_id: str, count: int) -> Callable[[], bool]:
    def ended() -> bool:
        replay = page.said(f"replay status {replay_id}")
        return bool(replay["status"] == "completed" and replay["ended"] == count and not replay["failed"])

    return ended
