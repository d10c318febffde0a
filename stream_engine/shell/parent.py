"""The line between a worker process and the process that has started it: how the one is, and whether the other is still there."""

import socket
import threading
from collections.abc import Callable

import msgspec

from stream_engine.shell.clock import monotonic
from stream_engine.shell.health import Health

_LOOK_SECONDS = 0.05
SAY_SECONDS = 1.0
"""How long the line is silent at most."""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Health).decode


class Parent(threading.Thread):
    """A worker's end of the line: says how the worker is, and calls ``gone`` when the other end has been closed."""

    def __init__(self, line: socket.socket, health: Callable[[], Health], gone: Callable[[], object]) -> None:
        super().__init__(name="parent", daemon=True)
        self._line = line
        self._health = health
        self._gone = gone
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Say nothing more, and end the thread."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Say how the worker is, when that changes, and now and then."""
        said, due = None, 0.0
        self._line.settimeout(_LOOK_SECONDS)
        with self._line:
            while not self._stopping.is_set():
                health = self._health()
                try:
                    if health != said or monotonic() >= due:
                        self._line.sendall(encode(health) + b"\n")
                        said, due = health, monotonic() + SAY_SECONDS
                    there = self._line.recv(1)
                except TimeoutError:
                    continue
                except OSError:
                    there = b""
                if not there:
                    self._gone()
                    return
