"""``stream-engine dev`` as a user runs it: it serves until Ctrl-C, and says what happens meanwhile."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream_engine.cli.main import main
from stream_engine.shell import localbroker
from stream_engine.shell.settings import Settings

SHOP = Path(__file__).resolve().parents[2] / "topologies" / "shop.py"


class Dev:
    """``stream-engine dev`` in a process of its own."""

    def __init__(self, app: str, settings: Settings) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")}
        own = {
            "STREAM_ENGINE_BOOTSTRAP_SERVERS": settings.bootstrap_servers or "",
            "STREAM_ENGINE_STATE_DIR": str(settings.state_dir),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stream_engine.cli.main", "dev", app],
            env=inherited | own,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: list[str] = []
        # A program that never says what is awaited is ended, and the test with it.
        self._limit = threading.Timer(120, self.process.kill)
        self._limit.start()

    def until(self, text: str) -> None:
        """Read what it says until it says this."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if text in line:
                return
        pytest.fail(f"it did not say {text!r}:\n{''.join(self.said)}")

    def interrupt(self) -> str:
        """Press Ctrl-C; return everything that it said, once it has ended."""
        self.process.send_signal(signal.SIGINT)
        stdout, stderr = self.process.communicate(timeout=60)
        self._limit.cancel()
        assert self.process.returncode == 0, stderr
        assert stdout == ""
        return "".join(self.said) + stderr

    def end(self) -> None:
        self._limit.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def code(tmp_path: Path, app_name: str) -> Path:
    """The shop under a name of its own."""
    path = tmp_path / "app.py"
    path.write_text(SHOP.read_text("utf-8").replace('Engine("shop"', f'Engine("{app_name}"'), "utf-8")
    return path


@pytest.fixture
def dev(code: Path, settings: Settings) -> Iterator[Dev]:
    dev = Dev(f"{code}:engine", settings)
    yield dev
    dev.end()


def test_it_serves_says_what_happens_and_ends_cleanly(dev: Dev, settings: Settings, app_name: str) -> None:
    dev.until("Ctrl-C ends it")
    [command] = [line for line in dev.said if "try it" in line]
    assert f"--app {app_name} --wait" in command
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": str(settings.bootstrap_servers), "STREAM_ENGINE_APP": app_name}
    order = '{"order_id": "1", "email": "ada@example.com", "amount": 100}'
    assert CliRunner().invoke(main, ["send", "order/placed", order, "--wait"], env=env).exit_code == 0
    dev.until("process-order  completed after")
    said = dev.interrupt()
    assert "Traceback" not in said
    assert localbroker.status(settings).running, "a broker that was there before stays"


@pytest.mark.broker
def test_a_broker_that_it_started_is_stopped_with_it(code: Path, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "alone")
    dev = Dev(f"{code}:engine", settings)
    try:
        dev.until("Ctrl-C ends it")
        assert localbroker.status(settings).running
        said = dev.interrupt()
        assert "its data stays for the next time" in said
        assert not localbroker.status(settings).running
    finally:
        dev.end()
        localbroker.stop(settings)


def test_what_cannot_be_served_is_said_before_a_broker_is_started(tmp_path: Path) -> None:
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": "", "STREAM_ENGINE_STATE_DIR": str(tmp_path / "alone")}
    result = CliRunner().invoke(main, ["dev", str(tmp_path / "none.py:engine")], env=env)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no file" in result.stderr
    assert not (tmp_path / "alone").exists()
