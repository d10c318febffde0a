"""Docker where none answers. Starting a container needs an engine, which the machines of this project's tests lack."""

from __future__ import annotations

import socket
import time

import pytest

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import docker


def test_no_engine_is_a_quick_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not docker.docker_answers()


def test_an_engine_that_hangs_is_a_no_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{hanging.getsockname()[1]}")
        before = time.monotonic()
        assert not docker.docker_answers()
    assert time.monotonic() - before < 10


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "find_spec", lambda _: None)
    assert not docker.docker_answers()
    with pytest.raises(UserError, match=r"stream-engine\[docker\]"):
        docker.start_container("name", 9092)


def test_a_container_that_cannot_be_seen_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert not docker.container_runs("abc")
    with pytest.raises(UserError, match="could not stop the local broker's container"):
        docker.stop_container("abc")
