"""A worker's HTTP endpoint: small, on the standard library, for probes and the like; its routes are data.

Each request has a thread, and a connection that says nothing for a while is closed, so that no client holds up another one.
"""

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

import msgspec

from stream_engine.shell.errors import UserError

_log = logging.getLogger(__name__)
_SILENT_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_MOST_BYTES = 1024 * 1024

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True)
class Request:
    """What a client asks: the parts of the path that a route has names for, and the body."""

    parts: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """An HTTP status, and a document that is sent as JSON."""

    status: int
    document: Any


@dataclass(frozen=True)
class Route:
    """What answers a method on a path; ``{name}`` in the path stands for one part of any text.

    ``answer`` is called on a thread of the endpoint's, perhaps several times at once.
    """

    method: str
    path: str
    answer: Callable[[Request], Answer]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the named parts of a path, or None for a path that is another one."""
        mine, given = self.path.split("/"), path.split("/")
        if len(mine) != len(given):
            return None
        parts: dict[str, str] = {}
        for name, part in zip(mine, given, strict=True):
            if name.startswith("{") and part:
                parts[name[1:-1]] = part
            elif name != part:
                return None
        return parts


class Endpoint:
    """Serves routes until it is closed. Use it in a ``with``."""

    def __init__(self, address: Address, routes: Sequence[Route]) -> None:
        """Listen; port 0 takes any that is free.

        Raises:
            UserError: the address cannot be listened on.
        """
        host, port = address
        try:
            self._server = _Server(host, port, tuple(routes))
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on {host}:{port}: {error}; give --http another address") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[_LOOK_SECONDS], name="endpoint", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that is still connected does not hold up the end.
    block_on_close = False
    # Those that come at once wait for their turn; the library's own five places are too few, and the sixth is turned away.
    request_queue_size = 128

    def __init__(self, host: str, port: int, routes: tuple[Route, ...]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.routes = routes
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking the name service what the host is called, as the library's own server does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        """A client has gone in the middle; that is its own affair."""
        _log.debug("a request of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "stream-engine"
    sys_version = ""
    timeout: ClassVar[float | None] = _SILENT_SECONDS
    # What the log may call the request: a path may have in it what is nobody's business.
    _named = "a request"

    def _answer(self) -> None:
        try:
            answer = self._find()
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the reason
            _log.exception("%s could not be answered", self._named)
            answer = _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        body = msgspec.json.encode(answer.document) + b"\n"
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _answer  # noqa: N815 - the library calls them so

    def _find(self) -> Answer:
        body = self._body()
        if body is None:
            # What was not read is not to be taken for the next request.
            self.close_connection = True
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        method = "GET" if self.command == "HEAD" else self.command
        path, allowed = self.path.partition("?")[0], False
        assert isinstance(self.server, _Server)
        for route in self.server.routes:
            parts = route.match(path)
            if parts is not None and route.method == method:
                self._named = f"{method} {route.path}"
                return route.answer(Request(parts, body))
            allowed = allowed or parts is not None
        return _refusal(HTTPStatus.METHOD_NOT_ALLOWED if allowed else HTTPStatus.NOT_FOUND)

    def _body(self) -> bytes | None:
        """Return what was sent; None for too much, and for what does not say how much it is."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > _MOST_BYTES:
            return None
        return self.rfile.read(int(length))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the library's names
        """Requests are no news."""
        _log.debug("%s was answered", self._named)


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(status, {"error": status.phrase})
