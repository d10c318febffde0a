"""``stream-engine`` about an app that a test deploys."""

import json
import os
import subprocess
import sys
from typing import Any

from click.testing import CliRunner, Result

from stream_engine.cli.main import main
from tests.integration.behaviours.deploys import Deploys
from tests.workers import until


def command(deploys: Deploys, *arguments: str) -> Result:
    """Run a command."""
    env = {"STREAM_ENGINE_BOOTSTRAP_SERVERS": deploys.served.servers, "STREAM_ENGINE_APP": deploys.name}
    return CliRunner().invoke(main, [*arguments], env=env)


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
