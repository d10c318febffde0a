"""Which port the broker listens on."""

from __future__ import annotations

import socket

import pytest

from stream_engine.shell.errors import UserError
from stream_engine.shell.localbroker import ports


@pytest.fixture
def taken() -> int:
    return 19_092


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    """Every port is free but one."""
    monkeypatch.setattr(ports, "is_free", lambda port: port != taken)


@pytest.mark.usefixtures("free")
def test_the_port_of_last_time_comes_first() -> None:
    assert ports.pick_port(None, 1234) == 1234
    assert ports.pick_port(0, 1234) == 1234


@pytest.mark.usefixtures("free")
def test_then_kafkas_usual_one(taken: int) -> None:
    assert ports.pick_port(None, None) == 9092
    assert ports.pick_port(None, taken) == 9092


@pytest.mark.usefixtures("free")
def test_a_wanted_port_is_taken_or_refused(taken: int) -> None:
    assert ports.pick_port(4321, 1234) == 4321
    with pytest.raises(UserError, match=f"port {taken} on 127.0.0.1 is taken"):
        ports.pick_port(taken, 1234)


def test_else_any_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    assert ports.pick_port(None, 1234) not in (9092, 1234)
    assert ports.pick_port(0, None) != 9092


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)
