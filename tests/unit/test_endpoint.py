"""The HTTP endpoint of a worker: routes are found, everything else is refused, and no client holds up another."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from stream_engine.shell.endpoint import Answer, Endpoint, Request, Route
from stream_engine.shell.errors import UserError
from stream_engine.shell.health import Health, routes

_HEALTH: list[Health] = []


def _echo(request: Request) -> Answer:
    return Answer(201, {"parts": request.parts, "body": request.body.decode()})


def _fail(_: Request) -> Answer:
    raise RuntimeError("sand")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint with probes and some more."""
    more = [Route("POST", "/things/{name}/parts/{part}", _echo), Route("GET", "/broken", _fail)]
    with Endpoint(("127.0.0.1", 0), [*routes(lambda: _HEALTH[-1]), *more]) as endpoint:
        yield endpoint


def _connected(endpoint: Endpoint) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=30)


def _ask(
    endpoint: Endpoint, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = _connected(endpoint)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else None
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("health", "live", "ready"),
    [
        (Health(live=True, ready=True), 200, 200),
        (Health(live=True, ready=False, why="2 of its 4 partitions are being recovered: 1, 3"), 200, 503),
        (Health(live=False, ready=True, why="stuck"), 503, 503),
    ],
)
def test_probes_say_by_their_status_how_the_worker_is_and_why(
    endpoint: Endpoint, health: Health, live: int, ready: int
) -> None:
    _HEALTH.append(health)
    told = {"live": health.live, "ready": health.ready, "why": health.why}
    assert _ask(endpoint, "GET", "/live") == (live, told)
    assert _ask(endpoint, "GET", "/ready?verbose") == (ready, told)
    assert _ask(endpoint, "HEAD", "/ready") == (ready, None)


def test_parts_of_a_path_that_have_names_reach_the_route_with_the_body(endpoint: Endpoint) -> None:
    expected = {"parts": {"name": "a-b", "part": "7"}, "body": "hello"}
    assert _ask(endpoint, "POST", "/things/a-b/parts/7", b"hello") == (201, expected)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/live/", 404),
        ("POST", "/things//parts/7", 404),
        ("POST", "/live", 405),
        ("GET", "/things/a/parts/7", 405),
        ("GET", "/broken", 500),
    ],
)
def test_what_no_route_answers_is_refused(endpoint: Endpoint, method: str, path: str, status: int) -> None:
    code, document = _ask(endpoint, method, path)
    assert (code, list(document)) == (status, ["error"])
    assert "sand" not in document["error"]


@pytest.mark.parametrize(
    "header", [{"Content-Length": "1048577"}, {"Content-Length": "x"}, {"Transfer-Encoding": "chunked"}]
)
def test_a_body_that_is_too_large_or_of_unknown_size_is_not_read(endpoint: Endpoint, header: dict[str, str]) -> None:
    assert _ask(endpoint, "POST", "/things/a/parts/7", headers=header)[0] == 413


def test_a_client_that_says_nothing_holds_up_nobody(endpoint: Endpoint) -> None:
    _HEALTH.append(Health(live=True, ready=True))
    address = urlsplit(endpoint.url)
    with socket.create_connection((address.hostname, address.port or 0)):
        assert _ask(endpoint, "GET", "/live")[0] == 200


def test_a_connection_is_kept_for_the_next_request(endpoint: Endpoint) -> None:
    _HEALTH.append(Health(live=True, ready=True))
    connection = _connected(endpoint)
    for _ in range(3):
        connection.request("GET", "/ready")
        assert connection.getresponse().read()
    connection.close()


def test_an_address_that_is_taken_is_an_error_that_names_it(endpoint: Endpoint) -> None:
    port = urlsplit(endpoint.url).port or 0
    with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*--http"):
        Endpoint(("127.0.0.1", port), [])
