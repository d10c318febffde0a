"""A schema registry that is away until it is opened."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.integration.behaviours.served import GREET


class Registry:
    """A registry whose one schema is `GREET`. Use it in a ``with``."""

    def __init__(self) -> None:
        self._open = opened = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = json.dumps({"schema": json.dumps(GREET)}).encode()
                self.send_response(200 if opened.is_set() else 503)
                self.end_headers()
                self.wfile.write(answer if opened.is_set() else b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def open(self) -> None:
        """Answer from now on."""
        self._open.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
