"""Events to a function that tells at once when it began: how long anything else has to wait."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from stream_engine.cli.bench.app import tick
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings

_EVERY_SECONDS: Final = 0.05
_STALLED_SECONDS: Final = 300.0


class Pings(threading.Thread):
    """Sends events now and then to a function that says by a datagram when it began."""

    def __init__(self, settings: Settings, topic: str, look: Callable[[], None] = lambda: None) -> None:
        """Begin with `start`; ``look`` is called whenever an event is sent."""
        super().__init__(name="pings", daemon=True)
        self._topic = topic
        self._look = look
        self._producer = clients.producer(settings)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_EVERY_SECONDS)
        self._sent: set[int] = set()
        self._begun: dict[int, int] = {}
        self._stopping = threading.Event()

    def send(self, partition: int = -1) -> None:
        """Send one event; to a partition of the events topic, if one is given."""
        sent = tick()
        self._sent.add(sent)
        data = {"sent": sent, "port": self._socket.getsockname()[1]}
        self._producer.produce(
            self._topic, msgspec.json.encode({"name": "bench/ping", "data": data}), partition=partition
        )
        self._producer.poll(0)

    def await_all(self) -> None:
        """Wait until the function has begun for all that was sent so far.

        Raises:
            UserError: nothing has begun for minutes.
        """
        awaited = set(self._sent)
        seen, since = -1, time.monotonic()
        while not awaited <= self._begun.keys():
            if len(self._begun) != seen:
                seen, since = len(self._begun), time.monotonic()
            if time.monotonic() > since + _STALLED_SECONDS:
                raise UserError(f"nothing has begun for {_STALLED_SECONDS:g} s; see the worker's log")
            time.sleep(_EVERY_SECONDS)

    def latencies(self, since: int, until: int) -> list[int]:
        """Return how long the function took to begin for what was sent in ``[since, until)``; all nanoseconds."""
        return [begun - sent for sent, begun in self._begun.items() if since <= sent < until]

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()
        self._socket.close()

    def run(self) -> None:
        """Send, listen and look, until told to stop."""
        due = time.monotonic()
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due += _EVERY_SECONDS
                self.send()
                self._look()
            with suppress(TimeoutError):
                sent, begun = msgspec.json.decode(self._socket.recv(1_024), type=list[int])
                self._begun[sent] = begun
