"""``stream-engine`` about an app that a test deploys."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from tests.integration.behaviours.deploys import Deploys
from tests.workers import ROOT, until

_UNANSWERED = re.compile("does not answer|has not answered within")
_HERE = Path(__file__).parent
_ENTRY = "from stream_engine.cli.main import main; main()"


class Checked(NamedTuple):
    """What `check` came to: its exit code, what it listed, and what it said."""

    code: int
    rows: list[dict[str, Any]]
    talk: str


def checked(deploys: Deploys, file: str, *arguments: str, **env: str) -> Checked:
    """Run `check` with the code in a file, in a process of its own: code is imported once in each."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")}
    environment |= {
        "STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers,
        "STREAM_ENGINE_STATE_DIR": str(deploys.folder / "check"),
        "BEHAVIOURS_APP": deploys.name,
        "BEHAVIOURS_GATES": str(deploys.folder),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", _ENTRY, "check", f"{_HERE / file}:engine", *arguments, "--json"]
    done = subprocess.run(command, env=environment | env, capture_output=True, text=True, check=False)
    return Checked(done.returncode, json.loads(done.stdout) if done.stdout else [], done.stderr)


def command(deploys: Deploys, *arguments: str) -> Result:
    """Run a command; once more, if Kafka did not answer it in time.

    The broker is there all the time, but shares two cores with everything that is tested beside it: on a slow machine it has left a command without an answer for ten seconds.
    """
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers, "STREAM_ENGINE_APP": deploys.name}
    done = CliRunner().invoke(main, [*arguments], env=env)
    return CliRunner().invoke(main, [*arguments], env=env) if _UNANSWERED.search(done.stderr) else done


def begun(deploys: Deploys, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command in a process of its own, because it takes as long as something else does."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_ENGINE_")}
    env |= {"STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers, "STREAM_ENGINE_APP": deploys.name}
    entry = [sys.executable, "-c", "from stream_engine.cli.main import main; main()", *arguments]
    return subprocess.Popen(entry, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(deploys: Deploys, *arguments: str) -> Any:
    """Return what a command prints that succeeds."""
    done = command(deploys, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def completed(deploys: Deploys, replay: str) -> dict[str, Any]:
    """Wait until a replay is completed; return its status."""
    found: list[dict[str, Any]] = []

    def is_completed() -> bool:
        found[:] = [said(deploys, "replay", "status", replay)]
        return bool(found[0]["status"] == "completed")

    until(is_completed, f"replay {replay} is completed")
    return found[0]
