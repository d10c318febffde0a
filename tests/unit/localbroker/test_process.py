"""Processes are known by number and birth, and ended only if both are right."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_engine.shell.localbroker.process import ProcessId, birth_of, end, is_alive, start_detached


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A pipe: reading it waits until somebody has written to it and closed it."""
    os.mkfifo(tmp_path / "ready")
    return tmp_path / "ready"


def test_a_detached_process_writes_its_log_and_ends_when_asked(tmp_path: Path, ready: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    script = f"echo out; echo err >&2; echo >{ready}; exec sleep 600"
    process = start_detached(["sh", "-c", script], log=log, env=os.environ)
    assert process is not None
    ready.read_text()
    assert log.read_text() == "before\nout\nerr\n"
    assert is_alive(process)
    end(process, grace=10)
    assert not is_alive(process)


def test_a_detached_process_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    process = start_detached(["sleep", "600"], log=tmp_path / "log", env=os.environ)
    assert process is not None
    try:
        assert os.getsid(process.pid) != os.getsid(0)
    finally:
        end(process, grace=10)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, ready: Path) -> None:
    log = tmp_path / "log"
    stubborn = f"trap 'echo no' TERM; echo >{ready}; while :; do read -r line <{ready}; done"
    process = start_detached(["sh", "-c", stubborn], log=log, env=os.environ)
    assert process is not None
    ready.read_text()
    end(process, grace=0.2)
    assert not is_alive(process)
    assert "no\n" in log.read_text()


def test_a_recycled_number_is_left_alone(bystander: subprocess.Popen[bytes]) -> None:
    somebody_else = ProcessId(bystander.pid, "another birth")
    assert not is_alive(somebody_else)
    end(somebody_else, grace=10)
    assert bystander.poll() is None


def test_what_is_gone_is_ended_already(bystander: subprocess.Popen[bytes]) -> None:
    birth = birth_of(bystander.pid)
    assert birth is not None
    process = ProcessId(bystander.pid, birth)
    bystander.kill()
    os.waitid(os.P_PID, bystander.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process), "it has ended, and only waits to be reaped"
    bystander.wait()
    assert not is_alive(process)
    end(process, grace=10)
