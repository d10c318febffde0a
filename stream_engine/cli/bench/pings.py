"""Events to a function that tells at once when it began: how long anything else has to wait.

It tells by a Unix socket, because UDP drops what comes in thousands, as it does when a partition has stood still.
"""

import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import msgspec

from stream_engine.cli.bench.figure import tick
from stream_engine.shell import clients
from stream_engine.shell.errors import UserError
from stream_engine.shell.settings import Settings

_STALLED_SECONDS: Final = 300.0


class Pings(threading.Thread):
    """Sends an event every so many seconds to a function that says when it began.

    Of a function that does more, that is when it would have if nothing but its own steps had taken time.
    """

    def __init__(self, settings: Settings, topic: str, every: float = 0.05, event: str = "bench/ping") -> None:
        super().__init__(name="pings", daemon=True)
        self._topic = topic
        self._event = event
        self._every = every
        self._producer = clients.producer(settings)
        self._folder = tempfile.TemporaryDirectory(prefix="stream-engine-pings-")
        self._address = f"{self._folder.name}/pings"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._address)
        self._socket.settimeout(every)
        self._sent: set[int] = set()
        self._begun: dict[int, int] = {}
        self._stopping = threading.Event()

    def send(self, partition: int = -1) -> None:
        """Send one event; to a partition of the events topic, if one is given."""
        sent = tick()
        self._sent.add(sent)
        data = {"sent": sent, "to": self._address}
        self._producer.produce(
            self._topic, msgspec.json.encode({"name": self._event, "data": data}), partition=partition
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
            time.sleep(self._every)

    def latencies(self, since: int, until: int) -> list[int]:
        """Return how long the function took to begin for what was sent in ``[since, until)``; all nanoseconds."""
        return [begun - sent for sent, begun in list(self._begun.items()) if since <= sent < until]

    def longest(self, disturb: Callable[[], None]) -> float:
        """Return how many seconds an event had to wait at most that was sent while something happened."""
        since = tick()
        disturb()
        self.await_all()
        return max(self.latencies(since, tick())) / 1e9

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()
        self._socket.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        self.send()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def run(self) -> None:
        """Send and listen, until told to stop."""
        due = time.monotonic()
        while not self._stopping.is_set():
            if time.monotonic() >= due:
                due += self._every
                self.send()
            with suppress(TimeoutError):
                sent, begun = msgspec.json.decode(self._socket.recv(1_024), type=list[int])
                self._begun.setdefault(sent, begun)
